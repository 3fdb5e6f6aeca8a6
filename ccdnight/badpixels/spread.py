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

    # Values and widths lie on one lattice, so that the integral above x + w is that above another of its points.
    lattice = np.linspace(-9, 23, 3201)
    grid, tail = lattice[:1801], erfc(lattice / math.sqrt(2)) / 2
    density, above = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), tail[:1801]
    widths, all_above = lattice[:1401] - lattice[0], above ** (n - 1)
    exceeded = np.empty(widths.size)
    for number in range(widths.size):
        beyond = tail[number : number + 1801]
        inside = above - beyond
        within = inside ** (n - 2) * (inside + (n - 1) * beyond)
        exceeded[number] = np.sum(n * density * (all_above - within)) * (grid[1] - grid[0])
    mean = float(np.sum(exceeded) * (widths[1] - widths[0]) - exceeded[0] * (widths[1] - widths[0]) / 2)
    limit = np.interp(-math.log(false_alarms), -np.log(np.maximum(exceeded, 1e-300)), widths)
    return mean, float(limit)


def ranges(sources, regions, *, workers=None):
    """
    Range of every pixel over some frames, the highest value left out, and the middle of its first three values.

    The level of every row of a frame is taken off before the range is taken: it may drift.

    Parameters
    ----------
    sources : list
        Frames of one kind, at least 3.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.

    Returns
    -------
    spread, middle : `~numpy.ndarray`
        Shape ``(ny, nx)``, float32, in adu.
    """
    ny, nx = sources[0].shape
    spread, middle = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)

    def do(rows):
        images = np.empty((len(sources), rows.stop - rows.start, nx), np.float32)
        for source, image in zip(sources, images, strict=True):
            source.fill(rows, image, 0)
        low, high = np.minimum(images[0], images[1]), np.maximum(images[0], images[1])
        np.maximum(low, np.minimum(high, images[2]), out=middle[rows])
        for image in images:
            _take_level(image, rows, regions)
        low, high, second = images[0].copy(), images[0].copy(), np.full_like(low, -np.inf)
        for image in images[1:]:
            np.minimum(low, image, out=low)
            np.maximum(second, np.minimum(high, image), out=second)
            np.maximum(high, image, out=high)
        np.subtract(second, low, out=spread[rows])

    map_strips(do, [slice(y, min(y + _STRIP, ny)) for y in range(0, ny, _STRIP)], workers=workers)
    return spread, middle


def _take_level(values, rows, regions):
    """Take the median of every row off it; what is not finite is on it."""
    for y, x in regions:
        piece = values[max(y.start - rows.start, 0) : max(y.stop - rows.start, 0), x]
        if not piece.size:
            continue
        some = piece[:, :: max(1, piece.shape[1] // _ROW_SAMPLE)]
        whole = bool(np.isfinite(piece).all())
        level = medians_of_rows(some if whole else np.where(np.isfinite(some), some, np.float32(np.nan)))
        with np.errstate(all="ignore"):
            piece -= level[:, None]
        if not whole:
            piece[~np.isfinite(piece)] = 0


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
