"""
The sieve of rejection by scatter: what all pixels of a block go through, in the block's own precision.

Nearly all stacks have certainly no outlier, rounding considered. The others are put side by side and clipped round by
round; as long as every value is certainly kept or certainly not, that gives what float64 would give. Only pixels with
a value in between are left for float64.
"""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    ANCHOR,
    BELOW,
    CENTER,
    COUNT,
    HIGH,
    INNER_HIGH,
    INNER_LOW,
    INSIDE,
    LEFT,
    LOW,
    OUTER_HIGH,
    OUTER_LOW,
    PICK,
    SUM1,
    SUM2,
    SUSPECT,
    WITHIN,
    YCOUNT,
    gather,
    sums_about,
    whole_vectors,
)
from ccdnight._kernels.order import FIRST, HIGHEST, LOWEST, MAXIMUM, MINIMUM, SECOND, middle_values, sort_rows

__all__ = ["clip_certain", "doubtful", "doubtful_numbers", "sum_again"]


@kernel
def doubtful(b, w, rule, table):
    """
    Mark the pixels, in the row LEFT, of which rounding cannot exclude that they hold an outlier.

    Parameters
    ----------
    b : Block
        The block.
    w : int
        Pixels that are used.
    rule, table
        As in `ccdnight._kernels.clip.reject`.

    Returns
    -------
    int
        How many.
    """
    middle_values(b.x, w, COUNT, table, b.rows, b.own, b.whole)
    return _outside_for_certain(b, b.x, b.x.dtype.type(0), w, rule)


