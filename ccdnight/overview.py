"""A frame looked over in one pass: a small picture of it, how flat its background is, and where bright points are."""

import math
from dataclasses import dataclass

import numpy as np

from ccdnight import storage
from ccdnight.statistics import clipped_moments

__all__ = ["Overview", "flatness_of", "look_over_file", "overview_of", "tile_for"]

_NO_FLAGS = np.empty((0, 0), np.uint16)
#: Pixels along the side of a box whose level is one point of the background.
_BOX = 64
#: Bytes of a strip of a file.
_STRIP_BYTES = 1 << 20


@dataclass(frozen=True)
class Overview:
    """
    The tiles of a frame.

    Attributes
    ----------
    step : int
        Rows and columns of a tile.
    mean : `~numpy.ndarray`
        float32, mean of the good pixels of every tile; NaN where there is none.
    peak : `~numpy.ndarray`
        float32, the brightest of them; -inf where there is none.
    """

    step: int
    mean: np.ndarray
    peak: np.ndarray


def tile_for(shape, pixels):
    """
    Side of the tiles that make a picture of about so many pixels.

    Parameters
    ----------
    shape : tuple of int
        Of the frame.
    pixels : int
        At most so many tiles, a row and a column more or less.

    Returns
    -------
    int
    """
    return max(1, math.ceil(math.sqrt(math.prod(shape) / pixels)))


def _empty(shape, step):
    tiles = (-(-shape[0] // step), -(-shape[1] // step))
    return Overview(step, np.empty(tiles, np.float32), np.empty(tiles, np.float32))


def overview_of(data, flags=None, *, step):
    """
    Look over a frame in memory.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``; values that are not finite are left out.
    flags : `~numpy.ndarray`, optional
        uint16, same shape; flagged pixels are left out.
    step : int
        Rows and columns of a tile.

    Returns
    -------
    Overview
    """
    from ccdnight._kernels.overview import look_over

    found = _empty(data.shape, step)
    data = data if data.dtype in (np.float32, np.float64) else data.astype(np.float32)
    look_over(data, _NO_FLAGS if flags is None else flags, step, 0, found.mean, found.peak)
    return found


def look_over_file(path, *, hdu=None, pixels, kind="raw"):
    """
    Look over a frame in a file, by strips where its rows can be read by themselves.

    Parameters
    ----------
    path : path-like
        The file.
    hdu : int, optional
        Number of the HDU, as in `ccdnight.storage.read_header`.
    pixels : int
        As in `tile_for`.
    kind : str, optional
        'raw'; 'badpixels' for a bad pixel mask, of which the part of bad pixels is looked at; anything else is a
        product whose flagged pixels (extension MASK) are left out.

    Returns
    -------
    Overview

    Raises
    ------
    FrameError
        If it cannot be read.
    """
    from ccdnight._kernels.overview import look_over

    raw = storage.read_header(path, hdu=hdu)
    mask = storage.extension_numbers(path).get("MASK") if kind not in ("raw", "badpixels") else None
    bits = None if mask is None else storage.read_header(path, hdu=mask)
    found = _empty(raw.shape, tile_for(raw.shape, pixels))
    rows = raw.shape[0]
    if storage.decodes(raw):
        rows = max(1, _STRIP_BYTES // (4 * raw.shape[1] * found.step)) * found.step
    for begin in range(0, raw.shape[0], rows):
        part = slice(begin, min(raw.shape[0], begin + rows))
        data, flags = storage.read_pixels(path, raw=raw, rows=part), _NO_FLAGS
        if kind == "badpixels":
            data = (data != 0).astype(np.float32)
        if bits is not None and bits.shape == raw.shape:
            flags = storage.read_pixels(path, raw=bits, rows=part).astype(np.uint16)
        look_over(data, flags, found.step, begin // found.step, found.mean, found.peak)
    return found


def flatness_of(overview, scatter):
    """
    How far the background departs from one level.

    Parameters
    ----------
    overview : Overview
        The frame.
    scatter : float
        Of the background from pixel to pixel.

    Returns
    -------
    float
        Standard deviation of the levels of boxes of about 64 pixels, clipped at 3 sigma, what noise adds taken off;
        NaN where there are fewer than 4 boxes. The level of a box is the median of its tiles, which stars hardly move.
    """
    side = max(1, round(_BOX / overview.step))
    down, across = (length // side for length in overview.mean.shape)
    if down * across < 4:
        return math.nan
    whole = overview.mean[: down * side, : across * side].reshape(down, side, across, side)
    boxes = whole.swapaxes(1, 2).reshape(down * across, side * side)
    good = np.isfinite(boxes).sum(axis=1) >= side * side / 2
    if good.sum() < 4:
        return math.nan
    # Tiles without a good pixel are counted as the highest ones, alike on both sides of few.
    levels = np.nanmedian(boxes[good], axis=1)
    _, spread, _ = clipped_moments(levels, sigma=3.0)
    # The median of n tiles has pi/2 times the variance of their mean.
    noise = scatter**2 / (side * overview.step) ** 2 * (math.pi / 2 if side > 1 else 1)
    return math.sqrt(max(spread**2 - noise, 0.0))
