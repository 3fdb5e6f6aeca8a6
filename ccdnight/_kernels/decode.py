"""Big-endian integers of FITS files to floats: one pass over bytes that are in the cache already."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["decode_int16", "decode_int16_part", "swap_int16"]


@kernel
def decode_int16(raw, zero, out):
    """
    Decode 16-bit integers, bytes swapped, and add BZERO.

    This is equivalent to ``raw.view('>i2') + zero``: both are exact in float32 where BZERO is 0 or 32768.

    Parameters
    ----------
    raw : `~numpy.ndarray`
        uint16, as the bytes lie in the file, one-dimensional and contiguous.
    zero : float32
        BZERO.
    out : `~numpy.ndarray`
        float32 or float64, as long.
    """
    for x in range(raw.size):
        out[x] = np.float32(_swapped(raw[x])) + zero


@kernel
def swap_int16(raw, out):
    """
    Decode 16-bit integers, bytes swapped, and leave them what they are, without BZERO.

    Parameters
    ----------
    raw : `~numpy.ndarray`
        uint16, as the bytes lie in the file, one-dimensional and contiguous.
    out : `~numpy.ndarray`
        int16, as long.
    """
    for x in range(raw.size):
        out[x] = _swapped(raw[x])


@kernel
def _swapped(value):
    return np.int16(np.uint16((value >> np.uint16(8)) | (value << np.uint16(8))))


@kernel
def decode_int16_part(raw, width, first, zero, out):
    """
    `decode_int16` for some columns of rows of `width` values.

    Parameters
    ----------
    raw : `~numpy.ndarray`
        uint16, as the bytes lie in the file, one-dimensional and contiguous: whole rows.
    width : int
        Values of a row.
    first : int
        The first column that is wanted.
    zero : float32
        BZERO.
    out : `~numpy.ndarray`
        float32 or float64, shape ``(k, columns)``, contiguous.
    """
    for y in range(out.shape[0]):
        decode_int16(raw[y * width + first : y * width + first + out.shape[1]], zero, out[y])
