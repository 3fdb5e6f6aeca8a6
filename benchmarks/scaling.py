"""
Growth of a reduction with the number of frames: frames per second, peak memory, bytes read and written per frame.

    python benchmarks/scaling.py --counts 10 25 50 100
    python benchmarks/scaling.py --counts 10 100 1000
    python benchmarks/scaling.py --counts 300 --size 1024 --workers 2      # peak memory of a long night

Each night has a fifth of biases and a fifth of flats; the others are science frames. Each reduction is a process of its
own, started anew, without cosmic rays. Bytes are those that the process asked for (rchar and wchar of /proc/self/io),
whether the disk or the page cache gave them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from tables import table

#: The reduction of a night: prints its seconds, peak memory in kB, bytes read and written, and frames used.
CHILD = """
import json, resource, sys, time
from ccdnight import Night
job = json.loads(sys.argv[1])
def asked():
    with open("/proc/self/io") as stream:
        return [int(line.split()[1]) for line in stream][:2]
before, start = asked(), time.perf_counter()
result = Night(job["raw"]).reduce(job["out"], workers=job["workers"], cosmic_rays=False, progress=False)
seconds, after = time.perf_counter() - start, asked()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak, after[0] - before[0], after[1] - before[1], result.counts["used"]]))
"""


def write_night(folder, count, size):
    """Biases, flats and science frames of one camera, `count` in all."""
    folder.mkdir()
    rng, calibrations = np.random.default_rng(1), max(3, count // 5)
    kinds = ["bias"] * calibrations + ["flat"] * calibrations
    kinds += ["science"] * (count - len(kinds))
    levels, exposures = {"bias": 1000, "flat": 21000, "science": 1300}, {"bias": 0.0, "flat": 5.0, "science": 60.0}
    for number, kind in enumerate(kinds):
        pixels = rng.normal(levels[kind], max(4, (levels[kind] - 1000) ** 0.5), (size, size))
        hdu = fits.PrimaryHDU(pixels.clip(0, 65535).astype("u2"))
        hdu.header["IMAGETYP"], hdu.header["EXPTIME"] = kind.replace("science", "object"), exposures[kind]
        hdu.header["FILTER"], hdu.header["OBJECT"] = "V", "field"
        hdu.header["DATE-OBS"] = f"2024-01-01T{18 + number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
        hdu.writeto(folder / f"{kind}_{number:04d}.fits")


def measure(count, size, workers):
    """One reduction of so many frames; a row of the table."""
    with tempfile.TemporaryDirectory() as place:
        write_night(Path(place, "raw"), count, size)
        job = {"raw": f"{place}/raw", "out": f"{place}/out", "workers": workers}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(job)], check=True, stdout=subprocess.PIPE, text=True
        )
    seconds, peak, read, written, used = json.loads(done.stdout.splitlines()[-1])
    if used != count:
        print(f"{count - used} of {count} frames were not used", file=sys.stderr)
    row = (f"{seconds:.1f}", f"{count / seconds:.1f}", f"{count / seconds / workers:.1f}", f"{peak / 1024:.0f} MB")
    return (count, *row, f"{read / count / 1e6:.1f} MB", f"{written / count / 1e6:.1f} MB")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a frame")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    rows = [measure(count, args.size, args.workers) for count in args.counts]
    header = ("frames", "seconds", "frames/s", "frames/s/thread", "peak memory", "read/frame", "written/frame")
    table(f"Frames of {args.size} x {args.size} pixels, {args.workers} threads", header, rows)


if __name__ == "__main__":
    main()
