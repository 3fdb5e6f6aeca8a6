"""
Rows of an uncompressed image, straight from its bytes.

Only the rows asked for are fetched, in one piece and without a memory map (a file that shrinks under a map kills the
process), and the file is open only as long as that takes, so that any number of files can be read in turns.
"""

import errno
import os
import threading

import numpy as np

from ccdnight.exceptions import FrameError, OutputError

__all__ = [
    "decode_rows",
    "decodes",
    "packs",
    "read_packed",
    "read_part",
    "read_rows",
    "read_stored",
    "refuse_shortage",
    "wide",
]

_kept, _NONE = threading.local(), np.empty(0, np.uint8)
#: Bytes that a thread keeps at most.
_LARGEST_ROOM = 4 << 20
#: Bytes that are fetched at once where only a part of each row is wanted.
_IN_CACHE = 1 << 19


def decodes(raw):
    """
    Whether `read_rows` can read an image; astropy takes care of what is odd.

    Parameters
    ----------
    raw : RawHeader
        Its header.

    Returns
    -------
    bool

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import decodes, read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 2), np.uint16)).writeto(path)
    ...     raw = read_header(path)
    >>> decodes(raw)
    True
    """
    coding = raw.coding
    plain = all(isinstance(value, int | float) for value in (coding.scale, coding.zero))
    return not raw.compressed and plain and isinstance(coding.blank, int | None)


def wide(raw):
    """
    Whether the pixels of an image need float64.

    Parameters
    ----------
    raw : RawHeader
        Its header.

    Returns
    -------
    bool

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, wide
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 2), np.int32)).writeto(path)
    ...     raw = read_header(path)
    >>> wide(raw)
    True
    """
    return raw.coding.bits in (32, 64, -64)


def packs(raw):
    """
    Whether the pixels are 16-bit integers that `read_packed` can fetch: with BZERO 0 or 32768, all of them valid.

    Parameters
    ----------
    raw : RawHeader
        Its header.

    Returns
    -------
    bool

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import packs, read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 2), np.uint16)).writeto(path)
    ...     raw = read_header(path)
    >>> packs(raw)
    True
    """
    return decodes(raw) and _is_short(raw.coding) and raw.coding.blank is None


def _is_short(coding):
    return coding.bits == 16 and coding.scale == 1 and coding.zero in (0, 32768)


def read_packed(path, raw, rows, out):
    """
    Pixels of some rows as the bytes lie in the file.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Its header; `packs` is true.
    rows : slice
        Which rows; without a step.
    out : `~numpy.ndarray`
        Where to put them, uint16, contiguous, of as many values as the rows have.

    Raises
    ------
    FrameError
        As `read_rows`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, read_packed
    >>> out = np.empty(4, np.uint16)
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.arange(1, 5, dtype=np.int16).reshape(2, 2)).writeto(path)
    ...     read_packed(path, read_header(path), slice(0, 2), out)
    >>> out.view(">i2").tolist()
    [1, 2, 3, 4]
    """
    begin, _, _ = rows.indices(raw.shape[0])
    _fetch(path, raw.offset + begin * raw.shape[1] * 2, out)


def read_rows(path, raw, rows, out=None):
    """
    Pixels of some rows.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Its header; `decodes` is true.
    rows : slice
        Which rows; without a step.
    out : `~numpy.ndarray`, optional
        Where to put them, float32 or float64, shape ``(k, nx)``, rows contiguous.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(k, nx)``, float32, or float64 for 32-bit integers and float64; NaN for BLANK.

    Raises
    ------
    FrameError
        If the file is shorter than its header says, or cannot be opened.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, read_rows
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.arange(8, dtype=np.uint16).reshape(4, 2)).writeto(path)
    ...     pixels = read_rows(path, read_header(path), slice(1, 2))
    >>> pixels.tolist()
    [[2.0, 3.0]]
    """
    begin, end, _ = rows.indices(raw.shape[0])
    shape = (max(0, end - begin), raw.shape[1])
    stored = _room(shape, _stored_dtype(raw))
    _fetch(path, raw.offset + begin * shape[1] * stored.itemsize, stored)
    return decode_rows(stored, raw, out)


