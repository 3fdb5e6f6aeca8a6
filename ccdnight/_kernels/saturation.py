"""Few pixels found among many: those with a flag, and those at a level and above."""

import numpy as np

from ccdnight._kernels._jit import kernel_with_room

__all__ = ["find_above", "find_flagged"]


@kernel_with_room
def find_flagged(flags, wanted, without):
    """
    Pixels with one of some flags and none of others.

    This is equivalent to ``np.flatnonzero((flags & wanted != 0) & (flags & without == 0))``, without the arrays
    between.

    Parameters
    ----------
    flags : `~numpy.ndarray`
        uint16, shape ``(ny, nx)``.
    wanted, without : uint16
        Bits.

    Returns
    -------
    `~numpy.ndarray`
        int64, places in the flattened array, rising.
    """
    ny, nx = flags.shape
    count, marked = 0, np.zeros(ny, np.bool_)
    for y in range(ny):
        row, bits = flags[y], np.uint16(0)
        # Many pixels at once; the few rows that have such a flag are gone through one by one.
        for x in range(nx):
            bits |= row[x]
        marked[y] = bits & wanted != 0
        if marked[y]:
            for x in range(nx):
                count += (row[x] & wanted != 0) & (row[x] & without == 0)
    places = np.empty(count, np.int64)
    i = 0
    for y in range(ny):
        if marked[y]:
            row = flags[y]
            for x in range(nx):
                if (row[x] & wanted != 0) & (row[x] & without == 0):
                    places[i] = y * nx + x
                    i += 1
    return places


@kernel_with_room
def find_above(data, level, most):
    """
    Pixels at a level and above.

    This is equivalent to ``np.flatnonzero(data >= level)``.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    level : float
        The level.
    most : int
        Where there are more, none are given.

    Returns
    -------
    `~numpy.ndarray`
        int64, places in the flattened array, rising.
    """
    ny, nx = data.shape
    count, marked, least = 0, np.zeros(ny, np.bool_), data.dtype.type(level)
    for y in range(ny):
        row, bright = data[y], np.int32(0)
        for x in range(nx):
            bright += np.int32(1) if row[x] >= least else np.int32(0)
        marked[y] = bright > 0
        count += bright
    places = np.empty(count if count <= most else 0, np.int64)
    i = 0
    if places.size:
        for y in range(ny):
            if marked[y]:
                row = data[y]
                for x in range(nx):
                    if row[x] >= least:
                        places[i] = y * nx + x
                        i += 1
    return places
