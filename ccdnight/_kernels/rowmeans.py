"""Clipped means and medians of many short rows."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["clipped_means", "row_medians"]


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


@kernel
def _select(values, size, rank):
    """Bring the value of a rank to its place, lower ones before it and higher ones behind (Hoare 1961, CACM 4, 321)."""
    low, high = 0, size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if rank <= right:
            high = right
        elif rank >= left:
            low = left
        else:
            return


@kernel
def row_medians(data, room, out):
    """
    Median of every row.

    This is equivalent to ``np.nanmedian(data, axis=1)``.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32 or float64, shape ``(ny, nx)``; NaN is left out.
    room : `~numpy.ndarray`
        Of the same kind, shape ``(nx,)``; written.
    out : `~numpy.ndarray`
        Of the same kind, shape ``(ny,)``; written, NaN without a value.
    """
    for y in range(data.shape[0]):
        size = 0
        for x in range(data.shape[1]):
            value = data[y, x]
            room[size] = value
            size += value == value  # noqa: PLR0124 - NaN is not
        if size == 0:
            out[y] = np.nan
            continue
        half = size // 2
        _select(room, size, half)
        out[y] = room[half]
        if size % 2 == 0:
            below = room[0]
            for x in range(1, half):
                below = max(below, room[x])
            out[y] = (below + room[half]) / 2
