"""The shift between two frames by the correlation of their pixels, where there are not stars enough to compare."""

import numpy as np

from ccdnight.alignment.mesh import cell_medians, spread_cells
from ccdnight.flags import FLAGS
from ccdnight.products import flags_of

__all__ = ["correlate_frames"]

#: Height of the peak of the correlation, in deviations of the correlation, from which on it is believed.
_SIGNIFICANT = 12.0
#: Part of the pixels with objects in them that must fall together.
_TOGETHER = 0.5
#: Half the side in pixels of what belongs to the peak.
_PEAK = 30


def correlate_frames(first, second):
    """
    Shift of a frame against another of the same shape, by the phase-free correlation of their smoothed pixels.

    Parameters
    ----------
    first, second : `~astropy.nddata.CCDData`
        The frames.

    Returns
    -------
    dx, dy, significance : float or None
        ``first(x + dx, y + dy) = second(x, y)`` and the height of the peak in deviations; None if the frames show
        nothing in common, or differ in shape.
    """
    from scipy.fft import irfft2, rfft2

    if first.data.shape != second.data.shape:
        return None
    one, other = _prepared(first), _prepared(second)
    ny, nx = one.shape
    # Padded, so that what leaves at one edge does not come in at the other.
    shape = 2 * ny, 2 * nx
    surface = irfft2(rfft2(one, shape) * np.conj(rfft2(other, shape)), shape)
    row, column = np.unravel_index(np.argmax(surface), shape)
    far = np.ones(shape, bool)
    far[
        np.ix_(np.arange(row - _PEAK, row + _PEAK) % shape[0], np.arange(column - _PEAK, column + _PEAK) % shape[1])
    ] = False
    deviation = float(np.std(surface[far]))
    height = float((surface[row, column] - np.mean(surface[far])) / deviation) if deviation > 0 else 0.0
    if height < _SIGNIFICANT:
        return None
    if not _overlap(one, other, row - 2 * ny * (row > ny), column - 2 * nx * (column > nx)):
        return None
    dy = row + _vertex(surface[[row - 1, row, (row + 1) % shape[0]], column])
    dx = column + _vertex(surface[row, [column - 1, column, (column + 1) % shape[1]]])
    return float(dx - shape[1] * (dx > nx)), float(dy - shape[0] * (dy > ny)), height


def _overlap(one, other, dy, dx):
    """Whether most of what one frame shows lies on what the other shows, where both look at the same sky."""
    ny, nx = one.shape
    first = one[max(dy, 0) : ny + min(dy, 0), max(dx, 0) : nx + min(dx, 0)] > 0
    second = other[max(-dy, 0) : ny + min(-dy, 0), max(-dx, 0) : nx + min(-dx, 0)] > 0
    most = max(np.count_nonzero(first), np.count_nonzero(second))
    return most > 0 and np.count_nonzero(first & second) > _TOGETHER * most


def _prepared(ccd):
    """Objects above the background, so that neither a hot pixel nor one bright star says it all."""
    from scipy.ndimage import gaussian_filter, median_filter

    data = np.array(ccd.data, np.float32)
    bad = ((flags_of(ccd) & ~np.uint16(FLAGS["SATURATED"].value)) != 0) | ~np.isfinite(data)
    data[bad] = np.nan
    data -= spread_cells(cell_medians(data, 128), data.shape, 128)
    data[~np.isfinite(data)] = 0
    data = gaussian_filter(median_filter(data, 3), 1.5, mode="constant")
    noise = 1.4826 * float(np.median(np.abs(data))) or 1.0
    return np.where(data > 3 * noise, np.minimum(data, 300 * noise), 0)


def _vertex(values):
    """Where a parabola through three values has its vertex, counted from the middle one."""
    bend = values[0] - 2 * values[1] + values[2]
    return 0.5 * (values[0] - values[2]) / bend if bend < 0 else 0.0
