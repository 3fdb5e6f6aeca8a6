"""An output folder held against what its run has written down of it."""

import json
import warnings
from pathlib import Path, PurePosixPath

from astropy.table import Table

from ccdnight.exceptions import InputError
from ccdnight.provenance import digest_file

__all__ = ["verify_folder"]


def verify_folder(folder, run=None):
    """
    Check every file of a reduced night against its digest, and every FITS file against its checksums as well.

    Parameters
    ----------
    folder : path-like
        The output folder.
    run : dict, optional
        What ``run.json`` holds; by default it is read.

    Returns
    -------
    `~astropy.table.Table`
        One row for every file that the run has written down: file, status ('ok', 'missing', 'changed' or 'bad
        checksum') and reason in words.

    Raises
    ------
    InputError
        If there is no ``run.json`` that can be read.
    """
    folder = Path(folder)
    run = _read(folder) if run is None else run
    digests = {**run.get("digests", {}), **run.get("files", {})}
    rows = [(name, *_state(folder, name, digest)) for name, digest in sorted(digests.items())]
    return Table(rows=rows or None, names=("file", "status", "reason"), dtype=(str, str, str))


def _read(folder):
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        msg = (
            f"{folder}: no output folder of ccdnight: run.json cannot be read: {why}; give the OUT of 'ccdnight reduce'"
        )
        raise InputError(msg) from error
    if not isinstance(run, dict) or not all(isinstance(run.get(name, {}), dict) for name in ("digests", "files")):
        msg = f"{folder}: run.json holds no digests"
        raise InputError(msg)
    return run


def _state(folder, name, digest):
    pure, path = PurePosixPath(name), folder / name
    if pure.is_absolute() or ".." in pure.parts:
        return "changed", "run.json names a file outside of the folder"
    if not path.is_file():
        return "missing", "there is no such file"
    try:
        found = digest_file(path)
    except OSError as error:
        return "changed", f"it cannot be read: {error.strerror}"
    wrong = _checksums(path) if pure.suffix == ".fits" else ""
    if found != digest:
        return "changed", f"SHA-256 is {found[:12]}..., {str(digest)[:12]}... was written" + (
            f"; {wrong}" * bool(wrong)
        )
    return ("bad checksum", wrong) if wrong else ("ok", "")


def _checksums(path):
    """What is wrong with CHECKSUM and DATASUM of a FITS file; '' if nothing is."""
    from astropy.io import fits

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with fits.open(path, checksum=True, memmap=False) as hdus:
                bare = [number for number, hdu in enumerate(hdus) if not {"CHECKSUM", "DATASUM"} <= set(hdu.header)]
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a damaged file is what is told
            return f"no FITS file any more: {error}"
    wrong = [" ".join(str(item.message).split()) for item in caught]
    return "; ".join(wrong + [f"HDU {number} has no checksum" for number in bare])
