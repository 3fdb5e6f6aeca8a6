"""
Bounded, checked reading of FITS files.

A header is read by blocks up to its END card and held against the size of the file before any pixel is
allocated.
"""

import functools
import gzip
import io
import math
import os
import re
import stat
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

__all__ = ["RawHeader", "data_parts", "extension_numbers", "many_axes", "open_plain", "read_header", "read_pixels"]

#: A card NAXIS or ZNAXIS of a thousand and more.
_MANY_AXES = re.compile(r"(Z?NAXIS) +=\s*\+?(0*[1-9]\d{3,})")
_BLOCK = 2880
#: A header of more blocks than this (36,000 cards) is none; real ones have up to a few hundred cards.
_MAX_HEADER_BLOCKS = 1000
#: Cards that tell how an image was compressed, not what it holds.
_OF_TILES = re.compile(
    r"Z(SIMPLE|EXTEND|IMAGE|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|BLANK|QUANTIZ|DITHER0|TENSION|HECKSUM|DATASUM)"
)
#: More pixels than any detector has: a header that claims them lies.
MAX_PIXELS = 2**31


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


def open_plain(path):
    """
    Open a file for reading, gzip unpacked on the way.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    binary stream

    Raises
    ------
    FrameError
        If it is no regular file.

    Examples
    --------
    >>> import gzip
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import open_plain
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "a.fits.gz").write_bytes(gzip.compress(b"SIMPLE  ="))
    ...     with open_plain(Path(folder, "a.fits.gz")) as stream:
    ...         begin = stream.read(6)
    >>> begin
    b'SIMPLE'
    """
    # A pipe would be waited for until somebody writes into it.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FrameError(path, "cannot be opened: it is no file but a folder, a pipe or a device", "remove it")
    with open(path, "rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")


def many_axes(text):
    """
    The card of a header by which astropy would count its axes for hours, or for ever.

    Parameters
    ----------
    text : str
        Cards of 80 characters.

    Returns
    -------
    str
        Such as 'NAXIS = 2147483647'; '' where no card claims a thousand axes or more.
    """
    found = (_MANY_AXES.match(text, i) for i in range(0, len(text), 80))
    return next((f"{match[1]} = {match[2]}" for match in found if match), "")


def _read_block_header(stream, path):
    """Read one header by blocks of 2880 bytes; None at the end of the file."""
    blocks = []
    while len(blocks) < _MAX_HEADER_BLOCKS:
        block = stream.read(_BLOCK)
        if not block and not blocks:
            return None
        if not blocks and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            reason = f"not a FITS file: it begins with {block[:8]!r}, not with 'SIMPLE  ='"
            raise FrameError(path, reason, "remove it, or give it another suffix")
        if len(block) < _BLOCK:
            size = sum(map(len, blocks)) + len(block)
            raise FrameError(path, f"truncated in its header: {size} bytes and no END card", "copy it again")
        blocks.append(block)
        end = _end_of(block)
        if end is not None:
            # Some cameras leave rubbish or NULs behind END, which should be blanks.
            blocks[-1] = block[:end]
            text = b"".join(blocks).decode("latin-1")
            # Astropy takes the last of cards that stand twice, we the first; it counts up to what it finds there.
            many = many_axes(text)
            if many:
                raise FrameError(path, f"{many} is not a number of axes", "the file is damaged")
            with quiet_libraries():
                return fits.Header.fromstring(_printable(text))
    raise FrameError(path, f"no END card within {_MAX_HEADER_BLOCKS} blocks of header", "the file is damaged")


def _end_of(block):
    """Where the END card of a header block begins; None where it has none."""
    starts = range(0, _BLOCK, 80)
    return next((i for i in starts if block[i : i + 80].rstrip(b" \0") == b"END"), None)


