"""Bad pixels: what is planted is found, ccdmask is met, and a mask does what it says in a frame."""

from dataclasses import replace
from pathlib import Path

import builders
import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from click.testing import CliRunner
from scipy import ndimage

from ccdnight import Night, Plan, calibrate, make_bad_pixel_mask, read_ccd, write_ccd
from ccdnight.badpixels import CAUSES, cause_flags, describe_causes, fill_bad_pixels, find_outliers
from ccdnight.badpixels.columns import close_gaps, column_segments
from ccdnight.badpixels.local import each_block_row, local_median, local_sigma
from ccdnight.badpixels.outliers import box_median
from ccdnight.badpixels.spread import range_factors
from ccdnight.cli import main
from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.masters import make_bias, make_flat
from ccdnight.products import flags_of, make_ccd

SHAPE = (96, 128)


def frames(kind, count=6, seed=1, noise=5.0, **meta):
    """Frames in adu of an even detector, as arrays to plant something in, and what makes CCDData of them."""
    rng = np.random.default_rng([seed, count, len(kind)])
    level = {"bias": 1000.0, "dark": 1000.0, "flat": 20000.0}[kind]
    arrays = [level + rng.normal(0, noise * (20 if kind == "flat" else 1), SHAPE) for _ in range(count)]
    meta = {"GAIN": 1.0, "RDNOISE": noise, "EXPTIME": 100.0 if kind == "dark" else 5.0} | meta
    return arrays, lambda: [make_ccd(array, unit="adu", meta=meta) for array in arrays]


def has(mask, name, *places):
    """Whether exactly these pixels have a cause."""
    y, x = np.nonzero(mask.data & CAUSES[name].value)
    return sorted(zip(y.tolist(), x.tolist(), strict=True)) == sorted(places)


class TestMethodOfCcdmask:
    """The same pixels as ccdproc.ccdmask, columns aside."""

    @pytest.mark.parametrize("shape", [(60, 75), (61, 47), (16, 90)])
    @pytest.mark.parametrize("running", [False, True])
    def test_same_mask(self, shape, running):
        rng = np.random.default_rng(4)
        ratio = rng.normal(1, 0.01, shape).astype(np.float32)
        ratio[rng.integers(0, shape[0], 40), rng.integers(0, shape[1], 40)] += rng.normal(0, 0.2, 40).astype(np.float32)
        ratio[:, 20] *= np.float32(0.8)
        ours = find_outliers(CCDData(ratio, unit=""), running=running)
        theirs = ccdproc.ccdmask(CCDData(ratio, unit=""), byblocks=not running)
        assert ours.sum() > shape[0]
        assert np.array_equal(ours, theirs)

    def test_other_boxes(self):
        ratio = np.random.default_rng(5).normal(1, 0.01, (50, 60)).astype(np.float32)
        ours = find_outliers(ratio, median=(3, 11), block=(10, 12), low=5, high=4)
        options = {"nlmed": 3, "ncmed": 11, "nlsig": 10, "ncsig": 12, "lsigma": 5, "hsigma": 4, "byblocks": True}
        assert np.array_equal(ours, ccdproc.ccdmask(CCDData(ratio, unit=""), **options))

    def test_median_is_that_of_scipy(self):
        image = np.random.default_rng(6).normal(0, 1, (33, 300)).astype(np.float32)
        for box in ((7, 7), (1, 5), (9, 3), (13, 13)):
            assert np.array_equal(box_median(image, box), ndimage.median_filter(image, size=box))

    def test_median_of_medians(self):
        image = np.random.default_rng(7).normal(0, 1, (40, 50)).astype(np.float32)
        expected = ndimage.median_filter(ndimage.median_filter(image, size=(1, 7)), size=(7, 1))
        assert np.array_equal(local_median(image), expected)
        assert np.array_equal(local_median(image, slice(30, 40)), expected[30:])

    @pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 600), (130, 4), (100, 513)])
    def test_median_of_medians_of_any_shape(self, shape):
        image = np.random.default_rng(7).normal(0, 1, shape).astype(np.float32)
        expected = ndimage.median_filter(ndimage.median_filter(image, size=(1, 7)), size=(7, 1))
        assert np.array_equal(local_median(image), expected)

    def test_not_finite_is_bad(self):
        ratio = np.random.default_rng(8).normal(1, 0.01, (40, 40))
        ratio[3, 4] = np.nan
        assert find_outliers(ratio)[3, 4]

    @pytest.mark.parametrize("options", [{"median": (4, 7)}, {"median": (7,)}, {"running": True, "block": (10, 15)}])
    def test_even_boxes_are_refused(self, options):
        with pytest.raises(InputError, match="odd"):
            find_outliers(np.ones((30, 30)), **options)

    def test_a_cube_is_refused(self):
        with pytest.raises(InputError, match="axes"):
            find_outliers(np.ones((3, 30, 30)))


