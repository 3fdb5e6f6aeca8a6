"""Moving order statistics in a box: many pixels of a row side by side, each with the values of its box as a stack."""

import numpy as np

from ccdnight._kernels import medians
from ccdnight._kernels._jit import kernel_with_room
from ccdnight._kernels.medians import COLUMN, PLANE, ROW, TILE_COLUMNS, TILE_ROWS, median7
from ccdnight._kernels.order import WIDTH, values_of_rank

__all__ = ["box_rank", "median_of_medians"]

#: Width of a tile with what lies around it.
_ACROSS = medians.WIDTH

#: Pixels that are done at once: their boxes of 7 x 7 values fit into the nearest cache.
_SIDE_BY_SIDE = 128


@kernel_with_room
def box_rank(padded, box, rank, table, out):
    """
    Value of a given rank in the box around every pixel.

    This is equivalent to ``scipy.ndimage.rank_filter(image, rank, size=box)`` where the image was padded by
    ``numpy.pad(image, ..., mode="symmetric")`` with half the box.

    Parameters
    ----------
    padded : `~numpy.ndarray`
        float32, shape ``(ny + box[0] - 1, nx + box[1] - 1)``.
    box : tuple of int
        Rows and columns, odd.
    rank : int
        From 0.
    table : `~numpy.ndarray`
        Comparators; empty to bisect.
    out : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; written.
    """
    height, width = box
    ny, nx = out.shape
    stack = np.empty((height * width, _SIDE_BY_SIDE), np.float32)
    own, whole = np.empty(9 * WIDTH, np.float32), np.empty(2 * WIDTH, np.int32)
    ranks = np.full(_SIDE_BY_SIDE, rank, np.int32)
    for y in range(ny):
        for x in range(0, nx, _SIDE_BY_SIDE):
            w = min(_SIDE_BY_SIDE, nx - x)
            for j in range(height):
                source = padded[y + j]
                for i in range(width):
                    row = stack[j * width + i]
                    for p in range(w):
                        row[p] = source[x + i + p]
            values_of_rank(stack, w, ranks, table, stack, own, whole, 0)
            for p in range(w):
                out[y, x + p] = own[p]


@kernel_with_room
def median_of_medians(padded, out):
    """
    Median along columns, of 7 values, of the medians along rows, of 7 values.

    This is equivalent to `box_rank` with a box of ``(1, 7)`` and then with one of ``(7, 1)``.

    Parameters
    ----------
    padded : `~numpy.ndarray`
        float32, shape ``(ny + 6, nx + 6)``: an image and three pixels around it.
    out : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; written.
    """
    ny, nx = out.shape
    planes = np.zeros(2 * PLANE + 8, np.float32)
    for y in range(0, ny, TILE_ROWS):
        h = min(TILE_ROWS, ny - y)
        for x in range(0, nx, TILE_COLUMNS):
            w = min(TILE_COLUMNS, nx - x)
            for j in range(h + 6):
                row, tile = padded[y + j], planes[j * _ACROSS :]
                for p in range(w + 6):
                    tile[p] = row[x + p]
            # What lies between the rows of the tile is done with them, so that there is one long loop.
            median7(planes, 0, PLANE, (h + 6) * _ACROSS, ROW)
            median7(planes, PLANE, 0, h * _ACROSS, COLUMN)
            for j in range(h):
                row, tile = out[y + j], planes[j * _ACROSS :]
                for p in range(w):
                    row[x + p] = tile[p]
