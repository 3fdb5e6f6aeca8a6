"""
Order statistics of many small stacks at once.

A block holds the stacks of `w` pixels side by side, ``x[frame, pixel]``, so that one operation serves many
pixels (SIMD): nothing below asks what a single pixel looks like.

Up to `NETWORK_LIMIT` frames the rows of a block are sorted by a network: a fixed list of comparators, each of
which puts two rows in order, pixel by pixel, the smaller value into the row named first. For four frames::

    frame 0 --o-----o-----------      comparators: (0,2) (1,3) (0,1) (2,3) (1,2)
              |     |
    frame 1 --|--o--o-----o-----      The list is data, so that one compiled function serves
              |  |        |           every number of frames.
    frame 2 --o--|-----o--o-----
                 |     |
    frame 3 -----o-----o--------

The list grows as n log(n)^2. Beyond the limit the value of a given rank is found by bisection: the range in which it
must lie is cut in the middle, the values up to there are counted, and the end that has to move goes to the nearest
value on its side, so that both ends are values of the stack all the time. It takes about log2(n) passes over
the values, and a value that lies far off costs one pass, however far.

Values that are not to be used are +inf: they sort to the end.

Rows are named by their number, ``x[f, p]``, and not cut out first: a view counts its owners, which takes as long as
some ten pixels, and longer where threads do it at the same time.

What is known of each pixel lies in flat arrays, `own` (the type of x) and `whole` (int32), in rows of `WIDTH` entries:
``own[FIRST + p]``. Rows at fixed distances in one array are known to be apart; of separate arrays a compiler would
have to ask before every loop, and gives up SIMD where there are many.
"""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = [
    "BISECT",
    "FIRST",
    "MAXIMUM",
    "MINIMUM",
    "NETWORK_LIMIT",
    "SECOND",
    "UPTO",
    "WIDTH",
    "middle_values",
    "selection_network",
    "sort_rows",
    "sorting_network",
    "values_of_rank",
]

#: Frames up to which the network is faster than bisection, and the table that asks for the latter.
NETWORK_LIMIT, BISECT = 256, np.empty((0, 5), np.int32)

#: Most pixels of a block, and the length of the rows below. Not a power of 2: rows 2048 bytes apart would all fall into
#: the same few places of the cache.
WIDTH = 544
FIRST, SECOND, MINIMUM, MAXIMUM, LOWEST, HIGHEST, CUT, LAST, NEXT = range(0, 9 * WIDTH, WIDTH)
UPTO, RANK = 0, WIDTH


