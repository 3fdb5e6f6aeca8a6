"""Range of every pixel over the frames of a stack, and the middle of its first three values."""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.order import WIDTH

__all__ = ["ROOM", "middle_of_three", "ranges_without_highest"]

#: Rows of the lowest, the second and the highest value of some pixels of a row, see order.py; and room for them.
_SECOND, _HIGH, ROOM = WIDTH, 2 * WIDTH, 3 * WIDTH


@kernel
def middle_of_three(images, out):
    """
    Middle of the first three values of every pixel, NaN where one of them is.

    This is equivalent to ``np.median(images[:3], axis=0)``.

    Parameters
    ----------
    images : `~numpy.ndarray`
        float32, shape ``(n, ny, nx)``, n at least 3.
    out : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; written.
    """
    for y in range(out.shape[0]):
        one, two, three, target = images[0, y], images[1, y], images[2, y], out[y]
        for x in range(target.size):
            a, b, c = one[x], two[x], three[x]
            low, high = a if a < b else b, b if a < b else a
            high = high if high < c else c
            middle = low if low > high else high
            known = (a == a) & (b == b) & (c == c)  # noqa: PLR0124 - NaN is not
            target[x] = middle if known else np.float32(np.nan)


@kernel
def _finite(value):
    return value if value - value == np.float32(0) else np.float32(0)


@kernel
def ranges_without_highest(images, place, levels, own, out):
    """
    Range of the values of every pixel of a region, the highest of them left out.

    This is equivalent to ``values[-2] - values[0]`` with ``values = np.sort(images - levels, axis=0)``; what is not
    finite is on its level.

    Parameters
    ----------
    images : `~numpy.ndarray`
        float32, shape ``(n, ny, nx)``, n at least 2.
    place : tuple of int
        First row and last but one, first column and last but one.
    levels : `~numpy.ndarray`
        float32, shape ``(n, rows of the region)``, what is taken off first.
    own : `~numpy.ndarray`
        float32, room of `ROOM` values.
    out : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; written.
    """
    top, bottom, left, right = place
    for y in range(top, bottom):
        for begin in range(left, right, WIDTH):
            end = min(begin + WIDTH, right)
            _first(images[0, y, begin:end], levels[0, y - top], own)
            for f in range(1, images.shape[0]):
                _next(images[f, y, begin:end], levels[f, y - top], own)
            target = out[y, begin:end]
            for x in range(target.size):
                target[x] = own[_SECOND + x] - own[x]


@kernel
def _first(row, level, own):
    for x in range(row.size):
        value = _finite(row[x] - level)
        own[x], own[_SECOND + x], own[_HIGH + x] = value, np.float32(-np.inf), value


@kernel
def _next(row, level, own):
    for x in range(row.size):
        value = _finite(row[x] - level)
        less = value if value < own[_HIGH + x] else own[_HIGH + x]
        own[x] = value if value < own[x] else own[x]
        own[_SECOND + x] = less if less > own[_SECOND + x] else own[_SECOND + x]
        own[_HIGH + x] = value if value > own[_HIGH + x] else own[_HIGH + x]
