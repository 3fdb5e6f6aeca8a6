"""Gain and read noise of a detector, measured from pairs of its own flats and biases."""

import math
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from astropy import units as u

from ccdnight.exceptions import MeasurementError
from ccdnight.sources import frame_facts, open_source, require_equal_shapes
from ccdnight.statistics import clipped_moments

__all__ = ["GainEstimate", "ReadNoiseEstimate", "estimate_gain", "estimate_read_noise"]

#: Side of the areas that are measured on their own, in pixels: what is smoother than this cancels. Small frames
#: have smaller areas, since the error comes from the scatter of several.
_BLOCK = 64
_LEAST_AREAS = 16
_SIGMA = 5.0
#: Pixels that an area must have, so that a plane can be taken off it.
_FEWEST = 25
#: Pairs that are measured at the most; more would share their frames.
_MOST_PAIRS = 4


@dataclass(frozen=True)
class ReadNoiseEstimate:
    """
    Read noise.

    Attributes
    ----------
    read_noise, read_noise_error : `~astropy.units.Quantity`
        In electron where the gain is known, else in adu.
    read_noise_adu : float
        In adu.
    pairs : int
        Pairs of biases it was measured from.
    """

    read_noise: u.Quantity
    read_noise_error: u.Quantity
    read_noise_adu: float
    pairs: int


@dataclass(frozen=True)
class GainEstimate:
    """
    Gain and read noise.

    Attributes
    ----------
    gain, gain_error : `~astropy.units.Quantity`
        In electron/adu.
    read_noise, read_noise_error : `~astropy.units.Quantity` or None
        In electron; None without biases.
    signal : float
        Mean level of the flats above the bias, in adu.
    pairs, areas : int
        Pairs of flats, and independent areas of them, that it was measured from.
    method : str
        'pair' or 'quick'.
    """

    gain: u.Quantity
    gain_error: u.Quantity
    read_noise: u.Quantity | None
    read_noise_error: u.Quantity | None
    signal: float
    pairs: int
    areas: int
    method: str

    def as_row(self):
        """
        Plain values, for a table.

        Returns
        -------
        dict
        """
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value.value if hasattr(value, "unit") else value for name, value in values.items()}


def estimate_gain(flats, biases=None, *, method="pair", profile=None):
    """
    Measure gain and read noise from flats and biases.

    The difference of two flats, each divided by its level, cancels the pattern that both share; the variance it
    has beyond that of the biases is photon noise:

    ``G = (1/S1 + 1/S2) / (var(F1/S1 - F2/S2) - var(B1 - B2)/2 (1/S1**2 + 1/S2**2))``

    with S the mean above the bias over the same pixels. Flats of unequal level are handled. It is taken in
    areas of 64 x 64 pixels, so that gradients do no harm, and the areas give the error.

    Parameters
    ----------
    flats, biases : list of path-like or `~astropy.nddata.CCDData`
        At least two each; biases may be left out for 'quick'.
    method : {'pair', 'quick'}, optional
        'quick' is ``2 S / var(F1 - F2)`` with the pedestal in S if there are no biases.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; files are matched by their headers.

    Returns
    -------
    GainEstimate

    Raises
    ------
    MeasurementError
        If there are too few frames, the flats are of different filters, identical, saturated, or vary no more
        than the biases.

    References
    ----------
    Howell 2006, Handbook of CCD Astronomy, section 4.3; the same as findgain of IRAF for flats of equal level.
    """
    if method not in ("pair", "quick"):
        msg = f"method = {method!r} is not known; known are pair, quick"
        raise ValueError(msg)
    lit = _open(flats, profile, "flats")
    dark = _open(biases, profile, "biases") if biases is not None else None
    if dark is None and method == "pair":
        msg = "biases = None; method 'pair' needs at least two (method='quick' can do without)"
        raise MeasurementError(msg)
    _same_filter(lit)
    if method == "quick":
        return _quick(lit, dark)
    require_equal_shapes([lit[0], dark[0]])
    bias_mean, noise_map = _bias_of(dark)
    found = [_pair(one, other, bias_mean, noise_map) for one, other in _pairs(lit)]
    top, bottom = (np.concatenate([item[i] for item in found]) for i in (0, 1))
    gain, error, areas = _ratio(top, bottom, _area_size(lit[0].shape) ** 2)
    noise = estimate_read_noise(dark, gain=gain)
    # A read noise in electron is no better known than the gain.
    noise_error = np.hypot(noise.read_noise_error, noise.read_noise_adu * error * u.electron)
    signal = float(np.mean([item[2] for item in found]))
    unit = u.electron / u.adu
    return GainEstimate(gain * unit, error * unit, noise.read_noise, noise_error, signal, len(found), areas, method)


