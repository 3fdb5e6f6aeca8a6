"""
Which calibration frame serves which: reads no pixels, explains every choice and every refusal.

The order of choice for a dark is: equal exposure, then a longer one scaled down, then a shorter one scaled up,
always of equal detector temperature. Biases are of the same night where there are any; a dark never takes the
bias level of another night. Of several sets of flats the one nearest in time is taken that has enough frames.
"""

from dataclasses import dataclass, field

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.levels import choose_bias_source
from ccdnight.naming import master_names, science_names
from ccdnight.observation import julian_date, night_of, parse_time
from ccdnight.plans import MasterPlan, Plan, SciencePlan, UnusedFrame

__all__ = ["FrameRow", "Plan", "associate", "frame_rows"]


@dataclass(frozen=True)
class FrameRow:
    """One usable frame, as the association sees it."""

    path: str
    kind: str
    key: tuple
    exposure: float | None
    filter: str
    time: float | None
    night: str
    temperature: float | None
    overscan: float
    level: float
    problem: str = ""
    detector: str = ""
    binning: str = ""
    read_mode: str = ""
    shape: str = ""


@dataclass
class Group:
    """Frames that are combined to one master."""

    kind: str
    rows: list
    name: str = ""
    filter: str = ""
    bias: object = None
    dark: object = None
    notes: list = field(default_factory=list)

    @property
    def first(self):
        """Its first frame."""
        return self.rows[0]

    @property
    def exposure(self):
        """Mean exposure in seconds."""
        return float(np.mean([row.exposure or 0.0 for row in self.rows]))

    @property
    def time(self):
        """Mean time, None if no frame has one."""
        times = [row.time for row in self.rows if row.time is not None]
        return float(np.mean(times)) if times else None

    @property
    def temperature(self):
        """Mean detector temperature, None if no frame has one."""
        values = [row.temperature for row in self.rows if row.temperature is not None]
        return float(np.mean(values)) if values else None


