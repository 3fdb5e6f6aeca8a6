"""
Rejection of outliers in blocks of stacks, ``x[frame, pixel]``; a value that is not to be used is +inf.

Every rule marks what it rejects by +inf and counts it. By scatter it goes as in a sieve::

    all pixels of the block          center and scatter in the block's own precision, and a doubt that covers
        |                            what rounding can do: nearly all stacks have certainly no outlier
        v
    the suspects, side by side       center and scatter in float64, summed in the order of the frames: the very
        |        ^                   numbers that astropy.stats.sigma_clip compares
        v        |
    those that lost a value ---      again without it, until nothing is lost or the rounds are over

Equal values, as in quiet frames of whole numbers, can lie on a bound exactly; then the last bit of the sums decides,
and these are done anew in the order in which astropy sums them.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.order import (
    FIRST,
    HIGHEST,
    LOWEST,
    MAXIMUM,
    MINIMUM,
    SECOND,
    WIDTH,
    middle_values,
    values_of_rank,
)

__all__ = [
    "BY_EXTREMES",
    "BY_NOISE",
    "BY_SCATTER",
    "NO_RULE",
    "Block",
    "Noise",
    "Rule",
    "block_scratch",
    "middle_deviations",
    "reject",
]

NO_RULE, BY_SCATTER, BY_NOISE, BY_EXTREMES = range(4)
#: What the median absolute deviation of a Gaussian is multiplied by, as astropy has it.
MAD_TO_STD = 1.482602218505602
#: Pixels that a compiler may do at once.
VECTOR = 32

#: How outliers are found. `kind` is one of the constants above; `low` and `high` are thresholds in deviations;
#: `maxiters` is -1 for as many rounds as it takes; `least` values are kept of every pixel that has as many.
Rule = namedtuple("Rule", ["kind", "low", "high", "median", "mad", "maxiters", "nlow", "nhigh", "least"])

#: Noise of one frame before it is scaled: arrays over the pixels of the strip, and numbers.
Noise = namedtuple("Noise", ["read_variance", "inverse_gain", "sensitivity", "pedestal"])

#: A block and room to work in. `x` holds its values in the order of the frames, `y` those of the suspects side
#: by side, `rows` and `deviation` are for sorting; the others have the rows named below,
#: see order.py: `own` in the type of x, `own64` and `wide` in float64, `whole` in int32.
Block = namedtuple("Block", ["x", "y", "rows", "deviation", "own", "own64", "wide", "whole"])
SUM1, SUM2, ANCHOR, INNER_LOW, INNER_HIGH, OUTER_LOW, OUTER_HIGH, BELOW, WITHIN, INSIDE = range(
    9 * WIDTH, 19 * WIDTH, WIDTH
)
CENTER, SPREAD, TOTAL, LOWER, UPPER, FINAL_LOWER, FINAL_UPPER, WEIGHT = range(0, 8 * WIDTH, WIDTH)
COUNT, LOW, HIGH, LEFT, SUSPECT, PICK, SOURCE, YCOUNT, EDGE = range(2 * WIDTH, 11 * WIDTH, WIDTH)


def block_scratch(n, width, dtype):
    """
    Room for blocks.

    Parameters
    ----------
    n, width : int
        Frames and pixels of a block, at most `ccdnight._kernels.order.WIDTH`.
    dtype : `~numpy.dtype`
        float32 or float64.

    Returns
    -------
    Block
    """
    x, y, rows = (np.empty((n, width), dtype) for _ in range(3))
    own, own64 = np.empty(19 * WIDTH, dtype), np.empty(9 * WIDTH)
    return Block(x, y, rows, np.empty((n, width)), own, own64, np.empty(8 * WIDTH), np.zeros(11 * WIDTH, np.int32))


@kernel
def reject(b, w, rule, recipe, table, noise, cube, base, start, scales, zeros):
    """
    Mark the outliers of a block by +inf and count them in the rows LOW and HIGH.

    Parameters
    ----------
    b : Block
        With `x` and the row COUNT (usable values) filled.
    w : int
        Pixels that are used.
    rule, recipe
        As in `ccdnight._kernels.stack.stack_strip`.
    table : `~numpy.ndarray`
        Comparators of `ccdnight._kernels.order.sorting_network`.
    noise : Noise
        Noise of a frame, for BY_NOISE.
    cube : `~numpy.ndarray`
        The values before anything was rejected, shape ``(n, m)``.
    base, start : int
        Where the block begins in the cube, and in the strip.
    scales, zeros : `~numpy.ndarray`
        float64, one for each frame: what it was multiplied by, and what is taken off for BY_NOISE.

    Returns
    -------
    bool
        Whether the rows SUM1 and SUM2 hold the sums of what is left, about the values in the row ANCHOR.
    """
    whole, summed = b.whole, False
    if rule.kind == BY_SCATTER:
        summed = _by_scatter(b, w, rule, recipe, table, cube, base)
    elif rule.kind == BY_NOISE:
        _by_noise(b, w, rule, table, noise, start, scales, zeros)
    elif rule.kind == BY_EXTREMES:
        _by_extremes(b, w, rule, table)
    if rule.kind != NO_RULE and rule.least > 0:
        for p in range(w):
            if whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p] < min(rule.least, whole[COUNT + p]):
                _restore(b, p, rule.least, recipe, cube, base, zeros)
                summed = False
    return summed


# ---------------------------------------------------------------------------------------------------- by scatter


@kernel
def _by_scatter(b, w, rule, recipe, table, cube, base):
    """Whether the rows SUM1 and SUM2 hold the sums of what is left."""
    sieved = rule.median and not rule.mad
    suspects = _doubtful(b, w, rule, table) if sieved else _all_with_two(b, w)
    if sieved and rule.maxiters == 1 and suspects > 0:
        suspects = _mark_certain(b, w, recipe, cube, base)
    if suspects > 0:
        _look_closely(b, suspects, rule, table, sieved)
    if sieved and suspects > 0:
        _sum_again(b, suspects)
    return sieved


@kernel
def _look_closely(b, suspects, rule, table, known):
    """Round by round in float64; the medians of the first round may be known."""
    wide, whole = b.wide, b.whole
    k = suspects
    _gather(b, k)
    rounds, ordered = 0, rule.median == rule.mad
    for j in range(k):
        p = whole[SUSPECT + j]
        whole[EDGE + p] = 0
        wide[LOWER + j] = 0.5 * (np.float64(b.own[FIRST + p]) + np.float64(b.own[SECOND + p])) if known else 0.0
    while k > 0:
        _bounds(b, _whole_vectors(b, k), rule, table, known and rounds == 0)
        if not ordered:
            _find_edges(b, k)
        for j in range(k):
            p = whole[PICK + j]
            wide[FINAL_LOWER + p], wide[FINAL_UPPER + p], wide[CENTER + p] = (
                wide[LOWER + j],
                wide[UPPER + j],
                wide[TOTAL + j],
            )
        rounds += 1
        if rounds == rule.maxiters:
            break
        k = _those_that_lost(b, k)
    for j in range(suspects):
        if not ordered and whole[EDGE + whole[SUSPECT + j]] and 2 * b.x.shape[0] <= b.own64.size:
            _bounds_by_hand(b, whole[SUSPECT + j], rule)
    _mark_beyond(b, suspects)


@kernel
def _whole_vectors(b, k):
    """
    As many pixels as fill whole vectors; what lies beyond the k-th is old and does no harm.

    Of some fifty suspects the last few would be done one by one, which takes as long as all the others.
    """
    return min((k + VECTOR - 1) // VECTOR * VECTOR, b.x.shape[1])


@kernel
def _sum_again(b, k):
    """The sums of the suspects without what they lost."""
    own, whole = b.own, b.whole
    _gather(b, k)
    for j in range(k):
        own[FIRST + j] = own[ANCHOR + whole[SUSPECT + j]]
    sums_about(b.y, _whole_vectors(b, k), own, FIRST, LOWEST, HIGHEST)
    for j in range(k):
        p = whole[SUSPECT + j]
        own[SUM1 + p], own[SUM2 + p] = own[LOWEST + j], own[HIGHEST + j]


@kernel
def _all_with_two(b, w):
    whole = b.whole
    k = 0
    for p in range(w):
        if whole[COUNT + p] > 1:
            whole[SUSPECT + k] = p
            k += 1
    return k


@kernel
def _doubtful(b, w, rule, table):
    """Pixels of which rounding cannot exclude that they hold an outlier."""
    own, whole = b.own, b.whole
    kind = b.x.dtype.type
    inf, none = kind(np.inf), kind(0)
    middle_values(b.x, w, COUNT, table, b.rows, own, whole)
    for p in range(w):
        own[ANCHOR + p] = own[FIRST + p] if own[FIRST + p] < inf else none
    sums_about(b.x, w, own, ANCHOR, SUM1, SUM2)
    _certain_bounds(b, w, rule)
    for p in range(w):
        below, above = own[MINIMUM + p] - own[ANCHOR + p], own[MAXIMUM + p] - own[ANCHOR + p]
        sure = ((below > own[INNER_LOW + p]) & (above < own[INNER_HIGH + p])) | (own[MINIMUM + p] == own[MAXIMUM + p])
        whole[LEFT + p] = np.int32(0) if sure | (whole[COUNT + p] < 2) else np.int32(1)
    return _list_suspects(whole, w)


@kernel
def _certain_bounds(b, w, rule):
    """
    Deviations from ANCHOR within which a value is kept for certain, and beyond which it is not.

    The rounding of sums of n squares and of their differences is below 3 n eps; where squares may have left the
    range of the type nothing is certain.
    """
    own, whole = b.own, b.whole
    kind = b.x.dtype.type
    eps = np.finfo(b.x.dtype).eps
    margin, grain = kind(8 * b.x.shape[0] * eps), kind(4 * eps)
    smallest, largest = kind(np.finfo(b.x.dtype).tiny / eps), kind(np.finfo(b.x.dtype).max)
    low, high, half, one, none = kind(rule.low), kind(rule.high), kind(0.5), kind(1), kind(0)
    inf = kind(np.inf)
    for p in range(w):
        inverse = one / kind(whole[COUNT + p]) if whole[COUNT + p] > 0 else none
        shift = half * (own[SECOND + p] - own[FIRST + p])
        variance = (own[SUM2 + p] - own[SUM1 + p] * own[SUM1 + p] * inverse) * inverse
        width, rough = np.sqrt(variance), grain * (abs(own[FIRST + p]) + abs(own[SECOND + p]))
        inner, outer = width * (one - margin) - rough, width * (one + margin) + rough
        known = (variance > smallest) & (own[SUM2 + p] < largest)
        own[INNER_LOW + p] = shift - low * inner if known else inf
        own[INNER_HIGH + p] = shift + high * inner if known else -inf
        own[OUTER_LOW + p] = shift - low * outer if known else -inf
        upper = shift + high * outer if known else inf
        # What is not to be used, +inf, is beyond in any case.
        own[OUTER_HIGH + p] = upper if upper < largest else largest


@kernel
def _list_suspects(whole, w):
    """Those whose entry in the row LEFT is 1, without asking: one in ten would be guessed wrong."""
    k = np.int32(0)
    for p in range(w):
        whole[SUSPECT + k] = p
        k += whole[LEFT + p]
    return k


@kernel
def _mark_certain(b, w, recipe, cube, base):
    """
    Mark what is beyond the bounds for certain and sum the rest; how many pixels have a value in between.

    Those have all their values again.
    """
    own, whole = b.own, b.whole
    none = b.x.dtype.type(0)
    for p in range(w):
        own[SUM1 + p], own[SUM2 + p] = none, none
        own[BELOW + p], own[WITHIN + p], own[INSIDE + p] = none, none, none
    n = b.x.shape[0]
    for f in range(0, n - 1, 2):
        _mark_certain_of_two(b.x[f], b.x[f + 1], w, own)
    if n % 2:
        _mark_certain_of(b.x[n - 1], w, own)
    for p in range(w):
        low, kept = np.int32(own[BELOW + p]), np.int32(own[WITHIN + p])
        whole[LOW + p], whole[HIGH + p] = low, whole[COUNT + p] - low - kept
        whole[LEFT + p] = np.int32(1) if own[WITHIN + p] != own[INSIDE + p] else np.int32(0)
    k = _list_suspects(whole, w)
    for j in range(k):
        p = whole[SUSPECT + j]
        whole[LOW + p], whole[HIGH + p] = 0, 0
        for f in range(b.x.shape[0]):
            value = cube[f, base + p]
            b.x[f, p] = value if _usable(value, recipe) else np.inf
    return k


@kernel
def _mark_certain_of(row, w, own):
    """One frame. The numbers are counted in the type of the values, so that all loops are of one width."""
    kind = row.dtype.type
    inf, none, one = kind(np.inf), kind(0), kind(1)
    for p in range(w):
        value = row[p]
        d = value - own[ANCHOR + p]
        within = (d >= own[OUTER_LOW + p]) & (d <= own[OUTER_HIGH + p])
        inside = (d > own[INNER_LOW + p]) & (d < own[INNER_HIGH + p])
        own[BELOW + p] += one if d < own[OUTER_LOW + p] else none
        own[WITHIN + p] += one if within else none
        own[INSIDE + p] += one if inside else none
        d = d if within else none
        own[SUM1 + p] += d
        own[SUM2 + p] += d * d
        row[p] = value if within else inf


@kernel
def _mark_certain_of_two(row, other, w, own):
    """Two frames a turn, see `sums_about`."""
    kind = row.dtype.type
    inf, none, one = kind(np.inf), kind(0), kind(1)
    for p in range(w):
        value, another = row[p], other[p]
        d, e = value - own[ANCHOR + p], another - own[ANCHOR + p]
        low, high = own[OUTER_LOW + p], own[OUTER_HIGH + p]
        within, also = (d >= low) & (d <= high), (e >= low) & (e <= high)
        own[BELOW + p] += (one if d < low else none) + (one if e < low else none)
        own[WITHIN + p] += (one if within else none) + (one if also else none)
        low, high = own[INNER_LOW + p], own[INNER_HIGH + p]
        inside, too = (d > low) & (d < high), (e > low) & (e < high)
        own[INSIDE + p] += (one if inside else none) + (one if too else none)
        d, e = d if within else none, e if also else none
        own[SUM1 + p] += d + e
        own[SUM2 + p] += d * d + e * e
        row[p], other[p] = value if within else inf, another if also else inf


@kernel
def _usable(value, recipe):
    return abs(value) < np.inf and recipe.floor <= value <= recipe.ceiling


@kernel
def sums_about(x, w, own, anchor, first, second):
    """
    Sums of the deviations from a value of each pixel, and of their squares.

    Two frames a turn: half of the time would be spent on fetching and storing the sums.

    Parameters
    ----------
    x : `~numpy.ndarray`
        Block, shape ``(n, width)``.
    w : int
        Pixels that are used.
    own : `~numpy.ndarray`
        See `Block`.
    anchor, first, second : int
        Rows of `own`: the values, and where the sums go.
    """
    inf, none, n = x.dtype.type(np.inf), x.dtype.type(0), x.shape[0]
    for p in range(w):
        own[first + p], own[second + p] = none, none
    for f in range(0, n - 1, 2):
        one, other = x[f], x[f + 1]
        for p in range(w):
            a, b = one[p], other[p]
            a, b = a - own[anchor + p] if a < inf else none, b - own[anchor + p] if b < inf else none
            own[first + p] += a + b
            own[second + p] += a * a + b * b
    if n % 2:
        row = x[n - 1]
        for p in range(w):
            a = row[p] - own[anchor + p] if row[p] < inf else none
            own[first + p] += a
            own[second + p] += a * a


@kernel
def _gather(b, k):
    """The suspects side by side."""
    whole = b.whole
    for j in range(k):
        whole[PICK + j] = whole[SUSPECT + j]
        whole[YCOUNT + j] = whole[COUNT + whole[SUSPECT + j]]
    for f in range(b.x.shape[0]):
        source, target = b.x[f], b.y[f]
        for j in range(k):
            target[j] = source[whole[SUSPECT + j]]


@kernel
def _bounds(b, k, rule, table, known):
    """Lowest and highest value that is kept of each suspect, and its center in the row TOTAL."""
    own, wide = b.own, b.wide
    if not known and (rule.median or rule.mad):
        middle_values(b.y, k, YCOUNT, table, b.rows, b.own, b.whole)
        for j in range(k):
            wide[LOWER + j] = 0.5 * (np.float64(own[FIRST + j]) + np.float64(own[SECOND + j]))
    if not rule.median or not rule.mad:
        _mean_and_std(b, k)
    if rule.mad:
        _deviation_from_median(b, k, table)
    unbounded_low, unbounded_high = rule.low == np.inf, rule.high == np.inf
    for j in range(k):
        center = wide[LOWER + j] if rule.median else wide[TOTAL + j]
        wide[TOTAL + j] = center
        wide[LOWER + j] = -np.inf if unbounded_low else center - rule.low * wide[SPREAD + j]
        wide[UPPER + j] = np.inf if unbounded_high else center + rule.high * wide[SPREAD + j]


@kernel
def _mean_and_std(b, k):
    wide, whole = b.wide, b.whole
    inf = b.y.dtype.type(np.inf)
    for j in range(k):
        wide[TOTAL + j], wide[SPREAD + j] = 0.0, 0.0
    for f in range(b.y.shape[0]):
        row = b.y[f]
        for j in range(k):
            wide[TOTAL + j] += np.float64(row[j]) if row[j] < inf else 0.0
    for j in range(k):
        wide[TOTAL + j] /= whole[YCOUNT + j]
    for f in range(b.y.shape[0]):
        row = b.y[f]
        for j in range(k):
            d = wide[TOTAL + j] - np.float64(row[j]) if row[j] < inf else 0.0
            wide[SPREAD + j] += d * d
    for j in range(k):
        wide[SPREAD + j] = np.sqrt(wide[SPREAD + j] / whole[YCOUNT + j])


@kernel
def _deviation_from_median(b, k, table):
    """The medians are in the row LOWER."""
    wide, own64 = b.wide, b.own64
    inf = b.y.dtype.type(np.inf)
    for f in range(b.y.shape[0]):
        row, target = b.y[f], b.deviation[f]
        for j in range(k):
            target[j] = abs(np.float64(row[j]) - wide[LOWER + j]) if row[j] < inf else np.inf
    middle_deviations(b, k, YCOUNT, table)
    for j in range(k):
        wide[SPREAD + j] = 0.5 * (own64[FIRST + j] + own64[SECOND + j]) * MAD_TO_STD


@kernel
def middle_deviations(b, k, count, table):
    """
    The two middle values of `b.deviation`, which may be sorted, in the rows FIRST and SECOND of `b.own64`.

    Parameters
    ----------
    b : Block
        The block.
    k : int
        Pixels that are used.
    count : int
        Row of `b.whole` with the number of usable values.
    table : `~numpy.ndarray`
        Comparators.
    """
    middle_values(b.deviation, k, count, table, b.deviation, b.own64, b.whole)


@kernel
def _find_edges(b, k):
    """Suspects of which a value lies on a bound as far as the rounding of sums goes."""
    wide, whole = b.wide, b.whole
    for j in range(k):
        wide[WEIGHT + j] = np.inf
    for f in range(b.y.shape[0]):
        row = b.y[f]
        for j in range(k):
            below, above = abs(row[j] - wide[LOWER + j]), abs(row[j] - wide[UPPER + j])
            near = below if below < above else above
            wide[WEIGHT + j] = near if near < wide[WEIGHT + j] else wide[WEIGHT + j]
    for j in range(k):
        spread = wide[SPREAD + j]
        if spread > 0.0 and wide[WEIGHT + j] <= 1e-12 * (abs(wide[TOTAL + j]) + spread):
            whole[EDGE + whole[PICK + j]] = 1


@kernel
def _selected(values, k, n):
    """Value of rank `k` by Hoare's selection; what is smaller comes before it, what is larger behind."""
    low, high = 0, n - 1
    while low < high:
        pivot, i, j = values[k], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        low = i if j < k else low
        high = j if k < i else high
    return values[k]


