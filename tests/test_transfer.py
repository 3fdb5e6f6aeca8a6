"""Photon transfer, linearity, dark current and bias of detectors whose numbers are known; what cannot be measured."""

import io
import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from ccdnight import measuring, plots
from ccdnight._sections import parse_section
from ccdnight.cli import main
from ccdnight.detector import (
    dark_current,
    estimate_gain,
    estimate_read_noise,
    fit_photon_transfer,
    measure_bias,
    measure_linearity,
    series,
)
from ccdnight.detector.areas import good_pixels
from ccdnight.detector.curves import curve_of, plain_curve
from ccdnight.exceptions import FrameWarning, InputError, MeasurementError
from ccdnight.products import make_ccd
from ccdnight.settling import settle
from ccdnight.simulate.charge import grow

GAIN, NOISE, A00, RATE = 2.0, 11.0, -2.5e-6, 1000.0
LEVELS = (600.0, 2500.0, 8000.0, 16000.0, 28000.0, 42000.0)


def camera(seed=1, *, levels=LEVELS, shape=(256, 256), bend=0.0, full_well=None, repel=False, lamp=1.0, biases=4):
    """Pairs of flats of many levels and biases; exposures in proportion to the level, `bend` in percent at 50000."""
    rng = np.random.default_rng([seed, 5])

    def ccd(charge, seconds, kind):
        pixels = np.rint(1000 + (charge + rng.normal(0, NOISE, shape)) / GAIN)
        return make_ccd(
            pixels.astype(np.float32), unit="adu", meta={"FILTER": "V", "EXPTIME": seconds, "IMAGETYP": kind}
        )

    response = rng.normal(1, 0.01, shape)
    dark = [ccd(np.zeros(shape), 0.0, "bias") for _ in range(biases)]
    lit = []
    for level in levels:
        for _ in range(2):
            expected = level * (1 - bend / 100 * level / 50000) * GAIN * response * lamp
            charge = grow(expected.astype(np.float32), rng, a00=A00, steps=20) if repel else rng.poisson(expected)
            lit.append(ccd(charge if full_well is None else np.minimum(charge, full_well), level / RATE, "flat"))
    return lit, dark


