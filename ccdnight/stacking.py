"""
Stacking: frames in, one frame with its error out; arrays only.

Strips of rows are read from every frame at once, so that memory depends on the strip and not on the number of
frames, and each byte is read once. Outliers are found

- by the noise model of the detector (IRAF's ccdclip): further from the median than `sigma` times
  ``sqrt(f**2 RN**2 + f max(S, 0) / G + (s S)**2)`` with S the median without its pedestal, RN the read noise in adu, G
  the gain, f the scale of the frame and s the sensitivity noise;
- by the scatter of the values themselves ('sigma', 'mad'), exactly as `astropy.stats.sigma_clip` does;
- as the lowest and the highest values ('minmax').

With few values the scatter cannot tell an outlier: none of n lies further than n/sqrt(n-1) standard deviations
from the median. The noise model can, from three values on.

The work is done by compiled kernels (`ccdnight._kernels`), in float32 where the frames hold no more, with sums in
float64; strips are handed to threads.
"""

from dataclasses import dataclass

import numpy as np

from ccdnight.clipping import MEDIAN_FACTORS, clipping_factors, median_factor
from ccdnight.exceptions import InputError

__all__ = ["MEDIAN_FACTORS", "NoiseModel", "Stack", "stack"]

METHODS = ("average", "median", "sum")
CENTERS = ("median", "mean")
REJECTIONS = ("noise", "sigma", "mad", "minmax", "none")
UNCERTAINTIES = ("propagated", "empirical", "std", "mad_std", "none")


@dataclass(frozen=True)
class NoiseModel:
    """
    Noise of a single frame, before it is scaled.

    Attributes
    ----------
    read_noise : float or `~numpy.ndarray`
        In adu; an array has the shape of the frames.
    gain : float or `~numpy.ndarray` or None
        Electron per adu; None leaves out the shot noise.
    sensitivity : float
        Relative noise, for flats whose pattern is not quite the same; it counts for the rejection alone.
    pedestal : float
        Bias level that is still in the frames, in adu after scaling.

    Examples
    --------
    >>> from ccdnight.stacking import NoiseModel
    >>> model = NoiseModel(read_noise=5.5, gain=2.0, pedestal=1000.0)  # adu, electron/adu, adu
    >>> model.sensitivity
    0.0
    """

    read_noise: object
    gain: object = None
    sensitivity: float = 0.0
    pedestal: float = 0.0

    def variance(self, signal, scale, rows, *, sensitivity=True):
        """
        Variance of one frame's scaled values.

        Parameters
        ----------
        signal : `~numpy.ndarray`
            Scaled signal, shape ``(k, nx)``.
        scale : float
            What the frame was multiplied by.
        rows : slice
            Rows of the frame.
        sensitivity : bool, optional
            Whether to count the sensitivity noise.

        Returns
        -------
        `~numpy.ndarray`
        """
        signal = signal - np.float32(self.pedestal)
        variance = np.full(signal.shape, scale**2, np.float32) * _rows_of(self.read_noise, rows) ** 2
        if self.gain is not None:
            variance += np.float32(scale) * np.maximum(signal, 0) / _rows_of(self.gain, rows)
        if sensitivity and self.sensitivity:
            variance += (np.float32(self.sensitivity) * signal) ** 2
        return variance


def _rows_of(value, rows):
    return value[rows] if isinstance(value, np.ndarray) and value.ndim == 2 else np.float32(value)


@dataclass(frozen=True)
class Stack:
    """
    A stack of frames.

    Attributes
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``; where no value was left NaN, or 0 for a sum.
    error : `~numpy.ndarray`
        Standard deviation of `data`; NaN where it is not known.
    count : `~numpy.ndarray`
        uint16, values used.
    low, high : int
        Values rejected below and above.
    low_map, high_map : `~numpy.ndarray` or None
        uint16, the same of each pixel, where asked for.
    keep : `~numpy.ndarray` or None
        bool, shape ``(n, ny, nx)``: which values were used, where asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.stacking import stack
    >>> class Frame:
    ...     shape = (4, 4)
    ...     def __init__(self, level):
    ...         self.level = level
    ...     def rows(self, part):
    ...         return np.full((4, 4), self.level, np.float32)[part], np.zeros((4, 4), np.uint16)[part]
    >>> found = stack([Frame(10), Frame(12), Frame(11), Frame(900)], reject="minmax")
    >>> int(found.count[0, 0]), found.low, found.high
    (2, 16, 16)
    """

    data: np.ndarray
    error: np.ndarray
    count: np.ndarray
    low: int
    high: int
    low_map: np.ndarray | None = None
    high_map: np.ndarray | None = None
    keep: np.ndarray | None = None


