"""Master bias, dark and flat: held against ccdproc and plain numpy, and against the scatter of many pixels."""

from dataclasses import replace
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, VarianceUncertainty
from builders import all_nan, all_zero, make_frame, plain_night, truncate, two_amp_night
from test_readout import TWO_AMP

from ccdnight.calibration import master_id
from ccdnight.exceptions import AlreadyAppliedError, FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.provenance import digest_file, is_applied, record_rows
from ccdnight.readout import read_frame
from ccdnight.statistics import half_sample_mode, most_common

SHAPE = (40, 50)
GAIN, READ = 1.6, 8.0


def frames_of(n, level=1000.0, light=0.0, *, seed=1, seconds=0.0, shape=SHAPE, response=1.0, **meta):
    """Frames with a pedestal of `level` and `light` adu of charge."""
    rng = np.random.default_rng([seed, n, int(light)])
    meta = {"GAIN": GAIN, "RDNOISE": READ, "EXPTIME": seconds, **meta}
    charge = np.broadcast_to(light * np.asarray(response) * GAIN, shape)
    return [
        make_ccd(level + rng.poisson(charge) / GAIN + rng.normal(0, READ / GAIN, shape), unit="adu", meta=meta)
        for _ in range(n)
    ]


def bias_of(sigma=2.0, **meta):
    return make_ccd(np.full(SHAPE, 1000.0), unit="adu", sigma=np.full(SHAPE, sigma), meta=meta)


def deviation(frame, bias=None):
    """Uncertainty of a frame as ccdproc makes it, of what lies above the bias."""
    above = frame.data.astype(float) - (0 if bias is None else bias.data)
    noise = ccdproc.create_deviation(
        CCDData(np.maximum(above, 0), unit="adu"), gain=GAIN * u.electron / u.adu, readnoise=READ * u.electron
    )
    return CCDData(frame.data.astype(float), unit="adu", uncertainty=noise.uncertainty)


def mean_of(frames):
    total = frames[0]
    for frame in frames[1:]:
        total = total.add(frame)
    return total.divide(len(frames))


