"""Writing down what was put into a simulated night."""

import io
import json
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from ccdnight.simulate.charge import area_kernel
from ccdnight.simulate.rawfile import write_array
from ccdnight.simulate.truth import FORMAT, Truth
from ccdnight.storage import safe_name, write_text

__all__ = ["write_truth"]


def write_truth(folder, night, physics, seed, maps, log):
    """
    Write the truth of a night.

    Parameters
    ----------
    folder : path-like
        OUT/truth.
    night, physics, seed
        The night, the terms, the seed.
    maps : Maps
        What all frames share.
    log : dict
        'cosmic_rays' and 'saturated' (lists of table columns by file), 'particles' and 'trails' (by file).

    Returns
    -------
    Truth
    """
    folder = Path(folder)
    for band, flat in maps.flats.items():
        write_array(folder / f"flat_{safe_name(band)}.fits", flat)
    write_array(folder / "dark.fits", maps.dark, unit="electron/s")
    write_array(folder / "bias.fits", maps.bias, unit="adu")
    _write_table(folder / "bad_pixels.ecsv", maps.defects)
    _write_table(folder / "stars.ecsv", maps.catalog)
    _write_table(folder / "cosmic_rays.ecsv", _stacked(log["cosmic_rays"], ("x", "y", "electron")))
    _write_table(folder / "saturated.ecsv", _stacked(log["saturated"], ("x", "y_first", "y_last")))
    values = {
        "format": FORMAT,
        "seed": int(seed),
        "scalars": _scalars(night),
        "physics": asdict(physics),
        "night": {item.name: _plain(getattr(night, item.name)) for item in fields(night)},
        "faults": {item.path: item.fault for item in night.exposures if item.fault},
        "brighter_fatter_kernel": area_kernel(night.camera.brighter_fatter_a00).tolist()
        if physics.brighter_fatter
        else [],
        "particles": log["particles"],
        "trails": log["trails"],
    }
    text = json.dumps(values, indent=1, ensure_ascii=False)
    write_text(folder / "truth.json", text + "\n")
    return Truth(folder, json.loads(text))


def _scalars(night):
    """The numbers a person looks for first; all others are in the night."""
    readouts = night.camera.readouts
    science = [item for item in night.exposures if item.kind == "science"]
    return {
        "gain": {"value": {item.name: item.gain for item in readouts}, "unit": "electron/adu"},
        "read_noise": {"value": {item.name: item.read_noise for item in readouts}, "unit": "electron"},
        "full_well": {"value": {item.name: item.full_well for item in readouts}, "unit": "electron"},
        "dark_rate": {"value": night.camera.dark_rate, "unit": "electron/s"},
        "bias_level": {"value": {item.path: item.bias_level for item in night.exposures}, "unit": "adu"},
        "sky": {"value": {item.path: item.light for item in science}, "unit": "electron/s"},
    }


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _stacked(parts, names):
    """One table of the columns of each file."""
    from astropy.table import Table

    files = [np.full(len(columns[0]), path) for path, columns in parts.items()]
    joined = [np.concatenate([columns[i] for columns in parts.values()] or [[]]) for i in range(len(names))]
    table = Table({"file": np.concatenate(files) if files else np.empty(0, "U1")})
    for name, column in zip(names, joined, strict=True):
        table[name] = np.round(column, 2) if name == "electron" else column.astype(int)
    return table


def _write_table(path, table):
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    write_text(path, stream.getvalue())
