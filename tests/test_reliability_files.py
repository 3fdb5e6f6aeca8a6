"""The fault matrix, continued: what files say that is not so, and places that take no more."""

import gzip
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import builders
import numpy as np
import pytest
from astropy.io import fits
from test_reliability import fates, reduce

from ccdnight import Night, Reduction, calibrate, get_profile, make_bias, read_ccd, read_frame
from ccdnight.exceptions import FrameError
from ccdnight.storage import read_header

#: A terminal that takes text only.
STRICT = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}


@pytest.fixture
def raw(tmp_path):
    """A plain night: 5 biases, 3 darks, 3 flats and 2 science frames in V."""
    return builders.plain_night(tmp_path / "raw")


def with_sums(path):
    """Give a file CHECKSUM and DATASUM; where its data begin."""
    with fits.open(path) as hdus:
        hdus.writeto(path, overwrite=True, checksum=True)
    return read_header(path).offset


def flip(path, place):
    """Turn one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(bytes(content))


def test_flipped_bytes_under_a_datasum(raw, tmp_path):
    """One bit costs its frame, of whatever kind, and no other; a card that was put right costs none."""
    kinds = {"bias_001.fits", "dark_001.fits", "flat_V_001.fits", "science_V_001.fits"}
    names = {path.name for path in raw.folder.iterdir()}
    assert kinds <= names
    for number, name in enumerate(sorted(kinds)):
        flip(raw.folder / name, with_sums(raw.folder / name) + 1000 + number)
    for name in ("bias_002.fits", "science_V_002.fits"):
        # Another second: CHECKSUM is wrong now, DATASUM is not.
        with_sums(raw.folder / name)
        content = bytearray((raw.folder / name).read_bytes())
        content[content.index(b"DATE-OBS= '2024-01-01T") + len("DATE-OBS= '2024-01-01T18:00:0")] ^= 1
        (raw.folder / name).write_bytes(bytes(content))
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 3, done.stderr
    found = fates(tmp_path / "out")
    for name in kinds:
        assert found[name][0] in ("failed", "rejected"), (name, found[name])
        assert "DATASUM" in found[name][1]
    assert {name for name, (fate, _) in found.items() if fate == "used"} == names - kinds


@pytest.mark.parametrize("kind", ["plain", "tiles", "extension"])
def test_one_bit_of_a_raw_frame(raw, tmp_path, kind):
    """Whichever way it is read; with the sum as it should be it is read."""
    name, path = raw.folder / "science_V_001.fits", tmp_path / "frame.fits"
    with fits.open(name) as hdus:
        header, data = hdus[0].header.copy(), hdus[0].data.copy()
    for key in ("BZERO", "BSCALE"):
        header.remove(key, ignore_missing=True)
    image = fits.CompImageHDU(data, header) if kind == "tiles" else fits.ImageHDU(data, header)
    hdus = [fits.PrimaryHDU(data, header)] if kind == "plain" else [fits.PrimaryHDU(), image]
    fits.HDUList(hdus).writeto(path)
    place = with_sums(path) + 400
    assert read_frame(path, profile="generic").data.shape == data.shape
    flip(path, place)
    for read in (read_frame, lambda path, **more: calibrate(path, gain=1, read_noise=5, **more)):
        with pytest.raises(FrameError, match=r"frame.fits: its .* changed after it was written: DATASUM is \d+"):
            read(path, profile="generic")
    with pytest.raises(FrameError, match="DATASUM"):
        make_bias([path], profile="generic")


@pytest.mark.parametrize("extension", ["", "UNCERT", "MASK"])
def test_one_bit_of_a_product(raw, tmp_path, extension):
    """Pixels, errors or flags that have changed are not read as if they had not."""
    assert reduce(raw.folder, tmp_path / "out").returncode == 0
    path = tmp_path / "out" / "masters" / "flat_V.fits"
    with fits.open(path) as hdus:
        place = hdus[extension or 0].fileinfo()["datLoc"] + 333
    read_ccd(path)
    flip(path, place)
    with pytest.raises(FrameError, match=f"its {extension or 'pixels'} changed after it was written"):
        read_ccd(path)


@pytest.mark.parametrize("told", ["", "unknown", "-5", "1.5", "0"])
def test_a_datasum_that_is_no_number(raw, told):
    """There is nothing to compare; the standard allows an empty one."""
    path = raw.folder / "science_V_001.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["DATASUM"] = told
    assert np.isfinite(read_frame(path).data).all()


def test_a_camera_that_writes_wrong_sums(raw, tmp_path):
    """Nobody has to touch raw frames: the policy takes them as they are."""
    for path in raw.folder.iterdir():
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["DATASUM"] = "12345"
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 4, done.stderr
    profile = get_profile("generic")
    profile = replace(profile, policy=profile.policy.updated(datasum="ignore"))
    result = Night(raw.folder, profile=profile).reduce(tmp_path / "taken", progress=False, cosmic_rays=False)
    assert {str(fate) for fate in result.night["fate"]} == {"used"}


def test_a_datasum_that_cannot_be_read(raw):
    """No card that no parser understands is a reason to stop."""
    path = raw.folder / "science_V_001.fits"
    with_sums(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"DATASUM =")
    content[place : place + 80] = b"DATASUM = 'never ended".ljust(80)
    path.write_bytes(bytes(content))
    assert np.isfinite(read_frame(path).data).all()


def test_mixed_read_modes(tmp_path):
    """Each read mode has biases of its own, and none of the other's."""
    raw = builders.plain_night(tmp_path / "raw", n_dark=0, n_flat=0)
    for path in sorted(raw.folder.iterdir()):
        with fits.open(path) as hdus:
            header, data = hdus[0].header.copy(), hdus[0].data.astype(np.int32)
        for mode, more in (("slow", 0), ("fast", 500)):
            header["READMODE"] = mode
            for key in ("BZERO", "BSCALE"):
                header.remove(key, ignore_missing=True)
            fits.PrimaryHDU((data + more).astype(np.uint16), header).writeto(raw.folder / f"{mode}_{path.name}")
        path.unlink()
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    levels = {}
    for path in sorted((tmp_path / "out" / "science").iterdir()):
        ccd = read_ccd(path)
        levels.setdefault("fast" if "fast" in path.name else "slow", []).append(np.median(ccd.data))
    assert len(list((tmp_path / "out" / "masters").glob("bias*.fits"))) == 2
    assert levels["fast"] == pytest.approx(levels["slow"], abs=1)


