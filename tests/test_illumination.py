"""Smooth light over a frame: the polynomial, dome and twilight together, sky flats, the shutter."""

import numpy as np
import pytest
from astropy.modeling.fitting import LinearLSQFitter
from astropy.modeling.models import Legendre2D
from uneven import DITHERS, shutter_series, uneven_night

from ccdnight._kernels.surface import surface_sums
from ccdnight.calibration import calibrate
from ccdnight.exceptions import AlreadyAppliedError, FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.illumination import (
    combine_flats,
    correct_shutter,
    fit_illumination,
    illumination_map,
    make_sky_flat,
    shutter_pattern,
)
from ccdnight.illumination.dithers import mask_sources
from ccdnight.masters import make_bias, make_flat
from ccdnight.night import Night
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.provenance import records_of
from ccdnight.simulate.sky import shutter_map

SHAPE = (60, 80)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return uneven_night(tmp_path_factory.mktemp("uneven"))


@pytest.fixture(scope="module")
def bias(night):
    return make_bias(_raw(night, "bias", 5), profile="arcsat")


@pytest.fixture(scope="module")
def flats(night, bias):
    """Master dome and twilight flat."""
    return [make_flat(_raw(night, kind, 5), bias=bias, profile="arcsat") for kind in ("dome", "twilight")]


def _raw(truth, kind, count):
    return [truth.raw_folder / f"{kind}_{n}.fits" for n in range(count)]


def _noisy(seed=0, shape=SHAPE, noise=0.01):
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = 3 + 0.1 * (x / shape[1]) ** 2 - 0.05 * (y / shape[0]) * (x / shape[1])
    return light + np.random.default_rng(seed).normal(0, noise, shape), light


def _flat(data, flags=None, sigma=None, **meta):
    return make_ccd(data, unit="", flags=flags, sigma=sigma, meta=meta)


def _off(flat, truth):
    """Largest deviation of a flat from the truth in blocks of 32 x 32 pixels."""
    true = truth.flat("z")
    good = (flat.flags == 0) & ~truth.bad & (true > 0.5)
    ratio = np.where(good, flat.data / np.maximum(true, 0.5), np.nan)
    blocks = np.nanmedian(ratio.reshape(16, 32, 16, 32).transpose(0, 2, 1, 3).reshape(16, 16, -1), axis=2)
    return np.abs(blocks / np.median(blocks) - 1).max()


# -- the polynomial ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 3, (3, 1), (0, 4)])
def test_fit_is_that_of_astropy(degree):
    """With a mask, a pixel that is not finite, and different degrees along the axes."""
    data, _ = _noisy()
    mask = np.zeros(SHAPE, bool)
    mask[10:20, 30:70] = True
    mask[12, 3] = True
    spoilt = data.copy()
    spoilt[12, 3] = np.nan
    model = fit_illumination(spoilt, degree=degree, sigma=None, mask=mask)
    degrees = degree if isinstance(degree, tuple) else (degree, degree)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    start = Legendre2D(*degrees, x_domain=(0, SHAPE[1] - 1), y_domain=(0, SHAPE[0] - 1))
    expected = LinearLSQFitter()(start, x, y, data, weights=(~mask).astype(float))
    np.testing.assert_allclose(model.parameters, expected.parameters, rtol=0, atol=1e-7)
    np.testing.assert_allclose(illumination_map(model, SHAPE), expected(x, y), rtol=3e-7)
    assert model.meta["kept"] == np.count_nonzero(~mask)