class TestSpread:
    """The limit follows from the number of frames."""

    @pytest.mark.parametrize("n", [3, 5, 6, 10, 25])
    def test_range_without_the_highest(self, n):
        mean, limit = range_factors(n, 1e-3)
        values = np.sort(np.random.default_rng(n).standard_normal((200_000, n)), axis=1)
        ranges = values[:, -2] - values[:, 0]
        assert ranges.mean() == pytest.approx(mean, abs=0.005)
        assert np.mean(ranges > limit) == pytest.approx(1e-3, rel=0.25)

    def test_noisy_pixel_is_found_and_cosmic_rays_are_not(self):
        arrays, make = frames("bias", 8)
        rng = np.random.default_rng(2)
        for array in arrays:
            array[10, 20] += rng.normal(0, 60)
            array[rng.integers(0, SHAPE[0], 4), rng.integers(0, SHAPE[1], 4)] += 3000
            array += rng.normal(0, 3) + np.linspace(0, rng.normal(0, 20), SHAPE[0])[:, None]
        assert has(make_bad_pixel_mask(biases=make()), "NOISY", (10, 20))

    def test_unstable_pixel(self):
        arrays, make = frames("dark", 5)
        for array, charge in zip(arrays, (0, 300, 0, 300, 300), strict=True):
            array[30, 40] += charge
        assert has(make_bad_pixel_mask(darks=make()), "UNSTABLE", (30, 40))

    def test_photon_noise_is_not_instability(self):
        arrays, make = frames("dark", 5)
        rng = np.random.default_rng(3)
        for array in arrays:
            array[::8, ::8] += rng.poisson(40000, array[::8, ::8].shape)
        mask = make_bad_pixel_mask(darks=make())
        assert has(mask, "UNSTABLE")
        assert describe_causes(mask.data)["HOT"] == 12 * 16

    def test_two_biases_tell_nothing_and_that_is_said(self):
        mask = make_bad_pixel_mask(biases=frames("bias", 2)[1]())
        assert describe_causes(mask.data) == {}
        assert "2 frames cannot tell of spread" in str(mask.meta["HISTORY"])


