"""
A reduced night held against what was put into it.

Every quantity is measured with its error, so that the last column of the table, the difference in units of its
error, says whether the reduction can be believed.
"""

import math
from dataclasses import dataclass

import numpy as np

from ccdnight.profiles import get_profile
from ccdnight.pulls import TrueFrame, cut, only, star_sums
from ccdnight.statistics import clipped_moments

__all__ = ["Row", "compare_night"]

#: A cosmic ray counts as seen if its charge is above this many standard deviations of its pixel.
_SEEN = 10.0


@dataclass(frozen=True)
class Row:
    """
    One quantity.

    Attributes
    ----------
    quantity, unit : str
        What, and in which unit.
    truth, measured : float
        What was put in and what came out.
    error : float or None
        Standard error of `measured`; None for plain counts.
    """

    quantity: str
    unit: str
    truth: float
    measured: float
    error: float | None = None

    @property
    def pull(self):
        """Difference in units of the error; None for plain counts."""
        return None if not self.error else (self.measured - self.truth) / self.error


def compare_night(reduction, truth):
    """
    Hold a reduction against the truth.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    truth : `ccdnight.simulate.Truth`
        What was put in.

    Returns
    -------
    list of Row
        Gain, read noise, bias level, dark rate, flat scatter, then sky, stars and cosmic rays of each filter.
    """
    rows = _detector_rows(reduction, truth) + _master_rows(reduction, truth)
    for band in dict.fromkeys(truth.exposure(path).filter for path in truth.select("science")):
        paths = [path for path in truth.select("science", band) if path in reduction.science]
        frames = [TrueFrame(reduction, truth, path) for path in paths]
        rows += _science_rows(band, frames)
    return rows


def _detector_rows(reduction, truth):
    from astropy.table import Table

    table = Table.read(reduction.output / "detector.ecsv", format="ascii.ecsv")
    rows = []
    for row in table[:1]:
        if np.isfinite(row["gain"]):
            gain = truth.gain[str(row["amplifier"])] if str(row["amplifier"]) in truth.gain else only(truth.gain)
            rows.append(Row("gain", "electron/adu", gain, float(row["gain"]), float(row["gain_error"])))
        if np.isfinite(row["read_noise"]):
            noise = only(truth.read_noise)
            error = math.hypot(float(row["read_noise_error"]), noise * _relative(row))
            rows.append(Row("read noise", "electron", noise, float(row["read_noise"]), error))
    return rows


def _relative(row):
    """Relative error of the gain, which the read noise in electron shares."""
    return float(row["gain_error"] / row["gain"]) if np.isfinite(row["gain"]) else 0.0


def _master_rows(reduction, truth):
    rows, masters = [], reduction.masters
    edge = reduction.plan.policy.edge
    good = ~cut(truth.bad, edge)
    bias = next((name for name in masters if name.startswith("bias")), None)
    if bias is not None:
        rows.append(_bias_row(reduction, truth, bias, good, edge))
    for name in masters:
        plan = next(item for item in reduction.plan.masters if item.name == name)
        if plan.kind == "dark" and any(item.dark == name for item in reduction.plan.science):
            rows.append(_dark_row(reduction, truth, plan, good))
        if plan.kind == "flat":
            bled = cut(_near_saturation(truth, plan.inputs), edge)
            rows.append(_flat_row(masters[name], truth, plan.filter, good & ~bled, edge))
    return rows


def _bias_row(reduction, truth, name, good, edge):
    """Shape of the bias: the level drifts, and is followed by the overscan where there is one."""
    master = reduction.masters[name]
    plan = next(item for item in reduction.plan.masters if item.name == name)
    shape = np.mean([cut(truth.bias(path), edge) for path in plan.inputs], axis=0)
    usable = good & ~master.mask
    error = _mean_error(master, usable)
    if plan.overscan_window:
        error = math.hypot(error, _overscan_error(reduction) / math.sqrt(len(plan.inputs)))
        level = _overscan_level(reduction, truth, plan.inputs)
        measured = level + float(np.mean(master.data[usable], dtype=np.float64))
    else:
        measured = float(np.mean(master.data[usable], dtype=np.float64))
    return Row("bias level", "adu", float(np.mean(shape[usable])), measured, error)


def _overscan_level(reduction, truth, paths):
    """Mean overscan level of some raw frames, measured from the files as the reduction does."""
    from pathlib import Path

    from ccdnight.sources import FrameSource

    profile = get_profile(reduction.plan.profile)
    levels = [FrameSource(Path(truth.raw_folder, path), profile, overscan=True).overscan_level for path in paths]
    return float(np.mean(levels))


def _overscan_error(reduction):
    """Error of the mean overscan level of one frame in adu, from what the frames themselves say; 0 without one."""
    for name in reduction.science:
        ccd, item = reduction.science[name], next(x for x in reduction.plan.science if x.input == name)
        if item.overscan_window:
            return float(ccd.meta["OVSCERR"]) * math.sqrt(item.overscan_window / ccd.data.shape[0])
    return 0.0


def _mean_error(ccd, usable):
    sigma = ccd.uncertainty.array[usable].astype(np.float64)
    return float(np.sqrt(np.sum(sigma**2)) / sigma.size)


