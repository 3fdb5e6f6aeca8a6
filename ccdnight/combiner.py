"""
Combiner and combine of ccdproc on the stacking engine: the same calls, the same results, many times as fast.

What differs, since ccdproc's result is not right there:

- masked pixels take no part in the statistics of sigma clipping, and values that are not finite are never used;
- a weighted mean divides by the weights of the values that were used, not by all of them;
- where every frame has an uncertainty, the result's is propagated from them;
- ``low_thresh=None`` or ``high_thresh=None`` rejects nothing on that side, as ccdproc's words say (its code takes 3);
- a keyword that neither combine nor the FITS reader knows is refused.

What is not accelerated (functions of the user's own, arrays that are not numpy's, integer results) goes to ccdproc.
"""

import difflib
import errno
import inspect
import io
import os

import ccdproc
import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty, fits_ccddata_reader
from astropy.stats import mad_std

from ccdnight import storage
from ccdnight._quiet import quiet_libraries
from ccdnight.fitsrows import FitsRows, list_inputs, require_equal_shapes, scales_and_offsets
from ccdnight.flags import FLAGS
from ccdnight.products import header_of
from ccdnight.stacking import stack

__all__ = ["Combiner", "combine"]

# Bound here, so that putting ours in the place of ccdproc's does not make ours call itself.
_ccdproc_combine = ccdproc.combine
_sigma_func = ccdproc.core.sigma_func
_defaults = {parameter.default for parameter in inspect.signature(ccdproc.Combiner.average_combine).parameters.values()}
_CENTERS = {"mean": "mean", "median": "median"}
_CENTERS |= dict.fromkeys((np.mean, np.ma.mean, np.nanmean), "mean")
_CENTERS |= dict.fromkeys((np.median, np.ma.median, np.nanmedian), "median")
_DEVIATIONS = {"std": "sigma", "mad_std": "mad", mad_std: "mad", _sigma_func: "mad"}
_DEVIATIONS |= dict.fromkeys((np.std, np.ma.std, np.nanstd), "sigma")
#: What the reader of CCDData takes, and what of it is read without it.
_READER = {
    name
    for function in (fits_ccddata_reader, fits.open)
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name not in ("filename", "name")
} | {"format", "do_not_scale_image_data", "ignore_blank", "scale_back", "disable_image_compression"}
_READ_BY_ROWS = {"unit", "hdu", "hdu_mask", "hdu_uncertainty", "format"}
_SIGMA_CLIP = {"axis", "copy", "maxiters", "grow", "masked", "return_bounds", "use_astropy"}


