"""Calibration of one frame: held against ccdproc step by step, and against the scatter of many pixels."""

from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from builders import make_frame, two_amp_night
from test_readout import TWO_AMP

from ccdnight.calibration import calibrate, master_id
from ccdnight.darks import dark_for, dark_seconds
from ccdnight.exceptions import AlreadyAppliedError, FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.provenance import is_applied, record_rows
from ccdnight.readout import read_frame, subtract_overscan, trim

GENERIC = get_profile("generic")
SHAPE = (20, 30)
GAIN, READ = 1.6, 8.0
RNG_FLAGS = {"bias": 1, "dark": 2, "flat": 8, "frame": 4}


def some(kind, seed=1, **meta):
    """A frame or master with uncertainty and a few flags, its noise independent of the others'."""
    rng = np.random.default_rng([seed, len(kind)])
    level, unit = {"frame": (5000, "adu"), "bias": (1000, "adu"), "dark": (0.5, "adu / s"), "flat": (1, "")}[kind]
    data = level * rng.uniform(0.9, 1.1, SHAPE)
    sigma = None if kind == "frame" else level * rng.uniform(0.001, 0.01, SHAPE)
    flags = np.where(rng.random(SHAPE) < 0.05, RNG_FLAGS[kind], 0)
    if kind == "frame":
        meta = {"EXPTIME": 120.0, **meta}
    if kind == "dark":
        meta = {"EXPTIME": 60.0, "BIASID": "of another bias", **meta}
    return make_ccd(data, unit=unit, meta=meta, sigma=sigma, flags=flags)


class TestAgainstCcdproc:
    """Data, uncertainty and mask, with masters that have nothing in common."""

    @pytest.mark.parametrize("use", ["", "bias", "bias dark", "dark", "flat", "bias flat", "bias dark flat"])
    def test_every_combination(self, use):
        frame = some("frame")
        masters = {name: some(name) for name in use.split()}
        ours = calibrate(frame, **masters, gain=GAIN, read_noise=READ, grow=0)
        theirs = CCDData(frame.data.astype(float), unit="adu", mask=frame.mask, meta={})
        above = theirs if "bias" not in masters else ccdproc.subtract_bias(theirs, masters["bias"])
        noise = ccdproc.create_deviation(
            CCDData(above.data, unit="adu"), gain=GAIN * u.electron / u.adu, readnoise=READ * u.electron
        )
        theirs.uncertainty = noise.uncertainty
        if "bias" in masters:
            theirs = ccdproc.subtract_bias(theirs, masters["bias"])
        if "dark" in masters:
            dark = masters["dark"].multiply(60 * u.s)
            dark.mask = masters["dark"].mask
            times = {"dark_exposure": 60 * u.s, "data_exposure": 120 * u.s}
            theirs = ccdproc.subtract_dark(theirs, dark, **times, scale=True)
        if "flat" in masters:
            theirs = ccdproc.flat_correct(theirs, masters["flat"], norm_value=1)
        theirs = ccdproc.gain_correct(theirs, GAIN * u.electron / u.adu)
        assert ours.unit == theirs.unit == u.electron
        # What stands in masked pixels means nothing; ccdproc does not divide those of the flat.
        good = ~ours.mask
        np.testing.assert_allclose(ours.data[good], theirs.data[good], rtol=2e-6)
        np.testing.assert_allclose(ours.uncertainty.array[good], theirs.uncertainty.array[good], rtol=2e-6)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        expected = frame.flags.copy()
        for master in masters.values():
            expected |= master.flags
        np.testing.assert_array_equal(ours.flags, expected)
        assert ours.data.dtype == ours.uncertainty.array.dtype == np.float32

    @pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty])
    def test_masters_of_others(self, kind):
        """Whatever kind their uncertainty is of, and without flags or any uncertainty."""
        bias, dark = some("bias"), some("dark")
        expected = calibrate(some("frame"), bias=bias, dark=dark, gain=GAIN, read_noise=READ)
        others = [
            CCDData(
                one.data.astype(">f8"),
                unit=one.unit,
                mask=one.mask,
                meta=dict(one.meta),
                uncertainty=one.uncertainty.represent_as(kind),
            )
            for one in (bias, dark)
        ]
        seen = calibrate(some("frame"), bias=others[0], dark=others[1], gain=GAIN, read_noise=READ)
        np.testing.assert_allclose(seen.uncertainty.array, expected.uncertainty.array, rtol=1e-6)
        np.testing.assert_array_equal(seen.mask, expected.mask)
        plain = CCDData(bias.data, unit="adu")
        seen = calibrate(some("frame"), bias=plain, gain=GAIN, read_noise=READ)
        above = np.maximum(some("frame").data - bias.data, 0)
        np.testing.assert_allclose(seen.uncertainty.array, np.sqrt(above * GAIN + READ**2), rtol=1e-6)


