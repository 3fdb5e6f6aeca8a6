"""What the cards of a header say, read with a profile's dialect: kind, exposure, filter, time and the rest."""

import fnmatch
import math
import re
from dataclasses import dataclass
from datetime import datetime

from ccdnight.observation import from_julian_date, parse_angle, parse_time
from ccdnight.storage import card_value

__all__ = ["HeaderFacts", "detector_of", "matches_globs", "read_facts"]


@dataclass(frozen=True)
class HeaderFacts:
    """
    What a header says, in our words.

    Attributes
    ----------
    kind : str
        'bias', 'dark', 'flat', 'twilight', 'science' or 'unknown'.
    evidence : str
        The cards which the kind rests on.
    ignored : bool
        Whether it is a frame of a known but unused kind, such as a focus frame.
    exposure, dark_time : float or None
        Seconds; `dark_time` only where it is believable.
    filter, object : str
        '' where there is none.
    time : `~datetime.datetime` or None
        Begin of the exposure, UTC.
    temperature : float or None
        Detector temperature in Celsius.
    detector, binning, read_mode : str
        Spelt as in the header; binning as '2x2'.
    problems : tuple of str
        What is wrong, with the value found and what is allowed.
    """

    kind: str
    evidence: str
    ignored: bool = False
    exposure: float | None = None
    dark_time: float | None = None
    filter: str = ""
    object: str = ""
    time: datetime | None = None
    temperature: float | None = None
    detector: str = ""
    binning: str = ""
    read_mode: str = ""
    problems: tuple[str, ...] = ()


def matches_globs(value, globs):
    """
    Whether a card's value matches one of some globs, case and outer blanks ignored.

    Parameters
    ----------
    value : object
        The value; None matches nothing.
    globs : iterable of str
        Shell patterns.

    Returns
    -------
    bool
    """
    if value is None:
        return False
    text = str(value).strip().casefold()
    return any(fnmatch.fnmatchcase(text, glob.casefold()) for glob in globs)


def first_value(header, keys):
    """
    The first of some cards that holds something.

    Parameters
    ----------
    header : mapping
        Header.
    keys : iterable of str
        Keywords in order of trust.

    Returns
    -------
    key : str
        '' if none does.
    value : object
        None if none does.
    """
    for key in keys:
        value = card_value(header, key)
        if value is not None and str(value).strip():
            return key, value
    return "", None


def first_number(header, keys):
    """
    The first of some cards that holds a finite number, and what is wrong with those before it.

    Parameters
    ----------
    header : mapping
        Header.
    keys : iterable of str
        Keywords in order of trust.

    Returns
    -------
    value : float or None
    problem : str
        Names the first card that holds something else; '' if a number was found or no card is there.
    """
    problem = ""
    for key in keys:
        value = card_value(header, key)
        if isinstance(value, str):
            value = value.strip()
            if not value:
                continue
        if value is None or isinstance(value, bool):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number, ""
        problem = problem or f"{key} = {value!r} is not a number"
    return None, problem


def read_facts(header, profile):
    """
    Read a header with a profile's dialect.

    Parameters
    ----------
    header : mapping
        Header; its cards may be unreadable.
    profile : InstrumentProfile
        The dialect.

    Returns
    -------
    HeaderFacts
    """
    dialect, problems = profile.dialect, []
    exposure = _exposure(header, dialect, problems)
    kind, evidence, ignored = _kind(header, profile, exposure, problems)
    if exposure is None and kind == "bias":
        exposure = 0.0
    elif exposure is None and kind in ("dark", "flat", "twilight", "science") and not problems:
        problems.append(f"no exposure time: none of {', '.join(dialect.exposure)} is in the header")
    temperature, _ = first_number(header, dialect.temperature)
    return HeaderFacts(
        kind=kind,
        evidence=evidence,
        ignored=ignored,
        exposure=exposure,
        dark_time=_dark_time(header, dialect, exposure),
        filter=_filter(header, dialect.filter),
        object=_text(header, dialect.object),
        time=_time(header, dialect),
        temperature=temperature,
        detector=detector_of(header, profile),
        binning=_binning(header, dialect.binning),
        read_mode=_text(header, dialect.read_mode),
        problems=tuple(problems),
    )


def detector_of(header, profile):
    """
    The detector that a header names: `read_facts` for those who need nothing else.

    Parameters
    ----------
    header : mapping
        Header; its cards may be unreadable.
    profile : InstrumentProfile
        The dialect.

    Returns
    -------
    str
        '' where it does not say.
    """
    return _text(header, profile.dialect.detector)


