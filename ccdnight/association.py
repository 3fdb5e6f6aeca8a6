"""The plan of a night: reads no pixels, explains every choice and every refusal."""

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.fringeplans import find_fringes, find_sky_flats
from ccdnight.matching import FrameRow, Group, Matcher, differences, night_words
from ccdnight.naming import master_names, science_names
from ccdnight.observation import julian_date, night_of, parse_time
from ccdnight.plans import MasterPlan, Plan, SciencePlan, UnusedFrame
from ccdnight.vetting import COPY

__all__ = ["FrameRow", "Plan", "associate", "frame_rows"]


def associate(rows, aside, *, profile, policy, row_by_row=None, mask=""):
    """
    Make the plan of a night.

    Parameters
    ----------
    rows : list of FrameRow
        Frames that can be used.
    aside : list of UnusedFrame
        Those that cannot, with the reason.
    profile : InstrumentProfile
        The instrument.
    policy : Policy
        How its nights are reduced.
    row_by_row : dict, optional
        For each matching key ``(correlation, overscan scatter, image scatter)`` as
        `ccdnight.sampling.overscan_moves_with_rows` measures it.
    mask : str, optional
        File of a mask that is added to the bad pixel mask.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If a mask is given that has no place in the plan, or several.
    """
    return _Association(rows, aside, profile, policy, row_by_row or {}, mask).plan()