class TestLevels:
    """Hot, dead, unexposed; columns and patches."""

    def test_hot_pixel(self):
        arrays, make = frames("dark", 5)
        for array in arrays:
            array[50, 60] += 100
        assert has(make_bad_pixel_mask(darks=make()), "HOT", (50, 60))

    def test_glow_is_not_hot(self):
        arrays, make = frames("dark", 5)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        rng = np.random.default_rng(9)
        for array in arrays:
            array += rng.poisson(1000 * np.exp(-np.hypot(x, y) / 60))
        assert describe_causes(make_bad_pixel_mask(darks=make()).data) == {}

    def test_single_dark_is_not_believed(self):
        arrays, make = frames("dark", 1)
        arrays[0][50, 60] += 1000
        mask = make_bad_pixel_mask(darks=make())
        assert describe_causes(mask.data) == {}
        assert "hot pixels are not known" in str(mask.meta["HISTORY"])

    def test_flats(self):
        arrays, make = frames("flat", 3)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        for array in arrays:
            array *= 1 - 0.3 * ((x / 128 - 0.5) ** 2 + (y / 96 - 0.5) ** 2)
            array[20, 30] *= 0.3
            array[25, 90] *= 0.9
            array[-5:] = 0.01 * array[-5:]
        mask = make_bad_pixel_mask(flats=make())
        assert has(mask, "DEAD", (20, 30))
        assert has(mask, "RESPONSE", (25, 90))
        assert has(mask, "UNEXPOSED", *((y, x) for y in range(91, 96) for x in range(128)))
        assert mask.flags[20, 30] == FLAGS["BAD_PIXEL"].value
        assert mask.flags[-1, 5] == FLAGS["BAD_PIXEL"].value | FLAGS["NO_DATA"].value

    def test_patch_larger_than_the_median(self):
        arrays, make = frames("flat", 3)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        patch = np.hypot(x - 60, y - 50) < 9
        for array in arrays:
            array[patch] *= 0.5
        mask = make_bad_pixel_mask(flats=make())
        assert (mask.data[patch] != 0).mean() > 0.95

    def test_star_in_one_of_three_filters(self):
        groups = []
        for name in "BVR":
            arrays, make = frames("flat", 3, seed=ord(name), FILTER=name)
            for array in arrays:
                array[70, 80] *= 0.5
                array[40, 40] *= 1.5 if name == "B" else 1
            groups += make()
        mask = make_bad_pixel_mask(flats=groups, profile="generic")
        assert mask.data[70, 80]
        assert not mask.data[40, 40]

    def test_flats_of_two_levels(self):
        """A trap holds back the same charge at every level."""
        arrays, make = frames("flat", 4)
        for number, array in enumerate(arrays):
            array *= 0.2 if number < 2 else 1.0
            array[60, 70] -= 1500
        mask = make_bad_pixel_mask(flats=make())
        assert has(mask, "NONLINEAR", (60, 70))

    def test_faint_column(self):
        """No pixel of it stands out by itself."""
        arrays, make = frames("dark", 4)
        for array in arrays:
            array[30:, 64] += 8
        mask = make_bad_pixel_mask(darks=make())
        column = (mask.data & CAUSES["COLUMN"].value) != 0
        assert column[34:94, 64].all()
        assert column.sum() - column[:, 64].sum() == 0
        assert not column[:24, 64].any()

    def test_column_at_the_limit_in_every_bias(self):
        arrays, make = frames("bias", 5)
        for array in arrays:
            array[:, 33] = 65535
        mask = make_bad_pixel_mask(biases=make())
        assert (mask.data[:, 33] & CAUSES["LEVEL"].value).all()
        assert np.count_nonzero(mask.data) == SHAPE[0]


class TestColumns:
    def test_segment_and_its_ends(self):
        z = np.random.default_rng(1).normal(0, 1, (2000, 40)).astype(np.float32)
        z[600:900, 7] -= 2
        found = column_segments(z)
        assert found[605:895, 7].all()
        assert found.sum() == pytest.approx(300, abs=20)
        assert found[:, 7].sum() == found.sum()

    def test_noise_has_no_segments(self):
        assert not column_segments(np.random.default_rng(2).normal(0, 1, (1000, 1000)).astype(np.float32)).any()

    def test_gaps(self):
        bad = np.zeros((20, 3), bool)
        bad[[2, 6, 13], 1] = True
        bad[[0, 19], 2] = True
        closed = close_gaps(bad, 3)
        assert np.argwhere(closed).tolist() == [[3, 1], [4, 1], [5, 1]]

    def test_sigma_in_blocks(self):
        image = np.random.default_rng(3).normal(0, 2, (100, 150)).astype(np.float32)
        image[:50] *= 3
        sigma = np.zeros_like(image)

        def measure(part, rows):
            sigma[part][rows] = local_sigma(image[part][rows])

        each_block_row(measure, [(slice(0, 100), slice(0, 70)), (slice(0, 100), slice(70, 150))], workers=1)
        assert (sigma > 0).all()
        assert np.median(sigma[:30]) == pytest.approx(6, rel=0.1)
        assert np.median(sigma[-30:]) == pytest.approx(2, rel=0.1)


