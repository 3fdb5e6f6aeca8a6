"""Robust statistics shared by all that measure: clipped moments, factors of clipping, the half-sample mode."""

import math

import numpy as np

__all__ = [
    "clipped_mean_rows",
    "clipped_moments",
    "half_sample_mode",
    "median_of",
    "medians_of_rows",
    "most_common",
    "quantiles",
    "sample_pixels",
    "sample_step",
    "truncation_factor",
    "values_of_rows",
]

#: About so many values tell how wide a whole region scatters: 0.5 % of its standard deviation.
_WIDTH_SAMPLE = 20_000
#: Of so many values and more a sample says between which two a quantile lies, and how far to either side of its own.
_MANY, _BEYOND = 20_000, 5.0
#: The least and the most that are sampled, and the part of all values between the two.
_LEAST_SAMPLE, _MOST_SAMPLE, _PART_SAMPLED = 4096, 1 << 15, 256
_GOLDEN = (math.sqrt(5) - 1) / 2


def truncation_factor(sigma):
    """
    What a clip at `sigma` standard deviations leaves of a Gaussian's standard deviation.

    Parameters
    ----------
    sigma : float
        Threshold, in standard deviations of the whole Gaussian.

    Returns
    -------
    float
        ``sqrt(1 - 2 s phi(s) / (2 Phi(s) - 1))``, from the variance of the truncated normal distribution.

    Examples
    --------
    >>> from ccdnight.statistics import truncation_factor
    >>> round(float(truncation_factor(3.0)), 4)
    0.9866
    """
    density = math.exp(-0.5 * sigma**2) / math.sqrt(2 * math.pi)
    inside = math.erf(sigma / math.sqrt(2))
    return math.sqrt(1 - 2 * sigma * density / inside)


def clipped_moments(values, *, sigma=5.0, maxiters=20):
    """
    Mean and standard deviation without outliers, with the loss by clipping put right.

    The first clip is about the median with the scatter of the central two thirds, so that a few huge values
    cannot hide themselves; the clips that follow use mean and corrected standard deviation.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Any shape; not finite values are left out.
    sigma : float, optional
        Threshold.
    maxiters : int, optional
        Most rounds.

    Returns
    -------
    mean, std : float
        NaN where nothing is left.
    count : int
        Values kept.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import clipped_moments
    >>> values = np.random.default_rng(1).normal(100, 5, 10000)
    >>> values[:10] = 60000
    >>> mean, std, count = clipped_moments(values)
    >>> round(float(mean)), round(float(std)), int(count)
    (100, 5, 9990)
    """
    values = _finite(values)
    if values.size == 0:
        return math.nan, math.nan, 0
    low, center, high = quantiles(values, [0.15865, 0.5, 0.84135])
    width = max((high - low) / 2, float(np.std(values, dtype=np.float64)) * 1e-3)
    # Integers (and their differences from a median) can have most of their values on one number: the width is
    # then not below half a step, and their neighbors are no outliers.
    if width < 0.5 and np.array_equal(2 * values, np.rint(2 * values)):
        width = 0.5
    loss = truncation_factor(sigma)
    mean, std, count = _moments_within(values, center, sigma * max(width, 1e-30) if width > 0 else math.inf)
    for _ in range(maxiters):
        inside = _moments_within(values, mean, sigma * std / loss if std > 0 else 0.0)
        if inside[2] in (0, count):
            break
        mean, std, count = inside
    # One degree of freedom goes into the mean; it matters for the few frames of a stack only.
    correction = math.sqrt(count / (count - 1)) if count > 1 else 1.0
    return mean, std / loss * correction, count


def _finite(values):
    """The finite ones of some values as a flat array of float32 or float64."""
    values = np.asarray(values)
    wide = values.dtype.kind != "f" or values.dtype.itemsize != 4
    values = np.ascontiguousarray(values, dtype=np.float64 if wide else np.float32).reshape(-1)
    good = np.isfinite(values)
    return values if good.all() else values[good]


def _moments_within(values, center, width):
    """Mean, standard deviation and number of the values within a width of a center."""
    from ccdnight._kernels.moments import sums_within

    count, first, second = sums_within(values, center, width)
    if count == 0:
        return center, 0.0, 0
    mean = first / count
    variance = second / count - mean * mean
    return center + mean, math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.inf, count


