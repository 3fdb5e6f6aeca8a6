"""
What a frame collection needs of files beside their raw headers: finding, whole headers, the rows of a summary.

`ccdproc.ImageFileCollection` takes one folder, one HDU number and sound cards for granted; these do not.
"""

import fnmatch
import os
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import fits_ccddata_reader
from astropy.utils.exceptions import AstropyUserWarning

from ccdnight import storage
from ccdnight.exceptions import FrameError, FrameWarning, OutputError, warn_user
from ccdnight.storage.scanning import many_axes

__all__ = [
    "fits_by_reading",
    "hdu_number",
    "make_subfolder",
    "name_matches",
    "plain_name",
    "read_as",
    "save_as",
    "summary_column",
    "summary_row",
    "warn_of_duplicates",
    "whole_header",
]

#: What reading a file that is damaged, or no FITS file, raises in astropy.
_UNREADABLE = (
    *(OSError, EOFError, zlib.error, TypeError, ValueError, IndexError, fits.VerifyError),
    *(MemoryError, OverflowError),  # a length that is text is repeated by other lengths; one that is infinite
    AttributeError,  # where SIMPLE is a number an HDU is asked for a size that it does not have
)


#: Blocks of 2880 bytes that a header may have, as `storage.read_header` allows them.
_LONGEST_HEADER = 1000


def name_matches(name, pattern):
    return fnmatch.fnmatch(name if "/" in pattern else name.rpartition("/")[2], pattern)


def plain_name(name):
    """A name in lower case without the suffix of its compression."""
    return name.lower().removesuffix(".gz").removesuffix(".fz")


def fits_by_reading(folder):
    """Files that begin as FITS files do, whatever their names; hidden files and folders are passed over."""
    found = []
    for parent, folders, names in os.walk(folder):
        if "night.ecsv" in names or ".ccdnight.lock" in names:
            folders[:] = []  # products are never inputs
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [path.relative_to(folder).as_posix() for path in paths if _begins_as_fits(path)]
    return sorted(found)


def _begins_as_fits(path):
    if not path.is_file():  # opening a pipe would wait for ever
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(9) == b"SIMPLE  ="
    except OSError:
        return False


def whole_header(path, ext):
    """Header of an HDU as it stands; None where it cannot be read, or more follows than the file holds."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            if not _bearable(path):
                return None
            header = fits.getheader(path, ext)
        except (*_UNREADABLE, KeyError):
            return None
    return None if any("truncated" in str(item.message) for item in told) else header


def _bearable(path):
    """
    Whether the first header is one that astropy reads in bounded time.

    It reads on to the end of what gzip unpacks to, and looks for as many lengths as NAXIS claims axes.
    """
    with storage.open_plain(path) as stream:
        for _ in range(_LONGEST_HEADER):
            block = stream.read(2880)
            if many_axes(block.decode("latin-1")):
                return False
            if len(block) < 2880 or any(block.startswith(b"END     ", i) for i in range(0, 2880, 80)):
                return True
    return False


def hdu_number(path, ext):
    """Number of an HDU that is named."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # what is damaged is told of by storage
            with fits.open(path, memmap=False) as hdus:
                return hdus.index_of(ext)
    except (*_UNREADABLE, KeyError) as error:
        raise FrameError(path, f"holds no HDU {ext!r}: {error}", "it is no frame of a camera") from error


def read_as(return_type, path, ext, do_not_scale, ccd_kwargs):
    """What one of the generators yields for a file."""
    if return_type == "ccd":
        return fits_ccddata_reader(path, hdu=ext, **ccd_kwargs)
    if return_type == "data":
        return fits.getdata(path, ext, do_not_scale_image_data=do_not_scale)
    if return_type == "header":
        thing = header = fits.getheader(path, ext)
    else:
        with fits.open(path, do_not_scale_image_data=do_not_scale) as hdus:
            thing = hdus[hdus.index_of(ext)].copy()
        header = thing.header
    for card in header.cards:
        card.verify("silentfix")
    return thing


def make_subfolder(location, folder):
    if not os.path.isdir(location):
        msg = f"save_location = {location!r} is no folder; one that exists is needed"
        raise OutputError(msg)
    storage.make_folder(folder)


def save_as(return_type, thing, path, ext, target, overwrite, do_not_scale):
    """Write a copy of a file in which one HDU, its header or its data is what has been made of it."""
    with fits.open(path, do_not_scale_image_data=do_not_scale) as hdus:
        number = hdus.index_of(ext)
        if return_type == "hdu":
            hdus[number] = thing
        else:
            setattr(hdus[number], return_type, thing)
        hdus.writeto(target, overwrite=overwrite, output_verify="silentfix")


def summary_row(header, wanted):
    """Cards as the base class's summary has them: keywords in lower case, the first of equal ones."""
    row, last = {}, {}
    # Card by card, which takes half as long as looking each keyword up.
    for card in header.cards:
        name = card.keyword.lower()
        # A FILE card would take the place of the files' names.
        if name in row or name in ("", "file") or (wanted is not None and name not in wanted):
            continue
        if name in ("comment", "history"):
            last.setdefault(name, []).append(str(card.value))
        else:
            row[name] = _value(header, card)
    return row | {name: ",".join(lines) for name, lines in last.items()}


def _value(header, card):
    try:
        value = card.value
    except fits.VerifyError:
        return storage.card_value(header, card.keyword)
    return None if isinstance(value, fits.card.Undefined) else value


def warn_of_duplicates(headers, wanted):
    files = {}
    for name, header in headers.items():
        counts = Counter(key.lower() for key in header)
        for key, count in counts.items():
            if count > 1 and key not in ("", "comment", "history") and (wanted is None or key in wanted):
                files.setdefault(key, []).append(name)
    for key, names in files.items():
        warn_user(
            f"card {key.upper()} stands more than once in {len(names)} files, first in {names[0]}; "
            "the first of its values is taken",
            FrameWarning,
        )


def summary_column(values):
    """Values of one type stay what they are; a mixture becomes a column of objects."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return np.zeros(len(values))
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        blank = next(iter(kinds))()
        return [blank if value is None else value for value in values]
    if kinds == {int, float}:
        return [0.0 if value is None else float(value) for value in values]
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
