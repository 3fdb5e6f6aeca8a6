"""
The first task of a night: gain and read noise of every amplifier, held against header and profile.

Where the profile has a value it is used; without one the measurement, if it is better than 3 %; the header last.
"""

from dataclasses import replace
from pathlib import Path

from ccdnight import storage
from ccdnight.detector import estimate_gain, estimate_read_noise
from ccdnight.exceptions import FrameError, InputError, MeasurementError
from ccdnight.profiles.interpret import first_number

__all__ = ["DETECTOR_COLUMNS", "measure_detectors"]

#: Columns of detector.ecsv; gains in electron/adu, read noises in electron.
DETECTOR_COLUMNS = (
    *("detector", "binning", "read_mode", "amplifier", "gain", "gain_error", "read_noise", "read_noise_error"),
    *("header_gain", "header_read_noise", "profile_gain", "profile_read_noise", "gain_used", "read_noise_used"),
    "remark",
)
_NAN = float("nan")
#: A gain that is measured to no better than this part does not take precedence over the header's.
_POOR = 0.03


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
        rows (of detector.ecsv), profile (with gain and read noise filled in), notes.
    """
    rows, notes, filled = [], [], {}
    for key in sorted({key for _, _, key, _ in frames}):
        amplifiers = profile.amplifiers_of(key[0])
        measured, remark = _measure(folder, profile, [item for item in frames if item[2] == key], levels, amplifiers)
        for amplifier in amplifiers:
            row, settled = _settle(folder, profile, key, amplifier, measured, remark, frames)
            rows.append(row)
            # The first set of frames of a detector decides: a profile has one value for each amplifier.
            filled.setdefault((amplifier.detector, amplifier.name), settled)
            if row["remark"]:
                which = " ".join(part for part in ("detector", key[0], amplifier.name) if part)
                notes.append(f"{which}: {row['remark']}")
    amplifiers = tuple(replace(item, **filled.get((item.detector, item.name), {})) for item in profile.amplifiers)
    return {"rows": rows, "profile": replace(profile, amplifiers=amplifiers), "notes": notes}


def _measure(folder, profile, frames, levels, amplifiers):
    """Gain and read noise of one detector; several amplifiers are not told apart here."""
    biases = [path for path, kind, _, _ in frames if kind == "bias"]
    if len(amplifiers) > 1:
        return None, "several amplifiers: measured values are not told apart, the profile's are used"
    if len(biases) < 2:
        return None, "too few biases to measure it"
    flats = _best_flats(frames, levels)
    paths = [Path(folder, path) for path in biases[:8]]
    try:
        if len(flats) >= 2:
            return estimate_gain([Path(folder, path) for path in flats], paths, profile=profile), ""
        return estimate_read_noise(paths, profile=profile), "too few flats to measure the gain"
    except (MeasurementError, FrameError, InputError) as error:
        return None, f"could not be measured: {error}"


def _best_flats(frames, levels):
    """Up to four flats of the filter that has most, those nearest in level."""
    filters = {}
    for path, kind, _, name in frames:
        if kind == "flat" and levels.get(path, 0) > 0:
            filters.setdefault(name, []).append(path)
    if not filters:
        return []
    most = max(filters.values(), key=lambda paths: (len(paths), paths[0]))
    return most[:4]


def _settle(folder, profile, key, amplifier, measured, remark, frames):
    header = storage.read_header(Path(folder, next(path for path, _, k, _ in frames if k == key))).header
    header_gain, _ = first_number(header, profile.dialect.gain)
    header_noise, _ = first_number(header, profile.dialect.read_noise)
    gain = error = noise = noise_error = None
    if measured is not None and hasattr(measured, "gain"):
        gain, error = measured.gain.value, measured.gain_error.value
        noise, noise_error = measured.read_noise.value, measured.read_noise_error.value
    # A measurement from few pixels is no better than a header that was typed in by hand.
    poor = gain is not None and not 0 < error <= _POOR * gain
    used_gain = amplifier.gain or (header_gain if poor and header_gain else gain) or header_gain
    if gain is None and measured is not None and used_gain:
        noise = measured.read_noise_adu * used_gain
        noise_error = measured.read_noise_error.value * used_gain
    if used_gain is not None and amplifier.gain is None and used_gain != gain:
        told = f"the gain, {header_gain:g} electron/adu, is the header's and could not be held against a measurement"
        remark = f"{remark}; {told}" if remark else told
    used_noise = amplifier.read_noise or noise or header_noise
    values = (gain, error, noise, noise_error, header_gain, header_noise, amplifier.gain, amplifier.read_noise)
    values += (used_gain, used_noise)
    numbers = [_NAN if value is None else float(value) for value in values]
    row = dict(zip(DETECTOR_COLUMNS, (*key[:3], amplifier.name, *numbers, remark), strict=True))
    return row, {"gain": used_gain, "read_noise": used_noise}
