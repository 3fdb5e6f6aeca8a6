"""Masters made of dithered science frames: fringe frames in filters that fringe, flats of the sky on request."""

from dataclasses import dataclass

import numpy as np

from ccdnight.matching import Group
from ccdnight.naming import master_names
from ccdnight.plans import MasterPlan
from ccdnight.profiles.interpret import matches_globs

__all__ = ["MOST_FRAMES", "SeriesPlans", "find_fringes", "find_sky_flats"]

#: Science frames that make such a master at the most: they are held in memory together, 10 bytes for each pixel, and
#: the pattern of twelve, smoothed, is as good as the sky of any of them can tell.
MOST_FRAMES = 12


@dataclass
class SeriesPlans:
    """
    The masters of one kind.

    Attributes
    ----------
    groups : list of Group
        Science frames of one configuration and filter.
    wanted : dict
        Path of a science frame that should have such a master to its group, None where there are too few frames.
    why : dict
        Path to the reason.
    kind : str
        Kind of the masters.
    how : str
        How they are made, in words.
    """

    groups: list
    wanted: dict
    why: dict
    kind: str
    how: str

    def name_for(self, row):
        """
        The master of a science frame.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        str
            '' for none.
        """
        group = self.wanted.get(row.path)
        return group.name if group else ""

    def reasons(self, row):
        """
        What is said of a frame's master.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        list of str
        """
        return [self.why[row.path]] if row.path in self.why else []

    def lacks(self, row):
        """
        Whether a frame should have a master that cannot be made.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        bool
        """
        return row.path in self.wanted and self.wanted[row.path] is None

    def masters(self, sources):
        """
        As masters of a plan.

        Parameters
        ----------
        sources : dict
            Where the bias of each configuration comes from.

        Returns
        -------
        list of MasterPlan
        """
        return [
            MasterPlan(
                name=group.name,
                kind=self.kind,
                inputs=tuple(row.path for row in _some(group.rows)),
                filter=group.filter,
                overscan_window=sources[group.first.key].window,
                reason=f"{_count(group)} in {group.filter or 'no filter'}, {self.how}",
            )
            for group in self.groups
        ]


def find_fringes(chosen, policy, profile, notes):
    """
    Find the fringe frames that can be made.

    Parameters
    ----------
    chosen : list of tuple
        Science frames that are reduced, with their masters and reasons.
    policy : Policy
        Says which filters fringe and how many frames are asked for.
    profile : InstrumentProfile
        For the names.
    notes : list of str
        Takes what an observer should know.

    Returns
    -------
    SeriesPlans
    """
    groups, fringing, why = {}, {}, {}
    for row, masters, _ in chosen if policy.fringe != "none" else ():
        if policy.fringing and matches_globs(row.filter, policy.fringing):
            fringing[row.path] = None
            if masters["flat"] is None:
                why[row.path] = "fringes: not subtracted, since the frame has no flat"
            else:
                groups.setdefault((row.key, row.filter), Group("fringe", [], filter=row.filter)).rows.append(row)
    how = "calibrated and divided by their flats; sources masked, scaled to each frame"
    plans = SeriesPlans([], fringing, why, "fringe", how)
    return _complete(plans, groups, max(3, policy.minimum_fringe), profile, notes, ("fringe", "fringes", "subtracted"))


def find_sky_flats(chosen, policy, profile, notes):
    """
    Find the flats that can be made of the sky, where the policy asks for them.

    Parameters
    ----------
    chosen, policy, profile, notes
        As in `find_fringes`.

    Returns
    -------
    SeriesPlans
    """
    groups, wanted = {}, {}
    for row, _, _ in chosen if policy.flat == "sky" else ():
        wanted[row.path] = None
        groups.setdefault((row.key, row.filter), Group("skyflat", [], filter=row.filter)).rows.append(row)
    plans = SeriesPlans([], wanted, {}, "skyflat", "calibrated without a flat; sources masked, scaled to each other")
    return _complete(plans, groups, max(3, policy.minimum_flat), profile, notes, ("flat", "sky flat", "made"))


def _complete(plans, groups, least, profile, notes, words):
    """Take the groups that have enough frames, and say of the others what they lack."""
    kind, what, done = words
    for group in groups.values():
        count, band = len(group.rows), group.filter or "no filter"
        if count < least:
            few = f"{what}: not {done}, {count} science frames in {band} are fewer than the {least} asked for"
            notes.append(f"{few}; take more dithered frames in {band}, or lower minimum_{kind} (3 at least)")
            plans.why.update({row.path: few for row in group.rows})
    plans.groups[:] = [group for group in groups.values() if len(group.rows) >= least]
    for group, name in zip(plans.groups, master_names(kind, plans.groups, profile), strict=True):
        group.name = name
        plans.wanted.update({row.path: group for row in group.rows})
        plans.why.update({row.path: f"{what}: {name}, from {_count(group)}" for row in group.rows})
    return plans


def _some(rows):
    """As many as are held in memory, spread over the night."""
    if len(rows) <= MOST_FRAMES:
        return rows
    return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, MOST_FRAMES).round().astype(int))]


def _count(group):
    taken = len(_some(group.rows))
    return f"{taken} science frames" if taken == len(group.rows) else f"{taken} of {len(group.rows)} science frames"
