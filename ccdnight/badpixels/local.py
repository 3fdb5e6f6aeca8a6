"""Neighborhoods: moving medians and the local scatter, by strips of rows that stay in the cache."""

import functools
import itertools

import numpy as np

from ccdnight._kernels.box import box_rank, median_of_medians
from ccdnight._kernels.order import BISECT, NETWORK_LIMIT, selection_network, sorting_network
from ccdnight.execution import map_strips
from ccdnight.statistics import values_of_rows

__all__ = ["box_value", "each_block_row", "local_median", "local_residual", "local_sigma"]

#: Rows that a thread filters at once.
_STRIP = 128
#: Side of the blocks in which the standard deviation is measured, and the part of a Gaussian within it on each side.
_BLOCK, _ONE_SIGMA = 32, (0.15865, 0.84135)
#: Values of the moving median along rows, and along columns.
_MEDIAN = 7


@functools.lru_cache(maxsize=8)
def _table(n, rank):
    if n > NETWORK_LIMIT:
        return BISECT
    return selection_network(sorting_network(n), rank)


def _padded(image, rows, box):
    """Some rows of an image with half a box around them, mirrored beyond the edges."""
    ny, (high, wide) = image.shape[0], (side // 2 for side in box)
    around = np.arange(rows.start - high, rows.stop + high) % (2 * ny)
    around = np.where(around < ny, around, 2 * ny - 1 - around)
    if around.size == around[-1] - around[0] + 1:
        around = slice(around[0], around[-1] + 1)
    return np.pad(image[around], [(0, 0), (wide, wide)], mode="symmetric")


def box_value(image, box, rank, *, workers=None):
    """
    Value of a rank in the box around every pixel; beyond its edges the image is mirrored.

    This is equivalent to ``scipy.ndimage.rank_filter(image, rank, size=box)``.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite.
    box : tuple of int
        Rows and columns, odd.
    rank : int
        From 0.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        float32.
    """
    out, table = np.empty(image.shape, np.float32), _table(box[0] * box[1], rank)

    def do(rows):
        box_rank(_padded(image, rows, box), tuple(map(int, box)), rank, table, out[rows])

    ny = image.shape[0]
    map_strips(do, [slice(a, min(a + _STRIP, ny)) for a in range(0, ny, _STRIP)], workers=workers)
    return out


def local_median(image, rows=None):
    """
    Median along columns, of 7 values, of the medians along rows: a fraction of the time of a box, for almost the same.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite; beyond its edges it is mirrored.
    rows : slice, optional
        Those that are wanted; by default all.

    Returns
    -------
    `~numpy.ndarray`
        float32.
    """
    rows = slice(0, image.shape[0]) if rows is None else rows
    out = np.empty((rows.stop - rows.start, image.shape[1]), np.float32)
    median_of_medians(_padded(image, rows, (_MEDIAN, _MEDIAN)), out)
    return out


def local_residual(image, rows):
    """
    What some rows of an image have beyond their `local_median`.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite.
    rows : slice
        Which.

    Returns
    -------
    `~numpy.ndarray`
        float32, shape ``(rows, nx)``.
    """
    return image[rows] - local_median(image, rows)


def _edges(size):
    """Edges of blocks of equal size, none smaller than half."""
    return np.linspace(0, size, max(1, round(size / _BLOCK)) + 1).astype(int)


def each_block_row(function, regions, *, workers=None):
    """
    Call a function for every row of the blocks in which `local_sigma` is measured.

    Parameters
    ----------
    function : callable
        Called with the rows and columns of a region, and the slice of its rows, counted from its first, that belongs
        to a row of blocks.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.
    """
    strips = [
        (part, slice(int(top), int(bottom)))
        for part in regions
        for top, bottom in itertools.pairwise(_edges(part[0].stop - part[0].start))
    ]
    map_strips(lambda item: function(*item), strips, workers=workers)


def local_sigma(residual):
    """
    Standard deviation in blocks of 32 x 32 pixels, from the central two thirds of the values of every other row.

    Parameters
    ----------
    residual : `~numpy.ndarray`
        Shape ``(ny, nx)``, one row of blocks.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(nx,)``, the value of its block for every column.
    """
    edges, out = _edges(residual.shape[1]), np.empty(residual.shape[1], residual.dtype)
    widths, some = np.diff(edges), residual[::2]
    for width in np.unique(widths):
        index = edges[:-1][widths == width][:, None] + np.arange(width)
        values = some[:, index].transpose(1, 0, 2).reshape(len(index), -1)
        low, high = values_of_rows(values, [int(part * (values.shape[1] - 1)) for part in _ONE_SIGMA]).T
        out[index] = ((high - low) / 2)[:, None]
    return out
