"""The fault matrix: what the table of docs/reliability.rst promises and no other test holds."""

import gzip
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import builders
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.rst"


@pytest.fixture
def raw(tmp_path):
    """A plain night: 5 biases, 3 darks, 3 flats and 2 science frames in V."""
    return builders.plain_night(tmp_path / "raw")


def reduce(folder, out, *options, limit=None):
    """The command line in a process of its own, where a limit of the system can be set."""
    code = "from ccdnight.cli import main; main()"
    command = [sys.executable, "-c", code, "reduce", folder, out, "--no-cosmic-rays", "--workers", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit, timeout=300)


def fates(out):
    table = Table.read(Path(out) / "night.ecsv", format="ascii.ecsv")
    return {str(row["path"]): (str(row["fate"]), str(row["reason"])) for row in table}


def test_every_test_of_the_matrix_exists():
    """The table names a file and a function, and both are there."""
    named = re.findall(r"``(test_\w+\.py)(?:::(\w+))?::(test_\w+)``", PAGE.read_text("utf-8"))
    assert len(named) >= 25
    for file, group, test in named:
        source = (TESTS / file).read_text("utf-8")
        assert re.search(rf"^(    )?def {test}\(", source, re.MULTILINE), f"{file}::{test}"
        assert not group or re.search(rf"^class {group}\b", source, re.MULTILINE), f"{file}::{group}"


def test_truncated_at_random_offsets(raw, tmp_path):
    """Each of them has failed, whatever was left; a loss of padding alone is none."""
    content = (raw.folder / "science_V_001.fits").read_bytes()
    needed = content.find(b"END" + b" " * 77) // 2880 * 2880 + 2880 + 2 * 64 * 80
    sizes = [0, 500, *np.random.default_rng(1).integers(1, needed, 20)]
    for number, size in enumerate(sizes):
        (raw.folder / f"cut_{number:02d}.fits").write_bytes(content[:size])
    assert reduce(raw.folder, tmp_path / "out").returncode == 3
    table = fates(tmp_path / "out")
    for number, size in enumerate(sizes):
        fate, reason = table[f"cut_{number:02d}.fits"]
        assert fate == "failed", size
        assert re.search("empty|truncated", reason)
    assert table["science_V_001.fits"][0] == "used"


def test_cards_duplicate_and_beyond_ascii(raw, tmp_path):
    """They cost nothing: the frame is used."""
    path = raw.folder / "science_V_001.fits"
    content = path.read_bytes()
    place = content.find(b"END" + b" " * 77)
    more = [b"OBJECT  = 'another'", "OBSERVER= 'Jos\xe9'".encode("latin-1"), b"\x00\x01\x02", b"FILTER  = 'V       '"]
    header = content[:place] + b"".join(card.ljust(80) for card in more) + b"END".ljust(80)
    path.write_bytes(header.ljust(-(-len(header) // 2880) * 2880) + content[-(-(place + 80) // 2880) * 2880 :])
    assert reduce(raw.folder, tmp_path / "out").returncode == 0
    assert fates(tmp_path / "out")["science_V_001.fits"][0] == "used"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 65535.0])
def test_science_frames_of_one_value(raw, tmp_path, value):
    """No error of ours; the other science frame is there, and every input has its fate."""
    with fits.open(raw.folder / "science_V_001.fits") as hdus:
        header, shape = hdus[0].header.copy(), hdus[0].data.shape
    for key in ("BZERO", "BSCALE"):
        header.remove(key, ignore_missing=True)
    fits.PrimaryHDU(np.full(shape, value, "f4"), header).writeto(raw.folder / "science_V_001.fits", overwrite=True)
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    found = fates(tmp_path / "out")
    assert found.pop("science_V_001.fits")[0] == "rejected"
    assert [fate for fate, _ in found.values()] == ["used"] * 12


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00", "2999-01-01T00:00:00", "2024-02-30T00:00:00"])
def test_clocks_that_are_wrong(raw, tmp_path, date):
    """The frame is reduced all the same."""
    with fits.open(raw.folder / "science_V_001.fits", mode="update") as hdus:
        hdus[0].header["DATE-OBS"] = date
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {fate for fate, _ in fates(tmp_path / "out").values()} == {"used"}


def test_file_size_limit(raw, tmp_path):
    """A disk that takes no more: exit code 6, no partial file, raw frames as they were; then it can be run again."""
    before = {path.name: path.read_bytes() for path in raw.folder.iterdir()}

    def limit():
        # The kernel sends SIGXFSZ, which Python ignores: writing raises EFBIG.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    done = reduce(raw.folder, tmp_path / "out", limit=limit)
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    for path in (tmp_path / "out").rglob("*.fits"):
        fits.getdata(path)
    assert not list((tmp_path / "out").rglob("*.part"))
    assert {path.name: path.read_bytes() for path in raw.folder.iterdir()} == before
    assert reduce(raw.folder, tmp_path / "out").returncode == 0


def test_read_only_input(raw, tmp_path):
    """Nothing is written beside the raw frames."""
    for path in [*raw.folder.iterdir(), raw.folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in raw.folder.iterdir()}
    try:
        assert reduce(raw.folder, tmp_path / "out").returncode == 0
        assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in raw.folder.iterdir()} == before
    finally:
        raw.folder.chmod(0o755)


