"""
Illumination, fringes and shutter held against simulated nights; prints the tables of docs/validation.rst.

    python benchmarks/illumination.py flats --size full --seeds 3
    python benchmarks/illumination.py fringes --size full --seeds 1
    python benchmarks/illumination.py shutter --size full --seeds 1
    python benchmarks/illumination.py speed
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from tables import table

from ccdnight.calibration import calibrate
from ccdnight.fringes import make_fringe_frame, subtract_fringes
from ccdnight.illumination import (
    combine_flats,
    correct_shutter,
    fit_illumination,
    make_sky_flat,
    shutter_pattern,
)
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.simulate import Physics, night_for, simulate_night
from ccdnight.simulate.sky import fringe_pattern, shutter_map

BAND = "i'"
BLOCK = 32


def lfc(size):
    """The i' part of the LFC night, with five dithered twilight flats that show stars."""
    night = night_for("lfc", size)
    kept = [item for item in night.exposures if item.kind in ("bias", "dark") or item.filter == BAND]
    dome = next(item for item in kept if item.kind == "flat")
    twilights = [
        replace(dome, path=f"ccd.{100 + n}.0.fits", kind="twilight", object="twilight", number=100 + n,
                exposure=3.0, dark_time=3.672, light=dome.light * 7 / 3, field="blank", dx=61.0 * n, dy=-47.0 * n)
        for n in range(5)
    ]  # fmt: skip
    return replace(night, exposures=(*kept, *twilights))


def simulated(night, profile, seed, **switches):
    """A night in a temporary folder, with screen, twilight and whatever else is asked for."""
    folder = Path(tempfile.mkdtemp(prefix="illumination-"))
    truth = simulate_night(folder, profile, seed=seed, night=night, physics=Physics(**switches), workers=1)
    return truth, folder


def paths(truth, kind):
    return [truth.raw_folder / item.path for item in truth.night.exposures if item.kind == kind]


def masters(truth, profile):
    """Bias, darks of the science frames, dome and twilight flat."""
    night = {"profile": profile}
    bias = make_bias([path for path in paths(truth, "bias") if path.parent.name != "darks"], **night)
    own = [truth.raw_folder / item.path for item in truth.night.exposures
           if item.kind == "dark" and item.exposure == 300]  # fmt: skip
    dark = make_dark(own, bias=bias, **night)
    return bias, dark, *(make_flat(paths(truth, kind), bias=bias, **night) for kind in ("flat", "twilight"))


def cut(array, like):
    """The part of the data frame that the profile's trimming leaves: equal margins on all sides."""
    edge = (array.shape[0] - like.data.shape[0]) // 2
    return array[edge : array.shape[0] - edge, edge : array.shape[1] - edge] if edge else array


