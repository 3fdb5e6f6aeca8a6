"""Play a night: raw frames and truth into a folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ccdnight.exceptions import InputError, OutputError
from ccdnight.profiles import InstrumentProfile, get_profile
from ccdnight.simulate.anynight import any_night
from ccdnight.simulate.dialects import header_cards
from ccdnight.simulate.faults import add_faults, damaged_bytes, spoil_pixels
from ccdnight.simulate.frame import make_frame, make_maps
from ccdnight.simulate.keeping import write_truth
from ccdnight.simulate.nights import NIGHTS
from ccdnight.simulate.rawfile import fits_bytes
from ccdnight.simulate.truth import open_truth
from ccdnight.storage import make_folder, remove_file, write_bytes

__all__ = ["night_for", "simulate_night"]

SIZES = ("small", "full")


def night_for(profile, size="small"):
    """
    The night that is simulated for an instrument.

    Parameters
    ----------
    profile : str, path-like or InstrumentProfile
        'lfc', 'aspen', 'arcsat' and 'nickel' have nights of their own, by name or by the name of a profile
        that ccdnight brings; any other profile gets a night built from its amplifiers and its dialect.
    size : {'small', 'full'}
        Size of the frames.

    Returns
    -------
    Night
        Frozen; `dataclasses.replace` makes other ones of it.

    Raises
    ------
    InputError
        If the size is not known, or no night can be made of the profile.
    ProfileError
        If there is no such profile.

    Examples
    --------
    >>> from ccdnight.simulate import night_for
    >>> len(night_for("lfc").exposures) > 10
    True
    """
    if size not in SIZES:
        msg = f"size {size!r}; allowed are {', '.join(map(repr, SIZES))}"
        raise InputError(msg)
    if isinstance(profile, str) and profile in NIGHTS:
        return NIGHTS[profile](size)
    profile = get_profile(profile)
    known = NIGHTS.get(profile.name)
    return known(size) if known and profile == get_profile(profile.name) else any_night(profile, size)


def simulate_night(
    out, profile, *, seed, size="small", physics=None, faults=(), night=None, overwrite=False, workers=1
):
    """
    Simulate a night of raw frames whose truth is known.

    The same arguments give the same bytes, whatever the number of workers.

    Parameters
    ----------
    out : path-like
        Folder: OUT/raw gets the raw frames exactly as the instrument writes them, OUT/truth what was put in.
    profile : str, path-like or InstrumentProfile
        The instrument; see `night_for`.
    seed : int
        Seed, 0 or more.
    size : {'small', 'full'}, optional
        Full frames, or cut-down ones with the same facts.
    physics : Physics, optional
        Terms; by default those of the night.
    faults : sequence of str, optional
        Things that go wrong; see `ccdnight.simulate.add_faults`.
    night : Night, optional
        Another night than that of the profile, which then only serves the headers.
    overwrite : bool, optional
        Whether frames and truth of an earlier simulation are replaced, also of one that was broken off; what lies in a
        folder without its truth beside it never is.
    workers : int, optional
        Threads.

    Returns
    -------
    Truth
        As `open_truth` gives it.

    Raises
    ------
    InputError
        If seed, size, fault or night are not allowed.
    ProfileError
        If there is no such profile.
    OutputError
        If the folder holds something already, or cannot be written.

    Examples
    --------
    A night that is simulated, reduced and held against its truth is in :doc:`/user_guide/simulate`.

    >>> from ccdnight.simulate import simulate_night
    >>> truth = simulate_night("night", "lfc", seed=1)  # doctest: +SKIP
    >>> truth.expected("ccd.037.0.fits")  # doctest: +SKIP
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        msg = f"seed = {seed!r}; it has to be a whole number, 0 or more"
        raise InputError(msg)
    night = add_faults(night_for(profile, size) if night is None else night, faults)
    physics = night.physics if physics is None else physics
    reader = None
    if night.dialect == "profile":
        reader = profile if isinstance(profile, InstrumentProfile) else get_profile(profile)
    raw, truth = Path(out) / "raw", Path(out) / "truth"
    _make_folders(raw, truth, night, overwrite)
    maps = make_maps(night, physics, seed)
    originals = [item for item in night.exposures if item.damage != "duplicate"]

    def play(exposure):
        return _play(raw, night, exposure, physics, seed, maps, reader)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        records = dict(zip((item.path for item in originals), pool.map(play, originals), strict=True))
    for item in night.exposures:
        if item.damage == "duplicate":
            write_bytes(raw / item.path, (raw / item.source).read_bytes())
            records[item.path] = records[item.source]
    log = {name: {path: record[name] for path, record in records.items() if _filled(record[name])}
           for name in ("cosmic_rays", "saturated", "particles", "trails")}  # fmt: skip
    return write_truth(truth, night, physics, seed, maps, log)


def _earlier_frames(raw, truth):
    """Frames of an earlier simulation; one that was broken off has left its folder for the truth empty."""
    if not raw.is_dir() or not any(raw.iterdir()) or (truth.is_dir() and not any(truth.iterdir())):
        return set()
    try:
        return set(open_truth(truth).exposures)
    except InputError as error:
        msg = f"{raw}: no simulation made what is in it, and it is not overwritten; name another folder"
        raise OutputError(msg) from error


def _make_folders(raw, truth, night, overwrite):
    for folder in (raw, truth):
        if not overwrite and folder.is_dir() and any(folder.iterdir()):
            msg = (
                f"{folder}: the folder is not empty; name another one, or have it replaced with overwrite (--overwrite)"
            )
            raise OutputError(msg)
    # Those that this simulation does not have would be taken for its own.
    for path in _earlier_frames(raw, truth) - {item.path for item in night.exposures}:
        if (raw / path).is_file() and (raw / path).resolve().is_relative_to(raw.resolve()):
            remove_file(raw / path)
    for folder in {truth, *((raw / item.path).parent for item in night.exposures)}:
        make_folder(folder)


def _filled(value):
    return bool(len(value[0])) if isinstance(value, tuple) else bool(value)


def _play(folder, night, exposure, physics, seed, maps, reader):
    """Make and write one frame; what remains in memory is sparse."""
    frame = make_frame(night, exposure, physics, seed, maps)
    raw = spoil_pixels(frame.raw, exposure)
    data = fits_bytes(raw, header_cards(night, exposure, raw, reader))
    write_bytes(folder / exposure.path, damaged_bytes(data, exposure))
    return {
        "cosmic_rays": (frame.cosmic_x, frame.cosmic_y, frame.cosmic_charge),
        "saturated": _runs(frame.saturated),
        "particles": frame.particles,
        "trails": frame.trails,
    }


def _runs(mask):
    """Columns, first and last rows of the runs of True along the columns."""
    columns = np.flatnonzero(mask.any(axis=0))
    part = np.pad(mask[:, columns].T.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(part, axis=1)
    column, first = np.nonzero(steps == 1)
    _, last = np.nonzero(steps == -1)
    return columns[column], first, last - 1
