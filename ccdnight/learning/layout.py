"""The amplifiers of a detector: where each has its data and its overscans."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from ccdnight._sections import format_section
from ccdnight.learning.headersections import data_section
from ccdnight.learning.overscans import check_overscan
from ccdnight.learning.sections import find_axis
from ccdnight.learning.splits import find_splits, sharpest, step_in

__all__ = ["Cell", "Layout", "find_layout"]

#: Dead borders up to this part of a side, or so many pixels, are trimmed all round; wider ones are cut off.
_EDGE_PART, _EDGE_PIXELS = 0.03, 2
#: Data columns next to an overscan whose light is held against it.
_NEAR = 16


@dataclass
class Cell:
    """
    One amplifier.

    Attributes
    ----------
    name : str
        '' where there is only one.
    data : tuple of slice
        Rows and columns.
    overscan, parallel : tuple of slice or None
        Usable ones.
    skip : int
        Leading overscan pixels that are not used.
    notes : dict of str to str
        Entry of the amplifier to its evidence.
    """

    name: str
    data: tuple
    overscan: tuple | None = None
    parallel: tuple | None = None
    skip: int = 0
    notes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """
    All amplifiers.

    Attributes
    ----------
    cells : list of Cell
        In the order of rows and columns.
    edge : int
        Pixels that are trimmed all round.
    edge_words, split_words : str
        Evidence.
    known : bool
        Whether there was light enough to find sections.
    """

    cells: list
    edge: int = 0
    edge_words: str = ""
    split_words: str = ""
    known: bool = True


def find_layout(maps, sections):
    """
    Find the amplifiers of a detector.

    Parameters
    ----------
    maps : LightMap
        Dark and lit frames.
    sections : dict of str to tuple of slice
        What headers say.

    Returns
    -------
    Layout
    """
    image = maps.lit if maps.lit is not None else maps.dark
    columns = rows = None
    if maps.lit is not None:
        columns, rows = (find_axis(maps.lit, maps.noise, axis) for axis in (1, 0))
    if columns is None or rows is None:
        whole = tuple(slice(0, size) for size in image.shape)
        return Layout([Cell("", whole)], known=False)
    stated = data_section(sections, columns, rows)
    if stated:
        # The pixels bear it out along one axis; along the other, unlit rows inside it are dead, not overscan.
        columns, rows = _with_dead(columns, stated[1]), _with_dead(rows, stated[0])
    columns, rows, edge, edge_words = _trim(columns, rows)
    parts, words = zip(*(_parts(maps, columns, rows, axis) for axis in (0, 1)), strict=True)
    cells = [
        Cell(_name(j, i, len(parts[0]), len(parts[1])), (slice(*y), slice(*x)))
        for j, y in enumerate(parts[0])
        for i, x in enumerate(parts[1])
    ]
    _give_overscans(cells, parts, (rows, columns), maps)
    return Layout(cells, edge, edge_words, "; ".join(filter(None, words)))


def _with_dead(axis, part):
    unlit, border, lit = list(axis.unlit), list(axis.border), list(axis.lit)
    if unlit and unlit[0][0] == 0 and part.start == 0:
        border[0] += unlit.pop(0)[1]
        lit[0] = (0, lit[0][1])
    if unlit and unlit[-1][1] == axis.size and part.stop == axis.size:
        start, stop = unlit.pop()
        border[1] += stop - start
        lit[-1] = (lit[-1][0], stop)
    return replace(axis, lit=lit, unlit=unlit, border=tuple(border))


def _trim(columns, rows):
    """Narrow dead borders become an edge, wide ones leave the data."""
    edge, words, axes = 0, [], []
    for axis, names in ((columns, ("left", "right")), (rows, ("bottom", "top"))):
        limit, lit = max(_EDGE_PIXELS, int(_EDGE_PART * axis.size)), list(axis.lit)
        for side, name in enumerate(names):
            wide = axis.border[side]
            if not wide:
                continue
            words.append(f"{wide} at the {name}" + (", cut off the data" if wide > limit else ""))
            if wide <= limit:
                edge = max(edge, wide)
            elif side == 0:
                lit[0] = (lit[0][0] + wide, lit[0][1])
            else:
                lit[-1] = (lit[-1][0], lit[-1][1] - wide)
        axes.append(replace(axis, lit=lit))
    told = "columns and rows with less than half of the light further in: " + "; ".join(words)
    return *axes, edge, told if words else "no dead or vignetted border is seen in the flats"


def _parts(maps, columns, rows, axis):
    """Stretches of the amplifiers along an axis, and the evidence for their boundaries."""
    own, other = (rows, columns) if axis == 0 else (columns, rows)
    keep = np.zeros(other.size, bool)
    for start, stop in other.lit:
        keep[start:stop] = True
    dark, light = (None if i is None else (i[:, keep] if axis == 0 else i[keep]) for i in (maps.dark, maps.lit))
    found, words = [], []
    for start, stop in own.lit:
        splits, told = find_splits(dark, light, (start, stop), axis)
        edges = [start, *splits, stop]
        found += list(pairwise(edges))
        words.append(told)
    if len(own.lit) > 1:
        words.insert(0, f"unlit {'columns' if axis else 'rows'} divide the data")
    return found, "; ".join(filter(None, words))


def _name(j, i, ny, nx):
    row = "" if ny == 1 else ("LU"[j] if ny == 2 else str(j + 1))
    column = "" if nx == 1 else ("LR"[i] if nx == 2 else str(i + 1))
    return {"L": "lower", "U": "upper"}.get(row, row) if not column and row else row + column


def _give_overscans(cells, parts, axes, maps):
    for cell in cells:
        found = {}
        for axis in (1, 0):
            index = parts[axis].index((cell.data[axis].start, cell.data[axis].stop))
            runs = _candidates(parts[axis], index, axes[axis], maps, cell, axis)
            tried = [(run, _check(maps, cell, run, axis)) for run in runs]
            found[axis] = max(tried, key=lambda item: _left(*item), default=None)
            _note_others(cell, tried, found[axis], axis)
        _choose(cell, found)


def _left(run, usable):
    return -1 if usable.skip is None else run[1] - run[0] - usable.skip


def _candidates(parts, index, axis, maps, cell, along):
    """Unlit stretches that can belong to an amplifier: those beside it, or its share of the only one."""
    start, stop = parts[index]
    runs = []
    for run in axis.unlit:
        inner = run[0] > parts[0][0] and run[1] < parts[-1][1]
        if inner and (run[1] <= start or run[0] >= stop):
            before = max((p for p in parts if p[1] <= run[0]), key=lambda p: p[1])
            after = min((p for p in parts if p[0] >= run[1]), key=lambda p: p[0])
            middle = _divide(run, maps.dark, cell, along)
            runs += [(run[0], middle)] * (parts[index] == before) + [(middle, run[1])] * (parts[index] == after)
        elif not inner and _beside(run, parts, index):
            runs.append(run)
    outer = [run for run in axis.unlit if run[1] <= parts[0][0] or run[0] >= parts[-1][1]]
    if len(parts) > 1 and outer and len(outer) == len(axis.unlit):
        runs = _share(outer, len(parts), maps.dark, cell, along) or runs
        if not runs and len(outer) == 1:
            runs = outer
    return runs


def _beside(run, parts, index):
    return (index == 0 and run[1] <= parts[0][0]) or (index == len(parts) - 1 and run[0] >= parts[-1][1])


def _strip(image, cell, run, along):
    return image[cell.data[0], slice(*run)] if along == 1 else image[slice(*run), cell.data[1]]


def _divide(run, dark, cell, along):
    """Where an overscan in the middle of a detector passes from one amplifier to the other."""
    middle = (run[0] + run[1]) // 2
    if dark is None:
        return middle
    profile = np.median(_strip(dark, cell, run, along), axis=1 - along).astype(float)
    place, reach = middle - run[0], max(4, (run[1] - run[0]) // 4)
    step, error = step_in(profile, place, reach)
    return run[0] + sharpest(profile, place - 2, place + 2) if abs(step) > 8 * error else middle


def _share(outer, count, dark, cell, along):
    """Shares of unlit stretches at the ends which hold a piece for every amplifier, told by steps of the bias."""
    shares = []
    for run in outer:
        width = (run[1] - run[0]) / count
        if dark is None or width < 8:
            continue
        profile = np.median(_strip(dark, cell, run, along), axis=1 - along).astype(float)
        places = [round(width * j) for j in range(1, count)]
        steps = [step_in(profile, place, max(4, int(width * 0.6))) for place in places]
        if all(abs(step) > max(0.3, 8 * error) for step, error in steps):
            edges = [run[0], *(run[0] + sharpest(profile, place - 1, place + 1) for place in places), run[1]]
            pieces = list(pairwise(edges))
            shares.append(_nearest(pieces, dark, cell, along))
    return shares


def _nearest(pieces, dark, cell, along):
    """The piece whose bias level is nearest to the amplifier's own."""
    own = np.median(dark[cell.data])
    levels = [np.median(_strip(dark, cell, piece, along)) for piece in pieces]
    return pieces[int(np.argmin(np.abs(np.array(levels) - own)))]