class TestGivenMask:
    """What somebody else knows."""

    def test_is_added(self):
        given = np.zeros(SHAPE, int)
        given[5, 6] = 1
        mask = make_bad_pixel_mask(biases=frames("bias")[1](), mask=given)
        assert has(mask, "USER", (5, 6))

    def test_alone(self, tmp_path):
        given = make_ccd(np.zeros(SHAPE), unit="")
        given.data[5, 6] = 1
        write_ccd(given, tmp_path / "mask.fits")
        assert has(make_bad_pixel_mask(mask=tmp_path / "mask.fits"), "USER", (5, 6))

    def test_of_a_raw_file(self, tmp_path):
        raw = builders.plain_night(tmp_path / "raw")
        paths = sorted(tmp_path.glob("raw/bias*.fits"))
        whole = np.zeros(CCDData.read(paths[0], unit="adu").shape, bool)
        whole[raw.data] = True
        mask = make_bad_pixel_mask(biases=paths, mask=whole)
        assert ((mask.data & CAUSES["USER"].value) != 0).all()

    def test_of_another_shape(self):
        with pytest.raises(InputError, match=r"mask has shape \(3, 4\)"):
            make_bad_pixel_mask(biases=frames("bias")[1](), mask=np.ones((3, 4)))


class TestMask:
    def test_nothing_given(self):
        with pytest.raises(InputError, match="neither biases"):
            make_bad_pixel_mask()

    def test_wrong_master(self):
        with pytest.raises(InputError, match="a master bias is among the frames of kind dark"):
            make_bad_pixel_mask(darks=[make_bias(frames("bias")[1]())])

    def test_wrong_fraction(self):
        with pytest.raises(InputError, match="false_alarms = 2"):
            make_bad_pixel_mask(biases=frames("bias")[1](), false_alarms=2)

    def test_different_shapes(self):
        other = make_bias([make_ccd(np.random.default_rng(1).normal(9, 1, (20, 30)), unit="adu") for _ in range(3)])
        with pytest.raises(InputError, match="different shapes"):
            make_bad_pixel_mask(biases=[*frames("bias")[1](), other])

    def test_masters_are_taken_as_they_are(self):
        arrays, make = frames("flat", 3)
        for array in arrays:
            array[20, 30] *= 0.3
        mask = make_bad_pixel_mask(flats=make_flat(make()))
        assert has(mask, "DEAD", (20, 30))

    def test_file(self, tmp_path):
        arrays, make = frames("flat", 3)
        for array in arrays:
            array[20, 30] *= 0.3
        mask = make_bad_pixel_mask(flats=make())
        write_ccd(mask, tmp_path / "badpixels.fits")
        again = read_ccd(tmp_path / "badpixels.fits")
        assert (again.data.dtype, again.flags.dtype, str(again.unit)) == (np.uint16, np.uint16, "")
        assert np.array_equal(again.data, mask.data)
        assert np.array_equal(again.flags, mask.flags)
        assert [again.meta[f"CAUSE{i}"] for i in range(len(CAUSES))] == list(CAUSES)
        assert again.meta["NBADPIX"] == 1

    def test_threads_change_nothing(self):
        make = frames("flat", 3)[1]
        one, two = (make_bad_pixel_mask(flats=make(), workers=workers) for workers in (1, 2))
        assert np.array_equal(one.data, two.data)

    def test_every_bit_is_one(self):
        values = [cause.value for cause in CAUSES.values()]
        assert values == [1 << bit for bit in range(len(values))]
        assert (cause_flags(np.array(values)) & FLAGS["BAD_PIXEL"].value).all()


