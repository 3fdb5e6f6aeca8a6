"""The function combine of ccdproc on the stacking engine; what differs is told in `ccdnight.combiner`."""

import inspect
import os

import numpy as np
from astropy.io import fits
from astropy.nddata import fits_ccddata_reader

from ccdnight import storage
from ccdnight._ccdproc import ccdproc_combine, clip_rule, refuse_unknown
from ccdnight._ccdrows import like_first, require_equal_units, sources_of
from ccdnight.fitsrows import require_equal_shapes, scales_and_offsets
from ccdnight.stacking import stack

__all__ = ["combine"]

#: What the reader of CCDData takes.
_READER = {
    name
    for function in (fits_ccddata_reader, fits.open)
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name not in ("filename", "name")
} | {"format", "do_not_scale_image_data", "ignore_blank", "scale_back", "disable_image_compression"}


def combine(
    img_list,
    output_file=None,
    method="average",
    weights=None,
    scale=None,
    mem_limit=None,
    clip_extrema=False,
    nlow=1,
    nhigh=1,
    minmax_clip=False,
    minmax_clip_min=None,
    minmax_clip_max=None,
    sigma_clip=False,
    sigma_clip_low_thresh=3,
    sigma_clip_high_thresh=3,
    sigma_clip_func=None,
    sigma_clip_dev_func=None,
    dtype=None,
    combine_uncertainty_function=None,
    overwrite_output=False,
    array_package=None,
    *,
    sigma_clip_maxiters=1,
    noise_clip=None,
    noise_clip_thresh=4.0,
    minimum=0,
    zero=None,
    section=None,
    scale_late=True,
    uncertainty=None,
    return_stack=False,
    workers=None,
    **ccdkwargs,
):
    """
    Combine frames: `ccdproc.combine` on the stacking engine.

    Files are read by strips of rows, each byte once, and few are open at a time.

    Parameters
    ----------
    img_list : list, `~numpy.ndarray` or str
        Files or `~astropy.nddata.CCDData`, or names of files with commas between them.
    output_file : path-like, optional
        Where to write the result.
    method : {'average', 'median', 'sum'}, optional
        How.
    weights : `~numpy.ndarray`, optional
        Of the frames, or of each value.
    scale : callable, sequence of float, 'median' or 'mean', optional
        What each frame is multiplied by: a function of its pixels, numbers, or what brings that statistic to the first
        frame's.
    mem_limit : float, optional
        Bytes that the work may take; by default a quarter of the machine's memory.
    clip_extrema, nlow, nhigh : bool, int, int, optional
        Reject so many of the lowest and highest values.
    minmax_clip, minmax_clip_min, minmax_clip_max : bool, float, float, optional
        Use values between these only.
    sigma_clip, sigma_clip_low_thresh, sigma_clip_high_thresh, sigma_clip_func, sigma_clip_dev_func : optional
        Sigma clipping, see `ccdnight.Combiner.sigma_clipping`.
    dtype : str or `~numpy.dtype`, optional
        Of the result; float64 by default.
    combine_uncertainty_function : callable, optional
        Called as ccdproc calls it.
    overwrite_output : bool, optional
        Whether `output_file` may be replaced.
    array_package : module, optional
        For ccdproc from 2.6 on; arrays that are not numpy's are left to it.
    sigma_clip_maxiters : int or None, optional
        Rounds of sigma clipping; None goes on until nothing is rejected.
    noise_clip : NoiseModel, optional
        Reject by the noise of the detector, beyond `noise_clip_thresh` deviations from the median.
    noise_clip_thresh : float, optional
        See `noise_clip`.
    minimum : int, optional
        Values that are kept of every pixel that has as many.
    zero : 'median', 'mean' or sequence of float, optional
        What is subtracted from each frame before: what its statistic lies above the first frame's, or numbers, such
        as overscan levels.
    section : str, optional
        Where statistics are taken, ``[x1:x2,y1:y2]``.
    scale_late : bool, optional
        Whether values are compared before they are scaled, as ccdproc does. A scale that is given by name is always
        applied before.
    uncertainty : {'propagated', 'empirical', 'std', 'mad_std'}, optional
        See `ccdnight.stacking.stack`; by default propagated if every frame has an uncertainty, else as in ccdproc.
    return_stack : bool, optional
        Whether to return the `~ccdnight.stacking.Stack` too: number of values used, rejected low and high, of each
        pixel.
    workers : int, optional
        Threads.
    **ccdkwargs
        For the reader of CCDData.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With NCOMBINE and, of files, their names (IMCMB001 and so on) in the header of the first frame.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import combine
    >>> frames = [CCDData(np.full((4, 4), level), unit="adu") for level in (10.0, 12.0, 11.0, 900.0)]
    >>> combine(frames, method="median").data[0, 0]
    np.float64(11.5)
    >>> combine(frames, clip_extrema=True).data[0, 0]
    np.float64(11.5)
    """
    frames = _listed(img_list, method, ccdkwargs)
    _refuse_to_replace(output_file, overwrite_output)
    center = "mean" if sigma_clip_func is None else sigma_clip_func
    deviation = "std" if sigma_clip_dev_func is None else sigma_clip_dev_func
    clip = clip_rule(sigma_clip_low_thresh, sigma_clip_high_thresh, center, deviation, sigma_clip_maxiters)
    sources = sources_of(frames, ccdkwargs) if array_package in (None, np) else None
    own = combine_uncertainty_function is not None or (sigma_clip and clip is None) or not _is_float(dtype)
    extremes = (nlow or 0, nhigh or 0) if clip_extrema else None
    if own or sources is None or _left_to_ccdproc(sources, extremes, sigma_clip, noise_clip):
        _refuse_what_ccdproc_lacks(zero, section, uncertainty, noise_clip, return_stack, minimum, scale)
        arguments = {"weights": weights, "scale": scale, "clip_extrema": clip_extrema, "nlow": nlow, "nhigh": nhigh}
        arguments |= {"minmax_clip": minmax_clip, "minmax_clip_min": minmax_clip_min}
        arguments |= {"minmax_clip_max": minmax_clip_max, "sigma_clip": sigma_clip, "dtype": dtype}
        arguments |= {"sigma_clip_low_thresh": sigma_clip_low_thresh, "sigma_clip_func": sigma_clip_func}
        arguments |= {"sigma_clip_high_thresh": sigma_clip_high_thresh, "sigma_clip_dev_func": sigma_clip_dev_func}
        arguments |= {"combine_uncertainty_function": combine_uncertainty_function, "array_package": array_package}
        arguments |= {"mem_limit": mem_limit, "overwrite_output": overwrite_output, **ccdkwargs}
        given = {name: value for name, value in arguments.items() if value is not None}
        return ccdproc_combine(frames, output_file, method, **given)
    require_equal_shapes(sources)
    require_equal_units(frames, sources, ccdkwargs)
    scales, offsets = scales_and_offsets(sources, scale, zero, section)
    result = stack(
        sources,
        method=method,
        **_rejection(clip if sigma_clip else None, extremes, noise_clip, noise_clip_thresh),
        minimum=minimum,
        thresholds=(minmax_clip_min, minmax_clip_max) if minmax_clip else (None, None),
        noise=noise_clip,
        scales=scales,
        offsets=offsets,
        scale_late=scale_late and not isinstance(scale, str),
        weights=weights if method != "median" else None,
        uncertainty=_told(uncertainty, method, sources, noise_clip),
        dtype=np.float64 if dtype is None else dtype,
        maps=return_stack,
        mem_limit=mem_limit,
        workers=workers,
    )
    ccd = like_first(result, frames, sources, ccdkwargs)
    if output_file is not None:
        storage.write_fits(output_file, ccd.to_hdu(), digest=False)
    return (ccd, result) if return_stack else ccd


