"""
The steps of a classroom reduction of an LFC night in plain numpy: what the package is held against.

Nothing is shared with the package. The precision follows the hand recipe: pixels are read as float32,
what clipping returns is kept as it is, and masters that went through a file on their way to the science
frame are rounded to float32 there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.stats import sigma_clip
from scipy.stats import mode

__all__ = ["LectureReduction", "lecture_reduction"]

#: Pixels cut from every edge of the raw frame, for the level of the flats and in the end.
EDGE = 100


@dataclass(frozen=True)
class LectureReduction:
    """
    What the recipe gives.

    Attributes
    ----------
    bias : ndarray
        Adu; raw shape ``(ny, nx)``, as are dark and flats, overscan columns included.
    dark : ndarray
        Adu per second.
    flats : dict of str to ndarray
        By filter, dimensionless.
    science : dict of str to ndarray
        By file name, adu, trimmed by 100 pixels from every edge.
    """

    bias: np.ndarray
    dark: np.ndarray
    flats: dict[str, np.ndarray]
    science: dict[str, np.ndarray]


def lecture_reduction(folder, *, detector=0):
    """
    Reduce an LFC night by the lecture's recipe.

    Master bias: 2.5-sigma clip about the median, mean. Dark: the longest darks of ``darks/``, less this
    night's bias, per second of EXPTIME, 3-sigma clip, mean. Flat of each filter: less the bias, not
    scaled, 2-sigma clip, median, divided by its most frequent value inside the edges, zeros replaced by 1.
    Science frame: less bias and dark, divided by the flat, trimmed.

    Parameters
    ----------
    folder : path-like
        With files ``ccd.NNN.C.fits`` and the subfolder ``darks``.
    detector : int, optional
        C of the file names.

    Returns
    -------
    LectureReduction

    Raises
    ------
    ValueError
        If nothing is left of the frames inside the edges.
    """
    frames = [_read(path) for path in sorted(Path(folder).glob(f"ccd.*.{detector}.fits"))]
    darks = [_read(path) for path in sorted(Path(folder, "darks").glob(f"ccd.*.{detector}.fits"))]
    if min(frames[0].pixels.shape) <= 2 * EDGE:
        msg = f"{folder}: frames of shape {frames[0].pixels.shape}, more than {2 * EDGE} rows are needed"
        raise ValueError(msg)
    bias = _master_bias([frame for frame in frames if frame.kind == "BIAS"])
    dark = _master_dark([frame for frame in darks if frame.kind == "DARK"], bias)
    lamps = [frame for frame in frames if frame.kind == "FLATFIELD"]
    flats = {
        name: _master_flat([frame for frame in lamps if frame.filter == name], bias)
        for name in sorted({frame.filter for frame in lamps})
    }
    science = {
        frame.name: _calibrated(frame, bias, dark, flats[frame.filter]) for frame in frames if frame.kind == "OBJECT"
    }
    return LectureReduction(bias, dark, flats, science)


@dataclass(frozen=True)
class _Frame:
    name: str
    kind: str
    filter: str
    seconds: float
    pixels: np.ndarray


def _read(path):
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        facts = header["IMAGETYP"], header["FILTER"], header["EXPTIME"]
        return _Frame(path.name, *facts, hdus[0].data.astype("f4"))


def _clipped(stack, sigma):
    return sigma_clip(np.array(stack), sigma=sigma, cenfunc="median", axis=0)


def _master_bias(frames):
    return np.ma.mean(_clipped([frame.pixels for frame in frames], 2.5), axis=0).data


def _master_dark(frames, bias):
    longest = max(frame.seconds for frame in frames)
    # Each difference went through a file as it was and came back as float32.
    rates = [(f.pixels - bias).astype("f4") / f.seconds for f in frames if f.seconds == longest]
    return np.ma.mean(_clipped(rates, 3), axis=0).data


def _master_flat(frames, bias):
    level = np.ma.median(_clipped([frame.pixels - bias for frame in frames], 2), axis=0).data
    flat = level / mode(_inside(level).ravel(), nan_policy="omit").mode
    flat[level == 0] = 1
    return flat


def _calibrated(frame, bias, dark, flat):
    signal = frame.pixels - bias.astype("f4") - dark.astype("f4") * frame.seconds
    return _inside(signal) / _inside(flat).astype("f4")


def _inside(pixels):
    return pixels[EDGE:-EDGE, EDGE:-EDGE]