class TestBias:
    """`make_bias`."""

    @pytest.mark.parametrize("n", [1, 2, 3, 8])
    @pytest.mark.parametrize("method", ["average", "median"])
    def test_level_and_error(self, n, method):
        master = make_bias(frames_of(n), method=method, reject=None)
        combine = np.mean if method == "average" else np.median
        np.testing.assert_allclose(master.data, combine([f.data for f in frames_of(n)], axis=0), rtol=3e-7)
        assert np.std(master.data - 1000) == pytest.approx(master.uncertainty.array.mean(), rel=0.06)
        assert (str(master.unit), master.meta["BUNIT"], master.meta["NCOMBINE"]) == ("adu", "adu", n)
        assert master.meta["MASTER"] == "bias"
        assert not master.flags.any()

    def test_hits_are_rejected_by_default(self):
        frames = frames_of(3)
        frames[1].data[5, 6] += 500
        master = make_bias(frames)
        assert master.data[5, 6] == pytest.approx(1000, abs=15)
        assert master.uncertainty.array[5, 6] > master.uncertainty.array[5, 7]

    def test_a_drift_of_the_level_is_no_outlier(self):
        frames = frames_of(5)
        for number, frame in enumerate(frames):
            frame.data += 20 * number
        master = make_bias(frames, sigma=5.0)
        assert np.mean(master.data) == pytest.approx(1040, abs=0.5)
        assert " 0 low and 0 high" in str(master.meta["HISTORY"])

    @pytest.mark.parametrize("reject", ["noise", "sigma", "mad", "minmax", None])
    def test_every_rejection(self, reject):
        assert make_bias(frames_of(7), reject=reject).data.mean() == pytest.approx(1000, abs=0.5)

    def test_files(self, tmp_path):
        """Each is in the provenance with its digest, and a single path will do."""
        night = plain_night(tmp_path, n_bias=3, n_dark=0, n_flat=0, n_science=0)
        paths = [tmp_path / path for path in night.paths("bias")]
        master = make_bias(paths)
        rows = record_rows(master)
        assert [row[:4] for row in rows] == [(p.name, digest_file(p), "bias", "combine") for p in paths]
        pull = (master.data - night.bias()) / master.uncertainty.array
        assert np.std(pull) == pytest.approx(1, abs=0.05)
        for one in (str(paths[0]), Path(paths[0])):
            np.testing.assert_array_equal(make_bias(one).data, read_frame(paths[0]).data)
        ccd = read_frame(paths[0])
        np.testing.assert_array_equal(make_bias(ccd).data, ccd.data)

    def test_through_a_file(self, tmp_path):
        master = make_bias(frames_of(3))
        write_ccd(master, tmp_path / "bias.fits")
        assert master_id(read_ccd(tmp_path / "bias.fits")) == master_id(master)

    def test_pixels_without_a_value(self):
        """BAD_PIXEL, and a value that spoils no statistics."""
        frames = frames_of(4)
        for frame in frames:
            frame.data[2, 3] = np.nan
        for frame in frames[1:]:
            frame.flags[4, 5] = 2
        master = make_bias(frames)
        assert master.flags[2, 3] == FLAGS["BAD_PIXEL"].value
        assert master.flags[4, 5] == FLAGS["LOW_WEIGHT"].value
        assert np.count_nonzero(master.flags) == 2
        assert master.data[2, 3] == pytest.approx(1000, abs=2)
        assert np.isfinite(master.uncertainty.array).all()

    def test_a_flat_keeps_what_few_frames_tell(self):
        """A response that was measured by few of the frames was measured; only what was not is 1."""
        frames = frames_of(5, level=0.0, light=20000.0, seconds=2.0)
        for frame in frames:
            frame.data[4, 5] *= 0.8
        for frame in frames[1:]:
            frame.flags[4, 5] = 2
        flat = make_flat(frames)
        assert flat.flags[4, 5] == FLAGS["LOW_WEIGHT"].value
        assert flat.data[4, 5] == pytest.approx(0.8, abs=0.03)
        assert flat.uncertainty.array[4, 5] > 0

    def test_what_was_done_to_the_frames_is_told(self, tmp_path):
        """And nothing else: frames that are taken as they are have not been trimmed."""
        taken = make_bias(frames_of(3))
        assert not is_applied(taken.meta, "trim")
        assert not is_applied(taken.meta, "overscan")
        paths = [make_frame(tmp_path / f"d{n}.fits", instrument="nickel") for n in range(3)]
        master = make_bias(paths)
        assert is_applied(master.meta, "trim")
        assert is_applied(master.meta, "overscan")
        assert master.data.shape == read_frame(paths[0]).data[:, :-32].shape
        assert abs(np.median(master.data)) < 30
        level = make_bias(paths, overscan=False)
        assert not is_applied(level.meta, "overscan")
        assert np.median(level.data) > 900


