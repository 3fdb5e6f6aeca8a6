"""
The sieve of rejection by scatter: what all pixels of a block go through, in the block's own precision.

Nearly all stacks have certainly no outlier, rounding considered. Of the others, where one round is asked for, most
values are certainly kept or certainly not; only pixels with a value in between are left for float64.
"""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    ANCHOR,
    BELOW,
    COUNT,
    HIGH,
    INNER_HIGH,
    INNER_LOW,
    INSIDE,
    LEFT,
    LOW,
    OUTER_HIGH,
    OUTER_LOW,
    SUM1,
    SUM2,
    SUSPECT,
    WITHIN,
    gather,
    sums_about,
    usable,
    whole_vectors,
)
from ccdnight._kernels.order import FIRST, HIGHEST, LOWEST, MAXIMUM, MINIMUM, SECOND, middle_values

__all__ = ["doubtful", "list_doubtful", "mark_certain", "sum_again"]


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
    return _marked(whole, w)


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
def _marked(whole, w):
    """How many entries of the row LEFT are 1: many at once, where to list them goes one by one."""
    k = np.int32(0)
    for p in range(w):
        k += whole[LEFT + p]
    return k


@kernel
def list_doubtful(whole, w):
    """
    List those whose entry in the row LEFT is 1, without asking: one in ten would be guessed wrong.

    Parameters
    ----------
    whole : `~numpy.ndarray`
        Rows of a block.
    w : int
        Pixels that are used.

    Returns
    -------
    int
        How many.
    """
    k = np.int32(0)
    for p in range(w):
        whole[SUSPECT + k] = p
        k += whole[LEFT + p]
    return k


@kernel
def mark_certain(b, w, recipe, cube, base):
    """
    Mark what is beyond the bounds for certain, sum the rest, and list the pixels that have a value in between.

    Those have all their values again.

    Parameters
    ----------
    b : Block
        The block.
    w : int
        Pixels that are used.
    recipe, cube, base
        As in `ccdnight._kernels.clip.reject`.

    Returns
    -------
    int
        How many are listed.
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
    if _marked(whole, w) == 0:
        return 0
    k = list_doubtful(whole, w)
    for j in range(k):
        p = whole[SUSPECT + j]
        whole[LOW + p], whole[HIGH + p] = 0, 0
        for f in range(b.x.shape[0]):
            value = cube[f, base + p]
            b.x[f, p] = value if usable(value, recipe) else np.inf
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
    own, whole = b.own, b.whole
    gather(b, k)
    for j in range(k):
        own[FIRST + j] = own[ANCHOR + whole[SUSPECT + j]]
    sums_about(b.y, whole_vectors(b, k), own, FIRST, LOWEST, HIGHEST)
    for j in range(k):
        p = whole[SUSPECT + j]
        own[SUM1 + p], own[SUM2 + p] = own[LOWEST + j], own[HIGHEST + j]
