"""
Where a detector is measured: small square areas, the flattest and least bad ones of each amplifier.

What is smoother than an area cancels in it, and the scatter from area to area gives the error.
"""

import math
from dataclasses import dataclass

import numpy as np

from ccdnight._kernels.planes import plane_variances
from ccdnight._sections import parse_section
from ccdnight.exceptions import InputError
from ccdnight.statistics import truncation_factor

__all__ = [
    "Areas",
    "areas_of",
    "choose_areas",
    "combined",
    "cut",
    "good_pixels",
    "regions_of",
    "variances",
]

#: Side of an area in pixels; small frames have smaller ones, since the error comes from the scatter of several.
_SIDE, _LEAST_AREAS, _SMALLEST = 64, 16, 8
#: Areas that are measured at the most: a variance from so many is known to 0.1 %.
_MOST_AREAS = 400
#: Blocks across an area whose means tell how flat it is.
_BLOCKS = 4
SIGMA = 5.0
#: Pixels that an area must have, so that a plane can be taken off it, and which part of it.
_FEWEST, _LEAST_PART = 25, 0.5
#: Rows that are read at once: they stay in the cache while they are corrected.
_STRIP = 64
#: What the theory of the error counts for beside the scatter, in degrees of freedom.
_PRIOR = 8


@dataclass(frozen=True)
class Areas:
    """
    Areas of one amplifier.

    Attributes
    ----------
    amplifier : str
        Its name; '' where there is one.
    side : tuple of int
        Rows and columns of an area.
    corners : `~numpy.ndarray`
        First row and column of each, shape ``(k, 2)``.
    """

    amplifier: str
    side: tuple
    corners: np.ndarray

    @property
    def region(self):
        """What they lie in, as a FITS section."""
        (y, x), (top, right) = self.corners.min(axis=0), self.corners.max(axis=0) + self.side
        return f"[{x + 1}:{right},{y + 1}:{top}]"


def regions_of(source, region=None):
    """
    Parts of a frame that are measured by themselves.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame.
    region : str, optional
        FITS section of the trimmed frame to stay in.

    Returns
    -------
    list of tuple
        Name of the amplifier and slices (rows, columns).

    Raises
    ------
    InputError
        If the region is outside the frame.
    """
    whole = (slice(0, source.shape[0]), slice(0, source.shape[1]))
    inside = whole if region is None else parse_section(region, source.shape)
    parts = [(amplifier.name, part) for part, amplifier in source.regions] or [("", whole)]
    kept = [(name, tuple(map(_overlap, part, inside))) for name, part in parts]
    kept = [(name, part) for name, part in kept if all(item.stop > item.start for item in part)]
    if not kept:
        msg = f"region = {region!r} has no pixel of the trimmed frame of shape {source.shape}"
        raise InputError(msg)
    return kept


def _overlap(one, other):
    start, stop = other.start or 0, one.stop if other.stop is None else other.stop
    return slice(max(one.start, start), min(one.stop, stop))


def good_pixels(source):
    """
    Pixels of a frame, NaN where they are flagged.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame.

    Returns
    -------
    `~numpy.ndarray`
        float32 (float64 where the frame has it).
    """
    values = np.empty(source.shape, source.dtype)
    for start in range(0, source.shape[0], _STRIP):
        rows = slice(start, min(start + _STRIP, source.shape[0]))
        source.fill(rows, values[rows], 0xFFFF)
    return values


