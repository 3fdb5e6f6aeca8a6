"""Error of a combined pixel: from the scatter of its values, from their variances, or from the noise model."""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    COUNT,
    FINAL_LOWER,
    INVERSE,
    LEFT,
    LOWER,
    MAD_TO_STD,
    SPREAD,
    SUM1,
    SUM2,
    TOTAL,
    UPPER,
    WEIGHT,
    middle_deviations,
    sums_about,
)
from ccdnight._kernels.order import FIRST, SECOND, middle_values

__all__ = [
    "AVERAGE",
    "FROM_MAD",
    "FROM_NOISE",
    "FROM_SCATTER",
    "FROM_STD",
    "FROM_VARIANCES",
    "MEDIAN",
    "NO_ERROR",
    "SUM",
    "variance_of_result",
    "weights_of",
]

AVERAGE, MEDIAN, SUM = range(3)
#: FROM_STD and FROM_MAD are ccdproc's: of the values that are left, over the root of their number. FROM_SCATTER is
#: right on average: with n - 1, the factor of the median, and the loss by clipping.
NO_ERROR, FROM_STD, FROM_MAD, FROM_SCATTER, FROM_NOISE, FROM_VARIANCES = range(6)


@kernel
def weights_of(b, f, w, start, weights):
    """
    Weights of a frame's values in the row WEIGHT; 0 where they are not used.

    Parameters
    ----------
    b : Block
        The block.
    f, w, start : int
        Frame, pixels of the block, and where it begins in the strip.
    weights : `~numpy.ndarray`
        float64, shape ``(n, m)``, or ``(n, 1)`` for the frames.
    """
    wide, row, inf = b.wide, b.x[f], b.x.dtype.type(np.inf)
    if weights.shape[1] == 1:
        weight = weights[f, 0]
        for p in range(w):
            wide[WEIGHT + p] = weight if row[p] < inf else 0.0
    else:
        given = weights[f, start : start + w]
        for p in range(w):
            wide[WEIGHT + p] = given[p] if row[p] < inf else 0.0


@kernel
def variance_of_result(b, w, start, variances, weights, noise, scales, recipe, table, factors, summed):
    """
    Variance of the result in the row SPREAD.

    Parameters
    ----------
    b : Block
        With the result in the row TOTAL, the number of values in LEFT, its inverse in INVERSE, and of weights the sum
        in LOWER and that of their squares in UPPER.
    w, start : int
        Pixels of the block, and where it begins in the strip.
    variances, weights, noise, scales, recipe, table, factors
        As in `ccdnight._kernels.stack.stack_strip`.
    summed : bool
        Whether the rows SUM1 and SUM2 hold the sums already, see `ccdnight._kernels.clip.reject`.
    """
    wide, whole = b.wide, b.whole
    weighted = recipe.weighted and recipe.method != MEDIAN
    if recipe.error in (FROM_NOISE, FROM_VARIANCES):
        _propagated(b, w, start, variances, weights, noise, scales, recipe, weighted)
    elif recipe.error == FROM_MAD:
        _median_scatter(b, w, table)
    else:
        _scatter(b, w, recipe, summed)
    if recipe.error == FROM_SCATTER:
        for p in range(w):
            n = np.float64(whole[LEFT + p])
            wide[SPREAD + p] = wide[SPREAD + p] * factors[1, whole[COUNT + p]] / (n - 1.0) if n > 1.0 else np.nan
        _of_result(b, w, recipe, weighted)
    elif recipe.error in (FROM_STD, FROM_MAD):
        _as_ccdproc(b, w, recipe)
    if recipe.method == MEDIAN and recipe.error not in (FROM_STD, FROM_MAD):
        for p in range(w):
            wide[SPREAD + p] *= factors[0, whole[LEFT + p]]


@kernel
def _as_ccdproc(b, w, recipe):
    """From the sum of squares, or the squared deviation, to the variance of the result."""
    wide, whole = b.wide, b.whole
    squares, is_sum = recipe.error == FROM_STD, recipe.method == SUM
    for p in range(w):
        n, inverse = np.float64(whole[LEFT + p]), wide[INVERSE + p]
        one = wide[SPREAD + p] * inverse if squares else wide[SPREAD + p]
        wide[SPREAD + p] = one * n if is_sum else one * inverse


@kernel
def _of_result(b, w, recipe, weighted):
    """From the variance of one value to that of the result."""
    wide, whole = b.wide, b.whole
    for p in range(w):
        n = np.float64(whole[LEFT + p])
        squares = wide[UPPER + p] if weighted else n
        parts = wide[LOWER + p] if weighted else n
        wide[SPREAD + p] *= squares if recipe.method == SUM else squares / (parts * parts)


@kernel
def _scatter(b, w, recipe, summed):
    """Sum of the squared deviations from the mean of what is left, summed about a value near it."""
    own, wide = b.own, b.wide
    if not summed:
        _value_of_result(b, w, recipe)
        for p in range(w):
            own[FIRST + p] = wide[FINAL_LOWER + p]
        sums_about(b.x, own.dtype.type(0), w, own, FIRST, SUM1, SUM2)
    for p in range(w):
        shift = np.float64(own[SUM1 + p])
        squares = np.float64(own[SUM2 + p]) - shift * shift * wide[INVERSE + p]
        wide[SPREAD + p] = squares if squares > 0.0 else 0.0