def _check(maps, cell, run, along):
    """What is usable of an unlit stretch; its light is followed from the data side on."""
    after = run[0] >= cell.data[along].stop
    strips = []
    for image in (maps.dark, maps.lit):
        strip = None if image is None else _strip(image, cell, run, along)
        if strip is not None:
            strip = strip if along == 1 else strip.T
            strip = strip if after else strip[:, ::-1]
        strips.append(strip)
    near = slice(cell.data[along].stop - _NEAR, cell.data[along].stop)
    if not after:
        near = slice(cell.data[along].start, cell.data[along].start + _NEAR)
    beside = maps.lit[cell.data[0], near] if along == 1 else maps.lit[near, cell.data[1]]
    return check_overscan(*strips, np.median(beside, axis=along))


def _note_others(cell, tried, best, axis):
    names = "columns" if axis == 1 else "rows"
    others = [f"{names} {run[0] + 1} to {run[1]}" for run, _ in tried if best is not None and run != best[0]]
    if others:
        cell.notes["others"] = f"also unlit and not used (a prescan or a second overscan): {', '.join(others)}"


def _choose(cell, found):
    """Overscan beside the rows first; the other one is the parallel overscan."""
    for axis in (1, 0):
        best = found[axis]
        if best is None:
            continue
        run, usable = best
        run = _shortened(run, usable.cut, cell.data[axis])
        names = "columns" if axis == 1 else "rows"
        seen = f"{names} {run[0] + 1} to {run[1]} hold less than a tenth of the light beside them in flats"
        told = f"{seen}; {usable.evidence}"
        section = (cell.data[0], slice(*run)) if axis == 1 else (slice(*run), cell.data[1])
        if usable.skip is None:
            cell.notes["unusable"] = told
        elif cell.overscan is None:
            cell.overscan, cell.skip = section, usable.skip
            cell.notes["overscan"] = seen
            cell.notes["overscan_skip"] = usable.evidence
        else:
            cell.parallel = (_shorter(run, usable.skip, cell.data[axis]), cell.data[1])
            cell.notes["parallel_overscan"] = told
    cell.notes["data"] = f"where light falls in flats: {format_section(cell.data)}"


def _shortened(run, cut, data):
    return (run[0], run[1] - cut) if run[0] >= data.stop else (run[0] + cut, run[1])


def _shorter(run, skip, data):
    return slice(run[0] + skip, run[1]) if run[0] >= data.stop else slice(run[0], run[1] - skip)