class _Association:
    """The state of making one plan."""

    def __init__(self, rows, aside, profile, policy, row_by_row, mask):
        self.mask = mask
        self.rows, self.aside, self.profile, self.policy = rows, list(aside), profile, policy
        self.match = Matcher(rows, profile, policy, row_by_row)
        self.notes, self.used = [], []
        for source in self.match.sources.values():
            self.notes += source.notes

    def plan(self):
        """Science frames first, then the masters that they need."""
        science = [row for row in self.rows if row.kind == "science"]
        names = science_names([row.path for row in science])
        chosen = [item for row in science if (item := self._choose(row))]
        if not science:
            self.notes.append("no science frames: every master that the frames allow is made")
            self._need_everything()
        self.match.name(self.used)
        masters = self._masters()
        masks = self._bad_pixels([row.key for row, _, _ in chosen])
        chosen = self._require(chosen, "bad_pixels", lambda row: row.key in masks, "no bad pixel mask can be made")
        sky = find_sky_flats(chosen, self.policy, self.profile, self.notes)
        chosen = self._require(chosen, "flat", lambda row: not sky.lacks(row), "no flat can be made of the sky")
        fringes = find_fringes(chosen, self.policy, self.profile, self.notes)
        chosen = self._require(chosen, "fringe", lambda row: not fringes.lacks(row), "its fringes cannot be subtracted")
        planned = [
            self._science(names[row.path], row, groups, reasons, masks, (sky, fringes))
            for row, groups, reasons in chosen
        ]
        self._tell_unused(masters)
        return Plan(
            profile=self.profile.name,
            policy=self.policy,
            masters=(
                *masters,
                *masks.values(),
                *(item for series in (sky, fringes) for item in series.masters(self.match.sources)),
            ),
            science=tuple(planned),
            unused=tuple(sorted(self.aside, key=lambda item: item.path)),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _choose(self, row):
        """Masters of one science frame and why; None if the policy leaves it out."""
        source = self.match.sources[row.key]
        bias, why_bias = self.match.choose_bias(row)
        if bias is None and not source.window:
            # A flat divided into the pedestal would print its own pattern on the frame.
            dark = flat = None
            why_dark, why_flat = (f"{role}: none, since the bias level is not known" for role in ("dark", "flat"))
        else:
            dark, why_dark = self.match.choose_dark(row, row.exposure)
            flat, why_flat = self.match.choose_flat(row)
        reasons = [why_bias, why_dark, why_flat]
        of_sky = self.policy.flat == "sky"
        missing = {"bias": bias is None and source.frames, "dark": dark is None, "flat": flat is None and not of_sky}
        for role, is_missing in missing.items():
            if is_missing and getattr(self.policy, role) != "none":
                why = reasons[("bias", "dark", "flat").index(role)]
                if getattr(self.policy, f"missing_{role}") == "leave out":
                    self.aside.append(UnusedFrame(row.path, row.kind, "unused", f"left out by the policy: {why}"))
                    return None
                self.notes.append(f"{why}; science frames are reduced without it")
        if flat is not None and flat.first.night != row.night:
            self.notes.append(
                f"flats in {row.filter or 'no filter'} are of {night_words(flat)}, the science frames of another"
            )
        for group in (bias, dark, flat):
            self._need(group)
        return row, {"bias": bias, "dark": dark, "flat": flat}, reasons

    def _require(self, chosen, role, has, why):
        """Leave out the frames that lack something, where the policy asks for that."""
        if getattr(self.policy, role) == "none" or getattr(self.policy, f"missing_{role}") != "leave out":
            return chosen
        lacking = [row for row, _, _ in chosen if not has(row)]
        self.aside += [UnusedFrame(row.path, row.kind, "unused", f"left out by the policy: {why}") for row in lacking]
        return [item for item in chosen if not any(item[0] is row for row in lacking)]

    def _science(self, output, row, groups, reasons, masks, series):
        sky, fringes = series
        names = {role: group.name if group else "" for role, group in groups.items()}
        return SciencePlan(
            input=row.path,
            output=output,
            **(names | {"flat": sky.name_for(row) or names["flat"]}),
            bad_pixels=masks[row.key].name if row.key in masks else "",
            fringe=fringes.name_for(row),
            overscan_window=self.match.sources[row.key].window,
            reason="; ".join([*reasons, *sky.reasons(row), *fringes.reasons(row)]),
            problem=row.problem,
        )

    def _need(self, group):
        """Mark a set as needed, with the sets that it needs itself."""
        if group is None or any(group is other for other in self.used):
            return
        if group.kind == "dark":
            self.match.usable_dark(group)
        elif group.kind == "flat":
            group.bias, why_bias = self.match.choose_bias(group.first)
            group.notes.append(why_bias)
            if self.policy.dark_for_flats:
                group.dark, why_dark = self.match.choose_dark(group.first, group.exposure)
                group.notes.append(why_dark)
            if group.twilight is not None:
                group.notes.append("large scales from the twilight flats, since a dome screen is lit unevenly")
        self.used.append(group)
        for other in (group.bias, group.dark, group.twilight):
            self._need(other)

    def _need_everything(self):
        for groups in self.match.groups.values():
            for group in self.match.allowed(groups):
                source = self.match.sources[group.first.key]
                leveled = source.window or self.match.choose_bias(group.first)[0] is not None
                wanted = source.frames if group.kind == "bias" else leveled
                if wanted and (group.kind != "dark" or self.match.usable_dark(group)):
                    self._need(group)

    def _masters(self):
        for group in self.used:
            least = getattr(self.policy, f"minimum_{group.kind}")
            if len(group.rows) < least:
                few = f"{group.name}: {len(group.rows)} frames are fewer than the {least} asked for"
                self.notes.append(f"{few}; cosmic rays may stay in it")
        order = {"bias": 0, "dark": 1, "flat": 2}
        groups = sorted(self.used, key=lambda group: (order[group.kind], group.twilight is not None, group.name))
        return [
            MasterPlan(
                name=group.name,
                kind=group.kind,
                inputs=tuple(row.path for row in group.rows),
                bias=group.bias.name if group.bias else "",
                dark=group.dark.name if group.dark else "",
                twilight=group.twilight.name if group.twilight else "",
                filter=group.filter,
                overscan_window=self.match.sources[group.first.key].window,
                reason="; ".join([_describe(group), *group.notes]),
            )
            for group in groups
        ]

    def _bad_pixels(self, keys):
        """A mask for every configuration of the science frames, from all masters that it has; of all without any."""
        if self.policy.bad_pixels == "none":
            if self.mask:
                msg = f"mask = {self.mask!r} is given, but the policy says bad_pixels = 'none'; leave out one of them"
                raise InputError(msg)
            return {}
        used = self._sources_of_masks(keys)
        firsts = [groups[0] if groups else self._of_science(key) for key, groups in used.items()]
        names = master_names("badpixels", firsts, self.profile)
        return {
            key: MasterPlan(
                name=name,
                kind="badpixels",
                inputs=(),
                overscan_window=self.match.sources[key].window,
                sources=tuple(group.name for group in groups),
                mask=self.mask,
                reason="; ".join(self._what_tells(groups)),
            )
            for name, (key, groups) in zip(names, used.items(), strict=True)
        }

    def _sources_of_masks(self, keys):
        used = {key: [] for key in keys} if self.mask else {}
        for group in sorted(self.used, key=lambda group: (("bias", "dark", "flat").index(group.kind), group.name)):
            if group.first.key in keys or not keys:
                used.setdefault(group.first.key, []).append(group)
        if self.mask and len(used) > 1:
            found = "; ".join(" ".join(item for item in key if item) for key in used)
            remedy = "a mask fits one of them: write a plan, and give the mask of each there"
            msg = f"mask = {self.mask!r}: the night has {len(used)} configurations ({found}); {remedy}"
            raise InputError(msg)
        return used

    def _what_tells(self, groups):
        for kind, what in {"bias": "noisy pixels", "dark": "hot ones", "flat": "dead ones"}.items():
            mine = [group.name for group in groups if group.kind == kind]
            if mine:
                yield f"{what} from {', '.join(mine)}"
        if self.mask:
            yield f"those of {self.mask}"

    def _of_science(self, key):
        """A configuration of which there are science frames only."""
        return Group("science", [row for row in self.rows if row.key == key and row.kind == "science"])

    def _tell_unused(self, masters):
        taken = {path for master in masters for path in master.inputs}
        for kind, groups in self.match.groups.items():
            for group in groups:
                fate, reason = self._why_unused(kind, group)
                self.aside += [
                    UnusedFrame(row.path, row.kind, fate, reason) for row in group.rows if row.path not in taken
                ]

    def _why_unused(self, kind, group):
        """Fate and reason of a set that serves nothing: not usable, or not needed."""
        source = self.match.sources[group.first.key]
        if kind == "dark" and not self.match.usable_dark(group):
            return "rejected", f"a dark without its bias: {group.notes[0]}"
        if kind == "flat" and source.frames and not source.window and self.match.choose_bias(group.first)[0] is None:
            return "rejected", f"its bias level is not known: {self.match.choose_bias(group.first)[1]}"
        return "unused", self._why_unneeded(kind, group)

    def _why_unneeded(self, kind, group):
        least, source = getattr(self.policy, f"minimum_{kind}"), self.match.sources[group.first.key]
        if not self.match.enough(group) and self.policy.below_minimum == "refuse":
            return f"{len(group.rows)} frames are fewer than the {least} that the policy asks for"
        if kind == "bias" and not source.frames:
            return f"the bias is taken from the overscan alone: {source.why}"
        if getattr(self.policy, kind) == "none":
            return f"the policy asks for no {kind}s"
        if kind == "flat" and self.policy.flat == "sky":
            return "the policy asks for flats of the sky"
        science = [row for row in self.rows if row.kind == "science"]
        if science and not any(row.key == group.first.key for row in science):
            return f"no science frame matches it: {differences(self.policy.match, group.first.key, science[0].key)}"
        if kind == "flat":
            if not any(row.filter == group.filter for row in science):
                few = f"; it is the only one, {least} are asked for" if len(group.rows) == 1 < least else ""
                return f"no science frame is in {group.filter or 'no filter'}{few}"
            return f"other flats in {group.filter or 'no filter'} are nearer in time or more"
        if kind == "dark":
            return f"no frame needs a dark of {group.exposure:g} s"
        return f"bias of {night_words(group)}: no frame needs it, others are nearer in time or more"


def _describe(group):
    count = f"{len(group.rows)} frame{'s' if len(group.rows) != 1 else ''}"
    if group.kind == "dark":
        return f"{count} of {group.exposure:g} s"
    if group.kind == "flat":
        return f"{count} in {group.filter or 'no filter'}, {_exposures(group)} s"
    return f"{count} of {night_words(group)}"


def _exposures(group):
    """Flats of the twilight are exposed longer and longer."""
    known = [row.exposure for row in group.rows if row.exposure is not None]
    if not known or min(known) == max(known):
        return f"{group.exposure:g}"
    return f"{min(known):g} to {max(known):g}"


def frame_rows(frames, samples, found, *, policy, longitudes, twice=None):
    """
    Sort the frame table into frames that can be used and those that cannot.

    Parameters
    ----------
    frames, samples : `~astropy.table.Table`
        Frame table and what `FrameCollection.measure` returned.
    found : dict of str to str
        Contradictions, from `ccdnight.vetting.contradictions`.
    policy : Policy
        Its `match` names the columns that frames and calibrations share.
    longitudes : list of float or None
        Longitude of the telescope for each row.
    twice : dict of str to str, optional
        Copies of frames, from `ccdnight.vetting.copies`.

    Returns
    -------
    rows : list of FrameRow
    aside : list of UnusedFrame
    """
    unknown = [name for name in policy.match if name not in frames.colnames]
    if unknown:
        msg = f"policy: match names {unknown}; known columns are {', '.join(frames.colnames)}"
        raise InputError(msg)
    rows, aside = [], []
    for frame, sample, longitude in zip(frames, samples, longitudes, strict=True):
        path, kind, problem = str(frame["path"]), str(frame["kind"]), str(frame["problem"])
        fate, reason = _fate(frame, found.get(path, ""))
        if not fate and path in (twice or {}):
            fate, reason = "unused", f"{COPY}{twice[path]}: it has the same pixels, and counts once"
        if fate:
            aside.append(UnusedFrame(path, kind, fate, reason))
            continue
        moment = parse_time(str(frame["time"]))
        rows.append(
            FrameRow(
                path=path,
                kind=kind,
                key=tuple(str(frame[name]) for name in policy.match),
                exposure=_number(frame["exposure"]),
                filter=str(frame["filter"]),
                time=julian_date(moment) if moment else None,
                night=night_of(moment, longitude) if moment else "",
                temperature=_number(frame["temperature"]),
                overscan=float(sample["overscan"]),
                level=float(sample["level"]),
                problem=problem,
                **{name: str(frame[name]) for name in ("detector", "binning", "read_mode", "shape")},
            )
        )
    return rows, aside


def _number(value):
    return None if np.ma.is_masked(value) or not np.isfinite(value) else float(value)


def _fate(frame, contradiction):
    """Fate and reason of a frame that cannot be used; empty for one that can."""
    kind, problem = str(frame["kind"]), str(frame["problem"])
    if not str(frame["shape"]):
        return "failed", problem
    if "is not raw" in problem:
        # A product of ours among the raw frames is nobody's mistake; another program's is not what it seems.
        return "unused" if "ccdnight:" in problem else "rejected", problem
    if kind == "unknown":
        if str(frame["evidence"]).startswith("ignored"):
            return "unused", f"not a frame that is reduced ({frame['evidence']})"
        return "rejected", problem
    if contradiction:
        return "rejected", contradiction
    if kind == "dark" and _number(frame["exposure"]) is None:
        return "rejected", problem or "its exposure is not known; a dark needs one"
    return "", ""