class TestSharedBias:
    """Bias and dark share the master bias."""

    def frames(self, seed, *, bias, dark, rate, seconds, n_bias=2, n_dark=3):
        rng = np.random.default_rng(seed)
        shape = bias.shape

        def expose(time, light=0.0):
            charge = rng.poisson((rate * time + light) * GAIN * np.ones(shape)) / GAIN
            meta = {"EXPTIME": float(time), "GAIN": GAIN, "RDNOISE": READ}
            return make_ccd(bias + charge + rng.normal(0, READ / GAIN, shape), unit="adu", meta=meta)

        return [expose(0) for _ in range(n_bias)], [expose(dark) for _ in range(n_dark)], expose(seconds, 20.0)

    @pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
    def test_scatter_about_the_truth(self, k):
        """(1-k)^2 var(B) + k^2 var(D_raw); taken as independent, the error would be up to 1.5 times too large."""
        shape = (150, 160)
        bias = np.full(shape, 1000.0)
        biases, darks, science = self.frames(11, bias=bias, dark=100.0, rate=0.05, seconds=100 * k)
        master = make_bias(biases, reject=None)
        dark = make_dark(darks, bias=master, reject=None)
        result = calibrate(science, bias=master, dark=dark)
        pull = (result.data - 20.0 * GAIN) / result.uncertainty.array
        assert np.std(pull) == pytest.approx(1, abs=0.02)
        dark.meta["BIASID"] = "another"
        independent = calibrate(science, bias=master, dark=dark)
        assert np.mean(independent.uncertainty.array / result.uncertainty.array) > 1.1

    @pytest.mark.parametrize("k", [0.25, 1.0, 2.5])
    def test_formula(self, k):
        """To the last digits, also after the masters have been through files."""
        bias = some("bias")
        own, read = 80.0, 3.0
        raw_sigma = np.full(SHAPE, read)
        sigma = np.hypot(raw_sigma, bias.uncertainty.array) / own
        meta = {"EXPTIME": own - 1, "DARKTIME": own, "BIASID": master_id(bias), "MASTER": "dark", "ZEROCOR": "done"}
        dark = make_ccd(np.full(SHAPE, 0.3), unit="adu / s", meta=meta, sigma=sigma)
        frame = some("frame")
        result = calibrate(frame, bias=bias, dark=dark, gain=GAIN, read_noise=READ, exposure=k * own * u.s)
        above = frame.data - bias.data.astype(float)
        variance = above / GAIN + (READ / GAIN) ** 2 + (1 - k) ** 2 * bias.uncertainty.array**2.0 + k**2 * read**2
        np.testing.assert_allclose(result.uncertainty.array, np.sqrt(variance) * GAIN, rtol=1e-5)

    def test_through_files(self, tmp_path):
        bias = np.full((40, 50), 1000.0)
        biases, darks, science = self.frames(12, bias=bias, dark=100.0, rate=0.05, seconds=100)
        master = make_bias(biases)
        dark = make_dark(darks, bias=master)
        write_ccd(master, tmp_path / "bias.fits")
        write_ccd(dark, tmp_path / "dark.fits")
        one = calibrate(science, bias=master, dark=dark)
        other = calibrate(science, bias=tmp_path / "bias.fits", dark=str(tmp_path / "dark.fits"))
        np.testing.assert_array_equal(one.uncertainty.array, other.uncertainty.array)
        np.testing.assert_array_equal(one.data, other.data)

    def test_a_smooth_dark_brings_the_bias_back(self):
        """Beyond the largest factor the noise of the dark is gone, and with it what it had of the bias."""
        bias = some("bias")
        meta = {"EXPTIME": 10.0, "BIASID": master_id(bias)}
        dark = make_ccd(np.full(SHAPE, 0.3), unit="adu / s", meta=meta, sigma=np.full(SHAPE, 0.3))
        frame = some("frame")
        result = calibrate(frame, bias=bias, dark=dark, gain=GAIN, read_noise=READ)
        variance = (frame.data - bias.data) / GAIN + (READ / GAIN) ** 2 + bias.uncertainty.array**2
        np.testing.assert_allclose(result.uncertainty.array, np.sqrt(variance) * GAIN, rtol=1e-5)


