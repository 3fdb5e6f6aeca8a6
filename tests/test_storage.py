"""The door to the disk: what is read is checked, what is written is whole, and one run holds a folder."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from builders import garble_card, make_frame, text_file, truncate

from ccdnight import storage
from ccdnight.exceptions import FrameError, OutputError, OutputLockedError

PIXELS = np.arange(600, dtype="u2").reshape(20, 30) * 109


@pytest.fixture
def frame(tmp_path):
    """A plain frame of uint16."""
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(PIXELS).writeto(path)
    return path


def header_text(*cards, structure=("BITPIX  = 16", "NAXIS   = 0")):
    """A header block with these cards, byte for byte."""
    text = "".join(card.ljust(80) for card in ["SIMPLE  =                    T", *structure, *cards, "END"])
    return text.ljust(-(-len(text) // 2880) * 2880)


class TestReading:
    """Headers and pixels."""

    @pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "f4", "f8", "u1"])
    @pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz"])
    def test_every_pixel_type_in_every_form(self, tmp_path, dtype, suffix):
        """Values are exact, in the machine's byte order, and wide types are not narrowed."""
        pixels = (PIXELS // 300 if dtype == "u1" else PIXELS // 2 if dtype == "i2" else PIXELS).astype(dtype)
        if dtype == "i4":
            pixels += 2**24 + 1
        path = tmp_path / f"frame{suffix}"
        if suffix.endswith("fz"):
            hdu = fits.CompImageHDU(pixels, compression_type="GZIP_2", quantize_level=0)
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
        else:
            fits.PrimaryHDU(pixels).writeto(path)
        raw = storage.read_header(path)
        assert raw.shape == (20, 30)
        assert raw.compressed == (suffix != ".fits")
        assert (raw.header["NAXIS1"], raw.header["NAXIS2"], raw.header["NAXIS"]) == (30, 20, 2)
        assert raw.header["BITPIX"] == {"u1": 8, "u2": 16, "i2": 16, "i4": 32, "f4": -32, "f8": -64}[dtype]
        data = storage.read_pixels(path)
        assert data.dtype == (np.float64 if dtype in {"i4", "f8"} else np.float32)
        assert data.dtype.isnative
        np.testing.assert_array_equal(data, pixels)
        part = storage.read_pixels(path, raw=raw, rows=slice(3, 9), columns=slice(20, 30))
        np.testing.assert_array_equal(part, pixels[3:9, 20:30])

    def test_scaled_integers_and_blanks(self, tmp_path):
        """BSCALE and BZERO need not be whole numbers; BLANK is no value."""
        path = tmp_path / "scaled.fits"
        cards = ("BSCALE  = 0.5", "BZERO   = 10.25", "BLANK   = -5")
        structure = ("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 1")
        values = np.array([-5, 0, 7], ">i2").tobytes().ljust(2880, b"\0")
        path.write_bytes(header_text(*cards, structure=structure).encode() + values)
        np.testing.assert_array_equal(storage.read_pixels(path), [[np.nan, 10.25, 13.75]])
        np.testing.assert_array_equal(storage.read_pixels(path, rows=slice(0, 1)), [[np.nan, 10.25, 13.75]])

    @pytest.mark.parametrize("size", [0, 10, 79, 2000, 2880, 2881, 4000, 4079])
    def test_truncated_anywhere(self, frame, size):
        """Before any pixel is asked for, and naming the file."""
        truncate(frame, size)
        with pytest.raises(FrameError, match=r"frame\.fits: (is empty|truncated)") as caught:
            storage.read_header(frame)
        assert caught.value.remedy

    @pytest.mark.parametrize("size", [4080, 4100, 5759])
    def test_missing_padding_is_no_loss(self, frame, size):
        truncate(frame, size)
        np.testing.assert_array_equal(storage.read_pixels(frame), PIXELS)

    def test_a_text_file(self, tmp_path):
        with pytest.raises(FrameError, match="not a FITS file: it begins with b'This is '"):
            storage.read_header(text_file(tmp_path / "notes.fits"))

    @pytest.mark.parametrize("keep", [1, 5, 20, 300, -60])
    def test_truncated_gzip(self, frame, keep):
        noise = np.random.default_rng(1).integers(0, 65535, (60, 60)).astype("u2")
        fits.PrimaryHDU(noise).writeto(frame, overwrite=True)
        frame.write_bytes(gzip.compress(frame.read_bytes())[:keep])
        with pytest.raises(FrameError, match=r"frame\.fits"):
            storage.read_pixels(frame)

    @pytest.mark.parametrize("packed", [True, False])
    def test_gzip_of_anything_else(self, tmp_path, packed):
        noise = np.random.default_rng(1).bytes(9999)
        path = tmp_path / "noise.fits.gz"
        path.write_bytes(gzip.compress(noise) if packed else b"\x1f\x8b" + noise)
        with pytest.raises(FrameError, match="not a FITS file" if packed else "damaged gzip file"):
            storage.read_header(path)

    @pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
    @pytest.mark.parametrize(
        ("card", "words"),
        [
            ("NAXIS1  =           1000000000", r"claims \(1000000000, 20\) pixels|truncated"),
            ("NAXIS1  =                   -5", "lengths of axes"),
            ("NAXIS1  =                   3O", "cannot be read"),
            ("NAXIS1  =                 '30'", "lengths of axes"),
            ("NAXIS1  =                 30.0", "lengths of axes"),
            ("NAXIS1  =                    0", "none of length 0"),
            ("NAXIS   =                   -1", "number of axes"),
            ("NAXIS   =                  'x'", "number of axes"),
            ("NAXIS   =                    3", "a frame has two"),
            ("NAXIS   =                    1", "no two-dimensional image"),
            ("BITPIX  =                   17", "BITPIX = 17; allowed are 8"),
            ("BITPIX  =                  'x'", "BITPIX = 'x'"),
            ("BITPIX  =                  -64", "truncated|pixels cannot be read"),
            ("END     ", "holds no|BITPIX|number"),
        ],
    )
    def test_a_header_that_lies(self, tmp_path, suffix, card, words):
        """Refused in words before memory is taken for it."""
        path = tmp_path / f"frame{suffix}"
        fits.PrimaryHDU(PIXELS).writeto(tmp_path / "plain.fits")
        if card.startswith("END"):
            content = (tmp_path / "plain.fits").read_bytes()
            place = content.find(b"NAXIS1")
            content = content[:place] + card.ljust(80).encode() + content[place + 80 :]
            words = "none of length 0"
        else:
            content = garble_card(tmp_path / "plain.fits", card[:8].strip(), card).read_bytes()
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
        with pytest.raises(FrameError, match=words):
            storage.read_pixels(path)

    def test_a_bomb_that_gzip_hides(self, tmp_path):
        """A claim of 8 GB in a file of a few kB is held against what the stream gives."""
        path = tmp_path / "bomb.fits.gz"
        structure = ("BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 40000", "NAXIS2  = 50000")
        path.write_bytes(gzip.compress(header_text(structure=structure).encode() + bytes(2880)))
        with pytest.raises(FrameError, match="would unpack to 8000000000 bytes"):
            storage.read_pixels(path)

    def test_no_end(self, frame):
        content = frame.read_bytes()
        frame.write_bytes(content.replace(b"END" + b" " * 77, b"FIN" + b" " * 77, 1))
        with pytest.raises(FrameError, match="no END card"):
            storage.read_header(frame)
        frame.write_bytes(b"SIMPLE  =                    T".ljust(80) + b" " * 2880 * 1001)
        with pytest.raises(FrameError, match="no END card within 1000 blocks"):
            storage.read_header(frame)

    @pytest.mark.parametrize("rubbish", [b"\0", b"X", b"\xff"])
    def test_rubbish_behind_end_is_passed_over(self, frame, rubbish):
        """The standard asks for blanks there; some cameras leave what was in memory."""
        content = frame.read_bytes()
        end = content.find(b"END" + b" " * 77) + 80
        frame.write_bytes(content[:end] + rubbish * (2880 - end) + content[2880:])
        assert "XXX" not in storage.read_header(frame).header.tostring()
        np.testing.assert_array_equal(storage.read_pixels(frame), PIXELS)

    @pytest.mark.parametrize(
        "card", ["a line that somebody typed", "OBSERVER= 'Jos\xe9'", "TEMP    = '-20 \xb0C'", "X       =5"]
    )
    def test_cards_that_break_the_rules(self, frame, card):
        """They cost neither the frame nor a warning."""
        content = frame.read_bytes()
        place = content.find(b"END" + b" " * 77)
        content = content[:place] + card.ljust(80).encode("latin-1") + content[place : place + 2800 - place]
        frame.write_bytes(content.ljust(2880) + frame.read_bytes()[2880:])
        header, _ = storage.clean_header(storage.read_header(frame).header)
        assert len(header) == 9
        np.testing.assert_array_equal(storage.read_pixels(frame), PIXELS)

    def test_an_image_in_an_extension(self, tmp_path):
        """The first two-dimensional image is taken; what only the primary header says is added to it."""
        path = tmp_path / "mef.fits"
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
        hdus = fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(PIXELS), fits.ImageHDU(PIXELS[:5])])
        hdus[0].header["EXPTIME"], hdus[0].header["OBJECT"] = 5.0, "primary"
        hdus[2].header["OBJECT"] = "image"
        hdus[0].header["HISTORY"] = "primary"
        hdus.writeto(path)
        raw = storage.read_header(path)
        assert (raw.hdu, raw.shape) == (2, (20, 30))
        assert (raw.header["EXPTIME"], raw.header["OBJECT"], raw.header["NAXIS1"]) == (5.0, "image", 30)
        assert "SIMPLE" not in raw.header
        np.testing.assert_array_equal(storage.read_pixels(path), PIXELS)
        assert storage.read_header(path, hdu=3).shape == (5, 30)
        with pytest.raises(FrameError, match="no HDU 4 in its 4 HDU"):
            storage.read_header(path, hdu=4)
        with pytest.raises(FrameError, match="a frame has two"):
            storage.read_header(path, hdu=1)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"NAXIS1  =                    4", b"NAXIS1  =                  'x'"),
            (b"XTENSION= 'BINTABLE'", b"XTENSION=          5 "),
            (b"PCOUNT  =                    0", b"PCOUNT  =            -99999999"),
        ],
    )
    def test_a_damaged_table_before_the_image(self, tmp_path, old, new):
        path = tmp_path / "mef.fits"
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
        fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(PIXELS)]).writeto(path)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new.ljust(len(old))[: max(len(old), len(new))], 1)[: len(content)])
        with pytest.raises(FrameError, match=r"mef\.fits"):
            storage.read_header(path)

    @pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
    def test_a_cube_of_one_plane_is_a_frame(self, tmp_path, suffix):
        path = tmp_path / f"cube{suffix}"
        fits.PrimaryHDU(PIXELS[None]).writeto(path)
        assert storage.read_header(path).shape == (20, 30)
        np.testing.assert_array_equal(storage.read_pixels(path, rows=slice(2, 4)), PIXELS[2:4])

    def test_a_damaged_tile(self, tmp_path):
        """Whatever the decompression raises is told as the file's fault."""
        path = tmp_path / "tiles.fits.fz"
        noise = np.random.default_rng(2).integers(0, 60000, (100, 120)).astype("u2")
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise)]).writeto(path)
        content = bytearray(path.read_bytes())
        content[8640 + 900 : 8640 + 1500] = b"\xa5" * 600
        path.write_bytes(bytes(content))
        with pytest.raises(FrameError, match="pixels cannot be read"):
            storage.read_pixels(path)
        truncate(path, 12000)
        with pytest.raises(FrameError, match="truncated"):
            storage.read_header(path)

    @pytest.mark.parametrize("kind", ["missing", "folder", "nothing behind the link"])
    def test_what_cannot_be_opened(self, tmp_path, kind):
        path = tmp_path / "a.fits"
        if kind == "folder":
            path.mkdir()
        elif kind != "missing":
            path.symlink_to(tmp_path / "gone.fits")
        with pytest.raises(FrameError, match=r"a\.fits: cannot be opened"):
            storage.read_header(path)

    def test_an_error_of_the_disk(self, frame, monkeypatch):
        """An input that the disk cannot give is a bad frame, not the end of the night."""

        def broken(*_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("ccdnight.storage.reading._scan", broken)
        with pytest.raises(FrameError, match="Input/output error"):
            storage.read_header(frame)


CARDS = [
    "EXPTIME = 1O.0",
    "FILTER  = 'i'      '            / Filter description",
    "NOTNUM  = NaN",
    "lower   = 5",
    "DATE.OBS= 'x'",
    "NOEQUAL 5",
    "UNDEF   =",
    "EMPTY   = ''",
    "OPEN    = 'unterminated",
    "HIERARCH ESO DET OUT1 GAIN = 1.5 / c",
    "COMMENT hi",
    "HISTORY = 5",
    "        blank keyword",
    "LONGS   = 'abc&'",
    "CPLX    = (1,2)",
    "BIG     = 123456789012345678901234567890",
    "TIGHT   =5",
    "QUOTED  = 'it''s / ok' / c",
    "TRASH   = 'abc' garbage / c",
    "/ slash",
    "TWICE   = 1",
    "TWICE   = 2",
    "KEY     = 'x'      /" + "c" * 60,
    "ALLBLANK",
    "FULL    = '" + "x" * 67 + "'",
    "COMMENT = 'abc'",
]


class TestHeaders:
    """Cards that break the rules."""

    @pytest.mark.parametrize("cards", [[card] for card in CARDS] + [CARDS], ids=lambda cards: cards[0][:12])
    @pytest.mark.filterwarnings("ignore:The following header keyword is invalid")
    def test_every_card_is_kept_and_can_be_written(self, cards):
        header = fits.Header.fromstring(header_text(*cards))
        clean, _ = storage.clean_header(header)
        assert len(clean) == len(header)
        assert list(clean.keys()) == list(header.keys())
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(header=clean)]).writeto(stream, output_verify="exception")
        stream.seek(0)
        with fits.open(stream) as hdus:
            read = hdus[0].header
            for card in clean.cards[3:]:
                assert card.keyword in read or card.keyword == ""
            for card in read.cards:
                assert card.value is not None
        again, problems = storage.clean_header(clean)
        assert problems == []
        assert again.tostring() == clean.tostring()

    @pytest.mark.parametrize(
        ("card", "value", "told"),
        [
            ("EXPTIME = 1O.0 / s", "1O.0", True),
            ("EXPTIME = NaN", "NaN", True),
            ("EXPTIME = 10.0 / s", 10.0, False),
            ("EXPTIME =", None, False),
            ("EXPTIME = 'i'      '            / Filter", "i'", False),
            ("OTHER   = 5", None, False),
        ],
    )
    def test_value_of_a_card(self, card, value, told):
        """An unreadable card gives its text, a missing or empty one the default."""
        header = fits.Header.fromstring(header_text(card))
        assert storage.card_value(header, "EXPTIME") == value
        assert storage.card_value(header, "EXPTIME", -1) == (-1 if value is None else value)
        clean, problems = storage.clean_header(header)
        assert storage.card_value(clean, "EXPTIME") == value
        assert problems == ([f"card EXPTIME cannot be read: {value!r}"] if told else [])

    def test_value_of_a_plain_mapping(self):
        assert storage.card_value({"GAIN": 2}, "GAIN") == 2
        assert storage.card_value({}, "GAIN", 1.0) == 1.0

    def test_the_header_stays_as_it_is(self):
        header = fits.Header.fromstring(header_text(CARDS[0], CARDS[1]))
        before = [card._image for card in header.cards]
        storage.clean_header(header)
        assert [card._image for card in header.cards] == before


