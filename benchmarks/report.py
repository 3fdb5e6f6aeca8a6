"""
What the report costs, and how well the seeing is measured; prints the figures of docs/user_guide/report.rst.

    python benchmarks/report.py cost
    python benchmarks/report.py seeing
    python benchmarks/report.py many --frames 500
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from tables import table

from ccdnight import Night, Reduction, get_profile
from ccdnight.annotation import look_at, sky_of
from ccdnight.overview import flatness_of, overview_of
from ccdnight.products import make_ccd
from ccdnight.reduction import Products
from ccdnight.report import write_report
from ccdnight.seeing import measure_seeing
from ccdnight.simulate import simulate_night
from ccdnight.simulate.stars import paint_stars
from ccdnight.thumbnails import picture_of_file, pictures_of_science, pixels_of_pictures


def star_field(shape, fwhm, beta, stars, seed=1):
    """Stars of equal width on a sky of 100 electron with a noise of 8."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    x, y = (rng.uniform(20, length - 20, stars) for length in shape[::-1])
    paint_stars(image, x, y, fwhm**2 * 10 ** rng.uniform(2.5, 4, stars), fwhm=fwhm, beta=beta)
    return (image + rng.normal(100, 8, shape)).astype(np.float32)


def best(function, times=7):
    """The shortest of some times in milliseconds of one processor."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        function()
        taken.append(time.process_time() - begin)
    return f"{1000 * min(taken):.1f}"


def cost():
    """Milliseconds that a frame of 2080 x 4128 pixels costs a science task."""
    from astropy.io import fits

    ccd = make_ccd(star_field((4128, 2080), 3.5, 3.5, 500), unit="electron")
    look, (level, scatter, _) = look_at(ccd), sky_of(ccd)
    profile, pixels = get_profile("generic"), pixels_of_pictures(30)
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        raw = Path(folder, "raw.fits")
        fits.writeto(raw, ccd.data.astype(np.uint16))
        rows = [
            ("one pass over the frame", best(lambda: look_at(ccd))),
            ("flatness", best(lambda: flatness_of(look, scatter))),
            ("seeing", best(lambda: measure_seeing(ccd.data, ccd.flags, look, level, scatter))),
            ("picture of the raw file", best(lambda: picture_of_file(raw, pixels=pixels))),
            ("both pictures", best(lambda: pictures_of_science(raw, profile, ccd, look, pixels))),
        ]
    table("Cost for a frame of 2080 x 4128 pixels", ["what", "ms"], rows)


def seeing():
    """Measured widths of stars against those of the pixels that were painted."""
    rows = []
    for fwhm in (2.0, 3.0, 4.2, 6.0, 10.0):
        cells = []
        for beta in (2.5, 3.5, 50.0):
            data = star_field((600, 700), fwhm, beta, 60)
            found = measure_seeing(data, np.zeros(data.shape, np.uint16), overview_of(data, step=4), 100.0, 8.0)
            # A square pixel adds a variance of 1/12 to that of the star.
            true = np.sqrt(fwhm**2 + 8 * np.log(2) / 12)
            cells.append(f"{100 * (found.fwhm / true - 1):+.1f} %")
        rows.append((fwhm, *cells))
    table("FWHM, measured minus true", ["FWHM [pixel]", "Moffat 2.5", "Moffat 3.5", "Gaussian"], rows)


def repeated(result, frames):
    """The same night with so many science frames."""
    names = list(result.science)
    first = names[0]
    plans, rows, statistics, pictures, files = [], [], dict(result.run["statistics"]), dict(result.pictures), {}
    plan = next(item for item in result.plan.science if item.input == first)
    row = result.night[result.night["path"] == first]
    for number in range(frames):
        name, output = f"frame_{number:04d}.fits", f"science/frame_{number:04d}.fits"
        plans.append(replace(plan, input=name, output=name))
        rows.append((name, "science", "science", "used", row["reason"][0], output))
        told = dict(statistics[f"science/{plan.output}"])
        statistics[output] = told | {"jd_mid": (told["jd_mid"] or 2460000.5) + number / 1440}
        pictures[output], files[name] = pictures[f"science/{plan.output}"], output
    others = result.night[result.night["kind"] != "science"]
    night = vstack([others, Table(rows=rows, names=others.colnames)])
    run = result.run | {"statistics": statistics}
    plan = replace(result.plan, science=tuple(plans))
    return Reduction(result.output, result.masters, Products(result.output, files), night, plan, run, pictures)


def many(frames):
    """Time and size of a report of many frames."""
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        truth = simulate_night(Path(folder, "night"), "nickel", seed=1, size="full")
        result = Night(truth.raw_folder).reduce(Path(folder, "out"), progress=False)
        result = repeated(result, frames)
        # Pictures of as many frames are smaller.
        pixels = pixels_of_pictures(frames)
        raw = Path(truth.raw_folder, "d1047.fits")
        smaller = {
            "before": picture_of_file(raw, pixels=pixels, unit="adu"),
            "after": picture_of_file(Path(folder, "out/science/d1047.fits"), pixels=pixels, kind="science"),
        }
        result.pictures.update({name: smaller for name in result.pictures if name.startswith("science/frame")})
        begin = time.perf_counter()
        path = write_report(result, Path(folder, "report.html"))
        seconds = time.perf_counter() - begin
        print(f"{frames} frames: {seconds:.2f} s, {path.stat().st_size / 1e6:.1f} million bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("what", choices=["cost", "seeing", "many"])
    parser.add_argument("--frames", type=int, default=500)
    options = parser.parse_args()
    if options.what == "many":
        many(options.frames)
    else:
        {"cost": cost, "seeing": seeing}[options.what]()
