"""What flats tell of single pixels: dead ones, outliers, and those that never see light."""

import numpy as np

from ccdnight.badpixels.causes import CAUSES
from ccdnight.badpixels.local import each_block_row, local_median, local_sigma
from ccdnight.badpixels.outliers import box_median
from ccdnight.statistics import median_of, medians_of_rows, sample_pixels

__all__ = ["flat_causes", "ratio_outliers"]

#: Part of the typical level below which a region sees no light; part of its neighbors' below which a pixel is dead.
_DARK, _DEAD = 0.1, 0.5
#: Sensitivities beyond which a whole patch is bad, compared with what is this many pixels around it.
_PATCH, _STEP, _WIDE = (0.7, 1.4), 8, (9, 9)
#: Pixels of a row or column that tell whether it sees light.
_SAMPLE = 256
#: Relative scatter up to which the response of a whole column is what a flat is for.
_FLAT_FIELD = 0.02
_UNEXPOSED, _RESPONSE, _DEAD_BIT = (np.uint16(CAUSES[name].value) for name in ("UNEXPOSED", "RESPONSE", "DEAD"))


def flat_causes(flat, sigma, least, regions, workers=None):
    """
    Outliers of a flat.

    Parameters
    ----------
    flat : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; 0 where it is not usable.
    sigma : float
        Threshold in local standard deviations.
    least : float
        Relative deviation that a pixel must have.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.

    Returns
    -------
    causes : `~numpy.ndarray`
        uint16.
    deviation : `~numpy.ndarray`
        Relative deviation from the neighbors in units of the scatter, 2 % at least, for the search for columns.
    """
    some, local = sample_pixels(flat), np.zeros_like(flat)
    typical = np.float32(median_of(some[some > 0]) if (some > 0).any() else 1)

    def smooth(part, rows):
        local[part][rows] = local_median(flat[part], rows)

    each_block_row(smooth, regions, workers=workers)
    dark, blind = np.float32(_DARK * typical), _blind(flat, _DARK * typical)
    wide = _wide(flat, local, blind, typical)
    (y, x), causes = _nearest(flat.shape, wide.shape), np.zeros(flat.shape, np.uint16)
    deviation = np.zeros_like(flat)

    def judge(part, rows):
        here = (slice(part[0].start + rows.start, part[0].start + rows.stop), part[1])
        near, unexposed = local[here], _unexposed(flat, local, blind, dark, here)
        relative = flat[here] / np.maximum(near, dark) - 1
        relative[unexposed] = 0
        scatter, size = local_sigma(relative), np.abs(relative)
        off = (size > sigma * scatter) & (size > least)
        around = np.maximum(wide[y[here[0], None], x[here[1]]], dark)
        ratio = np.where(unexposed, typical, near) / around
        off |= (ratio < _PATCH[0]) | (ratio > _PATCH[1])
        found = np.where(off, _RESPONSE, np.uint16(0))
        found[off & (relative < _DEAD - 1)] = _DEAD_BIT
        found[unexposed] = _UNEXPOSED
        causes[here], deviation[here] = found, relative / np.maximum(scatter, np.float32(_FLAT_FIELD))

    each_block_row(judge, regions, workers=workers)
    return causes, deviation


def _blind(flat, dark):
    """Rows, and columns, that see no light."""
    rows, columns = (max(1, size // _SAMPLE) for size in flat.shape)
    return medians_of_rows(flat[:, ::columns]) < dark, medians_of_rows(flat[::rows].T) < dark


def _unexposed(flat, local, blind, dark, where):
    """Regions, whole rows and whole columns without light; a single dark pixel is dead, not unexposed."""
    rows, columns = (line[part] for line, part in zip(blind, where, strict=True))
    return ((flat[where] < dark) & (local[where] < dark)) | rows[:, None] | columns[None, :]


def _wide(flat, local, blind, typical):
    """A much wider moving median on every eighth pixel: patches larger than the other one are seen against it."""
    grid = tuple(slice(min(_STEP // 2, size // 2), None, _STEP) for size in flat.shape)
    unexposed = _unexposed(flat, local, blind, np.float32(_DARK * typical), grid)
    return box_median(np.where(unexposed, typical, local[grid]), _WIDE)


def _nearest(shape, coarse):
    """The row and column of a coarse grid that belongs to each of a fine one."""
    return [np.minimum(np.arange(size) // _STEP, count - 1) for size, count in zip(shape, coarse, strict=True)]


def ratio_outliers(low, high, sigma, least, regions, workers=None):
    """
    Outliers of the ratio of two flats: pixels whose response depends on the level.

    Parameters
    ----------
    low, high : `~numpy.ndarray`
        Flats of a low and a high level, 0 where they are not usable.
    sigma, least, regions, workers
        As in `flat_causes`.

    Returns
    -------
    `~numpy.ndarray`
        bool.
    """
    usable = (low > 0) & (high > 0)
    ratio = np.where(usable, low / np.where(usable, high, 1), 1).astype(np.float32)
    off = np.zeros(ratio.shape, bool)

    def judge(part, rows):
        relative = ratio[part][rows] / local_median(ratio[part], rows) - 1
        size = np.abs(relative)
        off[part][rows] = (size > sigma * local_sigma(relative)) & (size > least)

    each_block_row(judge, regions, workers=workers)
    return off & usable
