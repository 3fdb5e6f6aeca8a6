"""A compressed image as a temporary file that is not, made piece by piece: rows can then be read in any order."""

import gzip
import os
import tempfile
import weakref
import zlib
from dataclasses import replace
from pathlib import Path

from ccdnight.exceptions import FrameError
from ccdnight.storage.pixels import wide
from ccdnight.storage.reading import read_pixels
from ccdnight.storage.scanning import open_plain
from ccdnight.storage.writing import environment

__all__ = ["unpacked"]

#: Bytes that are unpacked at a time.
_CHUNK = 1 << 20


def unpacked(path, raw):
    """
    A compressed image as an uncompressed temporary file, made piece by piece.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Its header.

    Returns
    -------
    path : `~pathlib.Path`
        A file with nothing but the pixels; it is removed when nobody holds `raw` any more.
    raw : RawHeader
        Its header.

    Raises
    ------
    FrameError
        If the file cannot be unpacked or holds fewer pixels than it claims.
    OutputError
        If there is no room for temporary files.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_header, read_pixels, unpacked
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     image = fits.CompImageHDU(np.ones((40, 20), np.int16))
    ...     fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    ...     plain, raw = unpacked(path, read_header(path))
    ...     shape = read_pixels(plain, raw=raw).shape
    >>> shape
    (40, 20)
    """
    with environment(tempfile.gettempdir()):
        number, name = tempfile.mkstemp(prefix="ccdnight-", suffix=".pixels")
    try:
        with environment(name), os.fdopen(number, "wb") as target:
            header = _unpack(path, raw, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    plain = replace(raw, header=header, offset=0, compressed=False)
    weakref.finalize(plain, Path(name).unlink, missing_ok=True)
    return Path(name), plain


def _unpack(path, raw, target):
    if not raw.tiled:
        _copy_pixels(path, raw, target)
        return raw.header
    header = raw.header.copy()
    header["BITPIX"] = -64 if wide(raw) else -32
    for key in ("BSCALE", "BZERO", "BLANK"):
        header.remove(key, ignore_missing=True)
    rows = max(1, _CHUNK // (8 * raw.shape[1]))
    for begin in range(0, raw.shape[0], rows):
        pixels = read_pixels(path, raw=raw, rows=slice(begin, begin + rows))
        target.write(pixels.astype(f">f{abs(header['BITPIX']) // 8}").tobytes())
    return header


def _copy_pixels(path, raw, target):
    """No more is unpacked than the header claims."""
    left = abs(raw.header["BITPIX"]) // 8 * raw.shape[0] * raw.shape[1]
    try:
        with open_plain(path) as stream:
            stream.seek(raw.offset)
            while left > 0:
                piece = stream.read(min(_CHUNK, left))
                if not piece:
                    reason = f"its pixels cannot be read: {left} bytes of them are missing"
                    raise FrameError(path, reason, "copy it again")
                target.write(piece)
                left -= len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FrameError(path, f"its pixels cannot be read: {error}", "copy it again") from error