def _dark_row(reduction, truth, plan, good):
    master, edge = reduction.masters[plan.name], reduction.plan.policy.edge
    dark = cut(truth.dark, edge)
    # Hot pixels and glow have a truth of their own in `dark`; the level of ordinary pixels is what is quoted.
    plain = good & ~master.mask & (dark < 1.5 * np.median(dark))
    gain, seconds = only(truth.gain), float(master.meta["DARKTIME"])
    measured = clipped_moments(master.data[plain] * gain, sigma=5)[0]
    level = _overscan_error(reduction) / seconds / math.sqrt(master.meta["NCOMBINE"])
    error = math.hypot(_mean_error(master, plain), level) * gain
    name, put_in = "dark rate", float(np.mean(dark[plain]))
    if not plan.overscan_window and plan.bias:
        # Without an overscan the level may have drifted between biases and darks, and nobody could tell.
        biases = next(item.inputs for item in reduction.plan.masters if item.name == plan.bias)
        drift = [np.mean([cut(truth.bias(path), edge)[plain] for path in paths]) for paths in (plan.inputs, biases)]
        name, put_in = f"{name}, bias drift in it", put_in + gain * float(drift[0] - drift[1]) / seconds
    return Row(name, "electron/s", put_in, measured, error)


def _flat_row(master, truth, band, good, edge):
    """Scatter of the pixel response, freed from the noise that the master has by itself."""
    flat = cut(truth.flat(band), edge)
    # Flats of a long exposure keep hot pixels that a short dark does not show.
    usable = good & ~master.mask & (cut(truth.dark, edge) < 1.5 * np.median(truth.dark))
    flat = flat / np.median(flat[good])
    count = usable.sum()
    noise = float(np.mean(master.uncertainty.array[usable].astype(np.float64) ** 2))
    spread = float(np.var(master.data[usable], dtype=np.float64))
    measured = math.sqrt(max(spread - noise, 0))
    # The master is truth and noise; what it adds to the variance beyond sigma**2 is the product of the two.
    error = math.sqrt((4 * np.var(flat[usable]) * noise + 2 * noise**2) / count) / (2 * max(measured, 1e-9))
    # Charge of particles below the threshold of the rejection stays in it.
    error = math.hypot(error, 1e-3 * measured)
    if truth.physics.shutter:
        # Not corrected, and put into the flat by the simulator: the two cannot agree.
        return Row(f"flat rms {band}, shutter in it", "", float(np.std(flat[usable])), measured)
    return Row(f"flat rms {band}", "", float(np.std(flat[usable])), measured, error)


def _near_saturation(truth, paths):
    """Pixels along the columns from saturated ones: the end of a bleed trail is full, but not saturated."""
    from scipy.ndimage import binary_dilation

    saturated = np.any([truth.saturated(path) for path in paths], axis=0)
    return binary_dilation(saturated, np.ones((13, 1), bool)) if saturated.any() else saturated


def _science_rows(band, frames):
    rows = []
    if not frames:
        return rows
    skies = [_sky(frame) for frame in frames]
    measured, truth, errors = (np.array(item) for item in zip(*skies, strict=True))
    name = f"sky {band}{_what_is_left(frames[0].plan)}"
    rows.append(Row(name, "electron", float(truth.mean()), float(measured.mean()), _joint(errors, frames)))
    stars = np.concatenate([star_sums(frame) for frame in frames])
    if len(stars):
        flux, light, variance = stars.sum(axis=0)
        name, error = f"flux of {len(stars)} stars {band}", math.sqrt(variance)
        rows.append(Row(name, "electron", float(light), float(flux), error))
    seen, found, wrong = np.array([_cosmics(frame) for frame in frames]).sum(axis=0)
    rows.append(Row(f"cosmic ray pixels found {band}", "", float(seen), float(found)))
    rows.append(Row(f"cosmic ray pixels missed {band}", "", 0.0, float(seen - found)))
    rows.append(Row(f"other pixels flagged {band}", "", 0.0, float(wrong)))
    return rows


def _what_is_left(item):
    """What the truth of a sky holds beside the sky."""
    left = [] if item.dark else ["dark"]
    left += [] if item.overscan_window else ["bias drift"]
    return f", {' and '.join(left)} in it" if left else ""


def _sky(frame):
    dark = frame.usable & (frame.light - frame.sky < 0.02 * np.median(frame.sigma))
    values = frame.ccd.data[dark].astype(np.float64)
    error = math.sqrt(float(np.sum(frame.ccd.uncertainty.array[dark].astype(np.float64) ** 2))) / values.size
    gain = only(frame.truth.gain)
    if frame.ccd.meta.get("OVSCERR"):
        error = math.hypot(error, frame.level_error * gain)
    return float(values.mean()), float(np.mean(frame.light[dark], dtype=np.float64)), error


def _joint(errors, frames):
    """Error of the mean of several frames: what the masters bring is common to all of them."""
    truth = frames[0].truth
    gain, common = only(truth.gain), 0.0
    if frames[0].ccd.meta.get("OVSCERR"):
        # Levels of the overscans of the darks, and of the biases in them, that every frame has taken off.
        common = frames[0].level_error * gain * math.sqrt(1 / 3)
    return float(math.hypot(np.sqrt(np.sum(errors**2)) / errors.size, common))


def _cosmics(frame):
    """Pixels that cosmic rays hit hard, how many of them are flagged, and how many others are."""
    visible = frame.good & (frame.hits > _SEEN * frame.sigma)
    flagged = (frame.ccd.flags & 4) != 0
    touched = frame.hits > 0
    return int(visible.sum()), int((visible & flagged).sum()), int((flagged & ~touched & frame.good).sum())
