"""Small pictures of frames."""

import base64
import io

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from ccdnight import get_profile
from ccdnight.annotation import look_at
from ccdnight.overview import overview_of
from ccdnight.products import make_ccd
from ccdnight.thumbnails import draw, picture_of_file, picture_of_master, pictures_of_science, pixels_of_pictures


def gray(picture):
    """Gray levels of a picture, its first row at the bottom as in a frame."""
    image = Image.open(io.BytesIO(base64.b64decode(picture["jpeg"])))
    assert image.size == (picture["width"], picture["height"])
    return np.asarray(image.convert("L")).astype(int)[::-1]


def frame(shape=(100, 120), **kwargs):
    data = np.random.default_rng(1).normal(100, 5, shape)
    return make_ccd(data, unit="electron", **kwargs)


def test_bright_is_bright_and_up_is_up():
    ccd = frame()
    ccd.data[70:80, 20:30] += 500
    picture = draw(overview_of(ccd.data, step=1), unit="electron")
    shown = gray(picture)
    assert shown.shape == (100, 120)
    assert shown[72:78, 22:28].min() > 230
    assert shown[:60].mean() < 140
    assert picture["unit"] == "electron"
    assert picture["low"] < 100 < picture["high"]


def test_bad_pixels_are_dark_and_change_nothing():
    flags = np.zeros((100, 120), np.uint16)
    flags[20:40, 20:40] = 1
    ccd = frame(flags=flags)
    ccd.data[flags != 0] = 1e6
    picture = draw(overview_of(ccd.data, ccd.flags, step=2))
    assert gray(picture)[13:17, 13:17].max() < 40
    assert picture["high"] < 200


@pytest.mark.parametrize("value", [0.0, 1000.0, np.nan])
def test_frames_of_one_value(value):
    picture = draw(overview_of(np.full((20, 30), value, np.float32), step=1))
    assert picture is None if np.isnan(value) else picture["high"] > picture["low"]


def test_before_and_after(tmp_path):
    ccd = frame()
    fits.writeto(tmp_path / "raw.fits", np.full((110, 130), 3000, np.uint16))
    look = look_at(ccd)
    both = pictures_of_science(tmp_path / "raw.fits", get_profile("generic"), ccd, look, 3000)
    assert both["before"]["width"] * both["before"]["height"] <= 3300
    assert both["after"]["width"] * both["after"]["height"] <= 3300
    assert both["before"]["unit"] == "adu"
    gone = pictures_of_science(tmp_path / "gone.fits", get_profile("generic"), ccd, look, 3000)
    assert gone["before"] is None
    assert gone["after"] == both["after"]


def test_masters():
    flat = make_ccd(np.linspace(0.9, 1.1, 10_000).reshape(100, 100), unit="")
    assert gray(picture_of_master(flat, "flat")).mean() == pytest.approx(127, abs=6)
    mask = make_ccd(np.zeros((100, 100)), unit="", dtype=np.uint16)
    mask.data[40:60, 40:60] = 4
    shown = gray(picture_of_master(mask, "badpixels"))
    assert shown[45:55, 45:55].min() > 240
    assert shown[:30].max() < 10


def test_unreadable_file(tmp_path):
    (tmp_path / "a.fits").write_text("no frame")
    assert picture_of_file(tmp_path / "a.fits", pixels=1000) is None


def test_many_pictures_stay_small():
    assert pixels_of_pictures(3) == pixels_of_pictures(100)
    assert 1.3 * 500 * 2 * pixels_of_pictures(500) * 0.4 < 25e6 * 1.1
    assert pixels_of_pictures(500) < pixels_of_pictures(100)
    assert pixels_of_pictures(0) == pixels_of_pictures(1)
