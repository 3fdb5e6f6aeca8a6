"""
The level of an overscan: clipped means of its rows, smoothed along the rows.

Single rows of an overscan scatter by more than the rows of the image do, so row by row it would add stripes.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from ccdnight.exceptions import InputError
from ccdnight.provenance import mark_applied, record_step
from ccdnight.statistics import clipped_mean_rows, clipped_moments

__all__ = ["DEFAULT_WINDOW", "Overscan", "measure_overscan", "note_overscan", "overscan_levels", "overscan_of"]

#: Rows over which the overscan is smoothed unless something else is asked for.
DEFAULT_WINDOW = 51


@dataclass(frozen=True)
class Overscan:
    """
    Level of the overscan beside the data of one amplifier.

    Attributes
    ----------
    level : `~numpy.ndarray`
        Shape ``(ny, 1)`` or ``(1, nx)``: what is subtracted, in adu.
    error : float
        Standard error of one entry, in adu.
    mean : float
        Mean level, in adu.
    """

    level: np.ndarray
    error: float
    mean: float


def measure_overscan(pixels, *, along_rows=True, window=DEFAULT_WINDOW):
    """
    Level of an overscan region, row by row (or column by column) and smoothed.

    Parameters
    ----------
    pixels : `~numpy.ndarray`
        The usable overscan, shape ``(ny, n)`` beside rows, ``(n, nx)`` above or below columns.
    along_rows : bool, optional
        True where each row of the image has its own overscan pixels.
    window : int, optional
        Rows over which the level is smoothed; 1 leaves it row by row.

    Returns
    -------
    Overscan
    """
    rows = np.asarray(pixels) if along_rows else np.asarray(pixels).T
    level, error = clipped_mean_rows(rows)
    window = min(window, level.size)
    error = float(np.median(error))
    if window > 1:
        smooth = _smooth(level, window)
        # Overscan rows can scatter by more than their pixels do (Nickel: 1.8 adu against 1.1).
        error = max(error, clipped_moments(level - smooth)[1]) / np.sqrt(window)
        level = smooth
    shaped = level[:, None] if along_rows else level[None, :]
    return Overscan(shaped.astype(np.float32), float(error), float(level.mean()))


def _smooth(level, window):
    """
    Running mean; at both ends a line through the last `window` rows.

    To repeat the last row beyond the end would give half of the weight to it alone, to mirror the rows would bend
    a slope.
    """
    smooth, half = uniform_filter1d(level, window), window // 2
    x = np.arange(window) - (window - 1) / 2
    for values, ends in ((level[:window], slice(0, half)), (level[-window:], slice(-half, None))):
        line = values.mean() + x * (x @ values) / (x @ x)
        smooth[ends] = line[ends]
    return smooth


def overscan_of(data, item, window):
    """
    Overscan of one amplifier of a raw frame.

    Parameters
    ----------
    data : `~numpy.ndarray` or callable
        The raw frame, or what reads ``(rows, columns)`` of it.
    item : `ccdnight.geometry.AmplifierGeometry`
        Its sections.
    window : int
        Rows over which the level is smoothed.

    Returns
    -------
    Overscan
    """
    read = data if callable(data) else data.__getitem__
    columns = item.overscan[1]
    along_rows = columns.start >= item.data[1].stop or columns.stop <= item.data[1].start
    return measure_overscan(read(item.overscan), along_rows=along_rows, window=window)


def overscan_levels(data, geometry, profile, window):
    """
    Overscan of every amplifier.

    Parameters
    ----------
    data : `~numpy.ndarray` or callable
        The raw frame, float32, or what reads ``(rows, columns)`` of it.
    geometry : `ccdnight.geometry.Geometry`
        Its sections.
    profile : InstrumentProfile
        The instrument.
    window : int
        Rows over which the level is smoothed.

    Returns
    -------
    list of tuple
        ``(Overscan, levels)`` of each amplifier; `levels` are subtracted from its data one after the other.

    Raises
    ------
    InputError
        If the frame has no usable overscan.
    """
    if not geometry.has_overscan:
        reasons = "; ".join(geometry.notes) or f"profile {profile.name!r} and the header name none"
        msg = f"the frame has no usable overscan: {reasons}"
        raise InputError(msg)
    read, found = data if callable(data) else data.__getitem__, []
    for item in geometry.amplifiers:
        overscan = overscan_of(read, item, window)
        if not np.isfinite(overscan.level).all():
            msg = "the overscan of the frame holds values that are not finite"
            raise InputError(msg)
        levels = [overscan.level]
        if item.parallel is not None:
            # Freed from the mean level of the serial overscan, which is taken off already.
            mean, part = np.float32(overscan.mean), replace(item, overscan=item.parallel)
            levels.append(overscan_of(lambda section, mean=mean: read(section) - mean, part, window).level)
        found.append((overscan, levels))
    return found


def note_overscan(ccd, found, window):
    """
    Write into a frame's header and records that its overscan has been subtracted.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    found : list of tuple
        Of `overscan_levels`.
    window : int
        Rows over which the level was smoothed.
    """
    mean = np.mean([overscan.mean for overscan, _ in found])
    error = float(np.mean([overscan.error for overscan, _ in found]))
    ccd.meta["OVSCMEAN"] = (round(float(mean), 4), "[adu] mean level of the overscan")
    ccd.meta["OVSCERR"] = (round(error, 5), "[adu] error of the overscan level of a row")
    mark_applied(ccd, "overscan", f"clipped row means over {window} rows, mean {mean:.2f} adu")
    record_step(ccd, "overscan", history=f"window {window}, mean {mean:.2f} adu", window=int(window))
