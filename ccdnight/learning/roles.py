"""Which keyword plays which role in a header: exposure, filter, time and the rest."""

import re
from dataclasses import dataclass

from ccdnight.learning.cards import number_of
from ccdnight.observation import from_julian_date, parse_time
from ccdnight.profiles import get_profile

__all__ = ["Role", "find_roles"]

#: Part of the frames that must have a keyword (biases often lack some).
_ENOUGH = 0.2
_NEVER = re.compile(r"(END|FILE|CREAT|MOON|SUN|TEL|DOME|AIR|AMB|MIRR|FOC|CONTR|DEW|OUT)", re.IGNORECASE)


@dataclass(frozen=True)
class Role:
    """
    Keywords of one role.

    Attributes
    ----------
    keywords : tuple of str or None
        In the order of trust; None where none was found.
    evidence : str
        What was seen.
    """

    keywords: tuple | None
    evidence: str


def _is_exposure(value):
    number = number_of(value)
    return number is not None and 0 <= number < 1e5


def _is_temperature(value):
    number = number_of(value)
    return number is not None and -200 <= number <= 60


def _is_text(value):
    return isinstance(value, str) and parse_time(value) is None and number_of(value) is None


def _is_name(value):
    return isinstance(value, str | int) and not isinstance(value, bool)


def _is_time(value):
    return parse_time(value) is not None


def _is_date(value):
    return parse_time(value) is not None or parse_time(value, "00:00:00") is not None


def _is_clock(value):
    return isinstance(value, str) and parse_time("2000-01-01", value) is not None


def _is_julian(value):
    return number_of(value) is not None and from_julian_date(value) is not None


#: Role: what its values are, what its keyword looks like, what its comment says.
_ROLES = {
    "exposure": (_is_exposure, r"EXP(OS|T|\b|[ _-]?TIME)|INTEG|ITIME|SHUTTIME", r"(exposure|integration).*(time|sec)"),
    "dark_time": (_is_exposure, r"DARK.?TIME", r"dark.*time"),
    "filter": (_is_name, r"FILT|WHEEL|FLTR|\bBAND\b", r"filter.*(name|used)|name of.*filter"),
    "object": (_is_name, r"OBJ(ECT|NAME|\b)|TARG|FIELD", r"(name|title).*(object|target)|(object|target).*name"),
    "time": (
        _is_date,
        r"(DATE|TIME|UTC?|OBS|BEG|START).*(OBS|BEG|START|UTC?)|DATE",
        r"(start|begin).*(exposure|observ)",
    ),
    "time_of_day": (_is_clock, r"\bUTC?\b|UT.?(START|OBS|BEG)|TIME.?(OBS|BEG)", r"(universal|utc?\b).*(start|begin)"),
    "julian_date": (_is_julian, r"\bM?JD\b(?!.*(HELIO|BARY|END))", r"(?!.*(helio|bary))julian date.*start"),
    "temperature": (
        _is_temperature,
        r"(CCD|DET|CHIP|SENSOR).*T(EMP|\b)|T(EMP)?.*(CCD|DET|CHIP)",
        r"(ccd|det|chip).*temp",
    ),
    "detector": (_is_name, r"(CHIP|CCD|DET)[ _-]?(ID|NUM|NO|INDEX)$", r"(?!)"),
    "read_mode": (_is_name, r"READ.?(OUT)?.?(M|MODE|SPD|SPEED)|RDMODE", r"read.?out (mode|speed)"),
}
_EXTRA_BINNING = (("CDELT1U", "CDELT2U"), ("BINX", "BINY"), ("XBIN", "YBIN"), ("BIN1", "BIN2"), ("HBIN", "VBIN"))


def find_roles(cards):
    """
    Find the keywords of each role.

    Keywords that the generic profile knows come first; then those whose name or comment says it. In all cases their
    values must be what the role needs.

    Parameters
    ----------
    cards : Cards
        All cards.

    Returns
    -------
    dict of str to Role
    """
    roles = {name: _find(name, cards) for name in _ROLES}
    roles["time"], roles["time_of_day"] = _times(roles, cards)
    roles["filter"] = _filters(roles["filter"], cards)
    roles["binning"] = _binning(cards)
    return roles


