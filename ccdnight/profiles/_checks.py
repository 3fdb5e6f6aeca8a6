"""Values of a TOML file, checked one by one: what is wrong is noted, so that all of it is told at once."""

import difflib
import math
import re
import reprlib

from ccdnight.exceptions import ProfileError

#: Stands for a value that cannot be used and has been complained about.
WRONG = object()

# Also the long ones with blanks of the HIERARCH convention, which astropy finds with and without that word.
_KEYWORD = re.compile(r"(?=.{1,66}$)[A-Z0-9_.-]+( [A-Z0-9_.-]+)*")


class Notes:
    """
    The mistakes found in one file.

    Parameters
    ----------
    source : str
        The file, as it is named in front of every mistake.
    """

    def __init__(self, source):
        self.source, self.problems = source, []

    def add(self, key, problem):
        """Note one mistake of one key."""
        self.problems.append(f"{self.source}: {key}: {problem}")

    def add_once(self, key, problem):
        """Note a mistake that may be met several times."""
        if f"{self.source}: {key}: {problem}" not in self.problems:
            self.add(key, problem)

    def raise_any(self):
        """
        End the reading if there was any mistake.

        Raises
        ------
        ProfileError
            With every mistake.
        """
        if self.problems:
            raise ProfileError(self.problems)


def shown(value):
    """A value as it is quoted in a message: never longer than a line."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    try:
        return short.repr(value)
    except ValueError:  # Python prints no number of more than 4300 digits, which TOML can hold in base 16
        return "a number of thousands of digits"


def known(names):
    """The names that are allowed, quoted."""
    return ", ".join(repr(name) for name in names) or "none"


def did_you_mean(name, names):
    """A suggestion for a misspelt name, or nothing; case does not count."""
    spelt = {item.lower(): item for item in names}
    close = difflib.get_close_matches(str(name).lower(), spelt, n=1, cutoff=0.6)
    return f"; did you mean {spelt[close[0]]!r}?" if close else ""


def read_table(value, readers, key, notes):
    """
    Read a table, entry by entry.

    Parameters
    ----------
    value : object
        What stands in the file.
    readers : dict
        Name of an entry to ``reader(value, key, notes)``, which gives the value or `WRONG`.
    key : str
        Name of the table; '' at the top of the file.
    notes : Notes
        Takes the mistakes.

    Returns
    -------
    dict
        The entries that are right.
    """
    entries = {}
    for name, item in table(value, key, notes).items():
        where = f"{key}.{name}" if key else name
        if name not in readers:
            notes.add(where, f"unknown key{did_you_mean(name, readers)} (allowed here: {known(readers)})")
            continue
        entry = readers[name](item, where, notes)
        if entry is not WRONG:
            entries[name] = entry
    return entries


def table(value, key, notes):
    """A table; an empty one, with a note, for anything else."""
    if isinstance(value, dict):
        return value
    notes.add(key, f"{shown(value)} is not a table, which is written [{key}]")
    return {}


def tables(value, key, notes):
    """A list of tables, or `WRONG`."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    notes.add(key, f"{shown(value)} is not a list of tables, each of which is written [[{key}]]")
    return WRONG


def text(value, key, notes, *, blank=True):
    """A string."""
    if isinstance(value, str) and (blank or value.strip()):
        return value
    notes.add(key, f"{shown(value)} is not allowed; a {'' if blank else 'non-blank '}string is")
    return WRONG


def choice(value, key, notes, *, allowed):
    """One of several strings."""
    if isinstance(value, str) and value in allowed:
        return value
    notes.add(key, f"{shown(value)} is not one of {known(allowed)}{did_you_mean(value, allowed)}")
    return WRONG


def yes_no(value, key, notes):
    """A truth value."""
    if isinstance(value, bool):
        return value
    notes.add(key, f"{shown(value)} is not allowed; true and false are")
    return WRONG


def number(value, key, notes, *, low=-math.inf, high=math.inf, above=None):
    """A finite number within limits, as a float; `above` is a limit that is itself not allowed."""
    limits = f" above {above:g}" if above is not None else _limits(low, high)
    if isinstance(value, int | float) and not isinstance(value, bool):
        fits_float = abs(value) <= 1e300  # false for nan, too; compares whole numbers of any length exactly
        if fits_float and low <= value <= high and (above is None or value > above):
            return float(value)
    notes.add(key, f"{shown(value)} is not allowed; a number{limits} is")
    return WRONG


def whole(value, key, notes, *, low=0, high=10**9):
    """A whole number within limits."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    notes.add(key, f"{shown(value)} is not allowed; a whole number{_limits(low, high)} is")
    return WRONG


def _limits(low, high):
    if math.isinf(low) and math.isinf(high):
        return ""
    return f" of at least {low:g}" if high >= 10**9 else f" from {low:g} to {high:g}"


def numbers(value, key, notes, *, count, read):
    """A tuple of so many numbers."""
    if not isinstance(value, list) or len(value) != count:
        notes.add(key, f"{shown(value)} is not allowed; a list of {count} numbers is")
        return WRONG
    items = [read(item, f"{key}[{index}]", notes) for index, item in enumerate(value)]
    return WRONG if any(item is WRONG for item in items) else tuple(items)


def texts(value, key, notes, *, read=text):
    """A tuple of strings, written as a list or, where it is only one, as a string."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        notes.add(key, f"{shown(value)} is not allowed; a string or a list of strings is")
        return WRONG
    items = [read(item, f"{key}[{index}]", notes) for index, item in enumerate(value)]
    return WRONG if any(item is WRONG for item in items) else tuple(items)


def globs(value, key, notes, *, empty=False):
    """A tuple of patterns, which may be empty only where something can be unlearnt by it."""
    patterns = texts(value, key, notes, read=_glob)
    if patterns == () and not empty:
        notes.add(key, "the list of patterns is empty, so nothing would match; give at least one")
        return WRONG
    return patterns


def _glob(value, key, notes):
    if isinstance(value, str):
        return text(value, key, notes, blank=False)
    notes.add(key, f"{shown(value)} is not a pattern; patterns are strings such as 'LFC*', also for numbers")
    return WRONG


def keyword(value, key, notes):
    """A header keyword, in capitals."""
    if isinstance(value, str) and _KEYWORD.fullmatch(value.strip().upper()):
        return value.strip().upper()
    notes.add(key, f"{shown(value)} is no header keyword, such as 'EXPTIME' or 'ESO DET NAME'")
    return WRONG


def patterns_of_cards(value, key, notes):
    """A table of header keywords, each with its patterns."""
    cards = {}
    for name, item in table(value, key, notes).items():
        card = keyword(name, f"{key}.{name}", notes)
        patterns = globs(item, f"{key}.{name}", notes)
        if card is not WRONG and patterns is not WRONG:
            cards[card] = patterns
    return cards
