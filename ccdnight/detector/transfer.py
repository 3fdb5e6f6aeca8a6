"""
The photon transfer curve: variance against mean over many levels.

The variance of a flat rises with its level: read noise at first, then photon noise with a slope of one over the
gain, a little less towards full well, because charge repels charge (the brighter-fatter effect), and it falls
where pixels are full.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.table import Table

from ccdnight.detector.areas import areas_of, combined
from ccdnight.detector.gain import pair_variances
from ccdnight.detector.linearity import departures
from ccdnight.detector.read_noise import noise_of
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import cut_frames, open_frames
from ccdnight.exceptions import MeasurementError
from ccdnight.sources import frame_facts, require_equal_shapes

__all__ = [
    "ALIKE",
    "CURVED",
    "PhotonTransfer",
    "fit_photon_transfer",
    "levels_apart",
    "transfer_by_amplifier",
    "transfer_variance",
]

#: Two flats of the same filter are a pair if the lower has this part of the level of the other.
ALIKE = 0.9
#: A level is left out that lies so many errors, and this part of its variance, off the curve.
_OFF, _OFF_PART = 5.0, 0.01
#: A level above which the variance is lower than at it by this part is beyond full well.
_FALL = 0.05
#: Levels that are needed, and from which on the curvature is fitted; how far apart they are.
_LEAST_LEVELS, CURVED, _APART = 3, 4, 1.2
#: The variance rises if it does so by so many errors.
_SEEN = 5
#: Part of the best level's good pixels that an area needs.
_AS_GOOD = 0.98


@dataclass(frozen=True)
class PhotonTransfer(Measurement):
    """
    Photon transfer curve of one amplifier.

    Attributes
    ----------
    gain, gain_error : `~astropy.units.Quantity`
        In electron/adu.
    read_noise, read_noise_error : `~astropy.units.Quantity`
        In electron.
    a00, a00_error : `~astropy.units.Quantity`
        Change of a pixel's area by its own charge, in 1/electron, below 0; 0 where a straight line was fitted.
    full_well : `~astropy.units.Quantity` or None
        Charge of the last level before the variance falls, in electron; None where that was not seen.
    levels : int
        Levels that the fit rests on.
    chi2 : float
        Chi squared of the fit per degree of freedom.
    areas : int
        Areas that were measured.
    table : `~astropy.table.Table`
        One row for each pair: level and variance in adu, error, fitted value, exposure, departure from linearity
        in percent, and what was made of it.
    region : str
        Where it was measured, FITS section of the trimmed frame.
    amplifier : str
        Its name; '' where there is one.
    amplifiers : tuple of PhotonTransfer
        Of all amplifiers of the detector; empty where there is one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import fit_photon_transfer
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 3, (128, 128)), unit="adu") for _ in range(2)]
    >>> light = [rng.poisson(charge, (128, 128)) / 2 for charge in (1000, 5000, 20000, 60000) for _ in range(2)]
    >>> flats = [CCDData(level + rng.normal(1000, 3, (128, 128)), unit="adu") for level in light]
    >>> curve = fit_photon_transfer(flats, biases, brighter_fatter=False)
    >>> curve.levels, round(curve.read_noise.value), curve.full_well is None
    (4, 6, True)
    >>> curve.table.colnames[:3]
    ['level', 'variance', 'error']
    """

    gain: u.Quantity = field(metadata={"card": "GAIN", "text": "gain, from photon transfer"})
    gain_error: u.Quantity = field(metadata={"card": "GAINERR", "text": "error of the gain"})
    read_noise: u.Quantity = field(metadata={"card": "RDNOISE", "text": "read noise, from photon transfer"})
    read_noise_error: u.Quantity = field(metadata={"card": "RDNERR", "text": "error of the read noise"})
    a00: u.Quantity = field(metadata={"card": "PTCA00", "text": "brighter-fatter term a00"})
    a00_error: u.Quantity = field(metadata={"card": "PTCA00E", "text": "error of a00"})
    full_well: u.Quantity | None = field(metadata={"card": "FULLWELL", "text": "level where the variance falls"})
    levels: int = field(metadata={"card": "PTCNLEV", "text": "levels of the photon transfer curve"})
    chi2: float = field(metadata={"card": "PTCCHI2", "text": "chi squared per degree of freedom"})
    areas: int
    table: Table = field(repr=False, compare=False)
    region: str = ""
    amplifier: str = ""
    amplifiers: tuple = ()

    @property
    def read_noise_adu(self):
        """Read noise in adu."""
        return float((self.read_noise / self.gain).value)

    @property
    def pairs(self):
        """Pairs of flats that the fit rests on."""
        return self.levels


def transfer_variance(level, gain, noise, a00):
    """
    Variance of a flat.

    Parameters
    ----------
    level : `~numpy.ndarray`
        Mean above the bias, adu.
    gain : float
        Electron/adu.
    noise : float
        Variance without light, adu squared.
    a00 : float
        1/electron; 0 for a straight line.

    Returns
    -------
    `~numpy.ndarray`
        adu squared.

    References
    ----------
    Astier et al. 2019, A&A 629, A36, equation 16.
    """
    x = 2 * a00 * gain * np.asarray(level, dtype=float)
    curved = np.where(np.abs(x) > 1e-9, np.expm1(x) / np.where(np.abs(x) > 1e-9, x, 1.0), 1 + x / 2)
    return level / gain * curved + noise


def fit_photon_transfer(flats, biases, *, profile=None, region=None, brighter_fatter=True):
    """
    Fit gain, read noise and brighter-fatter term to pairs of flats of many levels.

    Two flats of like level and the same filter make a pair; half the variance of their difference, as
    `estimate_gain` takes it, is the variance of one of them. Levels beyond full well and levels off the curve
    are left out and named in the table.

    Parameters
    ----------
    flats : list of path-like or `~astropy.nddata.CCDData`
        Pairs of three levels and more, in any order; of four and more for the brighter-fatter term.
    biases : list of path-like or `~astropy.nddata.CCDData`
        At least two.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; it tells the amplifiers apart.
    region : str, optional
        FITS section of the trimmed frame to measure in.
    brighter_fatter : bool, optional
        Whether to fit `a00`; otherwise a straight line.

    Returns
    -------
    PhotonTransfer
        Of several amplifiers the first; all are in its `amplifiers`.

    Raises
    ------
    MeasurementError
        If there are fewer than three levels, or the variance does not rise with them.

    References
    ----------
    Janesick 2001, Scientific Charge-Coupled Devices, chapter 2; Astier et al. 2019, A&A 629, A36.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import fit_photon_transfer
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 3, (128, 128)), unit="adu") for _ in range(2)]
    >>> light = [rng.poisson(charge, (128, 128)) / 2 for charge in (1000, 5000, 20000, 60000) for _ in range(2)]
    >>> flats = [CCDData(level + rng.normal(1000, 3, (128, 128)), unit="adu") for level in light]
    >>> found = fit_photon_transfer(flats, biases, brighter_fatter=False)
    >>> round(found.gain.value, 1)  # electron/adu
    np.float64(2.0)
    """
    lit = open_frames(flats, profile, "flats", least=6)
    dark = open_frames(biases, profile, "biases")
    found = transfer_by_amplifier(lit, dark, region=region, brighter_fatter=brighter_fatter)
    return found[0] if len(found) == 1 else replace(found[0], amplifiers=tuple(found))


def transfer_by_amplifier(lit, dark, *, region=None, brighter_fatter=True, tell=None):
    """
    Photon transfer of every amplifier.

    Parameters
    ----------
    lit, dark : list
        Flats and biases, as sources.
    region, brighter_fatter
        As in `fit_photon_transfer`.
    tell : callable, optional
        Called with words about frames that are not as they should be; by default a warning.

    Returns
    -------
    list of PhotonTransfer

    Raises
    ------
    MeasurementError
        As `fit_photon_transfer`.
    """
    require_equal_shapes([lit[0], dark[0]])
    parts, facts = areas_of(lit[0], region), [frame_facts(source) for source in lit]
    both = zip(cut_frames(lit, parts, tell), cut_frames(dark, parts, tell), strict=True)
    return [_of_amplifier(flats, biases.without_light(), facts, brighter_fatter) for flats, biases in both]


def _of_amplifier(flats, biases, facts, brighter_fatter):
    noise, dark_variance, dark_error, _ = noise_of(biases)
    flats.subtract(biases.mean())
    pairs = _pairs(flats.levels, [item.filter for item in facts])
    rows = [_point(flats, pair, noise, len(biases), facts) for pair in pairs]
    rows = sorted((row for row in rows if np.isfinite(row["variance"])), key=lambda row: row["level"])
    apart = levels_apart([row["level"] for row in rows])
    if apart < _LEAST_LEVELS:
        msg = f"flats: {apart} levels with two flats each; a photon transfer curve needs three, {_APART:g} times apart"
        raise MeasurementError(msg)
    rows.insert(0, {"level": 0.0, "variance": dark_variance, "error": dark_error, "exposure": 0.0, "filter": ""})
    return _fitted(rows, flats.areas, brighter_fatter, biases.step**2 / 12)


def levels_apart(levels):
    """
    How many levels there are of which each is well above the one before.

    Parameters
    ----------
    levels : iterable of float
        Above the bias.

    Returns
    -------
    int
    """
    count, last = 0, 0.0
    for level in sorted(levels):
        if level > _APART * last:
            count, last = count + 1, level
    return count


def _pairs(levels, filters):
    """Neighbors in level, each flat once."""
    order = sorted(range(len(levels)), key=lambda number: (filters[number], levels[number]))
    pairs, last = [], None
    for number in order:
        alike = last is not None and filters[last] == filters[number] and levels[last] >= ALIKE * levels[number] > 0
        if alike:
            pairs.append((last, number))
        last = None if alike else number
    return pairs


def _point(flats, pair, noise, biases, facts):
    """One level: harmonic mean, variance of a single flat, its error."""
    good = [np.isfinite(flats.pixels[number]).sum(axis=1) for number in pair]
    best = np.max([np.isfinite(pixels).sum(axis=1) for pixels in flats.pixels], axis=0)
    level, variance, _ = pair_variances(flats, pair, noise, biases)
    variance = np.where(np.minimum(*good) >= _AS_GOOD * best, variance, np.nan)
    theory = math.sqrt(2 / flats.pixels[0].shape[1])
    # The areas differ in level; the ratio does not, but for the curvature.
    ratio, error, count = combined(variance / level, theory)
    mean = float(np.mean(level[np.isfinite(variance)])) if count else math.nan
    exposures = [facts[number].exposure for number in pair]
    seconds = float(np.mean(exposures)) if None not in exposures else math.nan
    return {
        "level": mean,
        "variance": ratio * mean,
        "error": error * mean,
        "exposure": seconds,
        "filter": facts[pair[0]].filter,
    }


def _fitted(rows, areas, brighter_fatter, digital):
    level, variance, error = (np.array([row[name] for row in rows]) for name in ("level", "variance", "error"))
    remark = np.full(len(rows), "used", dtype="U20")
    remark[0] = "biases"
    full = _beyond_full_well(variance)
    remark[full] = "beyond full well"
    values, errors, chi2 = _solve(level, variance, error, remark, brighter_fatter)
    while len(worst := _off_the_curve(level, variance, error, remark, values)):
        remark[worst] = "off the curve"
        values, errors, chi2 = _solve(level, variance, error, remark, brighter_fatter)
    gain, noise, a00 = values
    noise = noise - digital if noise > 3 * digital else noise
    used = np.isin(remark, ("used", "biases"))
    exposure, filters = np.array([row["exposure"] for row in rows]), [row["filter"] for row in rows]
    table = Table()
    table["level"], table["variance"], table["error"] = level * u.adu, variance * u.adu**2, error * u.adu**2
    table["fit"] = transfer_variance(level, *values) * u.adu**2
    table["exposure"], table["filter"] = exposure * u.s, filters
    table["nonlinearity"] = departures(exposure, level, filters, used) * u.percent
    table["remark"] = remark
    well = level[used].max() * gain * u.electron if full.any() else None
    read = math.sqrt(max(noise, 0.0)) * gain
    read_error = read * math.hypot(errors[1] / (2 * noise) if noise > 0 else 0.0, errors[0] / gain)
    return PhotonTransfer(
        gain * u.electron / u.adu,
        errors[0] * u.electron / u.adu,
        read * u.electron,
        read_error * u.electron,
        a00 / u.electron,
        errors[2] / u.electron,
        well,
        int(used.sum()) - 1,
        chi2,
        len(areas.corners),
        table,
        areas.region,
        areas.amplifier,
    )


def _beyond_full_well(variance):
    """Levels above the one of the highest variance, if it falls off behind it."""
    top = int(np.argmax(variance))
    full = np.zeros(len(variance), bool)
    if 0 < top < len(variance) - 1 and (variance[top + 1 :] < (1 - _FALL) * variance[top]).any():
        full[top + 1 :] = True
    return full


def _solve(level, variance, error, remark, brighter_fatter):
    """Gain, noise and a00, their errors and chi squared per degree of freedom."""
    from scipy.optimize import curve_fit

    used = np.isin(remark, ("used", "biases"))
    x, y, sigma = level[used], variance[used], error[used]
    slope = np.polyfit(x, y, 1, w=1 / sigma)[0] if used.sum() >= 3 else 0.0
    if not slope * x.max() > _SEEN * math.hypot(sigma[0], sigma[np.argmax(x)]):
        msg = "the variance of the flats does not rise with their level: no photon noise is seen"
        raise MeasurementError(msg)
    curved = brighter_fatter and levels_apart(x[x > 0]) >= CURVED
    model = transfer_variance if curved else lambda level, gain, noise: transfer_variance(level, gain, noise, 0.0)
    start = (1 / slope, y[0], -1e-7)[: 3 if curved else 2]
    # Numbers of order one: a00 is some millionths.
    scale = np.array((1.0, max(y[0], 1e-3), 1e-6))[: len(start)]
    values, covariance = curve_fit(
        lambda level, *numbers: model(level, *(np.array(numbers) * scale)),
        x,
        y,
        p0=np.array(start) / scale,
        sigma=sigma,
        absolute_sigma=True,
    )
    values, errors = values * scale, np.sqrt(np.diag(covariance)) * scale
    freedom = max(int(used.sum()) - len(values), 1)
    chi2 = float((((y - model(x, *values)) / sigma) ** 2).sum() / freedom)
    errors = errors * math.sqrt(max(1.0, chi2))
    if not curved:
        values, errors = np.append(values, 0.0), np.append(errors, 0.0)
    return values, errors, chi2


def _off_the_curve(level, variance, error, remark, values):
    """The level that lies furthest off, if it lies too far off and enough others are left."""
    used = np.flatnonzero(remark == "used")
    if len(used) <= 3:
        return []
    off = np.abs(variance - transfer_variance(level, *values))[used]
    pull = off / np.hypot(error[used], _OFF_PART / _OFF * variance[used])
    worst = int(np.argmax(pull))
    return [used[worst]] if pull[worst] > _OFF else []