class TestDark:
    """`make_dark`."""

    @pytest.mark.parametrize("bias", [None, bias_of()])
    def test_against_ccdproc(self, bias):
        """Data and uncertainty of an unclipped mean; the error of the bias does not average out."""
        frames = frames_of(4, light=300.0, seconds=60.0)
        master = make_dark(frames, bias=bias, reject=None)
        theirs = mean_of([deviation(frame, bias) for frame in frames])
        if bias is not None:
            theirs = ccdproc.subtract_bias(theirs, bias)
        theirs = theirs.divide(60 * u.s)
        np.testing.assert_allclose(master.data, theirs.data, rtol=1e-6)
        np.testing.assert_allclose(master.uncertainty.array, theirs.uncertainty.array, rtol=1e-5)
        assert str(master.unit) == "adu / s"
        assert (master.meta["EXPTIME"], master.meta["DARKTIME"]) == (60, 60)
        assert bool(is_applied(master.meta, "bias")) == (bias is not None)
        assert master.meta.get("BIASID") == (None if bias is None else master_id(bias))

    def test_a_bias_whose_uncertainty_is_a_variance(self):
        plain, variance = bias_of(), bias_of()
        variance.uncertainty = VarianceUncertainty(np.full(SHAPE, 4.0))
        one, other = (make_dark(frames_of(3, light=9.0, seconds=9.0), bias=bias) for bias in (plain, variance))
        np.testing.assert_array_equal(one.uncertainty.array, other.uncertainty.array)

    def test_of_unequal_exposures(self):
        rates = []
        frames = [frame for s in (30.0, 60.0, 90.0) for frame in frames_of(1, light=2 * s, seconds=s, seed=int(s))]
        master = make_dark(frames, bias=bias_of(0.0))
        rates.append(np.mean(master.data))
        assert rates[0] == pytest.approx(2, abs=0.02)
        assert np.std(master.data - 2) == pytest.approx(np.mean(master.uncertainty.array), rel=0.06)
        assert master.meta["DARKTIME"] == 60

    def test_dark_time_is_used_where_it_is_known(self):
        frames = frames_of(3, light=61.0, seconds=60.0, DARKTIME=61.0)
        master = make_dark(frames, bias=bias_of())
        assert (master.meta["EXPTIME"], master.meta["DARKTIME"]) == (60, 61)
        assert np.mean(master.data) == pytest.approx(1, abs=0.01)
        np.testing.assert_allclose(make_dark(frames, bias=bias_of(), exposures=[122] * 3).data, master.data / 2)

    @pytest.mark.parametrize(
        ("seconds", "words"), [(0.0, "exposure 0.0 s"), (-5.0, "exposure None s"), ("1O.0", "exposure None s")]
    )
    def test_without_exposure(self, seconds, words):
        with pytest.raises(FrameError, match=f"{words}; a dark needs one longer than 0"):
            make_dark(frames_of(2, seconds=seconds, IMAGETYP="DARK"))

    def test_exposures_are_one_for_each(self):
        with pytest.raises(ValueError, match="1 are given for 3 frames"):
            make_dark(frames_of(3, seconds=60.0), exposures=[60.0])


