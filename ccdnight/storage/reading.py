"""
Bounded, checked reading of FITS files.

A header is read by blocks up to its END card and held against the size of the file before any pixel is
allocated.
"""

import functools
import gzip
import math
import os
import re
import zlib
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError
from ccdnight.storage.pixels import decodes, read_part, read_rows, refuse_shortage
from ccdnight.storage.scanning import data_size, open_plain, read_block_header, shape_of, skip_data

__all__ = ["RawHeader", "read_header", "read_pixels"]

#: Cards that tell how an image was compressed, not what it holds.
_OF_TILES = re.compile(
    r"Z(SIMPLE|EXTEND|IMAGE|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|BLANK|QUANTIZ|DITHER0|TENSION|HECKSUM|DATASUM)"
)
#: Bytes that a compressed image may have whatever its file has; and beyond that, how many times the file's.
_ROOM, _MOST_PACKED = 300_000_000, 200

#: How the numbers of an image are coded.
Coding = namedtuple("Coding", ["bits", "scale", "zero", "blank"])
_CODING = (("BITPIX", None), ("BSCALE", 1), ("BZERO", 0), ("BLANK", None))


@dataclass(frozen=True)
class RawHeader:
    """
    Header of the image of a file, with what else must be known before its pixels are read.

    Attributes
    ----------
    header : `~astropy.io.fits.Header`
        Cards as they stand in the file; a card may be unreadable, see `card_value`.
    shape : tuple of int
        ``(ny, nx)``.
    hdu : int
        Number of the HDU.
    compressed : bool
        Whether rows cannot be read by themselves (gzip, tile compression).
    offset : int
        Where the pixels begin in the file, or in what a gzip file unpacks to.
    tiled : bool
        Whether the image is tile-compressed.
    size : int
        Bytes of its data in the file, or in what a gzip file unpacks to.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.int16)).writeto(path)
    ...     raw = read_header(path)
    >>> raw.shape, raw.hdu, raw.compressed
    ((4, 6), 0, False)
    """

    header: fits.Header
    shape: tuple[int, int]
    hdu: int
    compressed: bool
    offset: int = 0
    tiled: bool = False
    size: int = 0

    @functools.cached_property
    def coding(self):
        """BITPIX, BSCALE, BZERO and BLANK (None without): each look into a header takes as long as decoding a row."""
        return Coding(*(self.header.get(key, value) for key, value in _CODING))