@kernel
def _value_of_result(b, w, recipe):
    """What one value is on average, in the row FINAL_LOWER; 0 where there is none."""
    wide, whole = b.wide, b.whole
    if recipe.method == SUM:
        for p in range(w):
            parts = wide[LOWER + p] if recipe.weighted else np.float64(whole[LEFT + p])
            wide[FINAL_LOWER + p] = wide[TOTAL + p] / parts
    else:
        for p in range(w):
            wide[FINAL_LOWER + p] = wide[TOTAL + p]
    for p in range(w):
        value = wide[FINAL_LOWER + p]
        wide[FINAL_LOWER + p] = value if value - value == 0.0 else 0.0


@kernel
def _median_scatter(b, w, table):
    """Square of the scaled median absolute deviation from the median."""
    own, own64, wide, whole = b.own, b.own64, b.wide, b.whole
    inf = b.x.dtype.type(np.inf)
    middle_values(b.x, w, LEFT, table, b.rows, own, b.whole)
    for p in range(w):
        wide[WEIGHT + p] = 0.5 * (np.float64(own[FIRST + p]) + np.float64(own[SECOND + p]))
    for f in range(b.x.shape[0]):
        row, target = b.x[f], b.deviation[f]
        for p in range(w):
            target[p] = abs(np.float64(row[p]) - wide[WEIGHT + p]) if row[p] < inf else np.inf
    middle_deviations(b, w, LEFT, table)
    for p in range(w):
        deviation = 0.5 * (own64[FIRST + p] + own64[SECOND + p]) * MAD_TO_STD
        wide[SPREAD + p] = deviation * deviation if whole[LEFT + p] > 0 else np.nan


@kernel
def _propagated(b, w, start, variances, weights, noise, scales, recipe, weighted):
    """Of the values that are left; a median is taken as a mean."""
    wide, whole = b.wide, b.whole
    if recipe.error == FROM_NOISE:
        _value_of_result(b, w, recipe)
    if recipe.error == FROM_NOISE and not weighted:
        _add_all_modelled(b, w, start, noise, scales)
    else:
        _add_one_by_one(b, w, start, variances, weights, noise, scales, recipe, weighted)
    if recipe.method != SUM:
        for p in range(w):
            parts = wide[LOWER + p] if weighted else np.float64(whole[LEFT + p])
            wide[SPREAD + p] /= parts * parts


@kernel
def _add_one_by_one(b, w, start, variances, weights, noise, scales, recipe, weighted):
    wide = b.wide
    for p in range(w):
        wide[SPREAD + p] = 0.0
    for f in range(b.x.shape[0]):
        if weighted:
            weights_of(b, f, w, start, weights)
        else:
            _equal_weights(b, f, w)
        if recipe.error == FROM_VARIANCES:
            _add_given(b, w, variances[f, start : start + w])
        else:
            _add_modelled(b, w, start, noise, scales[f])


@kernel
def _add_all_modelled(b, w, start, noise, scales):
    """`_add_modelled` for all frames with equal weights: only the sums of their scales and of the squares matter."""
    wide, whole, inf, n = b.wide, b.whole, b.x.dtype.type(np.inf), b.x.shape[0]
    lost, whole_sum, squares = 0, 0.0, 0.0
    for p in range(w):
        lost += n - whole[LEFT + p]
    for f in range(n):
        whole_sum, squares = whole_sum + scales[f], squares + scales[f] * scales[f]
    for p in range(w):
        wide[LOWER + p], wide[UPPER + p] = 0.0 if lost else whole_sum, 0.0 if lost else squares
    if lost:
        for f in range(n):
            row, scale = b.x[f], scales[f]
            for p in range(w):
                wide[LOWER + p] += scale if row[p] < inf else 0.0
                wide[UPPER + p] += scale * scale if row[p] < inf else 0.0
    read, photon = noise.read_variance[start : start + w], noise.inverse_gain[start : start + w]
    for p in range(w):
        signal = wide[FINAL_LOWER + p] - noise.pedestal
        signal = signal if signal > 0.0 else 0.0
        wide[SPREAD + p] = wide[UPPER + p] * np.float64(read[p]) + wide[LOWER + p] * signal * np.float64(photon[p])


@kernel
def _equal_weights(b, f, w):
    wide, row, inf = b.wide, b.x[f], b.x.dtype.type(np.inf)
    for p in range(w):
        wide[WEIGHT + p] = 1.0 if row[p] < inf else 0.0


@kernel
def _add_given(b, w, variance):
    wide = b.wide
    for p in range(w):
        weight = wide[WEIGHT + p]
        wide[SPREAD + p] += weight * weight * np.float64(variance[p]) if weight != 0.0 else 0.0


@kernel
def _add_modelled(b, w, start, noise, scale):
    wide = b.wide
    read, photon = noise.read_variance[start : start + w], noise.inverse_gain[start : start + w]
    for p in range(w):
        signal = wide[FINAL_LOWER + p] - noise.pedestal
        signal = signal if signal > 0.0 else 0.0
        variance = scale * scale * np.float64(read[p]) + scale * signal * np.float64(photon[p])
        wide[SPREAD + p] += wide[WEIGHT + p] * wide[WEIGHT + p] * variance