def choose_areas(image, name, part):
    """
    The flattest areas of an amplifier that are at least half good; if none is, all of them.

    Parameters
    ----------
    image : `~numpy.ndarray`
        A frame, NaN where it is bad, shape ``(ny, nx)``.
    name : str
        The amplifier.
    part : tuple of slice
        Its rows and columns.

    Returns
    -------
    Areas
    """
    pixels = image[part]
    ny, nx = pixels.shape
    side = min(_SIDE, ny, nx, max(_SMALLEST, math.isqrt(ny * nx // _LEAST_AREAS)))
    corners = np.array([(y, x) for y in range(0, ny - side + 1, side) for x in range(0, nx - side + 1, side)])
    finite = np.isfinite(pixels)
    good = _sums(finite, side, 1).ravel() / side**2
    steepness = _steepness(pixels, finite, side)
    order = np.lexsort((steepness, good < _LEAST_PART))[:_MOST_AREAS]
    origin = np.array([part[0].start, part[1].start])
    return Areas(name, (side, side), corners[np.sort(order)] + origin)


def areas_of(source, region=None):
    """
    The areas of every amplifier.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame that shows what is flat and good.
    region : str, optional
        FITS section of the trimmed frame to stay in.

    Returns
    -------
    list of Areas
    """
    image = good_pixels(source)
    return [choose_areas(image, name, part) for name, part in regions_of(source, region)]


def _steepness(pixels, finite, side):
    """Span of the means of the blocks of each area; infinite where there is none."""
    if side < _BLOCKS:
        return np.zeros((pixels.shape[0] // side) * (pixels.shape[1] // side))
    count = _sums(finite, side, _BLOCKS)
    total = _sums(pixels if finite.all() else np.where(finite, pixels, 0), side, _BLOCKS)
    means = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    # Blocks of an area beside one another.
    means = means.reshape(-1, _BLOCKS, means.shape[1] // _BLOCKS, _BLOCKS).swapaxes(1, 2).reshape(-1, _BLOCKS**2)
    low, high = np.fmin.reduce(means, axis=1), np.fmax.reduce(means, axis=1)
    return np.where(np.isfinite(low), high - low, np.inf)


def _sums(values, side, blocks):
    """
    Sums of the blocks of the areas of an image, so many along each side; rows are added first, many columns at once.

    What is left over at the end of an area belongs to no block.
    """
    (ny, nx), block = values.shape, side // blocks
    down, across = ny // side, nx // side
    rows = values[: down * side, : across * side].reshape(down, side, -1)[:, : block * blocks]
    rows = rows.reshape(down * blocks, block, -1).sum(axis=1, dtype=np.float64)
    columns = rows.reshape(down * blocks, across, side)[:, :, : block * blocks]
    return columns.reshape(down * blocks, across * blocks, block).sum(axis=2)


def cut(image, areas):
    """
    The pixels of areas.

    Parameters
    ----------
    image : `~numpy.ndarray`
        A frame.
    areas : Areas
        Where.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(k, pixels of an area)``.
    """
    height, width = areas.side
    return np.stack([image[y : y + height, x : x + width].ravel() for y, x in areas.corners])


def variances(difference, side):
    """
    Variance of the pixels of areas about a plane, outliers left out and the loss by that put right.

    Parameters
    ----------
    difference : `~numpy.ndarray`
        Shape ``(k, m)``, NaN where there is nothing.
    side : tuple of int
        Rows and columns of an area.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(k,)``, float64; NaN where an area has too few pixels.
    """
    enough = np.isfinite(difference).sum(axis=1) >= max(_FEWEST, _LEAST_PART * difference.shape[1])
    center, width = _center_and_width(difference)
    result = np.empty(len(difference))
    plane_variances(np.asarray(difference, np.float32), side, center, width, SIGMA, result)
    return np.where(enough, result / truncation_factor(SIGMA) ** 2, np.nan)


def _center_and_width(difference):
    """Median and half the width of the central two thirds; of whole numbers not below half a step."""
    some = difference[:, :: (difference.shape[1] // 512) | 1]
    ordered = np.sort(some, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    row = np.arange(len(ordered))
    low, center, high = (ordered[row, (part * (count - 1)).clip(0).astype(int)] for part in (0.15865, 0.5, 0.84135))
    width = (high - low) / 2
    finite = some[np.isfinite(some)]
    if np.array_equal(2 * finite, np.rint(2 * finite)):
        width = np.maximum(width, 0.5)
    return np.nan_to_num(center).astype(np.float32), (np.nan_to_num(width) + 1e-30).astype(np.float32)


def combined(values, relative):
    """
    Mean over the areas, outlying ones left out, and its error.

    The error is that of the scatter; where areas are few the scatter itself is badly known, and what theory says
    of it counts too.

    Parameters
    ----------
    values : `~numpy.ndarray`
        One for each area; NaN where there is none.
    relative : float
        Relative error of a single value in theory.

    Returns
    -------
    mean, error : float
        NaN without values.
    count : int
        Areas used.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return math.nan, math.nan, 0
    center = np.median(values)
    width = max(1.4826 * np.median(np.abs(values - center)), relative * abs(center))
    kept = values[np.abs(values - center) <= 4 * width]
    mean, count = float(kept.mean()), kept.size
    scatter = kept.var(ddof=1) if count > 1 else 0.0
    variance = (_PRIOR * (relative * mean) ** 2 + (count - 1) * scatter) / (_PRIOR + count - 1)
    return mean, math.sqrt(variance / count), count
