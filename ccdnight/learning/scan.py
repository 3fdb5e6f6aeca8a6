"""The frames that are learnt from: their headers, and a first look at their pixels."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight._frametable import already_reduced
from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError, InputError
from ccdnight.statistics import clipped_moments

__all__ = ["Shot", "commonest_shape", "find_shots", "look"]

#: Strips of rows that are looked at, and rows of each.
_STRIPS, _ROWS = 12, 12
#: Pixels of a star stand beside one another, hot pixels and cosmic rays mostly alone.
_STAR_SIGMA = 6.0


@dataclass
class Shot:
    """
    One usable frame.

    Attributes
    ----------
    name, path : str
        As it is called in messages, and where it is.
    raw : `ccdnight.storage.RawHeader`
        Its header.
    level, noise, stars : float
        Median and pixel-to-pixel noise in adu, and the part of the pixels that belongs to stars.
    facts : HeaderFacts or None
        What its header says in the dialect that was learnt.
    """

    name: str
    path: str
    raw: storage.RawHeader
    level: float = float("nan")
    noise: float = float("nan")
    stars: float = 0.0
    facts: object = None

    @property
    def kind(self):
        """Kind in the learnt dialect."""
        return self.facts.kind if self.facts else "unknown"


def find_shots(source):
    """
    Read the headers of all frames.

    Parameters
    ----------
    source : path-like, list of path-like or `ccdproc.ImageFileCollection`
        Raw frames.

    Returns
    -------
    shots : list of Shot
    unusable : dict of str to str
        Files that cannot be read or are not raw, and why.

    Raises
    ------
    InputError
        If the source is no folder and no list of files, or has no file in it.
    """
    shots, unusable = [], {}
    for name, path in _files(source):
        try:
            raw = storage.read_header(path)
        except FrameError as error:
            unusable[name] = error.reason
            continue
        problems = already_reduced(raw.header)
        if problems:
            unusable[name] = "; ".join(problems)
        elif min(raw.shape) < 16:
            unusable[name] = f"its shape is {raw.shape[0]} x {raw.shape[1]}; at least 16 x 16 pixels are needed"
        else:
            shots.append(Shot(name, path, raw))
    return shots, unusable


def _files(source):
    if hasattr(source, "files_filtered"):
        location = source.location or ""
        return [(str(name), os.path.join(location, str(name))) for name in source.files]
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            msg = f"source = {str(source)!r} {what}; a folder of raw frames or a list of files is needed"
            raise InputError(msg)
        files = [(name, str(folder / name)) for name in storage.find_fits(folder)]
    else:
        files = [(os.fspath(item), os.fspath(item)) for item in source]
    if not files:
        msg = f"source = {str(source)!r} holds no FITS files; raw frames are needed"
        raise InputError(msg)
    return files


def commonest_shape(shots):
    """
    Divide frames by shape.

    Parameters
    ----------
    shots : list of Shot
        Frames.

    Returns
    -------
    common, others : list of Shot
        Those of the commonest shape (the largest of equally common ones), and the rest.
    """
    counts = Counter(shot.raw.shape for shot in shots)
    shape = max(counts, key=lambda item: (counts[item], item[0] * item[1], item))
    return [s for s in shots if s.raw.shape == shape], [s for s in shots if s.raw.shape != shape]


def look(shots):
    """
    Measure level, noise and stars of each frame in a few strips of rows.

    Parameters
    ----------
    shots : list of Shot
        Frames; what is measured is put into them.

    Returns
    -------
    usable : list of Shot
    unusable : dict of str to str
        Frames whose pixels cannot be read, and why.
    """
    usable, unusable = [], {}
    with quiet_libraries():
        for shot in shots:
            try:
                strips = _strips(shot)
            except FrameError as error:
                unusable[shot.name] = error.reason
                continue
            if _measure(shot, strips):
                usable.append(shot)
            else:
                unusable[shot.name] = "all its pixels are equal or not finite; it is no exposure"
    return usable, unusable


def _strips(shot):
    ny = shot.raw.shape[0]
    if shot.raw.compressed or ny <= 2 * _STRIPS * _ROWS:
        return [storage.read_pixels(shot.path, raw=shot.raw)]
    starts = np.linspace(0, ny - _ROWS, _STRIPS).astype(int)
    return [storage.read_pixels(shot.path, raw=shot.raw, rows=slice(int(y), int(y) + _ROWS)) for y in starts]


def _measure(shot, strips):
    pixels = np.concatenate([strip.ravel() for strip in strips])
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0 or finite.min() == finite.max():
        return False
    steps = np.concatenate([(strip[:, 1:] - strip[:, :-1]).ravel() for strip in strips])
    shot.level, shot.noise = float(np.median(finite)), float(clipped_moments(steps)[1] / np.sqrt(2))
    shot.stars = float(np.mean([_star_part(strip, max(shot.noise, 1e-6)) for strip in strips]))
    return True


def _star_part(strip, noise):
    """Part of the pixels that stand, together with their neighbor, above what lies ten pixels to both sides."""
    if strip.shape[1] < 64:
        return 0.0
    # Above both sides, or the data next to an overscan would be stars.
    around = np.maximum(strip[:, :-21] + strip[:, 1:-20], strip[:, 20:-1] + strip[:, 21:]) / 2
    high = strip[:, 10:-11] - around > _STAR_SIGMA * noise
    return float(np.mean(high[:, 1:] & high[:, :-1]))