@kernel
def doubtful_numbers(b, zero, w, rule, table):
    """
    `doubtful` for integers of 16 bits, all usable: sorting them takes half the time of floats.

    Parameters
    ----------
    b : Block
        The block, with its `numbers`.
    zero : float
        What is to be added to them.
    w, rule, table
        As in `doubtful`; the table is not empty.

    Returns
    -------
    int
        How many.
    """
    own, n, kind = b.own, b.x.shape[0], b.own.dtype.type
    sort_rows(b.numbers, w, table, b.ordered, False)
    one, other, lowest, highest = b.ordered[(n - 1) // 2], b.ordered[n // 2], b.ordered[0], b.ordered[n - 1]
    for p in range(w):
        own[FIRST + p], own[SECOND + p] = kind(one[p]) + zero, kind(other[p]) + zero
        own[MINIMUM + p], own[MAXIMUM + p] = kind(lowest[p]) + zero, kind(highest[p]) + zero
    return _outside_for_certain(b, b.numbers, zero, w, rule)


@kernel
def _outside_for_certain(b, x, zero, w, rule):
    """Mark and count the pixels whose ends are not within the bounds for certain."""
    own, whole, k = b.own, b.whole, np.int32(0)
    _certain_bounds(x, zero, w, COUNT, own, whole, rule)
    for p in range(w):
        below, above = own[MINIMUM + p] - own[ANCHOR + p], own[MAXIMUM + p] - own[ANCHOR + p]
        sure = (below > own[INNER_LOW + p]) & (above < own[INNER_HIGH + p])
        whole[LEFT + p] = np.int32(0) if sure | (whole[COUNT + p] < 2) else np.int32(1)
        k += whole[LEFT + p]
    return k


@kernel
def _certain_bounds(x, zero, w, count, own, whole, rule):
    """
    Deviations from ANCHOR within which a value is kept for certain, and beyond which it is not.

    The rounding of sums of n squares and of their differences is below 3 n eps; where squares may have left the
    range of the type nothing is certain. Of equal values all are kept, and no other.
    """
    kind = own.dtype.type
    eps = np.finfo(own.dtype).eps
    margin, grain = kind(8 * x.shape[0] * eps), kind(4 * eps)
    tiny, largest = kind(np.finfo(own.dtype).tiny), kind(np.finfo(own.dtype).max)
    smallest = tiny / eps
    low, high, half, one, none = kind(rule.low), kind(rule.high), kind(0.5), kind(1), kind(0)
    inf = kind(np.inf)
    for p in range(w):
        own[ANCHOR + p] = own[FIRST + p] if own[FIRST + p] < inf else none
    sums_about(x, zero, w, own, ANCHOR, SUM1, SUM2)
    for p in range(w):
        inverse = one / kind(whole[count + p]) if whole[count + p] > 0 else none
        shift = half * (own[SECOND + p] - own[FIRST + p])
        variance = (own[SUM2 + p] - own[SUM1 + p] * own[SUM1 + p] * inverse) * inverse
        width, rough = np.sqrt(variance), grain * (abs(own[FIRST + p]) + abs(own[SECOND + p]))
        inner, outer = width * (one - margin) - rough, width * (one + margin) + rough
        known, equal = (variance > smallest) & (own[SUM2 + p] < largest), own[MINIMUM + p] == own[MAXIMUM + p]
        own[INNER_LOW + p] = -tiny if equal else (shift - low * inner if known else inf)
        own[INNER_HIGH + p] = tiny if equal else (shift + high * inner if known else -inf)
        own[OUTER_LOW + p] = none if equal else (shift - low * outer if known else -inf)
        upper = none if equal else (shift + high * outer if known else inf)
        # What is not to be used, +inf, is beyond in any case.
        own[OUTER_HIGH + p] = upper if upper < largest else largest


@kernel
def clip_certain(b, x, zero, w, rule, table, mark):
    """
    Clip the doubtful pixels as far as every value is beyond the bounds for certain or within them.

    What is left of them is summed; the pixels that have a value in between, in any round, are listed in the row SUSPECT
    and have all their values.

    Parameters
    ----------
    b : Block
        The block, as `doubtful` leaves it.
    x, zero
        `b.x` and 0, or `b.numbers` and what is to be added to them.
    w : int
        Pixels that are used.
    rule, table
        As in `ccdnight._kernels.clip.reject`.
    mark : bool
        Whether to mark by +inf what is rejected; without it the counts and sums alone say so.

    Returns
    -------
    int
        How many are listed.
    """
    side, whole = b.side, b.whole
    k = _list_doubtful(whole, w)
    gather(b, x, zero, k)
    vectors, rounds, lost = whole_vectors(b, k), 0, True
    for j in range(k):
        p = whole[PICK + j]
        for row in (FIRST, SECOND, ANCHOR, INNER_LOW, INNER_HIGH, OUTER_LOW, OUTER_HIGH):
            side[row + j] = b.own[row + p]
        whole[LEFT + p] = 0
    while lost and rounds != rule.maxiters:
        if rounds > 0:
            middle_values(b.y, vectors, YCOUNT, table, b.rows, side, whole)
            _certain_bounds(b.y, b.y.dtype.type(0), vectors, YCOUNT, side, whole, rule)
        _mark_certain(b.y, vectors, side)
        lost = _count_lost(k, side, whole)
        rounds += 1
    if rounds > 1:
        # The last bounds are those of all values, also of those that were lost to earlier ones.
        gather(b, x, zero, k)
        _mark_certain(b.y, vectors, side)
        _count_lost(k, side, whole)
    if mark:
        _mark_picked(b, k)
    return _those_in_between(b, k)


@kernel
def _list_doubtful(whole, w):
    """List those whose entry in the row LEFT is 1, without asking: one in ten would be guessed wrong."""
    k = np.int32(0)
    for p in range(w):
        whole[SUSPECT + k] = p
        k += whole[LEFT + p]
    return k


@kernel
def _mark_certain(y, w, side):
    """Mark what is beyond the bounds for certain, count and sum the rest."""
    none, n = y.dtype.type(0), y.shape[0]
    for j in range(w):
        side[SUM1 + j], side[SUM2 + j] = none, none
        side[BELOW + j], side[WITHIN + j], side[INSIDE + j] = none, none, none
    for f in range(0, n - 1, 2):
        _mark_certain_of_two(y, f, w, side)
    if n % 2:
        _mark_certain_of(y, n - 1, w, side)


@kernel
def _count_lost(k, side, whole):
    """Whether a pixel of which all is certain has lost a value; LEFT is 1 where not all is, or nothing is left."""
    lost = False
    for j in range(k):
        p, kept = whole[PICK + j], np.int32(side[WITHIN + j])
        whole[LEFT + p] |= np.int32(1) if (side[WITHIN + j] != side[INSIDE + j]) | (kept == 0) else np.int32(0)
        lost |= (kept < whole[YCOUNT + j]) & (whole[LEFT + p] == 0)
        whole[YCOUNT + j] = kept
    return lost


@kernel
def _mark_picked(b, k):
    """Marks of the suspects where they belong; those with a value in between keep all theirs."""
    x, y, whole = b.x, b.y, b.whole
    for f in range(x.shape[0]):
        for j in range(k):
            p = np.uint32(whole[PICK + j])
            x[f, p] = x[f, p] if whole[LEFT + p] else y[f, j]


@kernel
def _those_in_between(b, k):
    """Counts, sums and centers of the pixels of which all was certain; the others are listed."""
    own, side, whole = b.own, b.side, b.whole
    m = 0
    for j in range(k):
        p = whole[PICK + j]
        if whole[LEFT + p]:
            whole[LOW + p], whole[HIGH + p] = 0, 0
            whole[SUSPECT + m] = p
            m += 1
        else:
            whole[LOW + p] = np.int32(side[BELOW + j])
            whole[HIGH + p] = whole[COUNT + p] - whole[LOW + p] - whole[YCOUNT + j]
            own[ANCHOR + p], own[SUM1 + p], own[SUM2 + p] = side[ANCHOR + j], side[SUM1 + j], side[SUM2 + j]
            b.wide[CENTER + p] = 0.5 * (np.float64(side[FIRST + j]) + np.float64(side[SECOND + j]))
    return m


@kernel
def _mark_certain_of(y, f, w, side):
    """One frame. The numbers are counted in the type of the values, so that all loops are of one width."""
    kind = y.dtype.type
    inf, none, one = kind(np.inf), kind(0), kind(1)
    for p in range(w):
        value = y[f, p]
        d = value - side[ANCHOR + p]
        within = (d >= side[OUTER_LOW + p]) & (d <= side[OUTER_HIGH + p])
        inside = (d > side[INNER_LOW + p]) & (d < side[INNER_HIGH + p])
        side[BELOW + p] += one if d < side[OUTER_LOW + p] else none
        side[WITHIN + p] += one if within else none
        side[INSIDE + p] += one if inside else none
        d = d if within else none
        side[SUM1 + p] += d
        side[SUM2 + p] += d * d
        y[f, p] = value if within else inf


@kernel
def _mark_certain_of_two(y, f, w, side):
    """Two frames a turn, see `sums_about`."""
    kind = y.dtype.type
    inf, none, one = kind(np.inf), kind(0), kind(1)
    for p in range(w):
        value, another = y[f, p], y[f + 1, p]
        d, e = value - side[ANCHOR + p], another - side[ANCHOR + p]
        low, high = side[OUTER_LOW + p], side[OUTER_HIGH + p]
        within, also = (d >= low) & (d <= high), (e >= low) & (e <= high)
        side[BELOW + p] += (one if d < low else none) + (one if e < low else none)
        side[WITHIN + p] += (one if within else none) + (one if also else none)
        low, high = side[INNER_LOW + p], side[INNER_HIGH + p]
        inside, too = (d > low) & (d < high), (e > low) & (e < high)
        side[INSIDE + p] += (one if inside else none) + (one if too else none)
        d, e = d if within else none, e if also else none
        side[SUM1 + p] += d + e
        side[SUM2 + p] += d * d + e * e
        y[f, p], y[f + 1, p] = value if within else inf, another if also else inf


@kernel
def sum_again(b, k):
    """
    The sums of the suspects without what they lost.

    Parameters
    ----------
    b : Block
        The block.
    k : int
        How many suspects.
    """
    own, whole, none = b.own, b.whole, b.x.dtype.type(0)
    gather(b, b.x, none, k)
    for j in range(k):
        own[FIRST + j] = own[ANCHOR + whole[SUSPECT + j]]
    sums_about(b.y, none, whole_vectors(b, k), own, FIRST, LOWEST, HIGHEST)
    for j in range(k):
        p = whole[SUSPECT + j]
        own[SUM1 + p], own[SUM2 + p] = own[LOWEST + j], own[HIGHEST + j]
