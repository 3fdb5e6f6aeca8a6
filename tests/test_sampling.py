"""Level, scatter, overscan and saturation of every frame, from a few strips of rows."""

import numpy as np
import pytest
from astropy.io import fits
from builders import (
    all_nan,
    all_zero,
    arcsat_night,
    get_sensor,
    lfc_night,
    make_frame,
    nickel_night,
    plain_night,
    replace_pixels,
    text_file,
    truncate,
)

from ccdnight import storage
from ccdnight.frames import FrameCollection
from ccdnight.sampling import SAMPLE_COLUMNS, overscan_moves_with_rows


def small_lfc_night(folder):
    return lfc_night(folder, rows=64)


def sample(folder, name, **options):
    (row,) = [row for row in FrameCollection(folder, **options).measure() if row["path"] == name]
    return row


def raw_like(path, pixels):
    """Give a frame of whole numbers other pixels."""
    return replace_pixels(path, np.clip(np.rint(pixels), 0, 65535).astype("u2"))


def sections_to_toml(sensor):
    """A profile of all amplifiers of a camera whose headers name them by numbers."""
    lines = ['format = 1\nname = "twin"\n[match]\nINSTRUME = "TwoAmp"\n']
    rows = sensor.shape[0]
    for number, item in enumerate(sensor.amplifiers, start=1):
        sections = [f"[{part.start + 1}:{part.stop},1:{rows}]" for part in (item.data, item.overscan)]
        lines.append(f'[[amplifiers]]\nname = "{number}"\nshape = [{rows}, {sensor.shape[1]}]')
        lines.append(f'data = "{sections[0]}"\noverscan = "{sections[1]}"\noverscan_skip = 4\ngain = {item.gain}\n')
    return "\n".join(lines)


# -- levels and scatter ------------------------------------------------------------------------------------


@pytest.mark.parametrize("night", [plain_night, nickel_night, arcsat_night, small_lfc_night])
def test_levels_and_scatter_are_true(tmp_path, night):
    truth = night(tmp_path)
    table = FrameCollection(tmp_path).measure()
    assert table.colnames == list(SAMPLE_COLUMNS)
    assert sorted(table["path"].tolist()) == sorted(truth.paths())
    assert set(table["problem"]) == {""}
    read_noise = truth.read_noise / truth.gain
    for row in table:
        frame = truth.frame(row["path"])
        expected = np.median((truth.bias(frame.path) + truth.dark * frame.dark_time)[truth.data])
        if frame.kind in {"bias", "dark"}:
            # Noise moves the median of the LFC's bias a little up its gradient.
            assert row["level"] == pytest.approx(expected, abs=2 if night is small_lfc_night else 1)
            # A dark's own noise, and what its pixels differ by, come on top.
            assert 0.9 * read_noise < row["scatter"] < (1.1 if frame.kind == "bias" else 1.5) * read_noise
        else:
            signal = np.median(truth.scene(frame.path)[truth.data]) / truth.gain
            assert row["level"] - expected == pytest.approx(signal, rel=0.06, abs=3)
            assert row["scatter"] > read_noise
        assert row["saturated"] < 0.01
        assert row["span"] > row["scatter"]


@pytest.mark.parametrize("night", [nickel_night, small_lfc_night])
def test_the_overscan_is_the_pedestal(tmp_path, night):
    truth = night(tmp_path)
    for row in FrameCollection(tmp_path).measure():
        assert row["overscan"] == pytest.approx(truth.frame(row["path"]).pedestal, abs=1.5)


@pytest.mark.parametrize("instrument", ["plain", "aspen", "arcsat"])
def test_no_usable_overscan(tmp_path, instrument):
    make_frame(tmp_path / "a.fits", instrument=instrument)
    assert np.isnan(sample(tmp_path, "a.fits")["overscan"])


def test_many_rows_are_sampled_in_strips(tmp_path, monkeypatch):
    """All of them count, and only a part of the file is read."""
    pixels = np.full((1000, 40), 500.0) + np.random.default_rng(1).normal(0, 5, (1000, 40))
    pixels[:300] += 1000
    make_frame(tmp_path / "a.fits", shape=pixels.shape)
    raw_like(tmp_path / "a.fits", pixels)
    read, reader = [], storage.read_pixels

    def counting(path, **options):
        part = reader(path, **options)
        read.append(part.size)
        return part

    monkeypatch.setattr(storage, "read_pixels", counting)
    row = sample(tmp_path, "a.fits")
    assert row["level"] == pytest.approx(500, abs=5)
    assert row["span"] > 1000
    assert 0 < sum(read) < pixels.size / 5


