"""A raw file becomes a frame: reading, overscan, trimming."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from builders import (
    all_nan,
    garble_card,
    make_frame,
    nickel_night,
    replace_pixels,
    two_amp_night,
)

from ccdnight.exceptions import AlreadyAppliedError, FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.overscan import measure_overscan
from ccdnight.products import make_ccd
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.provenance import is_applied, record_rows, records_of
from ccdnight.readout import (
    amplifier_regions,
    as_frame,
    find_profile,
    read_frame,
    saturation_level,
    subtract_overscan,
    trim,
)

GENERIC = get_profile("generic")
SHAPE = (60, 120)


def profile_of(*amplifiers, **policy):
    return replace(GENERIC, amplifiers=amplifiers, policy=replace(GENERIC.policy, **policy))


TWO_AMP = profile_of(
    *(
        Amplifier(
            name=name, shape=(64, 168), data=data, overscan=overscan, overscan_skip=3, gain=gain, read_noise=noise
        )
        for name, data, overscan, gain, noise in (
            ("1", "[9:72,1:64]", "[137:152,1:64]", 1.2, 6.0),
            ("2", "[73:136,1:64]", "[153:168,1:64]", 1.8, 8.0),
        )
    )
)


def frame_of(pixels, **meta):
    return make_ccd(pixels, unit="adu", meta=meta)


@pytest.fixture
def raw():
    """Data of 100 adu above an overscan whose level runs from 1000 up, 20 columns of it at the right."""
    rng = np.random.default_rng(1)
    level = 1000 + np.linspace(0, 30, SHAPE[0])[:, None]
    pixels = level + rng.normal(0, 4, SHAPE)
    pixels[:, :100] += 100
    return pixels.astype(np.float32)


class TestRead:
    """`read_frame`."""

    def test_the_whole_raw_frame_in_adu(self, tmp_path):
        path = make_frame(tmp_path / "d1001.fits", instrument="nickel")
        ccd = read_frame(path)
        with fits.open(path) as hdus:
            np.testing.assert_array_equal(ccd.data, hdus[0].data)
        assert (str(ccd.unit), ccd.meta["BUNIT"]) == ("adu", "adu")
        assert ccd.uncertainty is None
        assert not {"BZERO", "BSCALE", "CHECKSUM"} & set(ccd.meta)
        row = record_rows(ccd)[0]
        assert (row[0], row[2], row[3], len(row[1])) == ("d1001.fits", "raw", "read", 64)
        assert '"profile": "nickel"' in row[4]

    @pytest.mark.parametrize("suffix", [".fits", ".fit.gz", ".fits.fz"])
    def test_every_form(self, tmp_path, suffix):
        plain = make_frame(tmp_path / "a_1.fits", level=5.0)
        other = make_frame(tmp_path / f"a_1{suffix}", level=5.0)
        seen = read_frame(other, profile="generic")
        if suffix != ".fits":
            # The noise depends on the file's name, so the pixels are compared with astropy's.
            with fits.open(other) as hdus:
                np.testing.assert_array_equal(seen.data, hdus[-1].data)
        assert seen.data.shape == read_frame(plain, profile="generic").data.shape
        assert seen.meta["EXPTIME"] == 0

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
    def test_every_pixel_type(self, tmp_path, dtype):
        ccd = read_frame(make_frame(tmp_path / "a.fits", dtype=dtype), profile="generic")
        assert ccd.data.dtype == np.float32
        assert ccd.data.mean() > 100

    def test_saturated_and_missing_pixels_are_flagged(self, tmp_path):
        path = make_frame(tmp_path / "a.fits", shape=(10, 12))
        pixels = np.full((10, 12), 1000, "u2")
        pixels[2, 3], pixels[2, 4] = 65535, 65534
        flags = read_frame(replace_pixels(path, pixels), profile="generic").flags
        assert flags[2, 3] == FLAGS["SATURATED"].value
        assert np.count_nonzero(flags) == 1
        pixels = pixels.astype("f4")
        pixels[5, 5] = np.nan
        flags = read_frame(replace_pixels(path, pixels), profile="generic").flags
        assert flags[5, 5] == FLAGS["NO_DATA"].value
        assert np.count_nonzero(flags) == 1

    def test_an_unreadable_card_costs_no_frame(self, tmp_path):
        path = garble_card(make_frame(tmp_path / "a.fits", kind="dark"), "EXPTIME", "EXPTIME = 1O.0")
        ccd = read_frame(path, profile="generic")
        assert ccd.meta["EXPTIME"] == "1O.0"
        assert "EXPTIME cannot be read" in records_of(ccd)[0].parameters

    def test_an_unknown_detector_is_refused(self, tmp_path):
        path = make_frame(tmp_path / "a.fits", instrument="lfc", rows=16, header={"CHIPID": 9})
        with pytest.raises(FrameError, match="detector '9'"):
            read_frame(path)

    def test_an_extension_that_the_profile_names(self, tmp_path):
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 5))), fits.ImageHDU(np.full((4, 5), 2.0))])
        hdus.writeto(tmp_path / "a.fits")
        assert read_frame(tmp_path / "a.fits", profile=GENERIC).data.max() == 1
        assert read_frame(tmp_path / "a.fits", profile=replace(GENERIC, hdu=2)).data.min() == 2


@pytest.mark.parametrize(
    ("amplifier", "header", "level"),
    [
        ({}, {"BITPIX": 16, "BZERO": 32768}, 65535),
        ({}, {"BITPIX": 16, "BZERO": 32768.0, "BSCALE": 1.0}, 65535),
        ({}, {"BITPIX": 16}, 32767),
        ({}, {"BITPIX": 16, "BZERO": 0}, 32767),
        ({}, {"BITPIX": 8}, 255),
        ({}, {"BITPIX": 32}, np.inf),
        ({}, {"BITPIX": -32}, np.inf),
        ({}, {}, np.inf),
        # A scale that is not 1 moves the end of what the file can hold.
        ({}, {"BITPIX": 16, "BSCALE": 2.0, "BZERO": 65536}, 131070),
        ({}, {"BITPIX": 16, "BSCALE": 0.5, "BZERO": 10}, 16393.5),
        ({"saturation": 50000}, {"BITPIX": 16, "BZERO": 32768}, 50000),
        ({"saturation": 90000}, {"BITPIX": 16, "BZERO": 32768}, 65535),
        ({"saturation": 50000}, {"BITPIX": -32}, 50000),
        ({"saturation": 50000}, {"BITPIX": -32, "SATURATE": 40000}, 50000),
        ({}, {"BITPIX": -32, "SATURATE": 40000}, 40000),
        ({}, {"BITPIX": 16, "BZERO": 32768, "SATURATE": 0}, 65535),
        ({}, {"BITPIX": 16, "BZERO": 32768, "SATURATE": "x"}, 65535),
    ],
)
def test_saturation(amplifier, header, level):
    assert saturation_level(Amplifier(**amplifier), fits.Header(header), GENERIC) == level


class TestMeasureOverscan:
    """Level and error."""

    @pytest.mark.parametrize("window", [1, 5, 51, 1000])
    @pytest.mark.parametrize("along_rows", [True, False])
    def test_error_is_the_scatter_about_the_truth(self, window, along_rows):
        rng = np.random.default_rng(2)
        errors, found = [], []
        for _ in range(20):
            pixels = 1000 + rng.normal(0, 5, (400, 24))
            result = measure_overscan(pixels if along_rows else pixels.T, along_rows=along_rows, window=window)
            assert result.level.shape == ((400, 1) if along_rows else (1, 400))
            assert result.level.dtype == np.float32
            errors.append(result.error)
            found.append(result.level.ravel() - 1000)
        middle = np.array(found)[:, 60:-60] if window < 400 else np.array(found)[:, 200:201]
        assert np.mean(errors) == pytest.approx(np.sqrt(np.mean(middle**2)), rel=0.45 if window == 1000 else 0.15)

    def test_window_1_follows_every_row(self):
        rows = np.arange(30.0) ** 2
        result = measure_overscan(np.repeat(rows[:, None], 8, axis=1), window=1)
        np.testing.assert_allclose(result.level[:, 0], rows)
        assert result.mean == pytest.approx(rows.mean())

    def test_a_window_smooths_along_the_rows(self):
        """What is smooth survives, what jumps from row to row does not: at the ends of the frame no more than amid."""
        rows = 1000 + 3.0 * (-1) ** np.arange(201)
        result = measure_overscan(np.repeat(rows[:, None], 8, axis=1), window=51)
        assert np.abs(result.level - 1000).max() < 0.3

    @pytest.mark.parametrize("window", [2, 3, 10, 51, 201, 500])
    def test_a_slope_is_kept_up_to_the_ends(self, window):
        slope = 1000 + 0.5 * np.arange(201.0)
        result = measure_overscan(np.repeat(slope[:, None], 8, axis=1), window=window)
        np.testing.assert_allclose(result.level[:, 0], slope, atol=0.26)

    def test_the_ends_are_not_much_noisier(self):
        rng = np.random.default_rng(7)
        levels = [measure_overscan(rng.normal(0, 5, (200, 25))).level[:, 0] for _ in range(200)]
        scatter = np.std(levels, axis=0)
        assert scatter[[0, -1]].max() < 2.5 * np.median(scatter)

    def test_cosmic_rays_leave_no_mark(self):
        pixels = 1000 + np.random.default_rng(3).normal(0, 4, (200, 25))
        clean = measure_overscan(pixels).level
        pixels[100, 5] = 20000
        pixels[50:60, 20] = 3000
        np.testing.assert_allclose(measure_overscan(pixels).level, clean, atol=0.5)


class TestSubtract:
    """`subtract_overscan`."""

    @pytest.mark.parametrize("window", [1, 11, 51])
    @pytest.mark.parametrize("side", ["right", "left", "top", "bottom"])
    def test_on_every_side(self, raw, window, side):
        """The level is followed and the data keep what they have above it."""
        biassec = {
            "right": "[101:120,1:60]",
            "left": "[1:20,1:60]",
            "top": "[1:60,101:120]",
            "bottom": "[1:60,1:20]",
        }[side]
        pixels = raw if side in {"right", "top"} else raw[:, ::-1]
        pixels = pixels if side in {"right", "left"} else pixels.T
        ccd = frame_of(pixels, BIASSEC=biassec)
        result = subtract_overscan(ccd, profile=GENERIC, window=window)
        data = trim(result, profile=GENERIC).data
        assert data.shape == ((60, 100) if side in {"right", "left"} else (100, 60))
        rows = data.mean(axis=1 if side in {"right", "left"} else 0)
        np.testing.assert_allclose(rows[10:-10], 100, atol=4.5 * 4 * np.sqrt(1 / 100 + 1 / 20 / min(window, 25)) + 0.1)
        assert result.meta["OVSCMEAN"] == pytest.approx(1015, abs=0.5)
        assert result.meta["OVSCERR"] == pytest.approx(4 / np.sqrt(20 * window), rel=0.15)
        np.testing.assert_array_equal(ccd.data, pixels)

    def test_leading_columns_are_skipped(self, raw):
        """They carry trailing charge."""
        raw[:, 100:103] += [300, 100, 50]
        profile = profile_of(Amplifier(overscan_skip=3))
        ccd = frame_of(raw, BIASSEC="[101:120,1:60]")
        good = trim(subtract_overscan(ccd, profile=profile), profile=profile).data
        assert good[5:-5].mean() == pytest.approx(100, abs=0.3)

    def test_parallel_overscan(self):
        """A second overscan above the columns takes off what differs from column to column."""
        rng = np.random.default_rng(4)
        columns = 5 * np.sin(np.arange(100) / 8)
        rows = 1000 + np.linspace(0, 20, 60)[:, None]
        pixels = rows + rng.normal(0, 1, SHAPE)
        pixels[:, :100] += columns
        pixels[:50, :100] += 200
        profile = profile_of(
            Amplifier(shape=SHAPE, data="[1:100,1:50]", overscan="[101:120,1:60]", parallel_overscan="[1:100,51:60]")
        )
        # The parallel overscan is not free of what the serial one runs by; its rows lie 8 adu above the mean.
        result = subtract_overscan(frame_of(pixels), profile=profile, window=1)
        data = trim(result, profile=profile).data
        assert np.ptp(data.mean(axis=0) - data.mean(axis=0).mean()) < 4
        assert np.corrcoef(data.mean(axis=0), columns)[0, 1] < 0.5

    def test_two_amplifiers(self, tmp_path):
        """Each has its own level, and the assembled frame is seamless."""
        night = two_amp_night(tmp_path)
        (path, *_) = night.paths("bias")
        ccd = read_frame(tmp_path / path, profile=TWO_AMP)
        result = trim(subtract_overscan(ccd, profile=TWO_AMP), profile=TWO_AMP)
        assert result.data.shape == (64, 128)
        left, right = np.median(result.data[:, :64]), np.median(result.data[:, 64:])
        assert abs(left) < 3
        assert abs(right) < 3
        assert [result.meta[f"AMPSEC{n}"] for n in (1, 2)] == ["[1:64,1:64]", "[65:128,1:64]"]
        regions = amplifier_regions(result, TWO_AMP)
        assert [item.name for _, item in regions] == ["1", "2"]
        assert regions[1][0] == (slice(0, 64), slice(64, 128))
        assert amplifier_regions(ccd, TWO_AMP)[1][0] == (slice(0, 64), slice(72, 136))

    def test_lfc_as_it_comes(self, tmp_path):
        """BIASSEC is one row short; the top row gets its level all the same."""
        path = make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", rows=64)
        assert fits.getheader(path)["BIASSEC"] == "[2049:2080,1:63]"
        ccd = subtract_overscan(read_frame(path))
        assert np.median(ccd.data[-1, 500:2048]) == pytest.approx(np.median(ccd.data[-2, 500:2048]), abs=2)
        assert trim(ccd).data.shape == (64, 2048)

    def test_aspen_has_none(self, tmp_path):
        """Its one-dimensional BIASSEC does not become an image row."""
        path = make_frame(tmp_path / "Bias-S001.fit", instrument="aspen")
        assert fits.getheader(path)["BIASSEC"].count(",") == 0
        with pytest.raises(InputError, match="no usable overscan"):
            subtract_overscan(read_frame(path))
        with pytest.raises(InputError, match=r"BIASSEC: section .* has 1 axis, not two.*passed over"):
            subtract_overscan(read_frame(path, profile="generic"), profile="generic")

    @pytest.mark.parametrize(
        ("biassec", "words"),
        [
            ("[101:130,1:60]", "beyond the frame"),
            ("[91:120,1:60]", "overlaps the data"),
            ("[101:120,1:30]", "only a part"),
        ],
    )
    def test_an_overscan_that_cannot_be_is_refused_in_words(self, raw, biassec, words):
        ccd = frame_of(raw, BIASSEC=biassec, DATASEC="[1:100,1:60]")
        with pytest.raises(InputError, match=words):
            subtract_overscan(ccd, profile=GENERIC)

    def test_lick_counts_columns(self, tmp_path):
        night = nickel_night(tmp_path, size=64)
        (path, *_) = night.paths("bias")
        profile = get_profile("nickel")
        profile = replace(profile, amplifiers=(replace(profile.amplifiers[0], shape=None, data="", overscan=""),))
        ccd = read_frame(tmp_path / path, profile=profile)
        assert ccd.meta["COVER"] == 32
        result = subtract_overscan(ccd, profile=profile)
        assert result.meta["OVSCMEAN"] == pytest.approx(night.frame(path).pedestal, abs=3)
        result = trim(result, profile=profile)
        assert result.data.shape == (64, 64)
        assert "COVER" not in result.meta

    def test_twice(self, raw):
        once = subtract_overscan(frame_of(raw, BIASSEC="[101:120,1:60]"), profile=GENERIC)
        assert is_applied(once.meta, "overscan")
        with pytest.raises(AlreadyAppliedError, match="'overscan' has been applied"):
            subtract_overscan(once, profile=GENERIC)

    def test_after_trimming(self, raw):
        with pytest.raises(AlreadyAppliedError, match="'trim'"):
            subtract_overscan(trim(frame_of(raw, BIASSEC="[101:120,1:60]"), profile=GENERIC), profile=GENERIC)

    @pytest.mark.parametrize("window", [0, -1, 2.5, "51"])
    def test_window(self, raw, window):
        with pytest.raises(ValueError, match="window = "):
            subtract_overscan(frame_of(raw, BIASSEC="[101:120,1:60]"), profile=GENERIC, window=window)

    def test_an_overscan_without_values_is_refused(self, raw, tmp_path):
        """Else the whole frame would become NaN without a word."""
        raw[:, 100:] = np.nan
        with pytest.raises(InputError, match="not finite"):
            subtract_overscan(frame_of(raw, BIASSEC="[101:120,1:60]"), profile=GENERIC)
        path = all_nan(make_frame(tmp_path / "d1001.fits", instrument="nickel"))
        with pytest.raises(InputError, match="not finite"):
            subtract_overscan(read_frame(path))


class TestTrim:
    """`trim`."""

    @pytest.mark.parametrize("edge", [0, 7])
    @pytest.mark.parametrize("biassec", ["[101:120,1:60]", "[1:20,1:60]"])
    def test_sections(self, raw, edge, biassec):
        """CCDSEC and DETSEC are of the detector: they start where the data does, not where the file does."""
        datasec = "[1:100,1:60]" if biassec.startswith("[101") else "[21:120,1:60]"
        profile = profile_of(Amplifier(), edge=edge)
        cards = {"BIASSEC": biassec, "DATASEC": datasec, "TRIMSEC": datasec, "CCDSEC": "[1:100,1:60]"}
        cards |= {"DETSEC": "[2001:2100,1:60]"}
        result = trim(frame_of(raw, **cards), profile=profile)
        nx, ny = 100 - 2 * edge, 60 - 2 * edge
        assert result.data.shape == (ny, nx)
        assert "BIASSEC" not in result.meta
        assert result.meta["DATASEC"] == result.meta["TRIMSEC"] == f"[1:{nx},1:{ny}]"
        assert result.meta["CCDSEC"] == f"[{1 + edge}:{edge + nx},{1 + edge}:{edge + ny}]"
        assert result.meta["DETSEC"] == f"[{2001 + edge}:{2000 + edge + nx},{1 + edge}:{edge + ny}]"
        first = edge + (0 if biassec.startswith("[101") else 20)
        np.testing.assert_array_equal(result.data, raw[edge : 60 - edge, first : first + nx])
        assert result.meta.get("LTV1", 0) == -first
        assert result.meta.get("LTV2", 0) == -edge

    def test_ccdsec_of_a_binned_frame(self, raw):
        """It counts the detector's own pixels."""
        profile = profile_of(Amplifier(), edge=10)
        cards = {"DATASEC": "[1:100,1:60]", "CCDSEC": "[1:200,1:120]", "BIASSEC": "[101:120,1:60]"}
        assert trim(frame_of(raw, **cards), profile=profile).meta["CCDSEC"] == "[21:180,21:100]"

    @pytest.mark.parametrize("ccdsec", ["[1:2048]", "x", "", "[1:151,1:60]"])
    def test_a_ccdsec_that_means_nothing_goes(self, raw, ccdsec):
        assert "CCDSEC" not in trim(frame_of(raw, CCDSEC=ccdsec, BIASSEC="[101:120,1:60]"), profile=GENERIC).meta

    def test_every_world_coordinate_system(self, raw):
        """Alternates move too, and a reference pixel that is not written is 0."""
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 50.0, "CRPIX2": 30.5}
        cards |= {"CRVAL1": 10.0, "CRVAL2": 20.0, "CDELT1": -1e-4, "CDELT2": 1e-4}
        cards |= {"CRPIX1C": 5, "CRPIX2C": 6, "CRVAL1U": 1.0, "CRVAL2U": 1.0, "CDELT1T": 2.0, "LTV1": 3.0}
        profile = profile_of(Amplifier(), edge=4)
        result = trim(frame_of(raw, **cards, BIASSEC="[1:20,1:60]"), profile=profile)
        expected = {"CRPIX1": 26, "CRPIX2": 26.5, "CRPIX1C": -19, "CRPIX2C": 2, "CRPIX1U": -24, "CRPIX2U": -4}
        expected |= {"CRPIX1T": -24, "LTV1": -21, "LTV2": -4}
        assert {key: result.meta[key] for key in expected} == expected

    def test_nothing_is_written_where_nothing_moves(self, raw):
        result = trim(frame_of(raw, CRVAL1U=1.0, BIASSEC="[101:120,1:60]"), profile=GENERIC)
        assert not {"LTV1", "LTV2", "CRPIX1U"} & set(result.meta)

    @pytest.mark.parametrize("value", ["x", True, ""])
    def test_a_reference_pixel_that_is_no_number(self, raw, value):
        """A damaged card must not cost the frame."""
        profile = profile_of(Amplifier(), edge=4)
        result = trim(frame_of(raw, CRPIX1=value, CRVAL1=5.0), profile=profile)
        assert result.data.shape == (52, 112)

    @pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
    @pytest.mark.parametrize("through", ["header", "wcs attribute"])
    def test_the_sky_stays_where_it_is(self, tmp_path, through):
        """A pixel has the same position before and after; also when astropy took the cards out of the header."""
        header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 30.0, "CRPIX2": 20.0, "CRVAL1": 150.0}
        header |= {"CRVAL2": 2.0, "CD1_1": -1e-4, "CD1_2": 3e-6, "CD2_1": 2e-6, "CD2_2": 1e-4}
        path = make_frame(tmp_path / "a.fits", kind="science", shape=SHAPE, header=header)
        profile = profile_of(Amplifier(shape=SHAPE, data="[13:120,1:60]", overscan="[1:12,1:60]"), edge=5)
        ccd = read_frame(path, profile=profile)
        if through != "header":
            ccd = CCDData.read(path, unit="adu")
            assert "CTYPE1" not in ccd.meta
        result = trim(ccd, profile=profile)
        before = fits.getheader(path)
        expected = make_ccd(np.zeros(SHAPE), unit="adu", meta=before).wcs.wcs_pix2world([[40, 33]], 0)
        np.testing.assert_allclose(result.wcs.wcs_pix2world([[40 - 17, 33 - 5]], 0), expected, atol=1e-9)

    def test_flags_and_uncertainty_go_with_the_pixels(self, raw):
        """Whatever kind the uncertainty is of."""
        sigma = np.arange(raw.size, dtype=np.float32).reshape(raw.shape)
        for uncertainty in (StdDevUncertainty(sigma), VarianceUncertainty(sigma**2)):
            ccd = frame_of(raw, BIASSEC="[1:20,1:60]")
            ccd.uncertainty = uncertainty
            ccd.flags[10, 40] = 4
            result = trim(ccd, profile=profile_of(Amplifier(), edge=2))
            assert result.flags[8, 18] == 4
            assert np.count_nonzero(result.flags) == np.count_nonzero(result.mask) == 1
            np.testing.assert_allclose(result.uncertainty.array, sigma[2:-2, 22:-2], rtol=1e-6)

    @pytest.mark.parametrize("meta", [None, {}, {"BIASSEC": "[101:120,1:60]", "CRPIX1": 5.0}])
    def test_any_mapping_as_header(self, raw, meta):
        ccd = CCDData(raw.astype(">f8"), unit="adu", meta=meta)
        result = trim(ccd, profile=GENERIC)
        assert result.data.shape == ((60, 100) if meta else SHAPE)
        assert result.data.dtype == np.float32
        assert is_applied(result.meta, "trim")

    def test_twice(self, raw):
        once = trim(frame_of(raw), profile=GENERIC)
        with pytest.raises(AlreadyAppliedError, match="'trim' has been applied"):
            trim(once, profile=GENERIC)
        with pytest.raises(AlreadyAppliedError, match="TRIMIM"):
            trim(frame_of(raw, TRIMIM="x"), profile=GENERIC)

    def test_the_steps_are_told(self, raw):
        result = trim(subtract_overscan(frame_of(raw, BIASSEC="[101:120,1:60]"), profile=GENERIC), profile=GENERIC)
        assert [item.step for item in records_of(result)] == ["overscan", "trim"]
        assert result.meta["TRIM"] == "ccdnight: to [1:100,1:60]"
        assert result.meta["OVERSCAN"].startswith("ccdnight: clipped row means over 51 rows, mean 101")
        assert len(result.meta["HISTORY"]) == 2


class TestFrames:
    """A frame given as path or CCDData."""

    def test_a_path_is_matched_by_its_header(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel")
        for given in (path, str(path)):
            ccd, profile, name = as_frame(given)
            assert (profile.name, name, ccd.data.ndim) == ("nickel", str(path), 2)

    def test_a_ccddata_is_taken_as_it_is(self, raw):
        ccd = frame_of(raw)
        assert as_frame(ccd)[:2] == (ccd, None)
        assert as_frame(ccd, "lfc")[1].name == "lfc"

    @pytest.mark.parametrize("frame", [None, 5, np.zeros((2, 2))])
    def test_anything_else_is_refused(self, frame):
        with pytest.raises(TypeError, match="a frame is a CCDData or a path"):
            as_frame(frame)

    def test_find_profile(self):
        assert find_profile(None, {"INSTRUME": "LFC"}).name == "lfc"
        assert find_profile(None, {}).name == "generic"
        assert find_profile("aspen", {"INSTRUME": "LFC"}).name == "aspen"
