"""Fringes: interference of the night sky's lines in thin silicon, measured from the sky itself and taken off."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight._inputs import positive
from ccdnight.calibration import identity_of, significant_flags
from ccdnight.exceptions import InputError, MeasurementError
from ccdnight.flags import FLAGS
from ccdnight.illumination.dithers import combine_dithered, count_positions, open_dithered
from ccdnight.illumination.skyflats import check_thresholds, sky_flags
from ccdnight.products import derive, flags_of, make_ccd, read_ccd, sigma_of
from ccdnight.provenance import mark_applied, record_step, refuse_twice
from ccdnight.smoothing import gaussian_smooth
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["make_fringe_frame", "measure_fringes", "subtract_fringes"]

#: Pixels from which the scale is measured: more do not make it better than the fringe frame is.
_ENOUGH = 2_000_000
_ROUNDS = 8
#: Positions on the sky that tell it from its sources, and the scatter of a pattern, in units of its noise, from which
#: on there is one.
_POSITIONS, _STANDS_OUT = 3, 2.0
#: Pixels over which the pattern is smoothed for what is no fringes but uneven light.
_WIDE = 64


def make_fringe_frame(science, *, sigma=4.0, source_sigma=3.0, grow=5, smooth=1.5):
    """
    The fringe pattern of a filter, from dithered science frames.

    The sky level is subtracted from every frame, and the rest divided by it: fringes are as bright as the sky, to
    first order. Sources are masked; what is left is clipped and averaged. The frames are held in memory.

    Parameters
    ----------
    science : list of `~astropy.nddata.CCDData` or path-like
        At least three frames of one filter, dithered by more than the size of a source, fully calibrated (bias,
        dark, flat), all in one unit, shape ``(ny, nx)``. Flagged pixels are left out.
    sigma, source_sigma, grow
        As in `ccdnight.illumination.make_sky_flat`.
    smooth : float, optional
        Standard deviation in pixels of the Gaussian by which the pattern is smoothed; 0 does not smooth. At 1.5
        pixels fringes of a period of 20 pixels lose 11 % of their amplitude, which the scale of a frame makes up for,
        and the noise 81 %.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Dimensionless, as a part of the sky, mean 0. Pixels without sky in any frame are 0 and flagged NO_DATA.
        FRNGRMS is the scatter of the pattern, its large scales left out, FRNGNOIS its noise.

    Raises
    ------
    InputError
        If there are too few frames or positions on the sky, they do not fit together, or one has no sky.
    ValueError
        If sigma, source_sigma or grow is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.fringes import make_fringe_frame
    >>> rng = np.random.default_rng(1)
    >>> waves = 0.05 * np.sin(np.arange(64) * 2 * np.pi / 20) * np.ones((64, 1))
    >>> science = [CCDData(rng.normal(1000 * (1 + waves), 5), unit="electron") for _ in range(5)]
    >>> fringe = make_fringe_frame(science)
    >>> float(np.corrcoef(fringe.data.ravel(), waves.ravel())[0, 1].round(2))
    1.0
    """
    check_thresholds(sigma=sigma, source_sigma=source_sigma, grow=grow)
    smooth = positive(smooth, "pix", "smooth", zero=True)
    frames = open_dithered(science)
    positions = count_positions(frames)
    if positions < _POSITIONS:
        what = f"{len(frames)} science frames lie on {positions} different positions, as their bright sources tell"
        msg = f"{what}; fringes are told from sources where there are {_POSITIONS} and more: dither the telescope"
        raise InputError(msg)
    result = combine_dithered(frames, subtract=True, sigma=sigma, source_sigma=source_sigma, grow=grow)
    flags = sky_flags(result, len(frames))
    lost = (flags & FLAGS["NO_DATA"].value) != 0
    if lost.all():
        msg = "no pixel shows sky in any of the science frames"
        raise InputError(msg)
    data, error = _smoothed(result, ~lost, smooth)
    mean = np.mean(data[~lost], dtype=np.float64)
    fringe = make_ccd(
        np.where(lost, 0, data - mean),
        unit="",
        meta=frames[0].header,
        sigma=np.where(lost, 0, error),
        flags=flags,
    )
    fringe.meta["MASTER"] = ("fringe", "kind of master")
    fringe.meta["NCOMBINE"] = (len(frames), "frames combined")
    rms, noise = _contrast(fringe.data, fringe.uncertainty.array, ~lost)
    fringe.meta["FRNGRMS"] = (float(f"{rms:.4g}"), "scatter of the pattern, as a part of the sky")
    fringe.meta["FRNGNOIS"] = (float(f"{noise:.4g}"), "noise of the pattern, as a part of the sky")
    record_step(
        fringe,
        "fringe_frame",
        inputs=[(frame.name, frame.digest, "science") for frame in frames],
        history=f"sky of {len(frames)} science frames less its level, sources masked",
        sigma=sigma,
        source_sigma=source_sigma,
        grow=grow,
        smooth=smooth,
    )
    return fringe


def stands_out(fringe):
    """
    Whether a fringe frame shows more than its own noise.

    Parameters
    ----------
    fringe : `~astropy.nddata.CCDData`
        What `make_fringe_frame` gave.

    Returns
    -------
    bool
        True where it does not tell.
    """
    rms, noise = fringe.meta.get("FRNGRMS"), fringe.meta.get("FRNGNOIS")
    return rms is None or noise is None or rms >= _STANDS_OUT * noise


def _contrast(data, error, good):
    """Scatter and noise of a pattern, without its large scales."""
    from scipy import ndimage

    wide = ndimage.uniform_filter(np.where(good, data, 0), _WIDE, mode="nearest")
    sample = sample_pixels(good)
    return clipped_moments(sample_pixels(data - wide)[sample], sigma=5.0)[1], np.median(sample_pixels(error)[sample])


def _smoothed(result, good, smooth):
    """Data and error, the pixels without sky left out of the neighborhoods of others."""
    if not smooth:
        return result.data, result.error
    share = np.maximum(gaussian_smooth(good, smooth), np.float32(1e-3))
    data, variance = (
        gaussian_smooth(np.where(good, values, 0), smooth) / share for values in (result.data, result.error**2)
    )
    # A Gaussian of standard deviation s averages over 4 pi s^2 pixels.
    return data, np.sqrt(variance / np.maximum(4 * np.pi * smooth**2, 1))


def subtract_fringes(ccd, fringe, *, scale=None, contrast=0.5, sigma=3.0):
    """
    Subtract the fringes of a frame.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A calibrated frame, shape ``(ny, nx)``.
    fringe : `~astropy.nddata.CCDData` or path-like
        What `make_fringe_frame` gave.
    scale : float, optional
        What the fringe frame is multiplied by, in the unit of the frame; by default `measure_fringes` measures it.
    contrast, sigma
        As in `measure_fringes`.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With the noise of the fringe frame in its uncertainty. Pixels without a fringe value keep theirs and take over
        the fringe frame's flags. FRNGSCAL and FRNGSERR hold the scale and its error.

    Raises
    ------
    InputError
        If the shapes differ or `fringe` is no fringe frame.
    MeasurementError
        If the scale cannot be measured.
    AlreadyAppliedError
        If fringes have been subtracted before.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.fringes import subtract_fringes
    >>> waves = 0.05 * np.sin(np.arange(64) * 2 * np.pi / 20) * np.ones((64, 1))
    >>> image = CCDData(1000 + 800 * waves, unit="electron")
    >>> done = subtract_fringes(image, CCDData(waves, unit=""), scale=800)
    >>> bool(np.allclose(done.data, 1000))
    True
    """
    ccd, fringe = _pair(ccd, fringe)
    refuse_twice(ccd, "fringe")
    if scale is None:
        scale, error = measure_fringes(ccd, fringe, contrast=contrast, sigma=sigma)
    else:
        scale, error = positive(scale, str(ccd.unit), "scale", zero=True), 0.0
    data = ccd.data - np.float32(scale) * fringe.data
    own, others = sigma_of(ccd), sigma_of(fringe)
    if own is not None and others is not None:
        own = np.hypot(own, np.float32(scale) * others)
    result = derive(ccd, data, sigma=own, flags=flags_of(ccd) | significant_flags(fringe))
    name = str(fringe.meta.get("FILENAME", "fringe"))
    mark_applied(result, "fringe", f"{name} times {scale:.5g}")
    result.meta["FRNGFILE"] = (name[-60:], "fringe frame that was subtracted")
    result.meta["FRNGSCAL"] = (float(f"{scale:.6g}"), f"[{ccd.unit}] what it was multiplied by")
    result.meta["FRNGSERR"] = (float(f"{error:.2g}"), f"[{ccd.unit}] error of that")
    inputs = [(name, identity_of(fringe), "fringe")]
    record_step(result, "fringe", inputs=inputs, history=f"{name} times {scale:.5g} subtracted", scale=scale)
    return result


def measure_fringes(ccd, fringe, *, contrast=0.5, sigma=3.0):
    """
    How strong the fringes of a frame are.

    A plane of sky and a multiple of the fringe frame are fitted by least squares to the pixels where the fringes
    are strongest; stars and what else does not fit are clipped.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A calibrated frame, shape ``(ny, nx)``. Flagged pixels are left out.
    fringe : `~astropy.nddata.CCDData` or path-like
        What `make_fringe_frame` gave.
    contrast : float, optional
        Part of the pixels that is used, those furthest from the fringe frame's mean; over 0, at most 1.
    sigma : float, optional
        Threshold of the clipping.

    Returns
    -------
    scale, error : float
        In the unit of the frame, since the fringe frame has none.

    Raises
    ------
    InputError
        If the shapes differ or `fringe` is no fringe frame.
    MeasurementError
        If hardly a pixel can be used, or the fringe frame is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.fringes import measure_fringes
    >>> waves = 0.05 * np.sin(np.arange(64) * 2 * np.pi / 20) * np.ones((64, 1))
    >>> image = np.random.default_rng(1).normal(1000 + 800 * waves, 5)
    >>> scale, error = measure_fringes(CCDData(image, unit="electron"), CCDData(waves, unit=""))
    >>> abs(scale - 800) < 4 * error
    True
    """
    check_thresholds(contrast=contrast, sigma=sigma)
    if contrast > 1:
        msg = f"contrast = {contrast!r}; it must be over 0 and at most 1"
        raise ValueError(msg)
    ccd, fringe = _pair(ccd, fringe)
    y, x = _strong_pixels(ccd, fringe, contrast)
    ny, nx = ccd.data.shape
    values = ccd.data[y, x].astype(np.float64)
    design = np.stack([np.ones(len(y)), x / nx - 0.5, y / ny - 0.5, fringe.data[y, x]], axis=1)
    kept = np.abs(values - np.median(values)) <= 5 * sigma * clipped_moments(values)[1]
    for _ in range(_ROUNDS):
        part = design[kept]
        matrix = part.T @ part
        if len(part) < 100 or np.linalg.cond(matrix) > 1e14:
            msg = f"{len(part)} pixels are left from which to measure the fringes, or the fringe frame is empty"
            raise MeasurementError(msg)
        solution = np.linalg.solve(matrix, part.T @ values[kept])
        rest = values - design @ solution
        width = clipped_moments(rest[kept], sigma=sigma)[1]
        inside = np.abs(rest) <= sigma * width
        if np.array_equal(inside, kept):
            break
        kept = inside
    error = width * np.sqrt(np.linalg.inv(matrix)[3, 3])
    return float(solution[3]), float(error)


def _pair(ccd, fringe):
    ccd, fringe = (item if isinstance(item, CCDData) else read_ccd(item) for item in (ccd, fringe))
    if ccd.data.shape != fringe.data.shape:
        msg = f"shape {ccd.data.shape} of the frame differs from {fringe.data.shape} of the fringe frame"
        raise InputError(msg)
    if str(fringe.unit) != "":
        msg = f"fringe: its unit is {str(fringe.unit)!r}; a fringe frame is dimensionless"
        raise InputError(msg)
    return ccd, fringe


def _strong_pixels(ccd, fringe, contrast):
    """Indices of unflagged pixels where the fringes are furthest from their mean."""
    good = (flags_of(ccd) == 0) & (flags_of(fringe) == 0) & np.isfinite(ccd.data)
    strength = np.abs(fringe.data)
    if not good.any():
        msg = "no pixel is unflagged in both the frame and the fringe frame"
        raise MeasurementError(msg)
    good &= strength >= np.quantile(strength[good], 1 - contrast)
    y, x = np.nonzero(good)
    step = max(1, len(y) // _ENOUGH)
    return y[::step], x[::step]
