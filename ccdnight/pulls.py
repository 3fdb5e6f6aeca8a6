"""Single pixels and stars of a reduced frame held against the truth, in units of their errors."""

import numpy as np

__all__ = ["TrueFrame", "cut", "frame_pulls", "only", "star_pulls", "star_sums"]

#: Radius of the apertures in units of the seeing.
_RADIUS = 2.0


class TrueFrame:
    """
    A reduced science frame beside its truth.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    truth : `ccdnight.simulate.Truth`
        What was put in.
    path : str
        The science frame.
    """

    def __init__(self, reduction, truth, path):
        edge = reduction.plan.policy.edge
        self.path, self.truth = path, truth
        self.ccd = reduction.science[path]
        self.exposure = exposure = truth.exposure(path)
        flat = cut(truth.flat(exposure.filter), edge)
        good = ~cut(truth.bad, edge)
        scale = _flat_scale(reduction, truth, path, flat, good)
        self.light = cut(truth.light(path), edge) * scale
        self.plan = next(item for item in reduction.plan.science if item.input == path)
        self.light = self.light + cut(_left_in(reduction, truth, self.plan), edge) * scale / np.maximum(flat, 0.05)
        self.usable = cut(truth.usable(path), edge) & (self.ccd.flags & ~np.uint16(4) == 0)
        self.hits = cut(truth.cosmic_rays(path), edge)
        self.sigma = np.sqrt(cut(truth.variance(path), edge)) / np.maximum(flat, 0.05)
        self.good, self.edge = good, edge
        # Error of the mean level of the overscan, common to all pixels, in adu.
        smoothed = self.plan.overscan_window / self.ccd.data.shape[0]
        self.level_error = float(self.ccd.meta.get("OVSCERR", 0.0)) * float(np.sqrt(smoothed))
        self.sky = float(np.median(self.light[good]))


def cut(array, edge):
    """
    An array without its edges.

    Parameters
    ----------
    array : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    edge : int
        Pixels to cut from every side.

    Returns
    -------
    `~numpy.ndarray`
    """
    return array[edge : array.shape[0] - edge, edge : array.shape[1] - edge] if edge else array


def only(values):
    """
    Mean of the values of the amplifiers.

    Parameters
    ----------
    values : dict of str to float
        One for each amplifier.

    Returns
    -------
    float
    """
    return float(np.mean(list(values.values())))


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
        gain = only(truth.gain)
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
    frame = TrueFrame(reduction, truth, path)
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
    flat = np.maximum(cut(truth.flat(frame.exposure.filter), frame.edge), 0.05)
    variance = cut(truth.variance(frame.path), frame.edge).astype(np.float64)
    read, dark = (cut(item, frame.edge) for item in (_read_variance(truth), truth.dark))
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
        charge = [cut(truth.expected(path), frame.edge) for path in inputs]
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
    return star_sums(TrueFrame(reduction, truth, path))


def star_sums(frame):
    """
    Measured and true charge, and variance, in the apertures of clean stars.

    Parameters
    ----------
    frame : TrueFrame
        A frame.

    Returns
    -------
    `~numpy.ndarray`
        As `star_pulls`.
    """
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
