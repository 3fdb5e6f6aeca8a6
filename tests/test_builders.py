"""The frames that all other tests start from are what they claim to be."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from builders import (
    all_nan,
    all_zero,
    arcsat_night,
    aspen_night,
    delete_card,
    garble_card,
    header_bytes,
    lfc_night,
    make_frame,
    nickel_night,
    plain_night,
    text_file,
    truncate,
    two_amp_night,
)
from lecture import lecture_reduction

#: The LFC's header of a full frame, RA, HA and ST left out.
LFC_HEADER = """\
SIMPLE  =                    T  / STANDARD FITS
BITPIX  =                   16  / BITS/PIXEL
NAXIS   =                    2  / NUMBER OF AXES
NAXIS1  =                 2080  / NUMBER OF COLUMNS
NAXIS2  =                 4128  / NUMBER OF ROWS
BSCALE  =        1.0000000E+00  / PHYSICAL = BSCALE * DATA + BZERO
BZERO   =               32768.
DATE    = '2016-01-15'          / UT Date of file creation (DD/MM/YY)
ORIGIN  = 'California Institute of Technology'  / Palomar Observatory
LATITUDE=              33.4000  / Latitude (degrees N)
LONGITUD=            -116.9000  / Longitude (degrees E)
TELESCOP= 'Hale 5m Telescope'   / Telescope used for observation
FRATIO  =               7.5000  / Focal ratio of telescope
INSTRUME= 'LFC     '            / Instrument used for observation
DETECTOR= 'SITe SI002 x 6'      / Detector used for observation
FRAME   =                    1  / Frame number of observation
CCDPICNO=                    1  / Frame number of observation
OBJECT  = 'bias    '            / Name of object
IMAGETYP= 'BIAS    '            / Type of observation
EXPTIME =                0.000  / Integration time (seconds)
DARKTIME=                0.120  / Dark current time (seconds)
DATE-OBS= '2016-01-15'          / UT Date of observation (DD/MM/YY)
UT      = ' 23:53:30.00'        / Universal time (UTC) at exposure start
JD      =                 2457403.495486  / Julian date at exposure start
DEC     = ' 33:22:10.80'        / Declination
EQUINOX =             2000.000  / Equinox of RA and DEC
EPOCH   =             2000.000  / Equinox of RA and DEC
AIRMASS =                1.000  / Airmass at start
FILTER  = 'i'      '            / Filter description
GAIN    =                1.100  / Nominal gain (e-/ADU)
SECPIX1 =                0.182  / Arcseconds per pixel in fast dir
SECPIX2 =                0.182  / Arcseconds per pixel in slow dir
CCDBIN1 =                    1  / On-chip column binning (fast dir)
CCDBIN2 =                    1  / On-chip row binning (slow dir)
ROTANGLE=                 0.00  / Rotation angle (deg)
DATASEC = '[1:2048,1:4128]'     / Image area of frame
CCDSEC  = '[1:2048,1:4128]'     / Image area relative to full chip
BIASSEC = '[2049:2080,1:4127]'  / Overscan area of frame
LOGINFO = ' Status=0x00000000'
CHIPID  =                    0"""


@pytest.fixture(scope="module")
def lfc(tmp_path_factory):
    """A Palomar night of 256 rows."""
    return lfc_night(tmp_path_factory.mktemp("lfc"))


def digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def pixels(truth, path):
    return fits.getdata(truth.folder / path).astype(float)


def pair_gain(flats, biases):
    """Gain from two flats and two biases of one patch, all of equal level."""
    signal = np.mean(flats) - np.mean(biases)
    variance = np.var(flats[0] - flats[1]) - np.var(biases[0] - biases[1])
    return 2 * signal / variance


def test_lfc_header_is_the_observatorys_card_by_card(tmp_path):
    path = make_frame(
        tmp_path / "ccd.001.0.fits",
        instrument="lfc",
        rows=4128,
        filter="i'",
        object="bias",
        time="2016-01-15T23:53:30",
    )
    cards = header_bytes(path)
    fixed = [card.rstrip() for card in cards if card[:8].rstrip() not in {"RA", "HA", "ST"}]
    assert fixed == LFC_HEADER.splitlines()
    assert len(cards) == 43
    assert {len(card) for card in cards} == {80}
    # The sidereal time of the real header is 23:45:23.10.
    assert next(card for card in cards if card.startswith("ST ")).startswith("ST      = ' 23:45:23")


def test_lfc_filter_card_has_its_quote_undoubled(lfc):
    """The card is invalid (a quote within a string must be doubled), but astropy finds its value."""
    path = lfc.folder / "ccd.001.0.fits"
    image = b"FILTER  = 'i'      '            / Filter description".ljust(80)
    assert path.read_bytes().count(image) == 1
    assert image.count(b"'") == 3
    assert fits.getheader(path)["FILTER"] == "i'"


def test_lfc_sections_scale_and_biassec_stays_one_row_short(lfc):
    header = fits.getheader(lfc.folder / "ccd.014.0.fits")
    assert header["DATASEC"] == header["CCDSEC"] == "[1:2048,1:256]"
    assert header["BIASSEC"] == "[2049:2080,1:255]"
    assert (header["UT"], header["DATE-OBS"]) == (" 04:17:28.00", "2016-01-16")
    assert "BUNIT" not in header


def test_lfc_folder_has_colliding_names_of_another_night(lfc):
    assert {path for path in lfc.paths() if not path.startswith("darks/")} == {
        *(f"ccd.{n:03d}.0.fits" for n in [*range(1, 7), *range(14, 20), 37, 38, 41, 42])
    }
    assert {path for path in lfc.paths() if path.startswith("darks/")} == {
        *(f"darks/ccd.{n:03d}.0.fits" for n in [2, 13, 14, 15, 17, 18, 19, 23, 24, 25])
    }
    assert sorted(digests(lfc.folder)) == sorted(lfc.paths())
    dark, flat = (fits.getheader(lfc.folder / p) for p in ("darks/ccd.014.0.fits", "ccd.014.0.fits"))
    assert (dark["IMAGETYP"], dark["FILTER"], dark["DATE-OBS"]) == ("DARK", "r'", "2016-03-13")
    assert (flat["IMAGETYP"], flat["FILTER"], flat["EXPTIME"]) == ("FLATFIELD", "g'", 70.001)
    assert [fits.getheader(lfc.folder / f"ccd.0{n}.0.fits")["EXPTIME"] for n in range(14, 20)] == [
        70.001, 70.011, 70.001, 7.0, 7.0, 7.0,
    ]  # fmt: skip


def test_lfc_levels_are_those_of_the_lecture(lfc):
    bias = pixels(lfc, "ccd.001.0.fits")
    assert np.median(bias[:, 1000:2000]) == pytest.approx(1138, abs=1)
    assert np.median(bias[:, 0]) == pytest.approx(1350, abs=5)
    assert np.median(bias[:, 400:420]) == pytest.approx(1140, abs=2)
    dark = pixels(lfc, "darks/ccd.013.0.fits")
    assert np.median(dark[:, 1000:2000]) == pytest.approx(1198, abs=1)
    assert dark[:20, :20].mean() > 3000
    assert np.median(pixels(lfc, "ccd.014.0.fits")[:248, :2048]) == pytest.approx(21559, rel=0.005)
    flat, science = (np.median(pixels(lfc, path)[:, 2058:2069]) for path in ("ccd.014.0.fits", "ccd.037.0.fits"))
    assert (flat, science) == (pytest.approx(1141, abs=1), pytest.approx(1105, abs=1))


def test_lfc_overscan_shows_trailing_charge_on_lit_frames_only(lfc):
    overscan = np.median(pixels(lfc, "ccd.014.0.fits")[:240, 2048:], axis=0)
    assert overscan[0] > overscan[1] > overscan[2] > 1145
    assert overscan[8:] == pytest.approx(1141, abs=2)
    assert np.median(pixels(lfc, "ccd.001.0.fits")[:, 2048]) == pytest.approx(1138, abs=2)


def test_lfc_gain_and_read_noise_come_back(lfc):
    """By the pair formula on a patch; the quick form without the pedestal gives 2.11."""
    patch = np.s_[20:230, 1000:1200]
    biases = [pixels(lfc, f"ccd.00{n}.0.fits")[patch] for n in (3, 4)]
    flats = [pixels(lfc, "ccd.014.0.fits")[patch], pixels(lfc, "ccd.016.0.fits")[patch]]
    assert pair_gain(flats, biases) == pytest.approx(lfc.gain, rel=0.03)
    assert lfc.gain * np.std(biases[0] - biases[1]) / np.sqrt(2) == pytest.approx(lfc.read_noise, rel=0.02)
    quick = 2 * np.mean(flats) / np.var(flats[0] - flats[1])
    assert quick == pytest.approx(2.11, rel=0.03)


def test_lfc_detectors_have_their_own_gain_and_chip_number(tmp_path):
    truth = lfc_night(tmp_path, rows=32, detectors=(0, 2), science=1)
    assert {fits.getheader(tmp_path / path)["CHIPID"] for path in truth.paths()} == {0, 2}
    assert (tmp_path / "darks" / "ccd.013.2.fits").exists()
    assert [truth.sensors[chip].amplifiers[0].gain for chip in (0, 2)] == [2.0, 2.1]
    assert not np.array_equal(truth.flat("g'"), truth.flat("g'", detector=2))


def test_truth_reduces_a_science_frame_to_its_scene(lfc):
    """Raw less the true bias and dark over the true flat is the scene within the noise."""
    path = "ccd.041.0.fits"
    frame = lfc.frame(path)
    flat = lfc.flat(frame.filter)
    good = (flat > 0.5) & ~lfc.hits(path) & ~lfc.sensor.hot
    raw = pixels(lfc, path)
    signal = (raw - lfc.bias(path) - lfc.dark * frame.dark_time) * lfc.gain
    noise = np.sqrt(np.maximum(signal, 0) + lfc.dark * frame.dark_time * lfc.gain + lfc.read_noise**2)
    pull = ((signal - lfc.scene(path) * flat) / noise)[good]
    assert pull.mean() == pytest.approx(0, abs=0.02)
    assert pull.std() == pytest.approx(1, abs=0.02)
    assert lfc.hits(path).sum() >= 5
    assert (signal - lfc.scene(path) * flat)[lfc.hits(path)].min() > 100


@pytest.mark.parametrize(
    "night", [plain_night, two_amp_night, aspen_night, arcsat_night, nickel_night], ids=lambda f: f.__name__
)
def test_a_night_is_its_seed(tmp_path, night):
    """The same seed gives the same bytes, another seed other ones, and no two frames share their noise."""
    first = night(tmp_path / "first")
    night(tmp_path / "again")
    night(tmp_path / "other", seed=2)
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    other = digests(tmp_path / "other")
    assert not set(digests(tmp_path / "first").values()) & set(other.values())
    assert sorted(other) == sorted(first.paths())
    one, two = (pixels(first, path) for path in first.paths("bias")[:2])
    assert np.mean(one == two) < 0.2


def test_more_frames_leave_the_others_as_they_are(tmp_path):
    plain_night(tmp_path / "few", n_bias=2)
    plain_night(tmp_path / "many", n_bias=4)
    few, many = digests(tmp_path / "few"), digests(tmp_path / "many")
    assert {path: many[path] for path in few if path.startswith("bias")} == {
        path: few[path] for path in few if path.startswith("bias")
    }


def test_plain_night_headers_and_pixels(tmp_path):
    truth = plain_night(tmp_path, filters=("V", "R"), dark_exposure=30.0)
    assert [len(truth.paths(kind)) for kind in ("bias", "dark", "flat", "science")] == [5, 3, 6, 4]
    assert truth.paths("science", filter="R") == ["science_R_001.fits", "science_R_002.fits"]
    header = fits.getheader(tmp_path / "science_R_001.fits")
    assert (header["IMAGETYP"], header["EXPTIME"], header["FILTER"]) == ("science", 60.0, "R")
    assert (header["GAIN"], header["RDNOISE"]) == (truth.gain, truth.read_noise)
    assert fits.getheader(tmp_path / "dark_001.fits")["EXPTIME"] == 30.0
    assert "FILTER" not in fits.getheader(tmp_path / "dark_001.fits")
    stack = np.mean([pixels(truth, path) for path in truth.paths("dark")], axis=0) - truth.bias()
    assert np.median(stack[truth.sensor.hot]) > 100
    assert np.median(stack) == pytest.approx(0.05 * 30, abs=0.5)


def test_response_has_median_one_and_differs_between_filters(tmp_path):
    truth = plain_night(tmp_path, filters=("V", "R"), n_science=0)
    for name in ("V", "R"):
        assert np.median(truth.flat(name)) == pytest.approx(1, abs=1e-6)
        stack = np.mean([pixels(truth, path) for path in truth.paths("flat", filter=name)], axis=0)
        ratio = (stack - truth.bias()) / truth.flat(name)
        assert np.std(ratio) / np.mean(ratio) < 0.006
    assert np.abs(truth.flat("V") - truth.flat("R")).max() > 0.005


def test_two_amplifiers_differ_in_gain_and_share_one_flat(tmp_path):
    truth = two_amp_night(tmp_path)
    flats = [pixels(truth, path) for path in truth.paths("flat")[:2]]
    header = fits.getheader(tmp_path / "flat_V_001.fits")
    left, right = truth.sensor.amplifiers
    assert (header["DATASEC1"], header["BIASSEC1"]) == ("[9:72,1:64]", "[137:152,1:64]")
    assert (header["DATASEC2"], header["BIASSEC2"]) == ("[73:136,1:64]", "[153:168,1:64]")
    assert (header["GAIN1"], header["GAIN2"], header["RDNOISE2"]) == (1.2, 1.9, 9.0)
    light = [(flats[0][:, a.data] - np.median(flats[0][:, a.overscan][:, 6:])) for a in (left, right)]
    edges = light[0][:, -8:].mean() * left.gain, light[1][:, :8].mean() * right.gain
    assert edges[0] == pytest.approx(edges[1], rel=0.005)
    levels = [np.median(pixels(truth, path)[:, left.overscan][:, 6:]) for path in truth.paths()]
    assert np.diff(levels) == pytest.approx(-3, abs=0.8)


def test_aspen_header_and_layout(tmp_path):
    truth = aspen_night(tmp_path, n_bias=2, n_dark=2)
    assert truth.paths("bias")[0] == "Bias-S001-R001-C001-NoFilt.fit"
    assert truth.paths("science") == ["kelt-16-b-S001-R001-C084-r.fit", "kelt-16-b-S001-R001-C125-r.fit"]
    bias, flat, light = (fits.getheader(tmp_path / truth.paths(kind)[0]) for kind in ("bias", "flat", "science"))
    assert bias["INSTRUME"] == "AspenCG16"
    assert (bias["BIASSEC"], bias["TRIMSEC"]) == ("[128:141]", "[1:128, :]")
    assert (bias["BUNIT"], bias["RADECSYS"], bias["SET-TEMP"]) == ("adu", "FK5", -20.0)
    assert -20.08 < bias["CCD-TEMP"] < -20.01
    assert "FILTER" not in bias
    assert (flat["IMAGETYP"], light["IMAGETYP"], light["FILTER"]) == ("FLAT", "LIGHT", "r")
    assert not {"GAIN", "EGAIN", "RDNOISE"} & set(bias)
    levels = [np.median(pixels(truth, path)[:, :128]) for path in truth.paths("flat")]
    assert (levels[0], levels[-1]) == (pytest.approx(45892, rel=0.01), pytest.approx(38662, rel=0.01))
    overscan = pixels(truth, truth.paths("flat")[0])[:, 128:]
    assert np.median(overscan) > 1300
    assert np.median(pixels(truth, truth.paths("flat")[0])[:, 0]) < 1250


def test_full_aspen_sections_are_the_cameras(tmp_path):
    path = make_frame(tmp_path / "x.fit", instrument="aspen", shape=(8, 4109))
    assert fits.getheader(path)["BIASSEC"] == "[4096:4109]"
    assert fits.getheader(path)["TRIMSEC"] == "[1:4096, :]"


def test_arcsat_night_has_the_43_frames(tmp_path):
    truth = arcsat_night(tmp_path)
    counts = {kind: len(truth.paths(kind)) for kind in ("bias", "dark", "flat", "science")}
    assert counts == {"bias": 9, "dark": 9, "flat": 21, "science": 4}
    assert len(truth.paths("flat", filter="i")) == 1
    header = fits.getheader(tmp_path / truth.paths("science", filter="H-Alpha")[0])
    assert (header["OBJECT"], header["IMAGETYP"]) == ("Cat's Eye Nebula", "LIGHT")
    blank = fits.getheader(tmp_path / truth.paths("bias")[0])
    assert (blank["OBJECT"], blank["SET-TEMP"], blank["NAXIS1"]) == ("", -25.0, 128)
    assert "GAIN" not in header


def test_nickel_night_says_dark_for_bias_and_its_overscan_falls(tmp_path):
    truth = nickel_night(tmp_path)
    header = fits.getheader(tmp_path / "d1001.fits")
    assert (header["OBSTYPE"], header["OBJECT"], header["GAIN"], header["COVER"]) == ("DARK", "bias", 1, 32)
    assert type(header["EXPTIME"]) is int
    assert not {"IMAGETYP", "BIASSEC", "DATE-OBS"} & set(header)
    assert header["DATASEC"] == "[1:128,1:128]"
    flat = fits.getheader(tmp_path / "d1036.fits")
    assert (flat["OBSTYPE"], flat["OBJECT"], flat["FILTNAM"]) == ("OBJECT", "sky flat", "V")
    levels = {name: np.median(pixels(truth, f"{name}.fits")[:, 128:]) for name in ("d1001", "d1059", "d1074")}
    assert levels == pytest.approx({"d1001": 1001, "d1059": 960, "d1074": 995}, abs=1)
    bias = pixels(truth, "d1001.fits")
    assert np.median(bias[:, :128]) == pytest.approx(1015, abs=1)
    assert np.std(np.mean(bias[:, 128:], axis=1)) > 3 * np.std(np.mean(bias[:, :128], axis=1))


def test_make_frame_overrides_deletes_and_keeps_raw_cards(tmp_path):
    raw = "WEIRD   = 'it's raw'"
    path = make_frame(
        tmp_path / "frame_007.fits",
        kind="science",
        level=500.0,
        exposure=12.5,
        filter="B",
        object="Cat's Eye",
        header={"GAIN": (9.5, "wrong"), "RDNOISE": None, "NEW": "card"},
        raw_cards=[raw, "EXPTIME = 12,5"],
    )
    cards = header_bytes(path)
    assert raw.ljust(80) in cards
    assert "EXPTIME = 12,5".ljust(80) in cards
    assert "OBJECT  = 'Cat''s Eye'".ljust(80) in cards
    keywords = [card[:8].rstrip() for card in cards]
    assert len(set(keywords)) == len(keywords)
    assert "RDNOISE" not in keywords
    header = fits.getheader(path)
    assert (header["GAIN"], header["NEW"]) == (9.5, "card")


def test_make_frame_seed_and_name_make_the_noise(tmp_path):
    one = make_frame(tmp_path / "a_1.fits").read_bytes()
    assert make_frame(tmp_path / "a_1.fits").read_bytes() == one
    assert make_frame(tmp_path / "a_2.fits").read_bytes() != one
    assert make_frame(tmp_path / "a_1.fits", seed=5).read_bytes() != one


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_make_frame_writes_every_pixel_type(tmp_path, dtype):
    data = fits.getdata(make_frame(tmp_path / "x.fits", dtype=dtype))
    assert data.dtype.newbyteorder("=") == np.dtype(dtype)
    assert data.mean() == pytest.approx(1000, abs=1)


def test_make_frame_saturates_at_the_converter(tmp_path):
    data = fits.getdata(make_frame(tmp_path / "x.fits", kind="flat", level=80000.0))
    assert data.max() == 65535
    assert np.median(data) == 65535


def test_compressed_frames_hold_the_same_pixels(tmp_path):
    plain = make_frame(tmp_path / "x.fits", seed=3)
    zipped = make_frame(tmp_path / "x.fits.gz", seed=3)
    tiled = make_frame(tmp_path / "x.fits.fz", seed=3)
    assert gzip.decompress(zipped.read_bytes())[:2880] == plain.read_bytes()[:2880]
    assert fits.getdata(tiled, ext=1).mean() == pytest.approx(fits.getdata(plain).mean(), abs=0.5)
    assert fits.getheader(tiled, ext=1)["IMAGETYP"] == "bias"


@pytest.mark.parametrize(
    ("instrument", "columns", "rows"), [("lfc", "CCDBIN1", "CCDBIN2"), ("aspen", "XBINNING", "YBINNING")]
)
def test_binning_is_in_header_and_shape(tmp_path, instrument, columns, rows):
    plain = fits.getheader(make_frame(tmp_path / "1.fits", instrument=instrument))
    header = fits.getheader(make_frame(tmp_path / "2.fits", instrument=instrument, binning=2))
    assert (header[columns], header[rows]) == (2, 2)
    assert (header["NAXIS1"], header["NAXIS2"]) == (plain["NAXIS1"] // 2, plain["NAXIS2"] // 2)


def test_unknown_instrument_is_refused(tmp_path):
    with pytest.raises(ValueError, match="instrument='hubble'"):
        make_frame(tmp_path / "x.fits", instrument="hubble")


def test_faults_are_what_they_say(tmp_path):
    path = make_frame(tmp_path / "x.fits", kind="flat", filter="V")
    before = path.read_bytes()
    garble_card(path, "EXPTIME", "EXPTIME = 1O.0")
    assert path.read_bytes().count(b"EXPTIME = 1O.0".ljust(80)) == 1
    assert path.read_bytes()[2880:] == before[2880:]
    delete_card(path, "EXPTIME")
    assert "EXPTIME" not in fits.getheader(path)
    with pytest.raises(KeyError, match="EXPTIME"):
        delete_card(path, "EXPTIME")
    with pytest.raises(KeyError, match="EXPTIME"):
        garble_card(path, "EXPTIME", "EXPTIME = 1")
    all_zero(path)
    assert fits.getdata(path).shape == (64, 80)
    assert not fits.getdata(path).any()
    all_nan(path)
    assert np.isnan(fits.getdata(path)).all()
    assert fits.getheader(path)["FILTER"] == "V"
    size = path.stat().st_size
    truncate(path, -3000)
    assert path.stat().st_size == size - 3000
    truncate(path, 100)
    assert path.stat().st_size == 100
    with pytest.raises(OSError, match="SIMPLE"):
        fits.open(text_file(tmp_path / "text.fits"))


def test_lecture_reduction_shows_what_the_recipe_does(lfc):
    """The dark of another night takes the difference of the bias levels with it, 51 adu at 300 s."""
    result = lecture_reduction(lfc.folder)
    assert result.bias.shape == result.dark.shape == (256, 2080)
    assert np.median(result.bias[:, 1000:2000]) == pytest.approx(1124.8, abs=1)
    assert np.median(result.dark[:, 1000:2000]) * 300 == pytest.approx(73, abs=1)
    assert list(result.flats) == ["g'", "i'"]
    assert list(result.science) == lfc.paths("science")
    for path, image in result.science.items():
        assert image.shape == (56, 1880)
        assert image.dtype == np.float32
        flat = result.flats[lfc.frame(path).filter][100:-100, 100:-100]
        truth = (lfc.scene(path) / lfc.gain * lfc.flat(lfc.frame(path).filter))[100:-100, 100:-100]
        assert np.median(image * flat - truth) == pytest.approx(-51 - 20, abs=1)


def test_lecture_reduction_needs_rows_beyond_the_edges(tmp_path):
    lfc_night(tmp_path, rows=64, science=1)
    with pytest.raises(ValueError, match="more than 200 rows"):
        lecture_reduction(tmp_path)