def test_calibration_frames_that_are_there_twice(raw, tmp_path):
    """A copy counts once, or the error of its master would be too small; who wants science frames twice gets them."""
    for kind in ("bias", "dark", "flat_V", "science_V"):
        content = (raw.folder / f"{kind}_002.fits").read_bytes()
        (raw.folder / f"{kind}_002.fits.gz").write_bytes(gzip.compress(content))
        (raw.folder / "again").mkdir(exist_ok=True)
        (raw.folder / "again" / f"{kind}_002.fits").write_bytes(content)
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "could not be measured" not in done.stderr
    found = fates(tmp_path / "out")
    unused = {name: reason for name, (fate, reason) in found.items() if fate == "unused"}
    assert len(unused) == 6
    assert all(re.match(r"a copy of (again/)?(bias|dark|flat_V)_002.fits", reason) for reason in unused.values())
    for name, count in (("bias", 5), ("dark_60s", 3), ("flat_V", 3)):
        assert read_ccd(tmp_path / "out" / "masters" / f"{name}.fits").meta["NCOMBINE"] == count
    assert len(list((tmp_path / "out" / "science").rglob("*.fits"))) == 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems refuse such names")
def test_names_of_files_that_are_no_text(raw, tmp_path):
    """They are reduced, told of, and can be written into a plan and read from it."""
    science, bias = ((raw.folder / name).read_bytes() for name in ("science_V_001.fits", "bias_001.fits"))
    (raw.folder / "bias_001.fits").unlink()
    names = dict.fromkeys([b"M31_\xe9t\xe9.fits", b"a\\b'\"c.fits", b"line\nbreak.fits"], science) | {
        b"b\xff.fits": bias
    }
    for name, content in names.items():
        with open(os.path.join(os.fsencode(raw.folder), name), "wb") as stream:
            stream.write(content)
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "science").iterdir()) == [
        "M31__t_.fits",
        "a_b'\"c.fits",
        "line_break.fits",
        "science_V_001.fits",
        "science_V_002.fits",
    ]
    night = Reduction.open(tmp_path / "out").night
    assert {os.fsencode(str(path)) for path in night["path"]} >= set(names)
    assert {str(fate) for fate in night["fate"]} == {"used"}
    for command in (["frames", raw.folder], ["plan", raw.folder], ["plan", raw.folder, "-o", tmp_path / "plan.toml"]):
        told = [sys.executable, "-m", "ccdnight", *command]
        told = subprocess.run(told, capture_output=True, check=False, env=STRICT)
        assert told.returncode == 0, told.stderr
    again = reduce(raw.folder, tmp_path / "out", "--plan", tmp_path / "plan.toml")
    assert again.returncode == 0, again.stderr
    assert subprocess.run([sys.executable, "-m", "ccdnight", "verify", tmp_path / "out"], check=False).returncode == 0


