"""
Alignment and coadd held against simulated nights and against other programs; prints the tables of docs/validation.rst.

    python benchmarks/coadd.py truth --size small --seeds 3
    python benchmarks/coadd.py widths
    python benchmarks/coadd.py programs --side 2048 --frames 5
    python benchmarks/coadd.py memory --side 1024 --frames 100

``programs`` needs SWarp (Debian package swarp) for its lines.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from tables import table

from ccdnight import Night, coadd, write_ccd
from ccdnight.alignment import detect_stars
from ccdnight.products import make_ccd
from ccdnight.simulate import night_for, simulate_night
from ccdnight.simulate.stars import moffat_fraction, paint_stars

BAND, APERTURE = "g'", 3.0


def lfc(size, satellites):
    """The g' part of the LFC night: five dithered exposures whose seeing and transparency change."""
    night = night_for("lfc", size)
    kept = [item for item in night.exposures if item.kind in ("bias", "dark") or item.filter == BAND]
    return replace(night, exposures=tuple(kept)), replace(night.physics, satellites=satellites)


def reduced(size, seed, satellites=0.0):
    """A simulated night, its reduction, and the names of its science frames."""
    folder = Path(tempfile.mkdtemp(prefix="coadd-"))
    night, physics = lfc(size, satellites)
    truth = simulate_night(folder / "night", "lfc", seed=seed, night=night, physics=physics)
    result = Night(truth.raw_folder).reduce(folder / "out", progress=False)
    return truth, result, sorted(result.science), folder


def truth_of(truth, names, shares):
    """Stars as they should be in the coadd: position, light in the aperture, distance to the nearest other star."""
    from scipy.spatial import cKDTree

    frames = [truth.stars(name) for name in names]
    widths = [truth.exposure(name).fwhm for name in names]
    order = {int(number): row for row, number in enumerate(frames[0]["id"])}
    light = np.zeros(len(order))
    for share, stars, width in zip(shares, frames, widths, strict=True):
        part = moffat_fraction(APERTURE * 4.2, width, truth.night.moffat_beta)
        for row in stars:
            if int(row["id"]) in order:
                light[order[int(row["id"])]] += share * part * row["electron"]
    at = np.column_stack([frames[0]["x"], frames[0]["y"]])
    lone = cKDTree(at).query(at, 2)[0][:, 1]
    return at, light, lone


def in_coadd(image, number, at):
    """Positions of one frame in the coadd."""
    found = image.alignment
    sky = found.coordinates[number].all_pix2world(at, 0)
    return image.wcs.wcs_world2pix(sky, 0)


def shares_of(image):
    """Weights of the frames, from the provenance."""
    import json

    from ccdnight.provenance import records_of

    return [json.loads(item.parameters)["weight"] for item in records_of(image) if item.step == "coadd"]


def photometry(image, at, radius):
    """Light in apertures above the sky of an annulus, and its error from the pixels and from the sky, uncorrected."""
    from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry

    flags = np.asarray(image.flags)
    good = np.where(flags == 0, image.data, np.nan)
    out = []
    variance = np.where(np.isfinite(image.uncertainty.array), image.uncertainty.array, 0.0) ** 2
    for place in at:
        ring = CircularAnnulus(place, radius + 4, radius + 14).to_mask(method="center")
        values, errors = ring.get_values(good), ring.get_values(variance)
        keep = np.isfinite(values)
        level, spread = np.median(values[keep]), 1.4826 * np.median(np.abs(values[keep] - np.median(values[keep])))
        keep &= np.abs(values - level) < 3 * spread
        sky, sky_variance = values[keep].mean(), errors[keep].mean() / keep.sum()
        aperture = CircularAperture(place, radius)
        row = aperture_photometry(np.nan_to_num(image.data), aperture, error=np.sqrt(variance))
        bad = aperture.to_mask(method="center").get_values(flags != 0).any() or keep.sum() < 200
        error = np.sqrt(row["aperture_sum_err"][0] ** 2 + aperture.area**2 * sky_variance)
        out.append((np.nan if bad else row["aperture_sum"][0] - sky * aperture.area, error))
    return np.array(out).T


def noiseless(truth, names, image):
    """The same coadd of frames without noise, cosmic rays and flags."""
    perfect = []
    for number, name in enumerate(names):
        frame = image.alignment[number]
        meta = frame.meta.copy()
        perfect.append(make_ccd(truth.light(name)[: frame.shape[0], : frame.shape[1]], unit="electron", meta=meta,
                                sigma=frame.uncertainty.array))  # fmt: skip
    return coadd(perfect, align="wcs", reject="none")