@kernel
def _selected_median(values, n):
    upper = _selected(values, n // 2, n)
    return upper if n % 2 else 0.5 * (upper + _selected(values, n // 2 - 1, n))


@kernel
def _bounds_by_hand(b, p, rule):
    """
    Last bounds of one pixel, its values summed in the order that the search for their median leaves.

    That is how astropy's compiled sigma_clip goes about it (Wirth 1976, Algorithms + Data Structures = Programs).
    """
    wide, n = b.wide, 0
    values, others = b.own64[: b.x.shape[0]], b.own64[b.x.shape[0] : 2 * b.x.shape[0]]
    for f in range(b.x.shape[0]):
        if b.x[f, p] < np.inf:
            values[n] = b.x[f, p]
            n += 1
    rounds, left = 0, 0
    while n > 0 and left != n and rounds != rule.maxiters:
        n = left if rounds > 0 else n
        median, mean, spread = _selected_median(values, n), 0.0, 0.0
        for i in range(n):
            mean += values[i]
        mean /= n
        for i in range(n):
            others[i] = abs(values[i] - median)
            spread += (mean - values[i]) * (mean - values[i])
        spread = _selected_median(others, n) * MAD_TO_STD if rule.mad else np.sqrt(spread / n)
        center = median if rule.median else mean
        lower = -np.inf if rule.low == np.inf else center - rule.low * spread
        upper = np.inf if rule.high == np.inf else center + rule.high * spread
        wide[FINAL_LOWER + p], wide[FINAL_UPPER + p] = lower, upper
        left = 0
        for i in range(n):
            if lower <= values[i] <= upper:
                values[left] = values[i]
                left += 1
        rounds += 1
        if left == 0:
            break


@kernel
def _those_that_lost(b, k):
    """Suspects that lost a value and have others, side by side and without it; how many there are."""
    wide, whole = b.wide, b.whole
    inf, one, none = b.y.dtype.type(np.inf), np.int32(1), np.int32(0)
    for j in range(k):
        whole[LEFT + j] = none
    for f in range(b.y.shape[0]):
        row = b.y[f]
        for j in range(k):
            inside = (row[j] < inf) & (row[j] >= wide[LOWER + j]) & (row[j] <= wide[UPPER + j])
            whole[LEFT + j] += one if inside else none
    c = 0
    for j in range(k):
        if 0 < whole[LEFT + j] < whole[YCOUNT + j]:
            whole[SOURCE + c], whole[PICK + c], whole[YCOUNT + c] = j, whole[PICK + j], whole[LEFT + j]
            c += 1
    for f in range(b.y.shape[0]):
        row = b.y[f]
        for i in range(c):
            j = whole[SOURCE + i]
            value = row[j]
            row[i] = value if (value >= wide[LOWER + j]) & (value <= wide[UPPER + j]) else inf
    return c


@kernel
def _mark_beyond(b, k):
    wide, whole = b.wide, b.whole
    inf = b.x.dtype.type(np.inf)
    for f in range(b.x.shape[0]):
        row = b.x[f]
        for i in range(k):
            p = whole[SUSPECT + i]
            value = row[p]
            if value < wide[FINAL_LOWER + p]:
                whole[LOW + p] += 1
                row[p] = inf
            elif (value > wide[FINAL_UPPER + p]) & (value < inf):
                whole[HIGH + p] += 1
                row[p] = inf


# --------------------------------------------------------------------------------------------------- other rules


@kernel
def _by_noise(b, w, rule, table, noise, start, scales, zeros):
    """IRAF's ccdclip: about the median, in units of the noise that the detector has at this signal."""
    own, wide, whole = b.own, b.wide, b.whole
    kind = b.x.dtype.type
    half = kind(0.5)
    rounds, lost = 0, 1
    while lost > 0 and rounds != rule.maxiters:
        for f in range(b.x.shape[0]):
            row, target, zero = b.x[f], b.y[f], kind(zeros[f])
            for p in range(w):
                target[p] = row[p] - zero
        for p in range(w):
            whole[LEFT + p] = whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p]
        middle_values(b.y, w, LEFT, table, b.rows, b.own, b.whole)
        for p in range(w):
            own[FIRST + p] = half * own[FIRST + p] + half * own[SECOND + p]
            wide[CENTER + p] = own[FIRST + p]
        lost = 0
        for f in range(b.x.shape[0]):
            lost += _mark_noisy(b, f, w, rule, noise, start, kind(scales[f]))
        rounds += 1


@kernel
def _mark_noisy(b, f, w, rule, noise, start, scale):
    own, whole = b.own, b.whole
    kind = b.x.dtype.type
    inf, none, low_limit, high_limit = kind(np.inf), kind(0), kind(rule.low**2), kind(rule.high**2)
    sensitivity, pedestal = kind(noise.sensitivity), kind(noise.pedestal)
    row, shifted = b.x[f], b.y[f]
    read, photon = noise.read_variance[start : start + w], noise.inverse_gain[start : start + w]
    lost = np.int32(0)
    for p in range(w):
        signal = own[FIRST + p] - pedestal
        signal = signal if signal > none else none
        variance = scale * scale * kind(read[p]) + scale * signal * kind(photon[p])
        variance += (sensitivity * signal) * (sensitivity * signal)
        d = shifted[p] - own[FIRST + p]
        usable, square = row[p] < inf, d * d
        below = usable & (d < none) & (square > low_limit * variance)
        above = usable & (d > none) & (square > high_limit * variance)
        whole[LOW + p] += np.int32(1) if below else np.int32(0)
        whole[HIGH + p] += np.int32(1) if above else np.int32(0)
        lost += np.int32(1) if below | above else np.int32(0)
        row[p] = inf if below | above else row[p]
    return lost


@kernel
def _by_extremes(b, w, rule, table):
    """So many of the lowest and highest values, where more are left; of equal ones the first frames'."""
    own, wide, whole = b.own, b.wide, b.whole
    inf = b.x.dtype.type(np.inf)
    for p in range(w):
        whole[LEFT + p] = rule.nlow if whole[COUNT + p] > rule.nlow + rule.nhigh else 0
        whole[SOURCE + p] = whole[COUNT + p] - 1 - rule.nhigh if whole[COUNT + p] > rule.nlow + rule.nhigh else 0
    values_of_rank(b.x, w, b.whole[LEFT : LEFT + WIDTH], table, b.rows, b.own, b.whole, FIRST)
    values_of_rank(b.x, w, b.whole[SOURCE : SOURCE + WIDTH], table, b.rows, b.own, b.whole, SECOND)
    for p in range(w):
        enough = whole[COUNT + p] > rule.nlow + rule.nhigh
        wide[CENTER + p] = 0.5 * (np.float64(own[FIRST + p]) + np.float64(own[SECOND + p]))
        own[FIRST + p], own[SECOND + p] = own[FIRST + p] if enough else -inf, own[SECOND + p] if enough else inf
        whole[LEFT + p], whole[SOURCE + p] = rule.nlow if enough else 0, rule.nhigh if enough else 0
    for f in range(b.x.shape[0]):
        row = b.x[f]
        for p in range(w):
            whole[LEFT + p] -= np.int32(1) if row[p] < own[FIRST + p] else np.int32(0)
            whole[SOURCE + p] -= np.int32(1) if (row[p] > own[SECOND + p]) & (row[p] < inf) else np.int32(0)
    for f in range(b.x.shape[0]):
        row = b.x[f]
        for p in range(w):
            value = row[p]
            tie_low = (value == own[FIRST + p]) & (whole[LEFT + p] > 0)
            tie_high = (value == own[SECOND + p]) & (whole[SOURCE + p] > 0) & (value < inf) & (not tie_low)
            whole[LEFT + p] -= np.int32(1) if tie_low else np.int32(0)
            whole[SOURCE + p] -= np.int32(1) if tie_high else np.int32(0)
            below, above = (value < own[FIRST + p]) | tie_low, ((value > own[SECOND + p]) & (value < inf)) | tie_high
            whole[LOW + p] += np.int32(1) if below else np.int32(0)
            whole[HIGH + p] += np.int32(1) if above else np.int32(0)
            row[p] = inf if below | above else value


@kernel
def _restore(b, p, least, recipe, cube, base, zeros):
    """
    Give a pixel back its values nearest to the center until `least` are kept.

    Where none is kept the center is its lowest value: cosmic rays only add.
    """
    inf = b.x.dtype.type(np.inf)
    count, low, high, median = b.whole[COUNT + p], b.whole[LOW + p], b.whole[HIGH + p], b.wide[CENTER + p]
    kept = count - low - high
    center = median if kept > 0 else np.inf
    if kept == 0:
        for f in range(b.x.shape[0]):
            value = cube[f, base + p]
            if _usable(value, recipe):
                center = min(center, value - zeros[f])
    for _ in range(min(least, count) - kept):
        nearest, best = 0, np.inf
        for f in range(b.x.shape[0]):
            value = cube[f, base + p]
            if b.x[f, p] == inf and _usable(value, recipe):
                off = value - zeros[f] - center
                if abs(off) < abs(best) or (abs(off) == abs(best) and off < best):
                    nearest, best = f, off
        b.x[nearest, p] = cube[nearest, base + p]
        if (b.x[nearest, p] - zeros[nearest] < median and low > 0) or high == 0:
            low -= 1
        else:
            high -= 1
    b.whole[LOW + p], b.whole[HIGH + p] = low, high
