"""The fused calibration is the steps: data, sigma, flags, headers and provenance, for every combination."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from builders import make_frame, two_amp_night
from test_readout import TWO_AMP, profile_of

from ccdnight.calibration import calibrate, master_id
from ccdnight.exceptions import CcdnightError
from ccdnight.flags import FLAGS
from ccdnight.masters import make_bias
from ccdnight.products import make_ccd
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.provenance import records_of
from ccdnight.readout import read_frame, subtract_overscan, trim

SHAPE = (70, 31)
ROLES = ("bias", "dark", "flat", "bad_pixels")
NOISE = {"gain": 1.6, "read_noise": 8.0}


def some(kind, shape=SHAPE, *, sigma=True, seed=1, **meta):
    """A frame or master with flags, and with what spoils a pixel: NaN, infinite and zero values and errors."""
    rng = np.random.default_rng([seed, len(kind)])
    level, unit = {
        "frame": (5000, "adu"), "bias": (1000, "adu"), "dark": (0.5, "adu / s"), "flat": (1, ""), "bad_pixels": (0, ""),
    }[kind]  # fmt: skip
    data = level * rng.uniform(0.9, 1.1, shape)
    errors = level * rng.uniform(0.001, 0.01, shape)
    if kind != "bad_pixels":
        for values in (data, errors):
            places = rng.choice(values.size, 6, replace=False)
            values.flat[places] = (np.nan, np.inf, -np.inf, 0, -level, 1e-3 * level)
    errors = np.abs(errors)
    flags = rng.choice([0, 1, 2, 8, 64], shape, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    if kind in ("frame", "dark"):
        meta = {"EXPTIME": 120.0 if kind == "frame" else 60.0, **meta}
    return make_ccd(data, unit=unit, meta=meta, sigma=errors if sigma and kind != "frame" else None, flags=flags)


def masters_for(shape, roles, *, sigma=True, shared=True, **meta):
    """Masters, the dark made with the bias or not."""
    found = {role: some(role, shape, sigma=sigma, FILENAME=f"{role}.fits") for role in roles}
    for card, value in meta.items():
        found["bias"].meta[card] = value
    if "dark" in found and "bias" in found and shared:
        found["dark"].meta["BIASID"] = master_id(found["bias"])
    return found


def both(frame, **arguments):
    """Results of the two engines."""
    with np.errstate(all="ignore"):
        return calibrate(frame, **arguments), calibrate(frame, engine="steps", **arguments)


def assert_equal(pair, rtol=0.0):
    fused, steps = pair
    np.testing.assert_allclose(fused.data, steps.data, rtol=rtol, atol=1e4 * rtol)
    np.testing.assert_allclose(fused.uncertainty.array, steps.uncertainty.array, rtol=rtol)
    np.testing.assert_array_equal(fused.flags, steps.flags)
    np.testing.assert_array_equal(fused.mask, fused.flags != 0)
    assert [tuple(card) for card in fused.meta.cards] == [tuple(card) for card in steps.meta.cards]
    assert records_of(fused) == records_of(steps)
    assert fused.unit == steps.unit
    assert (fused.wcs is None) == (steps.wcs is None)
    for array, kind in ((fused.data, np.float32), (fused.uncertainty.array, np.float32), (fused.flags, np.uint16)):
        assert array.dtype == kind
        assert array.flags.c_contiguous


def subsets(items):
    return [
        tuple(item for item, taken in zip(items, which, strict=True) if taken) for which in product((0, 1), repeat=4)
    ]


class TestMasters:
    """Every combination of masters, with and without errors, for a frame in memory."""

    @pytest.mark.parametrize("sigma", [True, False])
    @pytest.mark.parametrize("shared", [True, False])
    @pytest.mark.parametrize("roles", subsets(ROLES), ids=" ".join)
    def test_every_combination(self, roles, shared, sigma):
        assert_equal(both(some("frame"), **masters_for(SHAPE, roles, sigma=sigma, shared=shared), **NOISE))

    @pytest.mark.parametrize("without", ["bias", "dark", "flat"])
    def test_one_without_errors(self, without):
        masters = masters_for(SHAPE, ROLES)
        masters[without].uncertainty = None
        assert_equal(both(some("frame"), **masters, **NOISE))

    @pytest.mark.parametrize("without", [*ROLES, "frame"])
    def test_mask_instead_of_flags(self, without):
        frames = masters_for(SHAPE, ROLES) | {"frame": some("frame")}
        frames[without].flags = None
        assert_equal(both(frames.pop("frame"), **frames, **NOISE))

    @pytest.mark.parametrize("without", [*ROLES, "frame"])
    def test_neither_mask_nor_flags(self, without):
        frames = masters_for(SHAPE, ROLES) | {"frame": some("frame")}
        frames[without].flags = frames[without].mask = None
        assert_equal(both(frames.pop("frame"), **frames, **NOISE))

    def test_a_mask_beyond_the_flags(self):
        masters = masters_for(SHAPE, ROLES)
        masters["bias"].mask[::3] = True
        assert_equal(both(some("frame"), **masters, **NOISE))

    @pytest.mark.parametrize("seconds", [0.0, 30.0, 60.0, 170.0, 200.0, 1000 * u.s])
    def test_exposures(self, seconds):
        """Beyond three times its own the dark is smooth."""
        for shared in (True, False):
            assert_equal(both(some("frame"), **masters_for(SHAPE, ROLES, shared=shared), **NOISE, exposure=seconds))

    @pytest.mark.parametrize("dtype", [">f4", ">f8", "<f8"])
    def test_masters_of_others(self, dtype):
        """Their digits beyond float32 are not taken."""
        masters = masters_for(SHAPE, ROLES)
        others = {
            name: CCDData(
                one.data.astype(dtype), unit=one.unit, mask=one.mask, uncertainty=one.uncertainty, meta=dict(one.meta)
            )
            for name, one in masters.items()
        }
        assert_equal(both(some("frame"), **others, **NOISE), rtol=3e-7)


class TestFramesInMemory:
    """Types, gains and saturation of a CCDData."""

    @pytest.mark.parametrize(
        "dtype", ["u1", "i2", ">i2", "u2", ">u2", "i4", ">i4", "i8", "f2", "<f4", ">f4", "f8", ">f8"]
    )
    def test_types(self, dtype):
        values = np.random.default_rng(3).uniform(0, 120 if dtype == "u1" else 30000, SHAPE).astype(dtype)
        frame = CCDData(values, unit="adu", meta={"EXPTIME": 120.0})
        for more in ({}, {"saturation": 20000.3}):
            assert_equal(both(frame, **masters_for(SHAPE, ROLES), **NOISE, **more))

    def test_strange_memory(self):
        """Transposed, strided, read-only."""
        values = np.random.default_rng(3).uniform(0, 30000, SHAPE)
        values.flags.writeable = False
        for data in (values.T.copy().T, values[::-1], np.repeat(values, 2, axis=1)[:, ::2]):
            assert_equal(both(CCDData(data, unit="adu", meta={"EXPTIME": 1.0}), **masters_for(SHAPE, ROLES), **NOISE))

    def test_maps_of_gain_and_noise(self):
        rng = np.random.default_rng(4)
        for shape in (SHAPE, (1, SHAPE[1]), (SHAPE[0], 1), (SHAPE[1],)):
            noise = {"gain": rng.uniform(1, 2, shape), "read_noise": rng.uniform(5, 9, shape) * u.electron}
            assert_equal(both(some("frame"), **masters_for(SHAPE, ROLES), **noise))
            assert_equal(both(some("frame"), gain=1.5, read_noise=noise["read_noise"]))

    @pytest.mark.parametrize("level", [4500, 5000.123, 60000.0 * u.adu])
    def test_saturation(self, level):
        pair = both(some("frame"), **masters_for(SHAPE, ("bias",)), **NOISE, saturation=level)
        assert_equal(pair)

    def test_overscan_error_and_world_coordinates(self):
        """A CCDData that was read by astropy has its world coordinates beside the header."""
        frame = some("frame", OVSCERR=3.0)
        frame.wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 5.0})
        pair = both(frame, **NOISE)
        assert_equal(pair)
        assert pair[0].meta["CRVAL1"] == 10

    def test_nothing_is_changed(self):
        frame, masters = some("frame"), masters_for(SHAPE, ROLES)
        before = [(one.data.copy(), one.flags.copy(), str(dict(one.meta))) for one in (frame, *masters.values())]
        calibrate(frame, **masters, **NOISE, saturation=5000)
        for one, (data, flags, text) in zip((frame, *masters.values()), before, strict=True):
            np.testing.assert_array_equal(one.data, data)
            np.testing.assert_array_equal(one.flags, flags)
            assert str(dict(one.meta)) == text

    def test_of_a_profile(self, tmp_path):
        """Raw, without its overscan, and trimmed as well."""
        raw = read_frame(make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=300.0))
        raw.data[3, 4] = np.nan
        profile = get_profile("nickel")
        for overscan in (True, False):
            for frame in (raw, subtract_overscan(raw), trim(raw), trim(subtract_overscan(raw))):
                assert_equal(both(frame, profile=profile, overscan=overscan, saturation=20000.0))

    def test_amplifiers(self, tmp_path):
        night = two_amp_night(tmp_path)
        raw = read_frame(tmp_path / night.paths("science")[0], profile=TWO_AMP)
        for frame in (raw, trim(subtract_overscan(raw, profile=TWO_AMP), profile=TWO_AMP)):
            assert_equal(both(frame, profile=TWO_AMP))
            assert_equal(both(frame, profile=TWO_AMP, gain=2.0))


class TestFiles:
    """From a path everything is done."""

    #: Tiles of floats are packed with a loss, which is not what is looked at here.
    KINDS = (
        *((suffix, dtype) for suffix in ("", ".gz", ".fz") for dtype in ("uint16", "int16", "int32")),
        *((suffix, dtype) for suffix in ("", ".gz") for dtype in ("float32", "float64")),
    )

    @pytest.mark.parametrize(("suffix", "dtype"), KINDS)
    def test_types_and_compression(self, tmp_path, suffix, dtype):
        path = make_frame(
            tmp_path / f"d1.fits{suffix}", instrument="nickel", kind="science", filter="V", level=3000.0, dtype=dtype
        )
        shape = trim(read_frame(path)).data.shape
        for roles in ((), ROLES):
            for overscan in (True, False):
                masters = masters_for(shape, roles, **({"OVERSCAN": "ccdnight: done"} if roles and overscan else {}))
                assert_equal(both(path, **masters, overscan=overscan))

    @pytest.mark.parametrize("cards", [{"BLANK": 1010}, {"BSCALE": 0.5, "BZERO": 100.0}])
    def test_odd_numbers(self, tmp_path, cards):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=3000.0, dtype="int16")
        with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[0].header.update(cards)
        assert_equal(both(path))

    def test_values_that_are_not_finite(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=3000.0, dtype="float64")
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[5, 5:9] = np.nan, np.inf, -np.inf, 1e39
        pair = both(path)
        assert_equal(pair)
        assert (pair[0].flags[5, 5:9] & FLAGS["NO_DATA"].value).all()

    @pytest.mark.parametrize("window", [1, 7, 51])
    def test_windows(self, tmp_path, window):
        assert_equal(both(make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", rows=64), window=window))

    def test_saturated(self, tmp_path):
        path = make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", kind="flat", rows=64, level=58000.0)
        pair = both(path)
        assert_equal(pair)
        assert (pair[0].flags & FLAGS["SATURATED"].value).any()

    @pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
    @pytest.mark.parametrize("bits", [12, 14, 16])
    def test_the_end_of_a_converter_is_seen(self, tmp_path, bits, dtype):
        """Nobody says where it is, but values pile up there."""
        path, end = make_frame(tmp_path / "a.fits", shape=(60, 120), kind="science", dtype=dtype), 2**bits - 1
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[20:24, 50:53] = end
            hdus[0].data[hdus[0].data > end] = end
            expected = np.array(hdus[0].data == end)
        generic = profile_of(Amplifier(data="[1:120,1:60]", overscan="none", gain=1.3, read_noise=5.0))
        pair = both(path, profile=generic, grow=0)
        assert_equal(pair)
        saturated = (pair[0].flags & FLAGS["SATURATED"].value) > 0
        np.testing.assert_array_equal(saturated, expected)
        known = replace(generic, amplifiers=(replace(generic.amplifiers[0], saturation=60000.0),))
        if bits < 16:
            assert not (both(path, profile=known, grow=0)[0].flags & FLAGS["SATURATED"].value).any()

    def test_edges_and_a_parallel_overscan(self, tmp_path):
        path = make_frame(tmp_path / "a.fits", shape=(60, 120), kind="science")
        sections = {"data": "[1:100,1:50]", "overscan": "[101:120,1:60]", "parallel_overscan": "[1:100,51:60]"}
        profile = profile_of(Amplifier(shape=(60, 120), **sections, gain=1.3, read_noise=5.0))
        for edge in (0, 3):
            cut = replace(profile, policy=replace(profile.policy, edge=edge))
            # The levels of rows and columns are taken off in one pass.
            assert_equal(both(path, profile=cut), rtol=3e-7)

    def test_amplifiers(self, tmp_path):
        """Each with its own gain, read noise, overscan and saturation."""
        night = two_amp_night(tmp_path)
        left, right = TWO_AMP.amplifiers
        amplifiers = (replace(left, saturation=1400.0), replace(right, saturation=1500.0))
        profile = replace(TWO_AMP, amplifiers=amplifiers)
        bias = make_bias([tmp_path / path for path in night.paths("bias")], profile=profile)
        for path in night.paths("science"):
            for masters in ({}, {"bias": bias}, {"bias": bias, "flat": some("flat", bias.data.shape)}):
                assert_equal(both(tmp_path / path, profile=profile, **masters))

    def test_the_number_of_threads_changes_nothing(self, tmp_path, monkeypatch):
        path = make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", kind="science", rows=128)
        one, _ = both(path)
        monkeypatch.setattr("ccdnight.execution.default_workers", lambda: 7)
        other, steps = both(path)
        assert_equal((one, steps))
        assert_equal((other, steps))


class TestLinearity:
    """The response of every amplifier is corrected by both in the same way."""

    @pytest.mark.parametrize("coefficients", [(4e-7,), (4e-7, -1e-12), (1e-7, 2e-13, -1e-19)])
    def test_of_a_file(self, tmp_path, coefficients):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", filter="V", level=20000.0)
        known = get_profile("nickel")
        amplifiers = tuple(replace(item, linearity=coefficients) for item in known.amplifiers)
        profile = replace(known, amplifiers=amplifiers)
        shape = trim(read_frame(path)).data.shape
        pair = both(path, **masters_for(shape, ROLES, OVERSCAN="ccdnight: done"), overscan=True, profile=profile)
        assert_equal(pair)
        assert pair[0].meta["LINCOR"].startswith(f"ccdnight: coefficients {coefficients[0]:.4g}")
        without = calibrate(path, overscan=True)
        assert np.median(calibrate(path, overscan=True, profile=profile).data / without.data) > 1.001

    def test_of_two_amplifiers(self, tmp_path):
        night = two_amp_night(tmp_path)
        left, right = TWO_AMP.amplifiers
        profile = replace(TWO_AMP, amplifiers=(left, replace(right, linearity=(1e-5, 1e-10))))
        bias = make_bias([tmp_path / path for path in night.paths("bias")], profile=profile)
        path = tmp_path / night.paths("science")[0]
        for masters in ({}, {"bias": bias}):
            pair = both(path, profile=profile, **masters)
            assert_equal(pair)
            differs = pair[0].data != calibrate(path, profile=TWO_AMP, **masters).data
            width = left.shape[1] and differs.shape[1] // 2
            assert not differs[:, :width].any()
            assert differs[:, width:].any()

    def test_without_a_level(self, tmp_path):
        """What is no signal cannot be corrected; that is told."""
        path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=3000.0)
        known = get_profile("nickel")
        profile = replace(known, amplifiers=tuple(replace(item, linearity=(4e-7,)) for item in known.amplifiers))
        pair = both(path, overscan=False, profile=profile)
        assert_equal(pair)
        assert "LINCOR" not in pair[0].meta
        assert "linearity: not corrected" in str(pair[0].meta["HISTORY"])


class TestTrails:
    """Saturated stars with their trails."""

    @pytest.mark.parametrize("grow", [0, 1, 3])
    def test_of_a_file(self, tmp_path, grow):
        path = make_frame(tmp_path / "ccd.001.0.fits", instrument="lfc", kind="science", rows=64, level=500.0)
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[30:34, 500:504] = 65535
            hdus[0].data[10:50, 501] = 61000
            hdus[0].data[50:55, 501] = 20000
        pair = both(path, grow=grow)
        assert_equal(pair)
        trail = (pair[0].flags & FLAGS["BLEED"].value) > 0
        assert trail[10:55, 501].all()
        assert trail.sum() <= (45 + 2 * grow) * (4 + 2 * grow)


class TestRefusals:
    """The same words from both."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"bias": some("bias", (5, 5))},
            {"flat": some("bias")},
            {"dark": some("dark"), "exposure": -1},
            {"saturation": "high"},
            {"gain": 0},
            {"overscan": True, "profile": "generic"},
            {"profile": "nowhere"},
        ],
    )
    def test_words(self, arguments):
        told = []
        for engine in ("fused", "steps"):
            with pytest.raises((CcdnightError, ValueError)) as error:
                calibrate(some("frame"), **({**NOISE, **arguments}), engine=engine)
            told.append((error.type, str(error.value)))
        assert told[0] == told[1]

    def test_window(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel")
        for engine in ("fused", "steps"):
            with pytest.raises(ValueError, match="window = 0"):
                calibrate(path, window=0, engine=engine)

    @pytest.mark.parametrize("frame", [None, 5, b"x", [1]])
    def test_no_frame(self, frame):
        for engine in ("fused", "steps"):
            with pytest.raises(TypeError, match="a frame is a CCDData or a path"):
                calibrate(frame, engine=engine)

    def test_unknown_engine(self):
        with pytest.raises(ValueError, match="engine = 'fast' is not known; known are fused, steps"):
            calibrate(some("frame"), engine="fast")
