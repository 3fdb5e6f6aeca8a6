"""Segments of columns, in which a sum grows or a gap is short: all columns side by side, row by row."""

import numpy as np

from ccdnight._kernels._jit import kernel_with_room

__all__ = ["mark_gaps", "mark_segments"]


@kernel_with_room
def mark_gaps(bad, most, out):
    """
    Mark the gaps between bad pixels of a column that are not longer than `most`.

    Parameters
    ----------
    bad : `~numpy.ndarray`
        bool, shape ``(ny, nx)``.
    most : int
        Pixels.
    out : `~numpy.ndarray`
        bool, of the same shape; set in the gaps.
    """
    ny, nx = bad.shape
    last = np.full(nx, ny, np.int64)
    for y in range(ny):
        for x in range(nx):
            if bad[y, x]:
                if 1 < y - last[x] <= most + 1:
                    out[last[x] + 1 : y, x] = True
                last[x] = y


@kernel_with_room
def mark_segments(values, columns, sign, clip, drift, score, out):
    """
    Mark the segments of columns in which the sum of ``sign * values - drift`` grows by more than `score`.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    columns : tuple of int
        First column that is looked at, and the one behind the last.
    sign : float
        1 or -1.
    clip, drift, score : float
        What a value counts for at most, what is taken off each, and how far a sum must grow.
    out : `~numpy.ndarray`
        bool, shape ``(ny, nx)``; set where a segment is.
    """
    first, nx = columns[0], columns[1] - columns[0]
    total, best = np.zeros(nx, np.float32), np.zeros(nx, np.float32)
    start, end = np.zeros(nx, np.int32), np.zeros(nx, np.int32)
    over, none = np.zeros(nx, np.bool_), np.float32(0)
    for y in range(values.shape[0]):
        row, after = values[y, first:], np.int32(y + 1)
        found = False
        for x in range(nx):
            value = sign * row[x]
            value = value if value < clip else clip
            value = value if value > -clip else -clip
            sum_ = total[x] + (value - drift)
            grown = sum_ > best[x]
            end[x] = after if grown else end[x]
            most = sum_ if grown else best[x]
            # The segment is over where the sum is back at 0, or has fallen as far as it must grow.
            done = (sum_ <= none) | (sum_ < most - score)
            found |= done & (most > score)
            total[x], best[x], over[x] = sum_, most, done
        if found:
            for x in range(nx):
                if over[x] and best[x] > score:
                    out[start[x] : end[x], first + x] = True
        for x in range(nx):
            done = over[x]
            total[x] = none if done else total[x]
            best[x] = none if done else best[x]
            start[x] = after if done else start[x]
    for x in range(nx):
        if best[x] > score:
            out[start[x] : end[x], first + x] = True
