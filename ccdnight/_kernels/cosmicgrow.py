"""
Everything of LA Cosmic that concerns few pixels: growing the candidates, cleaning, and what to look at again.

Lists of pixels hold their numbers in the flat frame. Work is in proportion to the pixels found, not to the frame.

References
----------
van Dokkum 2001, PASP 113, 1420; growth, masks and cleaning as the docstring of `astroscrappy.detect_cosmics` says.
"""

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room
from ccdnight._kernels.cosmicmask import LISTED, middle_value
from ccdnight._kernels.lacosmic import ABOVE, ABOVE_LOW, BAD, CANDIDATE
from ccdnight._kernels.medians import TILE_COLUMNS

__all__ = [
    "CELL_COLUMNS",
    "CELL_ROWS",
    "MEAN",
    "MEDIAN",
    "MEDIAN_OF_GOOD",
    "clean_values",
    "dirty_tiles",
    "grow",
    "near",
]

#: What a pixel is replaced by, of the 25 around it.
MEAN, MEDIAN_OF_GOOD, MEDIAN = 0, 1, 2
#: Cells in which the frame is looked at again, and how far a changed pixel reaches: 6 pixels for the images, and 2
#: more for candidates whose growth may change.
CELL_ROWS, CELL_COLUMNS = 16, 32
_REACH = 8


@kernel
def grow(state, tiles, counts, cosmic, first, fresh):
    """
    Grow candidates by one pixel above the threshold, and once more above the lower one.

    Parameters
    ----------
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``.
    tiles, counts : `~numpy.ndarray`
        As in `ccdnight._kernels.lacosmic.mark_tiles`.
    cosmic : `~numpy.ndarray`
        bool, shape ``(ny, nx)``; what is flagged, added to.
    first, fresh : `~numpy.ndarray`
        int64, room for 9 and 25 pixels per candidate; pixels that were not flagged before go into the latter.

    Returns
    -------
    int
        Pixels in `fresh`.
    """
    ny, nx = state.shape
    n = m = 0
    for t in range(tiles.shape[0]):
        if counts[t] == 0:
            continue
        for y in range(tiles[t, 0], tiles[t, 0] + tiles[t, 2]):
            for x in range(tiles[t, 1], tiles[t, 1] + tiles[t, 3]):
                if state[y, x] & CANDIDATE == 0:
                    continue
                for j in range(max(1, y - 1), min(ny - 1, y + 2)):
                    for i in range(max(1, x - 1), min(nx - 1, x + 2)):
                        if state[j, i] & (ABOVE | BAD | LISTED) == ABOVE:
                            state[j, i] |= LISTED
                            first[n] = j * nx + i
                            n += 1
    for k in range(n):
        y, x = first[k] // nx, first[k] % nx
        state[y, x] &= ~LISTED
        for j in range(max(1, y - 1), min(ny - 1, y + 2)):
            for i in range(max(1, x - 1), min(nx - 1, x + 2)):
                if state[j, i] & (ABOVE_LOW | BAD) == ABOVE_LOW and not cosmic[j, i]:
                    cosmic[j, i] = True
                    fresh[m] = j * nx + i
                    m += 1
    return m


@kernel
def near(fresh, cosmic, state, listed):
    """
    List the flagged pixels whose replacement depends on newly flagged ones.

    Parameters
    ----------
    fresh : `~numpy.ndarray`
        int64, the new ones.
    cosmic, state : `~numpy.ndarray`
        As in `grow`.
    listed : `~numpy.ndarray`
        int64, room for 25 pixels for each new one.

    Returns
    -------
    int
        Pixels in the list.
    """
    ny, nx = cosmic.shape
    n = 0
    for k in range(fresh.size):
        y, x = fresh[k] // nx, fresh[k] % nx
        for j in range(max(2, y - 2), min(ny - 2, y + 3)):
            for i in range(max(2, x - 2), min(nx - 2, x + 3)):
                if cosmic[j, i] and state[j, i] & LISTED == 0:
                    state[j, i] |= LISTED
                    listed[n] = j * nx + i
                    n += 1
    for k in range(n):
        state[listed[k] // nx, listed[k] % nx] &= ~LISTED
    return n


@kernel_with_room
def clean_values(image, cosmic, state, kind, listed, values):
    """
    Replacements of some pixels, from the 25 around each.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    cosmic, state : `~numpy.ndarray`
        As in `grow`; both kinds of pixels are left out, but for MEDIAN.
    kind : int
        MEAN, MEDIAN_OF_GOOD or MEDIAN.
    listed : `~numpy.ndarray`
        int64, the pixels, none of them within two of the frame's edge.
    values : `~numpy.ndarray`
        float32, written; NaN where there is none to take.

    Returns
    -------
    int
        Pixels without a replacement.
    """
    nx, lacking = image.shape[1], 0
    window = np.empty(25, np.float32)
    for k in range(listed.size):
        y, x = listed[k] // nx, listed[k] % nx
        n, total = 0, np.float32(0)
        for j in range(y - 2, y + 3):
            for i in range(x - 2, x + 3):
                if kind == MEDIAN or (not cosmic[j, i] and state[j, i] & BAD == 0):
                    window[n] = image[j, i]
                    total += image[j, i]
                    n += 1
        if n == 0:
            lacking += 1
            values[k] = np.nan
        else:
            values[k] = total / np.float32(n) if kind == MEAN else middle_value(window, n)
    return lacking


@kernel
def dirty_tiles(shape, changed, cells, tiles):
    """
    Tiles that cover everything that depends on changed pixels.

    Parameters
    ----------
    shape : tuple of int
        Of the frame.
    changed : `~numpy.ndarray`
        int64, the pixels.
    cells : `~numpy.ndarray`
        bool, one for each cell of the frame, all False; they are set.
    tiles : `~numpy.ndarray`
        int64, shape ``(cells, 4)``, written.

    Returns
    -------
    int
        Tiles written.
    """
    ny, nx = shape
    for k in range(changed.size):
        y, x = changed[k] // nx, changed[k] % nx
        for j in range(max(0, y - _REACH) // CELL_ROWS, min(ny - 1, y + _REACH) // CELL_ROWS + 1):
            for i in range(max(0, x - _REACH) // CELL_COLUMNS, min(nx - 1, x + _REACH) // CELL_COLUMNS + 1):
                cells[j, i] = True
    n = 0
    for j in range(cells.shape[0]):
        open_ = False
        for i in range(cells.shape[1]):
            columns = min(CELL_COLUMNS, nx - i * CELL_COLUMNS)
            if cells[j, i] and open_ and tiles[n - 1, 3] + columns <= TILE_COLUMNS:
                tiles[n - 1, 3] += columns
            elif cells[j, i]:
                tiles[n, 0], tiles[n, 1] = j * CELL_ROWS, i * CELL_COLUMNS
                tiles[n, 2], tiles[n, 3] = min(CELL_ROWS, ny - j * CELL_ROWS), columns
                n += 1
            open_ = cells[j, i]
    return n