def estimate_read_noise(biases, *, gain=None, profile=None):
    """
    Measure the read noise from pairs of biases: ``G std(B1 - B2) / sqrt(2)``.

    Parameters
    ----------
    biases : list of path-like or `~astropy.nddata.CCDData`
        At least two.
    gain : float or `~astropy.units.Quantity`, optional
        Electron/adu; without it the result is in adu.
    profile : str, path-like or InstrumentProfile, optional
        The instrument.

    Returns
    -------
    ReadNoiseEstimate

    Raises
    ------
    MeasurementError
        If there are fewer than two biases or they are identical.
    """
    dark = _open(biases, profile, "biases")
    pairs = [(dark[i], dark[i + 1]) for i in range(0, len(dark) - 1, 2)][:_MOST_PAIRS]
    variances = []
    for one, other in pairs:
        difference = _good(one) - _good(other)
        for area in _areas(difference):
            std = clipped_moments(area, sigma=_SIGMA)[1]
            if np.isfinite(std):
                variances.append(std**2 / 2)
    typical = float(np.median(variances)) if variances else 0.0
    if typical <= 0:
        msg = f"{pairs[0][0].name} and {pairs[0][1].name} are identical: their difference has no noise"
        raise MeasurementError(msg)
    kept = np.array([value for value in variances if value < 4 * typical])
    adu = math.sqrt(kept.mean())
    error = kept.std() / math.sqrt(kept.size) / (2 * adu)
    if kept.size == 1:
        error = adu / math.sqrt(2 * _area_size(dark[0].shape) ** 2)
    factor = 1.0 if gain is None else float(getattr(gain, "value", gain))
    unit = u.adu if gain is None else u.electron
    return ReadNoiseEstimate(adu * factor * unit, error * factor * unit, adu, len(pairs))


def _open(frames, profile, what):
    if frames and hasattr(frames[0], "rows"):
        return frames
    sources = [open_source(frame, profile) for frame in frames or []]
    if len(sources) < 2:
        msg = f"{what}: {len(sources)} frames given; at least two are needed"
        raise MeasurementError(msg)
    require_equal_shapes(sources)
    return sources


def _good(source):
    """Pixels of a frame in float64, NaN where they are flagged."""
    data, flags = source.rows(slice(0, source.shape[0]))
    return np.where(flags == 0, data, np.nan).astype(np.float64)