def read_header(path, *, hdu=None):
    """
    Header and shape of the image of a FITS file, without its pixels.

    Parameters
    ----------
    path : path-like
        The file; plain, gzip or tile-compressed.
    hdu : int, optional
        Number of the HDU; by default the first that is a two-dimensional image. Cards of the primary HDU
        that the image's own header does not have are added to it.

    Returns
    -------
    RawHeader

    Raises
    ------
    FrameError
        If it is no FITS file, is truncated, or holds no two-dimensional image.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.int16)).writeto(path)
    ...     raw = read_header(path)
    >>> raw.shape
    (4, 6)
    """
    path = Path(path)
    try:
        with open_plain(path) as stream:
            return _scan(stream, path, hdu)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FrameError(path, f"damaged gzip file: {error}", "copy it again") from error
    except OSError as error:
        refuse_shortage(error)
        raise FrameError(path, f"cannot be opened: {error.strerror or error}") from error
    except FrameError:
        raise
    except (VerifyError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FrameError(path, f"its header cannot be read: {error}", "the file is damaged") from error


def _scan(stream, path, hdu):
    primary, number = None, 0
    while True:
        header = read_block_header(stream, path)
        if header is None and number == 0:
            raise FrameError(path, "is empty", "copy it again")
        if header is None:
            wanted = "two-dimensional image" if hdu is None else f"HDU {hdu}"
            raise FrameError(path, f"holds no {wanted} in its {number} HDU", "it is no frame of a camera")
        if number == 0:
            primary = header
        tiled = bool(header.get("ZIMAGE", False))
        shape = shape_of(header, path, tiled)
        size = data_size(header, path)
        if (len(shape) >= 2 and hdu is None) or number == hdu:
            _check_image(path, shape)
            _check_size(stream, path, size)
            if tiled or isinstance(stream, gzip.GzipFile):
                _check_unpacked(path, abs(header.get("ZBITPIX" if tiled else "BITPIX", 8)) // 8 * math.prod(shape))
            full = _inherit(primary, header) if number else header
            packed = tiled or isinstance(stream, gzip.GzipFile)
            raw = RawHeader(_untile(full) if tiled else full, shape[-2:], number, packed, stream.tell(), tiled, size)
            _check_scaling(path, raw.coding)
            return raw
        if isinstance(stream, gzip.GzipFile):
            _check_unpacked(path, size)
        skip_data(stream, size)
        number += 1


def _check_scaling(path, coding):
    """A BSCALE that is no number makes the frame unreadable here, not where its pixels are used."""
    for key, value in (("BSCALE", coding.scale), ("BZERO", coding.zero)):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise FrameError(path, f"{key} = {value!r} cannot be read as a number", "the file is damaged")


def _check_image(path, shape):
    if len(shape) != 2 or 0 in shape:
        raise FrameError(path, f"its image has axes {shape[::-1]}; a frame has two, none of length 0")


def _check_size(stream, path, size):
    """Hold the claim of a header against what the file has (what a gzip stream has is known only later)."""
    if isinstance(stream, gzip.GzipFile):
        return
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    if left < size:
        raise FrameError(
            path, f"truncated: its header claims {size} bytes of pixels, the file holds {left}", "copy it again"
        )


def _check_unpacked(path, size):
    """Images of a camera have noise, which no compression makes small: what unpacks to much more is a bomb."""
    packed = max(os.stat(path).st_size, 1)
    if size > max(_ROOM, _MOST_PACKED * packed):
        times = f"{size // packed} times the size of the file"
        raise FrameError(path, f"would unpack to {size} bytes, {times}; at most {_MOST_PACKED} times are", "remove it")


def _inherit(primary, header):
    """The image's own cards, and the primary's where the image says nothing."""
    full = header.copy()
    for card in primary.cards:
        key = card.keyword
        if key not in ("SIMPLE", "EXTEND", "END", "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "") and (
            key not in full and not key.startswith(("NAXIS", "BITPIX", "BSCALE", "BZERO"))
        ):
            full.append(card, end=True)
    return full


def _untile(header):
    """What a tile-compressed image's header says of the image itself."""
    plain = fits.Header()
    for card in header.cards:
        key = card.keyword
        if _OF_TILES.fullmatch(key):
            continue
        if re.fullmatch(r"ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT", key):
            plain[key[1:]] = card.value
        elif not re.fullmatch(r"BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(TYPE|FORM)\d+|XTENSION", key):
            plain.append(card, end=True)
    return plain


def read_pixels(path, *, raw=None, rows=None, columns=None):
    """
    Pixels of a frame as float32.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader, optional
        Its header, where it has been read before.
    rows, columns : slice, optional
        The part to read; of an uncompressed file only that part is read.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(ny, nx)``, float32 in the machine's byte order; float64 for 32-bit integers and float64.

    Raises
    ------
    FrameError
        If the file cannot be read or holds fewer pixels than it claims.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_pixels
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.uint16)).writeto(path)
    ...     part = read_pixels(path, rows=slice(0, 2))
    >>> part.shape, str(part.dtype)
    ((2, 6), 'float32')
    """
    raw = raw or read_header(path)
    part = (rows or slice(None), columns or slice(None))
    if decodes(raw):
        return read_rows(path, raw, part[0]) if columns is None else read_part(path, raw, *part)
    try:
        # No memory map: on Windows it would hold the file, and a file that shrinks under it kills us.
        with quiet_libraries(), fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
            hdu = hdus[raw.hdu]
            # Whole rows lie in one piece in the file; astropy reads a part of each row by itself, which
            # for 25 overscan columns of 4128 rows takes 40 times as long. Of tiles it unpacks those that are needed.
            whole = raw.compressed and not (raw.tiled and rows)
            data = hdu.data if whole else hdu.section[_whole_rows(part[0], hdu.shape)]
    except MemoryError as error:  # a bomb, or a frame for a larger machine: it must not cost the others
        raise FrameError(path, f"its {raw.shape} pixels need more memory than there is") from error
    except Exception as error:  # astropy and its decompression raise whatever they like on damaged files
        refuse_shortage(error)
        raise FrameError(path, f"its pixels cannot be read: {error}", "copy it again") from error
    data = np.asarray(data)
    expected = raw.shape if whole else (len(range(*part[0].indices(raw.shape[0]))), raw.shape[1])
    if data.shape[-2:] != expected:
        # Cards out of their order: astropy and the standard's reading of the header differ.
        raise FrameError(path, f"its pixels have shape {data.shape}, its header says {expected}", "it is damaged")
    data = data.reshape(data.shape[-2:])[part if whole else (slice(None), part[1])]
    wide = data.dtype.itemsize > (4 if data.dtype.kind == "f" else 2)
    return data.astype(np.float64 if wide else np.float32)


def _whole_rows(rows, shape):
    return (0,) * (len(shape) - 2) + (rows, slice(None))
