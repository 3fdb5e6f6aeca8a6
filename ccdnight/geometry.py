"""
Where data and overscan lie in a raw frame.

Sections come from the profile where it holds for the frame's shape, else from the header, and are always held
against the shape; what was put right or passed over is said in words.
"""

from dataclasses import dataclass

from ccdnight._sections import parse_section, section_shape
from ccdnight.exceptions import FrameError, SectionError
from ccdnight.profiles import Amplifier
from ccdnight.profiles.interpret import first_value
from ccdnight.storage import card_value

__all__ = ["AmplifierGeometry", "Geometry", "resolve_geometry"]

#: A section may miss the edge of its frame by this many pixels and still mean the edge (LFC: one row).
_SHORT = 3


@dataclass(frozen=True)
class AmplifierGeometry:
    """
    One amplifier in a frame of known shape; slices are (rows, columns), 0-based and half-open.

    Attributes
    ----------
    amplifier : Amplifier
        Its facts.
    data : tuple of slice
        Light-sensitive pixels of the raw frame.
    overscan : tuple of slice or None
        Usable overscan, leading pixels left out.
    parallel : tuple of slice or None
        Usable second overscan, along the other axis.
    target : tuple of slice
        Where the data goes in the assembled frame, before edges are trimmed.
    """

    amplifier: Amplifier
    data: tuple[slice, slice]
    overscan: tuple[slice, slice] | None
    parallel: tuple[slice, slice] | None
    target: tuple[slice, slice]


@dataclass(frozen=True)
class Geometry:
    """
    Sections of a frame.

    Attributes
    ----------
    shape : tuple of int
        Shape of the raw frame.
    amplifiers : tuple of AmplifierGeometry
        In the order of the profile.
    keep : tuple of slice
        What is left of the assembled frame after its edges are trimmed.
    notes : tuple of str
        What was put right.
    """

    shape: tuple[int, int]
    amplifiers: tuple[AmplifierGeometry, ...]
    keep: tuple[slice, slice]
    notes: tuple[str, ...] = ()

    @property
    def trimmed_shape(self):
        """Shape of the frame after trimming."""
        return section_shape(self.keep)

    @property
    def has_overscan(self):
        """Whether every amplifier has a usable overscan."""
        return all(item.overscan is not None for item in self.amplifiers)

    def pieces(self, amplifier):
        """
        Where an amplifier's data lies in the raw and in the trimmed frame.

        Parameters
        ----------
        amplifier : AmplifierGeometry
            One of this geometry's.

        Returns
        -------
        raw, trimmed : tuple of slice
            Slices of equal shape; empty where the trimming leaves nothing.
        """
        raw, trimmed = [], []
        for data, target, keep in zip(amplifier.data, amplifier.target, self.keep, strict=True):
            low, high = max(target.start, keep.start), max(min(target.stop, keep.stop), target.start)
            high = max(high, low)
            raw.append(slice(data.start + low - target.start, data.start + high - target.start))
            trimmed.append(slice(low - keep.start, high - keep.start))
        return tuple(raw), tuple(trimmed)


def resolve_geometry(header, shape, profile, *, detector="", path="frame"):
    """
    Find the sections of a frame.

    Parameters
    ----------
    header : mapping
        Its header.
    shape : tuple of int
        Its shape ``(ny, nx)``.
    profile : InstrumentProfile
        What is known of the instrument.
    detector : str, optional
        Which detector it is.
    path : str, optional
        How to call the frame in errors.

    Returns
    -------
    Geometry

    Raises
    ------
    FrameError
        If the profile does not know the detector, or nothing is left after trimming.
    """
    amplifiers = profile.amplifiers_of(detector)
    if not amplifiers:
        known = ", ".join(profile.detectors)
        raise FrameError(path, f"detector {detector!r}; profile {profile.name!r} knows {known}")
    notes = []
    holds = [item for item in amplifiers if item.shape is None or item.shape == tuple(shape)]
    if len(amplifiers) > 1 and len(holds) < len(amplifiers):
        wanted = amplifiers[0].shape
        raise FrameError(
            path, f"shape {shape}; profile {profile.name!r} knows where the amplifiers lie for {wanted} only"
        )
    found = [_amplifier(item, item in holds, header, shape, profile.dialect, notes) for item in amplifiers]
    placed = _place(found)
    keep = _keep(placed, shape, profile.policy, path)
    return Geometry(tuple(shape), tuple(placed), keep, tuple(notes))


