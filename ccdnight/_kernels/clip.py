"""
Rejection of outliers in blocks of stacks, ``x[frame, pixel]``; a value that is not to be used is +inf.

Every rule marks what it rejects by +inf and counts it. By scatter it goes as in a sieve::

    all pixels of the block          center and scatter in the block's own precision, and a doubt that covers
        |                            what rounding can do: nearly all stacks have certainly no outlier
        v
    the suspects, side by side       the same, again without what was lost, until nothing is lost or the rounds are
        |                            over: nearly all values are certainly kept or certainly not
        v
    those with a value in between    center and scatter in float64, summed in the order of the frames: the very
                                     numbers that astropy.stats.sigma_clip compares
"""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import (
    BY_EXTREMES,
    BY_NOISE,
    CENTER,
    COUNT,
    HIGH,
    LOW,
    NO_RULE,
    SUSPECT,
    usable,
)
from ccdnight._kernels.rules import by_extremes, by_noise
from ccdnight._kernels.scatter import all_with_two, look_closely
from ccdnight._kernels.sieve import clip_certain, doubtful, doubtful_numbers, sum_again

__all__ = ["reject", "reject_numbers"]


@kernel
def reject(b, w, rule, scatter, recipe, table, noise, cube, base, start, scales, zeros, mark):
    """
    Mark the outliers of a block by +inf and count them in the rows LOW and HIGH.

    Parameters
    ----------
    b : Block
        With `x` and the row COUNT (usable values) filled.
    w : int
        Pixels that are used.
    rule, scatter, recipe
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
    mark : bool
        Whether the values themselves are needed afterwards; without it BY_SCATTER about the median leaves some unmarked
        where counts and sums have taken note of them.

    Returns
    -------
    bool
        Whether the rows SUM1 and SUM2 hold the sums of what is left, about the values in the row ANCHOR.
    """
    whole, summed = b.whole, w < 0
    if scatter is not None:
        summed = _by_scatter(b, w, rule, table, mark)
    elif rule.kind == BY_NOISE:
        by_noise(b, w, rule, table, noise, start, scales, zeros)
    elif rule.kind == BY_EXTREMES:
        by_extremes(b, w, rule, table)
    if rule.kind != NO_RULE and rule.least > 0 and _too_few(whole, w, rule.least):
        summed = w < 0
        for p in range(w):
            if whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p] < min(rule.least, whole[COUNT + p]):
                _restore(b, p, rule.least, recipe, cube, base, zeros)
    return summed


@kernel
def _too_few(whole, w, least):
    """Whether a pixel has fewer values left than it should."""
    found, least = np.int32(0), np.int32(least)
    for p in range(w):
        left = whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p]
        found |= np.int32(1) if (left < least) & (left < whole[COUNT + p]) else np.int32(0)
    return found > 0


@kernel
def _by_scatter(b, w, rule, table, mark):
    """Whether the rows SUM1 and SUM2 hold the sums of what is left."""
    sieved = rule.median and not rule.mad
    suspects = doubtful(b, w, rule, table) if sieved else all_with_two(b, w)
    if sieved and suspects > 0:
        suspects = clip_certain(b, b.x, b.x.dtype.type(0), w, rule, table, mark)
    if suspects > 0:
        look_closely(b, suspects, rule, table, sieved)
    if sieved and suspects > 0:
        sum_again(b, suspects)
    return sieved


@kernel
def reject_numbers(b, w, zero, rule, table):
    """
    `reject` by the scatter about the median for integers of 16 bits, of which only sums and counts are wanted.

    The rows SUM1, SUM2 and ANCHOR hold the sums of what is left.

    Parameters
    ----------
    b : Block
        With its `numbers`, all of them usable, and the row COUNT.
    w : int
        Pixels that are used.
    zero : float
        BZERO, which is added to the numbers.
    rule, table
        As in `reject`; the table is not empty.
    """
    kind = b.x.dtype.type
    suspects = doubtful_numbers(b, zero, w, rule, table)
    if suspects > 0:
        suspects = clip_certain(b, b.numbers, zero, w, rule, table, False)
    if suspects > 0:
        for f in range(b.x.shape[0]):
            for j in range(suspects):
                p = b.whole[SUSPECT + j]
                b.x[f, p] = kind(b.numbers[f, p]) + zero
        look_closely(b, suspects, rule, table, rule.median)
        sum_again(b, suspects)


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
            if usable(value, recipe):
                center = min(center, value - zeros[f])
    for _ in range(min(least, count) - kept):
        nearest, best = 0, np.inf
        for f in range(b.x.shape[0]):
            value = cube[f, base + p]
            if b.x[f, p] == inf and usable(value, recipe):
                off = value - zeros[f] - center
                if abs(off) < abs(best) or (abs(off) == abs(best) and off < best):
                    nearest, best = f, off
        b.x[nearest, p] = cube[nearest, base + p]
        if (b.x[nearest, p] - zeros[nearest] < median and low > 0) or high == 0:
            low -= 1
        else:
            high -= 1
    b.whole[LOW + p], b.whole[HIGH + p] = low, high
