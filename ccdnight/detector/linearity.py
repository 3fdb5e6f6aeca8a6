"""Whether the signal follows the exposure time."""

import math
from dataclasses import dataclass, field

import numpy as np
from astropy import units as u
from astropy.table import Table

from ccdnight.detector.areas import choose_areas, cut, good_pixels, regions_of
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import open_frames, require_one_filter
from ccdnight.exceptions import MeasurementError
from ccdnight.sources import frame_facts, require_equal_shapes

__all__ = ["Linearity", "departures", "measure_linearity"]

#: Part of the highest level up to which the response is taken as linear.
_LINEAR = 0.5


@dataclass(frozen=True)
class Linearity(Measurement):
    """
    Linearity of a detector with a lamp that does not change.

    Attributes
    ----------
    rate : `~astropy.units.Quantity`
        adu/s, of the lower half of the levels.
    shutter : `~astropy.units.Quantity`
        Time by which exposures are longer than their headers say, in seconds.
    largest : float
        Largest departure in percent, of the levels that are not saturated.
    table : `~astropy.table.Table`
        One row for each flat: file, exposure, level, departure in percent.
    region : str
        Where it was measured.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_linearity
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu") for _ in range(3)]
    >>> flats = [
    ...     CCDData(rng.normal(1000 + 500 * seconds, 5, (256, 256)), unit="adu", meta={"EXPTIME": seconds})
    ...     for seconds in (5.0, 10.0, 20.0, 40.0)
    ... ]
    >>> found = measure_linearity(flats, biases)
    >>> len(found.table), round(found.rate.value)
    (4, 500)
    """

    rate: u.Quantity
    shutter: u.Quantity
    largest: float
    table: Table = field(repr=False, compare=False)
    region: str = ""

    def correction(self, *, degree=1, saturation=np.inf):
        """
        Coefficients that make the levels proportional to the exposure times, offset by the shutter's.

        Least squares of ``s * (1 + c1 * s + c2 * s**2 + ...) = rate * (t + shutter)``, weighted as photon noise asks.

        Parameters
        ----------
        degree : int, optional
            Number of coefficients; there must be three more exposure times.
        saturation : float, optional
            Levels in adu above the bias from this one on are left out.

        Returns
        -------
        tuple of float
            c1 in 1/adu, c2 in 1/adu^2, ...: the ``linearity`` of an amplifier in a profile.

        Raises
        ------
        MeasurementError
            If there are too few exposure times.
        """
        level, seconds = self.table["level"].value, self.table["exposure"].value
        good = np.isfinite(level) & (level > 0) & (level < saturation)
        level, seconds = level[good], seconds[good]
        if degree < 1 or len(set(seconds)) < degree + 3:
            msg = f"degree = {degree!r}: {len(set(seconds))} exposure times; a degree of 1 or more needs three more"
            raise MeasurementError(msg)
        top, weight = level.max(), 1 / np.sqrt(level)
        columns = [seconds, np.ones(len(level)), *(-level * (level / top) ** power for power in range(1, degree + 1))]
        found = np.linalg.lstsq(np.transpose(columns) * weight[:, None], level * weight, rcond=None)[0]
        return tuple(float(value / top**power) for power, value in enumerate(found[2:], 1))


def measure_linearity(flats, biases, *, profile=None, region=None):
    """
    Hold levels against exposure times.

    Parameters
    ----------
    flats : list of path-like or `~astropy.nddata.CCDData`
        Of one filter and three exposure times and more, the light unchanged.
    biases : list of path-like or `~astropy.nddata.CCDData`
        One and more.
    profile : str, path-like or InstrumentProfile, optional
        The instrument.
    region : str, optional
        FITS section of the trimmed frame to measure in.

    Returns
    -------
    Linearity

    Raises
    ------
    MeasurementError
        If there are fewer than three exposure times or a flat does not tell its own.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import measure_linearity
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (128, 128)), unit="adu") for _ in range(2)]
    >>> flats = [
    ...     CCDData(rng.normal(1000 + 500 * seconds, 5, (128, 128)), unit="adu", meta={"EXPTIME": seconds})
    ...     for seconds in (5.0, 10.0, 20.0, 40.0)
    ... ]
    >>> found = measure_linearity(flats, biases)
    >>> round(found.rate.value)
    500
    """
    lit = open_frames(flats, profile, "flats", least=3)
    dark = open_frames(biases, profile, "biases", least=1)
    require_equal_shapes([lit[0], dark[0]])
    require_one_filter(lit)
    seconds = []
    for source in lit:
        exposure = frame_facts(source).exposure
        if not exposure:
            msg = f"{source.name}: its exposure time is {exposure!r}; a time above 0 is needed"
            raise MeasurementError(msg)
        seconds.append(exposure)
    if len(set(seconds)) < 3:
        msg = f"flats: {len(set(seconds))} exposure times; linearity needs three"
        raise MeasurementError(msg)
    name, part = regions_of(lit[0], region)[0]
    areas = choose_areas(good_pixels(lit[0]), name, part)
    bias = np.mean([_mean(source, areas) for source in dark], axis=0)
    level = np.array([np.nanmean(_mean(source, areas) - bias) for source in lit])
    seconds = np.array(seconds)
    low = level <= max(_LINEAR * level.max(), np.sort(level)[2])
    rate, offset = np.polyfit(seconds[low], level[low], 1, w=1 / np.sqrt(np.maximum(level[low], 1)))
    if not rate > 0:
        msg = f"the flats do not grow brighter with the exposure time: {rate:.3g} adu/s"
        raise MeasurementError(msg)
    departure = 100 * (level / (rate * seconds + offset) - 1)
    table = Table()
    table["file"] = [source.name for source in lit]
    table["exposure"], table["level"], table["departure"] = seconds * u.s, level * u.adu, departure * u.percent
    shutter = float(offset / rate)
    largest = float(departure[np.argmax(np.abs(departure))])
    return Linearity(rate * u.adu / u.s, shutter * u.s, largest, table, areas.region)


def _mean(source, areas):
    values = cut(good_pixels(source), areas)
    with np.errstate(invalid="ignore"):
        count = np.isfinite(values).sum(axis=1)
        return np.where(count > 0, np.nansum(values, axis=1, dtype=np.float64) / np.maximum(count, 1), np.nan)


def departures(exposure, level, filters, used):
    """
    Departure from the line through the lower half of the levels of each filter.

    Parameters
    ----------
    exposure, level : `~numpy.ndarray`
        Seconds and adu.
    filters : list of str
        Each filter has its own light.
    used : `~numpy.ndarray`
        bool; levels that may make the line.

    Returns
    -------
    `~numpy.ndarray`
        Percent; NaN where there are fewer than three exposure times.
    """
    found, filters = np.full(len(level), math.nan), np.array(filters)
    for name in set(filters):
        of = (filters == name) & (level > 0) & np.isfinite(exposure) & (exposure > 0)
        if len(set(exposure[of & used])) < 3:
            continue
        line = of & used & (level <= max(_LINEAR * level[of & used].max(), np.sort(level[of & used])[2]))
        rate, offset = np.polyfit(exposure[line], level[line], 1, w=1 / np.sqrt(level[line]))
        found[of] = 100 * (level[of] / (rate * exposure[of] + offset) - 1)
    return found
