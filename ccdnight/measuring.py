"""The first task of a night: gain and read noise of every amplifier, held against header and profile."""

import math
from dataclasses import replace
from pathlib import Path

from astropy.table import Table

from ccdnight import storage
from ccdnight.detector.curves import plain_curve
from ccdnight.detector.gain import gain_of
from ccdnight.detector.read_noise import read_noise_by_amplifier
from ccdnight.detector.series import open_frames
from ccdnight.detector.transfer import ALIKE, CURVED, levels_apart, transfer_by_amplifier
from ccdnight.exceptions import FrameError, InputError, MeasurementError
from ccdnight.linearity import Straightened, response_of
from ccdnight.profiles.interpret import first_number
from ccdnight.settling import settle

__all__ = ["DETECTOR_COLUMNS", "detector_table", "measure_detectors"]

#: Columns of detector.ecsv; gains in electron/adu, read noises in electron (`read_noise_adu` in adu).
DETECTOR_COLUMNS = (
    *("detector", "binning", "read_mode", "amplifier", "gain", "gain_error", "read_noise", "read_noise_error"),
    *("header_gain", "header_read_noise", "profile_gain", "profile_read_noise", "gain_used", "read_noise_used"),
    *("gain_from", "read_noise_from", "read_noise_adu", "signal", "pairs", "areas", "region", "remark"),
)
_NAN = float("nan")
#: Flats and biases that are looked at, and levels of a photon transfer curve.
_MOST_FLATS, _MOST_BIASES, _MOST_STEPS = 4, 8, 10
#: Where headers speak of a gain even if the profile does not believe it.
_GAIN_CARDS, _NOISE_CARDS = ("EGAIN", "GAIN"), ("RDNOISE", "READNOIS", "ENOISE", "RON")


def measure_detectors(folder, profile, frames, levels, _outcomes=None):
    """
    Measure every detector of a night and settle which values are used.

    Parameters
    ----------
    folder : str
        Raw folder.
    profile : InstrumentProfile
        The instrument.
    frames : list of tuple
        ``(path, 'bias' or 'flat', (detector, binning, read mode, shape), filter)``.
    levels : dict of str to float
        Typical value of each frame in adu.
    _outcomes : dict, optional
        What every task is given; the first needs nothing.

    Returns
    -------
    dict
        rows (of detector.ecsv), measurements (one for each row, or None), curves (the same as plain values, for a
        figure of the photon transfer), profile (with gain and read noise filled in), notes.
    """
    rows, measurements, notes, filled = [], [], [], {}
    for key in sorted({key for _, _, key, _ in frames}):
        own = [item for item in frames if item[2] == key]
        found, remark = _measure(folder, profile, own, levels, notes)
        header = storage.read_header(Path(folder, own[0][0]), hdu=profile.hdu).header
        for amplifier in profile.amplifiers_of(key[0]):
            row, settled = _row(key, amplifier, found.get(amplifier.name), header, profile, remark)
            rows.append(row)
            measurements.append(found.get(amplifier.name))
            # The first set of frames of a detector decides: a profile has one value for each amplifier.
            filled.setdefault((amplifier.detector, amplifier.name), settled)
            if row["remark"]:
                which = " ".join(part for part in ("detector", key[0], amplifier.name) if part)
                notes.append(f"{which}: {row['remark']}")
    amplifiers = tuple(replace(item, **filled.get((item.detector, item.name), {})) for item in profile.amplifiers)
    # Files are named from the raw folder on, as everywhere in a night.
    named = [note.replace(f"{folder}/", "") for note in notes]
    told = {"rows": rows, "measurements": measurements, "notes": list(dict.fromkeys(named))}
    told["curves"] = [plain_curve(item) for item in measurements]
    return told | {"profile": replace(profile, amplifiers=amplifiers)}


def _measure(folder, profile, frames, levels, notes):
    """Gain and read noise of the amplifiers of one detector, by name, and what prevented it."""
    biases = [Path(folder, path) for path, kind, _, _ in frames if kind == "bias"][:_MOST_BIASES]
    if len(biases) < 2:
        return {}, "too few biases to measure it"
    flats = [Path(folder, path) for path in _best_flats(frames, levels)]
    ladder, level = [Path(folder, path) for path in _ladder(frames, levels)], _bias_level(frames, levels)
    try:
        dark = open_frames(biases, profile, "biases")
        found, remark = _curve(ladder, profile, dark, level, notes), ""
        if not found and len(flats) >= 2:
            found = gain_of(_open_flats(flats, profile, level), dark, tell=notes.append)
        elif not found:
            found = read_noise_by_amplifier(dark, tell=notes.append)
            remark = "too few flats to measure the gain"
    except (MeasurementError, FrameError, InputError) as error:
        return {}, f"could not be measured: {error}"
    return {item.amplifier: item for item in found}, remark


