"""What each entry of a profile file may be: one reader for every key, table by table."""

import re
from dataclasses import fields
from functools import partial

import numpy as np

from ccdnight.profiles._amplifiers import Entry, check_amplifiers
from ccdnight.profiles._checks import (
    WRONG,
    choice,
    globs,
    keyword,
    number,
    numbers,
    patterns_of_cards,
    read_table,
    shown,
    tables,
    text,
    texts,
    whole,
    yes_no,
)
from ccdnight.profiles.model import KINDS, POLICY_CHOICES, Amplifier, Dialect

#: Columns of the frame table that a frame and its calibration can be asked to share.
MATCH_COLUMNS = ("detector", "binning", "read_mode", "shape", "filter", "object")

#: What a frame may be called, in the order in which the spellings are tried.
SORTS = (*KINDS, "ignored")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


def _name(value, key, notes):
    # A name must not look like a file, or it could never be asked for.
    if isinstance(value, str) and _NAME.fullmatch(value) and not value.lower().endswith(".toml"):
        return value
    allowed = "letters, digits and '_.+-' are allowed, but not '.toml' at the end"
    notes.add(key, f"{shown(value)} is no name; {allowed}")
    return WRONG


def _binning(value, key, notes):
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or any(isinstance(item, list) and len(item) not in (1, 2) for item in values):
        notes.add(key, f"{shown(value)} is not allowed; a list of keywords and of pairs of keywords is")
        return WRONG
    pairs = [texts(item, f"{key}[{index}]", notes, read=keyword) for index, item in enumerate(values)]
    return WRONG if any(pair is WRONG for pair in pairs) else tuple(pairs)


def _filter(value, key, notes):
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or [] in values:
        notes.add(key, f"{shown(value)} is not allowed; a list of keywords and of lists of keywords (of wheels) is")
        return WRONG
    read = [texts(v, f"{key}[{i}]", notes, read=keyword) if isinstance(v, list) else keyword(v, f"{key}[{i}]", notes)
            for i, v in enumerate(values)]  # fmt: skip
    return WRONG if any(item is WRONG for item in read) else tuple(read)


def _match_columns(value, key, notes):
    return texts(value, key, notes, read=partial(choice, allowed=MATCH_COLUMNS))


def _binning_name(value, key, notes):
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d?x[1-9]\d?", value):
        return value
    notes.add(key, f"{shown(value)} is no binning, such as '1x1' (columns x rows)")
    return WRONG


def _linearity(value, key, notes):
    """Coefficients under which a larger signal stays the larger one, up to what a 16-bit converter can tell."""
    if not isinstance(value, list):
        notes.add(key, f"{shown(value)} is not allowed; a list of numbers is")
        return WRONG
    items = [number(item, f"{key}[{index}]", notes) for index, item in enumerate(value)]
    if any(item is WRONG for item in items):
        return WRONG
    signal = np.linspace(0, 65535, 257)
    slope = sum(((power + 1) * item * signal**power for power, item in enumerate(items, 1)), np.ones(257))
    if items and not slope.min() > 0:
        problem = f"{shown(value)} turns the response around at {signal[np.argmin(slope > 0)]:.0f} adu"
        notes.add(key, f"{problem}; coefficients in powers of 1/adu are allowed, such as [4e-7]")
        return WRONG
    return tuple(items)


_NOT_NEGATIVE, _POSITIVE = partial(number, low=0), partial(number, above=0)

