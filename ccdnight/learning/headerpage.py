"""The parts of a learnt profile that headers decide: match, dialect, kinds."""

import re

from ccdnight.learning.cards import number_of
from ccdnight.learning.headersections import agrees
from ccdnight.profiles import get_profile

__all__ = ["put_dialect", "put_kinds", "put_match"]

#: Relative difference from the measured value up to which a header's gain or read noise is believed.
_BELIEVED = 0.1
_INDEX = re.compile(r"index|setting|mode|number|level", re.IGNORECASE)


def put_match(page, rules, evidence):
    """
    Write how the camera is recognised.

    Parameters
    ----------
    page : Page
        Is written to.
    rules : dict of str to tuple of str
        Keywords and patterns.
    evidence : str
        What they rest on.
    """
    page.head("[match]")
    for place, (key, globs) in enumerate(rules.items()):
        page.put(key, globs[0], evidence if place == 0 else "")


def put_dialect(page, cards, roles, kinds, detectors, sections):
    """
    Write the dialect.

    Parameters
    ----------
    page : Page
        Is written to.
    cards : Cards
        All cards.
    roles : dict of str to Role
        What was found.
    kinds : KindWords
        The keyword of the kind.
    detectors : list of (Layout, list of Electronics)
        What the pixels say; empty before they were looked at.
    sections : (dict, dict)
        Sections of the headers, and broken ones.
    """
    page.head("[dialect]")
    page.put("kind", kinds.keywords, kinds.evidence)
    for name, role in roles.items():
        page.put(name, role.keywords, role.evidence)
    for name in ("gain", "read_noise"):
        _put_number(page, name, cards, [item for _, measured in detectors for item in measured])
    known = [layout for layout, _ in detectors if layout.known]
    if known:
        _put_sections(page, known[0], *sections)
        _put_counts(page, cards, known[0])


def _put_number(page, name, cards, measured):
    keys = [key for key in getattr(get_profile("generic").dialect, name) if cards.part(key)]
    values = [getattr(item, name) for item in measured if getattr(item, name) is not None]
    shown = {key: ", ".join(map(str, cards.distinct(key)[:3])) for key in keys}
    agree = [key for key in keys if _agrees(cards.distinct(key), values)]
    if not keys:
        page.say(f"{name}: no card of the header states it")
    elif agree:
        page.put(name, tuple(agree), "; ".join(f"{key} = {shown[key]} agrees with what was measured" for key in agree))
    elif values:
        told = "; ".join(f"{key} = {shown[key]} ({cards.comments[key] or 'no comment'})" for key in keys)
        page.put(name, (), f"{told}: not what was measured, {values[0]:.2f}")
    elif any(_INDEX.search(cards.comments[key]) for key in keys):
        told = "; ".join(f"{key} = {shown[key]} ({cards.comments[key]})" for key in keys)
        page.put(name, (), f"{told}: looks like the number of a setting")
    else:
        page.say(f"{name}: {', '.join(keys)} could not be held against a measurement; left at the generic default")


def _agrees(stated, measured):
    numbers = [number for number in map(number_of, stated) if number is not None]
    return any(abs(number / value - 1) < _BELIEVED for number in numbers for value in measured)


def _put_sections(page, layout, stated, broken):
    """Sections of the header serve frames of other shapes, if they are right for this one."""
    one = layout.cells[0] if len(layout.cells) == 1 else None
    whole = tuple(
        slice(min(c.data[axis].start for c in layout.cells), max(c.data[axis].stop for c in layout.cells))
        for axis in (0, 1)
    )
    for name, found in (("data", whole), ("trim", whole), ("overscan", one.overscan if one else None)):
        dialect = getattr(get_profile("generic").dialect, f"{name}_section")
        for key in dialect:
            if key in broken:
                page.put(f"{name}_section", (), f"{key} is no section of these frames: {broken[key]}")
            elif key in stated and found is not None and agrees(stated[key], found):
                page.put(f"{name}_section", (key,), f"{key} agrees with the pixels")
            elif key in stated:
                page.put(f"{name}_section", (), f"{key} does not agree with the pixels")


def _put_counts(page, cards, layout):
    """Cards that count overscan columns or rows at the end of each axis."""
    cell = layout.cells[0]
    for name, axis, pattern in (("columns", 1, r"COVER|OVER.*COL|COL.*OVER|OSCAN.?X|OVERX"), ("rows", 0, r"ROVER")):
        part = cell.overscan
        if part is None or part[1 - axis] != cell.data[1 - axis] or part[axis].start < cell.data[axis].stop:
            continue
        width = part[axis].stop - part[axis].start
        for key in cards.values:
            if re.search(pattern, key) and cards.distinct(key) == [width]:
                page.put(f"overscan_{name}", (key,), f"{key} = {width} agrees with the pixels")
                break


def put_kinds(page, kinds):
    """
    Write rules for what the generic words do not say, and all spellings as comments.

    Parameters
    ----------
    page : Page
        Is written to.
    kinds : KindWords
        What was found.
    """
    page.lines.append("")
    if kinds.spellings:
        page.say(f"How {kinds.keywords[0]} is spelt; the generic profile knows the words that have no rule here.")
    for word, (kind, told) in kinds.spellings.items():
        page.say(f"  {word!r}: {kind} ({told})")
    for kind, when, limit, told in kinds.rules:
        page.head("[[rules]]")
        page.put("kind", kind, told)
        if when:
            page.put("when", {key: tuple(globs) for key, globs in when.items()})
        if limit is not None:
            page.put("exposure_max", limit)
