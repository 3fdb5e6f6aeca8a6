"""
Bad pixels of simulated nights, found by a reduction and held against what was planted; prints the table of
docs/validation.rst.

    python benchmarks/badpixels.py --size full --seeds 3
    python benchmarks/badpixels.py --profiles arcsat nickel --seeds 5
    python benchmarks/badpixels.py ccdmask
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from tables import table

from ccdnight import Night
from ccdnight.planted import planted_pixels
from ccdnight.simulate import simulate_night


def against_truth(profiles, size, seeds):
    """Planted pixels that are found, and good ones that are flagged."""
    rows = []
    for profile in profiles:
        found, false, good, seconds = {}, 0, 0, []
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory(prefix="badpixels-") as folder:
                truth = simulate_night(Path(folder, "night"), profile, seed=seed, size=size)
                night = Night(truth.raw_folder, profile=profile)
                result = night.reduce(Path(folder, "out"), cosmic_rays=False, progress=False)
                name = next(item.name for item in result.plan.masters if item.kind == "badpixels")
                bad = result.masters[name].data != 0
                seconds.append(result.run["timings"][f"master:{name}"])
                for kind, planted in planted_pixels(result, truth).items():
                    if kind == "good":
                        false, good = false + int((bad & planted).sum()), good + int(planted.sum())
                    else:
                        seen, there = found.get(kind, (0, 0))
                        found[kind] = seen + int((bad & planted).sum()), there + int(planted.sum())
        for kind, (seen, there) in found.items():
            if there:
                rows.append((profile, kind, there, seen, f"{100 * seen / there:.2f} %"))
        rows.append((profile, "good", good, false, f"{100 * false / good:.4f} %"))
        print(f"# {profile}: {np.mean(seconds):.2f} s for a mask", flush=True)
    table(f"Bad pixels, {size}, {seeds} seeds", ("night", "planted", "pixels", "flagged", "part"), rows)


def against_ccdmask(shape=(512, 512)):
    """Time and result of ccdproc.ccdmask and of ours, both ways to measure the scatter."""
    import ccdproc
    from astropy.nddata import CCDData

    from ccdnight.badpixels import find_outliers

    rng = np.random.default_rng(1)
    ratio = rng.normal(1, 0.01, shape).astype(np.float32)
    ratio[rng.integers(0, shape[0], 500), rng.integers(0, shape[1], 500)] *= 0.7
    image, rows = CCDData(ratio, unit=""), []
    find_outliers(image[:32])
    find_outliers(image[:32], running=True)
    for name, running in (("blocks", False), ("running", True)):
        start = time.perf_counter()
        theirs = ccdproc.ccdmask(image, byblocks=not running)
        middle = time.perf_counter()
        ours = find_outliers(image, running=running, workers=1)
        end = time.perf_counter()
        rows.append((name, f"{middle - start:.2f}", f"{end - middle:.2f}", int((ours != theirs).sum())))
    table(f"ccdmask, {shape[0]} x {shape[1]}", ("scatter", "ccdproc [s]", "ccdnight [s]", "different pixels"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="truth", choices=["truth", "ccdmask"])
    parser.add_argument("--profiles", nargs="+", default=["lfc", "aspen"])
    parser.add_argument("--size", default="small", choices=["small", "full"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.what == "ccdmask":
        against_ccdmask()
    else:
        against_truth(options.profiles, options.size, options.seeds)


if __name__ == "__main__":
    main()