def test_a_window_of_few_rows_is_not_missed(tmp_path):
    pixels = np.full((1000, 40), 500.0) + np.random.default_rng(1).normal(0, 5, (1000, 40))
    pixels[300:320] += 1000
    make_frame(tmp_path / "a.fits", shape=pixels.shape, header={"DATASEC": "[1:40,301:320]"})
    raw_like(tmp_path / "a.fits", pixels)
    assert sample(tmp_path, "a.fits")["level"] == pytest.approx(1500, abs=3)


@pytest.mark.parametrize("suffix", [".gz", ".fz"])
def test_compressed_frames(tmp_path, suffix):
    make_frame(tmp_path / "a.fits", kind="flat", shape=(200, 50))
    with fits.open(tmp_path / "a.fits") as hdus:
        if suffix == ".fz":
            fits.CompImageHDU(hdus[0].data, hdus[0].header).writeto(tmp_path / "a.fits.fz")
        else:
            hdus.writeto(tmp_path / "a.fits.gz")
    plain, packed = sample(tmp_path, "a.fits"), sample(tmp_path, "a.fits" + suffix)
    assert packed["level"] == pytest.approx(plain["level"], rel=0.01)
    assert packed["scatter"] == pytest.approx(plain["scatter"], rel=0.1)


@pytest.mark.parametrize(("instrument", "limit"), [("plain", 65535), ("lfc", 59100)])
def test_the_saturated_part(tmp_path, instrument, limit):
    path = make_frame(tmp_path / "a.fits", instrument=instrument, kind="flat", rows=100)
    pixels = fits.getdata(path)
    pixels[:25] = limit
    replace_pixels(path, pixels)
    assert sample(tmp_path, "a.fits")["saturated"] == pytest.approx(0.25)
    replace_pixels(path, np.where(pixels == limit, limit - 1, pixels))
    assert sample(tmp_path, "a.fits")["saturated"] == 0


def test_stars_do_not_raise_level_or_scatter(tmp_path):
    make_frame(tmp_path / "a.fits", kind="science", level=100, stars=0)
    make_frame(tmp_path / "b.fits", kind="science", level=100, stars=6, hits=30)
    empty, full = sample(tmp_path, "a.fits"), sample(tmp_path, "b.fits")
    assert full["level"] == pytest.approx(empty["level"], abs=5)
    assert full["scatter"] == pytest.approx(empty["scatter"], rel=0.25)
    assert full["span"] > 5 * empty["span"]


def test_amplifiers_of_unequal_level(tmp_path):
    """The level of two is their mean: the median of all pixels would be anywhere between them."""
    sensor = get_sensor("twoamp", 0, (64, 168), 1, 0)
    (tmp_path / "twin.toml").write_text(sections_to_toml(sensor))
    rng, expected = np.random.default_rng(5), []
    for number in range(4):
        path = make_frame(tmp_path / f"a{number}.fits", instrument="twoamp")
        pixels = rng.normal(1000, 5, (64, 168))
        for item, level in zip(sensor.amplifiers, (1000, 1400), strict=True):
            pixels[:, item.data] += level - 1000 + number
            pixels[:, item.overscan] += level - 1000
        raw_like(path, pixels)
        expected.append(1200 + number)
    table = FrameCollection(tmp_path, profile=tmp_path / "twin.toml").measure()
    np.testing.assert_allclose(table["level"], expected, atol=1)
    np.testing.assert_allclose(table["overscan"], 1200, atol=1)
    np.testing.assert_allclose(table["scatter"], 5, rtol=0.1)


# -- frames that cannot be sampled -------------------------------------------------------------------------


def test_frames_that_cannot_be_sampled(tmp_path):
    make_frame(tmp_path / "good.fits")
    text_file(tmp_path / "text.fits")
    make_frame(tmp_path / "chip.fits", instrument="lfc", rows=16, header={"CHIPID": 9})
    table = FrameCollection(tmp_path, profile="lfc").measure()
    problems = dict(zip(table["path"].tolist(), table["problem"].tolist(), strict=True))
    assert "detector ''; profile 'lfc' knows 0, 1, 2" in problems["good.fits"]
    assert "detector '9'; profile 'lfc' knows 0, 1, 2" in problems["chip.fits"]
    assert "not a FITS file" in problems["text.fits"]
    assert np.isnan(table["level"]).all()
    assert sample(tmp_path, "good.fits", profile="generic")["level"] == pytest.approx(1000, abs=2)


def test_a_damaged_gzip_file(tmp_path):
    truncate(make_frame(tmp_path / "a.fits.gz"), -3000)
    row = sample(tmp_path, "a.fits.gz")
    assert np.isnan(row["level"])
    assert row["problem"].startswith("its pixels cannot be read")


