"""What interface functions check before array code trusts it: lists of frames, numbers with units, windows."""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ccdnight.exceptions import InputError

__all__ = ["check_frame", "check_window", "frame_list", "positive", "whole"]


def frame_list(frames):
    """
    Frames as a list.

    Parameters
    ----------
    frames : `~astropy.nddata.CCDData`, path-like, collection of files, or an iterable of the first two
        What was given.

    Returns
    -------
    list

    Raises
    ------
    TypeError
        If it is none of those.
    """
    if isinstance(frames, CCDData | str | Path):
        return [frames]
    if hasattr(frames, "files_filtered"):
        return [Path(frames.location or "", str(name)) for name in frames.files]
    if frames is None or not np.iterable(frames):
        msg = f"frames is a {type(frames).__name__}; a CCDData, a path, or a list of either is needed"
        raise TypeError(msg)
    return list(frames)


def check_frame(ccd, name="frame"):
    """
    Refuse a CCDData that is no raw or corrected frame in adu.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame.
    name : str, optional
        How to call it.

    Raises
    ------
    InputError
        If it is not two-dimensional, is empty, or not in adu.
    """
    if np.ndim(ccd.data) != 2 or 0 in np.shape(ccd.data):
        msg = f"{name}: shape {np.shape(ccd.data)}; a frame has two axes, none of length 0"
        raise InputError(msg)
    if str(ccd.unit) not in ("adu", "count", "ct"):
        msg = f"{name}: its unit is {str(ccd.unit)!r}; a raw frame is in adu"
        raise InputError(msg)


def positive(value, unit, name, *, zero=False):
    """
    A number, or several, in the documented unit.

    Parameters
    ----------
    value : float, `~numpy.ndarray` or `~astropy.units.Quantity`
        A Quantity is converted, a plain number is in `unit`.
    unit : str
        The unit.
    name : str
        How to call it in the error.
    zero : bool, optional
        Whether 0 is allowed.

    Returns
    -------
    float or `~numpy.ndarray`

    Raises
    ------
    InputError
        If it has another unit, is no number, not finite, or not positive.
    """
    wanted = f"a number of 0 or more in {unit}" if zero else f"a positive number in {unit}"
    try:
        plain = value.to_value(unit) if hasattr(value, "to_value") else value
        plain = np.asarray(np.nan if isinstance(plain, str | bool | bytes) else plain, dtype=float)
    except (u.UnitConversionError, TypeError, ValueError) as error:
        msg = f"{name} = {value!r}; {wanted} is needed"
        raise InputError(msg) from error
    if not np.isfinite(plain).all() or not ((plain >= 0) if zero else (plain > 0)).all():
        msg = f"{name} = {value!r}; {wanted} is needed"
        raise InputError(msg)
    return float(plain) if plain.ndim == 0 else plain


def check_window(window):
    """
    Refuse a window that is no number of rows.

    Parameters
    ----------
    window : int
        Rows over which an overscan is smoothed.

    Raises
    ------
    ValueError
        If it is no whole number of 1 or more.
    """
    if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
        msg = f"window = {window!r}; it must be a whole number of 1 or more rows"
        raise ValueError(msg)


def whole(value, name):
    """
    A whole number of 0 or more.

    Parameters
    ----------
    value : int
        What was given.
    name : str
        How to call it in the error.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        msg = f"{name} = {value!r}; it must be a whole number of 0 or more"
        raise ValueError(msg)
    return int(value)