def _printable(text):
    """Replace what FITS does not allow in a header; accents and NULs are common in hand-typed names."""
    return re.sub(r"[^\x20-\x7e]", "?", text)


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
        header = _read_block_header(stream, path)
        if header is None and number == 0:
            raise FrameError(path, "is empty", "copy it again")
        if header is None:
            wanted = "two-dimensional image" if hdu is None else f"HDU {hdu}"
            raise FrameError(path, f"holds no {wanted} in its {number} HDU", "it is no frame of a camera")
        if number == 0:
            primary = header
        tiled = bool(header.get("ZIMAGE", False))
        shape = _shape(header, path, tiled)
        size = _data_size(header, path)
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
        _skip(stream, size)
        number += 1


def _shape(header, path, tiled):
    prefix = "ZNAXIS" if tiled else "NAXIS"
    naxis = header.get(prefix, 0)
    if header.get("XTENSION", "IMAGE").strip() not in ("IMAGE", "") and not tiled:
        return ()
    if not _is_count(naxis) or naxis > 999:
        raise FrameError(path, f"{prefix} = {naxis!r} is not a number of axes")
    shape = tuple(header.get(f"{prefix}{i}", 0) for i in range(naxis, 0, -1))
    if not all(_is_count(n) for n in shape):
        raise FrameError(path, f"{prefix}n = {shape[::-1]} are not lengths of axes")
    if np.prod([float(n) for n in shape], initial=1.0) > MAX_PIXELS:
        raise FrameError(path, f"its header claims {shape[::-1]} pixels; at most {MAX_PIXELS} are read")
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _is_count(value):
    """T and F of a header are whole numbers to Python, and no lengths."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _data_size(header, path):
    bits, naxis = header.get("BITPIX"), header.get("NAXIS", 0)
    if not _is_count(naxis) or naxis > 999:
        raise FrameError(path, f"NAXIS = {naxis!r} is not a number of axes")
    if not isinstance(bits, int) or bits not in (8, 16, 32, 64, -32, -64):
        raise FrameError(path, f"BITPIX = {bits!r}; allowed are 8, 16, 32, 64, -32 and -64")
    counts = [header.get(f"NAXIS{i}", 0) for i in range(1, naxis + 1)]
    groups, more = header.get("GCOUNT", 1), header.get("PCOUNT", 0)
    if not all(_is_count(value) for value in (*counts, groups, more)):
        raise FrameError(path, f"NAXISn = {tuple(counts)}, PCOUNT = {more!r}, GCOUNT = {groups!r} are not all lengths")
    size = abs(bits) // 8 * groups * (more + (math.prod(counts) if naxis else 0))
    if size > 8 * MAX_PIXELS:
        raise FrameError(path, f"its header claims {size} bytes of data")
    return size


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


def _skip(stream, size):
    stream.seek(-(-size // _BLOCK) * _BLOCK, io.SEEK_CUR)


def extension_numbers(path):
    """
    Numbers of the extensions of a FITS file by their names; the first of equal names counts.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import extension_numbers
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 6)), name="IM1")]).writeto(path)
    ...     numbers = extension_numbers(path)
    >>> numbers["IM1"]
    1
    """
    names = {}
    for number, (header, _, _) in enumerate(data_parts(path)):
        names.setdefault(str(header.get("EXTNAME", "")).strip().upper(), number)
    names.pop("", None)
    return names


def data_parts(path):
    """
    Where the data of every HDU of a FITS file lie.

    Parameters
    ----------
    path : path-like
        The file.

    Yields
    ------
    header : `~astropy.io.fits.Header`
        Of the HDU.
    offset, size : int
        First byte of its data, and their number. After what is no HDU nothing comes: rubbish behind an image is not
        unusual.
    """
    try:
        with open_plain(path) as stream:
            while (header := _read_block_header(stream, Path(path))) is not None:
                offset, size = stream.tell(), _data_size(header, Path(path))
                yield header, offset, size
                stream.seek(offset)
                _skip(stream, size)
    except FrameError:
        return
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse_shortage(error)
        raise FrameError(path, f"cannot be read: {error}") from error


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
