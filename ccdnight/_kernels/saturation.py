"""Few pixels found among many: those with a flag, and those at a level and above."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["find_above", "find_flagged"]


@kernel
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
    count = 0
    for y in range(ny):
        row = flags[y]
        for x in range(nx):
            count += (row[x] & wanted != 0) & (row[x] & without == 0)
    places = np.empty(count, np.int64)
    i = 0
    if count:
        for y in range(ny):
            row = flags[y]
            for x in range(nx):
                if (row[x] & wanted != 0) & (row[x] & without == 0):
                    places[i] = y * nx + x
                    i += 1
    return places


@kernel
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
    count = 0
    for y in range(ny):
        row = data[y]
        for x in range(nx):
            count += row[x] >= level
    places = np.empty(count if count <= most else 0, np.int64)
    i = 0
    if places.size:
        for y in range(ny):
            row = data[y]
            for x in range(nx):
                if row[x] >= level:
                    places[i] = y * nx + x
                    i += 1
    return places