def test_the_kernel_is_what_it_says():
    """Its sums are those of the slow code in its docstring."""
    rng = np.random.default_rng(4)
    data, good = rng.normal(5, 1, (7, 9)), rng.uniform(size=(7, 9)) < 0.8
    basis_x, basis_y, coefficients = (rng.normal(size=shape) for shape in ((3, 9), (2, 7), (2, 3)))
    weights, values = np.zeros((3, 9)), np.zeros((2, 9))
    count = surface_sums(data, good, 5.0, basis_x, basis_y, coefficients, 2.0, weights, values)
    kept = good & (np.abs(data - 5 - basis_y.T @ coefficients @ basis_x) <= 2)
    pairs = np.array([basis_y[k] * basis_y[other] for k in range(2) for other in range(k + 1)])
    np.testing.assert_allclose(values, basis_y @ (kept * (data - 5)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights, pairs @ kept, rtol=1e-12, atol=1e-12)
    assert 0 < count == kept.sum() < good.sum()


def test_outliers_are_clipped():
    """Stars of a twilight flat are clipped, and few good pixels with them."""
    data, light = _noisy()
    stars = np.random.default_rng(2).uniform(size=SHAPE) < 0.05
    model = fit_illumination(data + stars * 0.5, sigma=3)
    assert np.abs(illumination_map(model, SHAPE) - light).max() < 0.005
    lost = data.size - stars.sum() - model.meta["kept"]
    assert 0 <= lost < 0.01 * data.size
    assert model.meta["scatter"] == pytest.approx(0.01, rel=0.05)
    assert np.abs(illumination_map(fit_illumination(data + stars * 0.5, sigma=None), SHAPE) - light).max() > 0.02


def test_a_frame_that_the_model_fits_exactly():
    model = fit_illumination(np.full(SHAPE, 20000.0))
    np.testing.assert_allclose(illumination_map(model, SHAPE), 20000, rtol=1e-7)
    assert model.meta["kept"] == SHAPE[0] * SHAPE[1]


def test_flags_are_left_out(tmp_path):
    """All but LOW_WEIGHT and INTERPOLATED, which are measurements; from a file as well."""
    data, light = _noisy()
    flags = np.zeros(SHAPE, np.uint16)
    flags[:20, :20] = FLAGS["BAD_PIXEL"].value
    flags[30:] = FLAGS["LOW_WEIGHT"].value
    write_ccd(_flat(np.where(flags == 1, 9, data), flags), tmp_path / "flat.fits")
    model = fit_illumination(tmp_path / "flat.fits")
    assert np.abs(illumination_map(model, SHAPE) - light)[flags != 1].max() < 0.006
    assert model.meta["kept"] > 0.97 * (data.size - 400)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"degree": -1}, "degree = -1"),
        ({"degree": 2.5}, "degree = 2.5"),
        ({"degree": (1, 2, 3)}, r"degree = \(1, 2, 3\)"),
        ({"degree": 13}, "0 to 12"),
        ({"sigma": 0}, "sigma = 0"),
        ({"mask": np.zeros((2, 2), bool)}, r"mask has the shape \(2, 2\)"),
        ({"mask": np.ones(SHAPE, bool)}, "0 usable pixels"),
        ({"mask": np.arange(60)[:, np.newaxis] * np.ones(80) > 1}, "do not determine degree"),
    ],
)
def test_fit_refuses(more, words):
    """Two rows hold enough pixels for a cubic, but not along y."""
    with pytest.raises(ValueError, match=words):
        fit_illumination(_noisy()[0], **more)


# -- dome and twilight -------------------------------------------------------------------------------------------


def test_twilight_times_dome_recovers_the_illumination(night, flats):
    """Dome alone is off by its screen's gradient of 3 %; together they are off by the twilight's 0.2 % at most."""
    dome, twilight = flats
    flat = combine_flats(dome, twilight)
    assert _off(dome, night) > 0.012
    assert _off(flat, night) < 0.002
    usable = (flat.flags & FLAGS["NO_DATA"].value) == 0
    assert np.median(flat.data[usable]) == pytest.approx(1, abs=1e-3)


def test_no_star_is_left_in_the_twilight_flat(night, flats):
    """Five dithered twilight flats, of which each shows some hundred stars."""
    _, twilight = flats
    flat = twilight.data / illumination_map(fit_illumination(twilight.data / night.flat("z")), twilight.data.shape)
    good = (twilight.flags == 0) & ~night.bad
    pull = (flat - night.flat("z"))[good] / twilight.uncertainty.array[good]
    assert (night.stars("twilight_0.fits")["electron"] > 5000).sum() > 30
    assert np.mean(pull > 6) < 1e-4
    assert np.mean(pull > 4) < 5e-4
    assert np.mean(pull) == pytest.approx(0, abs=0.1)


