"""Bytes of raw FITS files: cards are written as they are, right or wrong."""

import numpy as np

from ccdnight.storage import write_bytes

__all__ = ["card", "fits_bytes", "structure_cards", "write_array"]

_BLOCK = 2880


def card(keyword, value="", comment="", *, width=20, gap=" "):
    """
    One header card of the fixed format.

    Parameters
    ----------
    keyword : str
        Its keyword.
    value : str, bool, int or float
        A string is quoted (quotes in it doubled) and padded to eight characters.
    comment : str, optional
        Its comment.
    width : int, optional
        Columns of the value.
    gap : str, optional
        What stands before the slash.

    Returns
    -------
    str
        80 characters.
    """
    if isinstance(value, str):
        text = "'" + f"{value.replace(chr(39), 2 * chr(39)):8s}" + "'"
        text = f"{text:{width}s}"
    elif isinstance(value, (bool, np.bool_)):
        text = f"{'T' if value else 'F':>{width}s}"
    else:
        text = f"{_number(value):>{width}s}"
    line = f"{keyword:8s}= {text}" + (f"{gap}/ {comment}" if comment else "")
    return f"{line[:80]:80s}"


def _number(value):
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    text = repr(float(value)).upper()
    return text if "." in text or "E" in text else text + ".0"


def structure_cards(array, *, gap=" "):
    """
    The cards that say how the array is stored.

    Parameters
    ----------
    array : numpy.ndarray
        uint16, uint8 or float32, shape ``(ny, nx)``.
    gap : str, optional
        As in `card`.

    Returns
    -------
    list of str
        SIMPLE to NAXIS2, and for uint16 BSCALE and BZERO.
    """
    bits = {"u2": 16, "u1": 8, "f4": -32}[array.dtype.str[1:]]
    cards = [
        card("SIMPLE", True, "conforms to FITS standard", gap=gap),
        card("BITPIX", bits, "bits per pixel", gap=gap),
        card("NAXIS", 2, "number of axes", gap=gap),
        card("NAXIS1", array.shape[1], "columns", gap=gap),
        card("NAXIS2", array.shape[0], "rows", gap=gap),
    ]
    if bits == 16:
        cards += [
            card("BSCALE", 1.0, "physical = BSCALE * stored + BZERO", gap=gap),
            card("BZERO", 32768.0, "", gap=gap),
        ]
    return cards


def fits_bytes(array, cards):
    """
    A FITS file of one image.

    Parameters
    ----------
    array : numpy.ndarray
        uint16 (stored as the offset int16 of the FITS standard), uint8 or float32.
    cards : list of str
        All cards but END.

    Returns
    -------
    bytes
    """
    header = "".join(f"{line[:80]:80s}" for line in [*cards, "END"]).encode("ascii")
    header += b" " * (-len(header) % _BLOCK)
    if array.dtype == np.uint16:
        data = (array ^ np.uint16(0x8000)).astype(">u2").tobytes()
    else:
        data = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return header + data + bytes(-len(data) % _BLOCK)


def write_array(path, array, cards=(), *, unit=""):
    """
    Write a map of the truth.

    Parameters
    ----------
    path : path-like
        The file.
    array : numpy.ndarray
        float32 or uint8.
    cards : sequence of str, optional
        More cards.
    unit : str, optional
        BUNIT.
    """
    more = [card("BUNIT", unit)] if unit else []
    write_bytes(path, fits_bytes(array, [*structure_cards(array), *more, *cards]))
