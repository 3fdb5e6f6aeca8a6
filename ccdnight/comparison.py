"""
A reduced night held against what was put into it.

Every quantity is measured with its error, so that the last column of the table, the difference in units of its
error, says whether the reduction can be believed.
"""

import math
from dataclasses import dataclass

import numpy as np

from ccdnight.profiles import get_profile
from ccdnight.statistics import clipped_moments

__all__ = ["Row", "compare_night", "frame_pulls", "star_pulls"]

#: Radius of the apertures in units of the seeing.
_RADIUS = 2.0
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
        frames = [_Frame(reduction, truth, path) for path in paths]
        rows += _science_rows(band, frames)
    return rows


def _detector_rows(reduction, truth):
    from astropy.table import Table

    table = Table.read(reduction.output / "detector.ecsv", format="ascii.ecsv")
    rows = []
    for row in table[:1]:
        if np.isfinite(row["gain"]):
            gain = truth.gain[str(row["amplifier"])] if str(row["amplifier"]) in truth.gain else _only(truth.gain)
            rows.append(Row("gain", "electron/adu", gain, float(row["gain"]), float(row["gain_error"])))
        if np.isfinite(row["read_noise"]):
            # Noise of rounding to whole adu is read as read noise, and belongs to it.
            noise = math.hypot(_only(truth.read_noise), _only(truth.gain) / math.sqrt(12))
            error = math.hypot(float(row["read_noise_error"]), noise * _relative(row))
            rows.append(Row("read noise", "electron", noise, float(row["read_noise"]), error))
    return rows


def _only(values):
    return float(np.mean(list(values.values())))


def _relative(row):
    """Relative error of the gain, which the read noise in electron shares."""
    return float(row["gain_error"] / row["gain"]) if np.isfinite(row["gain"]) else 0.0


def _master_rows(reduction, truth):
    rows, masters = [], reduction.masters
    edge = reduction.plan.policy.edge
    good = ~_cut(truth.bad, edge)
    bias = next((name for name in masters if name.startswith("bias")), None)
    if bias is not None:
        rows.append(_bias_row(reduction, truth, bias, good, edge))
    for name in masters:
        plan = next(item for item in reduction.plan.masters if item.name == name)
        if plan.kind == "dark" and any(item.dark == name for item in reduction.plan.science):
            rows.append(_dark_row(masters[name], truth, good, edge))
        if plan.kind == "flat":
            bled = _cut(_near_saturation(truth, plan.inputs), edge)
            rows.append(_flat_row(masters[name], truth, plan.filter, good & ~bled, edge))
    return rows


def _cut(array, edge):
    return array[edge : array.shape[0] - edge, edge : array.shape[1] - edge] if edge else array


def _bias_row(reduction, truth, name, good, edge):
    """Shape of the bias: the level drifts, and is followed by the overscan where there is one."""
    master = reduction.masters[name]
    plan = next(item for item in reduction.plan.masters if item.name == name)
    shape = np.mean([_cut(truth.bias(path), edge) for path in plan.inputs], axis=0)
    usable = good & ~master.mask
    error = _mean_error(master, usable)
    if plan.overscan_window:
        error = math.hypot(error, _overscan_error(truth) / math.sqrt(len(plan.inputs)))
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


def _overscan_error(truth):
    """Error of the mean overscan level of one frame: read noise over the usable pixels, in adu."""
    ny = truth.night.camera.shape[0]
    noise = _only(truth.read_noise) / _only(truth.gain)
    return noise / math.sqrt(ny * 25)


def _mean_error(ccd, usable):
    sigma = ccd.uncertainty.array[usable].astype(np.float64)
    return float(np.sqrt(np.sum(sigma**2)) / sigma.size)


def _dark_row(master, truth, good, edge):
    dark = _cut(truth.dark, edge)
    # Hot pixels and glow have a truth of their own in `dark`; the level of ordinary pixels is what is quoted.
    plain = good & ~master.mask & (dark < 1.5 * np.median(dark))
    gain, seconds = _only(truth.gain), float(master.meta["DARKTIME"])
    measured = clipped_moments(master.data[plain] * gain, sigma=5)[0]
    error = math.hypot(_mean_error(master, plain), _overscan_error(truth) / seconds / math.sqrt(master.meta["NCOMBINE"]))
    return Row("dark rate", "electron/s", float(np.mean(dark[plain])), measured, error * gain)


def _flat_row(master, truth, band, good, edge):
    """Scatter of the pixel response, freed from the noise that the master has by itself."""
    flat = _cut(truth.flat(band), edge)
    # Flats of a long exposure keep hot pixels that a short dark does not show.
    usable = good & ~master.mask & (_cut(truth.dark, edge) < 1.5 * np.median(truth.dark))
    flat = flat / np.median(flat[good])
    count = usable.sum()
    noise = float(np.mean(master.uncertainty.array[usable].astype(np.float64) ** 2))
    spread = float(np.var(master.data[usable], dtype=np.float64))
    measured = math.sqrt(max(spread - noise, 0))
    # The master is truth and noise; what it adds to the variance beyond sigma**2 is the product of the two.
    error = math.sqrt((4 * np.var(flat[usable]) * noise + 2 * noise**2) / count) / (2 * max(measured, 1e-9))
    if truth.physics.shutter:
        # Not corrected, and put into the flat by the simulator: the two cannot agree.
        return Row(f"flat rms {band}, shutter in it", "", float(np.std(flat[usable])), measured)
    return Row(f"flat rms {band}", "", float(np.std(flat[usable])), measured, error)