def test_the_pixels_are_those_of_the_dome(flats):
    """Noise, uncertainty and flags come from the dome flat."""
    dome, twilight = flats
    flat = combine_flats(dome, twilight)
    light = dome.data / flat.data
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    usable = flat.flags == 0
    plane = fit_illumination(np.where(usable, light, np.nan), sigma=None)
    assert np.abs(plane(x, y) - light)[usable].max() < 1e-5
    np.testing.assert_allclose((flat.uncertainty.array * light)[usable], dome.uncertainty.array[usable], rtol=1e-5)
    np.testing.assert_array_equal(flat.flags, dome.flags)


def test_vignetting_stays_in(flats):
    """What dome and twilight have in common is no light of the screen."""
    dome, _ = flats
    flat = combine_flats(dome, dome)
    usable = flat.flags == 0
    np.testing.assert_allclose(flat.data[usable], dome.data[usable], rtol=1e-4)


def test_combined_flat_says_what_it_is(flats, tmp_path):
    dome, twilight = flats
    flat = combine_flats(dome, twilight, degree=(2, 1))
    write_ccd(flat, tmp_path / "flat.fits")
    again = read_ccd(tmp_path / "flat.fits")
    assert again.meta["ILLUMCOR"].startswith("ccdnight: low orders of")
    assert again.meta["ILLUMDEG"] == "2,1"
    assert again.meta["ILLUMSPN"] == pytest.approx(0.037, abs=0.005)
    assert 0 < again.meta["ILLUMERR"] < 1e-4
    roles = [item.role for item in records_of(again)]
    assert roles.count("flat") == 10
    assert roles[-2:] == ["dome", "twilight"]
    with pytest.raises(AlreadyAppliedError, match="illumination"):
        combine_flats(again, twilight)


def test_lost_pixels_stay_one():
    """A dead pixel of the dome flat is 1 and flagged; one of the twilight flat costs nothing."""
    data, _ = _noisy(noise=0.001)
    sigma, flags = np.full(SHAPE, 0.01), np.zeros(SHAPE, np.uint16)
    flags[3, 4] = FLAGS["NO_DATA"].value
    dome = _flat(np.where(flags, 1, data), flags, sigma)
    other = flags[::-1].copy()
    flat = combine_flats(dome, _flat(np.where(other, 0, 1.1), other, sigma))
    assert flat.data[3, 4] == 1
    assert flat.flags[3, 4] == FLAGS["NO_DATA"].value
    assert np.count_nonzero(flat.flags) == 1
    assert flat.uncertainty.array[3, 4] == 0


def test_combine_refuses():
    good = _flat(np.ones(SHAPE))
    with pytest.raises(InputError, match="twilight: its unit is 'adu'"):
        combine_flats(good, make_ccd(np.ones(SHAPE), unit="adu"))
    with pytest.raises(InputError, match=r"shape \(60, 80\) of the dome flat differs from \(5, 5\)"):
        combine_flats(good, _flat(np.ones((5, 5))))
    with pytest.raises(InputError, match="no pixel"):
        combine_flats(good, _flat(np.ones(SHAPE), np.full(SHAPE, 8)))
    mask = np.ones(SHAPE, bool)
    mask[:, 60:] = False
    falling = _flat(np.broadcast_to(np.linspace(-2, 1, 80), SHAPE))
    with pytest.raises(InputError, match="the fitted light falls to -2"):
        combine_flats(falling, good, degree=1, mask=mask)


