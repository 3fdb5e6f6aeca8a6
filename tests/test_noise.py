"""The noise model of some frames: given, from the profile, from the header, or measured."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from ccdnight.noise import noise_model
from ccdnight.products import make_ccd
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.sources import ArraySource, open_source

GENERIC = get_profile("generic")


def sources_of(n=2, sigma=5.0, profile=None, level=1000.0, **meta):
    rng = np.random.default_rng(1)
    return [
        ArraySource(make_ccd(rng.normal(level, sigma, (200, 300)), unit="adu", meta=meta), profile) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("amplifier", "meta", "given", "gain", "read"),
    [
        ({"gain": 2.0, "read_noise": 11.0}, {}, {}, 2.0, 5.5),
        ({"gain": 2.0, "read_noise": 11.0}, {"GAIN": 1.1, "RDNOISE": 3.0}, {}, 2.0, 5.5),
        ({}, {"GAIN": 1.5, "RDNOISE": 3.0}, {}, 1.5, 2.0),
        ({}, {"EGAIN": 1.5, "GAIN": 120, "RDNOISE": 3.0}, {}, 1.5, 2.0),
        ({"gain": 2.0, "read_noise": 11.0}, {}, {"gain": 4.0, "read_noise": 8.0}, 4.0, 2.0),
        ({}, {}, {"gain": 4.0 * u.electron / u.adu, "read_noise": 8.0 * u.electron}, 4.0, 2.0),
        ({}, {"RDNOISE": 3.0}, {}, None, 3.0),
        ({}, {"GAIN": 0, "RDNOISE": 3.0}, {}, None, 3.0),
        ({}, {"GAIN": 1.5, "RDNOISE": 3.0, "OVSCERR": 1.5}, {}, 1.5, 2.5),
    ],
)
def test_where_it_comes_from(amplifier, meta, given, gain, read):
    """In adu; the error of the overscan level is in every frame."""
    profile = replace(GENERIC, amplifiers=(Amplifier(**amplifier),))
    model = noise_model(sources_of(profile=profile, **meta), **given)
    assert model.gain == gain
    assert model.read_noise == pytest.approx(read)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_read_noise_that_nobody_knows_is_measured(n):
    model = noise_model(sources_of(n))
    assert model.read_noise == pytest.approx(5, rel=0.02)
    assert model.gain is None


@pytest.mark.parametrize("gain", [None, 2.0])
def test_the_measured_one_is_in_adu(gain):
    assert noise_model(sources_of(), gain=gain).read_noise == pytest.approx(5, rel=0.02)


def test_it_is_not_below_that_of_whole_numbers():
    assert noise_model(sources_of(sigma=0)).read_noise == pytest.approx(0.3)


def test_without_charge_there_is_no_shot_noise():
    model = noise_model(sources_of(GAIN=2.0, RDNOISE=10.0), shot=False, sensitivity=0.01)
    assert (model.gain, model.read_noise, model.sensitivity) == (None, 5.0, 0.01)


def test_several_amplifiers_give_a_map():
    amplifiers = tuple(
        Amplifier(name=name, shape=(10, 40), data=data, gain=gain, read_noise=8.0)
        for name, data, gain in (("1", "[1:20,1:10]", 2.0), ("2", "[21:40,1:10]", 4.0))
    )
    profile = replace(GENERIC, amplifiers=amplifiers)
    frame = make_ccd(np.ones((10, 40)), unit="adu")
    model = noise_model([open_source(frame, profile)])
    np.testing.assert_array_equal(model.gain[:, [0, 19, 20, 39]], [[2, 2, 4, 4]] * 10)
    np.testing.assert_allclose(model.read_noise[0, [0, 39]], [4, 2])
    variance = model.variance(np.full((2, 40), 80.0, np.float32), 1.0, slice(3, 5))
    np.testing.assert_allclose(variance[:, [0, 39]], [[16 + 40, 4 + 20]] * 2)


@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
def test_variance_of_a_scaled_frame(scale):
    """A frame multiplied by f has f**2 of the read noise and f times the shot noise of its scaled signal."""
    model = noise_model(sources_of(GAIN=2.0, RDNOISE=10.0), sensitivity=0.1)
    signal = np.array([[-50.0, 0, 1000]], np.float32)
    expected = scale**2 * 25 + scale * np.maximum(signal, 0) / 2
    np.testing.assert_allclose(model.variance(signal, scale, slice(0, 1), sensitivity=False), expected)
    np.testing.assert_allclose(model.variance(signal, scale, slice(0, 1)), expected + (0.1 * signal) ** 2, rtol=1e-6)
