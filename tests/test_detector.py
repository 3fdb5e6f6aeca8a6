"""Gain and read noise of simulated pairs: within a percent, with errors that are those of the scatter."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from builders import nickel_night, plain_night

from ccdnight.detector import estimate_gain, estimate_read_noise
from ccdnight.exceptions import InputError, MeasurementError
from ccdnight.products import make_ccd
from ccdnight.profiles import get_profile

GAIN, READ = 1.78, 9.8


def simulate(
    seed=1,
    *,
    shape=(256, 256),
    levels=(20000.0, 20000.0),
    gradient=0.0,
    pattern=0.01,
    biases=4,
    drift=0.0,
    hits=0,
):
    """
    Flats and biases of whole numbers, from photons on.

    `gradient` is the change of the illumination across the frame in the second flat alone, `pattern` the scatter
    of the pixels' response, `drift` that of the level from frame to frame.
    """
    rng = np.random.default_rng([seed, 77])
    response = rng.normal(1, pattern, shape)
    y, x = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]

    def read_out(charge, number):
        adu = 1000 + drift * number + (charge + rng.normal(0, READ, shape)) / GAIN
        return np.rint(adu)

    def ccd(pixels, flags=None):
        return make_ccd(pixels, unit="adu", flags=flags, meta={"FILTER": "V", "EXPTIME": 5.0})

    dark = [ccd(read_out(np.zeros(shape), number)) for number in range(biases)]
    lit = []
    for number, level in enumerate(levels):
        light = level * (1 + gradient * (x + y) * number) * response
        pixels = read_out(rng.poisson(light * GAIN), number)
        where = tuple(rng.integers(0, size, hits) for size in shape)
        pixels[where] += 3000
        lit.append(ccd(pixels))
    return lit, dark


CASES = {
    "equal levels": {},
    "unequal levels": {"levels": (25000.0, 20250.0)},
    "very unequal levels": {"levels": (30000.0, 8000.0)},
    "a gradient between the flats": {"gradient": 0.1},
    "fixed pattern": {"pattern": 0.05},
    "fixed pattern and unequal levels": {"pattern": 0.05, "levels": (25000.0, 20250.0)},
    "cosmic rays": {"hits": 30},
    "drifting level": {"drift": 15.0},
    "low light": {"levels": (1500.0, 1400.0)},
    "two biases": {"biases": 2},
    "four flats": {"levels": (20000.0, 18000.0, 21000.0, 19000.0)},
    "small": {"shape": (80, 96)},
    "a strip": {"shape": (1000, 40)},
}


def test_a_pair_of_different_light_is_refused():
    """A science frame that is labelled flat has a hundredth of the light, and stars."""
    lit, dark = simulate(levels=(20000.0, 250.0))
    with pytest.raises(MeasurementError, match=r"are no pair; a ratio of 0.1 and more is needed"):
        estimate_gain(lit, dark)


UNLIKE = pytest.mark.filterwarnings("ignore:.*differ in level:ccdnight.exceptions.FrameWarning")


class TestGain:
    """`estimate_gain`."""

    @UNLIKE
    @pytest.mark.parametrize("case", CASES)
    def test_within_a_percent(self, case):
        """The mean of a few pairs, so that chance is well below that."""
        found = [estimate_gain(*simulate(seed, **CASES[case])) for seed in range(6)]
        assert np.mean([item.gain.value for item in found]) == pytest.approx(GAIN, rel=0.01)
        assert np.mean([item.read_noise.value for item in found]) == pytest.approx(READ, rel=0.01)
        assert found[0].gain.unit == u.electron / u.adu
        assert found[0].read_noise.unit == u.electron
        levels = CASES[case].get("levels", (20000.0, 20000.0))
        assert found[0].signal == pytest.approx(np.mean(levels), rel=0.01)
        assert found[0].pairs == {2: 1, 4: 6}[len(levels)]
        assert found[0].method == "pair"

    @UNLIKE
    @pytest.mark.parametrize(
        "case",
        [{"shape": (256, 256)}, {"shape": (128, 128), "levels": (25000.0, 20250.0)}, {"shape": (64, 80)}],
        ids=["large", "unequal", "small"],
    )
    def test_the_error_is_that_of_the_scatter(self, case):
        """Of 60 measurements."""
        found = [estimate_gain(*simulate(seed, **case, biases=2)) for seed in range(60)]
        pulls = [((item.gain - GAIN * u.electron / u.adu) / item.gain_error).value for item in found]
        assert np.std(pulls) == pytest.approx(1, abs=0.2)
        assert abs(np.mean(pulls)) < 0.5
        pulls = [((item.read_noise - READ * u.electron) / item.read_noise_error).value for item in found]
        assert np.std(pulls) == pytest.approx(1, abs=0.2)

    def test_flagged_pixels_are_left_out(self):
        lit, dark = simulate(biases=2)
        for frame in lit:
            frame.data[40:80, :] = 65535
            frame.flags[40:80, :] = 2
        dark[0].data[:, 100:120] = 0
        dark[0].flags[:, 100:120] = 1
        assert estimate_gain(lit, dark).gain.value == pytest.approx(GAIN, rel=0.03)

    def test_as_a_row(self):
        row = estimate_gain(*simulate(biases=2, shape=(64, 64))).as_row()
        assert all(isinstance(value, int | float | str) for value in row.values())
        assert row["gain"] == pytest.approx(GAIN, rel=0.1)
        assert row["gain_error"] > 0

    @pytest.mark.parametrize("shape", [(8, 8), (10, 300), (20, 20)])
    def test_very_small_frames(self, shape):
        """However few the pixels, an error of nothing is not claimed."""
        lit, dark = simulate(shape=shape)
        result = estimate_gain(lit, dark)
        assert np.isfinite(result.gain.value)
        assert result.gain_error.value > 0.01

    @UNLIKE
    def test_from_files(self, tmp_path):
        """The overscan of each is used, and the profile found."""
        night = nickel_night(tmp_path, size=256)
        flats = [tmp_path / path for path in night.paths("twilight")]
        biases = [str(tmp_path / path) for path in night.paths("bias")]
        result = estimate_gain(flats, biases)
        assert result.gain.value == pytest.approx(night.gain, abs=4 * result.gain_error.value)
        assert result.gain.value == pytest.approx(night.gain, rel=0.05)
        assert result.read_noise.value == pytest.approx(night.read_noise, rel=0.1)

    def test_quick(self):
        """2S/var, with the pedestal in S."""
        lit, dark = simulate(pattern=0.0)
        quick = estimate_gain(lit, dark, method="quick")
        assert quick.gain.value == pytest.approx(GAIN * 21000 / 20000, rel=0.02)
        assert quick.method == "quick"
        assert quick.read_noise.value == pytest.approx(READ * 21000 / 20000, rel=0.03)
        without = estimate_gain(lit, method="quick")
        assert without.gain.value == pytest.approx(GAIN * 21000 / 20000, rel=0.02)
        assert without.read_noise is None
        assert without.as_row()["read_noise"] is None

    def test_quick_passes_over_what_is_flagged(self):
        lit, dark = simulate(pattern=0.0)
        lit[0].flags[:70] = 2
        found = estimate_gain(lit, dark, method="quick").gain.value
        assert found == pytest.approx(GAIN * 21000 / 20000, rel=0.03)


class TestRefusals:
    """Frames from which nothing sensible can be measured, in words."""

    @pytest.mark.parametrize("method", ["pair", "quick"])
    def test_identical_frames(self, method):
        lit, dark = simulate(biases=2)
        with pytest.raises(MeasurementError, match=r"identical|vary no more than the biases"):
            estimate_gain([lit[0], lit[0]], dark, method=method)

    def test_identical_biases(self):
        lit, dark = simulate(biases=2)
        with pytest.raises(MeasurementError, match="are identical"):
            estimate_gain(lit, [dark[0], dark[0]])
        with pytest.raises(MeasurementError, match="are identical"):
            estimate_read_noise([dark[0], dark[0]])

    def test_biases_that_differ_in_a_few_pixels_only(self):
        """Their noise is 0, and so would be what its error is divided by."""
        lit, dark = simulate(biases=2)
        dark[0].data[:] = dark[1].data
        dark[0].data[3:5, 7] += 40
        with pytest.raises(MeasurementError, match="they have no noise"):
            estimate_read_noise(dark)
        with pytest.raises(MeasurementError, match="they have no noise"):
            estimate_gain(lit, dark)

    def test_different_filters(self):
        lit, dark = simulate(biases=2)
        lit[1].meta["FILTER"] = "R"
        with pytest.raises(MeasurementError, match="flats of different filters: 'R', 'V'; one is needed"):
            estimate_gain(lit, dark)

    @pytest.mark.parametrize("flats", [0, 1])
    def test_too_few_flats(self, flats):
        lit, dark = simulate(biases=2)
        with pytest.raises(MeasurementError, match=f"flats: {flats} frames given; at least two"):
            estimate_gain(lit[:flats], dark)

    @pytest.mark.parametrize("biases", [None, 0, 1])
    def test_too_few_biases(self, biases):
        lit, dark = simulate(biases=2)
        words = "biases = None; method 'pair' needs" if biases is None else f"biases: {biases} frames given"
        with pytest.raises(MeasurementError, match=words):
            estimate_gain(lit, None if biases is None else dark[:biases])
        if biases is not None:
            with pytest.raises(MeasurementError, match=words):
                estimate_read_noise(dark[:biases])

    def test_biases_given_as_flats(self):
        _, dark = simulate()
        with pytest.raises(MeasurementError, match="no area has enough light; flats are needed"):
            estimate_gain(dark[:2], dark[2:])

    def test_flats_given_as_biases(self):
        """They vary more than the flats that are left."""
        lit, dark = simulate()
        with pytest.raises(MeasurementError):
            estimate_gain(dark[:2], lit)

    def test_saturated_flats(self):
        lit, dark = simulate(biases=2)
        for frame in lit:
            frame.data[:] = 65535
        with pytest.raises(MeasurementError):
            estimate_gain(lit, dark)
        for frame in lit:
            frame.flags[:] = 2
        with pytest.raises(MeasurementError, match="no area"):
            estimate_gain(lit, dark)

    @pytest.mark.parametrize("which", [0, 1])
    def test_other_shapes(self, which):
        """Also where flats and biases differ, each among themselves being equal."""
        lit, dark = simulate(biases=2, shape=(64, 64))
        other, _ = simulate(biases=2, shape=(64, 70))
        with pytest.raises(InputError, match=r"differs from \(64, 64\)"):
            estimate_gain(*((lit, other) if which else ([lit[0], other[0]], dark)))

    def test_method(self):
        with pytest.raises(ValueError, match="method = 'ptc' is not known; known are pair, quick"):
            estimate_gain(*simulate(shape=(16, 16)), method="ptc")


class TestReadNoise:
    """`estimate_read_noise`."""

    @pytest.mark.parametrize("gain", [None, 2.0, 2.0 * u.electron / u.adu])
    @pytest.mark.parametrize("n", [2, 5, 12])
    def test_unit_and_value(self, gain, n):
        _, dark = simulate(3, biases=n)
        result = estimate_read_noise(dark, gain=gain)
        factor = 1 if gain is None else 2
        expected = READ / GAIN
        assert result.read_noise.value == pytest.approx(factor * expected, rel=0.01)
        assert result.read_noise.unit == (u.adu if gain is None else u.electron)
        assert result.read_noise_adu == pytest.approx(expected, rel=0.01)
        # Rounding to whole numbers adds a twelfth to the variance.
        assert result.read_noise_raw.value == pytest.approx(factor * np.hypot(expected, 12**-0.5), rel=0.01)
        assert result.pairs == min(n - 1, 8)
        assert 0 < result.read_noise_error.value < 0.02 * factor * expected

    def test_a_level_that_drifts_and_structure_do_no_harm(self):
        _, dark = simulate(4, drift=25.0)
        ramp = np.linspace(0, 300, 256)[:, None]
        for frame in dark:
            frame.data += np.rint(ramp).astype(np.float32)
        dark[0].data[100:110, 100:110] += 5000
        assert estimate_read_noise(dark).read_noise_adu == pytest.approx(READ / GAIN, rel=0.015)

    @pytest.mark.parametrize("noise", [0.25, 0.3, 0.4])
    def test_a_noise_below_half_a_step(self, noise):
        """Most pixels of a quiet camera read one and the same number."""
        rng = np.random.default_rng(5)
        frames = [make_ccd(np.rint(100 + rng.normal(0, noise, (256, 256))), unit="adu") for _ in range(4)]
        expected = np.std(frames[0].data)
        assert estimate_read_noise(frames).read_noise_adu == pytest.approx(expected, rel=0.02)


def test_profile_and_path(tmp_path):
    night = plain_night(tmp_path, n_bias=4, n_dark=0, n_science=0, shape=(128, 128))
    flats, biases = ([tmp_path / path for path in night.paths(kind)] for kind in ("flat", "bias"))
    profile = replace(get_profile("generic"), name="other")
    result = estimate_gain(flats, biases, profile=profile)
    assert result.gain.value == pytest.approx(night.gain, rel=0.06)
