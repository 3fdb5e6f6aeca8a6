"""
Spread of single pixels over a few frames, robust to one cosmic ray.

The highest value of a pixel may be a particle; what is measured is the range of the others. Its distribution for n
Gaussian values is known, so that the threshold follows from the number of frames.
"""

import functools
import math

import numpy as np

from ccdnight.badpixels.local import each_block_row
from ccdnight.execution import map_strips
from ccdnight.statistics import clipped_moments, medians_of_rows, sample_pixels

__all__ = ["LEAST_FRAMES", "beyond_noise", "frame_noise", "range_factors", "ranges"]

#: With fewer frames nothing is left to compare when one value may be a particle.
LEAST_FRAMES = 3
#: About so many pixels of a row give its level.
_ROW_SAMPLE = 256
#: How often the width of the limit is halved: to 1e-9 of a standard deviation.
_HALVINGS = 34
#: Rows that are done at once: of all frames they stay in the cache.
_STRIP = 32


@functools.cache
def range_factors(n, false_alarms):
    """
    Range of `n` Gaussian values without the highest of them: its mean, and what it exceeds by chance.

    With the lowest value at x, the others lie above it, and the range is not above w as long as at most one of them
    is above x + w (David and Nagaraja 2003, Order Statistics, section 2.3).

    Parameters
    ----------
    n : int
        Values, at least 3.
    false_alarms : float
        Fraction of stacks that exceed the limit.

    Returns
    -------
    mean, limit : float
        In standard deviations.
    """
    from scipy.special import erfc

    grid = np.linspace(-9, 9, 1801)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    above = erfc(grid / math.sqrt(2)) / 2

    def exceeded(width):
        beyond = erfc((grid + width) / math.sqrt(2)) / 2
        inside = above - beyond
        within = inside ** (n - 2) * (inside + (n - 1) * beyond)
        return np.sum(n * density * (above ** (n - 1) - within))

    lowest = np.sum(n * density * grid * above ** (n - 1))
    last_but_one = np.sum(n * (n - 1) * density * grid * (1 - above) ** (n - 2) * above)
    low, high = 0.0, 14.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeded(middle) > false_alarms else (low, middle)
    return float(last_but_one - lowest), high


def ranges(sources, regions, *, middle=None, workers=None):
    """
    Range of every pixel over some frames, the highest value left out.

    The level of every row of a frame is taken off before the range is taken: it may drift.

    Parameters
    ----------
    sources : list
        Frames of one kind, at least 3.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    middle : `~numpy.ndarray`, optional
        Where to put the middle of the first three values of every pixel, float32, shape ``(ny, nx)``, in adu.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(ny, nx)``, float32, in adu; 0 where no region is.
    """
    from ccdnight._kernels.spread import ROOM, middle_of_three, ranges_without_highest

    ny, nx = sources[0].shape
    spread = np.zeros((ny, nx), np.float32)

    def do(rows):
        images = np.empty((len(sources), rows.stop - rows.start, nx), np.float32)
        for source, image in zip(sources, images, strict=True):
            source.fill(rows, image, 0)
        if middle is not None:
            middle_of_three(images, middle[rows])
        room = np.empty(ROOM, np.float32)
        for y, x in regions:
            top, bottom = (min(max(edge - rows.start, 0), images.shape[1]) for edge in (y.start, y.stop))
            if top < bottom:
                levels = _levels(images[:, top:bottom, x])
                ranges_without_highest(images, (top, bottom, x.start, x.stop), levels, room, spread[rows])

    map_strips(do, [slice(y, min(y + _STRIP, ny)) for y in range(0, ny, _STRIP)], workers=workers)
    return spread


def _levels(pieces):
    """Median of every row of some frames."""
    some = pieces[:, :, :: max(1, pieces.shape[2] // _ROW_SAMPLE)]
    some = np.where(np.isfinite(some), some, np.float32(np.nan))
    return medians_of_rows(some.reshape(-1, some.shape[2])).reshape(some.shape[:2])


def frame_noise(spread, n, regions, false_alarms):
    """
    Noise of a single frame of each amplifier, from the ranges of its pixels.

    Parameters
    ----------
    spread : `~numpy.ndarray`
        From `ranges`.
    n : int
        Frames.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    false_alarms : float
        See `range_factors`.

    Returns
    -------
    noise : list of float
        Standard deviation in adu of each region.
    limit : float
        Range in standard deviations beyond which a pixel is an outlier.
    """
    mean, limit = range_factors(n, false_alarms)
    noise = [clipped_moments(sample_pixels(spread[part]))[0] / mean for part in regions]
    return noise, limit


def beyond_noise(spread, noise, limit, charge, regions, *, workers=None):
    """
    Pixels that scatter more than their noise.

    Parameters
    ----------
    spread : `~numpy.ndarray`
        From `ranges`.
    noise : list of float
        Of each region in adu.
    limit : float
        Range in units of the noise.
    charge : tuple or None
        Typical value of every pixel in adu, and the gain in electron/adu (a number, or one of every pixel): what it
        is above the level of its region has photon noise.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        bool.
    """
    found = np.zeros(spread.shape, bool)
    for part, sigma in zip(regions, noise, strict=True):
        variance = np.float32(sigma**2)
        level = None if charge is None else np.float32(np.median(sample_pixels(charge[0][part])))

        def do(part, rows, variance=variance, level=level):
            allowed = variance
            if charge is not None:
                gain = charge[1] if np.ndim(charge[1]) == 0 else charge[1][part][rows]
                allowed = variance + np.maximum(np.nan_to_num(charge[0][part][rows] - level), 0) / np.float32(gain)
            found[part][rows] = spread[part][rows] > np.float32(limit) * np.sqrt(allowed)

        each_block_row(do, [part], workers=workers)
    return found
