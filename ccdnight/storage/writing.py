"""
Atomic writing.

A file is written under a name that begins with a dot, flushed to the disk and renamed: under its final name
it is either whole or not there.
"""

import contextlib
import ctypes
import errno
import functools
import hashlib
import io
import os
import re
import secrets
import shutil
from pathlib import Path

from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import InputError, OutputError
from ccdnight.storage.images import write_hdus, writes
from ccdnight.storage.names import safe_name

__all__ = [
    "make_folder",
    "remove_file",
    "remove_partial",
    "require_inside",
    "require_space",
    "text_bytes",
    "write_bytes",
    "write_fits",
    "write_text",
]

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.part")

#: What CHECKSUM comments say instead of the time, so that equal content gives equal bytes.
_WHEN = "checksum of this HDU"


#: Bytes after which the disk is told to begin, and the flag of sync_file_range(2) that does not wait for it.
_AHEAD, _BEGIN = 1 << 23, 2


class _Begun(io.RawIOBase):
    """A file that the disk begins to write while the rest is made, so that there is less to wait for at its end."""

    def __init__(self, raw):
        self._raw, self._whole, self._begun = raw, 0, 0

    def writable(self):
        """It is; it cannot be read."""
        return True

    def seekable(self):
        """As the file is."""
        return self._raw.seekable()

    def seek(self, offset, whence=os.SEEK_SET):
        """Go to another place."""
        return self._raw.seek(offset, whence)

    def fileno(self):
        """The descriptor, for fsync."""
        return self._raw.fileno()

    def write(self, data):
        """Write, and have the system begin with what is there."""
        written = self._raw.write(data)
        self._whole += written
        if self._whole - self._begun >= _AHEAD:
            begin = _begin_writing()
            if begin is not None:
                # What it has to say does not matter: fsync is what counts.
                begin(self.fileno(), self._begun, self._whole - self._begun, _BEGIN)
            self._begun = self._whole
        return written


@functools.cache
def _begin_writing():
    """The call by which Linux begins to write a part of a file; None elsewhere."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError, TypeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call


@contextlib.contextmanager
def environment(path):
    """
    Turn what the operating system refuses into words of ours.

    Parameters
    ----------
    path : path-like
        What is written.

    Raises
    ------
    OutputError
        In place of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        if error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ):
            # This one name cannot be written; the disk is well.
            msg = f"{path}: cannot be written under this name: {error.strerror}"
            raise InputError(msg) from error
        words = {
            errno.ENOSPC: "no space is left on the disk",
            errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "the file would be larger than is allowed here",
            errno.EACCES: "no permission to write there",
            errno.EPERM: "no permission to write there",
            errno.EROFS: "the file system is read-only",
            errno.ENOTDIR: "a part of this path is a file, not a folder",
            errno.EEXIST: "a file of this name is in the way",
        }.get(error.errno, error.strerror or str(error))
        msg = f"{path}: cannot be written: {words}"
        raise OutputError(msg) from error


def make_folder(path):
    """
    Make a folder, with those above it.

    Parameters
    ----------
    path : path-like
        The folder; it may exist.

    Raises
    ------
    OutputError
        If it cannot be made.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import make_folder
    >>> with TemporaryDirectory() as folder:
    ...     make_folder(Path(folder, "reduced", "masters"))
    ...     made = Path(folder, "reduced", "masters").is_dir()
    >>> made
    True
    """
    with environment(path):
        Path(path).mkdir(parents=True, exist_ok=True)


def remove_file(path):
    """
    Remove a file.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    OutputError
        If the environment does not allow it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import remove_file, write_text
    >>> with TemporaryDirectory() as folder:
    ...     write_text(Path(folder, "note.txt"), "cloudy")
    ...     remove_file(Path(folder, "note.txt"))
    ...     left = list(Path(folder).iterdir())
    >>> left
    []
    """
    with environment(path):
        Path(path).unlink(missing_ok=True)


def write_bytes(path, data):
    """
    Write a file as a whole or not at all.

    Parameters
    ----------
    path : path-like
        Final name; folders above it are made.
    data : bytes or callable
        The content, or what is called with the open binary stream.

    Returns
    -------
    object
        What the callable returned.

    Raises
    ------
    OutputError
        If the environment does not allow it; the file that stood there before is left as it was.
    InputError
        If the name itself cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import write_bytes
    >>> with TemporaryDirectory() as folder:
    ...     size = write_bytes(Path(folder, "note.txt"), b"cloudy")
    ...     data = Path(folder, "note.txt").read_bytes()
    >>> data
    b'cloudy'
    """
    path = Path(path)
    make_folder(path.parent)
    with environment(path):
        name = path.parent / f".{safe_name(path.name)}.{secrets.token_hex(6)}.part"
        # The mode leaves the permissions to the umask; asking for the umask would change it for other threads.
        handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb", buffering=0) as raw, io.BufferedWriter(_Begun(raw)) as stream:
                result = data(stream) if callable(data) else stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        return result


