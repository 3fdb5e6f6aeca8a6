"""
Separable median filters of small windows, many pixels at once.

A separable median takes the median along the rows first, and the medians of those along the columns. It is done on a
tile of the frame that stays in the innermost caches: planes of `ROWS` x `WIDTH` values, one behind the other in one
flat array, so that the distances are known to the compiler and it can use SIMD. A median is a fixed list of
comparators; of a network that sorts, only those are kept that the middle value depends on.

Where the window does not fit into the frame the input is the result, as in `astroscrappy.utils.sepmedfilt7` and the
like (their docstrings; the slow equivalent in the tests).

References
----------
Knuth, The Art of Computer Programming 3, 5.3.4; Paeth 1990, Graphics Gems, 171 (networks for few values).
"""

from ccdnight._kernels._jit import kernel

__all__ = [
    "COLUMN",
    "HALO",
    "PLANE",
    "ROW",
    "TILE_COLUMNS",
    "TILE_ROWS",
    "WIDTH",
    "keep_border",
    "median5",
    "median7",
    "median9",
]

#: Rows and columns around a tile that its result depends on.
HALO = 6
#: Largest tile: its planes together stay in a core's second cache.
TILE_ROWS, TILE_COLUMNS = 48, 256
#: Not a power of 2: rows 1024 bytes apart would all fall into the same few places of the cache.
WIDTH = TILE_COLUMNS + 2 * HALO + 4
PLANE = (TILE_ROWS + 2 * HALO) * WIDTH
#: Distance of the values of a median along a row and along a column.
ROW, COLUMN = 1, WIDTH


@kernel
def _low(a, b):
    return a if a < b else b


@kernel
def _high(a, b):
    return b if a < b else a


@kernel
def median5(planes, source, target, w, step):
    """
    Medians of five values.

    Parameters
    ----------
    planes : `~numpy.ndarray`
        float32, flat; read and written.
    source, target : int
        The first of the values of the first median, and where that goes.
    w : int
        Medians, one beside the other.
    step : int
        From a value to the next of the same median: ROW or COLUMN, a constant, so that the compiler knows it.
    """
    s, out = planes[source:], planes[target:]
    for p in range(w):
        a, b, c, d, e = s[p], s[p + step], s[p + 2 * step], s[p + 3 * step], s[p + 4 * step]
        a, b = _low(a, b), _high(a, b)
        d, e = _low(d, e), _high(d, e)
        d, b = _high(a, d), _low(b, e)
        b, c = _low(b, c), _high(b, c)
        c = _low(c, d)
        out[p] = _high(b, c)


@kernel
def median7(planes, source, target, w, step):
    """
    Medians of seven values.

    Parameters
    ----------
    planes, source, target, w, step
        As in `median5`.
    """
    s, out = planes[source:], planes[target:]
    for p in range(w):
        a, b, c, d = s[p], s[p + step], s[p + 2 * step], s[p + 3 * step]
        e, f, g = s[p + 4 * step], s[p + 5 * step], s[p + 6 * step]
        a, f = _low(a, f), _high(a, f)
        a, d = _low(a, d), _high(a, d)
        b, g = _low(b, g), _high(b, g)
        c, e = _low(c, e), _high(c, e)
        b = _high(a, b)
        d, f = _low(d, f), _high(d, f)
        c, g = _low(c, g), _high(c, g)
        c, d = _low(c, d), _high(c, d)
        d = _low(d, g)
        e = _low(e, f)
        b, e = _low(b, e), _high(b, e)
        d = _high(b, d)
        out[p] = _low(d, e)


@kernel
def median9(planes, source, target, w, step):
    """
    Medians of nine values.

    Parameters
    ----------
    planes, source, target, w, step
        As in `median5`.
    """
    s, out = planes[source:], planes[target:]
    for p in range(w):
        a, b, c, d, e = s[p], s[p + step], s[p + 2 * step], s[p + 3 * step], s[p + 4 * step]
        f, g, h, i = s[p + 5 * step], s[p + 6 * step], s[p + 7 * step], s[p + 8 * step]
        # Threes in order; then the middle of the highest low, the middle middle and the lowest high.
        b, c = _low(b, c), _high(b, c)
        e, f = _low(e, f), _high(e, f)
        h, i = _low(h, i), _high(h, i)
        a, b = _low(a, b), _high(a, b)
        d, e = _low(d, e), _high(d, e)
        g, h = _low(g, h), _high(g, h)
        b, c = _low(b, c), _high(b, c)
        e, f = _low(e, f), _high(e, f)
        h, i = _low(h, i), _high(h, i)
        low, high = _high(_high(a, d), g), _low(_low(c, f), i)
        middle = _low(_high(b, e), _high(_low(b, e), h))
        low, middle = _low(low, middle), _high(low, middle)
        out[p] = _high(low, _low(middle, high))


@kernel
def keep_border(s, source, target, radius, y, x, h, w, ny, nx):
    """
    Copy the source where the window of a filter does not fit into the frame.

    Parameters
    ----------
    s : `~numpy.ndarray`
        Planes.
    source, target : int
        The pixel (y, x) in either plane.
    radius : int
        Half the window, rounded down.
    y, x, h, w : int
        First pixel, rows and columns of what was filtered; it may reach beyond the frame.
    ny, nx : int
        Shape of the frame.
    """
    if y >= radius and x >= radius and y + h <= ny - radius and x + w <= nx - radius:
        return
    for j in range(h):
        whole = y + j < radius or y + j >= ny - radius
        one, other = s[source + j * WIDTH :], s[target + j * WIDTH :]
        for p in range(w):
            if whole or x + p < radius or x + p >= nx - radius:
                other[p] = one[p]
