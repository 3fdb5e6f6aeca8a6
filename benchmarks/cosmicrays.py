"""
Cosmic rays: is the fast engine equal to astroscrappy, how fast is it, and what do the thresholds find.

    python benchmarks/cosmicrays.py equal ../shared/data/arcsat-2025-06-01 ../shared/data/nickel-2024-05-13
    python benchmarks/cosmicrays.py speed --runs 5
    python benchmarks/cosmicrays.py truth --seeds 2

``equal`` takes folders of raw nights, which are reduced first, and calibrated files; five simulated frames of the LFC
come on top. ``speed`` holds both engines to one core. ``truth`` holds flags against the hits that the simulator made.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

# Before astroscrappy is loaded, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astroscrappy import detect_cosmics
from scipy.ndimage import binary_dilation
from tables import table

from ccdnight import Night, Policy, flag_cosmic_rays, read_ccd
from ccdnight._lacosmic import Options, find_cosmic_rays
from ccdnight.cosmicrays import thresholds_for
from ccdnight.products import make_ccd
from ccdnight.simulate import make_frame, make_maps, night_for
from ccdnight.simulate.frame import expected_charge, incident_light

COSMIC = 4
#: Rows and columns at the frame's edge that are left out of the count of star pixels.
EDGE = 10

#: Sets of parameters for which the engines are compared; thresholds that are lower flag more.
COMPARED = {
    "own variance": {},
    "noise from the level": {"variance": "model"},
    "medmask, sigclip=3, objlim=2": {"variance": "model", "cleantype": "medmask", "sigclip": 3.0, "objlim": 2.0},
}


def simulated(name, seed, number=0, fwhm=None):
    """A science frame in electron less its true bias and dark, divided by its flat, and what is true of it."""
    night = night_for(name, "full")
    science = [item for item in night.exposures if item.kind == "science"][number]
    science = science if fwhm is None else replace(science, fwhm=fwhm)
    only, physics, camera = replace(night, exposures=(science,)), night.physics, night.camera
    maps = make_maps(only, physics, seed)
    frame = make_frame(only, science, physics, seed, maps)
    readout, flat = camera.readouts[0], maps.flats[science.filter]
    light = incident_light(only, science, physics, seed, maps.catalog, frame.trails)
    expected = expected_charge(science, maps, light)
    charge = (camera.to_data(frame.raw) - science.bias_level - maps.bias) * readout.gain
    # A dead column has no flat; it is bad.
    flat = np.where(flat > 0, flat, np.nan)
    sigma = np.sqrt(expected + readout.read_noise**2) / flat
    hits = np.zeros(charge.shape)
    np.add.at(hits, (frame.cosmic_y, frame.cosmic_x), frame.cosmic_charge)
    bad = np.zeros(charge.shape, bool)
    bad[maps.defects["y"], maps.defects["x"]] = True
    bad |= np.isnan(flat)
    # Saturated stars as a reduction would grow them.
    bad |= binary_dilation(frame.saturated, np.ones((5, 5)), iterations=2)
    meta = {"RDNOISE": readout.read_noise, "SATURATE": 0.95 * readout.full_well}
    data = (charge - maps.dark * science.dark_time) / flat
    ccd = make_ccd(data, unit="electron", sigma=sigma, flags=np.uint16(bad), meta=meta)
    return ccd, {"light": light, "sigma": sigma, "hits": hits / flat, "good": ~bad}


def frames_of(paths, folder):
    """Calibrated frames by name: of nights, of files, and simulated."""
    for path in map(Path, paths):
        if path.is_dir():
            result = Night(path).reduce(folder / path.name, cosmic_rays=False, progress=False)
            yield from ((f"{path.name}/{name}", result.science[name]) for name in result.science)
        else:
            yield path.name, read_ccd(path)
    for number in range(5):
        yield f"simulated LFC {number}", simulated("lfc", seed=number, number=number)[0]


def equal(options, folder):
    """Pixels flagged by each engine and by only one of them, and replaced values that differ."""
    rows = []
    for name, ccd in frames_of(options.paths, folder):
        for what, parameters in COMPARED.items():
            fast, slow = (
                flag_cosmic_rays(ccd, engine=engine, clean=True, **parameters) for engine in ("fast", "astroscrappy")
            )
            one, other = ((result.flags & COSMIC) > 0 for result in (fast, slow))
            values = np.count_nonzero(fast.data[one & other] != slow.data[one & other])
            rows.append((name, what, np.count_nonzero(other), np.count_nonzero(one != other), values))
    table("fast engine against astroscrappy", ("frame", "parameters", "flagged", "different", "values different"), rows)


def best_of(function, runs):
    """Shortest time, and the last result."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def speed(options, _):
    """Seconds of either engine for one frame of 4128 x 2080 pixels, on one core."""
    night = night_for("lfc", "full")
    science = next(item for item in night.exposures if item.kind == "science")
    only, readout = replace(night, exposures=(science,)), night.camera.readouts[0]
    raw = make_frame(only, science, night.physics, 1, make_maps(only, night.physics, 1)).raw
    data = np.ascontiguousarray((raw - np.float32(science.bias_level)) * readout.gain, np.float32)
    rows = []
    for satlevel, what in ((np.inf, "defaults"), (0.95 * readout.full_well, "defaults, with saturation")):
        asked = Options(4.5, 0.3, 5.0, 1.0, readout.read_noise, satlevel, 4, "meanmask")

        def fast(workers=1, asked=asked):
            return find_cosmic_rays(data, mask=None, background=None, variance=None, options=asked, workers=workers)[0]

        def slow(asked=asked):
            return detect_cosmics(data, **asked._asdict())[0]

        fast()
        (ours, mask), (both, _) = best_of(fast, options.runs), best_of(lambda fast=fast: fast(2), options.runs)
        theirs, other = best_of(slow, max(1, options.runs // 2))
        differ = np.count_nonzero(mask != other)
        rows.append((what, f"{theirs:.2f}", f"{ours:.3f}", f"{theirs / ours:.0f}", f"{both:.3f}", differ))
    header = ("parameters", "astroscrappy [s]", "fast [s]", "ratio", "fast, 2 threads [s]", "pixels different")
    table(f"LFC frame of {data.shape[0]} x {data.shape[1]}, shortest of {options.runs} runs", header, rows)


def truth(options, _):
    """How many hits are flagged, and how many pixels of stars that no particle hit."""
    rows = []
    for name in ("lfc", "aspen"):
        for fwhm in options.fwhm:
            made = [simulated(name, seed, fwhm=fwhm) for seed in range(1, options.seeds + 1)]
            for sigclip, objlim in ((4.5, 5.0), ("policy", "policy"), *options.thresholds):
                counts, shown = [], []
                for ccd, known in made:
                    asked = {"sigclip": sigclip, "objlim": objlim}
                    if sigclip == "policy":
                        asked, _ = thresholds_for(ccd, Policy())
                    counts.append(_counts(ccd, known, **asked))
                    shown.append((asked["sigclip"], asked["objlim"]))
                seen, found, *stars, noise = np.sum(counts, axis=0)
                rates = [f"{1e4 * stars[i + 1] / stars[i]:.2f}" for i in (0, 2)]
                means = [f"{value:.1f}" for value in np.mean(shown, axis=0)]
                what = "seeing" if sigclip == "policy" else "fixed"
                numbers = (seen, f"{found / seen:.4f}", stars[0], stars[1], *rates, noise)
                rows.append((name, fwhm, what, *means, *numbers))
    header = (
        "night",
        "FWHM",
        "thresholds",
        "sigclip",
        "objlim",
        "hits",
        "found",
        "star pixels",
        "wrong",
        "per 10,000",
        "all",
        "sky",
    )
    table("pixels hit by more than 10 sigma, and pixels of stars", header, rows)


def _counts(ccd, known, sigclip, objlim):
    flagged = (flag_cosmic_rays(ccd, sigclip=sigclip, objlim=objlim).flags & COSMIC) > 0
    seen = known["good"] & (known["hits"] > 10 * known["sigma"])
    # The pixels next to a hit are flagged with it at the lower threshold: they are not held against the stars.
    clear = known["good"] & ~binary_dilation(known["hits"] > 0, np.ones((3, 3)), iterations=2)
    star = known["light"] > np.median(known["light"]) + 3 * np.nanmedian(known["sigma"])
    # Within 4 pixels of the frame's edge there is no fine structure to compare with, so every star that reaches there
    # is a cosmic ray; that is counted apart.
    inner = np.zeros(star.shape, bool)
    inner[EDGE:-EDGE, EDGE:-EDGE] = True
    stars = [part & clear for part in (star & inner, star)]
    masks = [seen, seen & flagged, stars[0], stars[0] & flagged, stars[1], stars[1] & flagged, clear & ~star & flagged]
    return [np.count_nonzero(mask) for mask in masks]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equal", "speed", "truth"])
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--fwhm", type=float, nargs="+", default=[4.0, 3.0, 2.5, 1.5])
    parser.add_argument("--thresholds", type=lambda text: tuple(map(float, text.split(","))), nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cosmicrays-") as folder:
        {"equal": equal, "speed": speed, "truth": truth}[options.what](options, Path(folder))


if __name__ == "__main__":
    main()
