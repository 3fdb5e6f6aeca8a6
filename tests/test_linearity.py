"""Linearity: what the simulator bends is straight again, in stars and in ratios of flats, and is bent only once."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from ccdnight.calibration import calibrate
from ccdnight.detector import measure_linearity
from ccdnight.exceptions import AlreadyAppliedError, InputError, ProfileError
from ccdnight.linearity import correct_linearity, linearized
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.night import Night
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.profiles import get_profile, profile_from_toml, profile_to_toml
from ccdnight.profiles.model import Amplifier
from ccdnight.simulate import Physics, simulate_night
from ccdnight.simulate.anynight import any_night
from ccdnight.simulate.electronics import linearity_of, non_linear
from ccdnight.simulate.script import flat_series

GAIN, LOSS = 1.34, 0.04
CAMERA = """
format = 1
name = "bent"
[[amplifiers]]
shape = [320, 352]
data = "[1:320,1:320]"
overscan = "[321:352,1:320]"
gain = 1.34
read_noise = 8.0
saturation = 60000
linearity = {coefficients}
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Flats of two levels and stars up to near saturation, read by an amplifier that loses 4 % there."""
    profile = profile_from_toml(CAMERA.format(coefficients="[]"))
    script = any_night(profile)
    camera = replace(script.camera, non_linearity=LOSS, dark_rate=0.02)
    exposures = []
    for item in script.exposures:
        if item.kind == "science":
            item = replace(item, fwhm=4.0)
        exposures.append(item)
    flats = [item for item in exposures if item.kind == "flat" and item.filter == "V"]
    for number, item in enumerate(flats):
        light = item.light * 1.6
        exposures.append(replace(item, path=f"bright_{number}.fits", light=light, filter="bright"))
    terms = {"photon_noise", "stars", "fixed_pattern", "vignetting", "saturation", "read_noise", "quantization"}
    physics = Physics.none(**dict.fromkeys([*terms, "dark", "non_linearity"], True))
    script = replace(script, camera=camera, exposures=tuple(exposures), filters=("V", "R", "bright"), star_density=400,
                     colors=(1.0, 1.0, 1.0), star_rates=(100.0, 5000.0, 0.5))  # fmt: skip
    folder = tmp_path_factory.mktemp("linearity")
    return simulate_night(folder, profile, seed=3, night=script, physics=physics)


def profile_of(night, *, corrected=True):
    readout = night.night.camera.readouts[0]
    coefficients = list(linearity_of(readout, LOSS)) if corrected else []
    return profile_from_toml(CAMERA.format(coefficients=coefficients))


def frames(night, kind, band=""):
    return [
        night.raw_folder / item.path
        for item in night.night.exposures
        if item.kind == kind and (not band or item.filter == band)
    ]


def masters(night, profile, band="V"):
    bias = make_bias(frames(night, "bias"), profile=profile)
    dark = make_dark(frames(night, "dark"), bias=bias, profile=profile)
    return {"bias": bias, "dark": dark, "flat": make_flat(frames(night, "flat", band), bias=bias, dark=dark,
                                                          profile=profile)}  # fmt: skip


class TestTruth:
    """What was planted comes back."""

    def test_the_series_is_the_inverse(self, night):
        readout = night.night.camera.readouts[0]
        charge = np.linspace(0, readout.full_well, 50)
        signal = non_linear(charge, readout.full_well, LOSS) / readout.gain
        corrected, _ = linearized(signal, linearity_of(readout, LOSS))
        np.testing.assert_allclose(corrected * readout.gain, charge, rtol=1e-5)

    @pytest.mark.parametrize("engine", ["fused", "steps"])
    def test_stars(self, night, engine):
        """Fluxes of bright stars to 0.1 %; without the correction they are off by more than ten times that."""
        found = {}
        for corrected in (True, False):
            profile, ratios, weights = profile_of(night, corrected=corrected), [], []
            used = masters(night, profile)
            for path in frames(night, "science", "V"):
                made = calibrate(path, **used, profile=profile, engine=engine)
                light = night.light(path.name)
                bright = (light > 20000) & (made.flags == 0)
                ratios.append(made.data[bright].sum(dtype=float))
                weights.append(light[bright].sum(dtype=float))
            found[corrected] = sum(ratios) / sum(weights)
        # The level to which a flat is brought leaves out the vignetting, which is divided out by the ratio of the two.
        flat = night.flat("V") if hasattr(night, "flat") else night.maps.flats["V"]
        scale = np.median(flat)
        assert found[True] / scale == pytest.approx(1, abs=1e-3)
        assert abs(found[False] / scale - 1) > 1e-2

    def test_ratio_of_flats(self, night):
        """Of two levels, 1.6 apart."""
        ratios = {}
        for corrected in (True, False):
            profile = profile_of(night, corrected=corrected)
            levels = [masters(night, profile, band)["flat"].meta["FLATNORM"] for band in ("V", "bright")]
            ratios[corrected] = levels[1] / levels[0]
        expected = np.median(night.maps.flats["bright"]) / np.median(night.maps.flats["V"]) * 1.6
        assert ratios[True] == pytest.approx(expected, rel=1e-3)
        assert abs(ratios[False] / expected - 1) > 3e-3

    def test_noise(self, night):
        """The scatter of a pair of flats is what the uncertainty says."""
        profile = profile_of(night)
        bias = make_bias(frames(night, "bias"), profile=profile)
        one, two = (calibrate(path, bias=bias, profile=profile) for path in frames(night, "flat", "bright")[:2])
        pulls = (one.data - two.data) / np.hypot(one.uncertainty.array, two.uncertainty.array)
        assert np.std(pulls) == pytest.approx(1, abs=0.01)

    def test_measured_and_put_into_the_profile(self, tmp_path):
        """`Linearity.correction` of a series of flats corrects to a tenth of what was lost."""
        profile = profile_from_toml(CAMERA.format(coefficients="[]"))
        script = any_night(profile)
        script = replace(script, camera=replace(script.camera, non_linearity=LOSS))
        well = script.camera.readouts[0].full_well
        series = flat_series(script, [well / 2] * 10)
        exposures = []
        for number, item in enumerate(series.exposures, 1):
            seconds = 2.0 * number
            lit = replace(item, exposure=seconds, dark_time=seconds, light=well / 55)
            exposures.append(item if item.kind == "bias" else lit)
        physics = Physics.none(photon_noise=True, read_noise=True, quantization=True, non_linearity=True)
        night = replace(series, exposures=tuple(exposures))
        truth = simulate_night(tmp_path, profile, seed=1, night=night, physics=physics)
        measured = measure_linearity(frames(truth, "flat"), frames(truth, "bias"), profile=profile)
        found = measured.correction(degree=2)
        signal = np.linspace(1000, 55000, 20)
        expected, _ = linearized(signal, linearity_of(script.camera.readouts[0], LOSS))
        np.testing.assert_allclose(linearized(signal, found)[0], expected, rtol=0.002)
        text = profile_to_toml(replace(profile, amplifiers=(replace(profile.amplifiers[0], linearity=found),)))
        assert profile_from_toml(text).amplifiers[0].linearity == found

    @pytest.mark.parametrize("overscan", ["[321:352,1:320]", "none"])
    def test_gain_of_a_night(self, night, tmp_path, overscan):
        """It is measured from corrected flats: a loss of 1 % at their level makes a gain 3 % too high."""
        gains = {}
        for corrected in (True, False):
            profile = profile_of(night, corrected=corrected)
            amplifier = replace(profile.amplifiers[0], gain=None, overscan=overscan)
            made = Night(night.raw_folder, profile=replace(profile, amplifiers=(amplifier,))).reduce(
                tmp_path / str(corrected), progress=False, cosmic_rays=False
            )
            table = Table.read(made.output / "detector.ecsv", format="ascii.ecsv")
            gains[corrected] = table["gain"][0], table["gain_error"][0]
            meta = made.science[next(iter(made.science))].meta
            assert ("LINCOR" in meta) == corrected
        true = night.night.camera.readouts[0].gain
        value, error = gains[True]
        assert abs(value - true) < 4 * error
        assert gains[False][0] > true + 6 * gains[False][1]


class TestOnce:
    """It is applied once, where it belongs, and says so."""

    def test_cards(self, night, tmp_path):
        profile = profile_of(night)
        used = masters(night, profile)
        assert "LINCOR" not in used["bias"].meta
        assert all(used[role].meta["LINCOR"].startswith("ccdnight: coefficients ") for role in ("dark", "flat"))
        made = calibrate(frames(night, "science")[0], **used, profile=profile)
        write_ccd(made, tmp_path / "made.fits")
        assert read_ccd(tmp_path / "made.fits").meta["LINCOR"].startswith("ccdnight: coefficients ")

    def test_alone(self, night):
        profile = profile_of(night)
        bare = make_ccd(np.array([[10000.0, 40000.0]]), unit="adu", sigma=[[100.0, 200.0]], meta={"ZEROCOR": True})
        (c1, c2, c3, c4), s = profile.amplifiers[0].linearity, bare.data.astype(float)
        done = correct_linearity(bare, profile=profile)
        np.testing.assert_allclose(done.data, s * (1 + c1 * s + c2 * s**2 + c3 * s**3 + c4 * s**4), rtol=1e-6)
        slope = 1 + 2 * c1 * s + 3 * c2 * s**2 + 4 * c3 * s**3 + 5 * c4 * s**4
        np.testing.assert_allclose(done.uncertainty.array, [[100, 200]] * slope, rtol=1e-6)
        with pytest.raises(AlreadyAppliedError, match="the step 'linearity' has been applied already"):
            correct_linearity(done, profile=profile)
        with pytest.raises(AlreadyAppliedError, match="linearity"):
            calibrate(done, profile=profile)

    def test_refusals(self, night):
        bare = make_ccd(np.ones((9, 9)), unit="adu")
        with pytest.raises(InputError, match="no amplifier has linearity"):
            correct_linearity(bare, profile="arcsat")
        with pytest.raises(InputError, match="neither overscan nor bias"):
            correct_linearity(bare, profile=profile_of(night))
        with pytest.raises(InputError, match="in 'electron'"):
            correct_linearity(make_ccd(np.ones((9, 9)), unit="electron"), profile=profile_of(night))


class TestProfile:
    """Coefficients in a profile file."""

    def test_round_trip(self):
        profile = profile_from_toml(CAMERA.format(coefficients=[4e-7, -1e-12]))
        assert profile.amplifiers[0].linearity == (4e-7, -1e-12)
        assert profile_from_toml(profile_to_toml(profile)).amplifiers == profile.amplifiers
        assert get_profile("lfc").amplifiers[0].linearity == Amplifier().linearity == ()

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("0.1", "0.1 is not allowed; a list of numbers is"),
            ("[0.02]", None),
            ("[-1e-5]", r"linearity: \[-1e-05\] turns the response around at 50[0-9]{3} adu"),
            ('["a"]', r"linearity\[0\]: 'a' is not allowed; a number is"),
        ],
    )
    def test_what_is_wrong(self, value, message):
        if message is None:
            return
        with pytest.raises(ProfileError, match=message):
            profile_from_toml(CAMERA.format(coefficients=value))