class TestNames:
    """Which files are looked at, and what they are called afterwards."""

    def test_find_fits(self, tmp_path):
        wanted = ["a.FITS", "b.fit", "c.fts.GZ", "d.fits.fz", "sub/a.fits", "sub/deep/x.Fit", "z.fits"]
        others = [".hidden.fits", ".git/x.fits", "notes.txt", "a.fits.txt", "fits", "x.gz", "a.fits.bz2"]
        finished = ["out/night.ecsv", "out/run.json", "out/science/a.fits"]
        finished += ["old/night.ecsv", "old/plan.toml", "old/b.fits"]
        killed = ["killed/.ccdnight.lock", "killed/masters/bias.fits"]
        alike = ["table/night.ecsv", "table/x.fits"]
        for name in wanted + others + finished + killed + alike:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        (tmp_path / "link").symlink_to(tmp_path / "sub")
        assert storage.find_fits(tmp_path) == sorted([*wanted, "table/x.fits"])
        assert storage.find_fits(tmp_path / "out") == []
        assert storage.find_fits(str(tmp_path / "sub")) == ["a.fits", "deep/x.Fit"]

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("i'", "i"),
            ("H-Alpha", "H-Alpha"),
            ("SDSS g", "SDSS_g"),
            ("../../etc/passwd", "etc_passwd"),
            ("..", "none"),
            ("", "none"),
            ("   ", "none"),
            ("a\0b", "a_b"),
            ("a/b\\c:d", "a_b_c_d"),
            ("[O III]", "O_III"),
            ("\u03b1", "none"),
            ("<script>", "script"),
            (".hidden", "hidden"),
            (5, "5"),
            ("x" * 300, "x" * 60),
            ("Bessel-R+", "Bessel-R+"),
        ],
    )
    def test_safe_name(self, text, name):
        assert storage.safe_name(text) == name

    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("ccd.037.0.fits", "ccd.037.0.fits"),
            ("Bias-S001.fit", "Bias-S001.fits"),
            ("sub/deep/A.FITS.GZ", "sub/deep/A.fits"),
            ("a.fts.fz", "a.fits"),
            ("a.Fits", "a.fits"),
            ("../../x.fits", "x.fits"),
            ("/abs/x.fits", "abs/x.fits"),
            ("./x.fits", "x.fits"),
            ("it's.fits", "it's.fits"),
            ("x.dat", "x.dat.fits"),
            ("x.fits.fits", "x.fits.fits"),
            ("n" * 240 + ".fit", "n" * 240 + ".fits"),
        ],
    )
    def test_product_name(self, path, name):
        assert storage.product_name(path) == name


