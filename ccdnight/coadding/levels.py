"""Background and noise of the sky of frames that are coadded, on a mesh, and the levels that match them."""

from dataclasses import dataclass

import numpy as np

from ccdnight.alignment.mesh import cell_medians
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["Sky", "match_levels", "mesh_at", "sky_of_frame"]

#: Side of a cell in pixels.
CELL = 64


@dataclass(frozen=True)
class Sky:
    """
    The sky of one frame.

    Attributes
    ----------
    level, variance : `~numpy.ndarray`
        Medians of the cells of a mesh, in the unit of the frame; the variance is that of a pixel of sky.
    """

    level: np.ndarray
    variance: np.ndarray


def sky_of_frame(item, exclude):
    """
    Measure the sky of a frame.

    Parameters
    ----------
    item : Opened
        The frame.
    exclude : int
        Flags of pixels that do not count.

    Returns
    -------
    Sky
    """
    data, variance, flags = item.rows(slice(0, item.shape[0]))
    bad = ((flags & exclude) != 0) | ~np.isfinite(data)
    data = np.where(bad, np.nan, data)
    level = cell_medians(data, CELL)
    if variance is None:
        sample = sample_pixels(data)
        scatter = clipped_moments(sample[np.isfinite(sample)], sigma=3.0)[1]
        spread = np.full(level.shape, scatter**2 if scatter > 0 else 1.0)
    else:
        spread = cell_medians(np.where(bad, np.nan, variance), CELL)
        positive = spread[spread > 0]
        # Without noise there is nothing to weight by: all frames count alike.
        spread = np.maximum(spread, 1e-6 * np.median(positive)) if positive.size else np.ones(spread.shape)
    return Sky(level, spread)


def mesh_at(cells, x, y):
    """
    A mesh of cells at positions of its frame.

    Parameters
    ----------
    cells : `~numpy.ndarray`
        Medians of the cells.
    x, y : `~numpy.ndarray`
        0-based pixels; beyond the centers of the outermost cells these go on.

    Returns
    -------
    `~numpy.ndarray`
        NaN where a position is.
    """
    from scipy.ndimage import map_coordinates

    known = np.isfinite(x) & np.isfinite(y)
    row = np.where(known, (y + 0.5) / CELL - 0.5, 0).clip(0, cells.shape[0] - 1)
    column = np.where(known, (x + 0.5) / CELL - 0.5, 0).clip(0, cells.shape[1] - 1)
    values = map_coordinates(np.asarray(cells, float), [row, column], order=1, mode="nearest")
    return np.where(known, values, np.nan)


def match_levels(levels):
    """
    Constants by which frames differ where they look at the same sky.

    Parameters
    ----------
    levels : `~numpy.ndarray`
        Level of each frame at places of the sky, shape ``(n, places)``; NaN where it does not see one.

    Returns
    -------
    offsets : `~numpy.ndarray`
        What is to be subtracted from each frame; on average the level of the sky.
    """
    levels = np.where(np.isfinite(levels), levels, np.nan)
    own = np.array([np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in levels])
    offsets = own - np.mean(own)
    seen = np.isfinite(levels).sum(0) > 1
    if seen.any():
        for _ in range(50):
            common = np.nanmedian(levels[:, seen] - offsets[:, None], axis=0)
            steps = levels[:, seen] - common - offsets[:, None]
            change = np.array([np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in steps])
            offsets = offsets + change
            if np.abs(change).max() < 1e-4 * (np.abs(own).max() + 1e-12):
                break
    everywhere = (levels - offsets[:, None])[np.isfinite(levels)]
    return offsets + (float(np.median(everywhere)) if everywhere.size else 0.0)