def _near_saturation(truth, paths):
    """Pixels along the columns from saturated ones: the end of a bleed trail is full, but not saturated."""
    from scipy.ndimage import binary_dilation

    saturated = np.any([truth.saturated(path) for path in paths], axis=0)
    return binary_dilation(saturated, np.ones((13, 1), bool)) if saturated.any() else saturated


class _Frame:
    """A reduced science frame beside its truth."""

    def __init__(self, reduction, truth, path):
        edge = reduction.plan.policy.edge
        self.path, self.truth = path, truth
        self.ccd = reduction.science[path]
        self.exposure = exposure = truth.exposure(path)
        flat = _cut(truth.flat(exposure.filter), edge)
        good = ~_cut(truth.bad, edge)
        scale = _flat_scale(reduction, truth, path, flat, good)
        self.light = _cut(truth.light(path), edge) * scale
        self.plan = next(item for item in reduction.plan.science if item.input == path)
        self.light = self.light + _cut(_left_in(reduction, truth, self.plan), edge) * scale / np.maximum(flat, 0.05)
        self.usable = _cut(truth.usable(path), edge) & (self.ccd.flags & ~np.uint16(4) == 0)
        self.hits = _cut(truth.cosmic_rays(path), edge)
        self.sigma = np.sqrt(_cut(truth.variance(path), edge)) / np.maximum(flat, 0.05)
        self.good, self.edge = good, edge
        self.sky = float(np.median(self.light[good]))


def _flat_scale(reduction, truth, path, flat, good):
    """
    What a master flat of the true response is divided by: its median, over the same pixels.

    The median of a skewed distribution moves when noise is added, by some 0.02 % for three flats; that is no
    error of the reduction, so the true flat is given the noise of the master.
    """
    plan = next(item for item in reduction.plan.science if item.input == path)
    if not plan.flat:
        return 1.0
    noise = reduction.masters[plan.flat].uncertainty.array[good]
    values = flat[good]
    return float(np.median(values + np.random.default_rng(truth.seed).normal(0, 1, values.size) * noise))


def _left_in(reduction, truth, item):
    """
    Electrons that the masters at hand cannot take off, so that they belong to what a frame should show.

    Without a dark that is the dark charge; without an overscan it is what the bias level has drifted since the
    biases and darks were taken.
    """
    masters = {master.name: master for master in reduction.plan.masters}
    exposure = truth.exposure(item.input)
    seconds = exposure.dark_time or exposure.exposure
    left = np.zeros(truth.night.camera.data_shape, np.float32)
    if not item.dark:
        left += truth.dark * seconds
    if not item.overscan_window and item.bias:
        gain = _only(truth.gain)
        bias = np.mean([truth.bias(path) for path in masters[item.bias].inputs], axis=0)
        left += gain * (truth.bias(item.input) - bias)
        if item.dark:
            darks = [truth.exposure(path) for path in masters[item.dark].inputs]
            share = seconds / np.mean([dark.dark_time or dark.exposure for dark in darks])
            left -= gain * share * (np.mean([truth.bias(dark.path) for dark in darks], axis=0) - bias)
    return left


def frame_pulls(reduction, truth, path):
    """
    Difference of a reduced frame from the truth in units of the true standard deviation.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    truth : `ccdnight.simulate.Truth`
        What was put in.
    path : str
        A science frame.

    Returns
    -------
    dict
        mean and std of the pull, and variance_ratio (mean reported over mean true variance, masters
        included), over the sky and over the stars; bad, saturated and hit pixels left out.
    """
    frame = _Frame(reduction, truth, path)
    sigma = np.sqrt(_true_variance(frame, reduction, truth))
    pull = (frame.ccd.data - frame.light) / sigma
    reported = frame.ccd.uncertainty.array.astype(np.float64) ** 2
    result = {}
    lit = frame.light - frame.sky > 0.5 * np.median(sigma)
    for name, where in (("sky", ~lit), ("stars", lit)):
        pixels = frame.usable & where
        result[name] = {
            "mean": float(np.mean(pull[pixels], dtype=np.float64)),
            "std": float(np.std(pull[pixels], dtype=np.float64)),
            "variance_ratio": float(np.mean(reported[pixels]) / np.mean(sigma[pixels].astype(np.float64) ** 2)),
            "pixels": int(pixels.sum()),
        }
    return result


