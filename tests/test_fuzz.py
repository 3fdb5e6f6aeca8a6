"""Mutated files: only documented errors come out, nothing hangs, and no input is harmed."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import ccdnight
from ccdnight import storage
from ccdnight._files import hdu_number
from ccdnight.exceptions import FrameError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import fuzz
    return fuzz


def test_mutations_are_seeded_and_each_of_them_changes_something(fuzz, tmp_path):
    good = fuzz.write_good(tmp_path)[-1]
    for function in set(fuzz.MUTATIONS):
        changed = [function(good, np.random.default_rng(seed)) for seed in range(20)]
        assert changed == [function(good, np.random.default_rng(seed)) for seed in range(20)]
        assert any(content != good for content in changed), function.__name__


def test_two_hundred_inputs(fuzz, tmp_path):
    """The long run is a script, benchmarks/fuzz.py."""
    for number in range(4):
        result = fuzz.run_batch(number, tmp_path / str(number), 50)
        assert result["crashes"] == []
        assert result["harmed"] == []


def test_the_fuzzer_sees_what_escapes_and_what_is_harmed(fuzz, tmp_path, monkeypatch):
    """A mistake that is planted is counted: an error of ours while reading, and a raw file that is written to."""
    read = ccdnight.read_frame

    def harm(path):
        if Path(path).name.startswith("m000"):
            Path(path).write_bytes(b"gone")
            msg = "a bug"
            raise ZeroDivisionError(msg)
        return read(path)

    monkeypatch.setattr(ccdnight, "read_frame", harm)
    result = fuzz.run_batch(0, tmp_path, 3)
    assert len(result["crashes"]) == 1
    assert "ZeroDivisionError" in result["crashes"][0]
    assert [name[:4] for name in result["harmed"]] == ["m000"]


def test_the_script_prints_its_count():
    command = [sys.executable, BENCHMARKS / "fuzz.py", "--inputs", "4", "--size", "4", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "4 inputs: 0 crashes, 0 hangs, 0 files harmed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("key", "value"), [("NAXIS", "T"), ("NAXIS1", "T"), ("NAXIS2", "F"), ("BITPIX", "16.0"), ("NAXIS", "2.0")]
)
def test_structure_of_another_type(fuzz, tmp_path, key, value):
    """Found by the fuzzer: T counts as 1 in Python, and numpy makes no array of it."""
    content = fuzz.write_good(tmp_path)[-1]
    path = tmp_path / "odd.fits"
    path.write_bytes(content.replace(content[content.find(f"{key:<8}=".encode()) :][:80], fuzz._image(key, value), 1))
    with pytest.raises(FrameError, match=key.rstrip("12")):
        storage.read_header(path)


@pytest.mark.parametrize("card", ["BSCALE  = 1.0.0", "BSCALE  = '? 1'", "BZERO   = T", "BZERO   = [1]", "BLANK   = 3O"])
def test_scaling_that_cannot_be_read(fuzz, tmp_path, card):
    """Found by the fuzzer: it came out of the plan of the whole night as an error of astropy."""
    content = fuzz.write_good(tmp_path)[-1]
    path = tmp_path / "odd.fits"
    key = card[:8].encode()
    place = content.find(key) if key in content[:2880] else content.find(b"OBJECT  =")
    path.write_bytes(content[:place] + card.ljust(80).encode() + content[place + 80 :])
    with pytest.raises(FrameError, match="cannot be read"):
        storage.read_header(path)
    plan = ccdnight.Night(tmp_path).plan()
    assert [row.path for row in plan.unused if row.path == "odd.fits"] == ["odd.fits"]


@pytest.mark.parametrize("ending", [True, False])
def test_summary_of_a_header_without_bounds(fuzz, tmp_path, ending):
    """Found by the fuzzer: astropy read such a header to its end, and the table grew column by column, for minutes."""
    import gzip

    content = fuzz.write_good(tmp_path)[-1]
    end = content.find(b"END" + b" " * 77)
    header = content[:end] + b"".join(fuzz._image(f"K{number}", number) for number in range(40000))
    header += b"END".ljust(80) if ending else b""
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(header.ljust(-(-len(header) // 2880) * 2880), 1))
    summary = ccdnight.FrameCollection(tmp_path).summary
    assert "bomb.fits.gz" not in summary["file"]
    assert len(summary) == len(fuzz.GOOD)
    assert len(summary.colnames) < 30


def test_more_pixels_than_memory(fuzz, tmp_path, monkeypatch):
    """Found by the fuzzer: a gzip bomb ended the plan of the night."""
    import gzip

    from astropy.io import fits

    content = fuzz.write_good(tmp_path)[-1]
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(content))

    def refuse(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr(fits, "open", refuse)
    with pytest.raises(FrameError, match="need more memory than there is"):
        storage.read_pixels(path)


@pytest.mark.parametrize("table", [False, True])
def test_billions_of_axes(fuzz, tmp_path, table):
    """Found by the fuzzer: astropy looked for as many lengths, and so did we where it is a table."""
    content = fuzz.write_good(tmp_path)[-1]
    path, place = tmp_path / "odd.fits", content.find(b"NAXIS   =")
    content = fuzz._put(content, place, fuzz._image("NAXIS", f"{2147483647:>20}"))
    path.write_bytes(fuzz._put(content, 0, fuzz._image("XTENSION", "'BINTABLE'")) if table else content)
    with pytest.raises(FrameError, match="2147483647 is not a number of axes"):
        storage.read_header(path)
    assert "odd.fits" not in ccdnight.FrameCollection(tmp_path).summary["file"]


@pytest.mark.parametrize(
    ("key", "value"), [("PCOUNT", "1E400"), ("GCOUNT", "1E400"), ("PCOUNT", "'x'"), ("GCOUNT", "-1")]
)
def test_counts_that_are_none(fuzz, tmp_path, key, value):
    """Found by the fuzzer: an infinite PCOUNT ended the frame table of the whole night."""
    content = fuzz.write_good(tmp_path)[-1]
    (tmp_path / "odd.fits").write_bytes(fuzz._insert(content, fuzz._image(key, value)))
    with pytest.raises(FrameError, match="not all lengths"):
        storage.read_header(tmp_path / "odd.fits")
    assert len(ccdnight.FrameCollection(tmp_path).frames) == len(fuzz.GOOD) + 1


def test_a_summary_with_an_axis_that_is_text(fuzz, tmp_path):
    """Found by the fuzzer: astropy multiplies text by the other length, which takes all the memory there is."""
    content = fuzz.write_good(tmp_path)[-1]
    for key, value in (("NAXIS1", "'x       '"), ("NAXIS2", f"{9 * 10**18:>20}")):
        content = fuzz._put(content, content.find(f"{key:<8}=".encode()), fuzz._image(key, value))
    (tmp_path / "odd.fits").write_bytes(content)
    assert "odd.fits" not in ccdnight.FrameCollection(tmp_path).summary["file"]


def test_axes_out_of_order_in_a_gzip_file(fuzz, tmp_path):
    """Found by the fuzzer: astropy read pixels of another shape than the header says, and the flags did not fit."""
    import gzip
    from dataclasses import replace

    path = tmp_path / "odd.fits.gz"
    path.write_bytes(gzip.compress(fuzz.write_good(tmp_path)[-1]))
    raw = replace(storage.read_header(path), shape=(12, 32))
    with pytest.raises(FrameError, match="its pixels have shape"):
        storage.read_pixels(path, raw=raw)


def test_a_summary_where_simple_is_a_number(fuzz, tmp_path):
    """Compressed, so that astropy does not look at the first bytes itself; it asked for a size that was not there."""
    good = fuzz.write_good(tmp_path)[-1]
    garbled = b"SIMPLE  = -0.0".ljust(80) + b"BITPIXX =".ljust(80) + good[160:]
    (tmp_path / "odd.fits.gz").write_bytes(gzip.compress(garbled))
    with pytest.raises(AttributeError):
        fits.getheader(tmp_path / "odd.fits.gz", 0)
    assert "odd.fits.gz" not in ccdnight.FrameCollection(tmp_path).summary["file"]
    with pytest.raises(FrameError, match="holds no HDU 'SCI'"):
        hdu_number(tmp_path / "odd.fits.gz", "SCI")


def test_a_number_of_axes_that_stands_twice(fuzz, tmp_path):
    """The second one is what astropy counts up to, for ever."""
    good = fuzz.write_good(tmp_path)[-1]
    end = next(i for i in range(0, len(good), 80) if good[i : i + 8] == b"END     ")
    card = b"NAXIS   = 99999999999999999999".ljust(80)
    twice = tmp_path / "twice.fits"
    twice.write_bytes(good[:end] + card + b"END".ljust(80) + good[end + 160 :])
    with pytest.raises(FrameError, match=r"NAXIS = 9+ is not a number of axes"):
        storage.read_header(twice)
    with pytest.raises(FrameError, match=r"NAXIS = 9+ is not a number of axes"):
        ccdnight.read_frame(twice)
