"""Segments of columns, in which a sum grows or a gap is short: all columns side by side, row by row."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["mark_gaps", "mark_segments"]


@kernel
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


@kernel
def mark_segments(values, drift, score, out):
    """
    Mark the segments of every column in which the sum of ``values - drift`` grows by more than `score`.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    drift, score : float
        What is taken off each value, and how far a sum must grow.
    out : `~numpy.ndarray`
        bool, shape ``(ny, nx)``; set where a segment is.
    """
    ny, nx = values.shape
    total, best = np.zeros(nx, np.float32), np.zeros(nx, np.float32)
    start, end = np.zeros(nx, np.int32), np.zeros(nx, np.int32)
    for y in range(ny):
        row = values[y]
        for x in range(nx):
            total[x] += row[x] - drift
            if total[x] > best[x]:
                best[x], end[x] = total[x], y + 1
            # The segment is over where the sum is back at 0, or has fallen as far as it must grow.
            if total[x] <= 0.0 or total[x] < best[x] - score:
                if best[x] > score:
                    out[start[x] : end[x], x] = True
                total[x], best[x], start[x] = 0.0, 0.0, y + 1
    for x in range(nx):
        if best[x] > score:
            out[start[x] : end[x], x] = True
