"""Master frames: bias in adu, dark in adu/s, flat with median 1."""

from dataclasses import replace

import numpy as np

from ccdnight._corrected import Corrected, Off
from ccdnight._inputs import positive
from ccdnight._mastersfinish import DEAD, finished, tell_master
from ccdnight._mastersinputs import as_master, check_masters, level_of, open_frames, overscan_like, refuse_applied
from ccdnight.calibration import require_level_off
from ccdnight.darks import dark_for, dark_seconds, scales_whole
from ccdnight.exceptions import FrameError, InputError
from ccdnight.execution import map_list
from ccdnight.linearity import note_linearity, response_of
from ccdnight.noise import noise_model
from ccdnight.products import sigma_of
from ccdnight.readout import find_profile
from ccdnight.sources import frame_facts
from ccdnight.stacking import stack
from ccdnight.statistics import half_sample_mode, median_of, most_common, sample_pixels, sample_step

__all__ = ["make_bias", "make_dark", "make_flat"]

#: Every flag.
_ANY = 0xFFFF
_NORMALIZERS = {
    "median": median_of,
    "mean": lambda values: float(np.mean(values, dtype=np.float64)),
    "mode": half_sample_mode,
    "most-common": most_common,
}


def make_bias(
    frames,
    *,
    profile=None,
    method="average",
    reject="noise",
    sigma=None,
    overscan=None,
    window=None,
    read_noise=None,
    workers=None,
):
    """
    Master bias.

    Parameters
    ----------
    frames : list of path-like or `~astropy.nddata.CCDData`
        Raw biases. Files are read, their overscan subtracted as asked for, and trimmed; a CCDData without
        `profile` is taken as it is.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; files are matched by their headers.
    method : {'average', 'median'}, optional
        How the values that are kept are combined.
    reject : {'noise', 'sigma', 'mad', 'minmax'} or None, optional
        How outliers are found; 'noise' takes the read noise, from the profile or from the frames themselves.
    sigma : float, optional
        Threshold; 4 for 'noise', 3 else.
    overscan : bool, optional
        Whether the overscan is subtracted from each frame: the result is then the residual bias. By default
        where there is a usable one and the profile's policy does not speak against it.
    window : int, optional
        Rows over which the overscan is smoothed.
    read_noise : float, optional
        In electron (adu where the gain is not known); by default the profile's, else measured.
    workers : int, optional
        Threads.

    Returns
    -------
    `~astropy.nddata.CCDData`
        In adu, with uncertainty and flags.

    Raises
    ------
    InputError
        If a frame cannot be used or has another shape than the first.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import make_bias
    >>> rng = np.random.default_rng(1)
    >>> frames = [CCDData(rng.normal(1000, 5, (64, 64)), unit="adu") for _ in range(5)]
    >>> bias = make_bias(frames)
    >>> int(bias.data.mean().round()), str(bias.unit)
    (1000, 'adu')
    >>> round(float(np.median(bias.uncertainty.array)), 1)  # 5 / sqrt(5) is 2.2
    2.2
    """
    sources = open_frames(frames, profile, overscan, window)
    refuse_applied(sources, bias=True)
    zeros = np.asarray(map_list(level_of, sources))
    zeros = zeros - np.mean(zeros)
    noise = noise_model(sources, read_noise=read_noise, shot=False)
    result = stack(sources, method=method, **_rejection(reject, sigma), noise=noise, zeros=zeros, workers=workers)
    return finished(result, sources, "bias", "adu", reject=reject, method=method)