def test_names_of_files_with_a_time(raw, tmp_path):
    """Many cameras write them; and blanks, accents and brackets are no trouble either."""
    names = ["ccd_2024-01-01T12:30:15.fits", "ccd_2024-01-01T12-30-15.fits", "M 31 (1).fits", "[\xe9].FITS", "-x.fits"]
    for name in names:
        shutil.copy(raw.folder / "science_V_001.fits", raw.folder / name)
    shutil.copy(raw.folder / "bias_001.fits", raw.folder / "bias_18:00:00.fits")
    (raw.folder / "bias_001.fits").unlink()
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {fate for fate, _ in fates(tmp_path / "out").values()} == {"used"}
    found = sorted(path.name for path in (tmp_path / "out" / "science").iterdir())
    assert len({name.casefold() for name in found}) == 7
    assert {"M 31 (1).fits", "[\xe9].fits", "-x.fits"} < set(found)
    assert sum(name.startswith("ccd_2024-01-01T12-30-15") for name in found) == 2
    assert not any(":" in name for name in found)


def test_files_with_several_images(raw, tmp_path):
    """The first is reduced, and that the others are not is told; a table behind it is nobody's loss."""
    for path in sorted(raw.folder.iterdir()):
        with fits.open(path) as hdus:
            header, data = hdus[0].header.copy(), hdus[0].data.copy()
        more = [fits.ImageHDU(data, name="CCD2"), fits.ImageHDU(data)] if path.name.startswith("science") else []
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
        fits.HDUList([fits.PrimaryHDU(None, header), fits.ImageHDU(data), table, *more]).writeto(path, overwrite=True)
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("only the first image") == 1
    assert "note: only the first image of the file is reduced, not CCD2, HDU 4" in done.stderr
    assert "(2 frames)" in done.stderr


def test_an_object_of_300_characters(raw, tmp_path):
    """Told over several cards, and shown in the report as a whole."""
    with fits.open(raw.folder / "science_V_001.fits", mode="update") as hdus:
        hdus[0].header["OBJECT"] = "Andromeda " * 30
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert fates(tmp_path / "out")["science_V_001.fits"][0] == "used"
    assert all(len(path.name) < 100 for path in (tmp_path / "out").rglob("*"))


# -- places that take no more ---------------------------------------------------------------------------------


def in_a_disk_of_its_own(script, place, *, size="64m"):
    """
    Run Python with a small disk at a place that only this process sees.

    Mounting needs a namespace, which some systems do not give to users.
    """
    os.makedirs(place, exist_ok=True)
    mount = f"mount -t tmpfs -o size={size} none '{place}'"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("this system lets nobody mount a disk of his own")
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


