"""
Stacking: frames in, one frame with its error out; arrays only.

Strips of rows are read from every frame at once, so that memory depends on the strip and not on the number of
frames. Outliers are found

- by the noise model of the detector (IRAF's ccdclip): further from the median than `sigma` times
  ``sqrt(f**2 RN**2 + f max(S, 0) / G + (s S)**2)`` with S the median, RN the read noise in adu, G the gain, f the
  scale of the frame and s the sensitivity noise;
- by the scatter of the values themselves ('sigma', 'mad'), as `astropy.stats.sigma_clip` does;
- as the lowest and the highest value ('minmax').

With few values the scatter cannot tell an outlier: none of n lies further than n/sqrt(n-1) standard deviations
from the median. The noise model can, from three values on.
"""

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std, sigma_clip

from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import InputError
from ccdnight.execution import map_strips

__all__ = ["MEDIAN_FACTORS", "NoiseModel", "Stack", "stack"]

#: Standard deviation of the median of n normal values in units of that of their mean (exact, n = 1 to 30).
MEDIAN_FACTORS = (
    *(1.0, 1.0, 1.1602, 1.0922, 1.1976, 1.1351, 1.2137, 1.1599, 1.2227, 1.1761),
    *(1.2283, 1.1875, 1.2322, 1.1960, 1.2351, 1.2025, 1.2373, 1.2077, 1.2390, 1.2120),
    *(1.2403, 1.2155, 1.2415, 1.2185, 1.2424, 1.2210, 1.2433, 1.2233, 1.2440, 1.2252),
)
#: Bytes of one strip of all frames together.
_STRIP_BYTES = 48e6

