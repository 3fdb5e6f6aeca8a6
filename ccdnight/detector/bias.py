"""Level, drift and shape of the bias."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.table import Table

from ccdnight.detector.areas import good_pixels, regions_of
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import open_frames
from ccdnight.sources import frame_facts
from ccdnight.statistics import clipped_moments

__all__ = ["BiasMeasurement", "measure_bias"]


@dataclass(frozen=True)
class BiasMeasurement(Measurement):
    """
    Bias of one amplifier.

    Attributes
    ----------
    level, level_scatter : `~astropy.units.Quantity`
        Mean of the frames' levels and their standard deviation, adu; the overscan is not subtracted.
    drift, drift_error : `~astropy.units.Quantity` or None
        Change of the level, adu/hour; None without times.
    column_range, row_range : `~astropy.units.Quantity`
        Range of the profiles between their 1st and 99th percentile, adu.
    column_profile, row_profile : `~numpy.ndarray`
        Mean of every column and every row minus the level, adu.
    table : `~astropy.table.Table`
        One row for each frame: file, time, level.
    frames : int
        Biases.
    region, amplifier : str
        Where.
    amplifiers : tuple of BiasMeasurement
        Of all amplifiers; empty where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_bias
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu") for _ in range(3)]
    >>> found = measure_bias(biases)
    >>> found.frames, round(found.level.value), found.column_profile.shape
    (3, 1000, (256,))
    """

    level: u.Quantity
    level_scatter: u.Quantity
    drift: u.Quantity | None
    drift_error: u.Quantity | None
    column_range: u.Quantity
    row_range: u.Quantity
    column_profile: np.ndarray = field(repr=False, compare=False)
    row_profile: np.ndarray = field(repr=False, compare=False)
    table: Table = field(repr=False, compare=False)
    frames: int
    region: str
    amplifier: str = ""
    amplifiers: tuple = ()


def measure_bias(biases, *, profile=None, region=None):
    """
    Measure level, drift with time, and shape of the bias.

    Parameters
    ----------
    biases : list of path-like or `~astropy.nddata.CCDData`
        One and more.
    profile : str, path-like or InstrumentProfile, optional
        The instrument.
    region : str, optional
        FITS section of the trimmed frame to measure in.

    Returns
    -------
    BiasMeasurement
        Of several amplifiers the first; all are in its `amplifiers`.

    Raises
    ------
    MeasurementError
        If there is no frame.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_bias
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu") for _ in range(3)]
    >>> round(measure_bias(biases).level.value)
    1000
    """
    dark = open_frames(biases, profile, "biases", least=1, overscan=False)
    times = [frame_facts(source).time for source in dark]
    parts, levels = regions_of(dark[0], region), []
    total = np.zeros(dark[0].shape)
    for source in dark:
        image = good_pixels(source)
        levels.append([clipped_moments(image[part][::3])[0] for _, part in parts])
        total += image
    found = []
    for number, (name, part) in enumerate(parts):
        own = np.array([item[number] for item in levels])
        found.append(_of_amplifier(total[part] / len(dark), own, times, [item.name for item in dark], name, part))
    return found[0] if len(found) == 1 else replace(found[0], amplifiers=tuple(found))


def _of_amplifier(mean, levels, times, names, name, part):
    table = Table()
    table["file"] = names
    table["time"] = [time.isoformat(timespec="milliseconds") if time else "" for time in times]
    table["level"] = levels * u.adu
    drift = error = None
    known = [i for i, time in enumerate(times) if time is not None]
    if len(known) >= 3:
        hours = np.array([(times[i] - times[known[0]]).total_seconds() / 3600 for i in known])
        if np.ptp(hours) > 0:
            drift, error = _slope(hours, levels[known])
    columns, rows = (_profile(mean, axis) for axis in (0, 1))
    scatter = levels.std(ddof=1) if len(levels) > 1 else math.nan
    region = f"[{part[1].start + 1}:{part[1].stop},{part[0].start + 1}:{part[0].stop}]"
    return BiasMeasurement(
        levels.mean() * u.adu,
        scatter * u.adu,
        drift,
        error,
        _range(columns) * u.adu,
        _range(rows) * u.adu,
        columns,
        rows,
        table,
        len(levels),
        region,
        name,
    )


def _slope(hours, levels):
    slope, zero = np.polyfit(hours, levels, 1)
    residual = levels - slope * hours - zero
    spread = math.sqrt((residual**2).sum() / (len(levels) - 2))
    unit = u.adu / u.hour
    return slope * unit, spread / (hours.std() * math.sqrt(len(hours))) * unit


def _profile(mean, axis):
    """
    Mean along an axis of what lies near the median, minus the level: hits and hot pixels are not in it.

    The median of a mean of few whole numbers would go in steps.
    """
    rows = mean.T if axis == 0 else mean
    known = np.isfinite(rows).any(axis=1)
    values = rows[known]
    center = np.nanmedian(values, axis=1, keepdims=True)
    width = 1.4826 * np.nanmedian(np.abs(values - center), axis=1, keepdims=True)
    near = np.abs(values - center) <= 4 * np.maximum(width, 0.5)
    profile = np.full(known.size, np.nan)
    profile[known] = np.where(near, values, 0).sum(axis=1) / near.sum(axis=1)
    return profile - np.nanmedian(profile)


def _range(profile):
    low, high = np.nanpercentile(profile, [1, 99])
    return high - low
