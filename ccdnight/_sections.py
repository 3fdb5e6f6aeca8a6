"""FITS sections such as ``[1:2048,1:4128]``: 1-based, inclusive, x first; numpy slices are none of that."""

import re

from ccdnight.exceptions import SectionError

__all__ = ["format_section", "parse_section", "section_shape"]

_AXIS = re.compile(r"\s*(?:(\*)|((?:-?\d+)?)\s*(:?)\s*((?:-?\d+)?)\s*(?::\s*(-?\d+))?)\s*")


def parse_section(text, shape=None):
    """
    Slices of a FITS section.

    Parameters
    ----------
    text : str
        ``[x1:x2,y1:y2]``, 1-based and inclusive. An end may be missing, an axis may be ``:`` or ``*``;
        ends may be given in reverse order, which in IRAF flips the image and here names the same pixels.
    shape : tuple of int, optional
        Shape ``(ny, nx)`` of the frame: needed where an end is missing, and the section must lie in it.

    Returns
    -------
    slice, slice
        Rows and columns, 0-based and half-open.

    Raises
    ------
    SectionError
        If the text is no two-dimensional section or reaches beyond the frame.
    """
    if not isinstance(text, str) or not re.fullmatch(r"\s*\[[^\[\]]*\]\s*", text):
        msg = f"section {text!r} is not of the form '[x1:x2,y1:y2]'"
        raise SectionError(msg)
    axes = text.strip()[1:-1].split(",")
    if len(axes) != 2:
        msg = f"section {text!r} has {len(axes)} axis, not two: it should read '[x1:x2,y1:y2]'"
        raise SectionError(msg)
    nx, ny = (None, None) if shape is None else (shape[-1], shape[-2])
    columns = _parse_axis(axes[0], nx, text, "x")
    rows = _parse_axis(axes[1], ny, text, "y")
    return rows, columns


def _parse_axis(axis, size, text, name):
    match = _AXIS.fullmatch(axis)
    if match is None or not axis.strip():
        msg = f"section {text!r}: {axis.strip()!r} on the {name} axis is not of the form 'first:last'"
        raise SectionError(msg)
    star, first, colon, last, step = match.groups()
    if step not in (None, "1", "-1"):
        msg = f"section {text!r}: step {step} on the {name} axis; only 1 and -1 are allowed"
        raise SectionError(msg)
    if star:
        first, colon, last = "", ":", ""
    if not colon:
        last = first
    if size is None and (not first or not last):
        msg = f"section {text!r}: the {name} axis has an open end, and the shape of the frame is not known"
        raise SectionError(msg)
    low, high = sorted((int(first or 1), int(last or size)))
    if low < 1 or (size is not None and high > size):
        allowed = f"1:{size}" if size is not None else "1 and more"
        msg = f"section {text!r} reaches beyond the frame: {low}:{high} on the {name} axis, allowed {allowed}"
        raise SectionError(msg)
    return slice(low - 1, high)


def format_section(slices):
    """
    FITS section of two slices.

    Parameters
    ----------
    slices : tuple of slice
        Rows and columns, 0-based and half-open.

    Returns
    -------
    str
        Such as ``[1:2048,1:4128]``.
    """
    rows, columns = slices
    return f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]"


def section_shape(slices):
    """
    Shape ``(ny, nx)`` of what two slices cut out.

    Parameters
    ----------
    slices : tuple of slice
        Rows and columns.

    Returns
    -------
    tuple of int
    """
    return tuple(item.stop - item.start for item in slices)
