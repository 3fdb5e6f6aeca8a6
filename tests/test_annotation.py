"""What an observer asks a science frame's header."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from builders import make_frame

from ccdnight.annotation import annotate, noise_ratio, sky_of
from ccdnight.calibration import calibrate
from ccdnight.observation import airmass_at, parse_time
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.profiles import get_profile
from ccdnight.simulate.stars import paint_stars

GENERIC = get_profile("generic")
SITE = {"SITELAT": "+33 21 22", "SITELONG": "-116 51 54"}
FIELD = {"RA": "09:16:02.2", "DEC": "+52:50:24"}
TIME = {"DATE-OBS": "2016-01-16T08:12:00", "EXPTIME": 300.0}


def frame(level=100.0, scatter=7.0, flags=None, shape=(300, 400), **meta):
    rng = np.random.default_rng(1)
    return make_ccd(rng.normal(level, scatter, shape), unit="electron", meta=meta, flags=flags)


class TestNoiseRatio:
    """Whether the uncertainties are those of the pixels."""

    @staticmethod
    def frame(*, factor=1.0, uneven=0.0, stars=0, shape=(500, 600)):
        rng = np.random.default_rng(5)
        image = np.full(shape, 400.0)
        x, y, light = rng.uniform(0, shape[1], stars), rng.uniform(0, shape[0], stars), 10 ** rng.uniform(3, 5, stars)
        paint_stars(image, x, y, light, fwhm=4.0, beta=3.5)
        sigma = np.sqrt(image + 25) * rng.lognormal(0, uneven, shape)
        return make_ccd(rng.normal(image, factor * sigma), unit="electron", sigma=sigma)

    @pytest.mark.parametrize("factor", [0.8, 1.0, 1.15, 2.0])
    @pytest.mark.parametrize("uneven", [0.0, 0.5])
    @pytest.mark.parametrize("stars", [0, 300, 3000])
    def test_it_is_what_was_put_in(self, factor, uneven, stars):
        """In an empty field, in a crowded one, and where every pixel has a noise of its own."""
        ratio, error = noise_ratio(self.frame(factor=factor, uneven=uneven, stars=stars))
        assert 0 < error < 0.01
        assert ratio == pytest.approx(factor, rel=0.02)

    def test_flagged_and_masked_pixels_are_left_out(self):
        ccd = self.frame()
        right = noise_ratio(ccd)[0]
        ccd.data[:, 100:180] *= np.random.default_rng(1).uniform(0, 9, (500, 80))
        ccd.flags[:, 100:140], ccd.mask[:, 140:180] = 2, True
        assert noise_ratio(ccd)[0] == pytest.approx(right, abs=0.01)

    def test_where_there_is_nothing_to_tell_it_from(self):
        without = frame()
        without.uncertainty = None
        tiny, narrow = self.frame(shape=(20, 20)), self.frame(shape=(900, 3))
        lost = self.frame()
        lost.flags[:] = 2
        for ccd in (without, tiny, narrow, lost):
            assert np.isnan(noise_ratio(ccd)).all()
            assert annotate(ccd, GENERIC)["noise_ratio"] is None
            assert "NOISERAT" not in ccd.meta
        told = annotate(ccd := self.frame(), GENERIC)["noise_ratio"]
        assert ccd.meta["NOISERAT"] == pytest.approx(told["value"], abs=1e-4)
        json.dumps(told)


class TestShape:
    """Flatness and seeing, in the header and as they are told."""

    @staticmethod
    def stars(**meta):
        ccd = frame(shape=(400, 500), **meta)
        rng = np.random.default_rng(2)
        x, y, light = rng.uniform(20, 480, 30), rng.uniform(20, 380, 30), 10 ** rng.uniform(4, 5, 30)
        image = np.zeros(ccd.data.shape)
        paint_stars(image, x, y, light, fwhm=4.0, beta=3.5)
        ccd.data += image.astype(np.float32)
        return ccd

    def test_of_a_field_of_stars(self):
        ccd = self.stars(SECPIX=0.5, OBJECT="M31", FILTER="V", **TIME)
        told = annotate(ccd, GENERIC)
        assert told["fwhm"]["value"] == pytest.approx(4.06, rel=0.02)
        assert 0 < told["fwhm"]["error"] < 0.1
        assert told["fwhm_arcsec"]["value"] == pytest.approx(told["fwhm"]["value"] / 2)
        assert (told["fwhm"]["unit"], told["fwhm_arcsec"]["unit"]) == ("pixel", "arcsec")
        assert ccd.meta["FWHMPIX"] == pytest.approx(told["fwhm"]["value"], abs=6e-4)
        assert ccd.meta["FWHMSEC"] == pytest.approx(told["fwhm_arcsec"]["value"], abs=6e-4)
        assert f"median of {told['stars']}" in ccd.meta.comments["FWHMPIX"]
        assert ccd.meta["SKYFLAT"] == pytest.approx(told["flatness"]["value"], abs=1e-4)
        assert (told["object"], told["filter"], told["exposure"], told["shape"]) == ("M31", "V", 300.0, [400, 500])

    def test_arcseconds_only_where_the_scale_is_known(self):
        ccd = self.stars()
        told = annotate(ccd, GENERIC)
        assert told["fwhm"] is not None
        assert told["fwhm_arcsec"] is None
        assert "FWHMSEC" not in ccd.meta

    def test_not_without_stars(self):
        ccd = frame()
        told = annotate(ccd, GENERIC)
        assert (told["fwhm"], told["stars"]) == (None, 0)
        assert "FWHMPIX" not in ccd.meta

    def test_all_of_it_can_stand_in_json(self):
        flags = np.ones((300, 400), np.uint16)
        for ccd in (self.stars(), frame(), frame(flags=flags)):
            assert json.loads(json.dumps(annotate(ccd, GENERIC), allow_nan=False))

    def test_a_gradient_is_not_flat(self):
        ccd = frame(level=500, shape=(400, 500))
        even = annotate(ccd, GENERIC)["flatness"]["value"]
        ccd.data += np.linspace(0, 100, 500, dtype=np.float32)
        assert even < 2
        assert annotate(ccd, GENERIC)["flatness"]["value"] == pytest.approx(100 / np.sqrt(12), rel=0.12)


class TestTime:
    """The middle of the exposure."""

    def test_in_every_form(self):
        ccd = frame(**TIME)
        told = annotate(ccd, GENERIC)
        assert ccd.meta["DATE-AVG"] == "2016-01-16T08:14:30.000"
        assert ccd.meta["JD-MID"] == pytest.approx(2457403.84340278, abs=1e-8)
        assert ccd.meta["MJD-AVG"] == pytest.approx(57403.34340278, abs=1e-8)
        assert told["jd_mid"] == pytest.approx(2457403.84340278, abs=1e-8)

    @pytest.mark.parametrize("missing", ["DATE-OBS", "EXPTIME"])
    def test_not_where_it_cannot_be_known(self, missing):
        ccd = frame(**{key: value for key, value in TIME.items() if key != missing})
        assert annotate(ccd, GENERIC)["jd_mid"] is None
        assert "JD-MID" not in ccd.meta

    def test_lfc(self, tmp_path):
        """Date and time of day are in cards of their own."""
        path = make_frame(
            tmp_path / "ccd.037.0.fits",
            kind="science",
            instrument="lfc",
            rows=32,
            exposure=300.0,
            filter="g'",
            time="2016-01-16T08:12:00",
        )
        assert fits.getheader(path)["DATE-OBS"] == "2016-01-16"
        ccd = calibrate(path)
        annotate(ccd, get_profile("lfc"))
        assert ccd.meta["DATE-AVG"] == "2016-01-16T08:14:30.000"
        assert ccd.meta["AIRMASS"] == pytest.approx(1.13, abs=0.12)
        write_ccd(ccd, tmp_path / "x.fits")
        assert read_ccd(tmp_path / "x.fits").meta["JD-MID"] == ccd.meta["JD-MID"]


class TestAirmass:
    """At mid-exposure where it can be computed, else the header's."""

    EXPECTED = airmass_at(parse_time("2016-01-16T08:14:30"), 139.009, 52.84, 33.3561, -116.865)

    def test_computed(self):
        ccd = frame(**TIME, **SITE, **FIELD)
        assert annotate(ccd, GENERIC)["airmass"] == pytest.approx(self.EXPECTED, abs=2e-4)
        assert ccd.meta["AIRMASS"] == pytest.approx(self.EXPECTED, abs=2e-4)
        assert "middle" in ccd.meta.comments["AIRMASS"]

    def test_the_site_of_the_profile(self):
        profile = replace(GENERIC, latitude=33.3561, longitude=-116.865)
        assert annotate(frame(**TIME, **FIELD), profile)["airmass"] == pytest.approx(self.EXPECTED, abs=2e-4)

    @pytest.mark.parametrize(
        ("cards", "expected"),
        [
            # The header's value is of the beginning, so a small difference is none.
            ({**SITE, **FIELD, "AIRMASS": 1.10}, "computed"),
            # A longitude counted to the west, or a parked telescope, contradict it.
            ({**SITE, **FIELD, "SITELONG": "116 51 54", "AIRMASS": 1.10}, 1.10),
            ({**SITE, "RA": "21:00:00", "DEC": "+10:00:00", "AIRMASS": 1.10}, 1.10),
            ({**SITE, **FIELD, "AIRMASS": "N/A"}, "computed"),
            ({"AIRMASS": 1.25}, 1.25),
            ({"SECZ": "1.25"}, 1.25),
            ({"AIRMASS": 0.0}, None),
            ({"AIRMASS": -1}, None),
            ({}, None),
            ({**SITE, "RA": "x", "DEC": "y"}, None),
        ],
    )
    def test_against_the_header(self, cards, expected):
        ccd = frame(**TIME, **cards)
        found = annotate(ccd, GENERIC)["airmass"]
        if expected == "computed":
            assert found == pytest.approx(self.EXPECTED, abs=2e-4)
        else:
            assert found == expected

    def test_below_the_horizon_there_is_none(self):
        ccd = frame(**TIME, **SITE, RA="21:00:00", DEC="-60:00:00")
        assert annotate(ccd, GENERIC)["airmass"] is None
        assert "AIRMASS" not in ccd.meta


