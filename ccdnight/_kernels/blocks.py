"""
What the kernels of stacking hand to one another: a rule, the noise, a block of pixels with room to work in.

A block is ``x[frame, pixel]``; a value that is not to be used is +inf.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.order import WIDTH, middle_values

__all__ = [
    "ANCHOR",
    "BELOW",
    "BY_EXTREMES",
    "BY_NOISE",
    "BY_SCATTER",
    "CENTER",
    "COUNT",
    "EDGE",
    "FINAL_LOWER",
    "FINAL_UPPER",
    "HIGH",
    "INNER_HIGH",
    "INNER_LOW",
    "INSIDE",
    "INVERSE",
    "LEFT",
    "LOW",
    "LOWER",
    "MAD_TO_STD",
    "NO_RULE",
    "OUTER_HIGH",
    "OUTER_LOW",
    "PICK",
    "SOURCE",
    "SPREAD",
    "SUM1",
    "SUM2",
    "SUSPECT",
    "TOTAL",
    "UPPER",
    "VECTOR",
    "WEIGHT",
    "WITHIN",
    "YCOUNT",
    "Block",
    "Noise",
    "Rule",
    "block_scratch",
    "gather",
    "middle_deviations",
    "sums_about",
    "usable",
    "whole_vectors",
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
#: by side, `rows` and `deviation` are for sorting; `numbers` and `ordered` are as `x` and `rows`, for integers of 16
#: bits. The others have the rows named below, see order.py: `own` in the type of x, `side` the same for `y`, `own64`
#: and `wide` in float64, `whole` in int32.
Block = namedtuple(
    "Block", ["x", "y", "rows", "deviation", "own", "side", "own64", "wide", "whole", "numbers", "ordered"]
)
SUM1, SUM2, ANCHOR, INNER_LOW, INNER_HIGH, OUTER_LOW, OUTER_HIGH, BELOW, WITHIN, INSIDE = range(
    9 * WIDTH, 19 * WIDTH, WIDTH
)
CENTER, SPREAD, TOTAL, LOWER, UPPER, FINAL_LOWER, FINAL_UPPER, WEIGHT, INVERSE = range(0, 9 * WIDTH, WIDTH)
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
    own, side, own64 = np.empty(19 * WIDTH, dtype), np.zeros(19 * WIDTH, dtype), np.empty(9 * WIDTH)
    wide, whole = np.empty(9 * WIDTH), np.zeros(11 * WIDTH, np.int32)
    numbers, ordered = (np.empty((n, width), np.int16) for _ in range(2))
    return Block(x, y, rows, np.empty((n, width)), own, side, own64, wide, whole, numbers, ordered)


@kernel
def usable(value, recipe):
    """
    Whether a value may be used at all.

    Parameters
    ----------
    value : float
        The value.
    recipe : Recipe
        With its `floor` and `ceiling`.

    Returns
    -------
    bool
    """
    return abs(value) < np.inf and recipe.floor <= value <= recipe.ceiling


@kernel
def whole_vectors(b, k):
    """
    As many pixels as fill whole vectors; what lies beyond the k-th is old and does no harm.

    Of some fifty suspects the last few would be done one by one, which takes as long as all the others.

    Parameters
    ----------
    b : Block
        The block.
    k : int
        Pixels that are wanted.

    Returns
    -------
    int
    """
    return min((k + VECTOR - 1) // VECTOR * VECTOR, b.x.shape[1])


@kernel
def gather(b, x, zero, k):
    """
    The suspects side by side, in `b.y`.

    Parameters
    ----------
    b : Block
        The block, its first suspects listed in the row SUSPECT.
    x : `~numpy.ndarray`
        `b.x`, or `b.numbers`.
    zero : float
        What is to be added to these.
    k : int
        How many.
    """
    y, whole = b.y, b.whole
    kind = y.dtype.type
    for j in range(k):
        whole[PICK + j] = whole[SUSPECT + j]
        whole[YCOUNT + j] = whole[COUNT + whole[SUSPECT + j]]
    for f in range(x.shape[0]):
        for j in range(k):
            y[f, j] = kind(x[f, np.uint32(whole[SUSPECT + j])]) + zero


@kernel
def sums_about(x, zero, w, own, anchor, first, second):
    """
    Sums of the deviations from a value of each pixel, and of their squares.

    Two frames a turn: half of the time would be spent on fetching and storing the sums.

    Parameters
    ----------
    x : `~numpy.ndarray`
        Block, shape ``(n, width)``; floats, or integers of 16 bits.
    zero : float
        What is to be added to these.
    w : int
        Pixels that are used.
    own : `~numpy.ndarray`
        See `Block`.
    anchor, first, second : int
        Rows of `own`: the values, and where the sums go.
    """
    kind, n = own.dtype.type, x.shape[0]
    inf, none = kind(np.inf), kind(0)
    for p in range(w):
        own[first + p], own[second + p] = none, none
    for f in range(0, n - 1, 2):
        for p in range(w):
            a, b = kind(x[f, p]) + zero, kind(x[f + 1, p]) + zero
            a, b = a - own[anchor + p] if a < inf else none, b - own[anchor + p] if b < inf else none
            own[first + p] += a + b
            own[second + p] += a * a + b * b
    if n % 2:
        for p in range(w):
            a = kind(x[n - 1, p]) + zero
            a = a - own[anchor + p] if a < inf else none
            own[first + p] += a
            own[second + p] += a * a


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