class TestFlat:
    """`make_flat`."""

    RESPONSE = np.random.default_rng(9).normal(1, 0.03, SHAPE)

    def frames(self, n=3, light=20000.0, **options):
        return frames_of(n, light=light, response=self.RESPONSE, seconds=5.0, FILTER="V", **options)

    def test_against_ccdproc(self):
        """Unscaled and unclipped: the propagated mean, divided by its median."""
        frames, bias = self.frames(), bias_of()
        master = make_flat(frames, bias=bias, reject=None, scale=False)
        theirs = mean_of([deviation(frame, bias) for frame in frames])
        theirs = CCDData(theirs.data - bias.data, unit="adu", uncertainty=theirs.uncertainty)
        theirs = theirs.divide(np.median(theirs.data))
        np.testing.assert_allclose(master.data, theirs.data, rtol=1e-6)
        np.testing.assert_allclose(master.uncertainty.array, theirs.uncertainty.array, rtol=1e-4)
        assert str(master.unit) == ""
        assert master.meta["BUNIT"] == ""
        assert np.median(master.data) == pytest.approx(1, abs=1e-6)

    def test_frames_of_any_level(self):
        """Brought to a common level; scatter about the response as claimed."""
        frames = [frame for n in range(5) for frame in self.frames(1, 20000.0 - 3500 * n, seed=n)]
        master = make_flat(frames, bias=bias_of(0.0))
        truth = self.RESPONSE / np.median(self.RESPONSE)
        assert np.std((master.data - truth) / master.uncertainty.array) == pytest.approx(1, abs=0.05)
        assert " 0 low and " in str(master.meta["HISTORY"])

    @pytest.mark.parametrize("name", ["median", "mean", "mode", "most-common"])
    def test_normalization(self, name):
        frames, bias = self.frames(), bias_of()
        for frame in frames:
            frame.data = np.rint(frame.data)
        plain = make_flat(frames, bias=bias, scale=False)
        stack = plain.data.astype(float) * plain.meta["FLATNORM"]
        function = {"median": np.median, "mean": np.mean, "mode": half_sample_mode, "most-common": most_common}[name]
        master = make_flat(frames, bias=bias, scale=False, normalize=name)
        if name == "most-common":
            assert np.min(np.abs(stack - master.meta["FLATNORM"])) < 0.01
        else:
            assert master.meta["FLATNORM"] == pytest.approx(function(stack), rel=2e-4)
        np.testing.assert_allclose(master.data, stack / master.meta["FLATNORM"], rtol=1e-6)
        assert name in master.meta.comments["FLATNORM"]

    def test_pixels_without_light(self):
        """They become 1 and NO_DATA, and count for nothing in the level."""
        frames, bias = self.frames(), bias_of()
        for frame in frames:
            frame.data[:8] = 1000 + frame.data[:8] * 1e-3
            frame.data[10, 10] = np.nan
            frame.data[12, 12] = -5000
        master = make_flat(frames, bias=bias)
        dead = np.zeros(SHAPE, bool)
        dead[:8] = dead[10, 10] = dead[12, 12] = True
        np.testing.assert_array_equal((master.flags & FLAGS["NO_DATA"].value) > 0, dead)
        assert (master.data[dead] == 1).all()
        assert (master.uncertainty.array[dead] == 0).all()
        assert np.isfinite(master.data).all()
        assert (master.data > 0).all()

    def test_a_bias_pixel_made_of_few_frames_is_used(self):
        """As it is on a science frame; one that is bad is not."""
        bias = bias_of()
        bias.flags[3, 3], bias.flags[4, 4] = FLAGS["LOW_WEIGHT"].value, FLAGS["BAD_PIXEL"].value
        bias.mask = bias.flags != 0
        master = make_flat(self.frames(), bias=bias)
        assert master.flags[3, 3] == 0
        assert master.flags[4, 4] & FLAGS["NO_DATA"].value

    def test_the_mask_of_a_foreign_bias_counts(self):
        """A CCDData without flags may have a mask."""
        mask = np.zeros(SHAPE, bool)
        mask[4, 4] = True
        master = make_flat(self.frames(), bias=CCDData(np.full(SHAPE, 1000.0), unit="adu", mask=mask))
        assert np.argwhere(master.flags).tolist() == [[4, 4]]

    def test_dark_of_each_exposure(self):
        frames = self.frames()
        dark = make_ccd(np.full(SHAPE, 200.0), unit="adu / s", meta={"EXPTIME": 5.0})
        master = make_flat(frames, bias=bias_of(), dark=dark, reject=None, scale=False)
        plain = make_flat(frames, bias=bias_of(), reject=None, scale=False)
        assert plain.meta["FLATNORM"] - master.meta["FLATNORM"] == pytest.approx(1000, abs=1)
        assert is_applied(master.meta, "dark")
        assert not is_applied(plain.meta, "dark")
        with pytest.raises(InputError, match="neither DARKTIME nor EXPTIME"):
            make_flat(frames, bias=bias_of(), dark=make_ccd(np.zeros(SHAPE), unit="adu / s"))

    def test_a_dark_that_holds_the_level_is_refused(self):
        dark = make_dark(frames_of(3, seconds=5.0))
        with pytest.raises(InputError, match="made without bias and overscan"):
            make_flat(self.frames(), bias=bias_of(), dark=dark)
        assert make_flat(self.frames(), dark=dark).meta["FLATNORM"] == pytest.approx(20000, rel=0.01)

    @pytest.mark.parametrize("light", [0.0, -50.0])
    def test_without_light(self, light):
        frames = frames_of(2, level=1000 + min(light, -10), seconds=5.0)
        with pytest.raises(FrameError, match=r"adu above the bias; a flat needs light"):
            make_flat(frames, bias=bias_of())

    def test_all_flagged(self):
        frames = self.frames()
        frames[1].flags[:] = FLAGS["SATURATED"].value
        with pytest.raises(FrameError, match="all of its pixels are flagged; a flat needs light"):
            make_flat(frames)

    def test_flats_that_share_no_pixel(self):
        """Every pixel has one value, which is enough."""
        frames = self.frames(2)
        frames[0].flags[:20] = 2
        frames[1].flags[20:] = 2
        master = make_flat(frames)
        assert not master.flags.any()
        assert np.median(master.data) == pytest.approx(1, abs=1e-6)

    def test_unknown_normalization(self):
        with pytest.raises(ValueError, match="normalize = 'max' is not known; known are median, mean, mode"):
            make_flat(self.frames(), normalize="max")