def _amplifier(amplifier, holds, header, shape, dialect, notes):
    """Data and overscan of one amplifier: the profile's where they hold, else the header's."""
    data = overscan = parallel = None
    if not holds and amplifier.data:
        notes.append(
            f"profile: its sections are for the shape {amplifier.shape}, not {tuple(shape)}; the header's are taken"
        )
    try:
        if holds and amplifier.data not in ("", "none"):
            data = parse_section(amplifier.data, shape)
        if holds and amplifier.overscan not in ("", "none"):
            overscan = parse_section(amplifier.overscan, shape)
        if holds and amplifier.parallel_overscan not in ("", "none"):
            parallel = parse_section(amplifier.parallel_overscan, shape)
    except SectionError as error:
        notes.append(f"profile: {error}; the header's sections are taken")
        data = overscan = parallel = None
    columns, rows = (first_value(header, keys)[1] for keys in (dialect.overscan_columns, dialect.overscan_rows))
    columns, rows = _count(columns, shape[1]), _count(rows, shape[0])
    if overscan is None and amplifier.overscan != "none":
        overscan = _header_section(header, dialect.overscan_section, shape, notes)
        if overscan is None and columns:
            overscan = (slice(0, shape[0] - rows), slice(shape[1] - columns, shape[1]))
    if data is None:
        data = _header_section(header, dialect.data_section, shape, notes)
        trim = _header_section(header, dialect.trim_section, shape, notes)
        data = _meet(data, trim)
        if data is None:
            data = (slice(0, shape[0] - rows), slice(0, shape[1] - columns))
            data = _without(data, overscan)
    overscan, parallel = (_beside(part, data, notes) for part in (overscan, parallel))
    overscan = _skip(overscan, data, amplifier.overscan_skip)
    return AmplifierGeometry(amplifier, data, overscan, parallel, data)


def _count(value, size):
    try:
        count = int(value)
    except (TypeError, ValueError):
        return 0
    return count if 0 < count < size // 2 else 0


def _header_section(header, keys, shape, notes):
    for key in keys:
        text = card_value(header, key)
        if text is None or not str(text).strip():
            continue
        try:
            part = parse_section(str(text), shape)
        except SectionError as error:
            notes.append(f"{key}: {error}; it is passed over")
            continue
        return part
    return None


def _meet(one, other):
    """What two sections have in common; one that is missing, or shares nothing, is left out."""
    if one is None or other is None:
        return one or other
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return both if all(item.stop > item.start for item in both) else one


def _without(data, overscan):
    """The larger side of a frame beside its overscan."""
    if overscan is None:
        return data
    axis = 1 if overscan[1].stop - overscan[1].start < overscan[0].stop - overscan[0].start else 0
    part, whole = overscan[axis], data[axis]
    before, after = slice(whole.start, part.start), slice(part.stop, whole.stop)
    kept = before if part.start - whole.start >= whole.stop - part.stop else after
    if kept.stop <= kept.start:
        return data
    return (data[0], kept) if axis == 1 else (kept, data[1])


def _beside(part, data, notes):
    """An overscan must lie beside the data; along the shared axis it takes the data's extent if it nearly has it."""
    if part is None:
        return None
    disjoint = [a.stop <= b.start or b.stop <= a.start for a, b in zip(part, data, strict=True)]
    if disjoint[1]:
        shared = 0
    elif disjoint[0]:
        shared = 1
    else:
        notes.append(f"overscan {_text(part)} overlaps the data {_text(data)}; it is not used")
        return None
    mine, its = part[shared], data[shared]
    start = its.start if abs(mine.start - its.start) <= _SHORT else mine.start
    stop = its.stop if abs(mine.stop - its.stop) <= _SHORT else mine.stop
    if start > its.start or stop < its.stop:
        notes.append(f"overscan {_text(part)} covers only a part of the data {_text(data)}; it is not used")
        return None
    if (start, stop) != (mine.start, mine.stop):
        notes.append(f"overscan {_text(part)} is meant to lie beside all of the data {_text(data)}")
    whole = slice(its.start, its.stop)
    return (whole, part[1]) if shared == 0 else (part[0], whole)


def _text(part):
    from ccdnight._sections import format_section

    return format_section(part)


def _skip(part, data, skip):
    """Leave out the overscan pixels next to the data, which carry trailing charge."""
    if part is None or skip <= 0:
        return part
    axis = 1 if part[1].start >= data[1].stop or part[1].stop <= data[1].start else 0
    mine = part[axis]
    if mine.stop - mine.start <= skip:
        return part
    after = mine.start >= data[axis].stop
    mine = slice(mine.start + skip, mine.stop) if after else slice(mine.start, mine.stop - skip)
    return (part[0], mine) if axis == 1 else (mine, part[1])


def _place(found):
    """Put the amplifiers' data side by side in the order in which they lie in the raw frame."""
    ranges = [{(item.data[axis].start, item.data[axis].stop) for item in found} for axis in (0, 1)]
    targets = [{}, {}]
    for axis in (0, 1):
        position = 0
        for start, stop in sorted(ranges[axis]):
            targets[axis][start, stop] = slice(position, position + stop - start)
            position += stop - start
    return [
        AmplifierGeometry(
            item.amplifier,
            item.data,
            item.overscan,
            item.parallel,
            tuple(targets[axis][item.data[axis].start, item.data[axis].stop] for axis in (0, 1)),
        )
        for item in found
    ]


def _keep(placed, shape, policy, path):
    ny = max(item.target[0].stop for item in placed)
    nx = max(item.target[1].stop for item in placed)
    edge = policy.edge
    keep = (slice(edge, ny - edge), slice(edge, nx - edge))
    if policy.edge_of == "frame" and len(placed) == 1:
        data = placed[0].data
        keep = tuple(
            slice(max(edge - part.start, 0), min(size - edge, part.stop) - part.start)
            for part, size in zip(data, shape, strict=True)
        )
    if any(item.stop <= item.start for item in keep):
        raise FrameError(path, f"nothing is left of {ny} x {nx} pixels after {edge} are trimmed from every edge")
    return keep
