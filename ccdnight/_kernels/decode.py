"""Big-endian integers of FITS files to floats: one pass over bytes that are in the cache already."""

import numpy as np

from ccdnight._kernels._jit import kernel

__all__ = ["decode_int16"]


@kernel
def decode_int16(raw, zero, out):
    """
    Decode 16-bit integers, bytes swapped, and add BZERO.

    This is equivalent to ``raw.view('>i2') + zero``: both are exact in float32 where BZERO is 0 or 32768.

    Parameters
    ----------
    raw : `~numpy.ndarray`
        uint16, as the bytes lie in the file, shape ``(k, nx)``.
    zero : float32
        BZERO.
    out : `~numpy.ndarray`
        float32 or float64, shape ``(k, nx)``.
    """
    for y in range(raw.shape[0]):
        source, target = raw[y], out[y]
        for x in range(source.size):
            value = source[x]
            swapped = np.uint16((value >> np.uint16(8)) | (value << np.uint16(8)))
            target[x] = np.float32(np.int16(swapped)) + zero
