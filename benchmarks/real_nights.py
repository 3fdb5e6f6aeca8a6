"""
Figures of docs/validation.rst that come from the real raw nights and from the lecture's policy.

    python benchmarks/real_nights.py ../shared/data
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from astropy.stats import sigma_clip
from tables import table

from ccdnight import Night
from ccdnight.detector import estimate_gain
from ccdnight.simulate import simulate_night
from ccdnight.storage import read_pixels

QUIET = {"cosmic_rays": False, "progress": False}


def boxes(image, size=64):
    """Clipped medians of the boxes of an image."""
    ny, nx = image.shape
    corners = [(y, x) for y in range(0, ny - size + 1, size) for x in range(0, nx - size + 1, size)]
    parts = [image[y : y + size, x : x + size] for y, x in corners]
    return np.array([np.ma.median(sigma_clip(part[np.isfinite(part)], sigma=3)) for part in parts])


def arcsat(folder, out):
    """Flatness of the skies, and how the rows of the bias move."""
    night = Night(folder)
    result = night.reduce(out, **QUIET)
    rows = []
    for name in result.science:
        ccd = result.science[name]
        found = boxes(np.where(ccd.mask, np.nan, ccd.data) / ccd.meta["GAINUSED"])
        rows.append((name, f"{np.median(found):.1f}", f"{np.std(found):.2f}"))
    table("ARCSAT: sky in boxes of 64 x 64 pixels, adu", ("frame", "level", "standard deviation"), rows)
    bias, rows = result.masters["bias"].data, []
    for row in sorted(night.frames, key=lambda item: str(item["time"])):
        if row["kind"] not in ("bias", "dark", "science"):
            continue
        image = read_pixels(folder / row["path"]) - bias
        # The first columns differ from the rest in every frame; they are left out.
        along = [np.median(image[y : y + 64, 64:]) for y in range(0, image.shape[0], 64)]
        across = [np.median(image[:, x : x + 64]) for x in range(64, image.shape[1], 64)]
        when = str(row["time"])[11:19]
        rows.append((when, row["kind"], row["filter"] or "-", f"{np.std(along):.2f}", f"{np.std(across):.2f}"))
    header = ("UTC", "kind", "filter", "scatter of rows", "scatter of columns")
    table("ARCSAT: raw frames less the master bias, medians of 64 rows or columns, adu", header, rows)


def nickel(folder, out):
    """The sky with and without the overscan."""
    night = Night(folder)
    both = night.reduce(out / "both", **QUIET)
    frames = night.reduce(out / "frames", plan=night.plan(bias="frames"), **QUIET)
    rows = []
    for name in both.science:
        one, other = both.science[name], frames.science[name]
        good, gain = ~(one.mask | other.mask), one.meta["GAINUSED"]
        levels = [np.median(ccd.data[good]) / gain for ccd in (one, other)]
        difference = np.median((other.data - one.data)[good]) / gain
        level = f"{one.meta['OVSCMEAN']:.1f}"
        rows.append((name, level, *(f"{value:.1f}" for value in levels), f"{difference:+.1f}"))
    header = ("frame", "overscan", "median, both", "median, bias frames alone", "difference")
    table("Nickel: level of the science frames, adu", header, rows)


def gains(arcsat_folder, nickel_folder):
    """Gain and read noise from flats of one filter, and from the one pair of unequal level."""
    rows = []
    biases = sorted(arcsat_folder.glob("Bias*"))
    for band in ("g", "r", "z", "H-Alpha"):
        flats = sorted(arcsat_folder.glob(f"domeflat_{band}_*"))
        pairs = [estimate_gain(flats[i : i + 2], biases).gain.value for i in range(len(flats) - 1)]
        rows.append(_gain_row(f"ARCSAT {band}", estimate_gain(flats, biases), f"{min(pairs):.3f} to {max(pairs):.3f}"))
    flats = [nickel_folder / f"d{number}.fits" for number in (1035, 1036)]
    biases = [nickel_folder / f"d{number}.fits" for number in range(1001, 1011)]
    rows.append(
        _gain_row("Nickel d1035, d1036", estimate_gain(flats, biases), f"{_scaled(flats, biases):.3f} if scaled")
    )
    table("Gain and read noise", ("flats", "gain", "error", "read noise", "single pairs"), rows)


def _gain_row(name, found, pairs):
    numbers = (found.gain.value, found.gain_error.value, found.read_noise.value)
    return (name, *(f"{value:.4f}" for value in numbers), pairs)


def _scaled(flats, biases):
    """What comes out if one flat is scaled to the other and the formula for equal levels is kept."""
    bias = np.mean([read_pixels(path) for path in biases], axis=0)
    one, other = (read_pixels(path) - bias for path in flats)
    values = []
    for y in range(64, 960, 64):
        for x in range(64, 960, 64):
            a, b = (image[y : y + 64, x : x + 64].astype(float) for image in (one, other))
            b *= np.median(a) / np.median(b)
            values.append(2 * a.mean() / sigma_clip(a - b, sigma=5).var())
    return np.median(values)


def lecture(out, seeds=5):
    """What the hand recipe leaves in simulated LFC frames, and what the default does."""
    rows = []
    for policy in ("lecture", None):
        found = []
        for seed in range(1, seeds + 1):
            folder = out / f"lfc-{seed}"
            truth = simulate_night(folder, "lfc", seed=seed, overwrite=True)
            result = Night(folder / "raw", profile="lfc").reduce(folder / (policy or "default"), policy=policy, **QUIET)
            found += [_left(result, truth, name) for name in result.science]
        left, dark = np.mean(found, axis=0)
        rows.append((policy or "default", f"{left:+.2f}", f"{dark:.2f}"))
    header = ("policy", "science less truth [adu]", "dark of 300 s [adu]")
    table(f"Simulated LFC nights, {seeds} seeds; 20 adu of dark were put in", header, rows)


def _left(result, truth, name):
    item = next(item for item in result.plan.science if item.input == name)
    ccd, dark = result.science[name], result.masters[item.dark]
    ny, nx = ccd.data.shape
    edge = (truth.light(name).shape[0] - ny) // 2
    region = (slice(edge, edge + ny), slice(edge, edge + nx))
    good = (truth.usable(name)[region] & (ccd.flags == 0)) if edge else truth.usable(name) & (ccd.flags == 0)
    left = np.median((ccd.data - truth.light(name)[region])[good]) / ccd.meta["GAINUSED"]
    return left, np.median(dark.data) * dark.meta["DARKTIME"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real raw nights")
    parser.add_argument("--real-only", action="store_true", help="leave out the simulated nights")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        arcsat(options.data / "arcsat-2025-06-01", Path(out, "arcsat"))
        nickel(options.data / "nickel-2024-05-13", Path(out, "nickel"))
        gains(options.data / "arcsat-2025-06-01", options.data / "nickel-2024-05-13")
        if not options.real_only:
            lecture(Path(out))


if __name__ == "__main__":
    main()
