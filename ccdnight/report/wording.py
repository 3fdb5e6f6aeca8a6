"""Numbers as an observer reads them: no more digits than are known, and their unit."""

import math
from datetime import UTC, datetime, timedelta

from ccdnight._numbers import with_error

__all__ = [
    "clean",
    "count",
    "duration",
    "exposure",
    "fraction",
    "measured",
    "moment",
    "plain",
    "plural",
    "significant",
    "span",
]

_JD_EPOCH, _JD_2000 = datetime(2000, 1, 1, 12, tzinfo=UTC), 2451545.0
#: Characters that turn the direction of what follows: a name could be shown as another one.
_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C}
#: What cannot be shown in a page at all: control characters, and halves of pairs from names that are no Unicode.
_UNSHOWN = ({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}) | _TURNING | {0xFFFE, 0xFFFF}
_REPLACED = dict.fromkeys(_UNSHOWN, "\ufffd")


def clean(value):
    """
    Text in which nothing is hidden; other values as they are.

    Parameters
    ----------
    value : object
        What a template is about to show.

    Returns
    -------
    object
    """
    if type(value) is not str:
        return value
    return value.translate(_REPLACED).encode("utf-8", "replace").decode("utf-8")


def count(number):
    """
    A number of things, thousands apart.

    Parameters
    ----------
    number : int
        The number.

    Returns
    -------
    str
        Such as '20,485'.
    """
    return f"{number:,}"


def plain(value):
    """
    Text of an entry of a table.

    Parameters
    ----------
    value : object
        The entry; texts that are empty come back from a file as masked.

    Returns
    -------
    str
    """
    text = "" if value is None else str(value)
    return "" if text == "--" else text


def plural(number, one, many=None):
    """
    A number with the word that it needs.

    Parameters
    ----------
    number : int
        The number.
    one : str
        The word for one.
    many : str, optional
        The word for more; by default with an s.

    Returns
    -------
    str
        Such as '3 frames'.
    """
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def significant(value, digits=3):
    """
    A number with so many significant digits.

    Parameters
    ----------
    value : float
        The number.
    digits : int, optional
        How many; digits before the point are kept, thousands apart.

    Returns
    -------
    str
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 7:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - exponent) if exponent < digits else round(value)
    # 0.9996 has one digit before the point when it is rounded.
    exponent = math.floor(math.log10(abs(rounded))) if rounded else exponent
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}"


def measured(value, error=None, unit="", digits=3):
    """
    A measured number: with two digits of its error where it has one.

    Parameters
    ----------
    value : float or None
        The number.
    error : float, optional
        Its standard deviation.
    unit : str, optional
        Its unit.
    digits : int, optional
        Significant digits where there is no error.

    Returns
    -------
    str
        '' where it is not known.
    """
    if value is None or not math.isfinite(value):
        return ""
    unit = f" {unit}" if unit else ""
    digits = 6 if error and math.isfinite(error) and error > 0 else digits
    return (with_error(value, error, sign="±", thousands=True) or significant(value, digits)) + unit


def fraction(number, total):
    """
    A part in percent.

    Parameters
    ----------
    number, total : float
        The part and the whole.

    Returns
    -------
    str
        Such as '1.95 %'; '' without a whole.
    """
    if not total:
        return ""
    part = 100 * number / total
    if 0 < part < 0.001:
        return "below 0.001 %"
    return f"{significant(part, 2 if part < 10 else 3)} %" if part else "0 %"


def duration(seconds):
    """
    A time span in words.

    Parameters
    ----------
    seconds : float
        The span.

    Returns
    -------
    str
        Such as '0.84 s', '2 min 13 s' or '1 h 02 min'.
    """
    if seconds < 60:
        return f"{significant(seconds, 2 if seconds < 10 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def exposure(seconds):
    """
    An exposure time, or several together.

    Parameters
    ----------
    seconds : float
        The time.

    Returns
    -------
    str
        In seconds up to an hour.
    """
    return f"{round(seconds, 2):,g} s" if seconds < 3600 else duration(seconds)


def moment(julian_date):
    """
    UTC of a Julian date.

    Parameters
    ----------
    julian_date : float
        In days.

    Returns
    -------
    `~datetime.datetime` or None
        Rounded to the second; None for what is no date.
    """
    try:
        found = _JD_EPOCH + timedelta(days=float(julian_date) - _JD_2000)
    except (OverflowError, TypeError, ValueError):
        return None
    return (found + timedelta(seconds=0.5)).replace(microsecond=0)


def span(values, digits=3, unit=""):
    """
    From the smallest to the largest of some numbers.

    Parameters
    ----------
    values : iterable of float or None
        The numbers; None is left out.
    digits : int, optional
        Significant digits.
    unit : str, optional
        Their unit.

    Returns
    -------
    str
        '' without numbers.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    low, high = (significant(value, digits) for value in (min(known), max(known)))
    return (low if low == high else f"{low} to {high}") + (f" {unit}" if unit else "")