class TestSky:
    """Level and scatter of the background."""

    @pytest.mark.parametrize("stars", [0.0, 0.02])
    def test_level_and_scatter(self, stars):
        ccd = frame()
        rng = np.random.default_rng(2)
        ccd.data[rng.random(ccd.shape) < stars] += 3000
        level, scatter = sky_of(ccd)[:2]
        assert level == pytest.approx(100, abs=0.15)
        assert scatter == pytest.approx(7, rel=0.01)
        annotate(ccd, GENERIC)
        assert ccd.meta["SKYLEVEL"] == pytest.approx(level, abs=1e-4)
        assert ccd.meta["SKYSIGMA"] == pytest.approx(scatter, abs=1e-4)
        assert "[electron]" in ccd.meta.comments["SKYLEVEL"]

    def test_flagged_pixels_are_left_out(self):
        flags = np.zeros((300, 400))
        flags[:, :250] = 1
        ccd = frame(flags=flags)
        ccd.data[:, :250] = 9e9
        assert sky_of(ccd)[0] == pytest.approx(100, abs=0.2)

    def test_where_no_pixel_is_good(self):
        """No card says NaN, which FITS does not know."""
        ccd = frame(flags=np.ones((300, 400)))
        told = annotate(ccd, GENERIC)
        assert told["sky"] is None
        assert told["sky_sigma"] is None
        assert "SKYLEVEL" not in ccd.meta