def leftovers(folder):
    return [path.name for path in Path(folder).rglob("*") if path.name.startswith(".")]


class TestWriting:
    """A file is whole or not there."""

    def test_bytes_text_and_folders(self, tmp_path):
        path = tmp_path / "deep" / "er" / "x.txt"
        storage.write_text(path, "\u00b1 1\n")
        assert path.read_bytes() == b"\xc2\xb1 1\n"
        storage.write_bytes(path, b"new")
        assert path.read_bytes() == b"new"
        assert leftovers(tmp_path) == []

    def test_a_name_that_is_no_unicode_can_be_told_of(self, tmp_path):
        """Linux allows any bytes in a file's name."""
        storage.write_text(tmp_path / "x.txt", os.fsdecode(b"\xff.fits"))
        assert (tmp_path / "x.txt").read_text("utf-8") == "\\udcff.fits"

    @pytest.mark.parametrize("name", ["n" * 250 + ".fits", "\u4e16" * 80 + ".fits", "it's a <name>.fits"])
    def test_names_as_long_as_the_system_allows(self, tmp_path, name):
        """The temporary name is no longer than the final one."""
        storage.write_bytes(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"

    @pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.fdopen"])
    def test_a_full_disk_keeps_the_old_file(self, tmp_path, monkeypatch, call):
        path = tmp_path / "x.fits"
        storage.write_bytes(path, b"old")

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(call, full)
        with pytest.raises(OutputError, match=r"x.fits: cannot be written: no space is left on the disk"):
            storage.write_fits(path, fits.HDUList([fits.PrimaryHDU(PIXELS)]))
        monkeypatch.undo()
        assert path.read_bytes() == b"old"
        assert leftovers(tmp_path) == []

    def test_an_interrupt_keeps_the_old_file(self, tmp_path):
        path = tmp_path / "x.txt"
        storage.write_bytes(path, b"old")

        def interrupted(stream):
            stream.write(b"half of the new")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            storage.write_bytes(path, interrupted)
        assert path.read_bytes() == b"old"
        assert leftovers(tmp_path) == []

    def test_a_file_in_the_way_of_a_folder(self, tmp_path):
        (tmp_path / "out").write_bytes(b"")
        with pytest.raises(OutputError, match="cannot be written"):
            storage.write_bytes(tmp_path / "out" / "x.fits", b"")
        with pytest.raises(OutputError, match="a file of this name is in the way"):
            storage.make_folder(tmp_path / "out")

    def test_equal_content_gives_equal_bytes(self, tmp_path, monkeypatch):
        """At any time, and every checksum is right."""
        for name, clock in (("a", "2001-01-01T00:00:00"), ("b", "2031-01-01T00:00:00")):
            monkeypatch.setattr("astropy.io.fits.hdu.base._ValidHDU._get_timestamp", lambda self, c=clock: c)
            table = fits.BinTableHDU.from_columns([fits.Column("a", "5A", array=["x"])])
            hdus = fits.HDUList([fits.PrimaryHDU(PIXELS), fits.ImageHDU(PIXELS / 7), table])
            storage.write_fits(tmp_path / name, hdus)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        with fits.open(tmp_path / "a", checksum=True) as hdus:
            assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
            np.testing.assert_array_equal(hdus[0].data, PIXELS)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 5), (20, 36), (300, 257)])
    @pytest.mark.parametrize("table", [True, False])
    def test_products_are_written_as_astropy_writes_them(self, tmp_path, shape, table):
        """Byte for byte, whatever the shape, values that are not finite included."""
        rng = np.random.default_rng(1)
        data = rng.normal(0, 1e4, shape).astype(np.float32)
        data.flat[0] = np.nan

        def hdus():
            header = fits.Header([("OBJECT", "x'y", "with a quote"), ("HIERARCH LONG KEYWORD", 5), ("HISTORY", "old")])
            found = [fits.PrimaryHDU(data, header), fits.ImageHDU(-data, name="UNCERT")]
            found.append(fits.ImageHDU(rng.integers(0, 2**16, shape).astype(np.uint16), name="MASK"))
            found.append(fits.ImageHDU(rng.integers(0, 2**8, shape).astype(np.uint8), name="PLAIN"))
            found.append(fits.ImageHDU(data.astype(float) / 3, name="WIDE"))
            if table:
                found.append(fits.BinTableHDU.from_columns([fits.Column("a", "5A", array=["x", "yz"])]))
            return fits.HDUList(found)

        ours, theirs = hdus(), hdus()
        theirs[2].data, theirs[3].data = ours[2].data, ours[3].data
        digest = storage.write_fits(tmp_path / "ours", ours)
        for hdu in theirs:
            hdu.add_checksum(when="checksum of this HDU")
        theirs.writeto(tmp_path / "theirs")
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
        assert digest == hashlib.sha256((tmp_path / "ours").read_bytes()).hexdigest()
        np.testing.assert_array_equal(ours[0].data, data)

    @pytest.mark.parametrize("data", [PIXELS.astype("i2"), PIXELS.astype(">f4"), PIXELS.T / 7, None])
    def test_what_is_odd_is_left_to_astropy(self, tmp_path, data):
        digest = storage.write_fits(tmp_path / "x", fits.HDUList([fits.PrimaryHDU(data)]))
        assert digest == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
        with fits.open(tmp_path / "x", checksum=True) as hdus:
            assert {"CHECKSUM", "DATASUM"} <= set(hdus[0].header)
            if data is not None:
                np.testing.assert_array_equal(hdus[0].data, data)

    @pytest.mark.parametrize("begin", ["as it is", "unknown"])
    def test_what_is_written_in_pieces(self, tmp_path, monkeypatch, begin):
        """Many times what the disk is told to begin with, here and where it cannot be told; and back to the start."""
        if begin == "unknown":
            monkeypatch.setattr("ccdnight.storage.writing._begin_writing", lambda: None)
        pieces = np.random.default_rng(1).integers(0, 256, (40, 1_000_003), dtype=np.uint8)

        def write(stream):
            for piece in pieces:
                stream.write(piece)
            place = stream.tell()
            stream.seek(0)
            stream.write(b"first")
            return place

        assert storage.write_bytes(tmp_path / "x", write) == pieces.size
        assert (tmp_path / "x").read_bytes() == b"first" + pieces.tobytes()[5:]

    def test_permissions_follow_the_umask_and_leave_it(self, tmp_path):
        """Threads that write at the same time must not change it for one another."""
        old = os.umask(0o027)

        def write(number):
            for i in range(20):
                storage.write_bytes(tmp_path / f"{number}-{i}", b"")

        try:
            threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert os.umask(0o027) == 0o027
        finally:
            os.umask(old)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
        assert len(list(tmp_path.iterdir())) == 80


