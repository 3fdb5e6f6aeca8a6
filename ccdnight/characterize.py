"""All that a folder of raw frames tells about its detectors: what ``ccdnight detector`` prints and writes."""

import io
from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight.detector import PhotonTransfer, dark_current, fit_photon_transfer, measure_bias
from ccdnight.exceptions import FrameError, InputError, MeasurementError
from ccdnight.measuring import detector_table, measure_detectors
from ccdnight.vetting import contradictions, copies

__all__ = ["characterize"]

_KEY = ("detector", "binning", "read_mode", "shape")
_MOST_DARKS, _MOST_BIASES, _MOST_FLATS = 5, 10, 40


def characterize(night, *, output=None):
    """
    Measure every detector of a folder.

    Parameters
    ----------
    night : Night
        Its frames; science frames are not needed.
    output : path-like, optional
        Folder for detector.ecsv, the photon transfer tables and the figures.

    Returns
    -------
    dict
        'detectors', one entry for each amplifier, in which a measured number is {'value', 'error', 'unit'}; 'notes';
        'files', what was written.

    Raises
    ------
    MeasurementError
        If there are no biases.
    """
    folder, profile = night.folder, night.profile
    samples = night.collection.measure()
    levels = {str(row["path"]): float(row["level"]) for row in samples}
    frames, darks = _frames(night, samples)
    if not any(kind == "bias" for _, kind, _, _ in frames):
        msg = f"{folder or 'the list'}: no usable bias frame; a detector cannot be measured without"
        raise MeasurementError(msg)
    measured = measure_detectors(folder, profile, frames, levels)
    notes, files, detectors, figures = list(measured["notes"]), [], [], {}
    left = list(zip(measured["rows"], measured["measurements"], strict=True))
    keys = sorted({key for _, _, key, _ in frames})
    for key in keys:
        own = [item for item in frames if item[2] == key]
        pairs = [left.pop(0) for _ in profile.amplifiers_of(key[0])]
        more = _Detector(folder, measured["profile"], own, darks.get(key, []), pairs, notes).measure()
        for row, _ in pairs:
            found = more.get(row["amplifier"], {})
            detectors.append(_entry(row, found))
            parts = ("detector", key[0], row["amplifier"], *(key[1:] if len(keys) > 1 else ()))
            figures[storage.safe_name("_".join(part for part in parts if part))] = found
    if output is not None:
        files = _write(Path(output), measured["rows"], figures)
    return {"detectors": detectors, "notes": list(dict.fromkeys(notes)), "files": sorted(files)}


def _frames(night, samples):
    """Biases and flats as `measure_detectors` takes them, and darks of each detector."""
    wrong = contradictions(night.frames, samples)
    wrong |= copies(night.frames, samples, wrong)
    frames, darks = [], {}
    for row in night.frames:
        path, kind = str(row["path"]), str(row["kind"])
        if path in wrong or str(row["problem"]) not in ("", "--"):
            continue
        key = tuple(str(row[name]) for name in _KEY)
        if kind in ("bias", "flat", "twilight"):
            frames.append((path, "bias" if kind == "bias" else "flat", key, str(row["filter"])))
        elif kind == "dark":
            darks.setdefault(key, []).append(path)
    return frames, darks


class _Detector:
    """What else can be measured of one detector: each by itself, and what cannot is said."""

    def __init__(self, folder, profile, frames, darks, pairs, notes):
        self._profile, self._notes = profile, notes
        self._gain, self._measured = pairs[0][0]["gain_used"], [item for _, item in pairs]
        paths = {kind: [Path(folder, path) for path, own, _, _ in frames if own == kind] for kind in ("bias", "flat")}
        self._biases, self._flats = paths["bias"][:_MOST_BIASES], paths["flat"][:_MOST_FLATS]
        self._darks = [Path(folder, path) for path in darks[:_MOST_DARKS]]

    def measure(self):
        """Measurements by amplifier and name."""
        found = {}
        for name, function in (("bias", self._bias), ("transfer", self._transfer), ("dark", self._dark)):
            try:
                result = function()
            except (MeasurementError, FrameError, InputError) as error:
                self._notes.append(f"{name}: {error}")
                continue
            for item in result:
                found.setdefault(item.amplifier, {})[name] = item
        return found

    def _bias(self):
        return _each(measure_bias(self._biases, profile=self._profile))

    def _transfer(self):
        curves = [item for item in self._measured if isinstance(item, PhotonTransfer)]
        if curves or len(self._flats) < 6 or len(self._biases) < 2:
            return curves
        return _each(fit_photon_transfer(self._flats, self._biases, profile=self._profile))

    def _dark(self):
        if not self._darks:
            return ()
        options = {"gain": self._gain if np.isfinite(self._gain) else None, "profile": self._profile}
        return _each(dark_current(self._darks, biases=self._biases or None, **options))


