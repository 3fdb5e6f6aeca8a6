"""What flats tell of single pixels: dead ones, outliers, and those that never see light."""

import numpy as np

from ccdnight.badpixels.causes import CAUSES
from ccdnight.badpixels.outliers import box_median, local_median, local_sigma
from ccdnight.statistics import sample_pixels

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
    some = sample_pixels(flat)
    local, typical = np.empty_like(flat), float(np.median(some[some > 0])) if (some > 0).any() else 1.0
    for part in regions:
        local[part] = local_median(flat[part], workers=workers)
    unexposed = _unexposed(flat, local, typical)
    light = np.maximum(local, np.float32(_DARK * typical))
    relative = flat / light - 1
    relative[unexposed] = 0
    scatter = np.empty_like(flat)
    for part in regions:
        scatter[part] = local_sigma(relative[part])
    off = (np.abs(relative) > sigma * scatter) & (np.abs(relative) > least)
    off |= _patches(local, unexposed, typical)
    causes = np.where(off, _RESPONSE, np.uint16(0))
    causes[off & (relative < _DEAD - 1)] = _DEAD_BIT
    causes[unexposed] = _UNEXPOSED
    return causes, relative / np.maximum(scatter, np.float32(_FLAT_FIELD))


def _unexposed(flat, local, typical):
    """Regions, whole rows and whole columns without light; a single dark pixel is dead, not unexposed."""
    unexposed = (flat < _DARK * typical) & (local < _DARK * typical)
    rows, columns = (max(1, size // _SAMPLE) for size in flat.shape)
    unexposed |= (np.median(flat[:, ::columns], axis=1) < _DARK * typical)[:, None]
    unexposed |= (np.median(flat[::rows], axis=0) < _DARK * typical)[None, :]
    return unexposed


def _patches(local, unexposed, typical):
    """Patches larger than the moving median, seen against a much wider one on every eighth pixel."""
    filled = np.where(unexposed, np.float32(typical), local)
    first = [min(_STEP // 2, size // 2) for size in local.shape]
    wide = box_median(np.ascontiguousarray(filled[first[0] :: _STEP, first[1] :: _STEP]), _WIDE)
    y, x = (
        np.minimum(np.arange(size) // _STEP, count - 1) for size, count in zip(local.shape, wide.shape, strict=True)
    )
    ratio = filled / np.maximum(wide[y[:, None], x], np.float32(_DARK * typical))
    return (ratio < _PATCH[0]) | (ratio > _PATCH[1])


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
    for part in regions:
        relative = ratio[part] / local_median(ratio[part], workers=workers) - 1
        scatter = local_sigma(relative)
        off[part] = (np.abs(relative) > sigma * scatter) & (np.abs(relative) > least)
    return off & usable
