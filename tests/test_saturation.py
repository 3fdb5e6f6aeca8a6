"""Saturated stars: grown, their trails followed to the end, and round stars left alone."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_frame

from ccdnight.calibration import calibrate
from ccdnight.cosmicrays import flag_cosmic_rays
from ccdnight.flags import FLAGS
from ccdnight.products import make_ccd
from ccdnight.profiles import get_profile
from ccdnight.profiles.model import Amplifier
from ccdnight.readout import read_frame, trim
from ccdnight.saturation import flag_saturation, mark_saturation, trail_regions
from ccdnight.simulate import simulate_night
from ccdnight.simulate.charge import bleed
from ccdnight.simulate.stars import paint_stars

SATURATED, BLEED = FLAGS["SATURATED"].value, FLAGS["BLEED"].value
WELL, NOISE, SKY = 90000.0, 8.0, 300.0


def field(seed=1, shape=(400, 300), *, fwhm=3.5, brightest=2e7, level=0.97, stars=40):
    """A star field in electron, with the charge beyond the full well bled; what bled and what every star is."""
    rng = np.random.default_rng(seed)
    light = np.full(shape, SKY, np.float32)
    x, y = rng.uniform(0, shape[1], stars), rng.uniform(0, shape[0], stars)
    flux = 10 ** rng.uniform(4, np.log10(brightest), stars)
    paint_stars(light, x, y, flux, fwhm=fwhm, beta=4.765)
    charge = rng.poisson(light).astype(np.float32)
    before = charge.copy()
    bleed(charge, WELL)
    taken = charge - before
    data = charge + rng.normal(0, NOISE, shape).astype(np.float32)
    sigma = np.sqrt(np.maximum(charge, 0) + NOISE**2)
    flags = np.where(data >= level * WELL, SATURATED, 0).astype(np.uint16)
    return make_ccd(data, unit="electron", sigma=sigma, flags=flags), {"taken": taken, "sigma": sigma, "light": light}


def flagged(ccd, bit):
    return (ccd.flags & bit) > 0


class TestTrails:
    """Trails of the simulator, whose charge is conserved."""

    @pytest.mark.parametrize("level", [0.97, 0.6])
    @pytest.mark.parametrize("fwhm", [2.0, 3.5, 5.0])
    def test_completeness_and_false_flags(self, fwhm, level):
        """Pixels that took charge are flagged; those of round stars are not."""
        seen = there = wrong = clear = 0
        for seed in range(6):
            ccd, truth = field(seed, fwhm=fwhm, level=level)
            result, grown = flag_saturation(ccd, grow=0), flag_saturation(ccd)
            took = truth["taken"] > 5 * truth["sigma"]
            marked = flagged(grown, BLEED | SATURATED)
            seen, there = seen + np.count_nonzero(marked & took), there + np.count_nonzero(took)
            round_star = (truth["taken"] == 0) & (ccd.flags == 0)
            wrong, clear = wrong + np.count_nonzero(flagged(result, BLEED) & round_star), clear + round_star.sum()
        assert there > 500
        assert seen > 0.995 * there
        assert wrong < 1e-4 * clear

    def test_charge_is_conserved(self):
        """But for what reaches the ends of the columns."""
        charge = np.full((200, 5), 100.0, np.float32)
        charge[100, 2] = 20 * WELL
        before = charge.sum(dtype=float)
        bleed(charge, WELL)
        assert charge.sum(dtype=float) == pytest.approx(before, rel=1e-6)
        assert charge.max() == pytest.approx(WELL)

    def test_nothing_where_nothing_bleeds(self):
        ccd, _ = field(3, brightest=8e5)
        assert not flagged(flag_saturation(ccd), BLEED | SATURATED).any()

    def test_stars_drawn_out_by_a_tenth_do_not_bleed(self):
        y, x = np.mgrid[:81, :81] - 40.0
        r2 = (x / 1.0) ** 2 + (y / 1.1) ** 2
        data = np.minimum(SKY + 4e6 / (1 + r2 / 9) ** 4.765, 2e5).astype(np.float32)
        flags = np.where(data >= 1.9e5, SATURATED, 0).astype(np.uint16)
        assert flags.any()
        ccd = make_ccd(data, unit="electron", sigma=np.sqrt(data), flags=flags)
        assert not flagged(flag_saturation(ccd), BLEED).any()

    def test_along_rows(self):
        """Without a profile the cores tell along what they bleed; with one the amplifier does."""
        ccd, _ = field(2)
        expected = flag_saturation(ccd)
        turned = make_ccd(ccd.data.T.copy(), unit="electron", sigma=ccd.uncertainty.array.T, flags=ccd.flags.T)
        np.testing.assert_array_equal(flag_saturation(turned).flags, expected.flags.T)
        told = replace(get_profile("generic"), amplifiers=(Amplifier(bleed="rows"),))
        np.testing.assert_array_equal(flag_saturation(turned, profile=told).flags, expected.flags.T)
        other = replace(told, amplifiers=(Amplifier(bleed="columns"),))
        assert not np.array_equal(flag_saturation(turned, profile=other).flags, expected.flags.T)

    def test_the_overscan_tells_the_axis(self, tmp_path):
        frame = read_frame(make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", kind="science", rows=64))
        assert [axis for _, axis in trail_regions(frame, get_profile("lfc"))] == [0]
        sections = {"shape": (60, 80), "data": "[1:80,1:50]", "overscan": "[1:80,51:60]"}
        profile = replace(get_profile("generic"), amplifiers=(Amplifier(**sections),))
        rows = make_ccd(np.ones((60, 80)), unit="adu")
        assert [axis for _, axis in trail_regions(rows, profile)] == [1]
        arcsat = make_ccd(np.ones((1024, 1024)), unit="adu")
        assert [axis for _, axis in trail_regions(arcsat, get_profile("arcsat"))] == [None]

    def test_strange_frames(self):
        """All saturated, all NaN, one pixel, nothing but a defect."""
        for data, flags in (
            (np.full((40, 30), 6e4), np.full((40, 30), SATURATED)),
            (np.full((40, 30), np.nan), np.full((40, 30), SATURATED)),
            (np.full((1, 1), 6e4), np.full((1, 1), SATURATED)),
            (np.full((40, 30), 6e4), np.where(np.eye(40, 30) > 0, SATURATED, 0)),
        ):
            result = flag_saturation(make_ccd(data, unit="adu", flags=flags))
            assert (flagged(result, SATURATED) >= (flags > 0)).all()

    @pytest.mark.parametrize("over", [1.001, 1.04])
    def test_wells_that_are_full_below_saturation(self, over):
        """The profile's saturation is a few percent too high: what bleeds is saturated all the same."""
        ccd, truth = field(1)
        flags = np.zeros(ccd.data.shape, np.uint16)
        mark_saturation(ccd.data, ccd.uncertainty.array, flags, trail_regions(ccd, None), level=over * WELL)
        took = truth["taken"] > 5 * truth["sigma"]
        # A core that bleeds by less than the steep wings of its star cannot be told from one that does not.
        assert np.count_nonzero(took & (flags & (SATURATED | BLEED) > 0)) > 0.94 * took.sum()
        # Stars that come near to it and do not bleed are left alone.
        ccd, _ = field(3, brightest=8e5)
        flags = np.zeros(ccd.data.shape, np.uint16)
        mark_saturation(ccd.data, ccd.uncertainty.array, flags, trail_regions(ccd, None), level=ccd.data.max())
        assert not flags.any()

    def test_raw_and_calibrated(self, tmp_path):
        """The same trails are found in the raw frame and in what becomes of it."""
        truth = simulate_night(tmp_path, "lfc", seed=2)
        for name in truth.select("science")[3:5]:
            path = truth.raw_folder / name
            raw = trim(flag_saturation(read_frame(path, profile="lfc"), profile="lfc"), profile="lfc")
            made = calibrate(path, profile="lfc")
            one, other = flagged(raw, BLEED), flagged(made, BLEED)
            assert np.count_nonzero(one & other) > 0.9 * max(one.sum(), other.sum()) > 0
            full = truth.saturated(name)
            assert (flagged(made, SATURATED | BLEED) & full).sum() > 0.95 * full.sum() > 0


