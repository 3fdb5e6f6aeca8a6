"""
HDU by HDU through a file: headers by blocks, bounded, and what they claim of the data behind them.
"""

import gzip
import io
import math
import os
import re
import stat

import numpy as np
from astropy.io import fits

from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError

__all__ = ["BLOCK", "data_size", "many_axes", "open_plain", "read_block_header", "shape_of", "skip_data"]

#: Bytes of a block of a FITS file.
BLOCK = 2880
#: A card NAXIS or ZNAXIS of a thousand and more.
_MANY_AXES = re.compile(r"(Z?NAXIS) +=\s*\+?(0*[1-9]\d{3,})")
#: A header of more blocks than this (36,000 cards) is none; real ones have up to a few hundred cards.
_MAX_HEADER_BLOCKS = 1000
#: More pixels than any detector has: a header that claims them lies.
MAX_PIXELS = 2**31


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


def read_block_header(stream, path):
    """
    Read one header by blocks of 2880 bytes.

    Parameters
    ----------
    stream : binary stream
        The file, at the beginning of an HDU.
    path : `~pathlib.Path`
        Its name.

    Returns
    -------
    `~astropy.io.fits.Header` or None
        None at the end of the file.

    Raises
    ------
    FrameError
        If there is no whole header.
    """
    blocks = []
    while len(blocks) < _MAX_HEADER_BLOCKS:
        block = stream.read(BLOCK)
        if not block and not blocks:
            return None
        if not blocks and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            reason = f"not a FITS file: it begins with {block[:8]!r}, not with 'SIMPLE  ='"
            raise FrameError(path, reason, "remove it, or give it another suffix")
        if len(block) < BLOCK:
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
    starts = range(0, BLOCK, 80)
    return next((i for i in starts if block[i : i + 80].rstrip(b" \0") == b"END"), None)


def _printable(text):
    """Replace what FITS does not allow in a header; accents and NULs are common in hand-typed names."""
    return re.sub(r"[^\x20-\x7e]", "?", text)


def shape_of(header, path, tiled):
    """
    Shape of the image of an HDU.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of an HDU.
    path : `~pathlib.Path`
        Its name.
    tiled : bool
        Whether the image is tile-compressed.

    Returns
    -------
    tuple of int
        Leading axes of length 1 left out; empty where the HDU is no image.

    Raises
    ------
    FrameError
        If the axes are none.
    """
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


def data_size(header, path):
    """
    Bytes of the data of an HDU.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Of an HDU.
    path : `~pathlib.Path`
        Its name.

    Returns
    -------
    int

    Raises
    ------
    FrameError
        If the header does not say, or claims more than anybody has.
    """
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


def skip_data(stream, size):
    """
    Go on to the next HDU.

    Parameters
    ----------
    stream : binary stream
        The file, where data begin.
    size : int
        Bytes of them.
    """
    stream.seek(-(-size // BLOCK) * BLOCK, io.SEEK_CUR)