_POLICY_NUMBERS = {
    "edge": whole,
    "overscan_window": whole,
    "minimum_bias": whole,
    "minimum_dark": whole,
    "minimum_flat": whole,
    "flat_level": partial(numbers, count=2, read=_NOT_NEGATIVE),
    "flat_saturated": _NOT_NEGATIVE,
    "match": _match_columns,
    "exposure_tolerance": partial(numbers, count=2, read=_NOT_NEGATIVE),
    "temperature_tolerance": _NOT_NEGATIVE,
    "dark_scale_up": partial(number, low=1),
    "foreign_dark_bias": yes_no,
    "dark_for_flats": yes_no,
    "use_dark_time": yes_no,
    "sigma": _POSITIVE,
    "dark_sigma": _POSITIVE,
    "flat_sigma": _POSITIVE,
    "sensitivity_noise": _NOT_NEGATIVE,
    "scale_flats": yes_no,
    "grow_saturated": partial(whole, high=50),
    "fringing": partial(globs, empty=True),
    "minimum_fringe": partial(whole, low=3),
    "cosmic_sigclip": _POSITIVE,
    "cosmic_objlim": _POSITIVE,
    "cosmic_seeing": yes_no,
}
_POLICY = _POLICY_NUMBERS | {name: partial(choice, allowed=allowed) for name, allowed in POLICY_CHOICES.items()}
_DIALECT = {item.name: partial(texts, read=keyword) for item in fields(Dialect)}
_DIALECT |= {"binning": _binning, "filter": _filter}
_AMPLIFIER = {
    "detector": text,
    "name": text,
    "shape": partial(numbers, count=2, read=partial(whole, low=1)),
    "data": text,
    "overscan": text,
    "parallel_overscan": text,
    "overscan_skip": whole,
    "gain": _POSITIVE,
    "read_noise": _POSITIVE,
    "saturation": _POSITIVE,
    "bleed": partial(choice, allowed=("auto", "columns", "rows")),
    "linearity": _linearity,
}
_RULE = {
    "kind": partial(choice, allowed=SORTS),
    "when": patterns_of_cards,
    "exposure_max": _NOT_NEGATIVE,
}
_KIND_GLOBS = {kind: partial(globs, empty=True) for kind in SORTS}
_SITE = {
    "latitude": partial(number, low=-90, high=90),
    "longitude": partial(number, low=-180, high=360),
}
_SKY = {
    "pixel_scale": _POSITIVE,
    "rotation": partial(number, low=-360, high=360),
    "mirrored": yes_no,
}


def _rules(value, key, notes):
    rules = []
    for index, item in enumerate(_items(value, key, notes), start=1):
        where = f"{key} (no. {index})"
        entries = read_table(item, _RULE, where, notes)
        if "kind" not in item:
            notes.add(f"{where}.kind", f"missing; one of {', '.join(SORTS)}")
        elif not {"when", "exposure_max"} & set(item):
            notes.add(where, "holds for every frame; give 'when' or 'exposure_max' or both")
        elif item.get("when") == {}:
            notes.add(f"{where}.when", "an empty table; give at least one keyword with its patterns")
        rules.append(entries)
    return rules


def _amplifiers(value, key, notes):
    entries = []
    for index, item in enumerate(_items(value, key, notes), start=1):
        where = f"{key} (no. {index})"
        fine = read_table(item, _AMPLIFIER, where, notes)
        entries.append(Entry(Amplifier(**fine), where, frozenset(item) - frozenset(fine)))
    if value == []:
        notes.add(key, "the list is empty; an instrument has at least one amplifier")
    check_amplifiers(entries, notes)
    return tuple(entry.amplifier for entry in entries)


def _items(value, key, notes):
    value = tables(value, key, notes)
    return [] if value is WRONG else value


def _inner(readers):
    return lambda value, key, notes: read_table(value, readers, key, notes)


#: Readers of the top level of a profile file.
TOP = {
    "format": whole,
    "name": _name,
    "title": text,
    "extends": text,
    "hdu": partial(whole, high=9999),
    "standard_binning": _binning_name,
    "standard_read_modes": texts,
    "match": patterns_of_cards,
    "dialect": _inner(_DIALECT),
    "kinds": _inner(_KIND_GLOBS),
    "rules": _rules,
    "amplifiers": _amplifiers,
    "policy": _inner(_POLICY),
    "site": _inner(_SITE),
    "sky": _inner(_SKY),
}
