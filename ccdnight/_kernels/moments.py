"""Passes over many values that clipped moments and quantiles are made of: how many, their sums, those in between."""

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room

__all__ = ["pick_between", "sums_within"]

#: Sums that run side by side, so that one instruction adds to many of them.
_LANES = 16


@kernel_with_room
def sums_within(values, center, width):
    """
    Count, sum and sum of squares of the values within a width of a center, both taken from the center.

    This is equivalent to ``d = values - center; d = d[abs(d) <= width]; len(d), d.sum(), (d**2).sum()`` in float64.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32 or float64, shape ``(n,)``, finite.
    center, width : float
        Values exactly at the width count.

    Returns
    -------
    count : int
    first, second : float
    """
    counts, first, second = np.zeros(_LANES), np.zeros(_LANES), np.zeros(_LANES)
    whole = values.size // _LANES * _LANES
    for begin in range(0, whole, _LANES):
        for lane in range(_LANES):
            away = np.float64(values[begin + lane]) - center
            inside = 1.0 if abs(away) <= width else 0.0
            away *= inside
            counts[lane] += inside
            first[lane] += away
            second[lane] += away * away
    for i in range(whole, values.size):
        away = np.float64(values[i]) - center
        if abs(away) <= width:
            counts[0] += 1
            first[0] += away
            second[0] += away * away
    return int(counts.sum()), first.sum(), second.sum()


@kernel
def pick_between(values, low, high, room):
    """
    Take out the values between two others, as long as there is room.

    This is equivalent to ``values[(values >= low) & (values <= high)]`` and ``(values < low).sum()``.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32 or float64, shape ``(n,)``.
    low, high : float
        Values equal to them are taken.
    room : `~numpy.ndarray`
        Of the same kind, shape ``(m,)``; written. The last place is for what is found in vain.

    Returns
    -------
    below : int
        Values that are lower.
    taken : int
        Those that were taken; ``m - 1`` if there may be more.
    """
    below, taken, last = 0, 0, room.size - 1
    for i in range(values.size):
        value = values[i]
        room[taken] = value
        below += value < low
        taken = min(taken + ((value >= low) & (value <= high)), last)
    return below, taken
