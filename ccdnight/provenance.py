"""What was done to a frame and with which inputs: digests, step records, HISTORY and the PROVENANCE table."""

import hashlib
import json
import re
from dataclasses import astuple, dataclass, fields

from astropy.io.fits.verify import VerifyError

from ccdnight._unchanged import Unchanged
from ccdnight.exceptions import AlreadyAppliedError

__all__ = [
    "STATE_CARDS",
    "StepRecord",
    "digest_bytes",
    "digest_file",
    "digest_input",
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

    Examples
    --------
    >>> from ccdnight.provenance import StepRecord
    >>> StepRecord(file="bias_1.fits", role="raw", step="make_bias").role
    'raw'
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

    Examples
    --------
    >>> from ccdnight.provenance import digest_bytes
    >>> digest_bytes(b"")[:16]
    'e3b0c44298fc1c14'
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

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.provenance import digest_bytes, digest_file
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "a.txt").write_bytes(b"bias")
    ...     digest = digest_file(Path(folder, "a.txt"))
    >>> digest == digest_bytes(b"bias")
    True
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


#: Digests of raw files.
_inputs = Unchanged()


def digest_input(path):
    """
    `digest_file` of a raw file, read once only as long as the disk says that it is the same.

    Several steps of a run ask for it. A file that changed a moment ago is read every time: another change might not
    be seen.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    str

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.provenance import digest_file, digest_input
    >>> with TemporaryDirectory() as folder:
    ...     size = Path(folder, "a.txt").write_bytes(b"bias")
    ...     same = digest_input(Path(folder, "a.txt")) == digest_file(Path(folder, "a.txt"))
    >>> same
    True
    """
    return _inputs.get(path, digest_file)


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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import trim
    >>> from ccdnight.provenance import records_of
    >>> [record.step for record in records_of(trim(CCDData(np.zeros((4, 4)), unit="adu"), profile="generic"))]
    ['trim']
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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.provenance import record_step, records_of
    >>> frame = CCDData(np.zeros((4, 4)), unit="adu")
    >>> record_step(frame, "scale", factor=2.0)
    >>> [(record.step, record.parameters) for record in records_of(frame)]
    [('scale', '{"factor": 2.0}')]
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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.provenance import StepRecord, records_of, set_records
    >>> frame = CCDData(np.zeros((4, 4)), unit="adu")
    >>> set_records(frame, [StepRecord(file="bias.fits", role="bias", step="subtract_bias")])
    >>> records_of(frame)[0].file
    'bias.fits'
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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.provenance import record_rows, record_step
    >>> frame = CCDData(np.zeros((4, 4)), unit="adu")
    >>> record_step(frame, "scale", factor=2.0)
    >>> "scale" in record_rows(frame)[0]
    True
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

    Examples
    --------
    >>> from ccdnight.provenance import is_applied
    >>> is_applied({"ZEROCOR": "bias.fits"}, "bias"), is_applied({}, "bias")
    ("ZEROCOR = 'bias.fits'", '')
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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.provenance import mark_applied, refuse_twice
    >>> frame = CCDData(np.zeros((4, 4)), unit="adu")
    >>> refuse_twice(frame, "flat")  # nothing happens
    >>> mark_applied(frame, "flat", "flat.fits")  # from here on it raises
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

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.provenance import is_applied, mark_applied
    >>> frame = CCDData(np.zeros((4, 4)), unit="adu")
    >>> mark_applied(frame, "flat", "by a flat of my own")
    >>> is_applied(frame.meta, "flat")
    "FLATCOR = 'ccdnight: by a flat of my own'"
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

    Examples
    --------
    >>> from ccdnight.provenance import printable
    >>> printable("5 µm")
    '5 ?m'
    """
    return "".join(c if " " <= c <= "~" else "?" for c in text)