def quantiles(values, fractions):
    """
    Quantiles of many values.

    A sample tells between which two values a quantile lies for all but certain; only those between them are sorted.
    Where the sample was wrong, all are.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32 or float64, finite, at least one.
    fractions : sequence of float
        From 0 to 1.

    Returns
    -------
    list of float
        Interpolated as `numpy.quantile` does by default.

    References
    ----------
    Floyd and Rivest 1975, CACM 18, 165.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import quantiles
    >>> [round(float(value), 3) for value in quantiles(np.linspace(0, 8, 100_001), [0.25, 0.5])]
    [2.0, 4.0]
    """
    values = values.reshape(-1)
    if values.size < _MANY:
        return [float(value) for value in np.quantile(values, fractions)]
    sample = _sample_of(values)
    found = []
    for fraction in fractions:
        place = fraction * (values.size - 1)
        rank = math.floor(place)
        first, second = _two_of_rank(values, sample, rank, fraction)
        found.append(first + (second - first) * (place - rank))
    return found


def _sample_of(values):
    """
    Some of many values in order, from places that keep no step.

    Pixels at equal distances would lie on few columns, or on a diagonal: what they say of a flat is wrong.
    """
    count = np.arange(min(max(values.size // _PART_SAMPLED, _LEAST_SAMPLE), _MOST_SAMPLE), dtype=np.float64)
    places = count * count * _GOLDEN % 1.0 * values.size
    return np.sort(values[places.astype(np.intp)])


def _two_of_rank(values, sample, rank, fraction):
    """The values of a rank and of the next."""
    from ccdnight._kernels.moments import pick_between

    reach = _BEYOND * math.sqrt(sample.size * fraction * (1 - fraction)) + 2
    low, high = (int(np.clip(fraction * sample.size + side * reach, 0, sample.size - 1)) for side in (-1, 1))
    room = np.empty(values.size // 4, values.dtype)
    below, taken = pick_between(values, sample[low], sample[high], room)
    last = min(rank + 1, values.size - 1)
    if below <= rank and last < below + taken and taken < room.size - 1:
        some = room[:taken]
    else:
        some, below = values.copy(), 0
    some.partition([rank - below, last - below])
    return float(some[rank - below]), float(some[last - below])


def median_of(values):
    """
    Median of many values, in a fraction of the time that `numpy.median` takes.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Any shape; not finite values are left out.

    Returns
    -------
    float
        Not rounded to float32 where there are two in the middle; NaN where nothing is left.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import median_of
    >>> median_of(np.arange(6.0))
    2.5
    """
    values = _finite(values)
    return quantiles(values, [0.5])[0] if values.size else math.nan


def clipped_mean_rows(data, *, sigma=3.0, maxiters=5):
    """
    Clipped mean of each row and the standard error of it.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    sigma : float, optional
        Threshold, in robust standard deviations of the whole region: a row of a few pixels cannot tell its
        own outliers.
    maxiters : int, optional
        Most rounds.

    Returns
    -------
    mean, error : `~numpy.ndarray`
        Shape ``(ny,)``, float64.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import clipped_mean_rows
    >>> overscan = np.tile([9.0, 10.0, 11.0, 10.0, 10.0], (4, 1))
    >>> overscan[2, 1] = 900
    >>> mean, error = clipped_mean_rows(overscan)
    >>> mean.tolist()
    [10.0, 10.0, 10.0, 10.0]
    """
    from ccdnight._kernels.rowmeans import clipped_means

    data = np.asarray(data, dtype=np.float64)
    masked = np.where(np.isfinite(data), data, np.nan)
    center = _nan_median_rows(masked)
    with np.errstate(invalid="ignore"):
        some = slice(None, None, max(1, masked.size // _WIDTH_SAMPLE))
        _, std, _ = clipped_moments(masked[some] - center[some, None], sigma=5.0)
    width = std if np.isfinite(std) and std > 0 else 1e-6
    count = np.zeros(len(center), np.int64)
    clipped_means(masked, sigma * width, maxiters, center, count)
    return center, width / np.sqrt(np.maximum(count, 1))


def _nan_median_rows(masked):
    rows = medians_of_rows(masked)
    lost = np.isnan(rows)
    if lost.any() and not lost.all():
        rows[lost] = np.median(rows[~lost])
    return rows


def medians_of_rows(data):
    """
    Median of every row of an image.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32 or float64, shape ``(ny, nx)``; NaN is left out.

    Returns
    -------
    `~numpy.ndarray`
        Of the same kind, shape ``(ny,)``; NaN where there is nothing else.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import medians_of_rows
    >>> medians_of_rows(np.array([[1.0, 9.0, 2.0], [3.0, np.nan, 4.0]])).tolist()
    [2.0, 3.5]
    """
    from ccdnight._kernels.rowmeans import row_medians

    bits, *room = _bits(data)
    middle = np.empty((2, len(bits)), data.dtype.newbyteorder("="))
    row_medians(bits, *room, *middle.view(bits.dtype))
    with np.errstate(invalid="ignore"):
        return np.where(middle[0] == middle[1], middle[0], (middle[0] + middle[1]) / 2)


def _bits(data):
    """The bits of floats as integers, and what the kernels of rowmeans.py need to know of them and to work in."""
    from ccdnight._kernels.rowmeans import Cell, Marks

    data = np.ascontiguousarray(data, data.dtype.newbyteorder("="))
    whole, floats = np.dtype(f"i{data.itemsize}").type, np.empty(2, data.dtype)
    marks = data.dtype.type(np.inf).view(whole), np.iinfo(whole).max, 8 * data.itemsize - 1
    bits = data.view(whole)
    return bits, Marks(*map(whole, marks)), Cell(floats, floats.view(whole)), np.empty(data.shape[1], whole)


def values_of_rows(data, ranks):
    """
    Values of given ranks of every row of an image.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32 or float64, shape ``(ny, nx)``, finite.
    ranks : sequence of int
        From 0.

    Returns
    -------
    `~numpy.ndarray`
        Of the same kind, shape ``(ny, len(ranks))``.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import values_of_rows
    >>> values_of_rows(np.array([[1.0, 9.0, 2.0], [3.0, -5.0, 4.0]]), [0, 2]).tolist()
    [[1.0, 9.0], [-5.0, 4.0]]
    """
    from ccdnight._kernels.rowmeans import row_values

    bits, *room = _bits(data)
    out = np.empty((len(bits), len(ranks)), data.dtype.newbyteorder("="))
    row_values(bits, np.array(ranks), *room, out.view(bits.dtype))
    return out


def half_sample_mode(values):
    """
    Mode by the half-sample method.

    The interval is narrowed again and again to the half of its values that lie closest together.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Any shape; not finite values are left out.

    Returns
    -------
    float
        NaN where nothing is left.

    References
    ----------
    Robertson and Cryer 1974, JASA 69, 1012; Bickel and Fruehwirth 2006, CSDA 50, 3500.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import half_sample_mode
    >>> float(half_sample_mode(np.array([1.0, 5.0, 5.1, 5.1, 5.2, 9.0, 30.0])))
    5.1
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    values = np.sort(values[np.isfinite(values)])
    while values.size > 3:
        half = (values.size + 1) // 2
        widths = values[half - 1 :] - values[: values.size - half + 1]
        # Integer data has many halves of equal width: the middle one, not the first, is unbiased.
        narrowest = np.flatnonzero(widths == widths.min())
        start = narrowest[narrowest.size // 2]
        values = values[start : start + half]
        if values[0] == values[-1]:
            return float(values[0])
    if values.size == 3:
        left, right = values[1] - values[0], values[2] - values[1]
        return float(values[1] if left == right else values[:2].mean() if left < right else values[1:].mean())
    return float(values.mean()) if values.size else math.nan


def most_common(values):
    """
    The value that occurs most often, the smallest of several.

    Parameters
    ----------
    values : `~numpy.ndarray`
        Any shape; not finite values are left out. This is `scipy.stats.mode` of all values.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import most_common
    >>> float(most_common(np.array([3, 7, 7, 3, 1])))
    3.0
    """
    values = np.asarray(values).ravel()
    unique, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return float(unique[counts.argmax()]) if unique.size else math.nan


def sample_pixels(data, limit=250_000):
    """
    A regular sample of an image that costs little and misses no large structure.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    limit : int, optional
        About how many values are kept.

    Returns
    -------
    `~numpy.ndarray`
        A view, shape ``(my, mx)``. The steps along the axes have no common factor with 2, so that a
        pattern of even period is sampled in all its phases.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.statistics import sample_pixels
    >>> sample_pixels(np.zeros((900, 900)), limit=10000).shape
    (100, 100)
    """
    step = sample_step(data.shape, limit)
    return data[::step, ::step]


def sample_step(shape, limit=250_000):
    """
    Step of the sample that `sample_pixels` takes.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    limit : int, optional
        About how many values are kept.

    Returns
    -------
    int

    Examples
    --------
    >>> from ccdnight.statistics import sample_step
    >>> sample_step((32, 32)), sample_step((900, 900), limit=10000)
    (1, 9)
    """
    step = max(1, math.isqrt(max(1, math.prod(shape) // limit)))
    return step + (step > 1 and step % 2 == 0)
