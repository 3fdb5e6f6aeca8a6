"""What the headers say, held against what the pixels show."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from builders import (
    all_nan,
    all_zero,
    arcsat_night,
    aspen_night,
    get_sensor,
    lfc_night,
    make_frame,
    nickel_night,
    plain_night,
    replace_pixels,
    text_file,
    two_amp_night,
)
from test_sampling import sections_to_toml

from ccdnight.frames import FrameCollection
from ccdnight.night import Night
from ccdnight.vetting import contradictions


def found(folder, **options):
    collection = FrameCollection(folder, **options)
    return contradictions(collection.frames, collection.measure())


def swap(folder, one, other):
    """Exchange the pixels of two frames."""
    pixels = [fits.getdata(folder / name) for name in (one, other)]
    for name, data in zip((other, one), pixels, strict=True):
        replace_pixels(folder / name, data)


@pytest.fixture
def night(tmp_path):
    """A folder with five biases, three darks, three flats and two science frames, of a camera without overscan."""
    plain_night(tmp_path)
    return tmp_path


@pytest.fixture
def nickel(tmp_path):
    """A folder of frames that have an overscan."""
    nickel_night(tmp_path, size=64)
    return tmp_path


# -- no false alarms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [plain_night, two_amp_night, lfc_night, aspen_night, arcsat_night, nickel_night])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_false_alarm(tmp_path, make, seed):
    make(tmp_path, seed=seed)
    assert found(tmp_path) == {}


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["arcsat-2025-06-01", "nickel-2024-05-13"])
def test_no_false_alarm_in_real_nights(realdata, name):
    collection = FrameCollection(realdata / name)
    assert contradictions(collection.frames, collection.measure()) == {}
    assert set(collection.frames["problem"]) == {""}
    assert "unknown" not in collection.frames["kind"]


def test_two_amplifiers_of_unequal_level(tmp_path):
    two_amp_night(tmp_path, n_bias=6, drift=30)
    (tmp_path / "twin.toml").write_text(sections_to_toml(get_sensor("twoamp", 0, (64, 168), 1, 1)))
    assert found(tmp_path, profile=tmp_path / "twin.toml") == {}


def test_darks_of_other_exposure_or_temperature_are_not_compared(tmp_path):
    """Dark current says where they differ, and the header says why."""
    for number, (seconds, temperature, pedestal) in enumerate(
        [(60, -20.0, 1000), (60, -20.1, 1001), (60, -19.9, 999), (60, 5.0, 4000), (600, -20.0, 1500)]
    ):
        facts = {"kind": "dark", "exposure": seconds, "header": {"CCD-TEMP": temperature}, "pedestal": pedestal}
        make_frame(tmp_path / f"dark{number}.fits", **facts)
    assert found(tmp_path) == {}


def test_frames_of_other_setups_are_not_compared(night):
    for number in range(3):
        make_frame(night / f"binned{number}.fits", binning=2, pedestal=3000)
        make_frame(night / f"mode{number}.fits", header={"READOUTM": "fast"}, pedestal=300)
    assert found(night) == {}


# -- contradictions ----------------------------------------------------------------------------------------


def test_a_bias_with_light(night):
    make_frame(night / "bias_009.fits", kind="bias", level=3000)
    sentences = found(night)
    assert list(sentences) == ["bias_009.fits"]
    assert sentences["bias_009.fits"].startswith("its header says bias, but its level is 3999 adu, +2999 adu")
    assert "from the other bias frames; up to 100 adu are allowed" in sentences["bias_009.fits"]


def test_a_dark_with_light(night):
    make_frame(night / "dark_009.fits", kind="dark", level=500)
    (item,) = found(night).items()
    assert item[0] == "dark_009.fits"
    assert "its header says dark" in item[1]
    assert "adu from the other dark frames" in item[1]


def test_a_bias_that_drifts_with_its_overscan_is_no_contradiction(nickel):
    make_frame(nickel / "drift.fits", instrument="nickel", object="bias", shape=(64, 96), pedestal=1500)
    assert found(nickel) == {}


def test_the_only_bias_with_light(tmp_path):
    """There is no other to hold it against, but its own overscan."""
    make_frame(tmp_path / "a.fits", instrument="nickel", object="bias", level=5000)
    make_frame(tmp_path / "b.fits", instrument="nickel", object="bias")
    (item,) = found(tmp_path).items()
    assert item[0] == "a.fits"
    assert "adu of light above its overscan; up to 1000 adu are allowed" in item[1]


@pytest.mark.parametrize("kind", ["flat", "twilight"])
def test_a_flat_without_light(nickel, kind):
    name = "sky flat" if kind == "twilight" else "dome flat"
    make_frame(nickel / "d.fits", kind=kind, instrument="nickel", object=name, level=50, shape=(64, 96), filter="V")
    (item,) = found(nickel).items()
    assert item[0] == "d.fits"
    assert f"its header says {kind}, but it has" in item[1]
    assert item[1].endswith("a flat needs at least 200 adu")


@pytest.mark.parametrize("level", [50, 9000, 30000])
def test_flats_are_held_against_the_bounds_of_the_policy(tmp_path, level):
    """The night's own flats have 20,000 adu; one that is out of bounds is rejected in the plan, with its value."""
    plain_night(tmp_path)
    make_frame(tmp_path / "other.fits", kind="flat", level=level, shape=(64, 80), filter="V")
    night = Night(tmp_path)
    profile = replace(night.profile, policy=night.profile.policy.updated(flat_level=(10000, 25000)))
    (item,) = (item for item in Night(tmp_path, profile=profile).plan().unused if item.path == "other.fits")
    assert item.fate == "rejected"
    assert "adu of light above the bias; " in item.reason
    assert item.reason.endswith("flats of up to 25000 adu" if level > 25000 else "needs at least 10000 adu")
    assert ("other.fits" in {unused.path for unused in night.plan().unused if unused.fate == "rejected"}) == (
        level < 200
    )