def stack(
    sources,
    *,
    method="average",
    reject="noise",
    sigma=4.0,
    center="median",
    maxiters=None,
    nlow=1,
    nhigh=1,
    minimum=1,
    thresholds=(None, None),
    noise=None,
    scales=None,
    offsets=None,
    zeros=None,
    scale_late=False,
    weights=None,
    exclude=0xFFFF,
    uncertainty=None,
    dtype=np.float32,
    maps=False,
    keep=False,
    mem_limit=None,
    workers=None,
):
    """
    Stack frames.

    Parameters
    ----------
    sources : list
        Objects with `shape` and ``rows(slice) -> data, flags``, or with ``fill(slice, out, exclude)`` that writes NaN
        where a value is not to be used. They may have a `dtype` (float32 if not) and, where `has_variance` is
        true, ``variance(slice)``.
    method : {'average', 'median', 'sum'}, optional
        How the values that are kept are combined.
    reject : {'noise', 'sigma', 'mad', 'minmax', 'none'}, optional
        How outliers are found.
    sigma : float or tuple of float or None, optional
        Threshold of 'noise', 'sigma' and 'mad', or one for the values below and one for those above the center; None
        does not reject on that side.
    center : {'median', 'mean'}, optional
        What deviations are counted from, for 'sigma' and 'mad'.
    maxiters : int, optional
        Most rounds; -1 goes on until nothing is rejected. By default 5 for 'sigma' and 'mad', 1 for 'noise'.
    nlow, nhigh : int, optional
        Values that 'minmax' rejects of a pixel that has more.
    minimum : int, optional
        Values that are kept of every pixel that has as many: those nearest to the center, and if none is left, to
        the lowest, since cosmic rays only add.
    thresholds : tuple of float or None, optional
        Lowest and highest value that is used at all, after scaling.
    noise : NoiseModel, optional
        Needed for 'noise'.
    scales, offsets : sequence of float, optional
        What is first subtracted from each frame, and what it is then multiplied by.
    zeros : sequence of float, optional
        What is taken off for the rejection by the noise model alone, so that frames of drifting level can be
        compared.
    scale_late : bool, optional
        Scale after the rejection, as ccdproc does, instead of before.
    weights : sequence of float or `~numpy.ndarray`, optional
        Of each frame, or of each value (shape ``(n, ny, nx)``), for average and sum. Weights of values that are not
        used do not count.
    exclude : int, optional
        Pixels with one of these flags are left out.
    uncertainty : {'propagated', 'empirical', 'std', 'mad_std', 'none'}, optional
        Where the error comes from: the noise model or the variances of the sources; the scatter of what is left,
        unbiased and with the loss by clipping corrected; or, as in ccdproc, the standard deviation or the scaled
        median absolute deviation of what is left over the root of its number. By default propagated where it can
        be, else empirical.
    dtype : `~numpy.dtype`, optional
        Of data and error.
    maps, keep : bool, optional
        Whether to return what was rejected of each pixel, and which values were used.
    mem_limit : float, optional
        Bytes that the work may take, the result included; by default a quarter of the machine's memory.
    workers : int, optional
        Threads.

    Returns
    -------
    Stack

    Raises
    ------
    ValueError
        For a method, rejection, center or uncertainty that is not known, or a number that is out of bounds.
    InputError
        If there are no frames, or 'noise' or 'propagated' is asked for without what it needs.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.stacking import stack
    >>> class Frame:
    ...     shape = (4, 4)
    ...     def __init__(self, level):
    ...         self.level = level
    ...     def rows(self, part):
    ...         return np.full((4, 4), self.level, np.float32)[part], np.zeros((4, 4), np.uint16)[part]
    >>> stack([Frame(10), Frame(12), Frame(11), Frame(900)], reject="minmax").data[0, 0]
    np.float32(11.5)
    """
    _check(sources, method, reject, center, uncertainty, noise)
    for name, value, least in (("minimum", minimum, 0), ("nlow", nlow, 0), ("nhigh", nhigh, 0)):
        _whole(name, value, least)
    low, high = _both_sides(sigma)
    scales, offsets, zeros = (
        _per_frame(name, values, sources, default)
        for name, values, default in (("scales", scales, 1.0), ("offsets", offsets, 0.0), ("zeros", zeros, 0.0))
    )
    # The scatter of the values holds their drift; the noise model does not.
    zeros = zeros if reject == "noise" else np.zeros(len(sources))
    from ccdnight import _strips

    floor, ceiling = thresholds
    uncertainty = uncertainty or _default_uncertainty(sources, noise)
    rule = _strips.rule_of(reject if len(sources) > 1 else "none", low, high, center, maxiters, nlow, nhigh, minimum)
    work = _strips.Work(
        sources=sources,
        rule=rule,
        method=method,
        uncertainty=uncertainty,
        floor=-np.inf if floor is None else float(floor),
        ceiling=np.inf if ceiling is None else float(ceiling),
        noise=noise,
        scales=scales,
        offsets=offsets,
        zeros=zeros,
        weights=_weights(weights, sources),
        exclude=exclude,
        scale_late=scale_late,
        factors=_factors(rule if uncertainty == "empirical" else None, method, sources, thresholds),
    )
    result = _strips.run(work, dtype=np.dtype(dtype), maps=maps, keep=keep, mem_limit=mem_limit, workers=workers)
    return Stack(*result)