def make_dark(
    frames,
    *,
    bias=None,
    profile=None,
    method="average",
    reject="noise",
    sigma=None,
    overscan=None,
    window=None,
    exposures=None,
    gain=None,
    read_noise=None,
    workers=None,
):
    """
    Master dark, per second.

    Parameters
    ----------
    frames : list of path-like or `~astropy.nddata.CCDData`
        Raw darks, as in `make_bias`.
    bias : `~astropy.nddata.CCDData` or path-like, optional
        Master bias of the darks' own night.
    profile, method, reject, sigma, overscan, window, workers
        As in `make_bias`; by default the overscan is subtracted if it was for the bias.
    exposures : sequence of float, optional
        Seconds for which each frame collected charge; by default from the headers.
    gain, read_noise : float, optional
        Electron/adu and electron; by default the profile's, else the header's.

    Returns
    -------
    `~astropy.nddata.CCDData`
        In adu/s. EXPTIME and DARKTIME are those of the frames.

    Raises
    ------
    InputError
        If a frame cannot be used, or its exposure is not known or 0.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import make_bias, make_dark
    >>> rng = np.random.default_rng(1)
    >>> bias = make_bias([CCDData(rng.normal(1000, 5, (64, 64)), unit="adu") for _ in range(5)])
    >>> darks = [CCDData(rng.normal(1030, 5, (64, 64)), unit="adu") for _ in range(5)]
    >>> dark = make_dark(darks, bias=bias, exposures=[60] * 5, gain=1, read_noise=5)
    >>> round(float(dark.data.mean()), 1), str(dark.unit)
    (0.5, 'adu / s')
    """
    bias = as_master(bias)
    sources = open_frames(frames, profile, overscan_like(bias, overscan), window)
    check_masters(sources, bias)
    refuse_applied(sources, bias=bias, dark=True)
    seconds = _dark_times(sources) if exposures is None else _given_times(exposures, len(sources))
    for source, value in zip(sources, seconds, strict=True):
        if value is None or value <= 0:
            raise FrameError(source.name, f"exposure {value} s; a dark needs one longer than 0")
    level, response = None if bias is None else Off(bias), _response(sources, bias)
    calibrated = [Corrected(source, level, response=response) for source in sources]
    noise = noise_model(sources, gain=gain, read_noise=read_noise)
    scales = [1 / value for value in seconds]
    result = stack(calibrated, method=method, **_rejection(reject, sigma), noise=noise, scales=scales, workers=workers)
    # The master bias is common to all of them; its error does not average out.
    extra = None if bias is None else sigma_of(bias)
    common = {"extra": extra, "share": 1 / np.mean(seconds), "bias": bias}
    ccd = finished(result, sources, "dark", "adu / s", reject=reject, method=method, **common)
    if response is not None:
        note_linearity(ccd, response)
    ccd.meta["EXPTIME"] = (_mean_exposure(sources), "[s] exposure of the darks that were combined")
    ccd.meta["DARKTIME"] = (float(np.mean(seconds)), "[s] time in which they collected charge")
    return ccd


def make_flat(
    frames,
    *,
    bias=None,
    dark=None,
    profile=None,
    normalize="median",
    method="average",
    reject="noise",
    sigma=None,
    scale=True,
    overscan=None,
    window=None,
    gain=None,
    read_noise=None,
    sensitivity_noise=0.002,
    scale_up=3.0,
    workers=None,
):
    """
    Master flat of one filter.

    Parameters
    ----------
    frames : list of path-like or `~astropy.nddata.CCDData`
        Raw flats, as in `make_bias`.
    bias, dark : `~astropy.nddata.CCDData` or path-like, optional
        Masters that are subtracted from each flat.
    profile, method, reject, sigma, overscan, window, workers
        As in `make_bias`; by default the overscan is subtracted if it was for the bias.
    normalize : {'median', 'mode', 'mean', 'most-common'}, optional
        What the stack is divided by, in the trimmed area; 'mode' is the half-sample mode, 'most-common' the
        value that occurs most often.
    scale : bool, optional
        Whether the flats are brought to a common level before they are combined.
    gain, read_noise : float, optional
        Electron/adu and electron; by default the profile's, else the header's.
    sensitivity_noise : float, optional
        Relative noise that the rejection allows for.
    scale_up : float, optional
        Largest factor by which the dark is scaled pixel by pixel, see `ccdnight.darks.dark_for`.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Dimensionless. Pixels without a usable flat are 1 and flagged NO_DATA.

    Raises
    ------
    InputError
        If a frame cannot be used or no light is left in it.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import make_flat
    >>> rng = np.random.default_rng(1)
    >>> response = np.linspace(0.9, 1.1, 64) * np.ones((64, 1))
    >>> flats = [CCDData(rng.normal(20000 * response, 140), unit="adu", meta={"EXPTIME": 2.0}) for _ in range(5)]
    >>> flat = make_flat(flats, gain=1, read_noise=5)
    >>> [round(float(level), 2) for level in (flat.data[:, 0].mean(), flat.data[:, -1].mean())]
    [0.9, 1.1]
    """
    if normalize not in _NORMALIZERS:
        msg = f"normalize = {normalize!r} is not known; known are {', '.join(_NORMALIZERS)}"
        raise ValueError(msg)
    bias, dark = as_master(bias), as_master(dark)
    sources = open_frames(frames, profile, overscan_like(bias, overscan), window)
    check_masters(sources, bias, dark)
    refuse_applied(sources, bias=bias, dark=dark, flat=True)
    for source in sources:
        require_level_off(dark, bias is not None or source.overscan_applied, source.name)
    electron = _relative_gain(sources[0])
    times = _dark_times(sources) if dark is not None else [None] * len(sources)
    level, charge = (None if master is None else Off(master) for master in (bias, dark))
    response = _response(sources, bias)
    signals = [Corrected(source, level, response=response) for source in sources] if response else sources
    level = None if response else level
    calibrated = [
        Corrected(signal, level, _dark_of(dark, charge, time, source, scale_up), gain=electron)
        for source, signal, time in zip(sources, signals, times, strict=True)
    ]
    levels = map_list(_flat_level, calibrated)
    scales = np.mean(levels) / np.asarray(levels) if scale else np.ones(len(levels))
    noise = noise_model(sources, gain=gain, read_noise=read_noise, sensitivity=sensitivity_noise)
    if electron is not None:
        # The frames are in adu of the mean gain, and so are the noises.
        gain = None if noise.gain is None else noise.gain / electron
        noise = replace(noise, read_noise=noise.read_noise * electron, gain=gain)
    result = stack(calibrated, method=method, **_rejection(reject, sigma), noise=noise, scales=scales, workers=workers)
    good = np.isfinite(result.data) & (result.count > 0)
    # Rows that never see light would pull the median of the rest: 1 % of them by 0.02 %.
    good &= result.data > DEAD * np.median(sample_pixels(result.data)[sample_pixels(good)])
    norm = _NORMALIZERS[normalize](result.data if good.all() else result.data[good])
    ccd = finished(result, sources, "flat", "", norm=norm, reject=reject, method=method, bias=bias)
    if dark is not None:
        tell_master(ccd, "dark", dark)
    if response is not None:
        note_linearity(ccd, response)
    ccd.meta["FLATNORM"] = (norm, f"[adu] {normalize} of the stack, now 1")
    return ccd


