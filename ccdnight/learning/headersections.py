"""Sections that headers state: evidence where the pixels agree, and nothing else."""

from ccdnight._sections import parse_section
from ccdnight.exceptions import SectionError

__all__ = ["agrees", "data_section", "sections_in"]

#: A section may differ by so many pixels and still mean the same.
_NEAR = 1


def sections_in(cards, shape):
    """
    All cards that hold a section of the frame, and those that should but do not.

    Parameters
    ----------
    cards : Cards
        All cards.
    shape : tuple of int
        Shape ``(ny, nx)`` of the frames.

    Returns
    -------
    sections : dict of str to tuple of slice
    broken : dict of str to str
        Keyword to what is wrong.
    """
    sections, broken = {}, {}
    for key in cards.values:
        values = cards.distinct(key)
        if len(values) != 1 or not isinstance(values[0], str) or not values[0].startswith("["):
            continue
        try:
            sections[key] = parse_section(values[0], shape)
        except SectionError as error:
            broken[key] = str(error)
    return sections, broken


def agrees(one, other, near=_NEAR):
    """
    Whether two sections are the same to a pixel.

    Parameters
    ----------
    one, other : tuple of slice
        Rows and columns.
    near : int, optional
        Pixels by which an end may differ.

    Returns
    -------
    bool
    """
    return all(abs(a.start - b.start) <= near and abs(a.stop - b.stop) <= near for a, b in zip(one, other, strict=True))


def data_section(sections, columns, rows):
    """
    The header's data section where the pixels bear it out along one axis at least.

    A section as large as the frame says nothing, and one that contradicts the pixels along the axis that has an
    overscan is not believed.

    Parameters
    ----------
    sections : dict of str to tuple of slice
        Of the header.
    columns, rows : Axis or None
        What the pixels say.

    Returns
    -------
    tuple of slice or None
    """
    for key in ("DATASEC", "TRIMSEC"):
        section = sections.get(key)
        if section is None:
            continue
        told = [
            (part.start, part.stop) != (0, axis.size) and _same(part, axis)
            for part, axis in zip(section, (rows, columns), strict=True)
            if axis is not None
        ]
        if any(told):
            return section
    return None


def _same(part, axis):
    return abs(part.start - axis.lit[0][0]) <= _NEAR and abs(part.stop - axis.lit[-1][1]) <= _NEAR