def _area_size(shape):
    ny, nx = shape
    return min(_BLOCK, ny, nx, max(8, math.isqrt(ny * nx // _LEAST_AREAS)))


def _areas(image):
    (ny, nx), size = image.shape, _area_size(image.shape)
    for y in range(0, ny - size + 1, size):
        for x in range(0, nx - size + 1, size):
            yield image[y : y + size, x : x + size]


def _same_filter(sources):
    filters = {frame_facts(source).filter for source in sources}
    if len(filters) > 1:
        msg = f"flats of different filters: {', '.join(sorted(map(repr, filters)))}; one is needed"
        raise MeasurementError(msg)


def _pairs(sources):
    """Pairs of flats that follow one another, the closest in level first where there are many."""
    neighbors = list(combinations(range(len(sources)), 2))
    chosen, taken = [], set()
    for i, j in sorted(neighbors, key=lambda item: item[1] - item[0]):
        if i not in taken and j not in taken:
            chosen.append((sources[i], sources[j]))
            taken |= {i, j}
    return chosen[:_MOST_PAIRS]


def _bias_of(biases):
    """Mean bias, and the variance of one bias in every area."""
    used = biases[: 2 * _MOST_PAIRS]
    mean = np.zeros(used[0].shape)
    for source in used:
        mean += _good(source) / len(used)
    difference = _good(used[0]) - _good(used[1])
    # The noise of the mean bias is in both flats alike and cancels.
    return mean, [clipped_moments(area, sigma=_SIGMA)[1] ** 2 / 2 for area in _areas(difference)]


def _pair(one, other, bias, noise):
    """Numerator and denominator of the gain in every usable area, and the mean level."""
    first, second = _good(one) - bias, _good(other) - bias
    top, bottom, levels = [], [], []
    for a, b, read in zip(_areas(first), _areas(second), noise, strict=True):
        good = np.isfinite(a) & np.isfinite(b)
        if good.sum() < max(0.5 * a.size, _FEWEST):
            continue
        s1, s2 = a[good].mean(), b[good].mean()
        if min(s1, s2) <= 10 * math.sqrt(read):
            continue
        std = clipped_moments(_flatten(a / s1 - b / s2, good)[good], sigma=_SIGMA)[1]
        top.append(1 / s1 + 1 / s2)
        bottom.append(std**2 - read * (1 / s1**2 + 1 / s2**2))
        levels += [s1, s2]
    if not top:
        msg = f"{one.name} and {other.name}: no area has enough light; flats are needed"
        raise MeasurementError(msg)
    return np.array(top), np.array(bottom), float(np.mean(levels))


def _flatten(area, good):
    """Take a plane off: what a change of the illumination leaves in an area."""
    ny, nx = area.shape
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    design = np.stack([np.ones(good.sum()), x[good], y[good]], axis=1)
    values = area[good]
    center = np.median(values)
    keep = np.abs(values - center) <= 6 * max(np.std(values), 1e-30)
    plane, *_ = np.linalg.lstsq(design[keep], values[keep], rcond=None)
    # Three degrees of freedom go into the plane.
    return (area - plane[0] - plane[1] * x - plane[2] * y) * math.sqrt(good.sum() / (good.sum() - 2))


def _ratio(top, bottom, pixels):
    """
    Ratio of sums over the areas, outlying areas left out, and its error from their scatter.

    A single area has none: its error is that of the variance of so many pixels.
    """
    single = bottom / top
    center = np.median(single)
    if not center > 0:
        msg = "the flats vary no more than the biases: no photon noise is left to measure a gain from"
        raise MeasurementError(msg)
    width = 1.4826 * np.median(np.abs(single - center))
    kept = np.abs(single - center) <= 4 * width if width > 0 else np.ones(single.size, bool)
    gain = top[kept].sum() / bottom[kept].sum()
    if kept.sum() > 1:
        error = gain * single[kept].std() / single[kept].mean() / math.sqrt(kept.sum() - 1)
    else:
        error = gain * math.sqrt(2 / pixels)
    return float(gain), float(error), int(kept.sum())


def _quick(lit, dark):
    first, second = _good(lit[0]), _good(lit[1])
    if dark is not None:
        bias, _ = _bias_of(dark)
        first, second = first - bias, second - bias
    gains = []
    for a, b in zip(_areas(first), _areas(second), strict=True):
        good = np.isfinite(a) & np.isfinite(b)
        variance = np.var(a[good] - b[good]) if good.sum() >= 0.5 * a.size else 0
        if variance > 0:
            gains.append((a[good].mean() + b[good].mean()) / variance)
    if not gains:
        msg = f"{lit[0].name} and {lit[1].name} are identical: their difference has no noise"
        raise MeasurementError(msg)
    gain, error = float(np.median(gains)), float(1.2533 * np.std(gains) / math.sqrt(len(gains)))
    unit = u.electron / u.adu
    noise = estimate_read_noise(dark, gain=gain) if dark is not None else None
    return GainEstimate(
        gain * unit,
        error * unit,
        noise.read_noise if noise else None,
        noise.read_noise_error if noise else None,
        float(np.nanmean(first)),
        1,
        len(gains),
        "quick",
    )