def _listed(img_list, method, ccdkwargs):
    refuse_unknown(ccdkwargs, _READER | (set(inspect.signature(combine).parameters) - {"ccdkwargs"}), "combine")
    if isinstance(img_list, str):
        frames = img_list.split(",")
    elif isinstance(img_list, np.ndarray):
        frames = img_list.tolist()
    else:
        try:
            frames = list(img_list)
        except TypeError as error:
            msg = "unrecognised input for list of images to combine."
            raise ValueError(msg) from error
    if method not in ("average", "median", "sum"):
        msg = f"unrecognised combine method : {method}."
        raise ValueError(msg)
    if not frames:
        msg = "img_list is empty; at least one frame is needed"
        raise ValueError(msg)
    return frames


def _refuse_to_replace(output_file, overwrite):
    if output_file is not None and os.path.exists(output_file) and not overwrite:
        msg = f"{output_file!s} already exists; give overwrite_output=True to replace it"
        raise OSError(msg)


def _is_float(dtype):
    return dtype is None or np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))


def _left_to_ccdproc(sources, extremes, sigma_clip, noise_clip):
    """Two rules one after the other; extremes among masked values, or of as many as there are."""
    several = (extremes is not None) + bool(sigma_clip) + (noise_clip is not None) > 1
    ranked = extremes is not None and (sum(extremes) >= len(sources) or any(source.has_mask for source in sources))
    return several or ranked


def _refuse_what_ccdproc_lacks(zero, section, uncertainty, noise_clip, return_stack, minimum, scale):
    ours = {"zero": zero, "section": section, "uncertainty": uncertainty, "noise_clip": noise_clip}
    ours |= {"return_stack": return_stack or None, "minimum": minimum or None}
    ours |= {"scale": scale if isinstance(scale, str) else None}
    for name, value in ours.items():
        if value is not None:
            msg = f"{name} = {value!r} cannot be given here: the other arguments are left to ccdproc, which lacks it"
            raise ValueError(msg)


def _rejection(clip, extremes, noise_clip, noise_thresh):
    if clip is not None:
        return clip
    if extremes is not None:
        return {"reject": "minmax", "nlow": extremes[0], "nhigh": extremes[1]}
    return {"reject": "none"} if noise_clip is None else {"reject": "noise", "sigma": noise_thresh}


def _told(uncertainty, method, sources, noise):
    if uncertainty is None and noise is None and not all(source.has_variance for source in sources):
        return "mad_std" if method == "median" else "std"
    return uncertainty
