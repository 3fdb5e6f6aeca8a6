"""Cards that may be unreadable, and headers made fit to be written."""

from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ccdnight._quiet import quiet_libraries

__all__ = ["card_value", "clean_header"]


def card_value(header, key, default=None):
    """
    Value of a card that may be unreadable.

    Parameters
    ----------
    header : mapping
        Header.
    key : str
        Keyword.
    default : object, optional
        What a missing or undefined card gives.

    Returns
    -------
    object
        The value; of an unreadable card the text behind the equals sign.

    Examples
    --------
    >>> from astropy.io import fits
    >>> from ccdnight.storage import card_value
    >>> card_value(fits.Header({"FILTER": "R"}), "FILTER"), card_value(fits.Header(), "FILTER", "none")
    ('R', 'none')
    """
    try:
        value = header.get(key, default)
    except VerifyError:
        value = _raw_value(header, key)
    return default if value is None or isinstance(value, fits.card.Undefined) else value


def _raw_value(header, key):
    image = header.cards[key]._image or ""
    return image[10:].split(" /")[0].strip()


def clean_header(header):
    """
    A copy of a header in which every card is valid and can be written.

    Unreadable values become strings, and a card that breaks the rules of FITS (an unescaped quote) is
    spelt anew with the value that is read from it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header, left as it is.

    Returns
    -------
    header : `~astropy.io.fits.Header`
    problems : list of str
        What was put right, a sentence each.

    Examples
    --------
    >>> from astropy.io import fits
    >>> from ccdnight.storage import clean_header
    >>> header, problems = clean_header(fits.Header.fromstring("EXPTIME = 12,5"))
    >>> header["EXPTIME"], len(problems)
    ('12,5', 1)
    """
    clean, problems = fits.Header(), []
    with quiet_libraries():
        for card in header.cards:
            try:
                value, comment, valid = card.value, card.comment, True
            except VerifyError:
                value, comment, valid = (card._image or "")[10:].split(" /")[0].strip(), "", False
            if not valid:
                problems.append(f"card {card.keyword} cannot be read: {value!r}")
            try:
                clean.append(_new_card(card.keyword, value, comment), end=True)
            except (VerifyError, ValueError):
                problems.append(f"card {card.keyword!r} cannot be written as a card; it is kept as a comment")
                clean.append(fits.Card("COMMENT", f"{card.keyword} = {value}"[:72]), end=True)
    return clean, problems


def _new_card(keyword, value, comment):
    if keyword in ("COMMENT", "HISTORY", ""):
        return fits.Card(keyword, value)
    card = fits.Card(keyword, value, comment)
    image = card.image  # formats the card now, so that one that cannot be written fails here
    if len(keyword) > 8:
        # A long keyword may leave no room for the value, of which astropy only warns.
        fits.Card.fromstring(image).verify("exception")
    return card
