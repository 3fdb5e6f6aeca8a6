"""
Speed of calibration, as ratios: medians of runs that take turns with their peers.

    python benchmarks/calibration.py frame --runs 5
    python benchmarks/calibration.py night --runs 3
    python benchmarks/calibration.py night --runs 1 --cosmic-rays

A full frame of the LFC, or a night of 6 biases, 3 darks, 3 flats and 10 science frames, without cosmic rays or, against
ccdproc with astroscrappy, with them. The floor of a night is a process that imports the same, reads every raw file,
writes as many bytes as the products have, and computes nothing. The night that is simulated can be kept in a folder
(``--folder``). Seconds depend on the machine; ratios of runs side by side much less. All files are in the page cache.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tables import table

#: How many frames of each kind the night has.
COUNTS = {"bias": 6, "dark": 3, "flat": 3, "science": 10}
GAIN, READ_NOISE, TRIM, OVERSCAN = 2.0, 11.0, "[1:2048,1:4128]", "[2056:2080,1:4128]"

#: The way of the ccdproc guide: masters by the combiner with sigma clipping, then a chain of steps for each frame.
GUIDE = """
import sys
from pathlib import Path
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
import ccdproc

raw, out = Path(sys.argv[1]), Path(sys.argv[2])
gain, noise = {gain} * u.electron / u.adu, {noise} * u.electron

def read(path):
    ccd = CCDData.read(path, unit="adu")
    ccd = ccdproc.subtract_overscan(ccd, fits_section="{overscan}", median=True)
    return ccdproc.trim_image(ccd, fits_section="{trim}")

def combine(frames, scale=None):
    combiner = ccdproc.Combiner(frames)
    combiner.scaling = scale
    combiner.sigma_clipping(low_thresh=5, high_thresh=5, func=np.ma.median)
    return combiner.average_combine()

files = ccdproc.ImageFileCollection(raw, keywords=["imagetyp", "exptime"], glob_include="*.fits")
dark_files = ccdproc.ImageFileCollection(raw / "darks", keywords=["imagetyp", "exptime"])
names = lambda of, kind: [Path(of.location, name) for name in of.files_filtered(imagetyp=kind)]
bias = combine([read(path) for path in names(files, "{bias}")])
darks = [ccdproc.subtract_bias(read(path), bias) for path in names(dark_files, "{dark}")]
dark = combine(darks)
dark.header = darks[0].header
times = dict(exposure_time="exptime", exposure_unit=u.s, scale=True)
flats = [ccdproc.subtract_bias(read(path), bias) for path in names(files, "{flat}")]
flats = [ccdproc.subtract_dark(flat, dark, **times) for flat in flats]
flat = combine(flats, scale=lambda data: 1 / np.ma.average(data))
for name, master in (("bias", bias), ("dark", dark), ("flat", flat)):
    master.write(out / (name + ".fits"), overwrite=True)
for path in names(files, "{science}"):
    ccd = ccdproc.create_deviation(read(path), gain=gain, readnoise=noise, disregard_nan=True)
    ccd = ccdproc.subtract_bias(ccd, bias)
    ccd = ccdproc.subtract_dark(ccd, dark, **times)
    ccd = ccdproc.flat_correct(ccd, flat)
    ccd = ccdproc.gain_correct(ccd, gain)
    {cosmic_rays}
    ccd.write(out / path.name, overwrite=True)
"""

#: In the guide each calibrated frame goes through astroscrappy with its defaults.
COSMIC_RAYS = "ccd = ccdproc.cosmicray_lacosmic(ccd, readnoise=noise.value, satlevel={saturation}, gain_apply=False)"
SATURATION = 2.0 * (59100 - 1130)

#: What no run of the night can do without: the imports, every raw file read once, and every product written.
FLOOR = """
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import ccdnight.night
import ccdnight.tasks
from ccdnight.execution import default_workers

raw, out = Path(sys.argv[1]), Path(sys.argv[2])
ones = np.ones(1 << 16, np.float32)

def write(item):
    name, size = item
    piece = np.empty(ones.size, ">f4")
    with open(out / name, "wb", buffering=0) as file:
        while size > 0:
            piece[:] = ones
            size -= file.write(memoryview(piece).cast("B")[:size])

products = json.loads(Path("products.json").read_text())
for folder in {Path(name).parent for name in products}:
    (out / folder).mkdir(parents=True, exist_ok=True)
with ThreadPoolExecutor(default_workers()) as pool:
    # What was read is let go of: to keep it would take fresh memory, which is no part of the floor.
    sum(pool.map(lambda path: len(path.read_bytes()), raw.glob("**/*.fits")))
    list(pool.map(write, products.items()))