def one_truth(size, seed, satellites):
    """Every measure of one night."""
    truth, result, names, folder = reduced(size, seed, satellites)
    paths = [result.science.path(name) for name in names]
    image = coadd(paths)
    shares = shares_of(image)
    out = {"alignment rms": max(_aligned(image, truth, names))}
    at, light, lone = truth_of(truth, names, shares)
    inside = in_coadd(image, 0, at)
    radius = APERTURE * 4.2
    ny, nx = image.shape
    full = np.asarray(image.coverage)
    edge = (inside > radius + 20).all(1) & (inside[:, 0] < nx - radius - 20) & (inside[:, 1] < ny - radius - 20)
    chosen = edge & (lone > 2.2 * radius + 6) & (light > 300) & ~_saturated(truth, names, at)
    chosen[edge] &= full[np.rint(inside[edge, 1]).astype(int), np.rint(inside[edge, 0]).astype(int)] >= 3
    flux, error = photometry(image, inside[chosen], radius)
    keep = np.isfinite(flux)
    out["stars"] = int(keep.sum())
    corrected = error * image.meta["NOISCORR"]
    ratio = (flux - light[chosen])[keep]
    weights = light[chosen][keep] / corrected[keep] ** 2
    bright = light[chosen][keep] > 20 * corrected[keep]
    out["flux - 1 [%]"] = 100 * (weights * ratio).sum() / (weights * light[chosen][keep]).sum()
    out["its error [%]"] = 100 / np.sqrt((light[chosen][keep] ** 2 / corrected[keep] ** 2).sum())
    pulls = ratio / corrected[keep]
    out["pull"] = pulls
    out["pull uncorrected"] = pulls * image.meta["NOISCORR"]
    out["bright"] = int(bright.sum())
    out |= _cosmic_rays(image, truth, names)
    out |= _cores(image, truth, names, inside[edge & (light > 2000)])
    out["NOISCORR"], out["NOISMEAS"] = image.meta["NOISCORR"], image.meta.get("NOISMEAS", np.nan)
    out["FWHM in"], out["FWHM out"] = image.meta["FWHMIN"], image.meta["FWHM"]
    out["footprint"] = _footprint(image)
    shutil.rmtree(folder)
    return out, image


def _saturated(truth, names, at):
    """Stars of the first frame of which a pixel is at full well in it, flagged or not: their light is not all there."""
    full = truth.saturated(names[0])
    rows, columns = np.rint(at[:, 1]).astype(int), np.rint(at[:, 0]).astype(int)
    near = [full[max(r - 6, 0) : r + 7, max(c - 6, 0) : c + 7].any() for r, c in zip(rows, columns, strict=True)]
    return np.array(near)


def _aligned(image, truth, names):
    """Root mean square distance of the true stars after the transformation, for each frame."""
    reference = image.alignment.reference.rpartition("/")[2]
    base = truth.stars(reference)
    for name, transform in zip(names, image.alignment.transforms, strict=True):
        stars = truth.stars(name)
        x, y = transform(np.asarray(stars["x"]), np.asarray(stars["y"]))
        yield float(np.sqrt(np.mean((x - base["x"]) ** 2 + (y - base["y"]) ** 2)))


def _cosmic_rays(image, truth, names):
    """Pixels of cosmic rays (and of all the coadd) that lie more than 6 sigma above the coadd without noise."""
    perfect = noiseless(truth, names, image)
    hit = _hit(image, truth, names)
    sigma, flags = image.uncertainty.array, np.array(image.flags)
    for number, name in enumerate(names):
        # The light of a saturated star is not what a frame can show.
        rows, columns = np.nonzero(truth.saturated(name))
        x, y = in_coadd(image, number, np.column_stack([columns, rows])).T
        r, c = np.rint(y).astype(int).clip(3, flags.shape[0] - 4), np.rint(x).astype(int).clip(3, flags.shape[1] - 4)
        for dx in range(-3, 4):
            for dy in range(-3, 4):
                flags[r + dy, c + dx] |= 2
    away = image.data - np.median((image.data - perfect.data)[(flags == 0) & np.isfinite(perfect.data)]) - perfect.data
    # Bright stars differ where a frame of another seeing is left out: there the noise is not the measure.
    signal = perfect.data - np.nanmedian(perfect.data)
    high = (away > 6 * sigma) & (flags == 0) & (away > 0.1 * signal)
    clean = (flags == 0) & ~hit & (signal < 3 * sigma)
    return {"hit pixels": int(hit.sum()), "hit > 6 sigma": int((high & hit).sum()), "all > 6 sigma": int(high.sum()),
            "sky pull": float(1.4826 * np.median(np.abs(away[clean] / sigma[clean])))}  # fmt: skip


