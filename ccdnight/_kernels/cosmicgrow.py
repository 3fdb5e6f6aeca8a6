"""
Everything of LA Cosmic that concerns few pixels: what is bad, growing the candidates, cleaning, and what to redo.

Lists of pixels hold their numbers in the flat frame. Work is in proportion to the pixels found, not to the frame.

References
----------
van Dokkum 2001, PASP 113, 1420; growth, masks and cleaning as the docstring of `astroscrappy.detect_cosmics` says.
"""

import numpy as np

from ccdnight._kernels._jit import kernel
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
    "mark_bad",
    "mark_saturated",
    "near",
    "prepare",
]

#: What a pixel is replaced by, of the 25 around it.
MEAN, MEDIAN_OF_GOOD, MEDIAN = 0, 1, 2
#: Cells in which the frame is looked at again, and how far a changed pixel reaches: 6 pixels for the images, and 2
#: more for candidates whose growth may change.
CELL_ROWS, CELL_COLUMNS = 16, 32
_REACH = 8
_LISTED = np.uint8(16)


@kernel
def prepare(data, gain, background, image, saturation):
    """
    Turn some rows into electron above the background.

    Parameters
    ----------
    data, background : `~numpy.ndarray`
        float32, data units; the background of no pixels where there is none.
    gain : float
        Electron per data unit, float32 (squared for a variance).
    image : `~numpy.ndarray`
        float32, electron; written.
    saturation : float
        Electron, float32.

    Returns
    -------
    int
        Pixels at or above saturation.
    """
    total = 0
    for y in range(data.shape[0]):
        source, out, count = data[y], image[y], np.int32(0)
        for x in range(source.shape[0]):
            value = source[x] * gain
            count += np.int32(1) if value >= saturation else np.int32(0)
            out[x] = value
        if background.shape[0]:
            light = background[y]
            for x in range(source.shape[0]):
                out[x] -= light[x]
        total += count
    return total


@kernel
def mark_bad(mask, state, first, last):
    """
    Set BAD where the mask is set and around it; pixels on the frame's edge are not reached by their neighbors.

    Parameters
    ----------
    mask : `~numpy.ndarray`
        bool, shape ``(ny, nx)``.
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``.
    first, last : int
        Rows; the last is not in it.
    """
    ny, nx = mask.shape
    for y in range(first, last):
        bits, own = state[y], mask[y]
        for x in range(nx):
            bits[x] |= np.uint8(own[x])
        if 0 < y < ny - 1:
            up, down, inner = mask[y - 1], mask[y + 1], bits[1:]
            for x in range(nx - 2):
                above, below = up[x] | up[x + 1] | up[x + 2], down[x] | down[x + 1] | down[x + 2]
                inner[x] |= np.uint8(above | below | own[x] | own[x + 2])


@kernel
def _middle(values, n):
    """The value in the middle of the first n, of two the lower; they are put in order."""
    for i in range(1, n):
        value, k = values[i], i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    return values[(n - 1) // 2]


@kernel
def mark_saturated(data, gain, state, saturation):
    """
    Set BAD around saturated stars: pixels at saturation whose surroundings are above a tenth of it.

    They are grown twice by a square of 5 pixels without its corners.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, data units.
    gain, saturation : float
        Electron per data unit, and electron, float32.
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``.
    """
    ny, nx = data.shape
    along, window = np.empty(7, np.float32), np.empty(7, np.float32)
    for y in range(ny):
        for x in range(nx):
            level = data[y, x] * gain
            if not level >= saturation:
                continue
            if 3 <= y < ny - 3 and 3 <= x < nx - 3:
                for j in range(7):
                    for i in range(7):
                        window[i] = data[y + j - 3, x + i - 3] * gain
                    along[j] = _middle(window, 7)
                level = _middle(along, 7)
            if level > saturation / np.float32(10):
                for j in range(max(0, y - 4), min(ny, y + 5)):
                    reach = 4 if abs(j - y) < 3 else 6 - abs(j - y)
                    for i in range(max(0, x - reach), min(nx, x + reach + 1)):
                        state[j, i] |= BAD


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
                        if state[j, i] & (ABOVE | BAD | _LISTED) == ABOVE:
                            state[j, i] |= _LISTED
                            first[n] = j * nx + i
                            n += 1
    for k in range(n):
        y, x = first[k] // nx, first[k] % nx
        state[y, x] &= ~_LISTED
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
                if cosmic[j, i] and state[j, i] & _LISTED == 0:
                    state[j, i] |= _LISTED
                    listed[n] = j * nx + i
                    n += 1
    for k in range(n):
        state[listed[k] // nx, listed[k] % nx] &= ~_LISTED
    return n


@kernel
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
            values[k] = total / np.float32(n) if kind == MEAN else _middle(window, n)
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
