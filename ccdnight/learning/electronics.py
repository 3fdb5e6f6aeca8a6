"""Gain, read noise and saturation of each amplifier, measured from its own frames."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ccdnight.detector.gain import gain_of
from ccdnight.detector.read_noise import read_noise_by_amplifier
from ccdnight.detector.series import open_frames
from ccdnight.exceptions import CcdnightError
from ccdnight.learning.lightmap import read_shot
from ccdnight.statistics import clipped_moments

__all__ = ["Electronics", "find_saturation", "measure_electronics"]

#: Side of the middle of an amplifier that is measured, and frames that are used at the most.
_SIDE, _BIASES, _FLATS, _GROUPS = 1024, 6, 4, 4
#: A flat is saturated if more than this part of its pixels comes near saturation, or near the end of 16 bits.
_SATURATED, _NEAR_SATURATION, _DIGITAL = 0.02, 0.97, 65535
#: Pixels that must stand at one value at the top of the range, and how many times more than below it.
_PILE, _EXCESS = 5, 4.0
#: What is looked at for a pile: values above this part of the highest.
_TOP = 0.94


@dataclass(frozen=True)
class Electronics:
    """
    What was measured of one amplifier; None where nothing could be.

    Attributes
    ----------
    gain, gain_error : float or None
        Electron per adu.
    read_noise, read_noise_error : float or None
        Electron.
    gain_words, noise_words : str
        Evidence.
    """

    gain: float | None
    gain_error: float | None
    read_noise: float | None
    read_noise_error: float | None
    gain_words: str
    noise_words: str


def measure_electronics(cells, shots, edge, saturations):
    """
    Measure each amplifier.

    Parameters
    ----------
    cells : list of Cell
        The amplifiers.
    shots : list of Shot
        Frames of one detector.
    edge : int
        Pixels at the borders that are left out.
    saturations : list of float or None
        Raw value in adu from which on pixels of each amplifier are saturated.

    Returns
    -------
    list of Electronics
    """
    biases = [shot for shot in shots if shot.kind == "bias"][:_BIASES]
    groups = _groups([shot for shot in shots if shot.kind in ("flat", "twilight")])
    dark = _cuts(biases, cells, edge, saturations)
    lit = {name: _cuts(group, cells, edge, saturations) for name, group in groups.items()}
    return [
        _measure(_fine(dark, i), {name: _fine(cuts, i)[:_FLATS] for name, cuts in lit.items()})
        for i in range(len(cells))
    ]


def _groups(flats):
    """Flats of one filter, those of most light first; up to a few of each."""
    groups = defaultdict(list)
    for shot in flats:
        groups[f"filter {shot.facts.filter}" if shot.facts.filter else "no filter"].append(shot)
    several = {name: group for name, group in groups.items() if len(group) > 1}
    best = sorted(several, key=lambda name: -max(shot.level for shot in several[name]))[:_GROUPS]
    return {name: several[name][: 2 * _FLATS] for name in best}


def _fine(cuts, place):
    """Frames of one amplifier that are not saturated."""
    return [cut[place] for cut in cuts if cut[place] is not None]


def _cuts(shots, cells, edge, saturations):
    """The middle of every amplifier in each frame, the level of its own overscan subtracted."""
    cuts = []
    for shot in shots:
        image = read_shot(shot)
        if image is not None:
            cuts.append([_cut(image, *pair, edge) for pair in zip(cells, saturations, strict=True)])
    return cuts


def _cut(image, cell, saturation, edge):
    parts = []
    for part in cell.data:
        inner = slice(part.start + edge, part.stop - edge) if part.stop - part.start > 4 * edge else part
        margin = max(0, (inner.stop - inner.start - _SIDE) // 2)
        parts.append(slice(inner.start + margin, inner.stop - margin))
    pixels = image[tuple(parts)].astype(np.float64)
    if np.mean(pixels >= _NEAR_SATURATION * (saturation or _DIGITAL)) > _SATURATED:
        return None
    if cell.overscan is not None:
        pixels -= clipped_moments(image[_usable(cell)], sigma=4)[0]
    return CCDData(pixels, unit=u.adu)


def _usable(cell):
    axis = 1 if cell.overscan[1] != cell.data[1] else 0
    run = cell.overscan[axis]
    after = run.start >= cell.data[axis].stop
    run = slice(run.start + cell.skip, run.stop) if after else slice(run.start, run.stop - cell.skip)
    return (cell.overscan[0], run) if axis == 1 else (run, cell.overscan[1])


def _measure(biases, groups):
    if len(biases) < 2:
        words = f"{len(biases)} biases; at least two are needed"
        return Electronics(None, None, None, None, words, words)
    found, failed, remarks = {}, {}, []
    for name, flats in groups.items():
        if len(flats) < 2:
            continue
        try:
            dark = open_frames(biases, None, "biases")
            (found[name],) = gain_of(open_frames(flats, None, "flats"), dark, tell=remarks.append)
        except CcdnightError as error:
            failed[name] = str(error)
    if not found:
        why = "; ".join(f"{name}: {text}" for name, text in failed.items()) or "no two flats of one filter"
        return _without_gain(biases, why)
    gains = np.array([item.gain.value for item in found.values()])
    errors = np.array([item.gain_error.value for item in found.values()])
    weights = 1 / np.maximum(errors, 1e-4 * gains) ** 2
    gain = float((gains * weights).sum() / weights.sum())
    error = float(max(weights.sum() ** -0.5, gains.std() / np.sqrt(len(gains))))
    told = ", ".join(f"{g:.3f} +- {e:.3f} in {name}" for name, g, e in zip(found, gains, errors, strict=True))
    words = "; ".join([f"from pairs of flats and biases: {told}", *dict.fromkeys(remarks)])
    return _with_noise(biases, gain, error, words)


def _with_noise(biases, gain, error, words):
    try:
        noise = _read_noise(biases, gain)
    except CcdnightError as wrong:
        return Electronics(gain, error, None, None, words, str(wrong))
    value = float(noise.read_noise.value)
    spread = float(np.hypot(noise.read_noise_error.value, value * error / gain))
    return Electronics(gain, error, value, spread, words, f"{value / gain:.2f} adu in {len(biases)} biases")


def _read_noise(biases, gain=None):
    unit = u.adu if gain is None else u.electron
    (noise,) = read_noise_by_amplifier(open_frames(biases, None, "biases"), gain or 1.0, unit, tell=lambda _: None)
    return noise


def _without_gain(biases, why):
    try:
        noise = _read_noise(biases)
    except CcdnightError as wrong:
        return Electronics(None, None, None, None, why, str(wrong))
    told = f"{float(noise.read_noise.value):.2f} adu in {len(biases)} biases, but without a gain not known in electron"
    return Electronics(None, None, None, None, why, told)


def find_saturation(cell, shots):
    """
    Where values pile up at the top.

    Parameters
    ----------
    cell : Cell
        The amplifier.
    shots : list of Shot
        Frames of its detector.

    Returns
    -------
    saturation : float or None
        In adu of the raw frame.
    evidence : str
    """
    bright = sorted((s for s in shots if s.kind in ("flat", "twilight", "science")), key=lambda s: -s.level)
    chosen = [*bright[:6], *[s for s in bright[6:] if s.kind == "science"][:5]]
    tops, highest = [], -np.inf
    for shot in chosen:
        image = read_shot(shot)
        if image is None:
            continue
        values = image[cell.data].ravel()
        values = values[np.isfinite(values)]
        highest = max(highest, float(values.max()))
        # A flat near the top would give all its pixels, of which a million tell as much.
        tops = [top[top > _TOP * highest] for top in (*tops, values[values > _TOP * highest][:1_000_000])]
    if not tops:
        return None, "no frame with light in it"
    return _pile(np.concatenate(tops), highest, chosen[0].raw.header)


def _pile(values, highest, header):
    limit = {16: 32767 + int(header.get("BZERO", 0) or 0), 8: 255}.get(header.get("BITPIX"))
    steps = np.rint(values).astype(np.int64)
    at_top = int((steps == round(highest)).sum())
    if limit is not None and round(highest) == limit and at_top >= _PILE:
        below = int(((steps < limit) & (steps >= limit - 1000)).sum()) / 1000
        if at_top > _EXCESS * max(below, 1):
            return float(limit), f"{at_top} pixels stand at {limit}, the limit of the file's numbers"
    window = max(20.0, 0.005 * highest)
    inside = int((values > highest - window).sum())
    below = int(((values <= highest - window) & (values > highest - 6 * window)).sum()) / 5
    if inside >= 4 * _PILE and inside > _EXCESS * max(below, 1) and at_top < inside:
        pile = values[values > highest - window]
        width = 1.4826 * np.median(np.abs(pile - np.median(pile)))
        level = float(np.floor(np.median(pile) - 4 * max(width, 1.0)))
        return max(level, float(np.floor(highest - window))), f"{inside} pixels pile up below {highest:.0f} adu"
    if at_top >= 2 * _PILE and at_top > _EXCESS * max(below * 1.0, 1):
        return float(highest), f"{at_top} pixels stand at this value and none above it"
    told = f"no pile-up is seen; the highest value is {highest:.0f} adu"
    return None, told + (f", and the file's numbers end at {limit}" if limit is not None else "")