def _cores(image, truth, names, at):
    """Stars in whose 5 x 5 core pixels values were rejected, cosmic rays through the core not counted."""
    whole = coadd(image.alignment, reject="none")
    lost = np.asarray(whole.coverage, int) - np.asarray(image.coverage, int)
    hit = _hit(image, truth, names)
    places = [(slice(int(y) - 2, int(y) + 3), slice(int(x) - 2, int(x) + 3)) for x, y in np.rint(at)]
    cut = [int(lost[place].sum()) for place in places if not hit[place].any()]
    return {"cores": len(cut), "cores clipped": int(np.count_nonzero(cut)), "values lost": int(np.sum(cut))}


def _hit(image, truth, names):
    """Pixels of the coadd, and their neighbors, that a cosmic ray hit in a frame."""
    hit = np.zeros(image.shape, bool)
    for number, name in enumerate(names):
        rows, columns = np.nonzero(truth.cosmic_rays(name) > 30)
        x, y = in_coadd(image, number, np.column_stack([columns, rows])).T
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                r, c = np.rint(y + dy).astype(int), np.rint(x + dx).astype(int)
                good = (r >= 0) & (c >= 0) & (r < hit.shape[0]) & (c < hit.shape[1])
                hit[r[good], c[good]] = True
    return hit


def _footprint(image):
    """Largest difference, over the edges, of the coverage from where the frames lie; pixels not counted within 4."""
    from scipy.ndimage import binary_erosion

    wrong = 0
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    sky = image.wcs.wcs_pix2world(np.column_stack([x.ravel(), y.ravel()]), 0)
    seen = np.zeros(image.shape, int)
    inner = np.zeros(image.shape, int)
    for number in range(len(image.alignment)):
        ny, nx = image.alignment.opened[number].shape
        at = image.alignment.coordinates[number].wcs_world2pix(sky, 0)
        inside = ((at > -0.5) & (at < np.array([nx, ny]) - 0.5)).all(1).reshape(image.shape)
        seen += inside
        inner += binary_erosion(inside, iterations=4)
    flags = np.asarray(image.flags)
    wrong += int(((seen == 0) & (np.asarray(image.coverage) > 0)).sum())
    wrong += int(((inner > 0) & (np.asarray(image.coverage) == 0) & (flags == 8)).sum())
    return wrong


def truth_table(size, seeds, satellites):
    """Print the measures of some nights."""
    rows = [one_truth(size, seed, satellites)[0] for seed in range(1, seeds + 1)]
    names = list(rows[0])
    lines = []
    for name in names:
        values = [row[name] for row in rows]
        if np.ndim(values[0]):
            # Of some hundred stars a night tells the width to a tenth: all nights together tell more.
            lines.append([name, *(f"{_spread(item):.3f}" for item in values), f"{_spread(np.concatenate(values)):.3f}"])
        else:
            total = sum(values) if isinstance(values[0], int) else np.mean(values)
            lines.append([name, *(f"{item:.4g}" for item in values), f"{total:.4g}"])
    table(
        f"A dithered LFC night, {size} frames", ["measure", *(f"seed {n}" for n in range(1, seeds + 1)), "all"], lines
    )


def _spread(values):
    """Half of the values lie within 0.6745 of it."""
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def widths_table():
    """Print how stars grow, and how noise is correlated, by interpolation: noiseless stars at many positions."""
    from ccdnight.coadding import KERNELS

    rows = []
    for width in (2.0, 2.5, 3.0, 4.0):
        frames = [_field(width, shift) for shift in ((0.0, 0.0), (10.5, -7.5), (-6.25, 12.75), (3.37, 8.61))]
        before = np.mean([detect_stars(item).fwhm for item in frames])
        row = [f"{width:.1f}"]
        for name in KERNELS:
            image = coadd(frames, align="wcs", resample=name, reject="none", grid="reference")
            row.append(f"{100 * (detect_stars(image).fwhm / before - 1):+.2f} %")
        rows.append(row)
    image = {name: coadd(frames, align="wcs", resample=name, reject="none", grid="reference") for name in KERNELS}
    rows.append(["NOISCORR", *(f"{image[name].meta['NOISCORR']:.3f}" for name in KERNELS)])
    table("Width of stars in a coadd of four frames over that in the frames", ["FWHM", *KERNELS], rows)