class TestPhotonTransfer:
    """`fit_photon_transfer`."""

    def test_a_straight_line(self):
        result = fit_photon_transfer(*camera())
        assert result.gain.value == pytest.approx(GAIN, abs=4 * result.gain_error.value)
        assert result.gain_error.value < 0.01 * GAIN
        assert result.read_noise.value == pytest.approx(NOISE, rel=0.02)
        assert abs(result.a00.value) < 4 * result.a00_error.value
        assert result.full_well is None
        assert result.levels == len(LEVELS)
        assert result.gain.unit == u.electron / u.adu

    def test_charge_that_repels_charge(self):
        """The gain is right where a straight line and a single pair are not, and a00 is found."""
        lit, dark = camera(2, repel=True)
        curve = fit_photon_transfer(lit, dark)
        assert curve.gain.value == pytest.approx(GAIN, rel=0.01)
        assert curve.a00.value == pytest.approx(A00, rel=0.15)
        assert fit_photon_transfer(lit, dark, brighter_fatter=False).gain.value > 1.005 * GAIN
        assert estimate_gain(lit[-2:], dark).gain.value > 1.15 * GAIN

    def test_full_well_and_order(self):
        """Levels beyond are left out; the order of the files does not matter."""
        lit, dark = camera(3, full_well=70000)
        result = fit_photon_transfer(lit[::-1], dark)
        assert result.gain.value == pytest.approx(GAIN, rel=0.01)
        assert result.full_well.value == pytest.approx(56000, rel=0.01)
        assert list(result.table["remark"]) == ["biases", *["used"] * 5, "beyond full well"]
        assert result.levels == 5

    def test_a_level_off_the_curve(self):
        lit, dark = camera(4)
        rng = np.random.default_rng(1)
        for flat in lit[4:6]:
            flat.data += rng.normal(0, 60, flat.data.shape).astype(np.float32)
        result = fit_photon_transfer(lit, dark)
        assert result.table["remark"][3] == "off the curve"
        assert result.gain.value == pytest.approx(GAIN, rel=0.01)

    def test_linearity_in_the_table(self):
        result = fit_photon_transfer(*camera(5, bend=4.0))
        assert result.table["nonlinearity"][-1] == pytest.approx(-2.4, abs=0.7)
        assert np.isnan(result.table["nonlinearity"][0])

    def test_cards_and_row(self):
        result = fit_photon_transfer(*camera(1, shape=(128, 128)))
        cards = {name: value for name, value, _ in result.as_cards()}
        assert cards["GAIN"] == result.gain.value
        assert cards["PTCNLEV"] == len(LEVELS)
        assert "FULLWELL" not in cards
        header = fits.Header(result.as_cards())
        assert header.comments["RDNOISE"] == "[electron] read noise, from photon transfer"
        row = result.as_row()
        assert row["a00"] == result.a00.value
        assert all(value is None or isinstance(value, int | float | str) for value in row.values())
        with pytest.raises(AttributeError):
            result.gain = 3

    @pytest.mark.parametrize("levels", [(20000.0,) * 4, (10000.0, 20000.0)])
    def test_too_few_levels(self, levels):
        lit, dark = camera(levels=levels, shape=(64, 64))
        words = f"flats: {len(set(levels))} levels with two flats" if len(lit) >= 6 else "flats: 4 frames given"
        with pytest.raises(MeasurementError, match=words):
            fit_photon_transfer(lit, dark)

    def test_levels_without_photon_noise(self):
        """Flats made by arithmetic do not give a number."""
        _, dark = camera(shape=(64, 64), biases=8)
        lit = []
        for number, ccd in enumerate(dark[:6]):
            lit.append(make_ccd(ccd.data + 1000 * (number // 2 + 1) ** 2, unit="adu", meta=ccd.meta))
        with pytest.raises(MeasurementError, match=r"does not rise|no photon noise"):
            fit_photon_transfer(lit, dark[6:])


class TestLinearity:
    """`measure_linearity`."""

    def test_straight(self):
        result = measure_linearity(*camera(6))
        assert result.rate.value == pytest.approx(RATE, rel=0.002)
        assert abs(result.largest) < 0.3
        assert abs(result.shutter.value) < 0.01

    def test_bent(self):
        result = measure_linearity(*camera(6, bend=5.0))
        assert result.largest == pytest.approx(-3.0, abs=1.0)
        assert result.table["departure"][0] == pytest.approx(0, abs=1.0)

    def test_refusals(self):
        lit, dark = camera(levels=(1000.0, 2000.0), shape=(64, 64))
        with pytest.raises(MeasurementError, match="2 exposure times; linearity needs three"):
            measure_linearity(lit, dark)
        lit[0].meta["EXPTIME"] = 0.0
        with pytest.raises(MeasurementError, match=r"flats\[0\]: its exposure time is 0"):
            measure_linearity(lit, dark)


def darks(rate, seconds, seed=1, shape=(128, 128)):
    """Darks of whole numbers; one pixel in a thousand is hot."""
    rng = np.random.default_rng([seed, 9])
    expected = np.full(shape, rate)
    expected[rng.random(shape) < 0.001] = 50.0
    return [
        make_ccd(
            np.rint(1000 + (rng.poisson(expected * t) + rng.normal(0, NOISE, shape)) / GAIN).astype(np.float32),
            unit="adu",
            meta={"EXPTIME": t, "CCD-TEMP": -20.0},
        )
        for t in seconds
    ]


class TestDark:
    """`dark_current`."""

    @pytest.mark.parametrize("rate", [0.02, 0.5])
    def test_rate(self, rate):
        _, dark = camera(shape=(128, 128))
        result = dark_current(darks(rate, [300.0] * 4), biases=dark, gain=GAIN)
        assert result.rate.value == pytest.approx(rate, abs=4 * result.rate_error.value)
        assert result.rate_error.value < 0.005
        assert result.rate.unit == u.electron / u.s
        assert 0.0005 < result.hot_fraction < 0.002
        assert result.frames == 4

    def test_slope_without_biases(self):
        result = dark_current(darks(0.5, [30.0, 100.0, 300.0, 600.0]))
        assert result.rate.value == pytest.approx(0.5 / GAIN, abs=5 * result.rate_error.value)
        assert result.rate.unit == u.adu / u.s

    def test_refusals(self):
        with pytest.raises(MeasurementError, match="darks of 300 s only and no biases"):
            dark_current(darks(0.5, [300.0] * 3))
        with pytest.raises(MeasurementError, match="its exposure time is 0"):
            dark_current(darks(0.5, [0.0]))


class TestBias:
    """`measure_bias`."""

    def test_level_drift_and_shape(self):
        rng = np.random.default_rng(3)
        ramp = np.linspace(-10, 10, 100)
        frames = [
            make_ccd(
                np.rint(1200 + 2 * n + ramp + rng.normal(0, 5, (80, 100))).astype(np.float32),
                unit="adu",
                meta={"DATE-OBS": f"2024-01-01T0{n}:30:00", "EXPTIME": 0.0},
            )
            for n in range(6)
        ]
        result = measure_bias(frames)
        assert result.level.value == pytest.approx(1205, abs=0.3)
        assert result.drift.value == pytest.approx(2.0, abs=0.2)
        assert result.column_range.value == pytest.approx(20, abs=2.5)
        assert result.row_range.value < 3
        np.testing.assert_allclose(result.column_profile, ramp, atol=1.5)
        assert list(result.table.colnames) == ["file", "time", "level"]

    def test_a_single_frame(self):
        _, dark = camera(shape=(64, 64))
        result = measure_bias(dark[:1])
        assert result.drift is None
        assert np.isnan(result.level_scatter.value)


class TestBadInput:
    """A clear error or a warning, never a silly number."""

    @pytest.mark.parametrize("light", [60.0, 5000.0])
    @pytest.mark.parametrize("biases", [3, 4, 8])
    def test_a_bias_with_light(self, light, biases):
        lit, dark = camera(levels=(20000.0,), biases=biases)
        dark[1].data += np.random.default_rng(1).poisson(light * GAIN, dark[1].data.shape).astype(np.float32) / GAIN
        with pytest.warns(FrameWarning, match=r"biases\[1\].*holds light; it is left out"):
            result = estimate_gain(lit, dark)
        assert result.gain.value == pytest.approx(GAIN, rel=0.02)
        assert result.read_noise.value == pytest.approx(NOISE, rel=0.03)

    def test_one_of_two_biases_with_light(self):
        lit, dark = camera(levels=(20000.0,), biases=2)
        dark[0].data += 500
        with pytest.raises(MeasurementError, match=r"biases\[0\].*holds light"):
            estimate_gain(lit, dark)
        with pytest.raises(MeasurementError, match=r"biases\[0\].*holds light"):
            estimate_read_noise(dark)

    def test_saturated_flats(self):
        lit, dark = camera(levels=(20000.0,))
        for flat in lit:
            flat.data = np.minimum(flat.data, 20900)
        with pytest.raises(MeasurementError, match="it is saturated"):
            estimate_gain(lit, dark)

    def test_a_saturated_corner_does_no_harm(self):
        lit, dark = camera(levels=(20000.0,))
        for flat in lit:
            flat.data[:64, :64] = 65535
        assert estimate_gain(lit, dark).gain.value == pytest.approx(GAIN, rel=0.02)

    def test_flats_at_full_well(self):
        """Nothing varies but the electronics."""
        lit, dark = camera(levels=(40000.0,), full_well=50000)
        with pytest.raises(MeasurementError, match="vary no more than the biases"):
            estimate_gain(lit, dark)

    def test_unequal_levels(self):
        lit, dark = camera(levels=(20000.0, 10000.0))
        with pytest.warns(FrameWarning, match=r"differ in level \(2\d{4} and 1\d{4} adu|differ in level"):
            result = estimate_gain([lit[0], lit[2]], dark)
        assert result.gain.value == pytest.approx(GAIN, rel=0.02)

    def test_three_flats_of_which_two_match(self):
        """The pair that matches is taken, without a warning."""
        lit, dark = camera(levels=(20000.0, 10000.0))
        result = estimate_gain(lit[:3], dark)
        assert result.pairs == 1
        assert result.signal == pytest.approx(20000, rel=0.01)

    def test_region(self):
        lit, dark = camera(levels=(20000.0,))
        rows, columns = parse_section(estimate_gain(lit, dark, region="[1:128,65:256]").region)
        assert rows.start >= 64
        assert columns.stop <= 128
        with pytest.raises(ValueError, match="reaches beyond the frame"):
            estimate_gain(lit, dark, region="[1:300,1:10]")


class TestSettle:
    """Which value is believed."""

    @pytest.mark.parametrize(
        ("measured", "error", "profile", "header", "value", "source"),
        [
            (2.0, 0.01, 2.0, 2.0, 2.0, "profile"),
            (2.2, 0.01, 2.0, 1.1, 2.2, "measured"),
            (2.04, 0.001, 2.0, None, 2.0, "profile"),
            (2.2, 0.05, 2.0, None, 2.0, "profile"),
            (2.2, 0.01, None, 1.1, 2.2, "measured"),
            (2.2, 0.3, None, 1.1, 1.1, "header"),
            (2.2, 0.3, None, None, 2.2, "measured"),
            (None, None, None, 1.1, 1.1, "header"),
            (None, None, 2.0, 1.1, 2.0, "profile"),
            (None, None, None, None, None, ""),
        ],
    )
    def test_policy(self, measured, error, profile, header, value, source):
        found = settle("gain", "electron/adu", measured, error, profile, header)
        assert (found.value, found.source) == (value, source)

    def test_words(self):
        words = settle("gain", "electron/adu", 2.0, 0.001, 2.0, 1.1).words
        assert words == (
            "gain in electron/adu: measured 2.0000 +- 0.0010, profile 2, header 1.1; the header cannot be right; "
            "2, of the profile, is used"
        )
        assert settle("gain", "electron/adu", 2.0, 0.001, 2.0, 2.001).words == ""
        assert "the number of a gain setting" in settle("gain", "electron/adu", 1.78, 0.001, None, 1.0).words


TWO = """
format = 1
name = "two"
title = "A camera with two amplifiers"
[match]
INSTRUME = "two"
[[amplifiers]]
name = "left"
data = "[1:128,1:128]"
overscan = "none"
[[amplifiers]]
name = "right"
data = "[129:256,1:128]"
overscan = "none"
"""


@pytest.fixture(scope="module")
def two_amplifiers(tmp_path_factory):
    """A folder of raw frames whose halves have gains 1.5 and 2.5, and its profile."""
    folder, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(8)
    gain = np.repeat([[1.5, 2.5]], 128, axis=1).reshape(1, 256)
    (folder / "raw").mkdir()
    (folder / "two.toml").write_text(TWO)
    kinds = [("bias", 0.0, 0.0)] * 5 + [("flat", level, level / 1000) for level in LEVELS for _ in range(2)]
    for number, (kind, level, seconds) in enumerate(kinds):
        charge = rng.poisson(np.full((128, 256), level * 2.0)) if level else np.zeros((128, 256))
        pixels = np.rint(1000 + (charge + rng.normal(0, 8, charge.shape)) / gain)
        hdu = fits.PrimaryHDU(pixels.clip(0, 65535).astype(np.uint16))
        cards = {"IMAGETYP": kind, "EXPTIME": seconds, "INSTRUME": "two", "DATE-OBS": f"2024-01-01T00:{number:02d}:00"}
        hdu.header.update(cards | ({"FILTER": "V"} if level else {}) | {"GAIN": 1.1})
        hdu.writeto(folder / "raw" / f"f{number:02d}.fits")
    return folder


class TestCommand:
    """``ccdnight detector``."""

    def test_json_of_two_amplifiers(self, two_amplifiers, tmp_path):
        words = ["detector", str(two_amplifiers / "raw"), "--profile", str(two_amplifiers / "two.toml"), "--json"]
        done = CliRunner().invoke(main, [*words, "-o", str(tmp_path)])
        assert done.exit_code == 0, done.output
        left, right = json.loads(done.stdout)["detectors"]
        for entry, gain in ((left, 1.5), (right, 2.5)):
            assert entry["gain"]["value"] == pytest.approx(gain, rel=0.02)
            assert entry["gain"]["unit"] == "electron / adu"
            assert entry["gain"]["error"] < 0.02 * gain
            assert entry["read_noise"]["value"] == pytest.approx(8, rel=0.03)
            assert entry["header"]["gain"] == 1.1
            assert entry["profile"]["gain"] is None
            assert entry["used"]["gain"]["from"] == "measured"
            assert entry["photon_transfer"]["levels"] == len(LEVELS)
            assert entry["bias"]["level"]["value"] == pytest.approx(1000, abs=1)
            assert "the header cannot be right" in entry["remark"]
        assert (left["amplifier"], right["amplifier"]) == ("left", "right")
        table = Table.read(tmp_path / "detector.ecsv", format="ascii.ecsv")
        assert list(table["amplifier"]) == ["left", "right"]
        assert table["gain"].unit == u.electron / u.adu
        names = {path.name for path in tmp_path.iterdir()}
        assert {"detector_left.png", "detector_right.png", "photon_transfer_detector_left.ecsv"} <= names

    def test_each_frame_is_read_once_for_all_amplifiers(self, two_amplifiers, monkeypatch):
        paths = sorted((two_amplifiers / "raw").iterdir())
        read = []
        monkeypatch.setattr(series, "good_pixels", lambda source: read.append(source.name) or good_pixels(source))
        estimate_gain(paths[-4:], paths[:5], profile=two_amplifiers / "two.toml")
        assert sorted(read) == sorted(str(path) for path in [*paths[-4:], *paths[:5]])

    def test_a_curve_that_cannot_be_fitted(self, two_amplifiers, monkeypatch):
        """The gain is then measured from pairs, and that is said."""

        def fail(*_args, **_kwargs):
            msg = "no curve"
            raise MeasurementError(msg)

        monkeypatch.setattr(measuring, "transfer_by_amplifier", fail)
        words = ["detector", str(two_amplifiers / "raw"), "--profile", str(two_amplifiers / "two.toml"), "--json"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert [entry["gain"]["value"] for entry in found["detectors"]] == pytest.approx([1.5, 2.5], rel=0.03)
        assert any(note == "photon transfer: no curve; the gain is measured from pairs" for note in found["notes"])

    def test_the_curve_is_the_one_the_gain_is_from(self, two_amplifiers):
        words = ["detector", str(two_amplifiers / "raw"), "--profile", str(two_amplifiers / "two.toml"), "--json"]
        for entry in json.loads(CliRunner().invoke(main, words).stdout)["detectors"]:
            assert entry["photon_transfer"]["gain"]["value"] == entry["gain"]["value"]

    def test_text(self, two_amplifiers):
        words = ["detector", str(two_amplifiers / "raw"), "--profile", str(two_amplifiers / "two.toml")]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert "detector left" in done.stdout
        assert "header 1.1, profile unknown, used" in done.stdout

    def test_without_biases(self, two_amplifiers, tmp_path):
        for path in sorted((two_amplifiers / "raw").iterdir())[5:9]:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        done = CliRunner().invoke(main, ["detector", str(tmp_path)])
        assert done.exit_code == 4
        assert "no usable bias frame" in done.stderr

    def test_amplifiers_in_python(self, two_amplifiers):
        paths = sorted((two_amplifiers / "raw").iterdir())
        result = estimate_gain(paths[-2:], paths[:5], profile=two_amplifiers / "two.toml")
        assert [item.amplifier for item in result.amplifiers] == ["left", "right"]
        assert result.gain == result.amplifiers[0].gain
        curve = fit_photon_transfer(paths[5:], paths[:5], profile=two_amplifiers / "two.toml")
        assert [item.gain.value for item in curve.amplifiers] == pytest.approx([1.5, 2.5], rel=0.02)


class TestPlots:
    """Axes in, axes out."""

    def test_ptc_linearity_and_bias(self):
        from matplotlib.figure import Figure

        lit, dark = camera(3, full_well=70000, shape=(128, 128))
        result = fit_photon_transfer(lit, dark)
        ax = Figure().add_subplot()
        assert plots.plot_ptc(result, ax) is ax
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlabel() == "signal above bias [adu]"
        assert any("full well" in text.get_text() for text in ax.get_legend().get_texts())
        assert plots.plot_linearity(result).get_ylabel() == "departure from linearity [%]"
        assert plots.plot_linearity(measure_linearity(lit, dark)).lines
        assert plots.plot_bias(measure_bias(dark)).lines
        plots.plot_bias(measure_bias(dark)).figure.savefig(io.BytesIO())

    def test_ptc_of_a_gain(self):
        """Pairs of one level are points of the same curve; numbers have the digits that their errors allow."""
        lit, dark = camera(4, levels=(20000.0,), shape=(128, 128))
        found = estimate_gain(lit, dark)
        assert found.table["level"][1] == pytest.approx(found.signal, rel=1e-3)
        expected = found.table["level"][1] / found.gain.value + found.read_noise_adu**2
        assert found.table["variance"][1] == pytest.approx(expected, rel=0.01)
        ax = plots.plot_ptc(found)
        ax.figure.savefig(io.BytesIO())
        error = found.gain_error.value
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert 0.001 < error < 0.1
        places = 3 if error < 0.01 else 2
        assert f"photon noise, gain {found.gain.value:.{places + (error < 0.01)}f}"[:24] in words[1]
        assert words[-1] == "measured, pairs of flats: 1"
        points = ax.lines[-1]
        assert points.get_xdata().tolist() == [found.table["level"][1]]
        with pytest.raises(InputError, match="pairs of flats and biases are needed"):
            plots.plot_ptc(estimate_gain(lit, dark, method="quick"))

    def test_a_curve_that_was_written_down_is_drawn_the_same(self):
        """As JSON holds it; what has no level of a flat is no curve."""
        lit, dark = camera(4, shape=(128, 128))
        result = fit_photon_transfer(lit, dark)
        again = curve_of(json.loads(json.dumps(plain_curve(result), allow_nan=False)))
        for one, other in zip(plots.plot_ptc(result).lines, plots.plot_ptc(again).lines, strict=True):
            assert np.array_equal(one.get_xydata(), other.get_xydata())
        assert plain_curve(None) is None
        assert plain_curve(estimate_read_noise(dark, gain=2.0)) is None