def test_the_whole_chain_has_the_scatter_it_claims():
    """Bias, dark, flat and frame drawn from a known truth: the pulls have width 1."""
    rng = np.random.default_rng(21)
    shape = (120, 130)
    response = rng.normal(1, 0.05, shape)
    rate = rng.uniform(0.05, 0.5, shape)

    def expose(time, light):
        charge = rng.poisson((rate * time + light * response) * GAIN) / GAIN
        meta = {"EXPTIME": float(time), "GAIN": GAIN, "RDNOISE": READ}
        return make_ccd(1000 + charge + rng.normal(0, READ / GAIN, shape), unit="adu", meta=meta)

    bias = make_bias([expose(0, 0) for _ in range(4)])
    dark = make_dark([expose(100, 0) for _ in range(4)], bias=bias)
    flat = make_flat([expose(5, 20000) for _ in range(4)], bias=bias, dark=dark)
    result = calibrate(expose(60, 500), bias=bias, dark=dark, flat=flat)
    assert np.median(flat.data) == pytest.approx(1, abs=1e-6)
    truth = 500 * GAIN * np.median(response)
    pull = (result.data - truth) / result.uncertainty.array
    assert np.mean(pull) == pytest.approx(0, abs=0.1)
    assert np.std(pull) == pytest.approx(1, abs=0.02)


class TestVariance:
    """Raw variance."""

    def test_never_below_the_read_noise(self):
        frame = make_ccd(np.full(SHAPE, 900.0), unit="adu")
        result = calibrate(frame, bias=make_ccd(np.full(SHAPE, 1000.0), unit="adu"), gain=GAIN, read_noise=READ)
        np.testing.assert_allclose(result.uncertainty.array, READ, rtol=1e-6)
        np.testing.assert_allclose(result.data, -100 * GAIN, rtol=1e-6)

    def test_shot_noise_is_that_of_the_charge_before_dark_and_flat(self):
        """What the dark takes off had its noise."""
        frame = make_ccd(np.full(SHAPE, 1400.0), unit="adu", meta={"EXPTIME": 100.0})
        bias = make_ccd(np.full(SHAPE, 1000.0), unit="adu")
        dark = make_ccd(np.full(SHAPE, 3.0), unit="adu / s", meta={"EXPTIME": 100.0})
        flat = make_ccd(np.full(SHAPE, 0.5), unit="")
        result = calibrate(frame, bias=bias, dark=dark, flat=flat, gain=GAIN, read_noise=READ)
        np.testing.assert_allclose(result.data, 200 * GAIN, rtol=1e-6)
        np.testing.assert_allclose(result.uncertainty.array, np.sqrt(400 * GAIN + READ**2) / 0.5, rtol=1e-6)

    def test_error_of_the_overscan(self):
        frame = make_ccd(np.zeros(SHAPE), unit="adu", meta={"OVSCERR": 3.0})
        result = calibrate(frame, gain=2.0, read_noise=8.0)
        np.testing.assert_allclose(result.uncertainty.array, 10)