def _field(width, shift, shape=(300, 320)):
    """Bright stars on a lattice that meets every phase, with world coordinates that know the shift."""
    from astropy.wcs import WCS

    x, y = (item.ravel() for item in np.meshgrid(np.arange(30, 290, 26.37), np.arange(30, 270, 25.71)))
    data = np.zeros(shape, np.float32)
    paint_stars(data, x + shift[0], y + shift[1], np.full(x.size, 1e6), fwhm=width, beta=4.765)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [120.0, 30.0]
    wcs.wcs.cd, wcs.wcs.crpix = np.diag([-5e-5, 5e-5]), [160 + shift[0], 150 + shift[1]]
    noise = np.random.default_rng(7).normal(0, 1.0, shape)
    return make_ccd(data + 100 + noise, unit="electron", meta=wcs.to_header(), sigma=np.sqrt(data + 100))


def make_frames(folder, side, number):
    """Dithered frames with their world coordinates as files; light of the stars in the first, and where they are."""
    from astropy.wcs import WCS

    rng = np.random.default_rng(3)
    count = side * side // 8000
    x, y = rng.uniform(20, side - 20, (2, count))
    light = np.exp(rng.uniform(np.log(3000), np.log(3e5), count))
    paths = []
    for n in range(number):
        shift = rng.uniform(-12, 12, 2)
        data = np.zeros((side, side), np.float32)
        paint_stars(data, x + shift[0], y + shift[1], light, fwhm=3.5, beta=4.765)
        data = rng.poisson(data + 400).astype(np.float32) + rng.normal(0, 8, data.shape).astype(np.float32)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [120.0, 30.0]
        wcs.wcs.cd, wcs.wcs.crpix = np.diag([-5e-5, 5e-5]), [side / 2 + shift[0], side / 2 + shift[1]]
        sigma = np.sqrt(np.maximum(data, 0) + 64)
        ccd = make_ccd(data, unit="electron", meta=wcs.to_header(), sigma=sigma)
        ccd.meta["EXPTIME"], ccd.meta["RDNOISE"] = 100.0, 8.0
        path = Path(folder, f"frame{n:03d}.fits")
        write_ccd(ccd, path)
        paths.append(path)
    np.savez(Path(folder, "truth.npz"), x=x, y=y, light=light)
    return paths


def run_one(what, folder):
    """One program on the frames of a folder; prints seconds, memory in MB, and the light of stars over the truth."""
    paths = sorted(Path(folder).glob("frame*.fits"))
    out = Path(folder, "out.fits")
    name, _, kind = what.partition(":")
    if name == "ccdnight":
        # Compiled and imported before, as in a second call.
        coadd([_field(3.0, (0, 0)), _field(3.0, (2.5, 1.5))], align="wcs", resample=kind)
    begin = time.perf_counter()
    if name == "ccdnight":
        image = coadd(paths, align="wcs", resample=kind, workers=1)
        data, wcs = image.data, image.wcs
    elif name == "reproject":
        data, wcs = _by_reproject(paths, kind)
    else:
        data, wcs = _by_swarp(paths, kind, folder, out)
    seconds = time.perf_counter() - begin
    who = resource.RUSAGE_CHILDREN if name == "swarp" else resource.RUSAGE_SELF
    memory = resource.getrusage(who).ru_maxrss / 1024
    print(f"{seconds:.3f} {memory:.0f} {_light(data, wcs, paths, folder):.6f}")


def _by_reproject(paths, kind):
    from reproject import reproject_interp
    from reproject.mosaicking import find_optimal_celestial_wcs, reproject_and_coadd

    inputs = []
    for path in paths:
        with fits.open(path, memmap=False) as hdus:
            inputs.append((hdus[0].data.astype(np.float32), hdus[0].header))
    wcs, shape = find_optimal_celestial_wcs(inputs)
    data, _ = reproject_and_coadd(
        inputs, wcs, shape_out=shape, reproject_function=reproject_interp, order=kind, match_background=True
    )
    return data, wcs