def _open_flats(flats, profile, level):
    """Flats whose response is corrected where the profile tells how: it bends gains by three times its own loss."""
    sources = open_frames(flats, profile, "flats")
    response = response_of(sources[0].regions)
    if response is None:
        return sources
    return [Straightened(source, response, 0 if source.overscan_applied else level) for source in sources]


def _curve(flats, profile, dark, level, notes):
    """Photon transfer of every amplifier; nothing if there are too few levels, or no curve goes through them."""
    if not flats:
        return []
    try:
        return transfer_by_amplifier(_open_flats(flats, profile, level), dark, tell=notes.append)
    except MeasurementError as error:
        notes.append(f"photon transfer: {error}; the gain is measured from pairs")
        return []


def _best_flats(frames, levels):
    """Some flats of the filter that has most of them, those nearest to their middle level."""
    filters = {}
    for path, kind, _, name in frames:
        if kind == "flat" and levels.get(path, 0) > 0:
            filters.setdefault(name, []).append(path)
    if not filters:
        return []
    most = max(filters.values(), key=lambda paths: (len(paths), paths[0]))
    middle = sorted(levels[path] for path in most)[len(most) // 2]
    nearest = sorted(most, key=lambda path: abs(levels[path] - middle))[:_MOST_FLATS]
    return [path for path in most if path in nearest]


def _ladder(frames, levels):
    """
    Two flats of each of many levels, where there are such: they tell the brighter-fatter effect from the gain.

    A single level of 40,000 electron has a gain that is a tenth too high by it.
    """
    bias, steps, last = _bias_level(frames, levels), {}, None
    flats = [(name, levels.get(path, 0.0) - bias, path) for path, kind, _, name in frames if kind == "flat"]
    for name, level, path in sorted(item for item in flats if item[1] > 0):
        if last is not None and last[0] == name and last[1] >= ALIKE * level:
            steps.setdefault(last[1], [last[2]]).append(path)
            last = None
        else:
            last = (name, level, path)
    if levels_apart(steps) < CURVED:
        return []
    chosen = sorted(steps)[:: max(1, math.ceil(len(steps) / _MOST_STEPS))]
    return [path for level in chosen for path in steps[level]]


def _bias_level(frames, levels):
    """Typical level of the biases in adu, 0 where it is not known."""
    dark = [levels[path] for path, kind, _, _ in frames if kind == "bias" and levels.get(path, math.nan) > 0]
    return sorted(dark)[len(dark) // 2] if dark else 0.0


def _row(key, amplifier, measured, header, profile, remark):
    dialect = profile.dialect
    header_gain, _ = first_number(header, dialect.gain or _GAIN_CARDS)
    header_noise, _ = first_number(header, dialect.read_noise or _NOISE_CARDS)
    gain = error = noise = noise_error = adu = None
    if measured is not None:
        adu = measured.read_noise_adu
        if hasattr(measured, "gain"):
            gain, error = float(measured.gain.value), float(measured.gain_error.value)
    believed = settle("gain", "electron/adu", gain, error, amplifier.gain, header_gain if dialect.gain else None)
    if header_gain is not None and not dialect.gain and gain is not None:
        believed = _with_index(believed, gain, error, amplifier.gain, header_gain)
    if adu is not None and believed.value is not None:
        noise = adu * believed.value
        relative = float((measured.read_noise_error / measured.read_noise).value)
        noise_error = noise * relative
    read = settle("read noise", "electron", noise, noise_error, amplifier.read_noise, header_noise)
    values = (gain, error, noise, noise_error, header_gain, header_noise, amplifier.gain, amplifier.read_noise)
    numbers = [_NAN if value is None else float(value) for value in (*values, believed.value, read.value)]
    where = [getattr(measured, name, empty) for name, empty in (("pairs", 0), ("areas", 0), ("region", ""))]
    extra = (believed.source, read.source, _NAN if adu is None else adu, getattr(measured, "signal", _NAN), *where)
    words = "; ".join(part for part in (remark, believed.words, read.words) if part)
    row = dict(zip(DETECTOR_COLUMNS, (*key[:3], amplifier.name, *numbers, *extra, words), strict=True))
    return row, {"gain": believed.value, "read_noise": read.value}


def _with_index(believed, gain, error, profile, header):
    """A gain card that the profile does not believe in is named all the same where it is wrong."""
    told = settle("gain", "electron/adu", gain, error, profile, header)
    return believed if told.source == "header" else replace(believed, words=told.words)


def detector_table(rows):
    """
    What `detector.ecsv` holds.

    Parameters
    ----------
    rows : list of dict
        Of `measure_detectors`.

    Returns
    -------
    `~astropy.table.Table`
    """
    table = Table(rows=[[row[name] for name in DETECTOR_COLUMNS] for row in rows] or None, names=DETECTOR_COLUMNS)
    for name in DETECTOR_COLUMNS:
        if name in ("read_noise_adu", "signal"):
            table[name].unit = "adu"
        elif ("gain" in name or "read_noise" in name) and not name.endswith("_from"):
            table[name].unit = "electron / adu" if "gain" in name else "electron"
    return table
