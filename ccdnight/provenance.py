"""What was done to a frame and with which inputs: digests, step records, HISTORY and the PROVENANCE table."""

import hashlib
import json
import re
from dataclasses import astuple, dataclass, fields

from astropy.io.fits.verify import VerifyError

from ccdnight.exceptions import AlreadyAppliedError

__all__ = [
    "STATE_CARDS",
    "StepRecord",
    "digest_bytes",
    "digest_file",
    "is_applied",
    "mark_applied",
    "printable",
    "record_rows",
    "record_step",
    "records_of",
    "refuse_twice",
    "set_records",
]

#: Step to the state card which IRAF's ccdproc and this package write, and the cards by which ccdproc of
#: Python and MaxIm tell of the same step. A raw header's own OVERSCAN card proves nothing.
STATE_CARDS = {
    "overscan": ("OVERSCAN", ("SUBOSCAN",)),
    "trim": ("TRIM", ("TRIMIM",)),
    "bias": ("ZEROCOR", ("SUBBIAS",)),
    "linearity": ("LINCOR", ()),
    "dark": ("DARKCOR", ("SUBDARK",)),
    "flat": ("FLATCOR", ()),
    "gain": ("GAINCOR", ()),
    "illumination": ("ILLUMCOR", ()),
    "fringe": ("FRINGCOR", ()),
    "shutter": ("SHUTCOR", ()),
}
#: CALSTAT of MaxIm holds a letter for each step that was applied.
_CALSTAT = {"bias": "B", "dark": "D", "flat": "F"}
_NO = ("", "F", "N", "NO", "FALSE", "0")


@dataclass(frozen=True)
class StepRecord:
    """
    One line of the PROVENANCE table.

    Attributes
    ----------
    file : str
        Input file, or '' where a step has none.
    sha256 : str
        Digest of the input.
    role : str
        What the input served as, such as 'raw', 'bias' or 'flat'.
    step : str
        Name of the step.
    parameters : str
        JSON object of what the step was told.
    version : str
        Version of ccdnight.
    """

    file: str = ""
    sha256: str = ""
    role: str = ""
    step: str = ""
    parameters: str = "{}"
    version: str = ""

    @classmethod
    def names(cls):
        """Column names of the PROVENANCE table."""
        return tuple(item.name for item in fields(cls))


def digest_bytes(data):
    """
    SHA-256 of bytes, in hexadecimal.

    Parameters
    ----------
    data : bytes
        What to digest.

    Returns
    -------
    str
    """
    return hashlib.sha256(data).hexdigest()


def digest_file(path):
    """
    SHA-256 of a file's bytes, in hexadecimal.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    str
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def records_of(ccd):
    """
    Step records that a frame carries.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A frame.

    Returns
    -------
    list of StepRecord
    """
    return list(getattr(ccd, "_ccdnight_records", ()))


def record_step(ccd, step, *, inputs=(), history="", **parameters):
    """
    Note a step in a frame's records and in its HISTORY.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place: call this on a frame you have just made.
    step : str
        Name of the step.
    inputs : iterable of tuple
        ``(file, sha256, role)`` of each input of the step.
    history : str, optional
        A sentence for HISTORY.
    **parameters
        What the step was told; JSON values.
    """
    from ccdnight._version import version

    text = json.dumps(parameters, sort_keys=True, default=str)
    rows = [StepRecord(file, digest, role, step, text, version) for file, digest, role in inputs]
    ccd._ccdnight_records = records_of(ccd) + (rows or [StepRecord("", "", "", step, text, version)])
    if history:
        ccd.meta["HISTORY"] = printable(f"{step}: {history}")


def set_records(ccd, records):
    """
    Give a frame the step records of another.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    records : iterable of StepRecord or of tuple
        The records.
    """
    ccd._ccdnight_records = [item if isinstance(item, StepRecord) else StepRecord(*map(str, item)) for item in records]


def record_rows(ccd):
    """
    The rows of a frame's PROVENANCE table.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A frame.

    Returns
    -------
    list of tuple of str
    """
    return [astuple(item) for item in records_of(ccd)]


def is_applied(meta, step):
    """
    Say by which card a step is known to have been applied.

    Parameters
    ----------
    meta : mapping
        Header.
    step : str
        One of `STATE_CARDS`.

    Returns
    -------
    str
        The card with its value; '' if there is no evidence.
    """
    own, others = STATE_CARDS[step]
    if not hasattr(meta, "cards"):
        # ccdproc of Python writes its cards in lower case, which only a FITS header takes for the same.
        meta = {str(key).upper(): value for key, value in meta.items()}
    for key in others:
        # No instrument writes these: that one is there is enough.
        value = _value(meta, key)
        if key in meta and str(value).strip().upper() not in _NO[1:]:
            return f"{key} = {value!r}"
    value = _value(meta, own)
    told = value is True or (isinstance(value, str) and value.strip().upper() not in _NO)
    # Raw headers have an OVERSCAN card of their own (a count, a section, a flag); only the sentence of IRAF or
    # of this package tells of a subtraction.
    if own == "OVERSCAN":
        told = bool(re.match(r"ccdnight:|.*overscan section is", str(value), re.IGNORECASE))
    if told:
        return f"{own} = {value!r}"
    status = _value(meta, "CALSTAT")
    letter = _CALSTAT.get(step)
    if letter and isinstance(status, str) and letter in status.upper():
        return f"CALSTAT = {status!r}"
    return ""


def _value(meta, key):
    """Value of a card; None where it is missing or cannot be read, which proves nothing."""
    try:
        return meta.get(key)
    except VerifyError:
        return None


def refuse_twice(ccd, step, name="frame"):
    """
    Refuse a step that has been applied before.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame.
    step : str
        One of `STATE_CARDS`.
    name : str, optional
        How to call the frame in the error.

    Raises
    ------
    AlreadyAppliedError
        If there is evidence that it has.
    """
    evidence = is_applied(ccd.meta, step)
    if evidence:
        msg = f"{name}: the step '{step}' has been applied already ({evidence}); give the frame as it was before"
        raise AlreadyAppliedError(msg)


def mark_applied(ccd, step, words):
    """
    Write the state card of a step.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    step : str
        One of `STATE_CARDS`.
    words : str
        How it was done; shortened to one card.
    """
    ccd.meta[STATE_CARDS[step][0]] = printable(f"ccdnight: {words}")[:68]


def printable(text):
    """
    Printable ASCII, the only thing a FITS card may hold.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        With ``?`` for every other character.
    """
    return "".join(c if " " <= c <= "~" else "?" for c in text)