def _each(result):
    """The measurement of every amplifier."""
    return result.amplifiers or (result,)


def _number(value, error, unit):
    known = value is not None and np.isfinite(value)
    error = float(error) if known and error is not None and np.isfinite(error) else None
    return {"value": float(value) if known else None, "error": error, "unit": unit}


def _quantity(value, error):
    return None if value is None else _number(value.value, None if error is None else error.value, str(value.unit))


def _entry(row, found):
    """One amplifier, as JSON holds it."""
    electron, gain = "electron", "electron / adu"
    entry = {name: row[name] for name in ("detector", "amplifier", "binning", "read_mode")}
    entry["gain"] = _number(row["gain"], row["gain_error"], gain)
    entry["read_noise"] = _number(row["read_noise"], row["read_noise_error"], electron)
    for who in ("header", "profile"):
        numbers = [(name, row[f"{who}_{name}"]) for name in ("gain", "read_noise")]
        entry[who] = {name: float(value) if np.isfinite(value) else None for name, value in numbers}
    entry["used"] = {
        name: _number(row[f"{name}_used"], None, unit) | {"from": row[f"{name}_from"]}
        for name, unit in (("gain", gain), ("read_noise", electron))
    }
    entry |= {name: row[name] for name in ("signal", "pairs", "areas", "region", "remark")}
    entry["signal"] = _number(row["signal"], None, "adu")["value"]
    entry["photon_transfer"] = entry["bias"] = entry["dark_current"] = None
    if "transfer" in found:
        item = found["transfer"]
        names = ("gain", "read_noise", "a00")
        entry["photon_transfer"] = {
            name: _quantity(getattr(item, name), getattr(item, f"{name}_error")) for name in names
        }
        entry["photon_transfer"] |= {"full_well": _quantity(item.full_well, None), "levels": item.levels}
    if "bias" in found:
        item = found["bias"]
        drift = _quantity(item.drift, item.drift_error)
        entry["bias"] = {"level": _quantity(item.level, item.level_scatter), "drift": drift, "frames": item.frames}
    if "dark" in found:
        item = found["dark"]
        entry["dark_current"] = _quantity(item.rate, item.rate_error) | {"temperature": item.temperature}
    return entry


def _write(output, rows, figures):
    storage.make_folder(output)
    storage.write_text(output / "detector.ecsv", _ecsv(detector_table(rows)))
    files = ["detector.ecsv"]
    for name, found in figures.items():
        if "transfer" in found:
            storage.write_text(output / f"photon_transfer_{name}.ecsv", _ecsv(found["transfer"].table))
            files.append(f"photon_transfer_{name}.ecsv")
        if found:
            storage.write_bytes(output / f"{name}.png", _figure(found))
            files.append(f"{name}.png")
    return files


def _ecsv(table):
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue()


def _figure(found):
    """The figures of one amplifier, side by side, as PNG."""
    from matplotlib.figure import Figure

    from ccdnight.plots import plot_bias, plot_linearity, plot_ptc

    drawn = [(plot_ptc, "transfer"), (plot_linearity, "transfer"), (plot_bias, "bias")]
    drawn = [(function, found[name]) for function, name in drawn if name in found]
    figure = Figure(figsize=(6.5 * max(1, len(drawn)), 4.8), layout="constrained", dpi=110)
    for number, (function, result) in enumerate(drawn, 1):
        function(result, figure.add_subplot(1, len(drawn), number))
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
