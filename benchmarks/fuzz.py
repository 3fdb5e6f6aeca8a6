"""
Seeded mutations of small FITS files through everything that reads a header: what escapes, hangs or is harmed.

    python benchmarks/fuzz.py --inputs 10000 --workers 2
    python benchmarks/fuzz.py --batch 17                   # one batch again, in this process

Inputs go in batches: each of them is read alone, and all of a batch are a night together with eight good frames, which
is looked at, planned, and reduced. Only the documented exceptions may escape; the reduction may record no error of
ours; no file of the night may differ afterwards. A batch runs in a process of its own with a limit on its memory and
an alarm. Exit code 1 where there was a crash, a hang or a harmed file.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

__all__ = ["BATCH", "MUTATIONS", "mutate", "run_batch", "write_good"]

#: Inputs of a batch.
BATCH = 25

#: Bytes of address space that a batch may take beyond what its process has at the start.
MEMORY = 3 << 30

#: Seconds that a batch may take: loading the kernels is in the first of each process.
SECONDS = 120

#: Text that is something else somewhere: a path, markup, a formula, a command, a format, a table's line.
HOSTILE = (
    "../../x",
    "/etc/passwd",
    "..",
    "",
    " ",
    "a\0b",
    "x" * 60,
    "<script>alert(1)</script>",
    "$\\frac{",
    "{{ 7*7 }}",
    "%s%n%d",
    "nan",
    "inf",
    "-1",
    "1e999",
    "'; drop",
    '"quoted"',
    "a,b\tc",
    "con",
    "--",
    "[1:0,1:0]",
    "[-5:99999999999999999999,:]",
    "12:99:99",
    "1970-01-01T00:00:00",
    "2999-12-31T23:59:60",
    "2024-02-30",
    "0000-00-00",
)

#: Values of numbers that no camera gives.
NUMBERS = (
    *("0", "-1", "1", "99999999999999999999", "-2147483648", "2147483647", "1E400", "1E-400", "-0.0", "NaN", "INF"),
    *("T", "1.5", "1.0D5", "(1, 2)", "", "1O.0", "0x10", "1e308", "-1e308", "4294967296", "9223372036854775807"),
)

#: Keywords beside those that a file has.
KEYS = (
    *("BSCALE", "BZERO", "BLANK", "EXTEND", "DATASEC", "BIASSEC", "TRIMSEC", "CCDSEC", "GAIN", "RDNOISE", "XBINNING"),
    *("CCDSUM", "DATE-OBS", "EXPTIME", "FILTER", "OBJECT", "IMAGETYP", "RA", "DEC", "SATURATE", "CCD-TEMP", "AIRMASS"),
    *("LATITUDE", "LONGITUD", "INSTRUME", "CTYPE1", "CRVAL1", "CD1_1", "GROUPS", "PCOUNT", "GCOUNT", "CHECKSUM"),
    *("DATASUM", "CALSTAT", "BUNIT", "CONTINUE", "HIERARCH", "UT", "JD", "OBSERVAT", "INHERIT", "DETSEC", "READMODE"),
)


def _image(key, value):
    return f"{key:<8}= {value}"[:80].ljust(80).encode("latin-1", "replace")


def _cards(content):
    """Where the cards of the primary header lie."""
    end = content.find(b"END" + b" " * 77)
    end = len(content) if end < 0 else end
    return list(range(0, min(end, len(content)) // 80 * 80, 80))


def _put(content, place, card):
    return content[:place] + card.ljust(80)[:80] + content[place + 80 :]


def _some_card(content, rng):
    places = _cards(content)
    return int(rng.choice(places)) if places else 0


def _key_at(content, place):
    return content[place : place + 8].decode("latin-1").strip() or "COMMENT"


def truncated(content, rng):
    """The file ends anywhere."""
    return content[: int(rng.integers(0, len(content) + 1))]


def short(content, rng):
    """Nothing, or 500 bytes."""
    return content[: int(rng.choice([0, 1, 79, 80, 500, 2879, 2880]))]


def flipped(content, rng):
    """A few bits are others."""
    content = bytearray(content)
    for place in rng.integers(0, max(len(content), 1), int(rng.integers(1, 20))):
        if content:
            content[place % len(content)] ^= 1 << int(rng.integers(0, 8))
    return bytes(content)


def flipped_header(content, rng):
    """A few bytes of the header are others."""
    content = bytearray(content)
    for place in rng.integers(0, 2880, int(rng.integers(1, 10))):
        if place < len(content):
            content[place] = int(rng.integers(0, 256))
    return bytes(content)


def wrong_structure(content, rng):
    """NAXIS, BITPIX or the lengths of axes lie."""
    key = str(rng.choice(["NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "SIMPLE", "NAXIS3", "EXTEND"]))
    values = [*NUMBERS, "2", "3", "999", "8", "16", "32", "64", "-32", "-64", "32768", "100000", "1000000000"]
    card = _image(key, f"{rng.choice(values)!s:>20}")
    places = [place for place in _cards(content) if _key_at(content, place) == key]
    return _put(content, places[0] if places else _some_card(content, rng), card)


def bomb_header(content, rng):
    """A header that claims far more pixels than there are."""
    length = str(rng.choice(["40000", "1000000", "2147483647", "9000000000000000000"]))
    for key in ("NAXIS1", "NAXIS2"):
        for place in _cards(content):
            if _key_at(content, place) == key:
                content = _put(content, place, _image(key, f"{length:>20}"))
    return content


def endless_header(content, rng):
    """A header of very many cards, with an END or without."""
    count = int(rng.choice([100, 300, 1000, 1000, 1000, 40000]))
    end = content.find(b"END" + b" " * 77)
    end = len(content) if end < 0 else end
    more = b"".join(_image(f"K{number}", number) for number in range(count))
    header = content[:end] + more + (b"END".ljust(80) if rng.random() < 0.5 else b"")
    return header.ljust(-(-len(header) // 2880) * 2880) + content[2880:]


def hostile_value(content, rng):
    """Text or a number that is none, in any card or a card of its own."""
    value = str(rng.choice(NUMBERS)) if rng.random() < 0.5 else "'" + HOSTILE[int(rng.integers(len(HOSTILE)))] + "'"
    if rng.random() < 0.5:
        place = _some_card(content, rng)
        return _put(content, place, _image(_key_at(content, place), value))
    return _insert(content, _image(str(rng.choice(KEYS)), value))


def _insert(content, card):
    """A card before END, in what is free of the block."""
    end = content.find(b"END" + b" " * 77)
    if end < 0 or (end + 80) % 2880 == 0:
        return content
    return content[:end] + card.ljust(80)[:80] + b"END".ljust(80) + content[end + 160 :]


def duplicate_card(content, rng):
    """A card twice, the second with another value perhaps."""
    place = _some_card(content, rng)
    card = content[place : place + 80]
    return _insert(content, _image(_key_at(content, place), str(rng.choice(NUMBERS))) if rng.random() < 0.5 else card)


def strange_bytes(content, rng):
    """Bytes beyond ASCII, control characters or NUL in a card."""
    place = _some_card(content, rng) + int(rng.integers(0, 80))
    return content[:place] + bytes(rng.integers(0, 256, 6).astype("u1")) + content[place + 6 :]


def missing_card(content, rng):
    """A card less."""
    return _put(content, _some_card(content, rng), b"")


def swapped_cards(content, rng):
    """Two cards have changed places."""
    one, two = _some_card(content, rng), _some_card(content, rng)
    first, second = content[one : one + 80], content[two : two + 80]
    return _put(_put(content, one, second), two, first)


def strange_pixels(content, rng):
    """Pixels of floats, with values that are no numbers; or all of them equal."""
    dtype = str(rng.choice([">f4", ">f8"]))
    pixels = np.full((24, 32), float(rng.choice([np.nan, np.inf, -np.inf, 0, 65535, 1e38, -1e30])))
    good = rng.random(pixels.shape) < rng.choice([0, 0.5, 0.99])
    pixels[good] = rng.normal(1000, 5, good.sum())
    for place in _cards(content):
        if _key_at(content, place) == "BITPIX":
            content = _put(content, place, _image("BITPIX", f"{-8 * int(dtype[-1]):>20}"))
        elif _key_at(content, place) == "BZERO":
            content = _put(content, place, b"COMMENT")
    pixels = pixels.astype(dtype).tobytes()
    return content[:2880] + pixels.ljust(-(-len(pixels) // 2880) * 2880, b"\0")


def packed(content, rng):
    """A gzip file, damaged perhaps."""
    content = gzip.compress(content, 1, mtime=0)
    return [lambda c, _: c, truncated, flipped][int(rng.integers(3))](content, rng)


def bomb_gzip(content, rng):
    """Some kB that unpack to 1 MB, one time in ten to 256 MB, of which the header claims all or a part."""
    large = rng.random() < 0.1
    zeros = gzip.compress(bytes(1 << (24 if large else 16)), 1, mtime=0) * 16
    if rng.random() < 0.5:
        content = _put(content, 240, _image("NAXIS1", f"{4096 if large else 512:>20}"))
        content = _put(content, 320, _image("NAXIS2", f"{4096 if large else 512:>20}"))
    return gzip.compress(content[:2880], 1, mtime=0) + zeros


def shuffled(content, rng):
    """A piece of the file stands where another was."""
    one, two = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:one] + content[two:] + content[one:two]


def extension(content, rng):
    """The image, or what is left of it, in an extension behind a header without one."""
    primary = b"".join(
        [_image("SIMPLE", f"{'T':>20}"), _image("BITPIX", f"{8:>20}"), _image("NAXIS", f"{0:>20}"), b"END".ljust(80)]
    )
    name = str(rng.choice(["'IMAGE   '", "'BINTABLE'", "'TABLE   '", "'XXX     '", "5"]))
    return primary.ljust(2880) + _put(content, 0, _image("XTENSION", name))


MUTATIONS = (
    *(truncated, short, flipped, flipped_header, wrong_structure, bomb_header, endless_header, hostile_value),
    *(hostile_value, hostile_value, duplicate_card, strange_bytes, missing_card, swapped_cards, strange_pixels),
    *(packed, bomb_gzip, shuffled, extension),
)


def mutate(content, rng):
    """
    A file with one to three mutations.

    Parameters
    ----------
    content : bytes
        A good file.
    rng : `~numpy.random.Generator`
        Decides on everything.

    Returns
    -------
    content : bytes
    names : list of str
        What was done.
    """
    names = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        function = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        names.append(function.__name__)
        content = function(content, rng)
        if function in (packed, bomb_gzip) or not content:
            break
    return content, names


GOOD = (
    *(("bias_1", "bias", 0.0, 1000), ("bias_2", "bias", 0.0, 1000), ("bias_3", "bias", 0.0, 1000)),
    *(("dark_1", "dark", 60.0, 1010), ("dark_2", "dark", 60.0, 1010), ("flat_1", "flat", 5.0, 20000)),
    *(("flat_2", "flat", 5.0, 20000), ("science_1", "object", 60.0, 1200)),
)


def write_good(folder):
    """
    Eight good frames of 24 x 32 pixels: three biases, two darks, two flats and a science frame.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where to.

    Returns
    -------
    list of bytes
        Their contents.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = []
    for number, (name, kind, exposure, level) in enumerate(GOOD):
        noise = np.random.default_rng(number).normal(level, max(3, level**0.5 / 2), (24, 32))
        hdu = fits.PrimaryHDU(noise.clip(0, 65535).astype("u2"))
        hdu.header["IMAGETYP"], hdu.header["EXPTIME"], hdu.header["OBJECT"] = kind, exposure, "field"
        hdu.header["FILTER"], hdu.header["DATE-OBS"] = "V", f"2024-01-01T20:{number:02d}:00"
        hdu.header["GAIN"], hdu.header["RDNOISE"] = 1.5, 4.0
        hdu.writeto(folder / f"{name}.fits")
        contents.append((folder / f"{name}.fits").read_bytes())
    return contents


