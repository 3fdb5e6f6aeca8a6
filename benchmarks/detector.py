"""
Gain, read noise and photon transfer of simulated detectors against what was put in; tables of docs/validation.rst.

    python benchmarks/detector.py nights --profile lfc --size full --seeds 20
    python benchmarks/detector.py nights --profile lfc --size small --seeds 400
    python benchmarks/detector.py transfer --seeds 5
    python benchmarks/detector.py quick --seeds 3
"""

import argparse
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import units as u
from tables import table

from ccdnight.detector import estimate_gain, fit_photon_transfer
from ccdnight.exceptions import FrameWarning
from ccdnight.products import make_ccd
from ccdnight.simulate import night_for, simulate_night
from ccdnight.simulate.charge import grow

#: Of the photon transfer curve: levels in adu, gain, read noise, a00, side of the frames.
LEVELS = (500, 2000, 5000, 10000, 20000, 30000, 40000, 50000)
GAIN, NOISE, A00, SIDE = 2.0, 11.0, -2.5e-6, 512


def calibration_frames(profile, seed, size, folder, *, flats=3, biases=6):
    """Biases and flats of one filter of a simulated night."""
    night = night_for(profile, size)
    lit = [item for item in night.exposures if item.kind in ("flat", "twilight")]
    lit = [item for item in lit if item.filter == lit[0].filter][:flats]
    dark = [item for item in night.exposures if item.kind == "bias" and "/" not in item.path][:biases]
    truth = simulate_night(folder, profile, seed=seed, night=replace(night, exposures=(*dark, *lit)), workers=2)
    paths = ([folder / "raw" / item.path for item in items] for items in (lit, dark))
    return truth, *paths


def nights(profile, size, seeds):
    """Mean and scatter of gain and read noise, and their pulls."""
    found = {"gain": [], "read noise": []}
    for seed in range(1, seeds + 1):
        folder = Path(tempfile.mkdtemp(prefix="detector-"))
        truth, lit, dark = calibration_frames(profile, seed, size, folder)
        result = estimate_gain(lit, dark, profile=profile)
        put = truth.night.camera.readouts[0]
        found["gain"].append((result.gain.value / put.gain - 1, (result.gain_error / result.gain).value))
        relative = (result.read_noise_error / result.read_noise).value
        found["read noise"].append((result.read_noise.value / put.read_noise - 1, relative))
        shutil.rmtree(folder)
    rows = []
    for name, values in found.items():
        off, error = np.array(values).T
        pull = off / error
        numbers = (f"{100 * off.mean():+.3f}", f"{100 * off.std():.3f}", f"{100 * np.abs(off).max():.3f}")
        rows.append((name, *numbers, f"{pull.mean():+.2f}", f"{pull.std():.3f}"))
    header = ("quantity", "mean off [%]", "scatter [%]", "largest [%]", "mean pull", "std of pull")
    table(f"{profile}, {size} frames, {seeds} seeds", header, rows)


def ladder(seed):
    """Flats of many levels whose charge repels charge, and biases."""
    rng = np.random.default_rng(seed)
    shape = (SIDE, SIDE)

    def read_out(charge, seconds):
        pixels = np.rint(1000 + (charge + rng.normal(0, NOISE, shape)) / GAIN).astype(np.float32)
        return make_ccd(pixels, unit="adu", meta={"FILTER": "V", "EXPTIME": seconds})

    response = rng.normal(1, 0.01, shape)
    dark = [read_out(np.zeros(shape), 0.0) for _ in range(6)]
    lit = []
    for level in LEVELS:
        for _ in range(2):
            charge = grow((level * GAIN * response).astype(np.float32), rng, a00=A00, steps=25)
            lit.append(read_out(charge, level / 1000))
    return lit, dark


def transfer(seeds):
    """The curve with and without the brighter-fatter term, and a pair of the highest level."""
    rows = []
    for seed in range(1, seeds + 1):
        lit, dark = ladder(seed)
        curve, straight = fit_photon_transfer(lit, dark), fit_photon_transfer(lit, dark, brighter_fatter=False)
        pairs = [
            estimate_gain(lit[2 * place : 2 * place + 2], dark) for place in (LEVELS.index(20000), -1 % len(LEVELS))
        ]
        gain = f"{curve.gain.value:.4f} +- {curve.gain_error.value:.4f}"
        a00 = f"{1e6 * curve.a00.value:.3f} +- {1e6 * curve.a00_error.value:.3f}"
        others = (f"{curve.read_noise.value:.3f}", f"{straight.gain.value:.4f}")
        others += tuple(f"{pair.gain.value:.4f}" for pair in pairs)
        rows.append((seed, gain, a00, *others))
    header = ("seed", "gain", "a00 [1e-6/electron]", "read noise", "gain, straight line")
    header += ("pair of 40,000 electron", "of 100,000")
    table(f"put in: gain {GAIN}, a00 {1e6 * A00}, read noise {NOISE}", header, rows)


def quick(seeds):
    """The formulas of a blackboard beside the full ones, for LFC."""
    rows = []
    for seed in range(1, seeds + 1):
        folder = Path(tempfile.mkdtemp(prefix="detector-"))
        _, lit, dark = calibration_frames("lfc", seed, "full", folder)
        short = estimate_gain(lit, dark, method="quick", profile="lfc")
        full = estimate_gain(lit, dark, profile="lfc")
        numbers = [item.gain.to_value(u.electron / u.adu) for item in (short, full)]
        rows.append((seed, *(f"{value:.4f}" for value in numbers), f"{short.read_noise.value:.3f}"))
        shutil.rmtree(folder)
    table("lfc, put in: gain 2", ("seed", "gain, quick", "gain, pairs", "read noise, quick"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nights", "transfer", "quick"])
    parser.add_argument("--profile", default="lfc")
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore", FrameWarning)
    if options.what == "nights":
        nights(options.profile, options.size, options.seeds)
    else:
        {"transfer": transfer, "quick": quick}[options.what](options.seeds)


if __name__ == "__main__":
    main()