class Combiner(ccdproc.Combiner):
    """
    Combine CCDData: `ccdproc.Combiner` on the stacking engine.

    Parameters
    ----------
    ccd_iter : iterable of `~astropy.nddata.CCDData`
        Frames of one shape and unit.
    dtype : str or `~numpy.dtype`, optional
        Of the intermediate and the resulting data; float64 by default.
    **options
        What else the installed ccdproc takes, such as `xp`.

    Raises
    ------
    TypeError
        If they are no CCDData, or differ in shape or unit.
    """

    def __init__(self, ccd_iter, dtype=None, **options):
        frames = ccd_iter if ccd_iter is None else list(ccd_iter)
        super().__init__(frames, dtype=dtype, **options)
        self._uncertainties = [ccd.uncertainty for ccd in frames]

    def _stacked(self):
        """Data and mask of all frames, in ccdproc 2.5 as a masked array, from 2.6 on apart."""
        if hasattr(self, "data_arr"):
            return self.data_arr.data, np.ma.getmaskarray(self.data_arr)
        return self.data, self.mask

    @property
    def _accelerated(self):
        data, _ = self._stacked()
        return (
            isinstance(data, np.ndarray) and data.dtype in (np.float32, np.float64) and data.ndim > 1 and data.size > 0
        )

    def _sources(self, *, masked=True):
        data, mask = self._stacked()
        variances = _variances_of(self._uncertainties, data.shape)
        frames = zip(data, mask if masked else [None] * len(data), variances or [None] * len(data), strict=True)
        return [_ArrayRows(*frame) for frame in frames]

    def _reject(self, keep):
        data, mask = self._stacked()
        rejected = ~keep.reshape(data.shape)
        if hasattr(self, "data_arr"):
            self.data_arr.mask |= rejected
        else:
            self._data_arr_mask = mask | rejected

    def clip_extrema(self, nlow=0, nhigh=0):
        """
        Mask the lowest and the highest values of each pixel.

        Parameters
        ----------
        nlow, nhigh : int or None, optional
            How many. As in ccdproc, values that are masked already count among them.
        """
        nlow, nhigh = nlow or 0, nhigh or 0
        data, _ = self._stacked()
        if not self._accelerated or nlow + nhigh >= len(data) or min(nlow, nhigh) < 0:
            super().clip_extrema(nlow=nlow, nhigh=nhigh)
            return
        options = {"reject": "minmax", "nlow": nlow, "nhigh": nhigh, "minimum": 0}
        self._reject(stack(self._sources(masked=False), **options, uncertainty="none", keep=True).keep)

    def sigma_clipping(self, low_thresh=3, high_thresh=3, func="mean", dev_func="std", **kwd):
        """
        Mask values that lie too far from the center of their pixel.

        Parameters
        ----------
        low_thresh, high_thresh : float or None, optional
            Thresholds in deviations; None rejects nothing on that side.
        func : {'mean', 'median'} or callable, optional
            Center.
        dev_func : {'std', 'mad_std'} or callable, optional
            Deviation.
        **kwd
            Keywords of `astropy.stats.sigma_clip`; `maxiters` is 1 if not given, None goes on until nothing is
            rejected.
        """
        _refuse_unknown(kwd, _SIGMA_CLIP, "sigma_clipping")
        center, deviation = _known(_CENTERS, func), _known(_DEVIATIONS, dev_func)
        ours = set(kwd) <= {"axis", "copy", "maxiters"} and kwd.get("axis", 0) == 0
        if not (self._accelerated and center and deviation and ours):
            super().sigma_clipping(low_thresh, high_thresh, func, dev_func, **kwd)
            return
        maxiters = kwd.get("maxiters", 1)
        kept = stack(
            self._sources(),
            reject=deviation,
            sigma=_sides(low_thresh, high_thresh),
            center=center,
            maxiters=-1 if maxiters is None else maxiters,
            minimum=0,
            uncertainty="none",
            keep=True,
        ).keep
        self._reject(kept)

    def median_combine(self, median_func=None, scale_to=None, uncertainty_func=None, *, uncertainty=None):
        """
        Median of the frames.

        Parameters
        ----------
        median_func, uncertainty_func : callable, optional
            Functions of your own, called as ccdproc calls them.
        scale_to : float, optional
            Factor for all frames; it overrides `scaling`.
        uncertainty : {'propagated', 'empirical', 'std', 'mad_std'}, optional
            See `ccdnight.stacking.stack`; by default propagated if every frame has an uncertainty, else as in ccdproc
            the scaled median absolute deviation over the root of the number of values.

        Returns
        -------
        `~astropy.nddata.CCDData`
        """
        if self._own_way(scale_to, median_func, uncertainty_func):
            given = {} if uncertainty_func is None else {"uncertainty_func": uncertainty_func}
            return super().median_combine(median_func, scale_to, **given)
        return self._combine("median", scale_to, uncertainty or "mad_std")

    def average_combine(
        self, scale_func=None, scale_to=None, uncertainty_func=None, sum_func=None, *, uncertainty=None
    ):
        """
        Mean of the frames, weighted if there are `weights`.

        Parameters
        ----------
        scale_func, uncertainty_func, sum_func : callable, optional
            Functions of your own, called as ccdproc calls them.
        scale_to : float, optional
            Factor for all frames; it overrides `scaling`.
        uncertainty : {'propagated', 'empirical', 'std', 'mad_std'}, optional
            See `ccdnight.stacking.stack`; by default propagated if every frame has an uncertainty, else as in ccdproc
            the standard deviation over the root of the number of values.

        Returns
        -------
        `~astropy.nddata.CCDData`
        """
        if self._own_way(scale_to, scale_func, uncertainty_func, sum_func):
            functions = {"uncertainty_func": uncertainty_func, "sum_func": sum_func}
            given = {name: function for name, function in functions.items() if function is not None}
            return super().average_combine(scale_func, scale_to, **given)
        return self._combine("average", scale_to, uncertainty or "std")

    def sum_combine(self, sum_func=None, scale_to=None, uncertainty_func=None, *, uncertainty=None):
        """
        Sum of the frames; what is masked is left out, not made up for.

        Parameters
        ----------
        sum_func, uncertainty_func : callable, optional
            Functions of your own, called as ccdproc calls them.
        scale_to : float, optional
            Factor for all frames; it overrides `scaling`.
        uncertainty : {'propagated', 'empirical', 'std', 'mad_std'}, optional
            See `ccdnight.stacking.stack`; by default propagated if every frame has an uncertainty, else as in ccdproc
            the standard deviation times the root of the number of values.

        Returns
        -------
        `~astropy.nddata.CCDData`
        """
        if self._own_way(scale_to, sum_func, uncertainty_func):
            given = {} if uncertainty_func is None else {"uncertainty_func": uncertainty_func}
            return super().sum_combine(sum_func, scale_to, **given)
        return self._combine("sum", scale_to, uncertainty or "std")

    def _own_way(self, scale_to, *functions):
        """Whether ccdproc has to do it."""
        own = any(function is not None and function not in _defaults for function in functions)
        return own or not self._accelerated or np.ndim(scale_to) > 0

    def _combine(self, method, scale_to, uncertainty):
        data, _ = self._stacked()
        sources, scales = self._sources(), self.scaling
        if scale_to is not None:
            scales = np.full(len(data), float(scale_to))
        if uncertainty in ("std", "mad_std") and all(source.has_variance for source in sources):
            uncertainty = "propagated"
        weights = None if self.weights is None or method == "median" else np.asarray(self.weights, float)
        result = stack(
            sources,
            method=method,
            reject="none",
            scales=None if scales is None else np.reshape(scales, -1),
            weights=weights if weights is None or weights.ndim == 1 else weights.reshape(len(data), data.shape[1], -1),
            uncertainty=uncertainty,
            dtype=np.float64,
        )
        header = fits.Header({"NCOMBINE": len(data)})
        return _as_ccd(result, self.unit, header, np.dtype(self.dtype), data.shape[1:])