class TestUse:
    """A mask in a frame."""

    def frame(self):
        values = np.random.default_rng(1).normal(500, 5, SHAPE)
        return make_ccd(values, unit="adu", meta={"GAIN": 2.0, "RDNOISE": 5.0})

    def test_plain_mask_becomes_bad_pixels(self, tmp_path):
        given = np.zeros(SHAPE, bool)
        given[3, 4] = True
        CCDData(given.astype(np.uint8), unit="").write(tmp_path / "mine.fits")
        for mask in (given, tmp_path / "mine.fits", CCDData(np.zeros(SHAPE), unit="", mask=given)):
            flags = calibrate(self.frame(), bad_pixels=mask).flags
            assert flags[3, 4] == FLAGS["BAD_PIXEL"].value
            assert np.count_nonzero(flags) == 1

    def test_fill(self):
        ccd = make_ccd(self.frame().data, unit="adu", sigma=np.full(SHAPE, 5.0), flags=np.zeros(SHAPE, np.uint16))
        flags = flags_of(ccd)
        flags[10:12, 10:12], flags[40, 40] = FLAGS["BAD_PIXEL"].value, FLAGS["SATURATED"].value
        data = ccd.data.copy()
        data[10:12, 10:12] = 9e4
        ccd = make_ccd(data, unit="adu", sigma=np.full(SHAPE, 5.0), flags=flags)
        filled = fill_bad_pixels(ccd)
        assert np.abs(filled.data[10:12, 10:12] - 500).max() < 10
        assert (filled.flags[10:12, 10:12] == FLAGS["BAD_PIXEL"].value | FLAGS["INTERPOLATED"].value).all()
        assert filled.flags[40, 40] == FLAGS["SATURATED"].value
        assert (filled.uncertainty.array[10:12, 10:12] >= 5).all()
        assert np.array_equal(filled.data[20:], ccd.data[20:])
        assert ccd.data[10, 10] == np.float32(9e4)

    def test_fill_reaches_only_so_far(self):
        flags = np.zeros(SHAPE, np.uint16)
        flags[20:40, 20:40] = 1
        filled = fill_bad_pixels(make_ccd(self.frame().data, unit="adu", flags=flags), reach=2)
        assert (filled.flags[20:22, 30] == 17).all()
        assert (filled.flags[22:38, 30] == 1).all()
        with pytest.raises(InputError, match="reach = 0"):
            fill_bad_pixels(filled, reach=0)
        with pytest.raises(ValueError, match="BAD"):
            fill_bad_pixels(filled, flags=("BAD",))

    def test_night(self, tmp_path):
        """The frame has the flags of the mask, its card names it, and a night goes on without one."""
        raw = builders.plain_night(tmp_path / "raw")
        night = Night(raw.folder)
        result = night.reduce(tmp_path / "out", cosmic_rays=False, progress=False)
        mask, ccd = result.masters["badpixels"], result.science["science_V_001.fits"]
        assert ccd.meta["BPMFILE"] == "badpixels.fits"
        assert ((ccd.flags & mask.flags) == mask.flags).all()
        assert set(result.run["statistics"]["masters/badpixels.fits"]) == {"fraction", "causes"}
        plan = night.plan(bad_pixels="none")
        assert (
            "BPMFILE"
            not in night.reduce(tmp_path / "none", plan=plan, cosmic_rays=False, progress=False)
            .science["science_V_001.fits"]
            .meta
        )

    def test_night_without_a_mask_says_so(self, tmp_path, monkeypatch):
        from ccdnight import mastertasks

        def fail(**_options):
            msg = "no pixels"
            raise InputError(msg)

        monkeypatch.setattr(mastertasks, "make_bad_pixel_mask", fail)
        raw = builders.plain_night(tmp_path / "raw")
        result = Night(raw.folder).reduce(tmp_path / "out", cosmic_rays=False, progress=False)
        assert len(result.science) == 2
        assert "master:badpixels: no pixels" in result.run["notes"]
        assert "reduced without badpixels" in str(result.night["reason"][-1])