def read_part(path, raw, rows, columns):
    """
    Pixels of some columns of some rows, as `read_rows` gives them.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Its header; `decodes` is true.
    rows, columns : slice
        Which; without a step.

    Returns
    -------
    `~numpy.ndarray`
        Contiguous.

    Raises
    ------
    FrameError
        As `read_rows`.
    """
    (begin, end, _), (left, right, _) = rows.indices(raw.shape[0]), columns.indices(raw.shape[1])
    out = np.empty((max(0, end - begin), max(0, right - left)), np.float64 if wide(raw) else np.float32)
    dtype, nx = _stored_dtype(raw), raw.shape[1]
    height = max(1, _IN_CACHE // max(1, nx * dtype.itemsize))
    for y in range(0, len(out), height):
        target = out[y : y + height]
        stored = _room((len(target), nx), dtype)
        _fetch(path, raw.offset + (begin + y) * nx * dtype.itemsize, stored)
        _decode_part(stored, raw.coding, left, target)
    return out


def _decode_part(stored, coding, first, out):
    if not _is_short(coding):
        _decode(stored[:, first : first + out.shape[1]], coding, out)
        return
    from ccdnight._kernels.decode import decode_int16_part

    zero = np.float32(coding.zero)
    decode_int16_part(stored.view(np.uint16).reshape(-1), stored.shape[1], first, zero, out)
    if coding.blank is not None:
        out[stored[:, first : first + out.shape[1]] == coding.blank] = np.nan


def read_stored(path, raw):
    """
    Pixels of a whole image in the numbers of its file: half of what they take when decoded.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Its header; `decodes` is true.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(ny, nx)``, big-endian; for `decode_rows`.

    Raises
    ------
    FrameError
        As `read_rows`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, read_stored
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 2), np.int16)).writeto(path)
    ...     stored = read_stored(path, read_header(path))
    >>> stored.dtype.str
    '>i2'
    """
    stored = np.empty(raw.shape, _stored_dtype(raw))
    _fetch(path, raw.offset, stored)
    return stored


def decode_rows(stored, raw, out=None):
    """
    Pixels of some rows of what `read_stored` has read, as `read_rows` gives them.

    Parameters
    ----------
    stored : `~numpy.ndarray`
        Contiguous.
    raw : RawHeader
        Header of the file.
    out : `~numpy.ndarray`, optional
        Where to put them.

    Returns
    -------
    `~numpy.ndarray`

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import decode_rows, read_header, read_stored
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.arange(4, dtype=np.uint16).reshape(2, 2)).writeto(path)
    ...     raw = read_header(path)
    ...     stored = read_stored(path, raw)
    >>> decode_rows(stored, raw).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if out is None:
        out = np.empty(stored.shape, np.float64 if wide(raw) else np.float32)
    _decode(stored, raw.coding, out)
    return out


def _stored_dtype(raw):
    bits = raw.coding.bits
    return np.dtype("u1" if bits == 8 else f">{'f' if bits < 0 else 'i'}{abs(bits) // 8}")


def refuse_shortage(error):
    """
    Raise what is no fault of a file: the process, or the machine, has no more open files or memory.

    Parameters
    ----------
    error : Exception
        What reading a file raised; anything else is left to the caller.

    Raises
    ------
    OutputError
        In its place.

    Examples
    --------
    >>> from ccdnight.storage import refuse_shortage
    >>> refuse_shortage(ValueError("no shortage"))
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        msg = f"the system gives no more: {error}; raise the limit (ulimit -n, ulimit -v) or use fewer workers"
        raise OutputError(msg) from error


def _room(shape, dtype):
    """Memory that a thread keeps, since fresh pages cost more than the bytes that are read into them."""
    size = shape[0] * shape[1] * dtype.itemsize
    if size > _LARGEST_ROOM:
        return np.empty(shape, dtype)
    if getattr(_kept, "bytes", _NONE).size < size:
        _kept.bytes = np.empty(size, np.uint8)
    return _kept.bytes[:size].view(dtype).reshape(shape)


def _fetch(path, offset, target):
    view, done = memoryview(target.reshape(-1).view(np.uint8)), 0
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while done < len(view):
                got = _read_at(number, view[done:], offset + done)
                if got == 0:
                    missing = len(view) - done
                    reason = f"its pixels cannot be read: {missing} bytes of them are missing"
                    raise FrameError(path, reason, "copy it again")
                done += got
        finally:
            os.close(number)
    except FrameError:
        raise
    except OSError as error:
        refuse_shortage(error)
        raise FrameError(path, f"its pixels cannot be read: {error.strerror or error}", "copy it again") from error


def _read_at(number, view, offset):
    if hasattr(os, "preadv"):
        return os.preadv(number, [view], offset)
    os.lseek(number, offset, os.SEEK_SET)
    return os.readv(number, [view])


def _decode(stored, coding, out):
    bits, scale, zero, blank = coding
    if _is_short(coding):
        from ccdnight._kernels.decode import decode_int16

        rows = zip(stored, out, strict=True) if not out.flags.c_contiguous else [(stored, out)]
        for source, target in rows:
            decode_int16(source.view(np.uint16).reshape(-1), np.float32(zero), target.reshape(-1))
    elif scale == 1:
        out[...] = stored
        if zero:
            out += out.dtype.type(zero)
    else:
        out[...] = stored.astype(np.float64) * scale + zero
    if bits > 0 and blank is not None:
        out[stored == blank] = np.nan
