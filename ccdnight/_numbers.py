"""Numbers as a person writes them: with two digits of their error."""

import math

__all__ = ["with_error"]

#: More digits than these tell nobody anything.
_PLACES = 8


def with_error(value, error, *, sign="+-", thousands=False):
    """
    A number and its error, both to the second digit of the error.

    Parameters
    ----------
    value : float
        The number.
    error : float or None
        Its standard deviation.
    sign : str, optional
        What stands between them.
    thousands : bool, optional
        Whether thousands are set apart by commas.

    Returns
    -------
    str
        '' where the error is not known, not above 0, or too small for eight digits: then it has nothing to say about
        the digits of the number.

    Examples
    --------
    >>> from ccdnight._numbers import with_error
    >>> with_error(2.00021, 0.00163), with_error(2.0, None), with_error(1.0, 1e-12)
    ('2.0002 +- 0.0016', '', '')
    """
    if error is None or not (math.isfinite(error) and error > 0):
        return ""
    places = max(0, 1 - math.floor(math.log10(error)))
    if places > _PLACES:
        return ""
    kind = f"{',' * thousands}.{places}f"
    return f"{value:{kind}} {sign} {error:{kind}}"