RUN = """
import subprocess, sys
def reduce():
    code = "from ccdnight.cli import main; main()"
    command = [sys.executable, "-c", code, "reduce", {raw!r}, {out!r}, "--no-cosmic-rays", "--workers", "1"]
    return subprocess.run(command, capture_output=True, text=True)
"""


def test_a_full_disk(raw, tmp_path):
    """It stops with exit code 6, nothing half-written; when there is room the same command finishes."""
    disk, out = tmp_path / "disk", tmp_path / "disk" / "out"
    script = (
        RUN.format(raw=str(raw.folder), out=str(out))
        + f"""
import os
from pathlib import Path
ballast = Path({str(disk)!r}, "ballast")
done = reduce()
assert done.returncode == 0, done.stderr
whole = {{path.name: path.read_bytes() for path in Path({str(out)!r}).rglob("*.fits")}}
size = sum(path.stat().st_size for path in Path({str(out)!r}).rglob("*") if path.is_file())
subprocess.run(["rm", "-r", {str(out)!r}])
free = os.statvfs({str(disk)!r}).f_bavail * os.statvfs({str(disk)!r}).f_bsize
for part in (0.02, 0.4, 0.8):
    with open(ballast, "wb") as stream:
        stream.write(bytes(int(free - part * size)))
    done = reduce()
    assert done.returncode == 6, (part, done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and "no space is left" in done.stderr, done.stderr
    assert not list(Path({str(out)!r}).rglob("*.part"))
    for path in Path({str(out)!r}).rglob("*.fits"):
        assert path.read_bytes() == whole[path.name], path
    ballast.unlink()
assert reduce().returncode == 0
assert {{path.name: path.read_bytes() for path in Path({str(out)!r}).rglob("*.fits")}} == whole
print("all is well")
"""
    )
    done = in_a_disk_of_its_own(script, disk)
    assert "all is well" in done.stdout, done.stderr


def test_a_disk_that_cannot_be_written(raw, tmp_path):
    """Not even by root: exit code 6, with the place and the reason."""
    disk, out = tmp_path / "disk", tmp_path / "disk" / "out"
    script = (
        RUN.format(raw=str(raw.folder), out=str(out))
        + f"""
subprocess.run(["mount", "-o", "remount,ro", {str(disk)!r}], check=True)
done = reduce()
assert done.returncode == 6, done.stderr
assert {str(out)!r} in done.stderr and "read-only" in done.stderr and "Traceback" not in done.stderr, done.stderr
print("all is well")
"""
    )
    done = in_a_disk_of_its_own(script, disk)
    assert "all is well" in done.stdout, done.stderr


LIMITED = """
import resource, sys
from ccdnight.cli import main
{limit}
try:
    main(["reduce", {raw!r}, {out!r}, "--no-cosmic-rays", "--workers", "1"])
except SystemExit as end:
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("VmPeak", lines["VmPeak"].split()[0])
    sys.exit(end.code)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited and measured by Linux only")
def test_a_memory_limit_well_below_the_data(tmp_path):
    """A night of 100 MB of raw pixels in 60 MB more than a night of next to nothing takes."""
    small = builders.plain_night(tmp_path / "small", shape=(64, 64))
    large = builders.plain_night(tmp_path / "large", shape=(1024, 1024), n_bias=25, n_dark=10, n_flat=10, n_science=3)
    size = sum(path.stat().st_size for path in large.folder.iterdir())
    assert size > 100e6

    def run(raw, limit="", out="-out"):
        script = LIMITED.format(limit=limit, raw=str(raw.folder), out=str(raw.folder) + out)
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)

    # To compile a kernel takes more memory than to use it: here they are compiled before.
    before, first = run(large, out="-before"), run(small)
    assert before.returncode == first.returncode == 0, before.stderr + first.stderr
    most = int(first.stdout.split("VmPeak")[1]) * 1024 + 60_000_000
    done = run(large, f"resource.setrlimit(resource.RLIMIT_AS, ({most}, {most}))")
    assert done.returncode == 0, done.stderr
    assert {fate for fate, _ in fates(str(large.folder) + "-out").values()} == {"used"}