def test_a_night_combines_them(night, tmp_path):
    """Twilight x dome is what the science frames are divided by, and the plan says so."""
    planned = Night(night.raw_folder, profile="arcsat").plan()
    twilight, dome = (item for item in planned.masters if item.kind == "flat")
    assert dome.twilight == twilight.name
    assert {item.flat for item in planned.science} == {dome.name}
    reduction = Night(night.raw_folder, profile="arcsat").reduce(tmp_path, cosmic_rays=False, progress=False)
    flat = reduction.masters[f"{dome.name}.fits" if f"{dome.name}.fits" in reduction.masters else dome.name]
    assert flat.meta["ILLUMCOR"] == f"ccdnight: low orders of {twilight.name}.fits"
    assert _off(flat, night) < 0.002
    assert not reduction.failures


# -- sky flats ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def science(night, bias):
    """Bias taken off, and no flat."""
    return [calibrate(path, bias=bias, profile="arcsat") for path in _raw(night, "science", len(DITHERS))]


def test_sky_flat_shows_the_illumination(bias, tmp_path_factory):
    """Without fringes: stars are gone, vignetting and dust are there."""
    truth = uneven_night(tmp_path_factory.mktemp("plain"), fringes=False)
    frames = [calibrate(path, bias=bias, profile="arcsat") for path in _raw(truth, "science", len(DITHERS))]
    flat = make_sky_flat(frames)
    assert _off(flat, truth) < 0.004
    assert flat.meta["MASTER"] == "flat"
    assert [item.role for item in records_of(flat)][-7:] == ["science"] * 7
    good = (flat.flags == 0) & ~truth.bad
    pull = (flat.data - truth.flat("z"))[good] / flat.uncertainty.array[good]
    assert 0.9 < np.std(np.clip(pull, -5, 5)) < 1.2
    assert np.mean(pull > 6) < 2e-4


def test_sky_flat_of_flattened_frames_is_a_residual(flats, night, bias):
    """What a dome flat left in the sky is its screen's gradient."""
    dome, _ = flats
    frames = [calibrate(path, bias=bias, flat=dome, profile="arcsat") for path in _raw(night, "science", 3)]
    rest = make_sky_flat(frames)
    assert rest.meta["MASTER"] == "illumination"
    light = illumination_map(fit_illumination(rest), rest.data.shape)
    assert np.ptp(light) == pytest.approx(0.037, abs=0.01)


def test_sky_flat_refuses(science, tmp_path):
    with pytest.raises(InputError, match="2 science frames; at least 3"):
        make_sky_flat(science[:2])
    with pytest.raises(FrameError, match=r"shape \(60, 80\)"):
        make_sky_flat([*science[:2], make_ccd(np.ones(SHAPE), unit="electron")])
    with pytest.raises(FrameError, match="its unit is 'adu'"):
        make_sky_flat([*science[:2], make_ccd(science[0].data, unit="adu")])
    with pytest.raises(FrameError, match="its sky is -"):
        make_sky_flat([make_ccd(-science[0].data, unit="electron")])
    with pytest.raises(FrameError, match="no pixel of it"):
        make_sky_flat([make_ccd(np.full(SHAPE, np.nan), unit="electron")])
    write_ccd(make_ccd(np.ones(SHAPE), unit="adu"), tmp_path / "raw.fits")
    with pytest.raises(FrameError, match="neither bias nor overscan"):
        make_sky_flat([tmp_path / "raw.fits"])


@pytest.mark.parametrize(
    ("more", "words"),
    [({"sigma": 0}, "sigma = 0"), ({"source_sigma": -1}, "source_sigma = -1"), ({"grow": 1.5}, "grow = 1.5")],
)
def test_thresholds(more, words):
    with pytest.raises(ValueError, match=words):
        make_sky_flat([], **more)


