"""
The sum of the 32-bit words of a file's data, by which flipped bytes are found (FITS standard 4.0, section 4.4.2.7).

Only DATASUM speaks of pixels; CHECKSUM is wrong as soon as somebody puts a card right. Of a gzip file gzip itself keeps
a sum and compares it.
"""

import sys
import zlib

import numpy as np

from ccdnight._unchanged import Unchanged
from ccdnight.exceptions import FrameError
from ccdnight.storage.extensions import data_parts
from ccdnight.storage.headers import card_value
from ccdnight.storage.pixels import refuse_shortage
from ccdnight.storage.scanning import open_plain

__all__ = ["fold", "require_all_intact", "require_intact", "sum_of_bytes"]

_BLOCK = 2880
#: Bytes that are summed at a time.
_CHUNK = 1 << 20
_TAKEN = "copy it again; the policy's datasum = 'ignore' takes it as it is"
_found = Unchanged()


def fold(total):
    """
    A sum in ones' complement (FITS standard 4.0, appendix J).

    Parameters
    ----------
    total : int
        Sum of 32-bit words.

    Returns
    -------
    int
        Of 32 bits.
    """
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def sum_of_bytes(data):
    """
    Sum of the big-endian 32-bit words of some bytes, those that are missing at the end taken as 0.

    Parameters
    ----------
    data : bytes-like
        Any number of them.

    Returns
    -------
    int
    """
    from ccdnight._kernels.words import sum_of_swapped, sum_of_words

    raw = np.frombuffer(data, np.uint8)
    if raw.size % 4:
        raw = np.append(raw, np.zeros(-raw.size % 4, np.uint8))
    words = raw.view(np.uint32)
    return int(sum_of_swapped(words) if sys.byteorder == "little" else sum_of_words(words))


def require_intact(path, raw):
    """
    Refuse an image whose data are not those that its DATASUM was made of.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Header of the image. Without DATASUM, or with one that is 0 or no number, there is nothing to compare.

    Raises
    ------
    FrameError
        If they differ.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, require_intact
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.int16)).writeto(path, checksum=True)
    ...     require_intact(path, read_header(path))
    """
    if raw.tiled or not raw.compressed:
        _compare(path, raw.header, raw.offset, raw.size, _TAKEN)


def require_all_intact(path, raw):
    """
    Refuse a file of which any HDU holds other data than its DATASUM was made of.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Header of its image.

    Raises
    ------
    FrameError
        If they differ.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, require_all_intact
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.int16)).writeto(path, checksum=True)
    ...     require_all_intact(path, read_header(path))
    """
    if raw.tiled or not raw.compressed:
        for header, offset, size in data_parts(path):
            _compare(path, header, offset, size, "make it again, or copy it again")


def _compare(path, header, offset, size, hint):
    told = str(card_value(header, "DATASUM", "")).strip()
    # 0 is what an HDU without data has, whose header may have been copied: no image with noise has that sum.
    if not (told.isascii() and told.isdigit()) or int(told) == 0:
        return
    try:
        found = _found.get(path, _sum_of_part, offset, size)
    except (OSError, EOFError, zlib.error) as error:
        refuse_shortage(error)
        raise FrameError(path, f"its pixels cannot be read: {error}", "copy it again") from error
    if found != int(told):
        what = str(card_value(header, "EXTNAME", "")).strip() or "pixels"
        reason = f"its {what} changed after it was written: DATASUM is {told}, the sum of the data is {found}"
        raise FrameError(path, reason, hint)


def _sum_of_part(path, offset, size):
    total, left = 0, -(-size // _BLOCK) * _BLOCK
    with open_plain(path) as stream:
        stream.seek(offset)
        while left > 0 and (data := stream.read(min(_CHUNK, left))):
            left -= len(data)
            total += sum_of_bytes(data)
    return fold(total)
