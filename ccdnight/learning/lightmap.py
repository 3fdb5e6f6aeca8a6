"""What light does to a frame: the mean dark frame, and what flats have beyond it."""

from dataclasses import dataclass

import numpy as np

from ccdnight import storage
from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError

__all__ = ["LightMap", "make_light_map", "read_shot"]

#: Frames of each kind that are read at the most.
_MOST = 5


@dataclass(frozen=True)
class LightMap:
    """
    Dark and lit frames of one detector.

    Attributes
    ----------
    dark, lit : `~numpy.ndarray` or None
        Median dark frame, and mean light of the flats above it, in adu, shape ``(ny, nx)``.
    noise : float
        Noise of a pixel of `dark`, in adu.
    darks, flats : list of Shot
        What they were made of.
    signal : float
        Typical light in `lit`, in adu.
    dark_kind, lit_kind : str
        'bias' or 'dark'; 'flat', 'twilight' or 'science'.
    """

    dark: np.ndarray | None
    lit: np.ndarray | None
    noise: float
    darks: list
    flats: list
    signal: float
    dark_kind: str
    lit_kind: str


def read_shot(shot):
    """
    Pixels of a frame.

    Parameters
    ----------
    shot : Shot
        The frame.

    Returns
    -------
    `~numpy.ndarray` or None
        float32 or float64; None if they cannot be read after all.
    """
    try:
        with quiet_libraries():
            return storage.read_pixels(shot.path, raw=shot.raw)
    except FrameError:
        return None


def make_light_map(shots):
    """
    Make the map of one detector.

    Biases are taken for the dark level, else the shortest darks; flats for the light, else twilight flats, else
    the brightest science frames.

    Parameters
    ----------
    shots : list of Shot
        Frames of one detector and shape.

    Returns
    -------
    LightMap
    """
    darks, dark_kind = _first(shots, ("bias", "dark"))
    flats, lit_kind = _first(shots, ("flat", "twilight", "science"))
    darks = sorted(darks, key=lambda shot: shot.facts.exposure or 0.0)
    if dark_kind:
        # One with light in it, by mistake, must not count.
        typical = np.median([shot.level for shot in darks])
        darks = [shot for shot in darks if abs(shot.level - typical) < max(50 * shot.noise, 0.05 * abs(typical))]
    darks = darks[:_MOST]
    images = [image for image in map(read_shot, darks) if image is not None]
    dark = _median(images) if images else None
    noise = float(np.median([s.noise for s in darks])) * 1.25 / np.sqrt(len(darks)) if darks else 0.0
    flats = _brightest(flats)
    lit = _mean_light(flats, dark)
    signal = float(np.nanmedian(lit)) if lit is not None else 0.0
    return LightMap(dark, lit, noise, darks, flats, signal, dark_kind, lit_kind)


def _first(shots, kinds):
    for kind in kinds:
        found = [shot for shot in shots if shot.kind == kind]
        if found:
            return found, kind
    return [], ""


def _brightest(flats):
    """The brightest flats that are not near the end of a 16-bit range."""
    fine = [shot for shot in flats if shot.level < 60000] or flats
    return sorted(fine, key=lambda shot: (-shot.level, shot.name))[:_MOST]


def _mean_light(flats, dark):
    images = [image for image in map(read_shot, flats) if image is not None]
    if not images:
        return None
    if dark is None:
        mean = _median(images)
        # Without a dark level the darkest columns and rows stand for it.
        columns, rows = np.median(mean, axis=0), np.median(mean, axis=1)
        return (mean - min(columns.min(), rows.min())).astype(np.float32)
    return _median(images) - dark


def _median(images):
    """Median of some images, by strips of rows so that little memory is taken."""
    out = np.empty(images[0].shape, np.float32)
    for y in range(0, len(out), 256):
        out[y : y + 256] = np.median([image[y : y + 256] for image in images], axis=0)
    return out