def sorting_network(n):
    """
    Comparators that sort `n` values: Batcher's merge exchange.

    Parameters
    ----------
    n : int
        Number of values.

    Returns
    -------
    `~numpy.ndarray`
        int32, shape ``(k, 5)``: the two rows, of which the first gets the smaller value; whether the two middle values
        and the ends depend on it; and whether it is the first for either row. Empty for one value.

    References
    ----------
    Batcher 1968, AFIPS Spring Joint Computer Conference 32, 307; Knuth, The Art of Computer Programming 3,
    algorithm 5.2.2M.
    """
    pairs = []
    top = p = 1 << max(0, (n - 1).bit_length() - 1)
    while p > 0 and n > 1:
        q, r, d = top, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return _network(pairs, {0, (n - 1) // 2, n // 2, n - 1})


def selection_network(table, rank):
    """
    The comparators of a sorting network on which the value of one rank depends.

    Parameters
    ----------
    table : `~numpy.ndarray`
        Comparators of `sorting_network`.
    rank : int
        The rank, from 0.

    Returns
    -------
    `~numpy.ndarray`
        A part of the table, in its order, for `values_of_rank`.
    """
    pairs = [(int(one), int(other)) for one, other in table[:, :2]]
    kept = [pair for pair, needed in zip(pairs, _needed(pairs, {rank}), strict=True) if needed]
    return _network(kept, {rank})


def _needed(pairs, ranks):
    """Whether the values of some ranks depend on each comparator."""
    wanted, marks = set(ranks), []
    for pair in reversed(pairs):
        marks.append(not wanted.isdisjoint(pair))
        wanted.update(pair if marks[-1] else ())
    return marks[::-1]


def _network(pairs, ranks):
    """The table of comparators, see `sorting_network`; the values of interest are those of some ranks."""
    rows, seen = [], set()
    for pair, needed in zip(pairs, _needed(pairs, ranks), strict=True):
        rows.append((*pair, needed, *(row not in seen for row in pair)))
        seen.update(pair)
    return np.array(rows, np.int32).reshape(-1, 5)


@kernel
def sort_rows(x, w, table, rows, whole_order):
    """
    A copy of a block with every stack in order; or just with its ends and its two middle values in place.

    The first comparator of a row takes it from the block. It is never one that can be left out: the ends depend on it.

    Parameters
    ----------
    x : `~numpy.ndarray`
        Shape ``(n, width)``; floats or integers.
    w : int
        Pixels that are used.
    table : `~numpy.ndarray`
        Comparators of `sorting_network`.
    rows : `~numpy.ndarray`
        Written, of the type and shape of x; it may be x itself.
    whole_order : bool
        Whether all values are wanted in their order.
    """
    if x.shape[0] == 1:
        for p in range(w):
            rows[0, p] = x[0, p]
    for c in range(table.shape[0]):
        if not whole_order and table[c, 2] == 0:
            continue
        one, other = np.uint32(table[c, 0]), np.uint32(table[c, 1])
        # A row is fetched where it is first needed: that takes less than to copy all of them before.
        if table[c, 3] and table[c, 4]:
            for p in range(w):
                a, b = x[one, p], x[other, p]
                rows[one, p] = a if a < b else b
                rows[other, p] = b if a < b else a
            continue
        if table[c, 3] or table[c, 4]:
            new = one if table[c, 3] else other
            for p in range(w):
                rows[new, p] = x[new, p]
        for p in range(w):
            a, b = rows[one, p], rows[other, p]
            rows[one, p] = a if a < b else b
            rows[other, p] = b if a < b else a


@kernel
def _ends(x, w, own):
    """Lowest and highest usable value of each pixel; both +inf where there is none."""
    inf = x.dtype.type(np.inf)
    for p in range(w):
        own[LOWEST + p], own[HIGHEST + p] = inf, -inf
    for f in range(x.shape[0]):
        row = x[f]
        for p in range(w):
            value = row[p]
            own[LOWEST + p] = value if value < own[LOWEST + p] else own[LOWEST + p]
            value = value if value < inf else -inf
            own[HIGHEST + p] = value if value > own[HIGHEST + p] else own[HIGHEST + p]
    for p in range(w):
        own[HIGHEST + p] = own[HIGHEST + p] if own[HIGHEST + p] > -inf else inf


@kernel
def _cut(x, w, own, whole):
    """How many values lie up to a cut, the highest of them, and the lowest beyond."""
    inf, one, none = x.dtype.type(np.inf), np.int32(1), np.int32(0)
    for p in range(w):
        whole[UPTO + p] = none
        own[LAST + p], own[NEXT + p] = -inf, inf
    for f in range(x.shape[0]):
        row = x[f]
        for p in range(w):
            value = row[p]
            inside = value <= own[CUT + p]
            below, above = value if inside else -inf, inf if inside else value
            whole[UPTO + p] += one if inside else none
            own[LAST + p] = below if below > own[LAST + p] else own[LAST + p]
            own[NEXT + p] = above if above < own[NEXT + p] else own[NEXT + p]


@kernel
def _bisect(x, w, own, whole, rank):
    """Values of a given rank in the row HIGHEST."""
    half, still_open = x.dtype.type(0.5), True
    _ends(x, w, own)
    while still_open:
        for p in range(w):
            middle = half * own[LOWEST + p] + half * own[HIGHEST + p]
            between = (middle >= own[LOWEST + p]) & (middle < own[HIGHEST + p])
            own[CUT + p] = middle if between else own[LOWEST + p]
        _cut(x, w, own, whole)
        left = 0
        for p in range(w):
            lower, is_open = whole[UPTO + p] > rank[p], own[LOWEST + p] < own[HIGHEST + p]
            own[HIGHEST + p] = own[LAST + p] if lower & is_open else own[HIGHEST + p]
            own[LOWEST + p] = own[NEXT + p] if is_open & (not lower) else own[LOWEST + p]
            left += 1 if own[LOWEST + p] < own[HIGHEST + p] else 0
        still_open = left > 0


@kernel
def values_of_rank(x, w, rank, table, rows, own, whole, target):
    """
    Value of a given rank of every pixel.

    This is equivalent to ``numpy.sort(x, axis=0)[rank[p], p]``.

    Parameters
    ----------
    x : `~numpy.ndarray`
        Shape ``(n, width)``.
    w : int
        Pixels that are used.
    rank : `~numpy.ndarray`
        int32, from 0; less than the number of usable values.
    table : `~numpy.ndarray`
        Comparators; empty to bisect.
    rows : `~numpy.ndarray`
        Room for the sorted rows, of the type and shape of x (x itself may be given, and is sorted then).
    own, whole : `~numpy.ndarray`
        Rows as said above; `own` is of the type of x.
    target : int
        Row of `own` for the result.
    """
    if table.shape[0] or x.shape[0] == 1:
        sort_rows(x, w, table, rows, True)
        for p in range(w):
            own[target + p] = rows[rank[p], p]
    else:
        _bisect(x, w, own, whole, rank)
        for p in range(w):
            own[target + p] = own[HIGHEST + p]


@kernel
def middle_values(x, w, start, table, rows, own, whole):
    """
    The two middle values of every pixel, in the rows FIRST and SECOND, and its ends in MINIMUM and MAXIMUM.

    For an odd number of values the middle ones are the same.

    Parameters
    ----------
    x, w, table, rows, own, whole
        As in `values_of_rank`.
    start : int
        Row of `whole` that holds the number of usable values of each pixel; where it is 0, the result has no meaning.
    """
    n, least = x.shape[0], whole[start]
    for p in range(w):
        least = min(least, whole[start + p])
    if table.shape[0] or n == 1:
        sort_rows(x, w, table, rows, least < n)
        one, other, lowest, highest = rows[(n - 1) // 2], rows[n // 2], rows[0], rows[n - 1]
        for p in range(w):
            own[FIRST + p], own[SECOND + p] = one[p], other[p]
            own[MINIMUM + p], own[MAXIMUM + p] = lowest[p], highest[p]
        if least < n:
            for p in range(w):
                count = whole[start + p]
                own[FIRST + p], own[SECOND + p] = rows[max(count - 1, 0) // 2, p], rows[count // 2 % n, p]
                own[MAXIMUM + p] = rows[max(count - 1, 0), p]
        return
    rank = whole[RANK : RANK + w]
    for p in range(w):
        rank[p] = max(whole[start + p] - 1, 0) // 2
    _ends(x, w, own)
    for p in range(w):
        own[MINIMUM + p], own[MAXIMUM + p] = own[LOWEST + p], own[HIGHEST + p]
    _bisect(x, w, own, whole, rank)
    for p in range(w):
        own[FIRST + p], own[CUT + p] = own[HIGHEST + p], own[HIGHEST + p]
    _cut(x, w, own, whole)
    for p in range(w):
        another = whole[UPTO + p] <= whole[start + p] // 2
        own[SECOND + p] = own[NEXT + p] if another else own[FIRST + p]
