"""Dark current."""

import math
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u

from ccdnight._inputs import positive
from ccdnight.detector.areas import choose_areas, cut, good_pixels, regions_of
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import open_frames
from ccdnight.exceptions import MeasurementError
from ccdnight.sources import frame_facts, require_equal_shapes
from ccdnight.statistics import clipped_moments

__all__ = ["DarkCurrent", "dark_current"]

#: A pixel is hot if it lies so many deviations above the others.
_HOT = 8.0


@dataclass(frozen=True)
class DarkCurrent(Measurement):
    """
    Dark current of one amplifier.

    Attributes
    ----------
    rate, rate_error : `~astropy.units.Quantity`
        Of a typical pixel, electron/s (adu/s where the gain is not given).
    hot_fraction : float
        Part of the pixels that lie 8 deviations above the others.
    exposure : `~astropy.units.Quantity`
        Longest exposure that was used.
    temperature : float or None
        Mean detector temperature in Celsius.
    frames : int
        Darks used.
    region, amplifier : str
        Where.
    amplifiers : tuple of DarkCurrent
        Of all amplifiers; empty where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import dark_current
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu", meta={"EXPTIME": 0.0}) for _ in range(3)]
    >>> darks = [CCDData(rng.normal(1030, 5, (256, 256)), unit="adu", meta={"EXPTIME": 60.0}) for _ in range(3)]
    >>> found = dark_current(darks, biases=biases, gain=2)
    >>> str(found.rate.unit), bool(found.rate_error < 0.1 * found.rate)
    ('electron / s', True)
    """

    rate: u.Quantity
    rate_error: u.Quantity
    hot_fraction: float
    exposure: u.Quantity
    temperature: float | None
    frames: int
    region: str
    amplifier: str = ""
    amplifiers: tuple = ()


def dark_current(darks, *, biases=None, gain=None, profile=None, region=None):
    """
    Measure the dark current.

    The level of each dark above that of the biases over its exposure; without biases the slope over the exposures.
    The median of many areas is taken, so that hot pixels and glow in a corner do not count.

    Parameters
    ----------
    darks : list of path-like or `~astropy.nddata.CCDData`
        One and more.
    biases : list of path-like or `~astropy.nddata.CCDData`, optional
        Of the same level; can be left out where the darks have two exposures and more.
    gain : float or `~astropy.units.Quantity`, optional
        Electron/adu; without it the result is in adu/s.
    profile : str, path-like or InstrumentProfile, optional
        The instrument.
    region : str, optional
        FITS section of the trimmed frame to measure in.

    Returns
    -------
    DarkCurrent
        Of several amplifiers the first; all are in its `amplifiers`.

    Raises
    ------
    MeasurementError
        If a dark does not tell its exposure, or there are neither biases nor two exposures.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import dark_current
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu", meta={"EXPTIME": 0.0}) for _ in range(3)]
    >>> darks = [CCDData(rng.normal(1030, 5, (256, 256)), unit="adu", meta={"EXPTIME": 60.0}) for _ in range(3)]
    >>> found = dark_current(darks, biases=biases, gain=2)
    >>> round(found.rate.value, 2)
    np.float64(1.0)
    """
    frames = open_frames(darks, profile, "darks", least=1)
    zero = [] if biases is None else open_frames(biases, profile, "biases", least=1)
    require_equal_shapes(frames + zero)
    facts = [frame_facts(source) for source in frames]
    seconds = [item.dark_time or item.exposure for item in facts]
    for source, value in zip(frames, seconds, strict=True):
        if not value:
            msg = f"{source.name}: its exposure time is {value!r}; a time above 0 is needed"
            raise MeasurementError(msg)
    if not zero and max(seconds) < 1.5 * min(seconds):
        msg = f"darks of {min(seconds):g} s only and no biases: biases or darks of another exposure are needed"
        raise MeasurementError(msg)
    factor = 1.0 if gain is None else float(positive(gain, "electron / adu", "gain"))
    unit = (u.adu if gain is None else u.electron) / u.s
    temperatures = [item.temperature for item in facts if item.temperature is not None]
    shared = (max(seconds) * u.s, float(np.mean(temperatures)) if temperatures else None, len(frames))
    found = []
    for name, part in regions_of(frames[0], region):
        areas = choose_areas(good_pixels(frames[0]), name, part)
        rate, error, hot = _rate(frames, zero, np.array(seconds), areas)
        values = (rate * factor * unit, error * factor * unit, hot)
        found.append(DarkCurrent(*values, *shared, areas.region, name))
    return found[0] if len(found) == 1 else replace(found[0], amplifiers=tuple(found))


def _rate(frames, zero, seconds, areas):
    """Rate in adu/s, its error, and the part of hot pixels."""
    stacks = [cut(good_pixels(source), areas) for source in frames]
    levels = np.array([_areas_median(stack) for stack in stacks])
    if zero:
        base = np.array([_areas_median(cut(good_pixels(source), areas)) for source in zero])
        rates = (np.median(levels - base.mean(axis=0), axis=1)) / seconds
        weights = seconds / seconds.sum()
        rate = float((weights * rates).sum())
        # A level that wanders from frame to frame is the error; a single frame has that of its own areas.
        wander = np.std(np.median(base - base.mean(axis=0), axis=1), ddof=1) if len(base) > 1 else 0.0
        own = 1.2533 * np.std(levels[0] - base.mean(axis=0)) / math.sqrt(levels.shape[1])
        scatter = np.std(rates, ddof=1) / math.sqrt(len(rates)) if len(rates) > 1 else 0.0
        error = max(scatter, math.hypot(wander / math.sqrt(len(frames)), own / math.sqrt(len(frames))) / seconds.max())
    else:
        mean = np.median(levels, axis=1)
        line = np.polyfit(seconds, mean, 1)
        spread = math.sqrt(((mean - np.polyval(line, seconds)) ** 2).sum() / max(len(mean) - 2, 1))
        own = 1.2533 * np.std(levels[0]) / math.sqrt(levels.shape[1])
        rate, error = float(line[0]), max(spread, own) / (np.std(seconds) * math.sqrt(len(seconds)))
    longest = stacks[int(np.argmax(seconds))]
    deviation = longest - np.nanmedian(longest, axis=1, keepdims=True)
    _, std, _ = clipped_moments(deviation)
    return rate, float(error), float(np.nanmean(deviation > _HOT * std))


def _areas_median(values):
    """
    Median of each area; of whole numbers the mean of the values near it.

    The median of whole numbers is a whole number itself, and half an adu is a whole dark current.
    """
    center = np.nanmedian(values, axis=1, keepdims=True)
    width = 1.4826 * np.nanmedian(np.abs(values - center), axis=1, keepdims=True)
    near = np.abs(values - center) <= 4 * np.maximum(width, 1.0)
    return np.where(near, values, 0).sum(axis=1) / np.maximum(near.sum(axis=1), 1)
