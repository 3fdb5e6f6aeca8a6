"""
Speed of stacking, as ratios: medians of runs that take turns with their peers.

    python benchmarks/stacking.py paired --frames 10 --runs 5
    python benchmarks/stacking.py curve --counts 10 25 50 100 200 --mem-limit 1e9
    python benchmarks/stacking.py commands --frames 10 --runs 5

Seconds depend on the machine; ratios of runs side by side much less. All files are in the page cache.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from tables import table

#: Rows and columns of an LFC frame, bias level and noise in adu, and hits in a frame.
SHAPE, LEVEL, NOISE, HITS = (4128, 2080), 1130, 4.1, 400

#: Median centre, standard deviation, 2.5 sigma on both sides, average of what is left.
ARGUMENTS = {
    "method": "average",
    "sigma_clip": True,
    "sigma_clip_low_thresh": 2.5,
    "sigma_clip_high_thresh": 2.5,
    "sigma_clip_func": "median",
    "sigma_clip_dev_func": "std",
    "unit": "adu",
}

#: Frames of the curve that are files of their own; the others are links to them.
DIFFERENT = 25

#: A process of the curve: prints the seconds of its second call, and its peak memory as the system counts it.
CHILD = """
import json, resource, sys, time
import ccdnight
job = json.loads(sys.argv[1])
ccdnight.combine(job["files"][:3], mem_limit=job["mem_limit"], **job["arguments"])
start = time.perf_counter()
ccdnight.combine(job["files"], mem_limit=job["mem_limit"], **job["arguments"])
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""

SIRIL = """requires 1.0.0
cd frames
link light -out=../work
cd ../work
set32bits
stack light rej s 2.5 2.5 -nonorm -out=out
"""

IRAF = """images
immatch
imcombine("@list", "work/out.fits", combine="average", reject="sigclip", mclip=yes, lsigma=2.5, hsigma=2.5, logfile="")
logout
"""


