"""Gain from pairs of flats."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from astropy import units as u
from astropy.table import Table

from ccdnight.detector.areas import areas_of, combined, variances
from ccdnight.detector.read_noise import estimate_read_noise, noise_of, read_noise_of
from ccdnight.detector.results import Measurement
from ccdnight.detector.series import cut_frames, few_areas, open_frames, require_one_filter
from ccdnight.exceptions import MeasurementError
from ccdnight.execution import map_list
from ccdnight.sources import require_equal_shapes

__all__ = ["GainEstimate", "estimate_gain", "gain_of", "pair_variances"]

_UNIT = u.electron / u.adu
#: A flat has to lie so many read noises above the bias.
_LEAST_SIGNAL = 10
#: Photon noise is seen if it is so many times its error.
_SEEN = 4


@dataclass(frozen=True)
class GainEstimate(Measurement):
    """
    Gain and read noise of one amplifier.

    Attributes
    ----------
    gain, gain_error : `~astropy.units.Quantity`
        In electron/adu.
    read_noise, read_noise_error : `~astropy.units.Quantity` or None
        In electron; None without biases.
    read_noise_raw, read_noise_level, read_noise_adu : `~astropy.units.Quantity`, float or None
        See `ReadNoiseEstimate`.
    signal : float
        Mean level of the flats above the bias, in adu.
    pairs, areas : int
        Pairs of flats, and areas of them, that it was measured from.
    method : str
        'pair' or 'quick'.
    region : str
        Where the areas lie, FITS section of the trimmed frame.
    amplifier : str
        Its name; '' where there is one.
    amplifiers : tuple of GainEstimate
        Of all amplifiers of the detector, this one, the first, among them; empty where there is one.
    table : `~astropy.table.Table` or None
        Level and variance, in adu, of the biases and of a frame of each pair, as a photon transfer curve has them;
        None for 'quick'.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import estimate_gain
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 3, (256, 256)), unit="adu") for _ in range(2)]
    >>> light = [rng.poisson(40000, (256, 256)) / 2.0 for _ in range(2)]  # 2 electron/adu
    >>> flats = [CCDData(level + rng.normal(1000, 3, (256, 256)), unit="adu") for level in light]
    >>> found = estimate_gain(flats, biases)
    >>> found.pairs, [card for card, _, _ in found.as_cards()]
    (1, ['GAIN', 'GAINERR', 'RDNOISE', 'RDNERR'])
    >>> found.table["remark"].tolist()  # `ccdnight.plots.plot_ptc` draws it
    ['biases', 'used']
    """

    gain: u.Quantity = field(metadata={"card": "GAIN", "text": "gain, measured"})
    gain_error: u.Quantity = field(metadata={"card": "GAINERR", "text": "error of the gain"})
    read_noise: u.Quantity | None = field(metadata={"card": "RDNOISE", "text": "read noise, measured"})
    read_noise_error: u.Quantity | None = field(metadata={"card": "RDNERR", "text": "error of the read noise"})
    read_noise_raw: u.Quantity | None
    read_noise_level: u.Quantity | None
    read_noise_adu: float | None
    signal: float
    pairs: int
    areas: int
    method: str
    region: str
    amplifier: str = ""
    amplifiers: tuple = ()
    table: Table | None = field(default=None, repr=False, compare=False)


def estimate_gain(flats, biases=None, *, method="pair", profile=None, region=None):
    """
    Measure gain and read noise from flats and biases.

    The difference of two flats, each divided by its level, cancels the pattern that both share; the variance it
    has beyond that of the biases is photon noise:

    ``G = (1/S1 + 1/S2) / (var(F1/S1 - F2/S2) - var(B1 - B2)/2 (1/S1**2 + 1/S2**2))``

    with S the mean above the bias over the same pixels. Flats of unequal level are handled. It is taken in
    areas of 64 x 64 pixels, the flattest of each amplifier, so that gradients do no harm, and the areas give the
    error. All pairs of like level are used, up to eight.

    Parameters
    ----------
    flats, biases : list of path-like or `~astropy.nddata.CCDData`
        At least two each; biases may be left out for 'quick'.
    method : {'pair', 'quick'}, optional
        'quick' is what one writes on a blackboard, ``2 S / var(F1 - F2)`` of the first two flats with the pedestal
        still in S, and the read noise with that gain: too high by the pedestal's part of the signal.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; files are matched by their headers. It tells the amplifiers apart.
    region : str, optional
        FITS section of the trimmed frame to measure in.

    Returns
    -------
    GainEstimate
        Of several amplifiers the first; all are in its `amplifiers`.

    Raises
    ------
    MeasurementError
        If there are too few frames, the flats are of different filters, identical, saturated, or vary no more
        than the biases, or a bias holds light.

    Warns
    -----
    FrameWarning
        If the flats differ much in level, or a bias that holds light is left out.

    References
    ----------
    Howell 2006, Handbook of CCD Astronomy, section 4.3; the same as findgain of IRAF for flats of equal level.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.detector import estimate_gain
    >>> rng = np.random.default_rng(1)
    >>> biases = [CCDData(rng.normal(1000, 3, (256, 256)), unit="adu") for _ in range(2)]
    >>> light = [rng.poisson(40000, (256, 256)) / 2.0 for _ in range(2)]  # 2 electron/adu
    >>> flats = [CCDData(level + rng.normal(1000, 3, (256, 256)), unit="adu") for level in light]
    >>> found = estimate_gain(flats, biases)
    >>> round(found.gain.value, 1), round(found.read_noise.value, 0)
    (np.float64(2.0), np.float64(6.0))
    """
    if method not in ("pair", "quick"):
        msg = f"method = {method!r} is not known; known are pair, quick"
        raise ValueError(msg)
    overscan = False if method == "quick" else None
    lit = open_frames(flats, profile, "flats", overscan=overscan)
    dark = None if biases is None else open_frames(biases, profile, "biases", overscan=overscan)
    if dark is None and method == "pair":
        msg = "biases = None; method 'pair' needs at least two (method='quick' can do without)"
        raise MeasurementError(msg)
    if method == "pair":
        found = gain_of(lit, dark, region=region)
    else:
        require_one_filter(lit)
        found = [_quick(series, dark, region) for series in cut_frames(lit[:2], areas_of(lit[0], region))]
    return found[0] if len(found) == 1 else replace(found[0], amplifiers=tuple(found))


def gain_of(lit, dark, *, region=None, tell=None):
    """
    Gain and read noise of every amplifier from pairs.

    Parameters
    ----------
    lit, dark : list
        Flats and biases, as sources.
    region : str, optional
        Section to stay in.
    tell : callable, optional
        Called with words about frames that are not as they should be; by default a warning.

    Returns
    -------
    list of GainEstimate

    Raises
    ------
    MeasurementError
        As `estimate_gain`.
    """
    require_one_filter(lit)
    require_equal_shapes([lit[0], dark[0]])
    parts = areas_of(lit[0], region)
    both = zip(cut_frames(lit, parts, tell), cut_frames(dark, parts, tell), strict=True)
    return [_from_pairs(flats, biases.without_light()) for flats, biases in both]


def _from_pairs(flats, biases):
    noise, dark_variance, _, _ = noise_of(biases)
    flats.refuse_saturated()
    flats.subtract(biases.mean())
    pairs = flats.alike()
    found = map_list(lambda pair: pair_variances(flats, pair, noise, len(biases)), pairs)
    inverse = _mean_of([(variance - read) / level for level, variance, read in found])
    shares = np.concatenate([variance / (variance - read) for _, variance, read in found])
    total = np.median(shares[np.isfinite(shares)]) if np.isfinite(shares).any() else 1.0
    frames = len({number for pair in pairs for number in pair})
    theory = math.sqrt(2 / (flats.pixels[0].shape[1] * (frames - 1))) * abs(total)
    mean, error, count = combined(inverse, theory)
    if not count:
        msg = f"{flats.names[0]} and {flats.names[1]}: no area has enough light; flats are needed"
        raise MeasurementError(msg)
    if not mean > _SEEN * error:
        msg = "the flats vary no more than the biases: no photon noise is left to measure a gain from"
        raise MeasurementError(msg)
    gain, gain_error = 1 / mean, error / mean**2
    read = _in_electron(biases, gain, gain_error)
    signal = float(np.mean([flats.levels[list(pair)] for pair in pairs]))
    return GainEstimate(
        gain * _UNIT,
        gain_error * _UNIT,
        *read,
        signal,
        len(pairs),
        count,
        "pair",
        flats.areas.region,
        flats.areas.amplifier,
        table=_points(found, dark_variance, theory),
    )


def _points(found, dark_variance, theory):
    """Biases and pairs as points of a photon transfer curve, from the variances that the gain was taken of."""
    rows = [(0.0, dark_variance, "biases")]
    for level, variance, _ in found:
        # The areas differ in level; the ratio does not.
        ratio, _, count = combined(variance / level, theory)
        if count:
            mean = float(np.mean(level[np.isfinite(variance)]))
            rows.append((mean, ratio * mean, "used"))
    table = Table(rows=sorted(rows), names=("level", "variance", "remark"))
    table["level"].unit, table["variance"].unit = u.adu, u.adu**2
    return table


def _mean_of(values):
    """Mean over the pairs in every area that has one."""
    values = np.array(values)
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def pair_variances(flats, pair, noise, biases):
    """
    Level and variance of a single frame, as two flats of any levels show them.

    Parameters
    ----------
    flats : Series
        The bias is subtracted.
    pair : tuple of int
        Which two.
    noise : `~numpy.ndarray`
        Variance of a bias in every area.
    biases : int
        Biases in the mean that was subtracted.

    Returns
    -------
    level, variance, read : `~numpy.ndarray`
        The harmonic mean of the levels, the variance of a frame of that level, and the part of it that is
        read noise, in every area; NaN where there is too little light or too few good pixels.
    """
    a, b = (flats.pixels[number] for number in pair)
    good = np.isfinite(a) & np.isfinite(b)
    count = np.maximum(good.sum(axis=1), 1)
    s1, s2 = (values.sum(axis=1, dtype=np.float64, where=good) / count for values in (a, b))
    dim = np.minimum(s1, s2) <= _LEAST_SIGNAL * np.sqrt(noise)
    s1, s2 = (np.where(dim, np.nan, level) for level in (s1, s2))
    flats.refuse_identical(a - b, *pair)
    difference = np.empty(a.shape, np.float32)
    for some in few_areas(difference):
        difference[some] = a[some] / s1[some, None] - b[some] / s2[some, None]
    level = 2 / (1 / s1 + 1 / s2)
    scale = level**2 / 2
    read = noise * (1 / s1**2 + 1 / s2**2 + (1 / s1 - 1 / s2) ** 2 / biases)
    return level, scale * variances(difference, flats.areas.side), scale * read


def _in_electron(biases, gain, gain_error):
    """Read noise, its error, raw, with one constant taken off, and in adu; no better known than the gain."""
    noise = read_noise_of(biases, gain, u.electron)
    error = np.hypot(noise.read_noise_error, noise.read_noise_adu * gain_error * u.electron)
    return noise.read_noise, error, noise.read_noise_raw, noise.read_noise_level, noise.read_noise_adu


def _quick(flats, dark, region):
    a, b = flats.pixels
    flats.refuse_identical(a - b, 0, 1)
    good = np.isfinite(a) & np.isfinite(b)
    count = good.sum(axis=1)
    usable = count >= 0.5 * a.shape[1]
    if not usable.any():
        msg = f"{flats.names[0]} and {flats.names[1]}: no area has enough pixels that are not flagged"
        raise MeasurementError(msg)
    a, b, good = a[usable].astype(np.float64), b[usable].astype(np.float64), good[usable]
    difference = np.where(good, a - b, np.nan)
    levels = (np.where(good, a + b, 0).sum(axis=1)) / count[usable]
    gains = levels / np.nanvar(difference, axis=1)
    gain, error = float(np.median(gains)), float(1.2533 * np.std(gains) / math.sqrt(len(gains)))
    read = (None,) * 5
    if dark is not None:
        section = flats.areas.region if region is None else region
        noise = estimate_read_noise(dark, gain=gain, region=section)
        read = (noise.read_noise, noise.read_noise_error, noise.read_noise_raw, noise.read_noise_level)
        read += (noise.read_noise_adu,)
    return GainEstimate(
        gain * _UNIT,
        error * _UNIT,
        *read,
        float(levels.mean() / 2),
        1,
        len(gains),
        "quick",
        flats.areas.region,
        flats.areas.amplifier,
    )