class TestFlat:
    """Pixels without a usable flat."""

    @pytest.mark.parametrize("value", [0.0, -0.1, np.nan, np.inf, -np.inf])
    def test_never_infinite(self, value):
        """A flat of others may hold anything."""
        flat = some("flat")
        flat.data[3, 4] = value
        result = calibrate(some("frame"), flat=flat, gain=GAIN, read_noise=READ)
        assert np.isfinite(result.data).all()
        assert np.isfinite(result.uncertainty.array).all()
        assert result.flags[3, 4] & FLAGS["NO_DATA"].value
        assert result.mask[3, 4]

    def test_a_frame_that_is_not_finite_is_flagged(self):
        frame = some("frame")
        frame.data[5, 6] = np.nan
        result = calibrate(frame, bias=some("bias"), gain=GAIN, read_noise=READ)
        assert result.flags[5, 6] & FLAGS["NO_DATA"].value

    def test_few_frames_in_a_bias_do_not_spoil_a_pixel(self):
        bias, flat = some("bias"), some("flat")
        for master in (bias, flat):
            master.flags[:] = FLAGS["LOW_WEIGHT"].value
        assert not calibrate(some("frame"), bias=bias, gain=GAIN, read_noise=READ).flags[some("frame").flags == 0].any()
        assert calibrate(some("frame"), flat=flat, gain=GAIN, read_noise=READ).flags.all()


class TestDarkFor:
    """Scaling of a dark."""

    def dark(self, seconds=10.0, shape=(130, 140)):
        rng = np.random.default_rng(3)
        y = np.arange(shape[0])[:, None] / shape[0]
        data = 0.1 + 0.05 * y + rng.normal(0, 0.01, shape)
        data[50, 60] = 5.0
        return make_ccd(data, unit="adu / s", sigma=np.full(shape, 0.01), meta={"DARKTIME": seconds, "EXPTIME": 1.0})

    @pytest.mark.parametrize("factor", [0.0, 0.1, 1.0, 3.0])
    def test_pixel_by_pixel(self, factor):
        dark = self.dark()
        scaled = dark_for(dark, 10 * factor)
        np.testing.assert_allclose(scaled.data, dark.data * 10 * factor, rtol=1e-6)
        np.testing.assert_allclose(scaled.uncertainty.array, 0.01 * 10 * factor, rtol=1e-6)
        assert str(scaled.unit) == "adu"

    def test_smooth_beyond(self):
        """The smooth part and the hot pixel stay, the noise goes."""
        scaled = dark_for(self.dark(), 35.0)
        y = np.arange(130)[:, None] / 130
        difference = scaled.data / 35 - (0.1 + 0.05 * y)
        assert scaled.data[50, 60] == pytest.approx(175, rel=1e-5)
        assert scaled.uncertainty.array[50, 60] == pytest.approx(0.35, rel=1e-5)
        difference[50, 60] = 0
        # Half of a block at each end is taken at the level of its middle.
        assert np.abs(difference[32:-32]).max() < 0.004
        assert np.count_nonzero(scaled.uncertainty.array) == 1
        assert dark_for(self.dark(), 35.0, scale_up=4).uncertainty.array.all()

    @pytest.mark.parametrize("shape", [(5, 7), (64, 64), (100, 20)])
    def test_of_small_frames(self, shape):
        dark = make_ccd(np.ones(shape), unit="adu / s", sigma=np.ones(shape), meta={"EXPTIME": 1.0})
        np.testing.assert_allclose(dark_for(dark, 99).data, 99)

    @pytest.mark.parametrize(
        ("meta", "seconds"),
        [
            ({"DARKTIME": 10.5, "EXPTIME": 10}, 10.5),
            ({"EXPTIME": 10}, 10),
            ({"DARKTIME": 0, "EXPTIME": 10}, 10),
            ({"EXPTIME": "10"}, None),
            ({}, None),
        ],
    )
    def test_own_exposure(self, meta, seconds):
        assert dark_seconds(make_ccd(np.ones((2, 2)), unit="adu / s", meta=meta)) == seconds