def _flat_level(source):
    step = sample_step(source.shape)
    height, parts = step * max(1, 64 // step), []
    strip = np.empty((height, source.shape[1]), np.float32)
    for start in range(0, source.shape[0], height):
        rows = slice(start, min(start + height, source.shape[0]))
        part = strip[: rows.stop - start]
        source.fill(rows, part, _ANY)
        parts.append(part[::step, ::step].ravel())
    data = np.concatenate(parts)
    level = median_of(data)
    if not level > 0:
        what = "all of its pixels are flagged" if np.isnan(level) else f"its level is {level:.1f} adu above the bias"
        raise FrameError(source.name, f"{what}; a flat needs light")
    return level


def _dark_times(sources):
    times = []
    for source in sources:
        facts = frame_facts(source)
        use_dark_time = find_profile(source.profile, source.header).policy.use_dark_time
        times.append(facts.dark_time if use_dark_time else facts.exposure)
    return times


def _given_times(exposures, count):
    times = [positive(item, "s", "exposures") for item in exposures]
    if len(times) != count:
        msg = f"exposures: {len(times)} are given for {count} frames"
        raise InputError(msg)
    return times


def _mean_exposure(sources):
    values = [frame_facts(source).exposure for source in sources]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0


def _dark_of(dark, charge, seconds, source, scale_up):
    if dark is None:
        return None
    if seconds is None:
        raise FrameError(source.name, "its exposure is not known; the dark cannot be scaled to it")
    if dark_seconds(dark) is None:
        msg = "the master dark has neither DARKTIME nor EXPTIME"
        raise InputError(msg)
    if scales_whole(dark, seconds, scale_up):
        return charge.scaled(seconds)
    return Off(dark_for(dark, seconds, scale_up=scale_up))


def _relative_gain(source):
    """
    Gains of several amplifiers relative to their mean, so that one number can normalize them all; None for one.
    """
    gains = [amplifier.gain for _, amplifier in source.regions]
    if len(gains) < 2:
        return None
    if not all(gains):
        msg = f"{source.name}: the gain of every amplifier must be known before their flats can be put together"
        raise InputError(msg)
    relative = np.empty(source.shape, np.float32)
    for (region, _), value in zip(source.regions, gains, strict=True):
        relative[region] = value / np.mean(gains)
    return relative


def _rejection(reject, sigma):
    reject = "none" if reject is None else reject
    return {"reject": reject, "sigma": (4.0 if reject == "noise" else 3.0) if sigma is None else sigma}


def _response(sources, bias):
    """By what the linearity of all frames is corrected; None where nothing is, or their level is not taken off."""
    response = response_of(sources[0].regions)
    if response is None or not (bias is not None or all(source.overscan_applied for source in sources)):
        return None
    refuse_applied(sources, linearity=True)
    return response