class TestAmplifiers:
    """Flats of several amplifiers are brought to electron before one number normalizes them."""

    @pytest.fixture
    def night(self, tmp_path):
        night = two_amp_night(tmp_path, n_bias=4, n_flat=4)
        gains = [item.gain for item in night.sensor.amplifiers]
        noises = [item.read_noise for item in night.sensor.amplifiers]
        amplifiers = tuple(
            replace(item, gain=gain, read_noise=noise)
            for item, gain, noise in zip(TWO_AMP.amplifiers, gains, noises, strict=True)
        )
        return night, replace(TWO_AMP, amplifiers=amplifiers)

    def test_no_step_and_the_error_that_is_there(self, night):
        night, profile = night
        biases = [night.folder / path for path in night.paths("bias")]
        paths = [night.folder / path for path in night.paths("flat")]
        bias = make_bias(biases, profile=profile)
        master = make_flat(paths, bias=bias, profile=profile)
        raw = night.flat("V")
        truth = np.concatenate([raw[:, 8:72], raw[:, 72:136]], axis=1)
        assert master.mask.mean() < 0.01
        for side in (slice(0, 64), slice(64, 128)):
            good = ~master.mask[:, side]
            found, expected = master.data[:, side][good], (truth / np.median(truth))[:, side][good]
            pull = (found - expected) / master.uncertainty.array[:, side][good]
            assert np.std(pull) == pytest.approx(1, abs=0.06)
            assert abs(np.mean(pull)) < 0.5

    def test_a_gain_that_is_not_known(self, night):
        night, profile = night
        amplifiers = (profile.amplifiers[0], replace(profile.amplifiers[1], gain=None))
        with pytest.raises(InputError, match="gain of every amplifier must be known"):
            make_flat(
                [night.folder / path for path in night.paths("flat")], profile=replace(profile, amplifiers=amplifiers)
            )


