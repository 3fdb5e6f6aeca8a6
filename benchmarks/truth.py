"""
Nights with known truth, reduced and held against it; prints the tables of docs/validation.rst.

    python benchmarks/truth.py pulls --profile lfc --size full --seeds 10
    python benchmarks/truth.py policies --seeds 10
    python benchmarks/truth.py terms --seeds 3
    python benchmarks/truth.py rejection --seeds 10
    python benchmarks/truth.py masters --seeds 5
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from tables import table

from ccdnight import Night
from ccdnight.comparison import compare_night
from ccdnight.masters import make_bias, make_dark
from ccdnight.pulls import frame_pulls, star_pulls
from ccdnight.simulate import Physics, night_for, simulate_night

#: Terms that the reduction does not correct: off, then one at a time.
UNCORRECTED = ("shutter", "non_linearity", "brighter_fatter", "twilight_gradient")


def perfect(**switches):
    """Physics without the terms that a reduction does not correct."""
    return replace(Physics(), **(dict.fromkeys(UNCORRECTED, False) | switches))


def reduce_night(profile, seed, *, size, physics=None, bias=None):
    """Simulate, reduce, and hand on everything that the comparison needs."""
    folder = Path(tempfile.mkdtemp(prefix="truth-"))
    truth = simulate_night(folder, profile, seed=seed, size=size, physics=physics or perfect(), workers=2)
    night = Night(folder / "raw", profile=profile)
    result = night.reduce(folder / "out", plan=night.plan(bias=bias), cosmic_rays=False, progress=False)
    return truth, result, folder


def remove(folder):
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def pulls(profile, size, seeds, bias=None):
    """Pull of every good pixel and reported over true variance; star fluxes in apertures."""
    found = {"sky": [], "stars": []}
    apertures, rows = [], []
    for seed in range(1, seeds + 1):
        truth, result, folder = reduce_night(profile, seed, size=size, bias=bias)
        for path in result.science:
            for region, value in frame_pulls(result, truth, path).items():
                found[region].append((value["mean"], value["std"], value["variance_ratio"]))
            apertures.append(star_pulls(result, truth, path))
        far = [f"{row.quantity} {row.pull:+.1f}" for row in compare_night(result, truth) if abs(row.pull or 0) > 3]
        print(f"# {profile} {size} seed {seed}: {', '.join(far) or 'all within 3 errors'}", flush=True)
        remove(folder)
    for region, values in found.items():
        mean, std, ratio = np.mean(values, axis=0)
        spread = np.std(values, axis=0)
        rows.append((region, f"{mean:+.4f}", f"{spread[0]:.4f}", f"{std:.4f}", f"{spread[1]:.4f}", f"{ratio:.4f}"))
    header = ("where", "mean pull", "from frame to frame", "std of pull", "from frame to frame", "variance ratio")
    table(f"{profile}, {size}, {seeds} seeds, policy {bias or 'auto'}", header, rows)
    stars = np.concatenate(apertures)
    pull = (stars[:, 0] - stars[:, 1]) / np.sqrt(stars[:, 2])
    ratio = stars[:, 0] / stars[:, 1] - 1
    weight = stars[:, 1] ** 2 / stars[:, 2]
    bias_of_flux, error = np.sum(weight * ratio) / weight.sum(), 1 / np.sqrt(weight.sum())
    row = (len(stars), f"{pull.mean():+.3f}", f"{pull.std():.3f}", f"{bias_of_flux:+.5f}", f"{error:.5f}")
    table("Star fluxes", ("stars", "mean pull", "std of pull", "relative bias", "its error"), [row])


def policies(size, seeds):
    """What the policies leave in the sky of the LFC night, in electron."""
    rows = []
    for bias in ("both", "frames", "overscan"):
        left = []
        for seed in range(1, seeds + 1):
            truth, result, folder = reduce_night("lfc", seed, size=size, bias=bias)
            for path in result.science:
                ccd = result.science[path]
                good = truth.usable(path) & (ccd.flags == 0)
                left.append(np.mean((ccd.data - truth.light(path))[good], dtype=np.float64))
            remove(folder)
        rows.append((bias, f"{np.mean(left):+.3f}", f"{np.std(left):.3f}"))
    table("lfc: reduced less truth", ("policy", "mean [electron]", "from frame to frame"), rows)


def terms(size, seeds):
    """The uncorrected terms, one at a time."""
    rows = []
    for profile, names in (("lfc", UNCORRECTED[1:3]), ("aspen", ("shutter", "twilight_gradient", *UNCORRECTED[1:3]))):
        for name in ("none", *names):
            physics = perfect() if name == "none" else perfect(**{name: True})
            values = []
            for seed in range(1, seeds + 1):
                truth, result, folder = reduce_night(profile, seed, size=size, physics=physics)
                for path in result.science:
                    found = frame_pulls(result, truth, path)
                    values.append([found[r][k] for r in ("sky", "stars") for k in ("mean", "std", "variance_ratio")])
                remove(folder)
            rows.append((profile, name, *(f"{value:+.3f}" for value in np.mean(values, axis=0))))
    header = ("profile", "term on", *(f"{r} {k}" for r in ("sky", "stars") for k in ("mean", "std", "variance")))
    table(f"One uncorrected term at a time, {seeds} seeds", header, rows)


def rejection(size, seeds):
    """Cosmic ray values above 10 single-frame sigma that masters keep, and good values that are lost."""
    rules = (("noise", 4.0), ("noise", 5.0), ("sigma", 2.5), ("sigma", 3.0), ("mad", 3.0), ("minmax", 1.0))
    night = night_for("lfc", size)
    rows = []
    for kind, count in (("bias", 6), ("bias", 5), ("dark", 3)):
        for rule, sigma in rules:
            hit, kept, noise = 0, 0, []
            for seed in range(1, seeds + 1):
                hits, left, excess = _one_rejection(night, kind, count, rule, sigma, seed)
                hit, kept = hit + hits, kept + left
                noise.append(excess)
            rows.append((kind, count, rule, sigma, hit, kept, f"{np.mean(noise):.4f}"))
    header = ("master", "frames", "rule", "sigma", "values hit", "kept", "noise / noise of a plain mean")
    table(f"Rejection rules, {seeds} seeds", header, rows)


def _one_rejection(night, kind, count, rule, sigma, seed):
    """Cosmic ray values that were hit and kept, and the noise of the master over that of a plain mean."""
    wanted = tuple(item for item in night.exposures if item.kind == kind)[:count]
    # Fifty times the particles, so that a few seeds tell; 1 in 300 pixels of a frame is then hit.
    camera = replace(night.camera, cosmic_ray_rate=50 * night.camera.cosmic_ray_rate)
    few = replace(night, exposures=wanted, camera=camera)
    masters, make = [], make_bias if kind == "bias" else make_dark
    folder = Path(tempfile.mkdtemp(prefix="truth-"))
    for name, switches, how in (("hit", {}, rule), ("clean", {"cosmic_rays": False}, None)):
        truth = simulate_night(folder / name, "lfc", seed=seed, night=few, physics=perfect(**switches))
        paths = [truth.raw_folder / item.path for item in wanted]
        masters.append(make(paths, profile="lfc", reject=how, sigma=sigma))
        if name == "hit":
            hits = np.array([truth.cosmic_rays(item.path) for item in wanted])
            single = np.sqrt(truth.variance(wanted[0].path))
    unit = truth.gain[next(iter(truth.gain))] * (1.0 if kind == "bias" else masters[0].meta["DARKTIME"])
    # The same noise with and without particles: what is left of them is the difference, in electron.
    difference = (masters[0].data - masters[1].data) * unit * count
    struck = (hits > 10 * single) & ~truth.bad
    # A hit adds 10 sigma and more, a good value that was rejected because of it up to 5.
    kept = struck.any(axis=0) & (difference > 7 * single)
    quiet = (hits.sum(axis=0) == 0) & ~truth.bad
    excess = np.var((difference / single)[quiet], dtype=np.float64) / count
    remove(folder)
    return int(struck.sum()), int(kept.sum()), float(np.sqrt(1 + excess))


def masters(size, seeds):
    """Pixels of masters of 5 frames and more that a cosmic ray hit, and those that are off by 6 of their own sigma."""
    rows = []
    for profile in ("lfc", "aspen", "nickel", "arcsat"):
        for seed in range(1, seeds + 1):
            folder = Path(tempfile.mkdtemp(prefix="truth-"))
            results = []
            for name, switches in (("hit", {}), ("clean", {"cosmic_rays": False})):
                truth = simulate_night(folder / name, profile, seed=seed, size=size, physics=perfect(**switches))
                night = Night(truth.raw_folder, profile=profile)
                results.append((truth, night.reduce(folder / f"{name}-out", cosmic_rays=False, progress=False)))
            rows += [(profile, seed, *row) for row in _struck(*results)]
            remove(folder)
    table("Master pixels hit by cosmic rays", ("night", "seed", "master", "frames", "hit", "off by 6 sigma"), rows)


def _struck(hit, clean):
    result = hit[1]
    for name in result.masters:
        master, other = result.masters[name], clean[1].masters[name]
        if int(master.meta.get("NCOMBINE", 0)) < 5:
            continue
        off = np.abs(master.data - other.data)
        usable = (master.flags == 0) & (other.flags == 0)
        # Where the same noise was drawn with and without particles, only what they left differs.
        touched = usable & (off > 0.01 * master.uncertainty.array)
        left = touched & (off > 6 * master.uncertainty.array)
        yield Path(name).name, master.meta["NCOMBINE"], int(touched.sum()), int(left.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pulls", "policies", "terms", "rejection", "masters"])
    parser.add_argument("--profile", default="lfc")
    parser.add_argument("--size", default="small", choices=["small", "full"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--bias", default=None)
    options = parser.parse_args()
    if options.what == "pulls":
        pulls(options.profile, options.size, options.seeds, options.bias)
    else:
        {"policies": policies, "terms": terms, "rejection": rejection, "masters": masters}[options.what](
            options.size, options.seeds
        )


if __name__ == "__main__":
    main()