"""

SIRIL = """requires 1.0.0
set32bits
cd biases
link bias -out=../work
cd ../darks
link dark -out=../work
cd ../flats
link flat -out=../work
cd ../lights
link light -out=../work
cd ../work
stack bias rej s 5 5 -nonorm -out=bias_stacked
stack dark rej s 5 5 -nonorm -out=dark_stacked
preprocess flat -bias=bias_stacked
stack pp_flat rej s 5 5 -norm=mul -out=flat_stacked
preprocess light -dark=dark_stacked -flat=flat_stacked
"""


def make_night(folder):
    """A simulated night of the LFC in one filter; what is there already is taken."""
    from ccdnight.simulate import simulate_night
    from ccdnight.simulate.lecture import lfc_night

    if not (folder / "raw").is_dir():
        night, left, kept = lfc_night("full"), dict(COUNTS), []
        for exposure in night.exposures:
            if left.get(exposure.kind, 0):
                left[exposure.kind] -= 1
                kept.append(replace(exposure, filter="g'") if exposure.kind == "science" else exposure)
        simulate_night(folder, "lfc", seed=1, size="full", night=replace(night, exposures=tuple(kept)))
    return folder / "raw"


def frames_of(raw):
    """Paths of the frames by kind."""
    from ccdnight.frames import FrameCollection

    rows = FrameCollection(raw).frames
    return {kind: [raw / str(row["path"]) for row in rows if row["kind"] == kind] for kind in COUNTS}


def make_masters(raw):
    """Masters of the night."""
    from ccdnight import make_bias, make_dark, make_flat

    found = frames_of(raw)
    bias = make_bias(found["bias"])
    dark = make_dark(found["dark"], bias=bias)
    return {"bias": bias, "dark": dark, "flat": make_flat(found["flat"], bias=bias, dark=dark)}, found["science"][0]


def with_ccdproc(path, masters):
    """ccdproc's steps without the overscan, from a file to electrons with uncertainty and mask."""
    import ccdproc
    from astropy import units as u
    from astropy.nddata import CCDData

    ccd = ccdproc.trim_image(CCDData.read(path, unit="adu"), fits_section=TRIM)
    gain = GAIN * u.electron / u.adu
    ccd = ccdproc.create_deviation(ccd, gain=gain, readnoise=READ_NOISE * u.electron, disregard_nan=True)
    ccd = ccdproc.subtract_bias(ccd, masters["bias"])
    times = {"dark_exposure": 1 * u.s, "data_exposure": 300 * u.s, "scale": True}
    ccd = ccdproc.subtract_dark(ccd, masters["dark"], **times)
    ccd = ccdproc.flat_correct(ccd, masters["flat"], norm_value=1)
    return ccdproc.gain_correct(ccd, gain)


def peers_of(path, masters, out):
    """Functions that are timed: ours in memory and to a file, ccdproc's chain, and the floor."""
    from astropy import units as u

    from ccdnight import calibrate, storage
    from ccdnight.products import make_ccd, to_hdus

    # ccdproc wants the dark in the unit of the frame; of one second it is the same numbers.
    dark = masters["dark"].multiply(1 * u.s)
    dark.mask = masters["dark"].mask
    theirs = masters | {"dark": dark}
    done = calibrate(path, **masters)

    def floor():
        storage.read_pixels(path)
        storage.write_fits(out, to_hdus(bare))

    bare = make_ccd(done.data, unit="electron", sigma=done.uncertainty.array, flags=done.flags)
    return {
        "calibrate": lambda: calibrate(path, **masters),
        "ccdproc": lambda: with_ccdproc(path, theirs),
        "steps": lambda: calibrate(path, engine="steps", **masters),
        "to a file": lambda: storage.write_fits(out, to_hdus(calibrate(path, **masters))),
        "floor": floor,
    }


def seconds_of(function):
    """Seconds of one call, and those of all processors together."""
    start, busy = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - busy


def frame(options, folder):
    """One frame in one process."""
    masters, path = make_masters(make_night(folder))
    with tempfile.TemporaryDirectory(prefix="calibration-") as out:
        peers = peers_of(path, masters, Path(out, "out.fits"))
        for function in peers.values():
            function()
        rows = []
        for ours, other in (("calibrate", "ccdproc"), ("calibrate", "steps"), ("to a file", "floor")):
            times = [(seconds_of(peers[ours]), seconds_of(peers[other])) for _ in range(options.runs)]
            mine, theirs = (statistics.median(pair[i][0] for pair in times) for i in (0, 1))
            what = "ccdnight / floor" if other == "floor" else f"{other} / ccdnight"
            pairs = [(a, b) if other == "floor" else (b, a) for a, b in times]
            ratios, busy = ([a[i] / b[i] for a, b in pairs] for i in (0, 1))
            numbers = (theirs, mine, statistics.median(ratios), statistics.median(busy))
            texts = [f"{value:.3f}" if value < 1 else f"{value:.2f}" for value in numbers]
            rows.append((other, *texts[:2], what, texts[2], f"{min(ratios):.2f} to {max(ratios):.2f}", texts[3]))
    header = ("peer", "seconds", "seconds of ccdnight", "ratio", "median", "from to", "of processor seconds")
    table(f"One LFC frame, {options.runs} pairs of runs", header, rows)


