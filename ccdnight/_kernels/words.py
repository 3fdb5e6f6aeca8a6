"""Sums over the words of a file, of which its checksum is made."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["sum_of_halves", "sum_of_swapped", "sum_of_words"]


@kernel
def sum_of_words(words):
    """
    Sum of 32-bit words.

    This is equivalent to ``words.sum(dtype=np.uint64)``.

    Parameters
    ----------
    words : `~numpy.ndarray`
        uint32, shape ``(n,)``, at most 2**32 of them.

    Returns
    -------
    int
    """
    total = np.uint64(0)
    for word in words:
        total += np.uint64(word)
    return total


@kernel
def sum_of_swapped(words):
    """
    Sum of 32-bit words whose bytes lie in the other order.

    This is equivalent to ``words.byteswap().sum(dtype=np.uint64)``.

    Parameters
    ----------
    words : `~numpy.ndarray`
        uint32, shape ``(n,)``, at most 2**32 of them.

    Returns
    -------
    int
    """
    total = np.uint64(0)
    for word in words:
        low = (word & np.uint32(0xFF)) << np.uint32(24) | (word & np.uint32(0xFF00)) << np.uint32(8)
        total += np.uint64(low | (word >> np.uint32(8)) & np.uint32(0xFF00) | word >> np.uint32(24))
    return total


@kernel
def sum_of_halves(halves):
    """
    Sum of 32-bit words made of two numbers each, the first the higher half, their first bit turned as BZERO does.

    This is equivalent to ``turned = halves ^ 0x8000; (turned[::2] << 16).sum() + turned[1::2].sum()`` in 64 bits.

    Parameters
    ----------
    halves : `~numpy.ndarray`
        uint16, shape ``(n,)``, at most 2**32 of them.

    Returns
    -------
    int
    """
    high, low = np.uint64(0), np.uint64(0)
    for i in range(halves.size // 2):
        high += np.uint64(halves[2 * i] ^ np.uint16(0x8000))
        low += np.uint64(halves[2 * i + 1] ^ np.uint16(0x8000))
    if halves.size % 2:
        high += np.uint64(halves[-1] ^ np.uint16(0x8000))
    return (high << np.uint64(16)) + low
