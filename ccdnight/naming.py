"""Names of products: they depend on the product and the profile; only where two would be equal do they say more."""

import re
from pathlib import PurePosixPath

from ccdnight.provenance import digest_bytes
from ccdnight.storage import product_name, safe_name

__all__ = ["master_names", "science_names"]

#: Bytes of a part of a name; file systems take 255, and a temporary name is longer.
_LONGEST = 200


def master_names(kind, groups, profile):
    """
    Names of masters.

    Parameters
    ----------
    kind : str
        'bias', 'dark', 'flat', 'badpixels' or 'fringe'.
    groups : list
        Sets of frames, with `first` (a FrameRow), `exposure`, `temperature`, `filter` and `rows`.
    profile : InstrumentProfile
        Detector and binning are named where it has several.

    Returns
    -------
    list of str
        Unique. Of sets whose names would be equal (two nights, two temperatures, two window sizes) the largest
        has the plain name and the others say in what they differ.
    """
    names = [_plain(kind, group, profile) for group in groups]
    order = sorted(range(len(groups)), key=lambda i: (-len(groups[i].rows), groups[i].first.path))
    taken = {}
    for i in order:
        name = names[i]
        if name.casefold() in taken:
            name = _distinguish(name, groups[i], groups[taken[name.casefold()]], taken)
        taken[name.casefold()] = i
        names[i] = name
    return names


def _plain(kind, group, profile):
    detector, binning, mode = _configuration(group.first)
    parts = [kind]
    if kind == "dark":
        parts.append(f"{group.exposure:.4g}s")
    if kind in ("flat", "fringe") and group.filter:
        parts.append(safe_name(group.filter))
    if len(profile.detectors) > 1:
        parts.append(safe_name(f"det{detector}"))
    if binning not in ("", profile.standard_binning):
        parts.append(safe_name(binning))
    if mode not in profile.standard_read_modes:
        parts.append(safe_name(mode))
    return "_".join(parts)


def _configuration(row):
    """Detector, binning and read mode of a frame."""
    return row.detector, row.binning, row.read_mode


def _distinguish(name, group, other, taken):
    mine, its = group.first, other.first
    candidates = []
    if mine.kind != its.kind:
        candidates.append(mine.kind)
    if mine.shape != its.shape:
        candidates.append(mine.shape)
    if mine.night != its.night:
        candidates.append(mine.night or "undated")
    if mine.temperature != its.temperature and group.temperature is not None:
        candidates.append(f"{group.temperature:.0f}C")
    candidates += [safe_name("_".join(str(item) for item in mine.key))]
    for part in candidates:
        longer = f"{name}_{safe_name(part)}"
        if longer.casefold() not in taken:
            return longer
    number = 2
    while f"{name}_{number}".casefold() in taken:
        number += 1
    return f"{name}_{number}"


def _fitting(name):
    """A name whose parts are text and short enough for any file system; what is cut is told apart by a digest."""
    parts = []
    for part in PurePosixPath(name).parts:
        # Not every system takes the colons of a time into a name, nor what separates folders elsewhere, ends a line, or
        # is no text at all (from a system with another alphabet).
        part = re.sub(r"[\\\x00-\x1f\x7f\ud800-\udfff]", "_", part.replace(":", "-"))
        if len(part.encode()) > _LONGEST:
            ending = ".fits" if part.endswith(".fits") else ""
            kept = part.encode()[: _LONGEST - 20].decode(errors="ignore")
            part = f"{kept}_{digest_bytes(part.encode())[:8]}{ending}"
        parts.append(part)
    return PurePosixPath(*parts).as_posix()


def science_names(paths):
    """
    Names of the products of science frames.

    Parameters
    ----------
    paths : list of str
        Raw files, relative to the raw folder.

    Returns
    -------
    dict of str to str
        The relative path with its suffix replaced by ``.fits``; where two would then be equal (a.fits beside
        a.fits.gz, or names that differ in case only) the whole name is kept, with ``.fits`` behind it.
    """
    plain = {path: _fitting(product_name(path)) for path in paths}
    counts = {}
    for name in plain.values():
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        for folder in PurePosixPath(name.casefold()).parents:
            # A file cannot have the name of a folder: it keeps its whole name then.
            counts[str(folder)] = 2
    names, taken = {}, set()
    for path in paths:
        name = plain[path]
        if counts[name.casefold()] > 1:
            name = _fitting(path + ".fits")
        base, number = name[: -len(".fits")], 2
        while name.casefold() in taken:
            name, number = f"{base}_{number}.fits", number + 1
        taken.add(name.casefold())
        names[path] = name
    return names
