"""
Spread of single pixels over a few frames, robust to one cosmic ray.

The highest value of a pixel may be a particle; what is measured is the range of the others. Its distribution for n
Gaussian values is known, so that the threshold follows from the number of frames.
"""

import functools
import math

import numpy as np

from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["LEAST_FRAMES", "frame_noise", "range_factors", "ranges"]

#: With fewer frames nothing is left to compare when one value may be a particle.
LEAST_FRAMES = 3
#: About so many pixels of a row give its level.
_ROW_SAMPLE = 256


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
    error_function = np.vectorize(math.erfc)
    grid = np.linspace(-9, 9, 1801)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    above = error_function(grid / math.sqrt(2)) / 2
    widths = np.linspace(0, 14, 1401)
    exceeded = np.empty(widths.size)
    for number, width in enumerate(widths):
        beyond = error_function((grid + width) / math.sqrt(2)) / 2
        inside = above - beyond
        within = inside ** (n - 1) + (n - 1) * inside ** (n - 2) * beyond
        exceeded[number] = np.sum(n * density * (above ** (n - 1) - within)) * (grid[1] - grid[0])
    mean = float(np.sum(exceeded) * (widths[1] - widths[0]) - exceeded[0] * (widths[1] - widths[0]) / 2)
    limit = np.interp(-math.log(false_alarms), -np.log(np.maximum(exceeded, 1e-300)), widths)
    return mean, float(limit)


def ranges(sources, regions):
    """
    Range of every pixel over some frames, the highest value left out.

    The level of every row of a frame is taken off before: it may drift.

    Parameters
    ----------
    sources : list
        Frames of one kind, at least 3.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(ny, nx)``, float32, in adu.
    """
    low = high = second = None
    for source in sources:
        values = _leveled(source, regions)
        if low is None:
            low, high, second = values.copy(), values, np.full_like(values, -np.inf)
            continue
        np.minimum(low, values, out=low)
        np.maximum(second, np.minimum(high, values), out=second)
        np.maximum(high, values, out=high)
    return second - low


def _leveled(source, regions):
    """A frame with the median of every row taken off; what is not finite is on it."""
    values = np.empty(source.shape, np.float32)
    source.fill(slice(0, source.shape[0]), values, 0)
    for part in regions:
        piece = values[part]
        some = piece[:, :: max(1, piece.shape[1] // _ROW_SAMPLE)]
        whole = bool(np.isfinite(piece).all())
        with np.errstate(all="ignore"):
            level = (
                np.median(some, axis=1) if whole else np.nanmedian(np.where(np.isfinite(some), some, np.nan), axis=1)
            )
        piece -= level[:, None].astype(np.float32)
        if not whole:
            piece[~np.isfinite(piece)] = 0
    return values


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