class TestCards:
    """What other programs read."""

    def test_gain_and_state(self):
        meta = {"GAIN": 120, "EGAIN": GAIN, "RDNOISE": READ, "SATURATE": 50000.0, "EXPTIME": 120.0}
        masters = {name: some(name, FILENAME=f"{name}_x.fits") for name in ("bias", "dark", "flat")}
        bad = make_ccd(np.zeros(SHAPE), unit="", flags=np.eye(20, 30))
        frame = make_ccd(np.full(SHAPE, 2000.0), unit="adu", meta=meta)
        result = calibrate(frame, **masters, bad_pixels=bad)
        expected = {
            "BUNIT": "electron",
            "GAIN": 1.0,
            "RDNOISE": READ,
            "GAINUSED": GAIN,
            "RDNUSED": READ,
            # Above the bias, as the data are: other programs hold pixels against it.
            "SATURATE": round((50000 - float(np.median(masters["bias"].data))) * GAIN, 1),
            "BIASFILE": "bias_x.fits",
            "DARKFILE": "dark_x.fits",
            "FLATFILE": "flat_x.fits",
            "BPMFILE": "bad_pixels",
        }
        assert {key: result.meta[key] for key in expected} == pytest.approx(expected)
        assert "EGAIN" not in result.meta
        for step in ("bias", "dark", "flat", "gain"):
            assert is_applied(result.meta, step)
        assert result.flags[4, 4] & FLAGS["BAD_PIXEL"].value
        assert [row[3] for row in record_rows(result)] == ["bias", "dark", "flat", "bad_pixels", "gain"]
        assert frame.meta["GAIN"] == 120

    def test_nothing_that_was_not_done_is_claimed(self):
        result = calibrate(some("frame"), gain=GAIN, read_noise=READ)
        assert not {"ZEROCOR", "DARKCOR", "FLATCOR", "BIASFILE", "SATURATE"} & set(result.meta)

    def test_saturation_is_that_of_the_detector(self, tmp_path):
        """The LFC's detector 0 saturates at 59100 adu, its detector 2 at 40800."""
        for detector, level in ((0, 59100 * 2.0), (2, 40800 * 2.1)):
            path = make_frame(tmp_path / f"ccd.001.{detector}.fits", instrument="lfc", rows=32, detector=detector)
            meta = calibrate(path).meta
            assert meta["SATURATE"] == pytest.approx(level - meta["OVSCMEAN"] * meta["GAINUSED"], abs=0.1)

    def test_saturation_that_is_given(self):
        frame = make_ccd(np.full(SHAPE, 2000.0), unit="adu")
        frame.data[2, 2] = 60000
        result = calibrate(frame, gain=GAIN, read_noise=READ, saturation=50000, grow=0)
        assert result.meta["SATURATE"] == 50000 * GAIN
        assert np.flatnonzero(result.flags).tolist() == [62]
        assert result.flags[2, 2] == FLAGS["SATURATED"].value
        assert not frame.flags.any()

    def test_world_coordinates_are_kept(self):
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 5.0}
        frame = some("frame", **cards, CRPIX2=6.0, CDELT1=-1e-4, CDELT2=1e-4)
        assert calibrate(frame, gain=GAIN, read_noise=READ).wcs.wcs.crval[0] == 10


