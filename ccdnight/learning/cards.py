"""What the cards of all frames hold, keyword by keyword."""

import re
from dataclasses import dataclass

from astropy.io.fits.verify import VerifyError

from ccdnight.storage import card_value

__all__ = ["Cards", "number_of"]

#: Cards about the file, not about the exposure.
_STRUCTURE = re.compile(
    r"(SIMPLE|BITPIX|NAXIS\d*|EXTEND|BSCALE|BZERO|BLANK|PCOUNT|GCOUNT|XTENSION|EXTNAME|EXTVER|CHECKSUM|DATASUM"
    r"|COMMENT|HISTORY|BUNIT|)"
)

#: What a profile can name as a keyword.
_SPELT = re.compile(r"(?=.{1,66}$)[A-Z0-9_.-]+( [A-Z0-9_.-]+)*")


@dataclass(frozen=True)
class Cards:
    """
    Values of all keywords in all frames.

    Attributes
    ----------
    values : dict of str to list
        Keyword to its value in each frame, None where it is missing or blank.
    comments : dict of str to str
        Keyword to the comment of its card.
    count : int
        Number of frames.
    """

    values: dict
    comments: dict
    count: int

    @classmethod
    def of(cls, headers):
        """
        Gather the cards of some headers.

        Parameters
        ----------
        headers : list of `~astropy.io.fits.Header`
            Their cards may be unreadable.

        Returns
        -------
        Cards
        """
        values, comments = {}, {}
        for place, header in enumerate(headers):
            for key in dict.fromkeys(header.keys()):
                if _STRUCTURE.fullmatch(key) or not _SPELT.fullmatch(key):
                    continue
                value = card_value(header, key)
                if isinstance(value, str):
                    value = re.sub(r"\s+", " ", value).strip() or None
                values.setdefault(key, [None] * len(headers))[place] = value
                comments.setdefault(key, _comment(header, key))
        return cls(values, comments, len(headers))

    def part(self, key):
        """
        Part of the frames that have a keyword with a value.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        float
        """
        return sum(value is not None for value in self.values.get(key, ())) / max(self.count, 1)

    def distinct(self, key):
        """
        Different values of a keyword, in the order of the frames.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        list
        """
        return list(dict.fromkeys(value for value in self.values.get(key, ()) if value is not None))

    def numbers(self, key):
        """
        Values of a keyword as numbers, None where there is none.

        Parameters
        ----------
        key : str
            Keyword.

        Returns
        -------
        list of float or None
        """
        return [number_of(value) for value in self.values.get(key, [None] * self.count)]


def number_of(value):
    """
    A card's value as a finite number.

    Parameters
    ----------
    value : object
        Of a card.

    Returns
    -------
    float or None
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e300 else None


def _comment(header, key):
    try:
        return str(header.comments[key])
    except (VerifyError, ValueError, KeyError, AttributeError):
        return ""
