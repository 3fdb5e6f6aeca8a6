"""Amplifiers held against each other and against the shape of their frames."""

from dataclasses import dataclass
from itertools import combinations

from ccdnight._sections import parse_section
from ccdnight.profiles.model import Amplifier


@dataclass(frozen=True)
class Entry:
    """
    An amplifier as it was read from a file.

    Attributes
    ----------
    amplifier : Amplifier
        With defaults in the place of entries that are wrong.
    where : str
        How messages call it.
    wrong : frozenset of str
        Entries that have been complained about and are not looked at again.
    """

    amplifier: Amplifier
    where: str
    wrong: frozenset = frozenset()


def check_amplifiers(entries, notes):
    """
    Note what cannot be right about the amplifiers of one instrument.

    Parameters
    ----------
    entries : sequence of Entry
        All of them.
    notes : Notes
        Takes the mistakes.
    """
    data = [_check_sections(entry, notes) for entry in entries]
    named = any(entry.amplifier.detector for entry in entries)
    for entry in entries:
        if named and not entry.amplifier.detector and "detector" not in entry.wrong:
            notes.add(f"{entry.where}.detector", "'' is not allowed where other amplifiers name theirs")
    for (one, one_data), (two, two_data) in combinations(zip(entries, data, strict=True), 2):
        wrong = one.wrong | two.wrong
        if one.amplifier.detector == two.amplifier.detector and "detector" not in wrong:
            _check_names(one, two, wrong, notes)
            _check_data(one, two, wrong, notes)
            if one_data and two_data and one.amplifier.shape == two.amplifier.shape:
                _check_overlap(one, two, (one_data, two_data), notes)


def _check_sections(entry, notes):
    """Note what is wrong with the sections of one amplifier; gives its data section, where it has one."""
    amplifier, sections = entry.amplifier, {}
    if "shape" in entry.wrong:
        return None
    for field, words in (("data", ("",)), ("overscan", ("", "none")), ("parallel_overscan", ("", "none"))):
        value = getattr(amplifier, field)
        if value in words or field in entry.wrong:
            continue
        try:
            sections[field] = parse_section(value, amplifier.shape)
        except ValueError as error:
            allowed = " and ".join(repr(word) for word in words)
            notes.add(f"{entry.where}.{field}", f"{error}; a section of the raw frame is allowed, and {allowed}")
    data = sections.get("data")
    for field in ("overscan", "parallel_overscan"):
        if data and field in sections and _overlap(data, sections[field]):
            problem = f"{getattr(amplifier, field)!r} lies on the data section {amplifier.data!r}"
            notes.add(f"{entry.where}.{field}", f"{problem}; only pixels that are never exposed are allowed")
    if "overscan" in sections:
        _check_skip(entry, sections["overscan"], notes)
    return data


def _check_skip(entry, overscan, notes):
    width = min(item.stop - item.start for item in overscan)  # a strip along one side of its frame
    skip = entry.amplifier.overscan_skip
    if skip >= width:
        problem = f"{skip} leaves nothing of the overscan {entry.amplifier.overscan!r}"
        notes.add(f"{entry.where}.overscan_skip", f"{problem}; 0 to {width - 1} is allowed")


def _check_names(one, two, wrong, notes):
    name = two.amplifier.name
    if name == one.amplifier.name and "name" not in wrong:
        problem = f"{name!r} is also the name of {one.where}"
        notes.add(f"{two.where}.name", f"{problem}; each amplifier of a detector has a name of its own")


def _check_data(one, two, wrong, notes):
    if one.amplifier.shape != two.amplifier.shape and "shape" not in wrong:
        shapes = [list(item.amplifier.shape or ()) or "no shape" for item in (two, one)]
        problem = f"{shapes[0]} is not allowed where {one.where} has {shapes[1]}"
        notes.add(f"{two.where}.shape", f"{problem}: amplifiers of one detector share its raw frames")
    for entry in (one, two):
        if not entry.amplifier.data and "data" not in entry.wrong:
            problem = "'' is not allowed where a detector has several amplifiers; give a section for each"
            notes.add_once(f"{entry.where}.data", problem)


def _check_overlap(one, two, data, notes):
    if _overlap(*data):
        problem = f"{two.amplifier.data!r} overlaps with {one.amplifier.data!r} of {one.where}"
        notes.add(f"{two.where}.data", f"{problem}; a pixel belongs to one amplifier")


def _overlap(one, two):
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, two, strict=True))