def _factors(rule, method, sources, thresholds):
    """Of the variance of a median, and of that from the scatter of what a rule leaves, by the number of values."""
    n = len(sources)
    # Integers without a mask are usable all of them.
    all_usable = tuple(thresholds) == (None, None) and all(
        getattr(one, "packed_zero", None) is not None for one in sources
    )
    clipped = np.ones(n + 1) if rule is None else clipping_factors(rule, method, n, n if all_usable else 2)
    return np.array([[median_factor(count) ** 2 for count in range(n + 1)], clipped])


def _check(sources, method, reject, center, uncertainty, noise):
    if not sources:
        msg = "no frames given; at least one is needed"
        raise InputError(msg)
    chosen = [("method", method, METHODS), ("reject", reject, REJECTIONS), ("center", center, CENTERS)]
    chosen += [("uncertainty", uncertainty, UNCERTAINTIES)] if uncertainty is not None else []
    for name, value, known in chosen:
        if value not in known:
            msg = f"{name} = {value!r} is not known; known are {', '.join(known)}"
            raise ValueError(msg)
    if reject == "noise" and noise is None:
        msg = "reject = 'noise' needs the read noise (and the gain); give a profile, or reject = 'sigma'"
        raise InputError(msg)
    if uncertainty == "propagated" and noise is None and not _have_variances(sources):
        msg = "uncertainty = 'propagated' needs an uncertainty of every frame; give 'empirical'"
        raise InputError(msg)


def _whole(name, value, least):
    if not isinstance(value, int | np.integer) or value < least:
        msg = f"{name} = {value!r}; it must be a whole number of {least} or more"
        raise ValueError(msg)


def _both_sides(sigma):
    """Thresholds below and above; infinite where nothing is rejected."""
    pair = sigma if isinstance(sigma, tuple | list) else (sigma, sigma)
    if len(pair) != 2 or any(value is not None and not value > 0 for value in pair):
        msg = f"sigma = {sigma!r}; it must be larger than 0, or a pair of such numbers or None"
        raise ValueError(msg)
    return tuple(np.inf if value is None else float(value) for value in pair)


def _per_frame(name, values, sources, default):
    if values is None:
        return np.full(len(sources), default)
    if len(values) != len(sources):
        msg = f"{name}: {len(values)} values for {len(sources)} frames; one for each is needed"
        raise InputError(msg)
    return np.asarray(values, dtype=float)


def _weights(weights, sources):
    if weights is None:
        return None
    weights = np.asarray(weights, dtype=float)
    n, shape = len(sources), sources[0].shape
    if weights.shape not in ((n,), (n, *shape)):
        msg = f"weights have the shape {weights.shape}; allowed are {(n,)} and {(n, *shape)}"
        raise InputError(msg)
    return weights.reshape(n, 1) if weights.ndim == 1 else weights.reshape(n, shape[0], -1)


def _have_variances(sources):
    return all(getattr(source, "has_variance", False) for source in sources)


def _default_uncertainty(sources, noise):
    return "propagated" if noise is not None or _have_variances(sources) else "empirical"