def _true_variance(frame, reduction, truth):
    """
    Variance of a reduced frame in electron^2, from the truth alone: its own and that of the masters.

    Bias and dark share the master bias, as in `ccdnight.calibrate`.
    """
    masters = {master.name: master for master in reduction.plan.masters}
    flat = np.maximum(_cut(truth.flat(frame.exposure.filter), frame.edge), 0.05)
    variance = _cut(truth.variance(frame.path), frame.edge).astype(np.float64)
    read, dark = (_cut(item, frame.edge) for item in (_read_variance(truth), truth.dark))
    bias, share = 0.0, 0.0
    if frame.plan.dark:
        inputs = masters[frame.plan.dark].inputs
        first = truth.exposure(inputs[0])
        own = first.dark_time or first.exposure
        share = (frame.exposure.dark_time or frame.exposure.exposure) / own
        variance += share**2 * (read + dark * own) / len(inputs)
    if frame.plan.bias:
        bias = read / len(masters[frame.plan.bias].inputs)
        variance += (1 - share) ** 2 * bias
    variance /= flat**2
    if frame.plan.flat:
        inputs = masters[frame.plan.flat].inputs
        charge = [_cut(truth.expected(path), frame.edge) for path in inputs]
        single = [(item + read) / np.maximum(item, 1) ** 2 for item in charge]
        # Scaled to one level, all flats have one weight.
        variance += frame.light.astype(np.float64) ** 2 * np.sum(single, axis=0) / len(inputs) ** 2
    return variance


def _read_variance(truth):
    """Variance of reading and rounding, in electron^2."""
    camera, physics = truth.night.camera, truth.physics
    noise = np.ones(camera.data_shape, np.float32)
    noise[truth.bad_pixels["y"], truth.bad_pixels["x"]] = truth.bad_pixels["noise"]
    variance = (camera.per_pixel("read_noise") * noise) ** 2 * bool(physics.read_noise)
    return variance + bool(physics.quantization) / 12 * camera.per_pixel("gain") ** 2


def _science_rows(band, frames):
    rows = []
    if not frames:
        return rows
    skies = [_sky(frame) for frame in frames]
    measured, truth, errors = (np.array(item) for item in zip(*skies, strict=True))
    rows.append(
        Row(f"sky {band}{_what_is_left(frames[0].plan)}", "electron", float(truth.mean()), float(measured.mean()), _joint(errors, frames))
    )
    stars = np.concatenate([_stars(frame) for frame in frames])
    if len(stars):
        flux, light, variance = stars.sum(axis=0)
        rows.append(Row(f"flux of {len(stars)} stars {band}", "electron", float(light), float(flux), math.sqrt(variance)))
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
    gain = _only(frame.truth.gain)
    if frame.ccd.meta.get("OVSCERR"):
        error = math.hypot(error, _overscan_error(frame.truth) * gain)
    return float(values.mean()), float(np.mean(frame.light[dark], dtype=np.float64)), error


def _joint(errors, frames):
    """Error of the mean of several frames: what the masters bring is common to all of them."""
    truth = frames[0].truth
    gain, common = _only(truth.gain), 0.0
    if frames[0].ccd.meta.get("OVSCERR"):
        # Levels of the overscans of the darks, and of the biases in them, that every frame has taken off.
        common = _overscan_error(truth) * gain * math.sqrt(1 / 3)
    return float(math.hypot(np.sqrt(np.sum(errors**2)) / errors.size, common))


def star_pulls(reduction, truth, path):
    """
    Star fluxes in apertures of two seeing radii, for stars without a bad pixel in them.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    truth : `ccdnight.simulate.Truth`
        What was put in.
    path : str
        A science frame.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(stars, 3)``: measured and true charge above the sky in electron, and the reported variance.
    """
    return _stars(_Frame(reduction, truth, path))


def _stars(frame):
    """Measured and true charge, and variance, in the apertures of clean stars."""
    from photutils.aperture import CircularAperture

    table = frame.truth.stars(frame.path)
    radius = _RADIUS * frame.exposure.fwhm
    ny, nx = frame.light.shape
    x, y = (np.asarray(table[name], float) - frame.edge for name in ("x", "y"))
    inside = (x > radius + 2) & (y > radius + 2) & (x < nx - radius - 3) & (y < ny - radius - 3)
    rows = []
    for star in np.flatnonzero(inside & (table["electron"] > 3000)):
        aperture = CircularAperture((x[star], y[star]), radius).to_mask(method="center")
        weight = aperture.data.astype(np.float64)
        if not (aperture.cutout(frame.usable, fill_value=False) | (weight == 0)).all():
            continue
        light, data = (aperture.cutout(image).astype(np.float64) - frame.sky for image in (frame.light, frame.ccd.data))
        sigma = aperture.cutout(frame.ccd.uncertainty.array).astype(np.float64)
        rows.append((np.sum(weight * data), np.sum(weight * light), np.sum(weight * sigma**2)))
    return np.array(rows).reshape(-1, 3)


def _cosmics(frame):
    """Pixels that cosmic rays hit hard, how many of them are flagged, and how many others are."""
    visible = frame.good & (frame.hits > _SEEN * frame.sigma)
    flagged = (frame.ccd.flags & 4) != 0
    touched = frame.hits > 0
    return int(visible.sum()), int((visible & flagged).sum()), int((flagged & ~touched & frame.good).sum())