def test_sources_are_masked_with_their_wings():
    """A star above the noise is masked out to where it is lost in it; little else is."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:200, :200]
    star = 500 / (1 + ((x - 80) ** 2 + (y - 120) ** 2) / 16) ** 2.5
    found = mask_sources(star + rng.normal(0, 10, star.shape), np.ones(star.shape, bool))
    assert found[star > 10].all()
    assert found[star < 0.3].mean() < 0.08


# -- the shutter -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    truth = shutter_series(tmp_path_factory.mktemp("shutter"))
    bias = make_bias(_raw(truth, "bias", 5), profile="arcsat")
    paths = [truth.raw_folder / f"flat_{number}.fits" for number in range(10, 19)]
    return truth, [calibrate(path, bias=bias, profile="arcsat") for path in paths]


def test_shutter_pattern_is_recovered(series):
    """A delay of 20 ms at the center to 1.5 ms, from flats of 0.5 to 20 s."""
    truth, frames = series
    pattern = shutter_pattern(frames)
    off = (pattern.data - shutter_map(truth.night.camera))[~truth.bad & (pattern.flags == 0)]
    assert np.abs(np.percentile(off, [1, 50, 99])).max() < 0.0015
    assert str(pattern.unit) == "s"
    assert 0.5 < np.std(off) / np.median(pattern.uncertainty.array) < 2
    assert np.count_nonzero(pattern.flags) < 100


def test_shutter_is_corrected(series):
    """A flat of half a second is off by 4 % at the center before, and by little after."""
    _, frames = series
    pattern = shutter_pattern(frames)
    center, corner = np.s_[220:290, 220:290], np.s_[20:60, 20:60]
    short, long, fixed = frames[0], frames[-1], correct_shutter(frames[0], pattern)

    def contrast(ccd):
        ratio = ccd.data / long.data
        return np.median(ratio[center]) / np.median(ratio[corner])

    assert contrast(short) > 1.03
    assert contrast(fixed) == pytest.approx(1, abs=0.005)
    assert fixed.meta["SHUTCOR"].startswith("ccdnight: shutter, 0.5 s")
    assert np.all(fixed.uncertainty.array[center] > 0.9 * short.uncertainty.array[center])
    with pytest.raises(AlreadyAppliedError, match="shutter"):
        correct_shutter(fixed, pattern)


def test_shutter_by_hand():
    """Two exact flats of given exposures, unsmoothed; a pixel that only one of them shows is lost."""
    rate, delay = np.full(SHAPE, 1000.0), np.linspace(0, 0.1, 80) * np.ones(SHAPE)
    flags = np.zeros(SHAPE, np.uint16)
    flags[5, 6] = 2
    frames = [
        make_ccd(rate * (1 + delay), unit="adu", flags=flags),
        make_ccd(rate * (10 + delay), unit="adu"),
    ]
    pattern = shutter_pattern(frames, exposures=[1, 10], smooth=0)
    lost = pattern.flags != 0
    np.testing.assert_array_equal(np.argwhere(lost), [[5, 6]])
    np.testing.assert_allclose(pattern.data[~lost], delay[~lost], atol=1e-5)
    fixed = correct_shutter(frames[0], pattern, exposure=1)
    np.testing.assert_allclose(fixed.data[~lost], 1000, rtol=1e-5)


def test_shutter_refuses():
    one, other = make_ccd(np.ones(SHAPE), unit="adu"), make_ccd(np.ones((5, 5)), unit="adu")
    with pytest.raises(InputError, match="at least two different exposures"):
        shutter_pattern([one, one], exposures=[2, 2])
    with pytest.raises(InputError, match="1 are given for 2 frames"):
        shutter_pattern([one, one], exposures=[2])
    with pytest.raises(InputError, match=r"shape \(5, 5\)"):
        shutter_pattern([one, other], exposures=[1, 2])
    with pytest.raises(FrameError, match="its exposure is None"):
        shutter_pattern([one, one])
    pattern = make_ccd(np.full(SHAPE, -2.0), unit="s")
    with pytest.raises(InputError, match="leave no exposure"):
        correct_shutter(one, pattern, exposure=1)
    with pytest.raises(InputError, match="a shutter pattern is in 's'"):
        correct_shutter(one, one, exposure=1)
    with pytest.raises(InputError, match=r"\(5, 5\) of the frame"):
        correct_shutter(other, pattern, exposure=1)
