"""
FITS files of plain images, written in one pass: swapped, summed, digested and written while they are in the cache.

Astropy swaps a whole image in memory to sum it, swaps it back, and swaps it again to write it; the bytes are the same.
"""

import hashlib
import io

import numpy as np
from astropy.io import fits

from ccdnight.storage.sums import fold, sum_of_bytes

__all__ = ["write_hdus", "writes"]

_BLOCK = 2880
#: Values that are swapped at a time.
_CHUNK = 1 << 16
#: What BZERO of unsigned 16-bit integers turns.
_SIGN = np.uint16(0x8000)
#: Characters that the code of a checksum leaves out.
_SKIPPED = frozenset(b":;<=>?@[\\]^_`")


def writes(hdus):
    """
    Whether `write_hdus` can write some HDUs; astropy writes what is odd.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The content of a file.

    Returns
    -------
    bool
    """
    return _is_plain(hdus[0]) and all(_is_plain(hdu) or isinstance(hdu, fits.BinTableHDU) for hdu in hdus[1:])


def _is_plain(hdu):
    """Whether an HDU is a new image of native float32 or uint16."""
    if type(hdu) not in (fits.PrimaryHDU, fits.ImageHDU) or hdu.data is None or hdu.fileinfo() is not None:
        return False
    kinds = {np.dtype(np.float32): (-32, 1, 0), np.dtype(np.float64): (-64, 1, 0)}
    kinds |= {np.dtype(np.uint16): (16, 1, 32768), np.dtype(np.uint8): (8, 1, 0)}
    told = (hdu.header["BITPIX"], hdu.header.get("BSCALE", 1), hdu.header.get("BZERO", 0))
    return hdu.data.flags.c_contiguous and kinds.get(hdu.data.dtype) == told and "BLANK" not in hdu.header


def write_hdus(stream, hdus, when, *, digest=True):
    """
    Write HDUs with their checksums.

    Parameters
    ----------
    stream : binary stream
        Written.
    hdus : `~astropy.io.fits.HDUList`
        The content; `writes` is true.
    when : str
        Comment of the cards CHECKSUM and DATASUM.
    digest : bool, optional
        Whether the SHA-256 is wanted.

    Returns
    -------
    str
        SHA-256 of what was written; '' if it is not wanted.
    """
    found = hashlib.sha256()
    hdus.update_extend()
    hdus.verify("exception")
    for hdu in hdus:
        pieces = _image(hdu, when) if _is_plain(hdu) else [_table(hdu, when)]
        for piece in pieces:
            stream.write(piece)
            if digest:
                found.update(piece)
    return found.hexdigest() if digest else ""


def _table(hdu, when):
    hdu.add_checksum(when=when)
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    return whole.getbuffer()[_BLOCK:]


def _image(hdu, when):
    """Header and pixels of an image, piece by piece."""
    header, size = hdu.header, hdu.data.nbytes
    datasum = fold(_sum_of_pixels(hdu.data))
    header["DATASUM"] = (str(datasum), when)
    header.set("CHECKSUM", "0" * 16, when, before="DATASUM")
    text = header.tostring().encode("ascii")
    header["CHECKSUM"] = _encoded(~fold(datasum + sum_of_bytes(text)) & 0xFFFFFFFF)
    yield header.tostring().encode("ascii")
    yield from _swapped(hdu.data)
    yield b"\0" * (-size % _BLOCK)


def _swapped(data):
    """
    The pixels as they lie in the file; BZERO of unsigned integers turns the first bit.

    Every piece lies in the same memory: it has to be used up before the next is asked for.
    """
    flat = data.reshape(-1)
    room = np.empty(min(_CHUNK, flat.size), flat.dtype.newbyteorder(">"))
    for begin in range(0, flat.size, _CHUNK):
        piece = room[: min(_CHUNK, flat.size - begin)]
        piece[...] = flat[begin : begin + _CHUNK]
        if flat.dtype == np.uint16:
            piece ^= _SIGN
        yield piece


def _sum_of_pixels(data):
    """
    Sum of the 32-bit words of pixels as they lie in the file, taken without swapping them.

    A big-endian word of the file has the value of the machine's own word in memory.
    """
    from ccdnight._kernels.words import sum_of_halves, sum_of_words

    flat = data.reshape(-1)
    if flat.dtype.itemsize == 1:
        return sum_of_bytes(flat)
    return int(sum_of_halves(flat) if flat.dtype == np.uint16 else sum_of_words(flat.view(np.uint32)))


def _encoded(value):
    """Sixteen letters and digits for a checksum (FITS standard 4.0, appendix J)."""
    columns = [_encoded_byte((value >> shift) & 0xFF) for shift in (24, 16, 8, 0)]
    text = bytes(column[i] for i in range(4) for column in columns)
    return (text[-1:] + text[:-1]).decode("ascii")


def _encoded_byte(byte):
    quarter, rest = divmod(byte, 4)
    codes = [ord("0") + quarter + rest] + [ord("0") + quarter] * 3
    for pair in (0, 2):
        while codes[pair] in _SKIPPED or codes[pair + 1] in _SKIPPED:
            codes[pair] += 1
            codes[pair + 1] -= 1
    return codes
