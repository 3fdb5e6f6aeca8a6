"""
Rejection by scatter in float64, for some pixels of a block, side by side.

Center and scatter are summed in the order of the frames: the very numbers that astropy.stats.sigma_clip compares.
Equal values, as in quiet frames of whole numbers, can lie on a bound exactly; then the last bit of the sums decides,
and these are done anew in the order in which astropy sums them.
"""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    CENTER,
    COUNT,
    EDGE,
    FINAL_LOWER,
    FINAL_UPPER,
    HIGH,
    LEFT,
    LOW,
    LOWER,
    MAD_TO_STD,
    PICK,
    SOURCE,
    SPREAD,
    SUSPECT,
    TOTAL,
    UPPER,
    WEIGHT,
    YCOUNT,
    gather,
    middle_deviations,
    whole_vectors,
)
from ccdnight._kernels.order import FIRST, SECOND, middle_values

__all__ = ["all_with_two", "look_closely"]

#: So many pixels are done one by one in less time than a row of them side by side.
FEW = 4


@kernel
def all_with_two(b, w):
    """
    List the pixels that have two values and more in the row SUSPECT.

    Parameters
    ----------
    b : Block
        The block.
    w : int
        Pixels that are used.

    Returns
    -------
    int
        How many.
    """
    whole = b.whole
    k = 0
    for p in range(w):
        if whole[COUNT + p] > 1:
            whole[SUSPECT + k] = p
            k += 1
    return k


@kernel
def look_closely(b, suspects, rule, table, known):
    """
    Clip the suspects round by round in float64, and mark what they lose.

    Parameters
    ----------
    b : Block
        The block.
    suspects : int
        How many; they are listed in the row SUSPECT.
    rule, table
        As in `ccdnight._kernels.clip.reject`.
    known : bool
        Whether the rows FIRST and SECOND hold the middle values of all pixels.
    """
    wide, whole = b.wide, b.whole
    ordered, room = rule.median == rule.mad, 2 * b.x.shape[0] <= b.own64.size
    if suspects <= FEW and room and not ordered:
        for j in range(suspects):
            _bounds_by_hand(b, whole[SUSPECT + j], rule)
        _mark_beyond(b, suspects)
        return
    k, rounds = suspects, 0
    gather(b, b.x, b.x.dtype.type(0), k)
    for j in range(k):
        p = whole[SUSPECT + j]
        whole[EDGE + p] = 0
        wide[LOWER + j] = 0.5 * (np.float64(b.own[FIRST + p]) + np.float64(b.own[SECOND + p])) if known else 0.0
    while k > 0:
        _bounds(b, whole_vectors(b, k), rule, table, known and rounds == 0)
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
        if not ordered and whole[EDGE + whole[SUSPECT + j]] and room:
            _bounds_by_hand(b, whole[SUSPECT + j], rule)
    _mark_beyond(b, suspects)


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
    Last bounds and center of one pixel, its values summed in the order that the search for their median leaves.

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
        wide[FINAL_LOWER + p], wide[FINAL_UPPER + p], wide[CENTER + p] = lower, upper, center
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