def _text(header, keys):
    key, value = first_value(header, keys)
    return re.sub(r"\s+", " ", str(value)).strip() if key else ""


#: Places of a filter wheel without a filter.
_OPEN = ("open", "clear", "clr", "empty", "none", "air", "hole", "free", "blank", "0")


def _filter(header, choices):
    for keys in choices:
        texts = [text for key in ([keys] if isinstance(keys, str) else keys) if (text := _text(header, (key,)))]
        if texts:
            named = [text for text in texts if len(texts) == 1 or not matches_globs(text, _OPEN)]
            return "+".join(named) or texts[0]
    return ""


def _exposure(header, dialect, problems):
    exposure, problem = first_number(header, dialect.exposure)
    if problem:
        problems.append(f"{problem}; an exposure in seconds is needed")
    if exposure is not None and not 0 <= exposure < 1e6:
        problems.append(f"exposure {exposure:g} s; allowed are 0 to 1,000,000 s")
        return None
    return exposure


def _dark_time(header, dialect, exposure):
    """The time charge was collected for; a card that contradicts the exposure is not believed."""
    value, _ = first_number(header, dialect.dark_time)
    if value is None or exposure is None:
        return exposure
    return value if exposure <= value <= exposure + max(30.0, 0.1 * exposure) else exposure


def _time(header, dialect):
    # A card with date and time first: one with a date alone borrows the time from its own card.
    for key in dialect.time:
        moment = parse_time(card_value(header, key))
        if moment:
            return moment
    for key in dialect.time:
        for clock in dialect.time_of_day:
            moment = parse_time(card_value(header, key), card_value(header, clock))
            if moment:
                return moment
    for key in dialect.julian_date:
        moment = from_julian_date(card_value(header, key))
        if moment:
            return moment
    return None


def _binning(header, choices):
    for keys in choices:
        values = [card_value(header, key) for key in keys]
        numbers = re.findall(r"\d+", " ".join(str(value) for value in values if value is not None))
        if len(numbers) == 1:
            numbers = numbers * 2
        if len(numbers) >= 2 and all(value is not None for value in values):
            return f"{int(numbers[0])}x{int(numbers[1])}"
    return ""


def _kind(header, profile, exposure, problems):
    for rule in profile.rules:
        if rule.exposure_max is not None and (exposure is None or exposure > rule.exposure_max):
            continue
        if all(matches_globs(card_value(header, key), globs) for key, globs in rule.when.items()):
            cards = [f"{key} = {card_value(header, key)!r}" for key in rule.when]
            if rule.exposure_max is not None:
                cards.append(f"exposure {exposure:g} s")
            kind = "unknown" if rule.kind == "ignored" else rule.kind
            return kind, ", ".join(cards), rule.kind == "ignored"
    for key in profile.dialect.kind:
        value = card_value(header, key)
        if value is None or not str(value).strip():
            continue
        for kind, globs in profile.kinds.items():
            if matches_globs(value, globs):
                return ("unknown" if kind == "ignored" else kind), f"{key} = {value!r}", kind == "ignored"
    return _unknown_kind(header, profile, problems)


def _unknown_kind(header, profile, problems):
    key, value = first_value(header, profile.dialect.kind)
    known = "; ".join(f"{kind}: {', '.join(globs)}" for kind, globs in profile.kinds.items())
    if key:
        problems.append(f"{key} = {value!r} is no kind of frame that profile {profile.name!r} knows ({known})")
        return "unknown", f"{key} = {value!r}", False
    keys = ", ".join(profile.dialect.kind) or "any card"
    problems.append(f"the header does not say what kind of frame this is: {keys} missing or blank")
    return "unknown", "", False


def site_of(header, profile):
    """
    Latitude and longitude of the telescope.

    Parameters
    ----------
    header : mapping
        Header.
    profile : InstrumentProfile
        Its site is taken where the header has none.

    Returns
    -------
    latitude, longitude : float or None
        Degrees, north and east positive.
    """
    latitude = parse_angle(first_value(header, profile.dialect.latitude)[1])
    longitude = parse_angle(first_value(header, profile.dialect.longitude)[1])
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -360 <= longitude <= 360):
        latitude, longitude = profile.latitude, profile.longitude
    return latitude, longitude
