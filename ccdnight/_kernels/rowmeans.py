"""Clipped means, medians and values of a given rank of many short rows."""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["Cell", "Marks", "clipped_means", "row_medians", "row_values"]

#: Of the bits of floats: those of infinity, all but the sign, and the number of the latter.
Marks = namedtuple("Marks", ["infinity", "largest", "sign"])
#: Two floats, and the same memory as their bits.
Cell = namedtuple("Cell", ["floats", "bits"])


@kernel
def clipped_means(data, limit, rounds, center, count):
    """
    Mean of every row about its center, values beyond a limit left out, again and again until it stays.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float64, shape ``(ny, nx)``; NaN is left out.
    limit : float
        Distance from the center up to which a value counts.
    rounds : int
        Most of them.
    center : `~numpy.ndarray`
        float64, shape ``(ny,)``: where to begin; the means are written there. A row without values keeps its own.
    count : `~numpy.ndarray`
        int64, shape ``(ny,)``; written: values that the last mean was taken of.
    """
    for y in range(data.shape[0]):
        row, middle = data[y], center[y]
        for _ in range(rounds):
            total, inside = 0.0, 0
            for x in range(row.size):
                if np.abs(row[x] - middle) <= limit:
                    total += row[x]
                    inside += 1
            count[y] = inside
            mean = total / inside if inside else middle
            if mean == middle:
                break
            middle = mean
        center[y] = middle


@kernel
def _key_of_rank(keys, rank, marks, cell):
    """
    The one of a rank of some keys of floats, and the largest.

    The range in which it lies is cut in the middle, the values up to there are counted, and the end that has to move
    goes to the nearest value on its side. A pass over the values is SIMD, which no sorting of a single row is.
    """
    low, high = keys[0], keys[0]
    for x in range(keys.size):
        key = keys[x]
        low, high = key if key < low else low, key if key > high else high
    top = high
    while low < high:
        cut = _between(low, high, marks, cell)
        count, last, beyond = _up_to(keys, cut, low, high)
        if count > rank:
            high = last
        else:
            low = beyond
    return high, top


@kernel
def _between(low, high, marks, cell):
    """The key of the mean of two floats: the mean of their keys would be close to 0 where they have different signs."""
    kind = cell.bits.dtype.type
    cell.bits[0], cell.bits[1] = _turned(low, marks), _turned(high, marks)
    half = cell.floats.dtype.type(0.5)
    cell.floats[0] = half * cell.floats[0] + half * cell.floats[1]
    middle = _turned(cell.bits[0], marks)
    # Infinite ends have no mean, those next to each other none in between.
    return kind(middle) if low <= middle < high else low


@kernel
def _turned(bits, marks):
    """
    Bits of a float as an integer that compares as it does, and back.

    Of negative floats the bits beside the sign count backwards.
    """
    return bits ^ ((bits >> marks.sign) & marks.largest)


@kernel
def _up_to(keys, cut, low, high):
    """How many values lie up to a cut, the highest of them, and the lowest beyond; all are from low to high, or far."""
    one, none, count = np.int32(1), np.int32(0), np.int32(0)
    last, beyond = low, high
    for x in range(keys.size):
        key = keys[x]
        inside = key <= cut
        count += one if inside else none
        below, above = key if inside else low, high if inside else key
        last, beyond = below if below > last else last, above if above < beyond else beyond
    return count, last, beyond


@kernel
def row_medians(bits, marks, cell, room, first, second):
    """
    The two middle values of every row, as the bits of floats.

    Their mean is ``np.nanmedian(data, axis=1)``, for ``bits = data.view(int)``.

    Parameters
    ----------
    bits : `~numpy.ndarray`
        int32 or int64, shape ``(ny, nx)``; NaN is left out.
    marks : Marks
        Of these bits.
    cell : Cell
        Room of these kinds.
    room : `~numpy.ndarray`
        Of the same kind as the bits, shape ``(nx,)``; written.
    first, second : `~numpy.ndarray`
        Of the same kind, shape ``(ny,)``; written, bits of a NaN where a row has no value.
    """
    for y in range(bits.shape[0]):
        size = 0
        for x in range(bits.shape[1]):
            value = bits[y, x]
            room[size] = _turned(value, marks)
            size += (value & marks.largest) <= marks.infinity
        if size == 0:
            first[y] = second[y] = marks.largest
            continue
        keys = room[:size]
        one, top = _key_of_rank(keys, (size - 1) // 2, marks, cell)
        count, _, beyond = _up_to(keys, one, one, top)
        other = beyond if count <= size // 2 else one
        first[y], second[y] = _turned(one, marks), _turned(other, marks)


@kernel
def row_values(bits, ranks, marks, cell, room, out):
    """
    Values of given ranks of every row, as the bits of floats.

    This is equivalent to ``np.sort(data, axis=1)[:, ranks]``, for ``bits = data.view(int)``.

    Parameters
    ----------
    bits : `~numpy.ndarray`
        int32 or int64, shape ``(ny, nx)``; of finite values.
    ranks : `~numpy.ndarray`
        int64, from 0.
    marks, cell, room
        As in `row_medians`.
    out : `~numpy.ndarray`
        Of the same kind as the bits, shape ``(ny, len(ranks))``; written.
    """
    for y in range(bits.shape[0]):
        for x in range(bits.shape[1]):
            room[x] = _turned(bits[y, x], marks)
        for number in range(ranks.size):
            key, _ = _key_of_rank(room, ranks[number], marks, cell)
            out[y, number] = _turned(key, marks)
