"""What goes wrong in a night, on request: each fault changes one exposure, or its file."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from ccdnight.exceptions import InputError

__all__ = ["FAULTS", "add_faults", "damaged_bytes", "spoil_pixels"]

#: Faults by name, with the frames they befall unless a file is named: kinds, and place in their series.
FAULTS = {
    "truncated": (("science",), 1),
    "wrong kind": (("flat", "twilight"), -1),
    "saturated flat": (("flat", "twilight"), 1),
    "nan": (("science",), 2),
    "swapped filter": (("science",), 3),
    "duplicate": (("science",), 0),
    "drifted clock": (("science",), -1),
}


def add_faults(night, faults):
    """
    The same night with faults.

    Parameters
    ----------
    night : Night
        The night.
    faults : sequence of str
        Names from `FAULTS`, each befalling a frame of its own choice, or ``name:path`` for a frame named by
        its path under OUT/raw. 'wrong kind' labels a flat as bias (and any other frame as flat), 'saturated
        flat' gives it six times the light, 'swapped filter' names another filter of the night, 'drifted
        clock' is three hours behind, 'nan' is a float frame with a block of NaN, 'truncated' ends after 60 %
        of the file, 'duplicate' is the same file under a second name.

    Returns
    -------
    Night

    Raises
    ------
    InputError
        If a fault or its frame is not known.

    Examples
    --------
    >>> from ccdnight.simulate import add_faults, night_for
    >>> night = add_faults(night_for("lfc"), ["duplicate", "nan"])
    >>> [item.fault for item in night.exposures if item.fault]
    ['nan', 'duplicate']
    """
    exposures = {item.path: item for item in night.exposures}
    for fault in faults:
        name, _, path = str(fault).partition(":")
        if name not in FAULTS:
            msg = f"fault {name!r}; known are {', '.join(sorted(FAULTS))}"
            raise InputError(msg)
        victim = _victim(exposures, name, path, night.name)
        changed = _changed(victim, name, night)
        exposures[changed.path] = changed
    return replace(night, exposures=tuple(exposures.values()))


def _victim(exposures, name, path, night):
    if path:
        if path not in exposures:
            known = ", ".join(exposures)
            msg = f"fault {name!r}: night {night!r} has no frame {path!r}; its frames are {known}"
            raise InputError(msg)
        return exposures[path]
    kinds, place = FAULTS[name]
    series = [item for item in exposures.values() if item.kind in kinds and not item.damage]
    free = [item for item in series if not item.fault]
    if not free:
        msg = f"fault {name!r} needs a frame without another fault, of kind {' or '.join(kinds)}"
        raise InputError(msg)
    wanted = series[min(place, len(series) - 1)]
    return free[-1] if wanted.fault else wanted


def _changed(exposure, name, night):
    if name == "truncated":
        return replace(exposure, damage="truncated", fault=name)
    if name == "nan":
        return replace(exposure, damage="nan", fault=name)
    if name == "wrong kind":
        other = "bias" if exposure.kind in ("flat", "twilight") else "flat"
        return replace(exposure, header_kind=other, fault=name)
    if name == "saturated flat":
        return replace(exposure, light=6 * exposure.light, fault=name)
    if name == "swapped filter":
        others = [band for band in night.filters if band != exposure.filter] or ["B"]
        return replace(exposure, header_filter=others[0], fault=name)
    if name == "drifted clock":
        return replace(exposure, clock_error=-10800.0, fault=name)
    path = PurePosixPath(exposure.path)
    copy = path.with_name(f"copy-of-{path.name}")
    return replace(exposure, path=str(copy), damage="duplicate", source=exposure.path, fault=name)


def spoil_pixels(raw, exposure):
    """
    Pixels of a frame with the fault 'nan': float32 with a block of NaN in the middle.

    Parameters
    ----------
    raw : numpy.ndarray
        The raw frame.
    exposure : Exposure
        Its `damage` says whether anything is done.

    Returns
    -------
    numpy.ndarray
    """
    if exposure.damage != "nan":
        return raw
    spoilt = raw.astype(np.float32)
    ny, nx = spoilt.shape
    spoilt[ny // 2 : ny // 2 + max(ny // 20, 1), nx // 2 : nx // 2 + max(nx // 20, 1)] = np.nan
    return spoilt


def damaged_bytes(data, exposure):
    """
    Bytes of a file, cut off after 60 % where the fault is 'truncated'.

    Parameters
    ----------
    data : bytes
        The file.
    exposure : Exposure
        Its `damage` says whether anything is done.

    Returns
    -------
    bytes
    """
    return data[: int(0.6 * len(data))] if exposure.damage == "truncated" else data