def remove_partial(folder):
    """
    Remove what a run that was killed had not finished: the temporary files of `write_bytes`.

    Parameters
    ----------
    folder : path-like
        An output folder that this run has locked.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import remove_partial
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, ".bias.fits.0123456789ab.part").touch()
    ...     remove_partial(folder)
    ...     list(Path(folder).iterdir())
    []
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(parent, name))


def require_inside(folder, names):
    """
    Refuse to write where a link leads out of the output folder.

    Parameters
    ----------
    folder : path-like
        The output folder, which may be a link itself.
    names : iterable of str
        What will be written, relative to it.

    Raises
    ------
    OutputError
        Naming the first that would be written elsewhere.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import require_inside
    >>> with TemporaryDirectory() as folder:
    ...     require_inside(folder, ["masters/bias.fits"])
    """
    base = Path(folder).resolve()
    for parent in dict.fromkeys(Path(name).parent for name in names):
        place = (base / parent).resolve()
        if not place.is_relative_to(base):
            msg = f"{folder}: {parent} leads to {place}, out of the output folder; remove the link"
            raise OutputError(msg)


def require_space(folder, size):
    """
    Refuse to begin what the disk has no room for.

    Parameters
    ----------
    folder : path-like
        A folder that exists.
    size : int
        Bytes that will be written.

    Raises
    ------
    OutputError
        If fewer are free.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import require_space
    >>> with TemporaryDirectory() as folder:
    ...     require_space(folder, 1000)
    """
    with environment(folder):
        free = shutil.disk_usage(folder).free
    if free < size:
        unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB")
        wanted, left = (f"{value / unit:.3g} {name}" for value in (size, free))
        msg = f"{folder}: about {wanted} will be written, but only {left} are free on the disk; no space is left"
        raise OutputError(msg)


def text_bytes(text):
    """
    What `write_text` writes.

    Parameters
    ----------
    text : str
        The content.

    Returns
    -------
    bytes
        UTF-8; what is no Unicode is an escape.

    Examples
    --------
    >>> from ccdnight.storage import text_bytes
    >>> text_bytes("cloudy")
    b'cloudy'
    """
    return text.encode("utf-8", "backslashreplace")


def write_text(path, text):
    """
    Write a UTF-8 text file as a whole or not at all.

    Parameters
    ----------
    path : path-like
        Final name.
    text : str
        The content. What is no Unicode (in the name of a file) is written as an escape.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import write_text
    >>> with TemporaryDirectory() as folder:
    ...     write_text(Path(folder, "note.txt"), "cloudy")
    ...     text = Path(folder, "note.txt").read_text("utf-8")
    >>> text
    'cloudy'
    """
    write_bytes(path, text_bytes(text))


def write_fits(path, hdus, *, digest=True):
    """
    Write a FITS file as a whole or not at all, with CHECKSUM and DATASUM in every HDU.

    Parameters
    ----------
    path : path-like
        Final name.
    hdus : `~astropy.io.fits.HDUList`
        The content. Equal content gives equal bytes: the time is left out of the checksums' comments.
    digest : bool, optional
        Whether the SHA-256 is wanted.

    Returns
    -------
    str
        SHA-256 of the file; '' if it is not wanted.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import read_pixels, write_fits
    >>> with TemporaryDirectory() as folder:
    ...     digest = write_fits(Path(folder, "a.fits"), fits.HDUList(fits.PrimaryHDU(np.ones((4, 6), np.float32))))
    ...     shape = read_pixels(Path(folder, "a.fits")).shape
    >>> shape
    (4, 6)
    """
    if writes(hdus):
        return write_bytes(path, lambda stream: write_hdus(stream, hdus, _WHEN, digest=digest))
    for hdu in hdus:
        hdu.add_checksum(when=_WHEN)

    def write(stream):
        with quiet_libraries():
            hdus.writeto(stream, output_verify="exception")

    write_bytes(path, write)
    if not digest:
        return ""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