class TestGrowing:
    """By a pixel, or as the profile says."""

    @pytest.mark.parametrize("grow", [0, 1, 2])
    def test_by_so_many_pixels(self, grow):
        flags = np.zeros((20, 20), np.uint16)
        flags[0, 0] = flags[10, 12] = SATURATED
        rng = np.random.default_rng(1)
        ccd = make_ccd(rng.normal(100, 5, flags.shape) + 6e4 * flags, unit="adu", flags=flags)
        near = flagged(flag_saturation(ccd, grow=grow), SATURATED)
        expected = np.zeros_like(near)
        for y, x in ((0, 0), (10, 12)):
            expected[max(0, y - grow) : y + grow + 1, max(0, x - grow) : x + grow + 1] = True
        np.testing.assert_array_equal(near, expected)

    def test_as_the_profile_says(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=300.0)
        counts = []
        for grow in (0, 1, 2):
            profile = get_profile("nickel")
            profile = replace(profile, policy=replace(profile.policy, grow_saturated=grow))
            frame = read_frame(path, profile=profile)
            frame.flags[20, 20] |= SATURATED
            frame.data[20, 20] = 65535
            counts.append(np.count_nonzero(flagged(calibrate(frame, profile=profile), SATURATED)))
        assert counts == [1, 9, 25]

    def test_bad_pixels_do_not_grow(self):
        flags = np.zeros((20, 20), np.uint16)
        flags[10, 12] = SATURATED | FLAGS["BAD_PIXEL"].value
        ccd = make_ccd(np.full(flags.shape, 100.0), unit="adu", flags=flags)
        np.testing.assert_array_equal(flag_saturation(ccd).flags, flags)

    def test_what_is_not_allowed(self):
        with pytest.raises(ValueError, match="grow = -1; it must be a whole number of 0 or more"):
            flag_saturation(make_ccd(np.ones((9, 9)), unit="adu"), grow=-1)

    def test_the_raw_values_decide(self, tmp_path):
        """The end of the converter is the end, whatever bias and gain make of it."""
        path = make_frame(tmp_path / "d1.fits", instrument="arcsat", kind="science", level=300.0)
        raw = read_frame(path, profile="arcsat")
        raw.data[5, 5] = 65535
        made = calibrate(raw, profile="arcsat", bias=make_ccd(np.full(raw.data.shape, 1000.0), unit="adu"),
                         saturation=65535, grow=0)  # fmt: skip
        assert np.flatnonzero(flagged(made, SATURATED)).tolist() == [5 * raw.data.shape[1] + 5]
        assert made.data[5, 5] < 65535 * 1.35


def test_cosmic_rays_are_not_looked_for_in_trails():
    """Saturation and trails are left out with a pixel around."""
    ccd, _ = field(1)
    ccd.meta["RDNOISE"] = NOISE
    result = flag_cosmic_rays(flag_saturation(ccd))
    assert not (flagged(result, FLAGS["COSMIC_RAY"].value) & flagged(result, BLEED | SATURATED)).any()
