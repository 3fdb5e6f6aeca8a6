"""
The stacking kernel: a strip of all frames in, one strip of the result out.

The strip comes as ``cube[frame, pixel]``, a value that is not to be used as NaN, or as the 16-bit integers of
the files, which are decoded where they are used: in between they would go to memory and back. It is worked on by
blocks of pixels that stay in the innermost cache, and every step does the same thing to all pixels of a block, so that
the compiler can make SIMD of it::

    cube  frame 0  |.......|.......|.......|        one block:   load      not finite or beyond a threshold: +inf
          frame 1  |.......|.......|.......|                     sort      a network of comparators (order.py)
          ...      |.......|.......|.......|                     reject    by scatter, noise or extremes (clip.py)
          frame n  |.......|.......|.......|                     combine   mean, weighted mean, median, sum
                       |                                         error     from the scatter, or propagated
                       v
    data, error, count, low, high

Values are compared in the precision of the cube; sums are float64. A median costs one more sort, since what was
rejected is at the end then.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    ANCHOR,
    BY_SCATTER,
    COUNT,
    HIGH,
    INVERSE,
    LEFT,
    LOW,
    LOWER,
    SPREAD,
    SUM1,
    TOTAL,
    UPPER,
    WEIGHT,
)
from ccdnight._kernels.clip import reject, reject_numbers
from ccdnight._kernels.decode import decode_int16, swap_int16
from ccdnight._kernels.errors import (
    AVERAGE,
    FROM_SCATTER,
    FROM_STD,
    MEDIAN,
    NO_ERROR,
    SUM,
    variance_of_result,
    weights_of,
)
from ccdnight._kernels.order import FIRST, SECOND, middle_values

__all__ = ["Output", "Packed", "Recipe", "stack_strip"]

#: How the values that are left are combined and where the error comes from, by the constants of errors.py; `floor`
#: and `ceiling` are the lowest and highest value that is used; `late` scales after the rejection, as ccdproc does.
Recipe = namedtuple("Recipe", ["method", "error", "weighted", "floor", "ceiling", "late"])

#: So many differences of whole numbers of 16 bits are added in float32 without rounding.
EXACT = 256

#: Unsigned 16-bit integers as the bytes lie in the files, shape ``(n, m)``, and BZERO of each frame, float32.
Packed = namedtuple("Packed", ["values", "zeros"])

#: What is written, one entry for each pixel of the strip (`low` and `high` may be empty); `keep` has one for each
#: value, or is empty.
Output = namedtuple("Output", ["data", "error", "count", "low", "high", "keep"])


@kernel
def stack_strip(cube, packed, variances, weights, scales, zeros, noise, rule, scatter, recipe, table, factors, b, out):
    """
    Stack one strip.

    What is None is not looked at, and what would do so is not compiled: that is half of the kernel.

    Parameters
    ----------
    cube : `~numpy.ndarray`
        float32 or float64, shape ``(n, m)``; NaN where a value is not to be used. If `packed` is given, room for
        a block, shape ``(n, width)``, where a rule may give values back.
    packed : Packed or None
        The values as they lie in the files.
    variances, weights : `~numpy.ndarray`
        float32 and float64, shape ``(n, m)``; weights of shape ``(n, 1)`` are those of the frames.
    scales, zeros : `~numpy.ndarray`
        float64, shape ``(n,)``; see `ccdnight._kernels.clip.reject`.
    noise : Noise
        Of one frame.
    rule : Rule
        How outliers are found.
    scatter : bool or None
        True where it is BY_SCATTER, else None.
    recipe : Recipe
        How the rest is combined.
    table : `~numpy.ndarray`
        Comparators; empty to bisect.
    factors : `~numpy.ndarray`
        float64, shape ``(2, n + 1)``: the variance of a median of so many values over that of their mean, and what
        the variance from the scatter is multiplied by for so many usable values, because they were clipped.
    b : Block
        Room.
    out : Output
        Written.

    Returns
    -------
    low, high : int
        Values rejected in the strip.
    """
    whole = b.whole
    m, width = out.data.size, b.x.shape[1]
    # False and True, but no constants: what is called with a constant is compiled for it alone.
    exact = numbers = summed = m < 0
    mark = m >= 0
    if packed is not None:
        exact = b.x.shape[0] <= EXACT
        mark = not (exact and _sums_suffice(rule, recipe, out))
        numbers = not mark and table.shape[0] > 0 and _plain_clip(rule, recipe) and _one_zero(packed.zeros)
    total_low = total_high = 0
    for start in range(0, m, width):
        w = min(width, m - start)
        base = start
        if packed is not None:
            base = 0
            _unpack(packed, start, w, numbers, b)
            _all_usable(w, b, cube, rule.least > 0)
        else:
            _load(cube, start, w, b)
        if recipe.floor > -np.inf or recipe.ceiling < np.inf:
            _threshold(w, b, recipe)
        if packed is not None and scatter is not None and numbers:
            summed = numbers
            reject_numbers(b, w, b.x.dtype.type(packed.zeros[0]), rule, table)
        else:
            summed = reject(b, w, rule, scatter, recipe, table, noise, cube, base, start, scales, zeros, mark)
        if recipe.late:
            _scale(b.x, w, scales)
            summed = m < 0
        _combine(b, w, start, weights, recipe, table, summed and exact)
        if recipe.error != NO_ERROR:
            variance_of_result(b, w, start, variances, weights, noise, scales, recipe, table, factors, summed)
        _write(b, w, start, recipe, out)
        for p in range(w):
            total_low += whole[LOW + p]
            total_high += whole[HIGH + p]
    return total_low, total_high


@kernel
def _sums_suffice(rule, recipe, out):
    """Whether nobody looks at the values again once they are summed."""
    plain = recipe.method != MEDIAN and not recipe.weighted and not recipe.late
    return plain and recipe.error in (NO_ERROR, FROM_STD, FROM_SCATTER) and rule.least == 0 and out.keep.size == 0


@kernel
def _plain_clip(rule, recipe):
    """Whether outliers are found by the standard deviation about the median and nothing else."""
    return rule.kind == BY_SCATTER and rule.median and not rule.mad and recipe.floor == -np.inf == -recipe.ceiling


@kernel
def _one_zero(zeros):
    """Whether all frames have the same BZERO, so that their numbers compare."""
    same = True
    for f in range(zeros.size):
        same = same and zeros[f] == zeros[0]
    return same


@kernel
def _unpack(packed, start, w, numbers, b):
    """The values of a block, or its numbers as they are."""
    for f in range(b.x.shape[0]):
        if numbers:
            swap_int16(packed.values[f, start : start + w], b.numbers[f])
        else:
            decode_int16(packed.values[f, start : start + w], packed.zeros[f], b.x[f])


@kernel
def _all_usable(w, b, cube, keep):
    """Every value of a block can be used; the cube gets them too if they may be given back."""
    x, whole, n = b.x, b.whole, np.int32(b.x.shape[0])
    for p in range(w):
        whole[COUNT + p], whole[LOW + p], whole[HIGH + p] = n, np.int32(0), np.int32(0)
    if keep:
        for f in range(x.shape[0]):
            for p in range(w):
                cube[f, p] = x[f, p]


@kernel
def _load(cube, start, w, b):
    whole = b.whole
    kind = cube.dtype.type
    inf, one, none = kind(np.inf), np.int32(1), np.int32(0)
    for p in range(w):
        whole[COUNT + p], whole[LOW + p], whole[HIGH + p] = none, none, none
    for f in range(cube.shape[0]):
        source, x = cube[f, start : start + w], b.x[f]
        for p in range(w):
            value = source[p]
            good = abs(value) < inf
            x[p] = value if good else inf
            whole[COUNT + p] += one if good else none


@kernel
def _threshold(w, b, recipe):
    """What is beyond a threshold does not count as rejected by the rule."""
    whole = b.whole
    kind = b.x.dtype.type
    floor, ceiling, inf, one, none = kind(recipe.floor), kind(recipe.ceiling), kind(np.inf), np.int32(1), np.int32(0)
    for f in range(b.x.shape[0]):
        x = b.x[f]
        for p in range(w):
            beyond = (x[p] < floor) | ((x[p] > ceiling) & (x[p] < inf))
            whole[COUNT + p] -= one if beyond else none
            x[p] = inf if beyond else x[p]


@kernel
def _scale(x, w, scales):
    inf = x.dtype.type(np.inf)
    for f in range(x.shape[0]):
        row, scale = x[f], scales[f]
        for p in range(w):
            row[p] = row[p] * scale if row[p] < inf else inf


@kernel
def _combine(b, w, start, weights, recipe, table, summed):
    """
    The result in the row TOTAL, the number of values used in LEFT; whole numbers may be `summed` already.

    The inverse of the number in the row INVERSE is for those who would divide by it: that takes as long as all else.
    """
    own, wide, whole = b.own, b.wide, b.whole
    for p in range(w):
        whole[LEFT + p] = whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p]
        wide[INVERSE + p] = 1.0 / np.float64(whole[LEFT + p])
    if recipe.weighted:
        _weighted_sums(b, w, start, weights)
    elif recipe.method != MEDIAN and not summed:
        _sums(b.x, w, wide)
    if recipe.method == MEDIAN:
        middle_values(b.x, w, LEFT, table, b.rows, own, whole)
        for p in range(w):
            median = 0.5 * (np.float64(own[FIRST + p]) + np.float64(own[SECOND + p]))
            wide[TOTAL + p] = median if whole[LEFT + p] > 0 else np.nan
    elif recipe.method == AVERAGE and recipe.weighted:
        for p in range(w):
            wide[TOTAL + p] /= wide[LOWER + p]
    elif summed:
        _from_sums(b, w, recipe)
    elif recipe.method == AVERAGE:
        for p in range(w):
            wide[TOTAL + p] /= np.float64(whole[LEFT + p])


@kernel
def _from_sums(b, w, recipe):
    """From the sums of deviations, which are exact for whole numbers of 16 bits."""
    own, wide, whole = b.own, b.wide, b.whole
    is_sum = recipe.method == SUM
    for p in range(w):
        anchor, off, n = np.float64(own[ANCHOR + p]), np.float64(own[SUM1 + p]), np.float64(whole[LEFT + p])
        wide[TOTAL + p] = anchor * n + off if is_sum else anchor + off * wide[INVERSE + p]


@kernel
def _sums(x, w, wide):
    inf, n = x.dtype.type(np.inf), x.shape[0]
    for p in range(w):
        wide[TOTAL + p] = 0.0
    for f in range(0, n - 1, 2):
        for p in range(w):
            a, b = np.float64(x[f, p]), np.float64(x[f + 1, p])
            a, b = a if a < inf else 0.0, b if b < inf else 0.0
            wide[TOTAL + p] += a + b
    if n % 2:
        for p in range(w):
            wide[TOTAL + p] += np.float64(x[n - 1, p]) if x[n - 1, p] < inf else 0.0


@kernel
def _weighted_sums(b, w, start, weights):
    """Weighted sum in the row TOTAL, sum of the weights in LOWER and of their squares in UPPER."""
    wide, inf = b.wide, b.x.dtype.type(np.inf)
    for p in range(w):
        wide[TOTAL + p], wide[LOWER + p], wide[UPPER + p] = 0.0, 0.0, 0.0
    for f in range(b.x.shape[0]):
        weights_of(b, f, w, start, weights)
        row = b.x[f]
        for p in range(w):
            weight = wide[WEIGHT + p]
            wide[TOTAL + p] += weight * np.float64(row[p]) if row[p] < inf else 0.0
            wide[LOWER + p] += weight
            wide[UPPER + p] += weight * weight


@kernel
def _write(b, w, start, recipe, out):
    wide, whole = b.wide, b.whole
    data, count = out.data[start : start + w], out.count[start : start + w]
    for p in range(w):
        data[p] = wide[TOTAL + p]
    if recipe.error != NO_ERROR:
        error = out.error[start : start + w]
        for p in range(w):
            error[p] = np.sqrt(wide[SPREAD + p])
    for p in range(w):
        count[p] = whole[LEFT + p]
    if out.low.size:
        low, high = out.low[start : start + w], out.high[start : start + w]
        for p in range(w):
            low[p], high[p] = whole[LOW + p], whole[HIGH + p]
    if out.keep.size:
        inf = b.x.dtype.type(np.inf)
        for f in range(b.x.shape[0]):
            row, keep = b.x[f], out.keep[f, start : start + w]
            for p in range(w):
                keep[p] = row[p] < inf
