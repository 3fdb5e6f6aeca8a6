"""
Bleed trails and linearity against what the simulator put in; prints the tables of docs/validation.rst.

    python benchmarks/saturation.py trails --seeds 10
    python benchmarks/saturation.py linearity
    python benchmarks/saturation.py speed --runs 7
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation
from tables import table

from ccdnight.flags import FLAGS
from ccdnight.linearity import linearized
from ccdnight.products import make_ccd
from ccdnight.saturation import flag_saturation
from ccdnight.simulate import make_frame, make_maps, night_for
from ccdnight.simulate.charge import bleed
from ccdnight.simulate.electronics import linearity_of, non_linear
from ccdnight.simulate.stars import paint_stars

SATURATED, BLEED = FLAGS["SATURATED"].value, FLAGS["BLEED"].value
WELL, NOISE, SKY = 90000.0, 8.0, 300.0


def field(seed, fwhm, level, shape=(1000, 1000)):
    """Stars of which some overflow, in electron, with what every pixel took and its sigma."""
    rng = np.random.default_rng(seed)
    light = np.full(shape, SKY, np.float32)
    x, y = rng.uniform(0, shape[1], 200), rng.uniform(0, shape[0], 200)
    paint_stars(light, x, y, 10 ** rng.uniform(4, 7.3, 200), fwhm=fwhm, beta=4.765)
    charge = rng.poisson(light).astype(np.float32)
    before = charge.copy()
    bleed(charge, WELL)
    data = charge + rng.normal(0, NOISE, shape).astype(np.float32)
    sigma = np.sqrt(np.maximum(charge, 0) + NOISE**2)
    flags = np.where(data >= level * WELL, SATURATED, 0).astype(np.uint16)
    return make_ccd(data, unit="electron", sigma=sigma, flags=flags), charge - before, sigma


def trails(options):
    """Pixels that took more than 5 sigma of charge and are flagged, and flagged ones that lie next to no such pixel."""
    rows = []
    for level in (0.97, 0.6):
        for fwhm in (1.5, 2.5, 4.0, 6.0):
            took = seen = named = false = clear = 0
            for seed in range(1, options.seeds + 1):
                ccd, taken, sigma = field(seed, fwhm, level)
                flags = flag_saturation(ccd).flags
                trail = taken > 5 * sigma
                # Flags are grown by a pixel on purpose.
                far = ~binary_dilation((taken > 0) | (ccd.flags > 0), np.ones((3, 3)))
                took += np.count_nonzero(trail)
                seen += np.count_nonzero(trail & ((flags & (SATURATED | BLEED)) > 0))
                named += np.count_nonzero(trail & ((flags & BLEED) > 0))
                false += np.count_nonzero(far & (flags > 0))
                clear += np.count_nonzero(far)
            parts = (f"{100 * seen / took:.2f} %", f"{100 * named / took:.2f} %")
            rows.append((level, fwhm, took, *parts, false, f"{1e4 * false / clear:.2f}"))
    header = ("saturation / full well", "FWHM", "took charge", "flagged", "as BLEED", "wrong", "per 10,000")
    table(f"Bleed trails, {options.seeds} fields of a megapixel with 200 stars", header, rows)


def linearity(_):
    """What a loss at full well does to a signal, and what the correction leaves of it."""
    readout, rows = night_for("lfc").camera.readouts[0], []
    charge = np.linspace(0.01, 1, 400) * readout.full_well
    for loss in (0.01, 0.02, 0.05, 0.1):
        signal = non_linear(charge, readout.full_well, loss) / readout.gain
        errors = [100 * np.abs(signal * readout.gain / charge - 1).max()]
        for degree in (1, 2, 3, 4):
            corrected, _ = linearized(signal, linearity_of(readout, loss, degree=degree))
            errors.append(100 * np.abs(corrected * readout.gain / charge - 1).max())
        rows.append((f"{100 * loss:.0f} %", *(f"{error:.4f} %" for error in errors)))
    header = ("loss at full well", "without", *(f"{degree} coefficients" for degree in (1, 2, 3, 4)))
    table("Largest error of a signal up to full well", header, rows)


def speed(options):
    """Seconds for a full frame of the LFC."""
    night = night_for("lfc", "full")
    science = next(item for item in night.exposures if item.kind == "science")
    only, readout = replace(night, exposures=(science,)), night.camera.readouts[0]
    raw = make_frame(only, science, night.physics, 1, make_maps(only, night.physics, 1)).raw
    data = np.ascontiguousarray((raw - np.float32(science.bias_level)) * readout.gain, np.float32)
    flags = np.where(raw >= 59100, SATURATED, 0).astype(np.uint16)
    ccd, times = make_ccd(data, unit="electron", sigma=np.sqrt(np.maximum(data, 0) + 121), flags=flags), []
    for _ in range(options.runs + 1):
        start = time.perf_counter()
        result = flag_saturation(ccd)
        times.append(time.perf_counter() - start)
    counts = [np.count_nonzero(result.flags & bit) for bit in (SATURATED, BLEED)]
    row = (np.count_nonzero(flags), *counts, f"{statistics.median(times[1:]):.3f}")
    table("Saturation of one LFC frame", ("saturated", "grown", "on trails", "seconds"), [row])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["trails", "linearity", "speed"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    {"trails": trails, "linearity": linearity, "speed": speed}[options.what](options)


if __name__ == "__main__":
    main()