class TestFiles:
    """From a path everything is done: overscan, trimming, each once."""

    def test_nickel(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", filter="V", level=300.0)
        result = calibrate(path)
        by_hand = trim(subtract_overscan(read_frame(path)))
        np.testing.assert_allclose(result.data, by_hand.data * np.float32(1.78), rtol=1e-5)
        assert is_applied(result.meta, "overscan")
        assert is_applied(result.meta, "trim")
        variance = np.maximum(by_hand.data, 0) * 1.78 + 9.8**2 + (1.78 * by_hand.meta["OVSCERR"]) ** 2
        np.testing.assert_allclose(result.uncertainty.array, np.sqrt(variance), rtol=1e-4)
        assert record_rows(result)[0][:1] == ("d1.fits",)

    def test_the_overscan_as_for_the_bias(self, tmp_path):
        """The level is taken off once, whatever the profile would do by itself."""
        frames = [make_frame(tmp_path / f"d{n}.fits", instrument="nickel") for n in range(4)]
        plain, residual = make_bias(frames[:3], overscan=False), make_bias(frames[:3], overscan=True)
        for bias in (plain, residual):
            result = calibrate(frames[3], bias=bias)
            assert abs(np.median(result.data)) < 5
        raw = read_frame(frames[3])
        with pytest.raises(InputError, match="overscan was subtracted from the bias and not from CCDData"):
            calibrate(trim(raw), bias=residual, profile="nickel")
        with pytest.raises(InputError, match="overscan was subtracted from CCDData and not from the bias"):
            calibrate(subtract_overscan(raw), bias=plain, profile="nickel")
        for ccd in (raw, subtract_overscan(raw), trim(subtract_overscan(raw))):
            np.testing.assert_allclose(calibrate(ccd, bias=residual, profile="nickel").data, result.data, atol=0.02)

    def test_two_amplifiers(self, tmp_path):
        """Each with its own gain and read noise."""
        night = two_amp_night(tmp_path)
        path = tmp_path / night.paths("bias")[0]
        result = calibrate(path, profile=TWO_AMP)
        left, right = result.uncertainty.array[:, :64].min(), result.uncertainty.array[:, 64:].min()
        assert left == pytest.approx(6.0, rel=0.05)
        assert right == pytest.approx(8.0, rel=0.05)
        assert result.meta["GAINUSED"] == pytest.approx(1.5)


class TestRefusals:
    """In words, before anything is made."""

    @pytest.mark.parametrize(
        ("meta", "use", "step"),
        [
            ({"SUBBIAS": "x"}, "bias", "bias"),
            ({"ZEROCOR": "x"}, "bias", "bias"),
            ({"DARKCOR": "x"}, "dark", "dark"),
            ({"CALSTAT": "BDF"}, "flat", "flat"),
            ({"GAINCOR": "x"}, "", "gain"),
        ],
    )
    def test_twice(self, meta, use, step):
        masters = {name: some(name) for name in use.split()}
        with pytest.raises(AlreadyAppliedError, match=f"the step '{step}'"):
            calibrate(some("frame", **meta), **masters, gain=GAIN, read_noise=READ)

    def test_a_step_that_is_not_asked_for_may_have_been_done(self):
        calibrate(some("frame", SUBBIAS="x"), gain=GAIN, read_noise=READ)

    def test_a_result_is_no_raw_frame(self):
        done = calibrate(some("frame"), gain=GAIN, read_noise=READ)
        with pytest.raises(InputError, match=r"'gain' has been applied|a raw frame is in adu"):
            calibrate(done, gain=GAIN, read_noise=READ)
        done.meta.remove("GAINCOR")
        with pytest.raises(InputError, match="its unit is 'electron'; a raw frame is in adu"):
            calibrate(done, gain=GAIN, read_noise=READ)

    @pytest.mark.parametrize("name", ["bias", "dark", "flat", "bad_pixels"])
    def test_another_shape(self, name):
        master = some("flat" if name == "bad_pixels" else name)
        master = make_ccd(master.data[:, 1:], unit=master.unit, meta=master.meta)
        with pytest.raises(InputError, match=rf"shape \(20, 30\) differs from \(20, 29\) of the {name[:3]}"):
            calibrate(some("frame"), **{name: master}, gain=GAIN, read_noise=READ)

    @pytest.mark.parametrize(
        ("name", "unit", "words"),
        [
            ("bias", "electron", "the bias is in 'electron'; a master bias is in 'adu'"),
            ("dark", "adu", "the dark is in 'adu'; a master dark is in 'adu / s'"),
            ("flat", "adu", "the flat is in 'adu'; a master flat is in ''"),
        ],
    )
    def test_another_unit(self, name, unit, words):
        with pytest.raises(InputError, match=words):
            calibrate(some("frame"), **{name: make_ccd(np.ones(SHAPE), unit=unit)}, gain=GAIN, read_noise=READ)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "its gain is not known; give gain"),
            ({"gain": GAIN}, "its read noise is not known; give read_noise"),
            ({"gain": 0, "read_noise": READ}, "gain = 0; a positive number in electron / adu"),
            ({"gain": np.nan, "read_noise": READ}, "gain = nan"),
            ({"gain": GAIN, "read_noise": -1.0}, "read_noise = -1.0; a positive number in electron"),
        ],
    )
    def test_gain_and_read_noise(self, options, words):
        with pytest.raises(InputError, match=words):
            calibrate(some("frame"), **options)

    def test_quantities_are_converted(self):
        one = calibrate(some("frame"), gain=GAIN / 1000 * u.electron / (0.001 * u.adu), read_noise=READ * u.electron)
        other = calibrate(some("frame"), gain=GAIN, read_noise=READ)
        np.testing.assert_allclose(one.data, other.data)
        with pytest.raises(InputError, match=r"gain = .*; a positive number in electron"):
            calibrate(some("frame"), gain=1 * u.s, read_noise=READ)

    @pytest.mark.parametrize(
        ("exposure", "expected"), [(120, 60), (2 * u.min, 60), (0, 0), (-1, None), (np.nan, None), (np.inf, None)]
    )
    def test_exposure(self, exposure, expected):
        frame, dark = some("frame"), make_ccd(np.full(SHAPE, 0.5), unit="adu / s", meta={"EXPTIME": 100.0})
        options = {"dark": dark, "gain": 1.0, "read_noise": READ, "exposure": exposure}
        if expected is None:
            with pytest.raises(InputError, match=r"exposure = .*; a number of 0 or more"):
                calibrate(frame, **options)
        else:
            np.testing.assert_allclose(calibrate(frame, **options).data, frame.data - expected, rtol=1e-6)

    def test_an_exposure_that_is_not_known(self):
        frame = make_ccd(np.ones(SHAPE), unit="adu", meta={"EXPTIME": "1O.0", "IMAGETYP": "LIGHT"})
        with pytest.raises(InputError, match=r"its exposure is not known .*1O\.0"):
            calibrate(frame, dark=some("dark"), gain=GAIN, read_noise=READ)

    @pytest.mark.parametrize("level", ["bias", "overscan"])
    def test_the_level_is_never_taken_off_twice(self, level):
        """A dark that was made without bias holds the level itself."""
        darks = [make_ccd(1000 + np.random.default_rng(n).normal(5, 4, SHAPE), unit="adu") for n in range(3)]
        dark = make_dark(darks, exposures=[60.0] * 3, gain=GAIN, read_noise=READ)
        options = {"gain": GAIN, "read_noise": READ, "dark": dark, "exposure": 60.0}
        frame = some("frame", **({"OVERSCAN": "ccdnight: x"} if level == "overscan" else {}))
        with pytest.raises(InputError, match="the dark was made without bias and overscan"):
            calibrate(frame, bias=some("bias") if level == "bias" else None, **options)
        assert calibrate(some("frame"), **options).data.mean() == pytest.approx((5000 - 1005) * GAIN, rel=0.01)

    def test_frames_of_no_kind(self, tmp_path):
        with pytest.raises(FrameError, match="cannot be opened"):
            calibrate(tmp_path / "missing.fits")
        with pytest.raises(TypeError, match="a frame is a CCDData or a path"):
            calibrate(np.ones(SHAPE))
        with pytest.raises(FrameError, match=r"no\.fits: cannot be opened"):
            calibrate(some("frame"), bias=tmp_path / "no.fits", gain=1, read_noise=1)


@pytest.mark.parametrize("meta", [None, {}, {"EXPTIME": 5.0, "SATURATE": 100.0}])
def test_any_mapping_as_header(meta, tmp_path):
    """A CCDData of somebody's own script."""
    ccd = CCDData(np.full(SHAPE, 50, ">u2"), unit="adu", meta=meta)
    result = calibrate(ccd, gain=2.0, read_noise=5.0)
    np.testing.assert_array_equal(result.data, 100)
    write_ccd(result, tmp_path / "x.fits")
    assert read_ccd(tmp_path / "x.fits").unit == u.electron
    fits.open(tmp_path / "x.fits").close()


def test_the_frame_stays_as_it_is():
    frame, bias, dark, flat = (some(name) for name in ("frame", "bias", "dark", "flat"))
    before = [one.data.copy() for one in (frame, bias, dark, flat)], frame.meta.tostring()
    profile = replace(GENERIC, amplifiers=(Amplifier(overscan="none"),))
    calibrate(frame, bias=bias, dark=dark, flat=flat, gain=GAIN, read_noise=READ, profile=profile)
    for one, data in zip((frame, bias, dark, flat), before[0], strict=True):
        np.testing.assert_array_equal(one.data, data)
    assert frame.meta.tostring() == before[1]
