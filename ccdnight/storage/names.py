"""Which files are looked at, and names that are safe to write under."""

import os
import re
from pathlib import Path, PurePosixPath

__all__ = ["FITS_SUFFIXES", "find_fits", "keep_names", "names_again", "product_name", "safe_name"]

_PLAIN = (".fits", ".fit", ".fts")
#: Suffixes of the files that are looked at, lower case.
FITS_SUFFIXES = _PLAIN + tuple(suffix + packed for suffix in _PLAIN for packed in (".gz", ".fz"))


def find_fits(folder):
    """
    FITS files below a folder, by their names.

    Hidden files and folders are passed over, and so are folders that hold a run of ccdnight (``run.json``
    beside ``night.ecsv``, or the lock of a run that was killed): products are never inputs. Links to folders
    are not followed.

    Parameters
    ----------
    folder : path-like
        Where to look.

    Returns
    -------
    list of str
        POSIX paths relative to `folder`, sorted.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.storage import find_fits
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.fits", "a.fits", "log.txt"):
    ...         Path(folder, name).touch()
    ...     names = find_fits(folder)
    >>> names
    ['a.fits', 'b.fits']
    """
    folder = Path(folder)
    found = []
    for parent, folders, names in os.walk(folder):
        finished = "night.ecsv" in names and ("run.json" in names or "plan.toml" in names)
        if finished or ".ccdnight.lock" in names:
            folders[:] = []
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = (name for name in names if name.lower().endswith(FITS_SUFFIXES) and not name.startswith("."))
        found += [Path(parent, name).relative_to(folder).as_posix() for name in wanted]
    return sorted(found)


#: Python has a byte of a name that is no text as half of a pair of surrogates, which no file can hold.
_PRIVATE = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_AGAIN = {private: half for half, private in _PRIVATE.items()}


def keep_names(text):
    """
    A text with names of files, such that it can be written and `names_again` finds them.

    Parameters
    ----------
    text : str
        Names as the system gives them.

    Returns
    -------
    str
        Each byte that is no text is a character of Unicode's private area.

    Examples
    --------
    >>> import os
    >>> from ccdnight.storage import keep_names, names_again
    >>> name = os.fsdecode(b"M31_\\xe9.fits")
    >>> names_again(keep_names(name).encode().decode()) == name
    True
    """
    return text.translate(_PRIVATE)


def names_again(text):
    """
    Names of files as the system gives them.

    Parameters
    ----------
    text : str
        From `keep_names`.

    Returns
    -------
    str

    Examples
    --------
    >>> from ccdnight.storage import names_again
    >>> names_again("M31.fits")
    'M31.fits'
    """
    return text.translate(_AGAIN)


def safe_name(text, *, limit=60):
    """
    A text from a header made fit for a file name.

    Parameters
    ----------
    text : str
        Any text.
    limit : int, optional
        Characters kept.

    Returns
    -------
    str
        Letters, digits, ``-``, ``+``, ``_`` and ``.``; never empty, never beginning with a dot.

    Examples
    --------
    >>> from ccdnight.storage import safe_name
    >>> safe_name("../r' band"), safe_name("")
    ('r_band', 'none')
    """
    name = re.sub(r"['\"`]", "", str(text)).strip()
    name = re.sub(r"[^A-Za-z0-9+_.-]+", "_", name).strip("._")[:limit]
    return name or "none"


def product_name(path):
    """
    Name of the product of a raw file: its relative path with the known suffix replaced by ``.fits``.

    Parameters
    ----------
    path : str
        POSIX path of the raw file relative to the raw folder.

    Returns
    -------
    str
        A relative POSIX path without ``..``.

    Examples
    --------
    >>> from ccdnight.storage import product_name
    >>> product_name("night1/flat.fits.gz")
    'night1/flat.fits'
    """
    parts = [part for part in PurePosixPath(path).parts if part not in ("..", "/", ".")]
    name = parts[-1]
    for suffix in sorted(FITS_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return PurePosixPath(*parts[:-1], name + ".fits").as_posix()