def blocks(values, good):
    """Medians of 32 x 32 pixels."""
    ny, nx = (length // BLOCK for length in values.shape)
    part = np.where(good, values, np.nan)[: ny * BLOCK, : nx * BLOCK].reshape(ny, BLOCK, nx, BLOCK)
    part = part.transpose(0, 2, 1, 3).reshape(ny, nx, -1)
    enough = np.isfinite(part).sum(axis=2) > BLOCK**2 / 2
    result = np.full((ny, nx), np.nan)
    result[enough] = np.nanmedian(part[enough], axis=1)
    return result


def off(flat, truth):
    """Peak-to-peak, largest and rms deviation of a flat from the truth, in percent, over blocks."""
    true, bad = cut(truth.flat(BAND), flat), cut(truth.bad, flat)
    good = (flat.flags == 0) & ~bad & (true > 0.5)
    ratio = blocks(flat.data / np.maximum(true, 0.5), good)
    ratio = 100 * (ratio / np.nanmedian(ratio) - 1)
    return np.nanmax(ratio) - np.nanmin(ratio), np.nanmax(np.abs(ratio)), np.nanstd(ratio)


def flats(size, seeds):
    """How far dome, twilight, both together and a sky flat are from the planted response."""
    found = {}
    for seed in range(1, seeds + 1):
        truth, folder = simulated(lfc(size), "lfc", seed, screen_gradient=True, twilight_gradient=True)
        bias, dark, dome, twilight = masters(truth, "lfc")
        science = [calibrate(path, bias=bias, dark=dark, profile="lfc") for path in paths(truth, "science")]
        results = {"dome": dome, "twilight": twilight, "twilight x dome": combine_flats(dome, twilight)}
        for name, flat in (results | {"sky flat": make_sky_flat(science)}).items():
            noise = np.median(flat.uncertainty.array[flat.flags == 0])
            found.setdefault(name, []).append((*off(flat, truth), 100 * noise))
        shutil.rmtree(folder)
    rows = [(name, *(f"{value:.3f}" for value in np.mean(values, axis=0))) for name, values in found.items()]
    header = ("flat", "peak to peak [%]", "largest [%]", "rms [%]", "noise of a pixel [%]")
    table(f"lfc {size}, {seeds} seeds: flat over truth in blocks of {BLOCK} x {BLOCK} pixels", header, rows)


def amplitude(data, pattern, good):
    """How much of a pattern is in data, by least squares."""
    pattern = (pattern[good] - pattern[good].mean()).astype(np.float64)
    return np.dot(data[good] - data[good].mean(), pattern) / np.dot(pattern, pattern)


def fluxes(truth, path, image, edge):
    """Sums in apertures above a ring, and true charges of stars of more than 20,000 electron off the edges."""
    from photutils.aperture import CircularAnnulus, CircularAperture

    stars, fwhm = truth.stars(path), truth.exposure(path).fwhm
    x, y = (np.asarray(stars[name], float) - edge for name in ("x", "y"))
    ny, nx = image.shape
    inside = (np.minimum(x, y) > 30) & (x < nx - 30) & (y < ny - 30) & (stars["electron"] > 20000)
    places = np.transpose([x[inside], y[inside]])
    aperture, ring = CircularAperture(places, 2 * fwhm), CircularAnnulus(places, 3 * fwhm, 5 * fwhm)
    sky = np.array([np.median(mask.get_values(image)) for mask in ring.to_mask(method="center")])
    return aperture.do_photometry(image)[0] - sky * aperture.area, np.asarray(stars["electron"][inside])


def fringes(size, seeds):
    """What is left of the planted fringes, and what is taken from the stars."""
    rows = []
    for seed in range(1, seeds + 1):
        switches = {"screen_gradient": True, "twilight_gradient": True, "fringes": True}
        truth, folder = simulated(lfc(size), "lfc", seed, **switches)
        bias, dark, dome, twilight = masters(truth, "lfc")
        flat = combine_flats(dome, twilight)
        names = [item.path for item in truth.night.exposures if item.kind == "science"]
        science = [calibrate(truth.raw_folder / name, bias=bias, dark=dark, flat=flat, profile="lfc") for name in names]
        fringe = make_fringe_frame(science)
        pattern = cut(truth.night.fringe_amplitude * fringe_pattern(truth.night.camera, truth.seed), fringe)
        for name, ccd in zip(names, science, strict=True):
            rows.append((seed, name, *_left(truth, name, ccd, fringe, pattern)))
        shutil.rmtree(folder)
    header = ("seed", "frame", "before", "after", "rms left", "stars", "flux taken [%]", "median [%]")
    table(f"lfc {size}: planted fringes = 1, and flux taken from stars", header, rows)


def _left(truth, name, ccd, fringe, pattern):
    sky = truth.exposure(name).light * truth.exposure(name).exposure
    clean = subtract_fringes(ccd, fringe)
    edge = (truth.night.camera.data_shape[0] - ccd.data.shape[0]) // 2
    plain = np.abs(cut(truth.light(name), ccd) / sky - 1 - pattern) < 0.01
    good = (clean.flags == 0) & plain & ~cut(truth.bad, ccd)
    left = pattern + (clean.data - ccd.data) / sky
    before, after = (amplitude(item.data / sky, pattern, good) for item in (ccd, clean))
    taken, flux = fluxes(truth, name, -left * sky + pattern.mean() * sky, edge)
    return (
        f"{before:.3f}", f"{after:+.3f}", f"{left[good].std() / pattern[good].std():.3f}", len(flux),
        f"{100 * taken.sum() / flux.sum():+.4f}", f"{100 * np.median(taken / flux):+.4f}",
    )  # fmt: skip


def shutter(size, seeds):
    """The planted delays of the Aspen's iris, and what they do to a flat of one second."""
    rows = []
    base = night_for("aspen", size)
    start = next(item for item in base.exposures if item.kind == "twilight")
    biases = [item for item in base.exposures if item.kind == "bias"]
    series = [
        replace(
            start, path=f"lamp-{seconds:g}s-{n}.fit", kind="flat", exposure=seconds, dark_time=seconds, light=3000.0
        )
        for seconds in (1.0, 4.0, 20.0)
        for n in range(4)
    ]
    for seed in range(1, seeds + 1):
        truth, folder = simulated(replace(base, exposures=(*biases, *series)), "aspen", seed, shutter=True)
        bias = make_bias(paths(truth, "bias"), profile="aspen")
        frames = [calibrate(path, bias=bias, profile="aspen") for path in paths(truth, "flat")]
        pattern = shutter_pattern(frames)
        true = cut(shutter_map(truth.night.camera), pattern)
        good = (pattern.flags == 0) & ~cut(truth.bad, pattern)
        miss = 1000 * (pattern.data - true)[good]
        short, long = frames[0], frames[-1]
        spans = []
        for one, other in ((short, long), (correct_shutter(short, pattern), correct_shutter(long, pattern))):
            lit = good & (other.data > 0.3 * np.median(other.data))
            level = blocks(one.data / np.where(lit, other.data, 1), lit)
            spans.append(100 * (np.nanmax(level) - np.nanmin(level)) / np.nanmedian(level))
        low, middle, high = np.percentile(miss, [0.5, 50, 99.5])
        delay = f"{1000 * true.max():.1f}"
        shutil.rmtree(folder)
        rows.append((seed, delay, f"{middle:+.2f}", f"{low:+.2f}", f"{high:+.2f}", *(f"{span:.2f}" for span in spans)))
    header = ("seed", "planted [ms]", "median off", "0.5 % below", "0.5 % above", "1 s flat [%]", "corrected [%]")
    table(f"aspen {size}: shutter pattern, and span of a flat of 1 s over one of 20 s", header, rows)


def speed():
    """Seconds of a fit over 2080 x 4128 pixels, and of astropy's linear fitter on a 16th of them."""
    from astropy.modeling.fitting import LinearLSQFitter
    from astropy.modeling.models import Legendre2D

    rng = np.random.default_rng(1)
    frame = rng.normal(1, 0.01, (4128, 2080)).astype(np.float32)
    small = frame[::4, ::4]
    y, x = np.mgrid[: small.shape[0], : small.shape[1]]
    work = {
        "fit_illumination, all pixels, no clipping": lambda: fit_illumination(frame, sigma=None),
        "fit_illumination, all pixels, 3 sigma": lambda: fit_illumination(frame),
        "LinearLSQFitter, every 16th pixel, no clipping": lambda: LinearLSQFitter()(Legendre2D(3, 3), x, y, small),
    }
    rows = []
    for name, function in work.items():
        times = []
        for _ in range(5):
            start = time.perf_counter(), time.process_time()
            function()
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        rows.append((name, *(f"{value:.2f}" for value in np.median(times, axis=0))))
    table("Degree 3, median of five", ("what", "seconds", "of processor"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flats", "fringes", "shutter", "speed"])
    parser.add_argument("--size", default="small", choices=["small", "full"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.what == "speed":
        speed()
    else:
        {"flats": flats, "fringes": fringes, "shutter": shutter}[options.what](options.size, options.seeds)


if __name__ == "__main__":
    main()