METHODS = ("average", "median")
REJECTIONS = ("noise", "sigma", "mad", "minmax", "none")


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
        Relative noise, for flats whose pattern is not quite the same.
    """

    read_noise: object
    gain: object = None
    sensitivity: float = 0.0

    def variance(self, signal, scale, rows, *, sensitivity=True):
        """
        Variance of one frame's scaled values.

        Parameters
        ----------
        signal : `~numpy.ndarray`
            Scaled signal without pedestal, shape ``(k, nx)``.
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
        float32, shape ``(ny, nx)``; NaN where no value was left.
    error : `~numpy.ndarray`
        Standard deviation of `data`.
    count : `~numpy.ndarray`
        uint16, values used.
    low, high : int
        Values rejected below and above.
    """

    data: np.ndarray
    error: np.ndarray
    count: np.ndarray
    low: int
    high: int


def stack(
    sources,
    *,
    method="average",
    reject="noise",
    sigma=4.0,
    noise=None,
    scales=None,
    zeros=None,
    exclude=0xFFFF,
    workers=None,
):
    """
    Stack frames.

    Parameters
    ----------
    sources : list
        Objects with `shape` and ``rows(slice) -> data, flags``.
    method : {'average', 'median'}, optional
        How the values that are kept are combined.
    reject : {'noise', 'sigma', 'mad', 'minmax', 'none'}, optional
        How outliers are found.
    sigma : float, optional
        Threshold of 'noise', 'sigma' and 'mad'.
    noise : NoiseModel, optional
        Needed for 'noise'. Where it is given the error is propagated from it, else it comes from the scatter
        of the values that are kept.
    scales : sequence of float, optional
        What each frame is multiplied by.
    zeros : sequence of float, optional
        Offsets that are taken off for the rejection by the noise model alone, so that frames of drifting level
        can be compared.
    exclude : int, optional
        Pixels with one of these flags are left out.
    workers : int, optional
        Threads.

    Returns
    -------
    Stack

    Raises
    ------
    ValueError
        For a method or rejection that is not known.
    InputError
        If there are no frames, or 'noise' is asked for without a noise model.
    """
    _check(sources, method, reject, sigma, noise)
    for name, values in (("scales", scales), ("zeros", zeros)):
        if values is not None and len(values) != len(sources):
            msg = f"{name}: {len(values)} values for {len(sources)} frames; one for each is needed"
            raise InputError(msg)
    scales = np.ones(len(sources)) if scales is None else np.asarray(scales, dtype=float)
    zeros = np.zeros(len(sources)) if zeros is None else np.asarray(zeros, dtype=float)
    ny, nx = sources[0].shape
    data, error = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    count, rejected = np.empty((ny, nx), np.uint16), []

    def do(rows):
        cube, good = _load(sources, rows, scales, exclude)
        keep = _reject(cube, good, reject, sigma, noise, scales, zeros, rows)
        data[rows], count[rows] = _combine(cube, keep, method)
        error[rows] = _error(cube, keep, data[rows], method, noise, scales, rows)
        out, center = good & ~keep, data[rows]
        high = int(np.count_nonzero(out & (cube > center)))
        rejected.append((int(np.count_nonzero(out)) - high, high))

    height = max(1, int(_STRIP_BYTES / (len(sources) * nx * 8)))
    map_strips(do, [slice(a, min(a + height, ny)) for a in range(0, ny, height)], workers=workers)
    low, high = (sum(item) for item in zip(*rejected, strict=True))
    return Stack(data, error, count, low, high)


def _check(sources, method, reject, sigma, noise):
    if not sources:
        msg = "no frames given; at least one is needed"
        raise InputError(msg)
    for name, value, known in (("method", method, METHODS), ("reject", reject, REJECTIONS)):
        if value not in known:
            msg = f"{name} = {value!r} is not known; known are {', '.join(known)}"
            raise ValueError(msg)
    if not sigma > 0:
        msg = f"sigma = {sigma!r}; it must be larger than 0"
        raise ValueError(msg)
    if reject == "noise" and noise is None:
        msg = "reject = 'noise' needs the read noise (and the gain); give a profile, or reject = 'sigma'"
        raise InputError(msg)


def _load(sources, rows, scales, exclude):
    nx = sources[0].shape[1]
    cube = np.empty((len(sources), rows.stop - rows.start, nx), np.float32)
    good = np.empty(cube.shape, bool)
    for i, source in enumerate(sources):
        values, flags = source.rows(rows)
        np.multiply(values, scales[i], out=cube[i], casting="unsafe")
        np.logical_and((flags & exclude) == 0, np.isfinite(cube[i]), out=good[i])
    return cube, good


def _reject(cube, good, reject, sigma, noise, scales, zeros, rows):
    if reject == "none" or len(cube) == 1:
        return good
    # The scatter of the values holds their drift; the noise model does not, so there the drift is taken off.
    drifting = reject == "noise" and zeros.any()
    shifted = cube - zeros[:, None, None].astype(np.float32) if drifting else cube
    if reject == "minmax":
        keep = good & _within_extremes(shifted, good)
    elif reject == "noise":
        keep = good & _within_noise(shifted, good, sigma, noise, scales, rows)
    else:
        deviation = "std" if reject == "sigma" else _mad
        with quiet_libraries():  # of slices that are all NaN: pixels without any value
            clipped = sigma_clip(
                np.where(good, shifted, np.nan), sigma=sigma, cenfunc="median", stdfunc=deviation, axis=0, maxiters=5
            )
        keep = good & ~np.ma.getmaskarray(clipped)
    return _keep_one(shifted, good, keep)


def _mad(values, axis=None):
    return mad_std(values, axis=axis, ignore_nan=True)


def median_of(cube, good):
    """
    Median along the first axis of the good values.

    Parameters
    ----------
    cube : `~numpy.ndarray`
        Shape ``(n, k, nx)``.
    good : `~numpy.ndarray`
        Which to use.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(k, nx)``; NaN where there is none.
    """
    if good.all():
        return np.median(cube, axis=0)
    ordered = np.sort(np.where(good, cube, np.inf), axis=0)
    count = good.sum(axis=0)
    low, high = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, len(cube) - 1)
    low, high = (np.take_along_axis(ordered, part[None], 0)[0] for part in (low, high))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (low + high) / 2, np.nan).astype(cube.dtype)


def _within_extremes(cube, good):
    filled_low, filled_high = np.where(good, cube, np.inf), np.where(good, cube, -np.inf)
    index = np.arange(len(cube))[:, None, None]
    inside = (index != filled_low.argmin(axis=0)) & (index != filled_high.argmax(axis=0))
    return inside | (good.sum(axis=0) < 3)


def _within_noise(cube, good, sigma, noise, scales, rows):
    signal = median_of(cube, good)
    keep = np.empty(cube.shape, bool)
    with np.errstate(invalid="ignore"):
        for i, scale in enumerate(scales):
            limit = np.float32(sigma) * np.sqrt(noise.variance(signal, scale, rows))
            keep[i] = np.abs(cube[i] - signal) <= limit
    return keep


def _keep_one(cube, good, keep):
    """Where everything was rejected (two values far apart), the lowest stays: cosmic rays only add."""
    none = good.any(axis=0) & ~keep.any(axis=0)
    if not none.any():
        return keep
    lowest = np.where(good[:, none], cube[:, none], np.inf).argmin(axis=0)
    chosen = np.arange(len(cube))[:, None] == lowest
    keep[:, none] = chosen
    return keep


def _combine(cube, keep, method):
    count = keep.sum(axis=0, dtype=np.uint16)
    if method == "median":
        return median_of(cube, keep), count
    total = np.sum(cube, axis=0, dtype=np.float64, where=keep)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32), count


def _error(cube, keep, center, method, noise, scales, rows):
    count = np.maximum(keep.sum(axis=0), 1)
    signal = np.nan_to_num(center)
    if noise is None:
        # About their mean also for a median, about which the squares are larger (by 17 % for three values).
        mean = signal if method == "average" else np.nan_to_num(_combine(cube, keep, "average")[0])
        square = np.sum((cube - mean) ** 2, axis=0, dtype=np.float64, where=keep)
        # One value tells nothing of its error: it is not known, and NaN says so.
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.sqrt(np.where(count > 1, square / (count - 1), np.nan) / count)
    else:
        variance = np.zeros(center.shape, np.float32)
        for i, scale in enumerate(scales):
            variance += keep[i] * noise.variance(signal, scale, rows, sensitivity=False)
        error = np.sqrt(variance) / count
    if method == "median":
        table = np.array((1.0, *MEDIAN_FACTORS), np.float32)
        error = error * table[np.minimum(count, len(table) - 1)]
    return error