def ended_process():
    """Number of a process that is no longer there."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def take_often(folder, start, end, got, times):
    """Try to take a lock, and keep it until all have tried."""
    for _ in range(times):
        start.wait(60)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OutputLockedError):
                stack.enter_context(storage.OutputLock(folder))
                got.append(os.getpid())
            end.wait(60)
        end.wait(60)


class TestLock:
    """One run at a time."""

    @pytest.fixture
    def write_lock(self, tmp_path):
        def write(content):
            (tmp_path / storage.OutputLock.NAME).write_text(content)

        return write

    def test_taken_and_released(self, tmp_path):
        lock = storage.OutputLock(tmp_path / "new" / "out")
        with lock:
            holder = json.loads(lock.path.read_text())
            assert holder == {"host": socket.gethostname(), "pid": os.getpid()}
            with (
                pytest.raises(OutputLockedError, match=f"process {os.getpid()} on"),
                storage.OutputLock(tmp_path / "new" / "out"),
            ):
                pass
            assert lock.path.exists()
        assert not lock.path.exists()

    def test_released_on_an_error(self, tmp_path):
        with pytest.raises(ZeroDivisionError), storage.OutputLock(tmp_path):
            raise ZeroDivisionError
        assert leftovers(tmp_path) == []

    def test_of_a_dead_process_is_taken_over(self, tmp_path, write_lock):
        write_lock(json.dumps({"host": socket.gethostname(), "pid": ended_process()}))
        with storage.OutputLock(tmp_path) as lock:
            assert json.loads(lock.path.read_text())["pid"] == os.getpid()

    @pytest.mark.parametrize("pid", [0, -1, 10**30, "x", None, 1.5])
    def test_of_a_process_that_cannot_be_is_taken_over(self, tmp_path, write_lock, pid):
        write_lock(json.dumps({"host": socket.gethostname(), "pid": pid}))
        with storage.OutputLock(tmp_path):
            pass
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize("content", ['{"host": "elsewhere", "pid": 1}', "", "{", "[]", "5", '"x"', "\0\xff"])
    def test_of_another_host_or_unknown_is_respected(self, tmp_path, write_lock, content):
        """Whether a process of another machine lives cannot be known here; the words tell what to do."""
        write_lock(content)
        words = r"remove .*\.ccdnight\.lock if it is gone"
        with pytest.raises(OutputLockedError, match=words), storage.OutputLock(tmp_path):
            pass
        assert (tmp_path / storage.OutputLock.NAME).exists()

    def test_a_stale_one_is_taken_over_once(self, tmp_path, write_lock):
        """Four processes find the same dead holder at once, many times: one gets the lock."""
        dead = json.dumps({"host": socket.gethostname(), "pid": ended_process()})
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager:
            start, end, got = manager.Barrier(5), manager.Barrier(5), manager.list()
            runs = [context.Process(target=take_often, args=(tmp_path, start, end, got, 20)) for _ in range(4)]
            for run in runs:
                run.start()
            for number in range(20):
                write_lock(dead)
                start.wait(60)
                end.wait(60)
                assert len(got) == number + 1
                end.wait(60)
            for run in runs:
                run.join(60)

    def test_a_full_disk_leaves_no_lock_of_nobody(self, tmp_path, monkeypatch):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("json.dump", full)
        with pytest.raises(OutputError, match="no space"), storage.OutputLock(tmp_path):
            pass
        monkeypatch.undo()
        with storage.OutputLock(tmp_path):
            pass


def test_the_lfc_filter_card(tmp_path):
    """The card with the unescaped quote is read, kept, and written in a form that is right."""
    path = make_frame(tmp_path / "ccd.037.0.fits", kind="science", instrument="lfc", filter="i'", rows=32)
    raw = storage.read_header(path)
    assert storage.card_value(raw.header, "FILTER") == "i'"
    clean, _ = storage.clean_header(raw.header)
    assert clean.cards["FILTER"].image.startswith("FILTER  = 'i''")


@pytest.mark.parametrize("bits", [8, 16, 32, -32, -64])
@pytest.mark.parametrize("zero", [0, 32768, 5])
@pytest.mark.parametrize("blank", [None, 7])
def test_some_columns_are_those_of_the_whole(tmp_path, bits, zero, blank):
    dtype = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}[bits]
    values = np.random.default_rng(abs(bits)).integers(0, 120, (2500, 130)).astype(dtype)
    header = fits.Header({"SIMPLE": True, "BITPIX": bits, "NAXIS": 2, "NAXIS1": 130, "NAXIS2": 2500, "BZERO": zero})
    if blank is not None:
        header["BLANK"] = blank
    text = header.tostring().encode()
    padding = b"\0" * (-values.nbytes % 2880)
    (tmp_path / "a.fits").write_bytes(text + values.tobytes() + padding)
    raw = storage.read_header(tmp_path / "a.fits")
    whole = storage.read_pixels(tmp_path / "a.fits", raw=raw)
    assert np.isnan(whole).any() == (blank is not None and bits > 0)
    part = storage.read_pixels(tmp_path / "a.fits", raw=raw, rows=slice(3, 2400), columns=slice(100, 128))
    assert part.flags.c_contiguous
    assert part.dtype == whole.dtype
    assert np.array_equal(part, whole[3:2400, 100:128], equal_nan=True)


class TestWhatIsNoFrame:
    """Bombs, pipes, and what is the system's fault."""

    def test_a_bomb_that_keeps_its_promise(self, tmp_path):
        """Half a gigabyte of zeros in half a megabyte: no memory is taken for it."""
        structure = ("BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 25000", "NAXIS2  = 20000")
        path, piece = tmp_path / "bomb.fits.gz", bytes(5_000_000)
        with gzip.open(path, "wb", compresslevel=1) as stream:
            stream.write(header_text(structure=structure).encode())
            for _ in range(100):
                stream.write(piece)
        tracemalloc.start()
        try:
            with pytest.raises(FrameError, match="would unpack to 500000000 bytes"):
                storage.read_pixels(path)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.fits")
        with pytest.raises(FrameError, match="a pipe"):
            storage.read_header(tmp_path / "pipe.fits")

    def test_too_many_open_files_are_no_fault_of_a_frame(self, frame):
        """The run stops and can be continued; the frame is not set aside."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        raw = storage.read_header(frame)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            with pytest.raises(OutputError, match="raise the limit"):
                storage.read_header(frame)
            with pytest.raises(OutputError, match="raise the limit"):
                storage.read_pixels(frame, raw=raw)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class TestOutputFolder:
    """What is looked at before a run writes anything."""

    def test_links_that_lead_out_are_refused(self, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "science").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"science leads to .*elsewhere, out of the output folder"):
            storage.require_inside(tmp_path / "out", ["masters/bias.fits", "science/a.fits"])
        (tmp_path / "link").symlink_to(tmp_path / "out")
        storage.require_inside(tmp_path / "link", ["masters/bias.fits"])

    def test_room_on_the_disk(self, tmp_path):
        storage.require_space(tmp_path, 1000)
        with pytest.raises(OutputError, match=r"about 1e\+09 GB will be written, but only"):
            storage.require_space(tmp_path, 10**18)

    def test_what_a_killed_run_left_is_removed(self, tmp_path):
        (tmp_path / "science").mkdir()
        for name in (".a.fits.0123456789ab.part", "a.fits", ".mine.part"):
            (tmp_path / "science" / name).write_text("x")
        storage.remove_partial(tmp_path)
        assert sorted(path.name for path in (tmp_path / "science").iterdir()) == [".mine.part", "a.fits"]