class TestRefusals:
    """In words that name the frame."""

    @pytest.mark.parametrize("make", [make_bias, make_dark, make_flat])
    def test_no_frames(self, make):
        with pytest.raises(InputError, match="no frames given"):
            make([])

    @pytest.mark.parametrize("make", [make_bias, make_dark, make_flat])
    @pytest.mark.parametrize(
        ("spoil", "words"), [(all_zero, "all of its pixels are 0"), (all_nan, "none of its pixels")]
    )
    def test_frames_of_nothing(self, tmp_path, make, spoil, words):
        paths = [make_frame(tmp_path / f"{n}.fits", kind="flat") for n in range(3)]
        spoil(paths[1])
        with pytest.raises(FrameError, match=words) as caught:
            make(paths)
        assert caught.value.path == str(paths[1])

    @pytest.mark.parametrize("make", [make_bias, make_dark, make_flat])
    def test_a_truncated_file(self, tmp_path, make):
        paths = [make_frame(tmp_path / f"{n}.fits", kind="flat") for n in range(3)]
        truncate(paths[2], 5000)
        with pytest.raises(FrameError, match=r"2\.fits: truncated"):
            make(paths)

    def test_another_shape(self, tmp_path):
        paths = [make_frame(tmp_path / f"{n}.fits", shape=(40 + n, 50)) for n in range(2)]
        with pytest.raises(FrameError, match=r"1\.fits: shape \(41, 50\) differs from \(40, 50\)"):
            make_bias(paths)
        with pytest.raises(FrameError) as caught:
            make_dark([make_frame(tmp_path / "9.fits", kind="dark", shape=(41, 50))], bias=bias_of())
        assert str(caught.value) == f"{tmp_path / '9.fits'}: shape (41, 50) differs from (40, 50) of the bias"

    @pytest.mark.parametrize(
        ("name", "unit", "words"),
        [
            ("bias", "electron", "the bias is in 'electron'; a master bias is in 'adu'"),
            ("dark", "adu", "the dark is in 'adu'; a master dark is in 'adu / s'"),
        ],
    )
    def test_masters_of_another_unit_or_shape(self, name, unit, words):
        frames = frames_of(2, light=900.0, seconds=5.0)
        with pytest.raises(InputError, match=words):
            make_flat(frames, **{name: make_ccd(np.zeros(SHAPE), unit=unit, meta={"EXPTIME": 5.0})})
        other = make_ccd(np.zeros((4, 4)), unit="adu" if name == "bias" else "adu / s", meta={"EXPTIME": 5.0})
        with pytest.raises(FrameError, match=rf"shape \(40, 50\) differs from \(4, 4\) of the {name}"):
            make_flat(frames, **{name: other})

    def test_the_overscan_of_the_bias(self):
        """Both or neither."""
        marked = bias_of(OVERSCAN="ccdnight: x")
        with pytest.raises(FrameError, match="must both be subtracted, or neither"):
            make_dark(frames_of(2, seconds=5.0), bias=marked)

    @pytest.mark.parametrize(
        ("make", "meta", "use", "step"),
        [
            (make_bias, {"SUBBIAS": "x"}, (), "bias"),
            (make_dark, {"SUBBIAS": "x"}, ("bias",), "bias"),
            (make_dark, {"DARKCOR": "x"}, (), "dark"),
            (make_flat, {"ZEROCOR": "x"}, ("bias",), "bias"),
            (make_flat, {"SUBDARK": "x"}, ("dark",), "dark"),
            (make_flat, {"FLATCOR": "x"}, (), "flat"),
        ],
    )
    def test_twice(self, make, meta, use, step):
        """A CCDData that ccdproc has worked on."""
        masters = {"bias": bias_of(), "dark": make_ccd(np.ones(SHAPE), unit="adu / s", meta={"EXPTIME": 5.0})}
        frames = frames_of(2, light=900.0, seconds=5.0, **meta)
        with pytest.raises(AlreadyAppliedError, match=f"the step '{step}' has been applied already"):
            make(frames, **{name: masters[name] for name in use})

    def test_what_ccdproc_has_done_may_be_left_out(self):
        """Without a bias the flat is taken as it is."""
        done = [
            ccdproc.subtract_bias(frame, CCDData(np.full(SHAPE, 1000.0), unit="adu"))
            for frame in frames_of(3, light=9000.0, seconds=5.0)
        ]
        assert is_applied(done[0].meta, "bias")
        assert make_flat(done).meta["FLATNORM"] == pytest.approx(9000, rel=0.01)
        with pytest.raises(AlreadyAppliedError, match="SUBBIAS"):
            make_flat(done, bias=bias_of())

    def test_method_and_rejection(self):
        with pytest.raises(ValueError, match="method = 'mode' is not known"):
            make_bias(frames_of(2), method="mode")
        with pytest.raises(ValueError, match="reject = 'ccdclip' is not known"):
            make_bias(frames_of(2), reject="ccdclip")


@pytest.mark.parametrize("workers", [1, 2])
def test_masters_do_not_depend_on_the_number_of_threads(workers, tmp_path):
    night = plain_night(tmp_path, n_bias=4, n_dark=0, n_flat=0, n_science=0)
    paths = [tmp_path / path for path in night.paths("bias")]
    write_ccd(make_bias(paths, workers=workers), tmp_path / "a.fits.part")
    write_ccd(make_bias(paths), tmp_path / "b.fits.part")
    assert (tmp_path / "a.fits.part").read_bytes() == (tmp_path / "b.fits.part").read_bytes()


def test_the_inputs_stay_as_they_are():
    frames, bias = frames_of(3, light=500.0, seconds=5.0), bias_of()
    before = [frame.data.copy() for frame in (*frames, bias)]
    make_flat(frames, bias=bias)
    make_dark(frames, bias=bias)
    for frame, data in zip((*frames, bias), before, strict=True):
        np.testing.assert_array_equal(frame.data, data)