def slow_segments(values, drift, score):
    """The cumulative sum of one column, in words of Python."""
    out, total, best, start, end = np.zeros(len(values), bool), 0.0, 0.0, 0, 0
    for y, value in enumerate(values):
        total += value - drift
        if total > best:
            best, end = total, y + 1
        if total <= 0 or total < best - score:
            if best > score:
                out[start:end] = True
            total, best, start = 0.0, 0.0, y + 1
    if best > score:
        out[start:end] = True
    return out


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_the_plain_sum(seed):
    random = np.random.default_rng(seed)
    z = random.normal(0, 1, (400, 300)).astype(np.float32)
    z[50:250, random.integers(0, 300, 20)] += 1.5
    z[100:110, random.integers(0, 300, 20)] -= 40
    # Eighths and a small drift are exact in float32, so that both sums are the same.
    z = np.round(z * 8) / 8
    clipped = np.clip(z, -3, 3)
    expected = [slow_segments(column, 0.5, 25) | slow_segments(-column, 0.5, 25) for column in clipped.T]
    found = column_segments(z)
    assert found.sum() > 1000
    assert np.array_equal(found, np.array(expected).T)


class TestMaskOfOnesOwn:
    """A mask file is added to what the night's frames tell."""

    @pytest.fixture
    def night(self, tmp_path):
        return builders.plain_night(tmp_path / "raw")

    @pytest.fixture
    def mask(self, night, tmp_path):
        shape = fits.getdata(Path(night.folder) / night.paths("science")[0]).shape
        pixels = np.zeros(shape, np.uint8)
        pixels[5:8, 9] = 1
        fits.writeto(tmp_path / "mine.fits", pixels)
        return tmp_path / "mine.fits"

    @pytest.mark.parametrize("frames", ["all", "science alone"])
    def test_in_a_night(self, night, mask, tmp_path, frames):
        if frames != "all":
            for kind in ("bias", "dark", "flat"):
                for path in night.paths(kind):
                    Path(night.folder, path).unlink()
        plan = Night(night.folder).plan(mask=mask)
        (master,) = [item for item in plan.masters if item.kind == "badpixels"]
        assert master.mask == mask.as_posix()
        assert f"those of {mask.as_posix()}" in master.reason
        assert Plan.from_toml(plan.to_toml()).masters == plan.masters
        result = Night(night.folder).reduce(tmp_path / "out", plan=plan, progress=False, cosmic_rays=False)
        for ccd in result.science.values():
            bad = (ccd.flags & FLAGS["BAD_PIXEL"].value) > 0
            assert bad[5:8, 9].all()
            assert not bad[20:, 9].all()
            assert ccd.meta["BPMFILE"] == "badpixels.fits"

    def test_of_the_command_line(self, night, mask, tmp_path):
        run = CliRunner().invoke(main, ["reduce", str(night.folder), str(tmp_path / "out"), "--mask", str(mask)])
        assert run.exit_code == 0, run.output
        made = read_ccd(next((tmp_path / "out" / "science").iterdir()))
        assert (made.flags[5:8, 9] & FLAGS["BAD_PIXEL"].value).all()
        again = ["reduce", str(night.folder), str(tmp_path / "out"), "--plan", str(tmp_path / "out" / "plan.toml")]
        assert CliRunner().invoke(main, again).exit_code == 0
        run = CliRunner().invoke(main, [*again, "--mask", str(mask)])
        assert run.exit_code == 2
        assert "--bad-pixels or --mask" in run.output
        assert CliRunner().invoke(main, ["plan", str(night.folder), "--mask", "nowhere.fits"]).exit_code == 2

    def test_refusals(self, night, mask, tmp_path):
        with pytest.raises(InputError, match="the policy says bad_pixels = 'none'; leave out one of them"):
            Night(night.folder).plan(mask=mask, bad_pixels="none")
        (tmp_path / "bad.fits").write_text("no mask")
        with pytest.raises(InputError, match=r"mask: .*bad.fits: not a FITS file"):
            Night(night.folder).plan(mask=tmp_path / "bad.fits")

    def test_missing(self, night):
        """Frames without a mask are left out where the policy asks for that."""
        for kind in ("bias", "dark", "flat"):
            for path in night.paths(kind):
                Path(night.folder, path).unlink()
        known = Night(night.folder).profile
        assert len(Night(night.folder).plan().science) == 2
        profile = replace(known, policy=replace(known.policy, missing_bad_pixels="leave out"))
        plan = Night(night.folder, profile=profile).plan()
        assert not plan.science
        assert [item.reason for item in plan.unused] == ["left out by the policy: no bad pixel mask can be made"] * 2
