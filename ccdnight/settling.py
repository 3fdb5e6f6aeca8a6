"""
Which gain and read noise are believed: the measured, the profile's or the header's.

The profile is believed, unless the measurement contradicts it, by more than 5 of its errors and 3 %, and is itself
better than 1 %. Without a value in the profile the measurement is believed, and the header last.
"""

import math
from dataclasses import dataclass

from ccdnight._numbers import with_error

__all__ = ["Settled", "settle"]

#: A measurement contradicts a value by more than so many errors and this part of it.
_ERRORS, _PART = 5.0, 0.03
#: It overrules the profile if it is better than the first, and the header if it is better than the second.
_GOOD, _FAIR = 0.01, 0.03


@dataclass(frozen=True)
class Settled:
    """
    A value and where it comes from.

    Attributes
    ----------
    value : float or None
        What is used; None if nobody knows.
    source : str
        'profile', 'measured', 'header' or ''.
    words : str
        What an observer has to know about it; '' if all agree.
    """

    value: float | None
    source: str
    words: str = ""


def settle(name, unit, measured, error, profile, header):
    """
    Settle one quantity.

    Parameters
    ----------
    name, unit : str
        'gain' or 'read noise', and its unit.
    measured, error : float or None
        What the frames say, and how well.
    profile, header : float or None
        What instrument profile and header say.

    Returns
    -------
    Settled
    """
    known = measured is not None and error is not None and 0 < error < math.inf
    against_profile = known and profile is not None and _contradicts(measured, error, profile)
    against_header = known and header is not None and _contradicts(measured, error, header)
    good, fair = (known and error <= part * measured for part in (_GOOD, _FAIR))
    if profile is not None:
        settled = (measured, "measured") if against_profile and good else (profile, "profile")
    elif known and (fair or header is None):
        settled = (measured, "measured")
    else:
        settled = (header, "header") if header is not None else (None, "")
    wrong = [who for who, is_wrong in (("profile", against_profile), ("header", against_header)) if is_wrong]
    told = ((with_error(measured, error) or f"{measured:.6g}") if known else "", profile, header)
    return Settled(*settled, _words(name, unit, *settled, told, wrong))


def _contradicts(measured, error, other):
    return abs(measured - other) > max(_ERRORS * error, _PART * abs(other))


def _words(name, unit, value, source, told, wrong):
    measured, profile, header = told
    if source == "header":
        reason = f"the measurement, {measured}, is no better than 3 %" if measured else "nothing was measured"
        return f"the {name}, {header:g} {unit}, is the header's: {reason}"
    if not wrong:
        return ""
    numbers = [f"measured {measured}"]
    numbers += [f"profile {profile:g}" if profile is not None else "none in the profile"]
    numbers += [f"header {header:g}" if header is not None else "none in the header"]
    words = f"{name} in {unit}: {', '.join(numbers)}; the {' and the '.join(wrong)} cannot be right"
    if "header" in wrong and name == "gain" and header in range(10):
        words += f" (a header's {header:g} is often the number of a gain setting, not electron/adu)"
    return f"{words}; {value:.4g}, {'as measured' if source == 'measured' else 'of the profile'}, is used"