def siril_folders(folder, raw):
    """The folders that Siril wants, of links."""
    names = {"bias": "biases", "dark": "darks", "flat": "flats", "science": "lights"}
    for kind, paths in frames_of(raw).items():
        (folder / names[kind]).mkdir(parents=True)
        for path in paths:
            (folder / names[kind] / path.name).symlink_to(path.resolve())
    (folder / "night.ssf").write_text(SIRIL)


def night_lines(raw, work, cosmic_rays):
    """Commands that are timed, with their number of calibrated frames and where they lie."""
    kinds = dict.fromkeys(COUNTS)
    from ccdnight.frames import FrameCollection

    collection = FrameCollection(raw)
    for row, name in zip(collection.frames, collection.files, strict=True):
        kinds[str(row["kind"])] = str(collection.raw_header(name).header["IMAGETYP"])
    step = COSMIC_RAYS.format(saturation=SATURATION) if cosmic_rays else ""
    guide = GUIDE.format(gain=GAIN, noise=READ_NOISE, overscan=OVERSCAN, trim=TRIM, cosmic_rays=step, **kinds)
    (work / "guide.py").write_text(guide)
    program = shutil.which("ccdnight", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    wanted = "--cosmic-rays" if cosmic_rays else "--no-cosmic-rays"
    lines = {
        "ccdnight reduce": ([program, "reduce", str(raw), "out", wanted], "out/science/*.fits"),
        "ccdproc guide": ([sys.executable, "guide.py", str(raw), "out"], "out/ccd*.fits"),
    }
    (work / "floor.py").write_text(FLOOR)
    lines["floor"] = ([sys.executable, "floor.py", str(raw), "out"], "out/science/*.fits")
    if cosmic_rays:
        return lines  # Siril has nothing of the kind that could be compared
    siril = shutil.which("siril-cli")
    if siril is None:
        print("# siril-cli is not installed, left out")
        return lines
    siril_folders(work, raw)
    return lines | {"siril-cli": ([siril, "-s", "night.ssf"], "work/pp_light*.fit")}


def seconds_of_command(work, line, result):
    """Wall clock and processor seconds of a whole process, which has to leave its calibrated frames."""
    for name in ("out", "work"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    # Siril keeps settings in the home folder.
    home = {"HOME": str(work)} if line[0].endswith("siril-cli") else {}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # An installed package has its bytecode; a setting that keeps it from being written is not a user's.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | home
    done = subprocess.run(line, cwd=work, env=env, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or len(list(work.glob(result))) != COUNTS["science"]:
        msg = f"{Path(line[0]).name} failed: {done.stdout[-500:]} {done.stderr[-500:]}"
        raise RuntimeError(msg)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def night(options, folder):
    """Whole processes, in turn."""
    raw = make_night(folder).resolve()
    with tempfile.TemporaryDirectory(prefix="calibration-", dir=folder) as work:
        lines = night_lines(raw, Path(work), options.cosmic_rays)
        seconds_of_command(Path(work), *lines["ccdnight reduce"])
        out = Path(work, "out")
        products = {str(path.relative_to(out)): path.stat().st_size for path in out.rglob("*.fits")}
        Path(work, "products.json").write_text(json.dumps(products))
        rounds = [
            {name: seconds_of_command(Path(work), *line) for name, line in lines.items()} for _ in range(options.runs)
        ]
    rows = []
    for name in lines:
        wall, cpu = (statistics.median(times[name][i] for times in rounds) for i in (0, 1))
        ratio, busy = (statistics.median(t[name][i] / t["ccdnight reduce"][i] for t in rounds) for i in (0, 1))
        rows.append((name, f"{wall:.1f}", f"{ratio:.2f}", f"{cpu:.1f}", f"{busy:.2f}"))
    header = ("command", "seconds", "ratio", "processor seconds", "ratio of these")
    what = "with" if options.cosmic_rays else "without"
    table(f"22 LFC frames, {what} cosmic rays, whole processes, {options.runs} rounds", header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["frame", "night"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cosmic-rays", action="store_true", help="of 'night': cosmic rays are looked for by both")
    parser.add_argument("--folder", type=Path, help="where the simulated night is kept; by default it is thrown away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        {"frame": frame, "night": night}[options.what](options, options.folder or Path(folder))


if __name__ == "__main__":
    main()