class _ArrayRows:
    """A frame that lies in memory, of any number of dimensions, as rows."""

    def __init__(self, data, mask=None, variance=None, name="CCDData"):
        self.name, shape = name, (data.shape[0], int(np.prod(data.shape[1:])))
        self.shape, self._data = shape, data.reshape(shape)
        self.dtype = np.dtype(np.float32 if data.dtype.itemsize <= (4 if data.dtype.kind == "f" else 2) else np.float64)
        self._mask = None if mask is None else np.broadcast_to(mask, data.shape).reshape(shape)
        self._variance = None if variance is None else np.broadcast_to(variance, data.shape).reshape(shape)

    @property
    def has_mask(self):
        return self._mask is not None and bool(self._mask.any())

    @property
    def has_variance(self):
        return self._variance is not None

    def fill(self, rows, out, _exclude):
        out[...] = self._data[rows]
        if self._mask is not None and self._mask[rows].any():
            out[self._mask[rows]] = np.nan

    def variance(self, rows):
        return self._variance[rows]

    def pixels(self, section=None):
        from ccdnight._sections import parse_section

        part = (slice(None), slice(None)) if section is None else parse_section(section, self.shape)
        values = self._data[part]
        return values if self._mask is None else np.where(self._mask[part], np.nan, values)


def _variances_of(uncertainties, _shape):
    """Variances of all frames; None where one does not say."""
    if any(item is None or not hasattr(item, "represent_as") for item in uncertainties):
        return None
    try:
        return [item.represent_as(VarianceUncertainty).array for item in uncertainties]
    except (TypeError, ValueError, AttributeError):
        return None


def _known(table, key):
    try:
        return table.get(key)
    except TypeError:
        return None


def _sides(low, high):
    return tuple(None if value is None or np.isinf(value) else abs(value) for value in (low, high))


def _refuse_unknown(given, known, name):
    for word in given:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            msg = f"{name}() got a keyword {word!r} that nobody knows{hint}"
            raise TypeError(msg)