def associate(rows, aside, *, profile, policy, row_by_row=None):
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

    Returns
    -------
    Plan
    """
    return _Association(rows, aside, profile, policy, row_by_row or {}).plan()


class _Association:
    """The state of making one plan."""

    def __init__(self, rows, aside, profile, policy, row_by_row):
        self.rows, self.aside, self.profile, self.policy = rows, list(aside), profile, policy
        self.notes, self.reasons, self.used = [], {}, {}
        keys = dict.fromkeys(row.key for row in rows)
        self.sources = {}
        for key in keys:
            mine = [row for row in rows if row.key == key]
            self.sources[key] = choose_bias_source(mine, policy, row_by_row.get(key))
            self.notes += [note for note in self.sources[key].notes if note not in self.notes]
        self.groups = {kind: self._groups(kind) for kind in ("bias", "dark", "flat")}
        self._name()

    # -- groups of frames ------------------------------------------------------------------------------

    def _groups(self, kind):
        kinds = ("flat", "twilight") if kind == "flat" else (kind,)
        mine = [row for row in self.rows if row.kind in kinds]
        groups = []
        for row in mine:
            for group in groups:
                if self._belongs(row, group):
                    group.rows.append(row)
                    break
            else:
                groups.append(Group(kind, [row], filter=row.filter if kind == "flat" else ""))
        return self._merge_small(groups) if kind == "flat" else groups

    def _belongs(self, row, group):
        first = group.first
        if row.key != first.key or row.night != first.night:
            return False
        if group.kind == "dark":
            return self._equal_exposure(row.exposure, first.exposure) and self._equal_temperature(
                row.temperature, first.temperature
            )
        return group.kind == "bias" or (row.kind == first.kind and row.filter == first.filter)

    def _merge_small(self, groups):
        """Flats of one filter and kind from several nights are one set where no night has enough alone."""
        merged = {}
        for group in groups:
            merged.setdefault((group.first.key, group.filter, group.first.kind), []).append(group)
        result = []
        for same in merged.values():
            if len(same) > 1 and not any(len(group.rows) >= self.policy.minimum_flat for group in same):
                same = [Group("flat", [row for group in same for row in group.rows], filter=same[0].filter)]
            result += same
        return result

    def _name(self):
        for kind, groups in self.groups.items():
            for group, name in zip(groups, master_names(kind, groups, self.profile), strict=True):
                group.name = name

    # -- rules ---------------------------------------------------------------------------------------------

    def _equal_exposure(self, one, other):
        if one is None or other is None:
            return False
        seconds, fraction = self.policy.exposure_tolerance
        return abs(one - other) <= max(seconds, fraction * max(one, other)) * (1 + 1e-9)

    def _equal_temperature(self, one, other):
        return one is None or other is None or abs(one - other) <= self.policy.temperature_tolerance

    def _enough(self, group):
        return len(group.rows) >= getattr(self.policy, f"minimum_{group.kind}")

    def _allowed(self, groups):
        if self.policy.below_minimum == "use":
            return groups
        return [group for group in groups if self._enough(group)]

    def _nearest(self, groups, time):
        """Sets with enough frames first, then the nearest in time, then the largest."""

        def order(group):
            apart = abs(group.time - time) if group.time is not None and time is not None else 0.0
            return (not self._enough(group), round(apart, 6), -len(group.rows))

        return min(groups, key=order) if groups else None

    def choose_bias(self, row, *, own_night=False):
        """The set of biases for a frame, and why."""
        source = self.sources[row.key]
        if not source.frames:
            return None, f"bias level from the overscan ({source.why})"
        groups = self._allowed([group for group in self.groups["bias"] if group.first.key == row.key])
        mine = [group for group in groups if group.first.night == row.night]
        if own_night and not source.window and not self.policy.foreign_dark_bias:
            groups = mine
            if not groups:
                return None, "no bias of its own night, and no overscan: its level is not known"
        group = self._nearest([g for g in mine if self._enough(g)] or groups, row.time)
        if group is None:
            return None, self._missing("bias", row)
        level = "shape from" if source.window else "level and shape from"
        return group, f"bias: {level} {len(group.rows)} frames of {_night(group)}"

    def choose_dark(self, row, exposure):
        """The set of darks for a frame of some exposure, and why."""
        if self.policy.dark == "none":
            return None, "dark: none, the policy asks for none"
        if exposure is None:
            return None, "dark: none, the exposure of the frame is not known"
        groups = self._allowed([g for g in self.groups["dark"] if g.first.key == row.key and self._usable_dark(g)])
        if not groups:
            return None, self._missing("dark", row)
        warm = [g for g in groups if self._equal_temperature(g.temperature, row.temperature)]
        if not warm:
            there = ", ".join(f"{g.temperature:.1f}" for g in groups)
            return None, (
                f"dark: none, the detector was at {row.temperature:.1f} C and the darks at {there} C "
                f"(tolerance {self.policy.temperature_tolerance:g})"
            )
        exact = [g for g in warm if self._equal_exposure(g.exposure, exposure)]
        if exact:
            group = self._nearest(exact, row.time)
            return group, f"dark: {len(group.rows)} frames of the same exposure, {group.exposure:g} s"
        if self.policy.dark == "exact":
            return None, f"dark: none of {exposure:g} s, and the policy takes no others"
        return self._scaled_dark(warm, exposure, row)

    def _scaled_dark(self, groups, exposure, row):
        longer = [g for g in groups if g.exposure > exposure]
        if longer:
            shortest = min(g.exposure for g in longer)
            group = self._nearest([g for g in longer if self._equal_exposure(g.exposure, shortest)], row.time)
            return group, f"dark: {group.exposure:g} s scaled down to {exposure:g} s"
        longest = max(g.exposure for g in groups)
        if longest <= 0:
            return None, "dark: none, the darks have no exposure"
        group = self._nearest([g for g in groups if self._equal_exposure(g.exposure, longest)], row.time)
        factor = exposure / longest
        if factor <= self.policy.dark_scale_up:
            return group, f"dark: {longest:g} s scaled up to {exposure:g} s, a factor of {factor:.2f}"
        return group, (
            f"dark: {longest:g} s is too short for {exposure:g} s (factor {factor:.1f}, at most "
            f"{self.policy.dark_scale_up:g}): its smooth part and its hot pixels only"
        )

    def _usable_dark(self, group):
        if group.bias is None and not group.notes:
            group.bias, why = self.choose_bias(group.first, own_night=True)
            group.notes.append(why)
            source = self.sources[group.first.key]
            if group.bias is None and source.frames and not source.window:
                group.notes.append("unusable")
        return "unusable" not in group.notes

    def choose_flat(self, row):
        """The set of flats for a science frame, and why."""
        if self.policy.flat == "none":
            return None, "flat: none, the policy asks for none"
        same = [g for g in self.groups["flat"] if g.first.key == row.key and g.filter == row.filter]
        groups = self._allowed(same)
        if not groups:
            return None, self._missing("flat", row)
        # The twilight sky lights the telescope as the night sky does; a dome does not quite.
        twilight = [g for g in groups if g.first.kind == "twilight" and self._enough(g)]
        group = self._nearest(twilight or groups, row.time)
        kind = "twilight flats" if group.first.kind == "twilight" else "flats"
        return group, f"flat: {len(group.rows)} {kind} in {row.filter or 'no filter'} of {_night(group)}"

    def _missing(self, kind, row):
        alike = [g for g in self.groups[kind] if kind != "flat" or g.filter == row.filter]
        what = f"{kind}s in {row.filter or 'no filter'}" if kind == "flat" else f"{kind}s"
        if not alike:
            filters = sorted({g.filter or "no filter" for g in self.groups["flat"]})
            there = f" (there are flats in {', '.join(filters)})" if kind == "flat" and filters else ""
            return f"{kind}: none, there are no {what}{there}"
        if any(g.first.key == row.key for g in alike):
            found, least = max(len(g.rows) for g in alike), getattr(self.policy, f"minimum_{kind}")
            return f"{kind}: none, {found} {what} are fewer than the {least} that the policy asks for"
        names = ", ".join(self.policy.match)
        return f"{kind}: none, the {what} differ in {names}: {alike[0].first.key} and {row.key}"

    # -- the plan ---------------------------------------------------------------------------------------------

    def plan(self):
        """Science frames first, then the masters that they need."""
        science = [row for row in self.rows if row.kind == "science"]
        names = science_names([row.path for row in science])
        planned = [item for row in science if (item := self._science(row, names[row.path]))]
        if not science:
            self.notes.append("no science frames: every master that the frames allow is made")
            self._need_everything()
        masters = self._masters()
        self._tell_unused(masters)
        return Plan(
            profile=self.profile.name,
            policy=self.policy,
            masters=tuple(masters),
            science=tuple(planned),
            unused=tuple(sorted(self.aside, key=lambda item: item.path)),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _science(self, row, output):
        bias, why_bias = self.choose_bias(row)
        dark, why_dark = self.choose_dark(row, row.exposure)
        flat, why_flat = self.choose_flat(row)
        source = self.sources[row.key]
        reasons = [why_bias, why_dark, why_flat]
        missing = {"bias": bias is None and source.frames, "dark": dark is None, "flat": flat is None}
        for role, is_missing in missing.items():
            if is_missing and getattr(self.policy, role) != "none":
                why = reasons[("bias", "dark", "flat").index(role)]
                if getattr(self.policy, f"missing_{role}") == "leave out":
                    self.aside.append(UnusedFrame(row.path, row.kind, "unused", f"left out by the policy: {why}"))
                    return None
                self.notes.append(f"{why}; science frames are reduced without it")
        for group in (bias, dark, flat):
            self._need(group)
        return SciencePlan(
            input=row.path,
            output=output,
            bias=bias.name if bias else "",
            dark=dark.name if dark else "",
            flat=flat.name if flat else "",
            overscan_window=source.window,
            reason="; ".join(reasons),
            problem=row.problem,
        )

    def _need(self, group):
        """Mark a set as needed, with the sets that it needs itself."""
        if group is None or group.name in self.used:
            return
        if group.kind == "dark":
            self._usable_dark(group)
        elif group.kind == "flat":
            group.bias, why_bias = self.choose_bias(group.first)
            group.notes.append(why_bias)
            if self.policy.dark_for_flats:
                group.dark, why_dark = self.choose_dark(group.first, group.exposure)
                group.notes.append(why_dark)
        least = getattr(self.policy, f"minimum_{group.kind}")
        if len(group.rows) < least:
            self.notes.append(
                f"{group.name}: {len(group.rows)} frames are fewer than the {least} asked for; cosmic rays may stay in it"
            )
        self.used[group.name] = group
        for other in (group.bias, group.dark):
            self._need(other)

    def _need_everything(self):
        for groups in self.groups.values():
            for group in self._allowed(groups):
                if group.kind != "dark" or self._usable_dark(group):
                    self._need(group)

    def _masters(self):
        order = {"bias": 0, "dark": 1, "flat": 2}
        groups = sorted(self.used.values(), key=lambda group: (order[group.kind], group.name))
        return [
            MasterPlan(
                name=group.name,
                kind=group.kind,
                inputs=tuple(row.path for row in group.rows),
                bias=group.bias.name if group.bias else "",
                dark=group.dark.name if group.dark else "",
                filter=group.filter,
                overscan_window=self.sources[group.first.key].window,
                reason="; ".join([_describe(group), *group.notes]),
            )
            for group in groups
        ]

    def _tell_unused(self, masters):
        taken = {path for master in masters for path in master.inputs}
        for kind, groups in self.groups.items():
            for group in groups:
                reason = self._why_unused(kind, group)
                self.aside += [
                    UnusedFrame(row.path, row.kind, "unused", reason) for row in group.rows if row.path not in taken
                ]

    def _why_unused(self, kind, group):
        least = getattr(self.policy, f"minimum_{kind}")
        if "unusable" in group.notes:
            return f"a dark without its bias: {group.notes[0]}"
        if not self._enough(group) and self.policy.below_minimum == "refuse":
            return f"{len(group.rows)} frames are fewer than the {least} that the policy asks for"
        if kind == "bias" and not self.sources[group.first.key].frames:
            return f"the policy takes the bias from the overscan alone ({self.sources[group.first.key].why})"
        if kind == "flat":
            science = [row for row in self.rows if row.kind == "science"]
            if not any(row.filter == group.filter for row in science):
                few = f"; it is the only one, {least} are asked for" if len(group.rows) == 1 < least else ""
                return f"no science frame is in {group.filter or 'no filter'}{few}"
            return f"other flats in {group.filter or 'no filter'} are nearer in time or more"
        if kind == "dark":
            return f"no frame needs a dark of {group.exposure:g} s"
        return f"bias of {_night(group)}: no frame needs it, others are nearer in time or more"


def _night(group):
    return f"the night of {group.first.night}" if group.first.night else "unknown date"


def _describe(group):
    count = f"{len(group.rows)} frame{'s' if len(group.rows) != 1 else ''}"
    if group.kind == "dark":
        return f"{count} of {group.exposure:g} s"
    if group.kind == "flat":
        return f"{count} in {group.filter or 'no filter'}, {group.exposure:g} s"
    return f"{count} of {_night(group)}"


def frame_rows(frames, samples, found, *, policy, longitudes):
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
        return "rejected", problem
    if kind == "unknown":
        if str(frame["evidence"]).startswith("ignored"):
            return "unused", f"not a frame that is reduced ({frame['evidence']})"
        return "rejected", problem
    if contradiction:
        return "rejected", contradiction
    if kind == "dark" and _number(frame["exposure"]) is None:
        return "rejected", problem or "its exposure is not known; a dark needs one"
    return "", ""
