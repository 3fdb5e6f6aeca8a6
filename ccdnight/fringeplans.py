"""Which fringe frames a night has: from the dithered science frames of filters that fringe, if there are enough."""

from dataclasses import dataclass

import numpy as np

from ccdnight.matching import Group
from ccdnight.naming import master_names
from ccdnight.plans import MasterPlan
from ccdnight.profiles.interpret import matches_globs

__all__ = ["MOST_FRAMES", "FringePlans", "find_fringes"]

#: Science frames that make a fringe frame at the most: they are held in memory together, 10 bytes for each pixel, and
#: smoothed the pattern of twelve is as good as the sky of any of them can tell.
MOST_FRAMES = 12


@dataclass
class FringePlans:
    """
    The fringe frames of a night.

    Attributes
    ----------
    groups : list of Group
        Science frames of one configuration and filter.
    fringing : dict
        Path of a science frame in a filter that fringes to its group, None where there are too few frames.
    why : dict
        Path to the reason.
    """

    groups: list
    fringing: dict
    why: dict

    def name_for(self, row):
        """
        The fringe frame of a science frame.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        str
            '' for none.
        """
        group = self.fringing.get(row.path)
        return group.name if group else ""

    def reasons(self, row):
        """
        What is said of a frame's fringes.

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
        Whether a frame has fringes that cannot be subtracted.

        Parameters
        ----------
        row : FrameRow
            The frame.

        Returns
        -------
        bool
        """
        return row.path in self.fringing and self.fringing[row.path] is None

    def masters(self, sources):
        """
        The fringe frames as masters of a plan.

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
                kind="fringe",
                inputs=tuple(row.path for row in _some(group.rows)),
                filter=group.filter,
                overscan_window=sources[group.first.key].window,
                reason=f"{_count(group)} in {group.filter or 'no filter'}, calibrated and divided by their flats; "
                "sources masked, scaled to each frame",
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
    FringePlans
    """
    groups, fringing, why = {}, {}, {}
    for row, masters, _ in chosen if policy.fringe != "none" else ():
        if policy.fringing and matches_globs(row.filter, policy.fringing):
            fringing[row.path] = None
            if masters["flat"] is None:
                why[row.path] = "fringes: not subtracted, since the frame has no flat"
            else:
                groups.setdefault((row.key, row.filter), Group("fringe", [], filter=row.filter)).rows.append(row)
    least = max(3, policy.minimum_fringe)
    for group in list(groups.values()):
        count, band = len(group.rows), group.filter or "no filter"
        if count < least:
            few = f"fringes: not subtracted, {count} science frames in {band} are fewer than the {least} asked for"
            notes.append(f"{few}; take more dithered frames in {band}, or lower minimum_fringe (3 at least)")
            why |= {row.path: few for row in group.rows}
    enough = [group for group in groups.values() if len(group.rows) >= least]
    for group, name in zip(enough, master_names("fringe", enough, profile), strict=True):
        group.name = name
        fringing |= {row.path: group for row in group.rows}
        why |= {row.path: f"fringes: {name}, from {_count(group)}" for row in group.rows}
    return FringePlans(enough, fringing, why)


def _some(rows):
    """As many as are held in memory, spread over the night."""
    if len(rows) <= MOST_FRAMES:
        return rows
    return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, MOST_FRAMES).round().astype(int))]


def _count(group):
    taken = len(_some(group.rows))
    return f"{taken} science frames" if taken == len(group.rows) else f"{taken} of {len(group.rows)} science frames"