def _as_ccd(result, unit, header, dtype, shape):
    """The result as a CCDData with what the header has to say."""
    left_out = (result.count == 0).reshape(shape)
    header["BUNIT"] = u.Unit(unit).to_string()
    return CCDData(
        np.asarray(result.data.reshape(shape), dtype=dtype),
        unit=unit,
        mask=left_out,
        flags=left_out.astype(np.uint16) * np.uint16(FLAGS["NO_DATA"].value),
        uncertainty=StdDevUncertainty(result.error.reshape(shape)),
        meta=header,
    )


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
        Sigma clipping, see `Combiner.sigma_clipping`.
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
    """
    frames = _listed(img_list, method, ccdkwargs)
    _refuse_to_replace(output_file, overwrite_output)
    clip = _sigma_rule(sigma_clip_low_thresh, sigma_clip_high_thresh, sigma_clip_func, sigma_clip_dev_func)
    sources = _sources_of(frames, ccdkwargs) if array_package in (None, np) else None
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
        return _ccdproc_combine(frames, output_file, method, **given)
    require_equal_shapes(sources)
    _require_equal_units(frames, sources, ccdkwargs)
    scales, offsets = scales_and_offsets(sources, scale, zero, section)
    result = stack(
        sources,
        method=method,
        **_rejection(clip if sigma_clip else None, sigma_clip_maxiters, extremes, noise_clip, noise_clip_thresh),
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
    ccd = _finished(result, frames, ccdkwargs)
    if output_file is not None:
        storage.write_fits(output_file, ccd.to_hdu())
    return (ccd, result) if return_stack else ccd


def _listed(img_list, method, ccdkwargs):
    _refuse_unknown(ccdkwargs, _READER | (set(inspect.signature(combine).parameters) - {"ccdkwargs"}), "combine")
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


def _sigma_rule(low, high, func, dev_func):
    """Deviation, thresholds and center for the engine; None for functions that it does not know."""
    center = "mean" if func is None else _known(_CENTERS, func)
    deviation = "sigma" if dev_func is None else _known(_DEVIATIONS, dev_func)
    return (deviation, _sides(low, high), center) if center and deviation else None


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


def _rejection(clip, maxiters, extremes, noise_clip, noise_thresh):
    if clip is not None:
        deviation, sigma, center = clip
        return {"reject": deviation, "sigma": sigma, "center": center, "maxiters": -1 if maxiters is None else maxiters}
    if extremes is not None:
        return {"reject": "minmax", "nlow": extremes[0], "nhigh": extremes[1]}
    return {"reject": "none"} if noise_clip is None else {"reject": "noise", "sigma": noise_thresh}


def _told(uncertainty, method, sources, noise):
    if uncertainty is None and noise is None and not all(source.has_variance for source in sources):
        return "mad_std" if method == "median" else "std"
    return uncertainty


def _sources_of(frames, ccdkwargs):
    """Frames as sources of rows; None where one of them cannot be read so."""
    if set(ccdkwargs) - _READ_BY_ROWS or ccdkwargs.get("format", "fits") != "fits":
        return None
    sources = []
    for number, frame in enumerate(frames):
        if isinstance(frame, CCDData):
            if not isinstance(frame.data, np.ndarray) or frame.data.ndim != 2 or frame.data.dtype.kind not in "fiu":
                return None
            variance = None if frame.uncertainty is None else (_variances_of([frame.uncertainty], None) or [None])[0]
            sources.append(_ArrayRows(frame.data, frame.mask, variance, name=f"frame {number}"))
            continue
        if isinstance(ccdkwargs.get("hdu", 0), str):
            return None
        if not os.path.exists(frame):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(frame))
        names = {"mask": ccdkwargs.get("hdu_mask", "MASK"), "uncertainty": ccdkwargs.get("hdu_uncertainty", "UNCERT")}
        sources.append(FitsRows(frame, hdu=ccdkwargs.get("hdu"), **names))
    return sources


def _require_equal_units(frames, sources, ccdkwargs):
    """Refuse frames of different units, where they say; for files a unit that is given holds for all."""
    units = []
    for frame, source in zip(frames, sources, strict=True):
        if isinstance(frame, CCDData):
            units.append((str(frame.unit), source.name))
        elif "BUNIT" in source.header and "unit" not in ccdkwargs:
            units.append((str(source.header["BUNIT"]).strip().lower(), source.name))
    for unit, name in units:
        if unit != units[0][0]:
            msg = f"{name}: unit {unit!r} differs from {units[0][0]!r} of {units[0][1]}"
            raise TypeError(msg)


def _finished(result, frames, ccdkwargs):
    """The result with the header, unit and world coordinates of the first frame."""
    first = frames[0] if isinstance(frames[0], CCDData) else _without_pixels(frames[0], ccdkwargs)
    header = header_of(first)
    names = [str(frame.meta.get("FILENAME", "")) if isinstance(frame, CCDData) else str(frame) for frame in frames]
    list_inputs(header, names)
    ccd = _as_ccd(result, first.unit, header, result.data.dtype, result.data.shape)
    ccd.wcs = first.wcs
    return ccd


def _without_pixels(path, ccdkwargs):
    """What CCDData.read makes of the header of a file: a frame of one pixel."""
    header, _ = storage.clean_header(storage.read_header(path, hdu=ccdkwargs.get("hdu")).header)
    for key in ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "XTENSION", "PCOUNT", "GCOUNT", "EXTNAME"):
        header.remove(key, ignore_missing=True, remove_all=True)
    stream = io.BytesIO()
    with quiet_libraries():
        fits.PrimaryHDU(np.zeros((1, 1), np.uint8), header).writeto(stream, output_verify="silentfix")
        stream.seek(0)
        return fits_ccddata_reader(stream, unit=ccdkwargs.get("unit"))