def _find(name, cards):
    fits, in_name, in_comment = _ROLES[name]
    known = [key for key in getattr(get_profile("generic").dialect, name) if _holds(cards, key, fits)]
    if known:
        return Role(tuple(known), _told(cards, known))
    scored = []
    for place, key in enumerate(cards.values):
        score = 2 * bool(re.search(in_name, key)) + bool(re.search(in_comment, cards.comments[key], re.IGNORECASE))
        last = re.split(r"[ .]", key)[-1]
        if score and not _NEVER.search(last) and _holds(cards, key, fits):
            varies = len(cards.distinct(key)) > 1
            scored.append((-score, -varies, len(key), place, key))
    if not scored:
        return Role(None, "no card was found that could mean it")
    found = [min(scored)[-1]]
    return Role(tuple(found), f"{_told(cards, found)}; told by its name, comment and values")


def _holds(cards, key, fits):
    values = [value for value in cards.values.get(key, ()) if value is not None]
    # The object and the filter may stand in a few science frames only.
    if not values or (len(values) < _ENOUGH * cards.count and fits is not _is_name):
        return False
    return sum(map(fits, values)) >= 0.9 * len(values)


def _told(cards, keys):
    return "; ".join(f"{key} in {round(100 * cards.part(key))} % of the frames: {_some(cards, key)}" for key in keys)


def _some(cards, key):
    values = cards.distinct(key)
    shown = ", ".join(str(value)[:24] for value in values[:4])
    return shown + (f", ... ({len(values)} values)" if len(values) > 4 else "")


def _times(roles, cards):
    """Full times need no time of day; a date alone borrows one."""
    found, clock = roles["time"], roles["time_of_day"]
    if found.keywords is None:
        return found, Role(None, clock.evidence)
    full = [key for key in found.keywords if _holds(cards, key, _is_time)]
    if full:
        return Role(tuple(full), _told(cards, full)), Role((), "not needed: the time card holds date and time")
    return found, clock


def _filters(role, cards):
    """Of several filter cards the names come before the numbers of positions; open places of a wheel say nothing."""
    if role.keywords is None or len(role.keywords) < 2:
        return role
    named = [key for key in role.keywords if any(_is_text(value) for value in cards.distinct(key))] or role.keywords
    varied = [key for key in named if len(cards.distinct(key)) > 1]
    wheels = _wheels(cards, varied)
    if wheels:
        return Role((wheels,), f"{_told(cards, wheels)}; these are wheels that work together")
    if varied and len(varied) < len(named):
        named = varied
        return Role(tuple(named), f"{_told(cards, named)}; the other filter cards are the same in all frames")
    return Role(tuple(named), _told(cards, named))


def _wheels(cards, keys):
    """Cards of several wheels, where none of them alone tells the filter."""
    for one in keys:
        same = tuple(key for key in keys if re.sub(r"\d", "", key) == re.sub(r"\d", "", one))
        together = len(set(zip(*(cards.values[key] for key in same), strict=True)))
        if len(same) > 1 and together > max(len(set(cards.values[key])) for key in same):
            return same
    return ()


def _binning(cards):
    dialect = get_profile("generic").dialect
    choices = [tuple([item] if isinstance(item, str) else item) for item in dialect.binning] + list(_EXTRA_BINNING)
    choices += _pairs_of_binning(cards)
    for keys in choices:
        if all(_is_factor(cards, key) for key in keys):
            return Role((keys,), _told(cards, keys))
    return Role(None, "no card was found that could mean it")


def _is_factor(cards, key):
    values = cards.distinct(key)
    texts = [re.findall(r"[\d.]+", str(value)) for value in values]
    numbers = [number_of(item) for text in texts for item in text]
    return bool(numbers) and all(n is not None and n == int(n) and 1 <= n <= 16 for n in numbers)


def _pairs_of_binning(cards):
    names = [key for key in cards.values if re.search(r"BIN", key) and _is_factor(cards, key)]
    pairs = []
    for one in names:
        for first, second in (("X", "Y"), ("1", "2"), ("H", "V")):
            other = one[::-1].replace(first, second, 1)[::-1]
            if other != one and other in names:
                pairs.append((one, other))
    return pairs + [(key,) for key in names if any(len(re.findall(r"\d+", str(v))) == 2 for v in cards.distinct(key))]