def _by_swarp(paths, kind, folder, out):
    """SWarp with the same interpolation, without weights, on one thread."""
    from astropy.wcs import WCS

    images = []
    for path in paths:
        with fits.open(path, memmap=False) as hdus:
            images.append(path.with_name(f"plain_{path.name}"))
            fits.writeto(images[-1], hdus[0].data, hdus[0].header, overwrite=True)
    begin = time.perf_counter()
    options = {"IMAGEOUT_NAME": out, "WEIGHTOUT_NAME": Path(folder, "weight.fits"), "RESAMPLING_TYPE": kind,
               "COMBINE_TYPE": "AVERAGE", "SUBTRACT_BACK": "N", "NTHREADS": 1, "WRITE_XML": "N",
               "VERBOSE_TYPE": "QUIET", "RESAMPLE_DIR": folder, "DELETE_TMPFILES": "Y"}  # fmt: skip
    command = ["SWarp", *map(str, images)]
    for key, value in options.items():
        command += [f"-{key}", str(value)]
    subprocess.run(command, check=True, cwd=folder)
    _by_swarp.seconds = time.perf_counter() - begin
    with fits.open(out, memmap=False) as hdus:
        return hdus[0].data.astype(float), WCS(hdus[0].header)


def _light(data, wcs, paths, folder):
    """Median light of bright stars over what they have, in an aperture that holds all but half a percent of it."""
    from astropy.wcs import WCS
    from photutils.aperture import CircularAperture, aperture_photometry

    known = np.load(Path(folder, "truth.npz"))
    first = WCS(fits.getheader(paths[0]))
    at = np.column_stack([known["x"], known["y"]])
    shift = first.wcs.crpix - len(fits.getdata(paths[0])) / 2
    places = wcs.wcs_world2pix(first.wcs_pix2world(at + shift, 0), 0)
    from scipy.spatial import cKDTree

    radius = 10.0
    lone = (cKDTree(at).query(at, 2)[0][:, 1] > 26) & (known["light"] > 5e4)
    sky = np.nanmedian(data[np.isfinite(data) & (data != 0)])
    flux = aperture_photometry(np.nan_to_num(data), CircularAperture(places[lone], radius))["aperture_sum"]
    part = moffat_fraction(radius, 3.5, 4.765)
    return float(np.median((flux - sky * np.pi * radius**2) / (part * known["light"][lone])))


def programs_table(side, number):
    """Print speed, memory and light of this package, reproject and SWarp on the same frames."""
    folder = tempfile.mkdtemp(prefix="coadd-")
    make_frames(folder, side, number)
    rows = []
    for what in ("ccdnight:lanczos3", "ccdnight:bicubic", "ccdnight:bilinear", "reproject:bicubic",
                 "reproject:bilinear", "swarp:LANCZOS3", "swarp:BILINEAR"):  # fmt: skip
        if what.startswith("swarp") and shutil.which("SWarp") is None:
            continue
        best = None
        for _ in range(3):
            done = subprocess.run([sys.executable, __file__, "one", "--what", what, "--folder", folder],
                                  capture_output=True, text=True, check=True)  # fmt: skip
            numbers = [float(item) for item in done.stdout.split()]
            best = numbers if best is None or numbers[0] < best[0] else best
        rows.append([what.replace(":", " "), f"{best[0]:.2f}", f"{best[1]:.0f}", f"{100 * (best[2] - 1):+.3f} %"])
    shutil.rmtree(folder)
    table(f"{number} frames of {side} x {side}, one thread, best of three", ["", "s", "MB", "light - 1"], rows)


def memory_table(side, number):
    """Print the memory of coadding many frames, which strips bound."""
    folder = tempfile.mkdtemp(prefix="coadd-")
    paths = make_frames(folder, side, 3)
    for n in range(3, number):
        Path(folder, f"frame{n:03d}.fits").symlink_to(paths[n % 3])
    done = subprocess.run([sys.executable, __file__, "one", "--what", "ccdnight:lanczos3", "--folder", folder],
                          capture_output=True, text=True, check=True)  # fmt: skip
    seconds, memory, _ = (float(item) for item in done.stdout.split())
    shutil.rmtree(folder)
    table("Memory of many frames", ["frames", "side", "s", "MB"], [[number, side, f"{seconds:.1f}", f"{memory:.0f}"]])


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["truth", "widths", "programs", "memory", "one"])
    parser.add_argument("--size", default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--satellites", type=float, default=0.0)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--what", dest="one", default="ccdnight:lanczos3")
    parser.add_argument("--folder", default=".")
    given = parser.parse_args()
    if given.what == "truth":
        truth_table(given.size, given.seeds, given.satellites)
    elif given.what == "widths":
        widths_table()
    elif given.what == "programs":
        programs_table(given.side, given.frames)
    elif given.what == "memory":
        memory_table(given.side, given.frames)
    else:
        run_one(given.one, given.folder)


if __name__ == "__main__":
    main()