def make_frames(folder, count, seed=1):
    """Write frames as the LFC does: 16 bits unsigned, one level, Gaussian noise, hits of particles."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        path = folder / f"frame{number:03d}.fits"
        if number < DIFFERENT:
            data = np.rint(LEVEL + NOISE * rng.standard_normal(SHAPE, dtype=np.float32))
            struck = rng.choice(data.size, HITS, replace=False)
            data.reshape(-1)[struck] += rng.integers(50, 20000, HITS)
            fits.PrimaryHDU(data.astype(np.uint16)).writeto(path)
        else:
            path.symlink_to(paths[number % DIFFERENT].name)
        paths.append(path)
    return [str(path) for path in paths]


def with_ccdnight(files):
    """Stack as ccdnight does."""
    import ccdnight

    return ccdnight.combine(files, **ARGUMENTS)


def with_ccdproc(files):
    """Stack as ccdproc does."""
    import ccdproc

    return ccdproc.combine(files, **ARGUMENTS)


def with_recipe(files):
    """Stack as lectures do: a cube, clipped, averaged."""
    from astropy.stats import sigma_clip

    cube = np.array([fits.getdata(file) for file in files], dtype=np.float32)
    return np.ma.mean(sigma_clip(cube, cenfunc="median", sigma=2.5, axis=0), axis=0)


def with_floor(files):
    """Read and add only: what the same engine needs without rejection and errors."""
    from ccdnight.fitsrows import FitsRows
    from ccdnight.stacking import stack

    return stack([FitsRows(file) for file in files], reject="none", uncertainty="none")


def seconds_of(function, *arguments):
    """
    Seconds of a call that follows another one of the same.

    A machine may take back memory that was free for some seconds, and who comes after a slow peer would pay for that.
    """
    function(*arguments)
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def paired(options, folder):
    """Calls in one process, in turn with each peer."""
    files = make_frames(folder / "frames", options.frames)
    peers = {"ccdproc.combine": with_ccdproc, "sigma_clip of a cube": with_recipe, "floor": with_floor}
    for function in (with_ccdnight, *peers.values()):
        function(files)
    rows = []
    for name, function in peers.items():
        times = [(seconds_of(with_ccdnight, files), seconds_of(function, files)) for _ in range(options.runs)]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = [our / peer if function is with_floor else peer / our for our, peer in times]
        what = "ccdnight / floor" if function is with_floor else "peer / ccdnight"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append((name, f"{theirs:.3f}", f"{ours:.3f}", what, f"{statistics.median(ratios):.2f}", spread))
    header = ("peer", "seconds", "seconds of ccdnight", "ratio", "median", "from to")
    table(f"{options.frames} LFC frames in one process, {options.runs} pairs of runs", header, rows)


def curve(options, folder):
    """Time and peak memory of a fresh process over the number of frames."""
    files = make_frames(folder / "frames", max(options.counts))
    rows = []
    for count in options.counts:
        job = {"files": files[:count], "mem_limit": options.mem_limit, "arguments": ARGUMENTS}
        command = [sys.executable, "-c", CHILD, json.dumps(job)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, peak = json.loads(done.stdout.splitlines()[-1])
        # Linux counts in KiB, macOS in bytes.
        peak *= 1 if sys.platform == "darwin" else 1024
        rows.append((count, f"{seconds:.2f}", f"{seconds / count:.4f}", f"{peak / 1e6:.0f}"))
    header = ("frames", "seconds", "seconds per frame", "peak memory [MB]")
    table(f"ccdnight.combine, mem_limit={options.mem_limit:g}", header, rows)


def command_lines(names):
    """Commands that are installed: arguments, standard input and output file of each."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    ours = [*names, "-o", "work/out.fits", "--reject", "sigma", "--sigma", "2.5", "--overwrite"]
    known = {
        "ccdnight combine": ("ccdnight", ["combine", *ours], None, "out.fits"),
        "siril-cli": ("siril-cli", ["-s", "stack.ssf"], None, "out.fit"),
        "IRAF imcombine": ("irafcl", [], IRAF, "out.fits"),
        "IRAF, start only": ("irafcl", [], "logout\n", None),
    }
    found = {}
    for name, (program, arguments, text, output) in known.items():
        path = shutil.which(program, path=places)
        if path is None:
            print(f"# {name}: {program} is not installed, left out")
        else:
            found[name] = ([path, *arguments], text, output)
    return found


def seconds_of_command(folder, line, text, output):
    """Seconds of a whole process, which has to write its output."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    # IRAF and Siril keep settings in the home folder; IRAF also wants a user and a terminal it knows.
    home = (
        {"HOME": str(folder), "USER": "observer", "TERM": "vt220"} if line[0].endswith(("irafcl", "siril-cli")) else {}
    )
    # An installed package has its bytecode; a setting that keeps it from being written is not a user's.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | home
    start = time.perf_counter()
    done = subprocess.run(line, cwd=folder, env=env, input=text or "", capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode or (output and not (work / output).exists()):
        msg = f"{Path(line[0]).name} failed: {done.stdout[-500:]} {done.stderr[-500:]}"
        raise RuntimeError(msg)
    return seconds


def commands(options, folder):
    """Whole processes, in turn."""
    names = [f"frames/{Path(file).name}" for file in make_frames(folder / "frames", options.frames)]
    (folder / "list").write_text("\n".join(names) + "\n")
    (folder / "stack.ssf").write_text(SIRIL)
    lines = command_lines(names)
    for line in lines.values():
        seconds_of_command(folder, *line)
    rounds = [{name: seconds_of_command(folder, *line) for name, line in lines.items()} for _ in range(options.runs)]
    rows = []
    for name in lines:
        seconds = statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[name] / times["ccdnight combine"] for times in rounds)
        rows.append((name, f"{seconds:.2f}", f"{ratio:.2f}"))
    table(f"{options.frames} LFC frames, whole processes, {options.runs} rounds", ("command", "seconds", "ratio"), rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["paired", "curve", "commands"])
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 25, 50, 100, 200])
    parser.add_argument("--mem-limit", type=float, default=1e9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stacking-") as folder:
        {"paired": paired, "curve": curve, "commands": commands}[options.what](options, Path(folder))


if __name__ == "__main__":
    main()