def _digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def run_batch(number, folder, size=BATCH):
    """
    A batch of inputs through reading, planning and reducing.

    Parameters
    ----------
    number : int
        Of the batch: its seed.
    folder : `~pathlib.Path`
        A folder of its own.
    size : int, optional
        Number of inputs.

    Returns
    -------
    dict
        'inputs', 'crashes' (a list of str), 'harmed' (a list of names), 'seconds'.
    """
    import ccdnight
    from ccdnight.exceptions import CcdnightError

    begin, rng, crashes, done = time.perf_counter(), np.random.default_rng([9, number]), [], {}
    good = write_good(folder / "raw")
    for item in range(size):
        content, names = mutate(good[int(rng.integers(len(good)))], rng)
        name = f"m{item:03d}.fits" + (".gz" if content[:2] == b"\x1f\x8b" and rng.random() < 0.8 else "")
        (folder / "raw" / name).write_bytes(content)
        done[name] = names
    before = _digests(folder / "raw")

    def attempt(what, function, names=()):
        try:
            function()
        except CcdnightError:
            pass
        except Exception:  # noqa: BLE001 - this is what is looked for
            crashes.append(f"batch {number}, {what} {'+'.join(names)}\n{traceback.format_exc()}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, names in done.items():
            path = folder / "raw" / name
            attempt(f"read_frame({name})", lambda path=path: ccdnight.read_frame(path), names)
        attempt("frames", lambda: ccdnight.FrameCollection(folder / "raw").frames)
        attempt("summary", lambda: ccdnight.FrameCollection(folder / "raw").summary)
        night = ccdnight.Night(folder / "raw")
        attempt("plan", night.plan)
        attempt("reduce", lambda: _reduce(night, folder, crashes, number))
    after = _digests(folder / "raw")
    harmed = [name for name in before if after.get(name) != before[name]] + sorted(set(after) - set(before))
    return {"inputs": size, "crashes": crashes, "harmed": harmed, "seconds": time.perf_counter() - begin}


def _reduce(night, folder, crashes, number):
    result = night.reduce(folder / "out", workers=1, progress=False)
    for task, trace in result.run["errors"].items():
        crashes.append(f"batch {number}, reduce, {task}\n{trace}")
    rows = sorted(str(path) for path in result.night["path"])
    files = sorted(path.name for path in (folder / "raw").iterdir())
    if rows != files:
        crashes.append(f"batch {number}: night.ecsv does not name every input: {set(files) ^ set(rows)}")
    outside = [path for path in folder.rglob("*") if path.parent == folder and path.name not in {"raw", "out"}]
    if outside:
        crashes.append(f"batch {number}: written beside the output folder: {outside}")


def _serve(batches, size, connection, folder):
    """Run batches one after the other, telling of each before and after it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    for number in batches:
        signal.alarm(SECONDS)
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            result = run_batch(number, place, size)
        except Exception:  # noqa: BLE001
            result = {
                "inputs": size,
                "crashes": [f"batch {number}\n{traceback.format_exc()}"],
                "harmed": [],
                "seconds": 0,
            }
        finally:
            signal.alarm(0)
            shutil.rmtree(place, ignore_errors=True)
        connection.send((number, result))


class _Server:
    """A process that runs batches, and the next one after it has died of one."""

    def __init__(self, batches, size, folder):
        self.left, self.size, self.folder = list(batches), size, folder
        self.start()

    def start(self):
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(self.left, self.size, other, self.folder)
        )
        self.process.start()
        other.close()

    def next(self):
        """The next result; None if there is none yet."""
        if not self.connection.poll(0.2):
            return None
        try:
            number, result = self.connection.recv()
            self.left.remove(number)
        except EOFError:
            self.process.join()
            number, code = self.left.pop(0), self.process.exitcode
            hang = code == -signal.SIGALRM
            words = [] if hang else [f"batch {number}: the process died, exit code {code}"]
            result = {"inputs": self.size, "crashes": words, "harmed": [], "hang": hang, "seconds": SECONDS}
            if self.left:
                self.start()
        return number, result


def _all(args, folder):
    batches = range(args.first, args.first + -(-args.inputs // args.size))
    servers = [_Server(batches[n :: args.workers], args.size, folder) for n in range(args.workers)]
    totals, slowest, begin = {"inputs": 0, "crashes": 0, "hangs": 0, "harmed": 0}, 0.0, time.perf_counter()
    while any(server.left for server in servers):
        for server in [server for server in servers if server.left]:
            got = server.next()
            if got is None:
                continue
            number, result = got
            totals["inputs"] += result["inputs"]
            totals["crashes"] += len(result["crashes"])
            totals["harmed"] += len(result["harmed"])
            totals["hangs"] += bool(result.get("hang"))
            slowest = max(slowest, result["seconds"])
            for words in [*result["crashes"], *(f"batch {number}: harmed {name}" for name in result["harmed"])]:
                print(words, flush=True)
            if result.get("hang"):
                print(f"batch {number}: not over after {SECONDS} s", flush=True)
            if args.progress:
                seconds = time.perf_counter() - begin
                print(json.dumps(totals | {"seconds": round(seconds)}), file=sys.stderr, flush=True)
    for server in servers:
        server.process.join()
    print(
        f"{totals['inputs']} inputs: {totals['crashes']} crashes, {totals['hangs']} hangs, "
        f"{totals['harmed']} files harmed; slowest batch of {args.size}: {slowest:.1f} s"
    )
    return totals


def main():
    """Run the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=BATCH, help="inputs of a batch")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument("--batch", type=int, help="run this batch alone, in this process")
    parser.add_argument("--progress", action="store_true", help="a line for every batch on standard error")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if args.batch is not None:
            result = run_batch(args.batch, folder, args.size)
            print(*result["crashes"], *result["harmed"], sep="\n")
            print(f"{result['inputs']} inputs, {len(result['crashes'])} crashes, {result['seconds']:.1f} s")
            sys.exit(bool(result["crashes"] or result["harmed"]))
        totals = _all(args, folder)
    sys.exit(bool(totals["crashes"] or totals["hangs"] or totals["harmed"]))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