def test_300_files_with_64_descriptors(tmp_path):
    raw = builders.plain_night(tmp_path / "raw", shape=(16, 20), n_bias=297, n_dark=0, n_flat=0, n_science=3)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = reduce(raw.folder, tmp_path / "out", limit=limit)
    assert done.returncode == 0, done.stderr
    assert sum(fate == "used" for fate, _ in fates(tmp_path / "out").values()) == 300


HOSTILE = {
    "up.fits": "../../x",
    "nul.fits": "a\0b",
    "long.fits": "x" * 60,
    "upper.fits": "M31",
    "lower.fits": "m31",
}


def test_objects_that_are_paths(raw, tmp_path):
    """Names of products never leave the output folder."""
    content = (raw.folder / "science_V_001.fits").read_bytes()
    place = content.find(b"OBJECT  =")
    for name, value in HOSTILE.items():
        card = f"OBJECT  = '{value}'".ljust(80).encode()
        (raw.folder / name).write_bytes(content[:place] + card + content[place + 80 :])
    done = reduce(raw.folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert {name for name in HOSTILE if fates(tmp_path / "out")[name][0] == "used"} == set(HOSTILE)
    names = [path.name.lower() for path in (tmp_path / "out" / "science").iterdir()]
    assert len(names) == len(set(names)) == 7


def test_names_of_files_that_differ_in_case_only(raw, tmp_path):
    """On a file system that does not tell them apart both products must be there."""
    content = (raw.folder / "science_V_001.fits").read_bytes()
    (raw.folder / "a.fits").write_bytes(content)
    (raw.folder / "A.fits").write_bytes(content)
    if len(list(raw.folder.glob("[aA].fits"))) < 2:
        pytest.skip("this file system does not tell them apart")
    assert reduce(raw.folder, tmp_path / "out").returncode == 0
    names = [path.name.lower() for path in (tmp_path / "out" / "science").iterdir()]
    assert len(set(names)) == 4


def test_a_bomb_in_a_night(raw, tmp_path):
    """A gzip file that claims and holds gigabytes costs itself alone, under a limit of memory."""
    cards = ("SIMPLE  = T", "BITPIX  = -64", "NAXIS   = 2", "NAXIS1  = 40000", "NAXIS2  = 50000", "END")
    header = b"".join(card.ljust(80).encode() for card in cards).ljust(2880)
    piece = gzip.compress(bytes(1 << 24), 9, mtime=0)
    (raw.folder / "bomb.fits.gz").write_bytes(gzip.compress(header) + piece * 130)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    done = reduce(raw.folder, tmp_path / "out", limit=limit)
    assert done.returncode in (0, 3), done.stderr
    assert fates(tmp_path / "out")["science_V_002.fits"][0] == "used"
    assert os.path.getsize(raw.folder / "bomb.fits.gz") < 4 << 20
