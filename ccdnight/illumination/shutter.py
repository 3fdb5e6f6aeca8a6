"""Exposures that depend on the position, since a shutter takes its time to open and to close."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight._inputs import frame_list, positive
from ccdnight.calibration import identity_of
from ccdnight.exceptions import FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.products import derive, flags_of, header_of, make_ccd, read_ccd, sigma_of
from ccdnight.profiles.interpret import read_facts
from ccdnight.provenance import mark_applied, record_step, refuse_twice
from ccdnight.readout import find_profile
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["correct_shutter", "shutter_pattern"]

#: Pixels whose own delay lies further than this many deviations from that of their neighborhood are left out.
_OUTLIER = 5.0


def shutter_pattern(flats, *, exposures=None, smooth=8.0):
    """
    Seconds by which the exposure of each pixel differs from the commanded one.

    The level of a pixel is ``rate (t + dt)``. A straight line through its levels at several exposures t, weighted
    as photon noise asks for, has the slope ``rate`` and the intercept ``rate dt`` (Zissell 2000, JAAVSO 28, 149;
    the IRAF task shutcor divides slope and intercept in the same way). Both are smoothed before they are divided.

    Parameters
    ----------
    flats : list of `~astropy.nddata.CCDData` or path-like
        Flats of at least two exposures under a lamp that is steady and a detector that is linear, with bias (and
        dark) subtracted, all in one unit, shape ``(ny, nx)``. Flagged pixels are left out.
    exposures : sequence of float or of `~astropy.units.Quantity`, optional
        Seconds of each flat; by default those of the headers.
    smooth : float, optional
        Standard deviation in pixels of the Gaussian by which the pattern is smoothed; 0 does not smooth.

    Returns
    -------
    `~astropy.nddata.CCDData`
        In seconds, with uncertainty. Pixels without a neighbor that can be used are 0 and flagged NO_DATA.

    Raises
    ------
    InputError
        If the flats do not fit together, an exposure is not known, or all are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.illumination import shutter_pattern
    >>> late = np.linspace(0, 0.1, 32) * np.ones((32, 1))  # seconds
    >>> flats = [CCDData(2000 * (seconds + late), unit="electron") for seconds in (1, 2, 10)]
    >>> pattern = shutter_pattern(flats, exposures=[1, 2, 10], smooth=0)
    >>> round(float(pattern.data[0, -1]), 3), str(pattern.unit)
    (0.1, 's')
    """
    smooth = positive(smooth, "pix", "smooth", zero=True)
    frames = [item if isinstance(item, CCDData) else read_ccd(item) for item in frame_list(flats)]
    seconds = _exposures(frames, exposures)
    _check(frames, seconds)
    intercept, slope, good = _lines(frames, seconds)
    delay, share = _smoothed(intercept, slope, good, smooth)
    own = np.divide(intercept, slope, out=np.zeros_like(slope), where=good)
    _, scatter, _ = clipped_moments(sample_pixels(own - delay)[sample_pixels(good)])
    good &= np.abs(own - delay) <= _OUTLIER * scatter
    delay, share = _smoothed(intercept, slope, good, smooth)
    lost = share < 1e-3
    # A Gaussian of standard deviation s averages over 4 pi s^2 pixels.
    error = scatter / np.sqrt(np.maximum(4 * np.pi * smooth**2, 1) * np.maximum(share, 1e-3))
    pattern = make_ccd(
        np.where(lost, 0, delay),
        unit="s",
        meta=header_of(frames[0]),
        sigma=np.where(lost, 0, error),
        flags=np.where(lost, FLAGS["NO_DATA"].value, 0),
    )
    pattern.meta["MASTER"] = ("shutter", "kind of master")
    pattern.meta["NCOMBINE"] = (len(frames), "frames combined")
    names = [str(item.meta.get("FILENAME", f"flat {number}")) for number, item in enumerate(frames, 1)]
    record_step(
        pattern,
        "shutter_pattern",
        inputs=[(name, identity_of(item), "flat") for name, item in zip(names, frames, strict=True)],
        history=f"{len(frames)} flats of {min(seconds):g} to {max(seconds):g} s",
        exposures=seconds,
        smooth=smooth,
    )
    return pattern


def correct_shutter(ccd, pattern, *, exposure=None):
    """
    Bring every pixel of a frame to the commanded exposure.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A flat or a science frame with bias and dark subtracted, shape ``(ny, nx)``.
    pattern : `~astropy.nddata.CCDData` or path-like
        What `shutter_pattern` gave.
    exposure : float or `~astropy.units.Quantity`, optional
        Seconds; by default those of the header.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Data and uncertainty times ``t / (t + dt)``, with the error of the pattern added.

    Raises
    ------
    InputError
        If the shapes differ, the exposure is not known, or no exposure is left of it in a pixel.
    AlreadyAppliedError
        If the frame has been corrected before.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.illumination import correct_shutter
    >>> pattern = CCDData(np.full((32, 32), 0.1), unit="s")
    >>> flat = CCDData(np.full((32, 32), 2200.0), unit="electron")
    >>> correct_shutter(flat, pattern, exposure=1).data[0, 0]
    np.float32(2000.0)
    """
    ccd, pattern = (item if isinstance(item, CCDData) else read_ccd(item) for item in (ccd, pattern))
    refuse_twice(ccd, "shutter")
    if ccd.data.shape != pattern.data.shape:
        msg = f"shape {ccd.data.shape} of the frame differs from {pattern.data.shape} of the shutter pattern"
        raise InputError(msg)
    if str(pattern.unit) != "s":
        msg = f"pattern: its unit is {str(pattern.unit)!r}; a shutter pattern is in 's'"
        raise InputError(msg)
    (seconds,) = _exposures([ccd], None if exposure is None else [exposure])
    real = np.float32(seconds) + pattern.data
    if not real.min() > 0:
        msg = f"exposure = {seconds:g} s and a delay of {pattern.data.min():.3g} s leave no exposure"
        raise InputError(msg)
    factor = np.float32(seconds) / real
    data, sigma, error = ccd.data * factor, sigma_of(ccd), sigma_of(pattern)
    if sigma is not None:
        sigma = sigma * factor
        sigma = sigma if error is None else np.hypot(sigma, data * error / real)
    result = derive(ccd, data, sigma=sigma, flags=flags_of(ccd) | flags_of(pattern))
    name = str(pattern.meta.get("FILENAME", "shutter"))
    mark_applied(result, "shutter", f"{name}, {seconds:g} s")
    inputs = [(name, identity_of(pattern), "shutter")]
    record_step(result, "shutter", inputs=inputs, history=f"delays of {name} at {seconds:g} s", exposure=seconds)
    return result


def _exposures(frames, given):
    if given is not None:
        given = list(given)
        if len(given) != len(frames):
            msg = f"exposures: {len(given)} are given for {len(frames)} frames"
            raise InputError(msg)
        return [positive(item, "s", "exposures") for item in given]
    seconds = []
    for number, ccd in enumerate(frames, 1):
        value = read_facts(ccd.meta, find_profile(None, ccd.meta)).exposure
        if not value:
            name = str(ccd.meta.get("FILENAME", f"frame {number}"))
            raise FrameError(name, f"its exposure is {value!r}; seconds above 0 are needed", "give exposures")
        seconds.append(value)
    return seconds


def _check(frames, seconds):
    if len(set(seconds)) < 2:
        msg = f"exposures = {sorted(set(seconds))}; flats of at least two different exposures are needed"
        raise InputError(msg)
    for ccd in frames[1:]:
        if ccd.data.shape != frames[0].data.shape or ccd.unit != frames[0].unit:
            what = f"shape {ccd.data.shape} and unit {str(ccd.unit)!r}"
            msg = f"flats: {what} differ from {frames[0].data.shape} and {str(frames[0].unit)!r} of the first"
            raise InputError(msg)


def _lines(frames, seconds):
    """Intercept and slope of each pixel's level against exposure, and where they can be used."""
    shape = frames[0].data.shape
    total, sum_t, sum_tt, sum_y, sum_ty = (np.zeros(shape) for _ in range(5))
    for ccd, time in zip(frames, seconds, strict=True):
        usable = (flags_of(ccd) == 0) & np.isfinite(ccd.data)
        # Photon noise: the variance is proportional to the level, and that to the exposure.
        weight = usable / time
        data = np.where(usable, ccd.data, 0) * weight
        total += weight
        sum_t += weight * time
        sum_tt += weight * time**2
        sum_y += data
        sum_ty += data * time
    determinant = total * sum_tt - sum_t**2
    good = determinant > 1e-9 * max(seconds) ** 2 * np.maximum(total, 1e-30) ** 2
    safe = np.where(good, determinant, 1)
    slope = (total * sum_ty - sum_t * sum_y) / safe
    intercept = (sum_tt * sum_y - sum_t * sum_ty) / safe
    return intercept, slope, good & (slope > 0)


def _smoothed(intercept, slope, good, smooth):
    """Smoothed intercept over smoothed slope, and the share of the neighborhood that could be used."""
    from scipy import ndimage

    def filtered(values):
        values = np.where(good, values, 0)
        return ndimage.gaussian_filter(values, smooth, mode="nearest") if smooth else values

    share, below = filtered(1.0), filtered(slope)
    return np.divide(filtered(intercept), below, out=np.zeros_like(below), where=below > 0), share