def test_pixels_without_values(tmp_path):
    all_nan(make_frame(tmp_path / "nan.fits"))
    all_zero(make_frame(tmp_path / "zero.fits"))
    path = make_frame(tmp_path / "some.fits", dtype="float32")
    pixels = fits.getdata(path).copy()
    pixels[::3, ::2] = np.nan
    replace_pixels(path, pixels.astype("f4"))
    nothing, zero, some = (sample(tmp_path, name) for name in ("nan.fits", "zero.fits", "some.fits"))
    assert all(np.isnan(nothing[name]) for name in ("level", "scatter", "saturated", "span"))
    assert (zero["level"], zero["scatter"], zero["span"]) == (0, 0, 0)
    assert some["level"] == pytest.approx(1000, abs=2)
    assert some["scatter"] == pytest.approx(5, rel=0.1)


def test_notes_on_sections(tmp_path):
    make_frame(tmp_path / "a.fits", instrument="lfc", rows=32)
    assert "overscan [2049:2080,1:31] is meant to lie beside all of the data" in sample(tmp_path, "a.fits")["note"]


def test_the_table_is_made_once(tmp_path, monkeypatch):
    make_frame(tmp_path / "a.fits")
    collection = FrameCollection(tmp_path)
    table = collection.measure()
    monkeypatch.setattr(storage, "read_pixels", None)
    assert collection.measure() is table


# -- rows of the overscan ----------------------------------------------------------------------------------


def biases(folder, *, shared=0.0, own=0.0, pattern=0.0, wave=0.0, count=4, shape=(256, 288)):
    """
    Biases of the Nickel with row noise in adu.

    `shared` is in image and overscan alike, `own` in the overscan alone, `pattern` in both and the same in every
    frame, `wave` a slow one along the rows.
    """
    rng = np.random.default_rng(7)
    same = rng.normal(0, 1, shape[0]) * pattern
    for number in range(count):
        path = make_frame(folder / f"d{number}.fits", instrument="nickel", object="bias", shape=shape)
        rows = rng.normal(0, 1, shape[0]) * shared + same
        rows += wave * np.sin(np.arange(shape[0]) / 60 + number)
        pixels = 1000 + rng.normal(0, 5, shape) + rows[:, None]
        pixels[:, -32:] += rng.normal(0, 1, (shape[0], 1)) * own
        raw_like(path, pixels)
    collection = FrameCollection(folder)
    assert set(collection.frames["kind"]) == {"bias"}
    return overscan_moves_with_rows(collection, collection.files)


def test_rows_that_move_together(tmp_path):
    correlation, overscan, image = biases(tmp_path, shared=4)
    assert correlation > 0.9
    # Freed from the mean of four frames, three quarters of the variance are left.
    expected = 4 * np.sqrt(3 / 4)
    assert (overscan, image) == pytest.approx((expected, expected), rel=0.15)


@pytest.mark.parametrize(
    "noise", [{}, {"own": 3}, {"pattern": 5}, {"own": 2, "pattern": 3}, {"wave": 10}], ids="+".join
)
def test_rows_that_do_not_move_together(tmp_path, noise):
    """Neither noise of the overscan alone, nor what all biases have alike, nor a slow wave counts as moving."""
    correlation, overscan, image = biases(tmp_path, **noise)
    assert abs(correlation) < 0.2
    assert overscan > image
    if "own" in noise:
        assert overscan == pytest.approx(np.hypot(noise["own"], 5 / np.sqrt(24)) * np.sqrt(3 / 4), rel=0.15)


def test_cosmic_rays_do_not_make_rows_move(tmp_path):
    shape, rng = (256, 288), np.random.default_rng(3)
    for number in range(3):
        path = make_frame(tmp_path / f"d{number}.fits", instrument="nickel", shape=shape)
        pixels = rng.normal(1000, 5, shape)
        for row in rng.integers(0, 256, 40):
            pixels[row, [100, 280]] += 20000
        raw_like(path, pixels)
    collection = FrameCollection(tmp_path)
    correlation, overscan, image = overscan_moves_with_rows(collection, collection.files)
    assert abs(correlation) < 0.2
    assert overscan < 2
    assert image < 1


@pytest.mark.parametrize("instrument", ["plain", "aspen"])
def test_rows_without_overscan(tmp_path, instrument):
    for number in range(3):
        make_frame(tmp_path / f"{number}.fits", instrument=instrument)
    collection = FrameCollection(tmp_path)
    assert np.isnan(overscan_moves_with_rows(collection, collection.files)).all()


def test_rows_of_too_few_or_bad_frames(tmp_path):
    make_frame(tmp_path / "a.fits", instrument="nickel")
    make_frame(tmp_path / "b.fits", instrument="nickel", shape=(64, 96))
    text_file(tmp_path / "c.fits")
    collection = FrameCollection(tmp_path)
    assert np.isnan(overscan_moves_with_rows(collection, collection.files)).all()
    make_frame(tmp_path / "d.fits", instrument="nickel")
    collection.refresh()
    assert np.isfinite(overscan_moves_with_rows(collection, collection.files)).all()
