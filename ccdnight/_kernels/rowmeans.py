"""Clipped means of many short rows."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["clipped_means"]


@kernel
def clipped_means(data, limit, rounds, center, count):
    """
    Mean of every row about its center, values beyond a limit left out, again and again until it stays.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float64, shape ``(ny, nx)``; NaN is left out.
    limit : float
        Distance from the center up to which a value counts.
    rounds : int
        Most of them.
    center : `~numpy.ndarray`
        float64, shape ``(ny,)``: where to begin; the means are written there. A row without values keeps its own.
    count : `~numpy.ndarray`
        int64, shape ``(ny,)``; written: values that the last mean was taken of.
    """
    for y in range(data.shape[0]):
        row, middle = data[y], center[y]
        for _ in range(rounds):
            total, inside = 0.0, 0
            for x in range(row.size):
                if np.abs(row[x] - middle) <= limit:
                    total += row[x]
                    inside += 1
            count[y] = inside
            mean = total / inside if inside else middle
            if mean == middle:
                break
            middle = mean
        center[y] = middle
