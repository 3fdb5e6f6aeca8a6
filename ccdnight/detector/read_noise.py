"""Read noise from biases."""

import math
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u

from ccdnight._inputs import positive
from ccdnight.detector.areas import SIGMA, areas_of, combined
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import cut_frames, open_frames
from ccdnight.exceptions import MeasurementError
from ccdnight.statistics import clipped_moments

__all__ = ["ReadNoiseEstimate", "estimate_read_noise", "noise_of", "read_noise_by_amplifier", "read_noise_of"]

#: Part of the pixels that the plain scatter is taken of.
_EVERY = 3


@dataclass(frozen=True)
class ReadNoiseEstimate(Measurement):
    """
    Read noise of one amplifier.

    Attributes
    ----------
    read_noise, read_noise_error : `~astropy.units.Quantity`
        In electron where the gain is known, else in adu. All that is smooth over an area is taken off, and the noise of
        digitization.
    read_noise_raw, read_noise_level : `~astropy.units.Quantity`
        The same from the whole difference of the frames as it is, and with one constant for each frame taken off:
        a level that drifts from frame to frame is in the first, one that drifts within a frame in both.
    read_noise_adu : float
        In adu.
    pairs, areas : int
        Pairs of biases and areas that it was measured from.
    region : str
        Where they lie, FITS section of the trimmed frame.
    amplifier : str
        Its name; '' where there is one.
    amplifiers : tuple of ReadNoiseEstimate
        Of all amplifiers of the detector, this one, the first, among them; empty where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import estimate_read_noise
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)), unit="adu") for _ in range(3)]
    >>> found = estimate_read_noise(biases, gain=2)
    >>> round(found.read_noise.value), round(found.read_noise_adu)
    (10, 5)
    >>> bool(found.read_noise_error < 0.01 * found.read_noise)
    True
    """

    read_noise: u.Quantity
    read_noise_error: u.Quantity
    read_noise_raw: u.Quantity
    read_noise_level: u.Quantity
    read_noise_adu: float
    pairs: int
    areas: int
    region: str
    amplifier: str = ""
    amplifiers: tuple = ()


def estimate_read_noise(biases, *, gain=None, profile=None, region=None):
    """
    Measure the read noise from biases: ``G std(B1 - B2) / sqrt(2)``.

    Every frame is held against its neighbors in the list; in areas of 64 x 64 pixels a plane is taken off the
    difference, values beyond 5 sigma are left out, and the areas give the error. The noise of digitization, a
    twelfth of a square adu, is taken off where it is less than a third of the whole; it is in `read_noise_raw`.

    Parameters
    ----------
    biases : list of path-like or `~astropy.nddata.CCDData`
        At least two.
    gain : float or `~astropy.units.Quantity`, optional
        Electron/adu; without it the result is in adu.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; it tells the amplifiers apart.
    region : str, optional
        FITS section of the trimmed frame to measure in.

    Returns
    -------
    ReadNoiseEstimate
        Of several amplifiers the first; all are in its `amplifiers`.

    Raises
    ------
    MeasurementError
        If there are fewer than two biases, two are identical, or one of two holds light.

    References
    ----------
    Howell 2006, Handbook of CCD Astronomy, section 4.3; the same as findgain of IRAF.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.detector import estimate_read_noise
    >>> from astropy.nddata import CCDData
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 5, (256, 256)).round(), unit="adu") for _ in range(3)]
    >>> found = estimate_read_noise(biases, gain=2)
    >>> round(found.read_noise.value, 1)
    np.float64(10.0)
    """
    dark = open_frames(biases, profile, "biases")
    factor = 1.0 if gain is None else float(positive(gain, "electron / adu", "gain"))
    unit = u.adu if gain is None else u.electron
    found = read_noise_by_amplifier(dark, factor, unit, region=region)
    return found[0] if len(found) == 1 else replace(found[0], amplifiers=tuple(found))


def read_noise_by_amplifier(dark, factor=1.0, unit=u.adu, *, region=None, tell=None):
    """
    Read noise of every amplifier.

    Parameters
    ----------
    dark : list
        Biases, as sources.
    factor : float, optional
        What adu are multiplied by.
    unit : `~astropy.units.Unit`, optional
        Of the result.
    region : str, optional
        Section to stay in.
    tell : callable, optional
        Called with words about frames that are not as they should be; by default a warning.

    Returns
    -------
    list of ReadNoiseEstimate
    """
    cuts = cut_frames(dark, areas_of(dark[0], region), tell)
    return [read_noise_of(series.without_light(), factor, unit) for series in cuts]


def noise_of(series):
    """
    Variance of a single bias in every area, and its mean.

    Parameters
    ----------
    series : Series
        Biases.

    Returns
    -------
    areas : `~numpy.ndarray`
        adu squared; the mean where an area has too few good pixels.
    mean, error : float
        Over the areas.
    count : int
        Areas used.

    Raises
    ------
    MeasurementError
        If no area has enough good pixels.
    """
    pairs = [series.difference_variances(*pair) for pair in series.neighbors()]
    single = np.mean(pairs, axis=0)
    mean, error, count = combined(single, math.sqrt(2 / (series.pixels[0].shape[1] * max(1, len(pairs)))))
    if not count:
        msg = f"{series.names[0]}: no area of its biases has enough pixels that are not flagged"
        raise MeasurementError(msg)
    return np.where(np.isfinite(single), single, mean), mean, error, count


def read_noise_of(series, factor, unit):
    """
    Read noise of one amplifier.

    Parameters
    ----------
    series : Series
        Biases.
    factor : float
        What adu are multiplied by.
    unit : `~astropy.units.Unit`
        Of the result.

    Returns
    -------
    ReadNoiseEstimate
    """
    _, mean, error, count = noise_of(series)
    if not mean > 0:
        msg = f"{series.names[0]}: nearly all pixels of its biases are the same in each of them: they have no noise"
        raise MeasurementError(msg)
    digital = series.step**2 / 12
    adu = math.sqrt(mean - digital if mean > 3 * digital else mean)
    raw, level = (factor * value * unit for value in _plain_noise(series))
    return ReadNoiseEstimate(
        adu * factor * unit,
        error / (2 * adu) * factor * unit,
        raw,
        level,
        adu,
        len(series.neighbors()),
        count,
        series.areas.region,
        series.areas.amplifier,
    )


def _plain_noise(series):
    """Root mean square of the differences as they are, and about one constant, over the root of two."""
    raw, level = [], []
    for one, other in series.neighbors():
        some = slice(None, None, _EVERY)
        difference = series.pixels[one][:, some] - series.pixels[other][:, some]
        center, std, _ = clipped_moments(difference, sigma=SIGMA)
        raw.append((center**2 + std**2) / 2)
        level.append(std**2 / 2)
    return math.sqrt(np.mean(raw)), math.sqrt(np.mean(level))
