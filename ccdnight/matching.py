"""
Sets of calibration frames, and which of them serves a frame; every choice comes with its reason.

The order of choice for a dark is: equal exposure, then a longer one scaled down, then a shorter one scaled up,
always of equal detector temperature. Biases are of the same night where there are any; a dark never takes the
bias level of another night. Of several sets of flats the one nearest in time is taken that has enough frames.
"""

from dataclasses import dataclass, field

import numpy as np

from ccdnight.levels import choose_bias_source
from ccdnight.naming import master_names

__all__ = ["FrameRow", "Group", "Matcher", "differences", "night_words"]


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
    twilight: object = None
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


class Matcher:
    """
    The sets of calibration frames of a night, and the rules of choice.

    Parameters
    ----------
    rows : list of FrameRow
        Frames that can be used.
    profile : InstrumentProfile
        The instrument.
    policy : Policy
        How its nights are reduced.
    row_by_row : dict
        See `ccdnight.association.associate`.
    """

    def __init__(self, rows, profile, policy, row_by_row):
        self.rows, self.profile, self.policy = rows, profile, policy
        self.sources = {}
        for key in dict.fromkeys(row.key for row in rows):
            mine = [row for row in rows if row.key == key]
            self.sources[key] = choose_bias_source(mine, policy, row_by_row.get(key))
        self.groups = {kind: self._groups(kind) for kind in ("bias", "dark", "flat")}

    def name(self, groups):
        """
        Name the sets that are used; those that serve nothing need no name and take none away.

        Parameters
        ----------
        groups : iterable of Group
            Sets.
        """
        for kind in self.groups:
            mine = [group for group in self.groups[kind] if any(group is other for other in groups)]
            for group, name in zip(mine, master_names(kind, mine, self.profile), strict=True):
                group.name = name

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

    # -- rules ---------------------------------------------------------------------------------------------

    def _equal_exposure(self, one, other):
        if one is None or other is None:
            return False
        seconds, fraction = self.policy.exposure_tolerance
        return abs(one - other) <= max(seconds, fraction * max(one, other)) * (1 + 1e-9)

    def _equal_temperature(self, one, other):
        return one is None or other is None or abs(one - other) <= self.policy.temperature_tolerance

    def enough(self, group):
        """
        Whether a set has as many frames as the policy asks for.

        Parameters
        ----------
        group : Group
            The set.

        Returns
        -------
        bool
        """
        return len(group.rows) >= getattr(self.policy, f"minimum_{group.kind}")

    def allowed(self, groups):
        """
        Sets that may be used: all, or those with enough frames.

        Parameters
        ----------
        groups : list of Group
            Sets.

        Returns
        -------
        list of Group
        """
        if self.policy.below_minimum == "use":
            return groups
        return [group for group in groups if self.enough(group)]

    def _nearest(self, groups, time):
        """Sets with enough frames first, then the nearest in time, then the largest."""

        def order(group):
            apart = abs(group.time - time) if group.time is not None and time is not None else 0.0
            return (not self.enough(group), round(apart, 6), -len(group.rows))

        return min(groups, key=order) if groups else None

    def choose_bias(self, row, *, own_night=False):
        """
        The set of biases for a frame, and why.

        Parameters
        ----------
        row : FrameRow
            The frame.
        own_night : bool, optional
            Whether it needs the bias level of its own night, as a dark without an overscan does.

        Returns
        -------
        group : Group or None
        reason : str
        """
        source = self.sources[row.key]
        if not source.frames:
            return None, f"bias level from the overscan ({source.why})"
        groups = self.allowed([group for group in self.groups["bias"] if group.first.key == row.key])
        mine = [group for group in groups if group.first.night == row.night]
        if own_night and not source.window and not self.policy.foreign_dark_bias:
            groups = mine
            if not groups:
                return None, "no bias of its own night, and no overscan: its level is not known"
        group = self._nearest([g for g in mine if self.enough(g)] or groups, row.time)
        if group is None:
            return None, self._missing("bias", row)
        level = "shape from" if source.window else "level and shape from"
        return group, f"bias: {level} {len(group.rows)} frames of {night_words(group)}"

    def choose_dark(self, row, exposure):
        """
        The set of darks for a frame, and why.

        Parameters
        ----------
        row : FrameRow
            The frame.
        exposure : float or None
            Its exposure in seconds.

        Returns
        -------
        group : Group or None
        reason : str
        """
        if self.policy.dark == "none":
            return None, "dark: none, the policy asks for none"
        if exposure is None:
            return None, "dark: none, the exposure of the frame is not known"
        groups = self.allowed([g for g in self.groups["dark"] if g.first.key == row.key and self.usable_dark(g)])
        if not groups:
            unusable = [g for g in self.groups["dark"] if g.first.key == row.key and "unusable" in g.notes]
            return None, f"dark: none, {unusable[0].notes[0]}" if unusable else self._missing("dark", row)
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
            return group, f"dark: {group.exposure:g} s scaled down to {_seconds(exposure)} s"
        longest = max(g.exposure for g in groups)
        if longest <= 0:
            return None, "dark: none, the darks have no exposure"
        group = self._nearest([g for g in groups if self._equal_exposure(g.exposure, longest)], row.time)
        factor = exposure / longest
        if factor <= self.policy.dark_scale_up:
            return group, f"dark: {longest:g} s scaled up to {_seconds(exposure)} s, a factor of {factor:.2f}"
        return group, (
            f"dark: {longest:g} s is too short for {_seconds(exposure)} s (factor {factor:.1f}, at most "
            f"{self.policy.dark_scale_up:g}): its smooth part and its hot pixels only"
        )

    def usable_dark(self, group):
        """
        Whether the bias level of a set of darks can be known.

        Parameters
        ----------
        group : Group
            The set; its bias is chosen here.

        Returns
        -------
        bool
        """
        if group.bias is None and not group.notes:
            group.bias, why = self.choose_bias(group.first, own_night=True)
            group.notes.append(why)
            source = self.sources[group.first.key]
            if group.bias is None and source.frames and not source.window:
                group.notes.append("unusable")
        return "unusable" not in group.notes

    def choose_flat(self, row):
        """
        The set of flats for a science frame, and why.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        group : Group or None
        reason : str
        """
        if self.policy.flat == "none":
            return None, "flat: none, the policy asks for none"
        if self.policy.flat == "sky":
            return None, "flat: of the sky, as the policy asks for"
        same = [g for g in self.groups["flat"] if g.first.key == row.key and g.filter == row.filter]
        groups = self.allowed(same)
        if not groups:
            return None, self._missing("flat", row)
        # The twilight sky lights the telescope as the night sky does; a dome does not quite.
        twilight = [g for g in groups if g.first.kind == "twilight" and self.enough(g)]
        dome = [g for g in groups if g.first.kind == "flat" and self.enough(g)]
        name = row.filter or "no filter"
        if twilight and dome and self.policy.illumination == "auto":
            group = self._nearest(dome, row.time)
            # The same for every science frame that the dome flats serve.
            group.twilight = self._nearest(twilight, group.time)
            words = f"{len(group.rows)} dome flats in {name} of {night_words(group)}"
            return group, f"flat: {words}, brought to the large scales of {len(group.twilight.rows)} twilight flats"
        group = self._nearest(twilight or groups, row.time)
        kind = "twilight flats" if group.first.kind == "twilight" else "flats"
        return group, f"flat: {len(group.rows)} {kind} in {name} of {night_words(group)}"

    def _missing(self, kind, row):
        alike = [g for g in self.groups[kind] if kind != "flat" or g.filter == row.filter]
        plural = {"bias": "biases", "dark": "darks", "flat": "flats"}[kind]
        band = f"in {row.filter}" if row.filter else "without a filter"
        what = f"{plural} {band}" if kind == "flat" else plural
        if not alike:
            filters = sorted({g.filter or "no filter" for g in self.groups["flat"]})
            there = f" (there are flats in {', '.join(filters)})" if kind == "flat" and filters else ""
            return f"{kind}: none, there are no {what}{there}"
        if any(g.first.key == row.key for g in alike):
            found, least = max(len(g.rows) for g in alike), getattr(self.policy, f"minimum_{kind}")
            return f"{kind}: none, {found} {what} are fewer than the {least} that the policy asks for"
        return f"{kind}: none, the {what} have {differences(self.policy.match, alike[0].first.key, row.key)}"


def differences(names, key, wanted):
    """
    In what two matching keys differ, in words.

    Parameters
    ----------
    names : tuple of str
        What the keys hold.
    key, wanted : tuple of str
        The keys.

    Returns
    -------
    str
    """
    pairs = [item for item in zip(names, key, wanted, strict=True) if item[1] != item[2]]
    return ", ".join(f"{name} {one or 'none'} instead of {other or 'none'}" for name, one, other in pairs)


def night_words(group):
    """
    The night of a set of frames, in words.

    Parameters
    ----------
    group : Group
        The set.

    Returns
    -------
    str
    """
    return f"the night of {group.first.night}" if group.first.night else "unknown date"


def _seconds(exposure):
    """An exposure for the reader; the mean of a series of twilight flats has more digits than anybody needs."""
    return f"{exposure:g}" if exposure < 1 else f"{round(exposure, 2):g}"