@pytest.mark.parametrize("biases", [True, False])
def test_a_flat_without_light_and_without_overscan(tmp_path, biases):
    """Where there is no bias level at all, nothing can be said."""
    make_frame(tmp_path / "dim.fits", kind="flat", level=100)
    make_frame(tmp_path / "good.fits", kind="flat", level=2000)
    if biases:
        make_frame(tmp_path / "bias.fits")
    assert list(found(tmp_path)) == (["dim.fits"] if biases else [])


def test_a_saturated_flat(night):
    make_frame(night / "flat_009.fits", kind="flat", level=90000)
    (item,) = found(night).items()
    assert item == ("flat_009.fits", "all of its pixels are saturated (65535 adu)")


def test_a_partly_saturated_flat(night):
    for name, rows in (("some.fits", 4), ("many.fits", 16)):
        path = make_frame(night / name, kind="flat")
        pixels = fits.getdata(path)
        pixels[:rows] = 65535
        replace_pixels(path, pixels)
    assert found(night) == {"many.fits": "25% of its pixels are saturated; a flat may have up to 10%"}


def test_a_saturated_bias(tmp_path):
    make_frame(tmp_path / "a.fits", kind="bias", level=90000)
    pixels = fits.getdata(tmp_path / "a.fits")
    pixels[0, 0] = 3
    replace_pixels(tmp_path / "a.fits", pixels)
    assert found(tmp_path) == {"a.fits": "its header says bias, but 100% of its pixels are saturated"}


def test_a_science_frame_may_be_saturated_in_part(night):
    path = make_frame(night / "x.fits", kind="science")
    pixels = fits.getdata(path)
    pixels[:60] = 65535
    replace_pixels(path, pixels)
    assert found(night) == {}


@pytest.mark.parametrize("kind", ["bias", "dark", "flat", "science"])
def test_all_zero(night, kind):
    all_zero(make_frame(night / "x.fits", kind=kind))
    assert found(night) == {"x.fits": "all of its pixels are 0; a read-out frame has noise"}


def test_mostly_zero(night):
    pixels = np.zeros((64, 80), "u2")
    pixels[10, 10] = 7
    replace_pixels(make_frame(night / "x.fits", kind="science"), pixels)
    assert found(night) == {"x.fits": "more than half of its pixels are 0; a read-out frame has a bias level and noise"}


@pytest.mark.parametrize("kind", ["bias", "dark", "flat", "science"])
def test_all_nan(night, kind):
    all_nan(make_frame(night / "x.fits", kind=kind))
    assert found(night) == {"x.fits": "none of its pixels is finite"}


def test_frames_that_cannot_be_read_say_why(night):
    text_file(night / "x.fits")
    (item,) = found(night).items()
    assert item[0] == "x.fits"
    assert "not a FITS file" in item[1]


@pytest.mark.parametrize(("one", "other"), [("bias_002.fits", "flat_V_001.fits"), ("dark_001.fits", "flat_V_002.fits")])
def test_swapped_kinds(night, one, other):
    swap(night, one, other)
    sentences = found(night)
    assert sorted(sentences) == sorted([one, other])
    assert f"its header says {one.split('_')[0]}" in sentences[one]
    assert "its header says flat" in sentences[other]


def test_all_kinds_swapped(nickel):
    """Biases and flats of a whole night, where the overscan tells."""
    flats = ["d1035.fits", "d1036.fits", "d1037.fits"]
    for bias, flat in zip([f"d{number}.fits" for number in (1001, 1002, 1003)], flats, strict=True):
        swap(nickel, bias, flat)
    for number in range(1004, 1011):
        (nickel / f"d{number}.fits").unlink()
    assert sorted(found(nickel)) == ["d1001.fits", "d1002.fits", "d1003.fits", *flats]


def test_broken_biases_do_not_make_the_others_stray(night):
    for number in range(9):
        all_zero(make_frame(night / f"zero{number}.fits", kind="bias"))
    assert sorted(found(night)) == [f"zero{number}.fits" for number in range(9)]


def test_a_dark_without_exposure_time(night):
    make_frame(night / "x.fits", kind="dark", level=5000, header={"EXPTIME": None})
    assert found(night) == {}
