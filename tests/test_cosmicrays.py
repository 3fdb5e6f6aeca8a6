"""Cosmic rays in single frames."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData

from ccdnight.cosmicrays import flag_cosmic_rays
from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.products import make_ccd
from ccdnight.provenance import records_of

COSMIC = FLAGS["COSMIC_RAY"].value
SHAPE = (120, 130)


def image(seed=1, hits=30, stars=10):
    """A sky of 400 electron with stars and hits, and where the hits are."""
    rng = np.random.default_rng(seed)
    data = np.full(SHAPE, 400.0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for cy, cx in rng.uniform(10, 110, (stars, 2)):
        data += 8000 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / 1.8**2)
    data = rng.poisson(data) + rng.normal(0, 5, SHAPE)
    where = np.zeros(SHAPE, bool)
    where[rng.integers(5, 115, hits), rng.integers(5, 115, hits)] = True
    data[where] += 1500
    return data, where


def electron(data, *, sigma=None, flags=None, **meta):
    return make_ccd(data, unit="electron", sigma=sigma, flags=flags, meta={"RDNOISE": 5.0, **meta})


@pytest.mark.parametrize("seed", range(3))
def test_hits_are_found_and_stars_are_not(seed):
    data, where = image(seed)
    result = flag_cosmic_rays(electron(data))
    found = (result.flags & COSMIC) > 0
    # A hit on a star may be taken for the star; neighbors of a hit go with it at a lower threshold.
    assert found[where].mean() > 0.9
    assert (found & ~where).sum() < 20
    np.testing.assert_array_equal(result.data, np.float32(data))
    np.testing.assert_array_equal(result.mask, result.flags != 0)
    assert result.meta["NCOSMIC"] == found.sum()
    assert records_of(result)[-1].step == "cosmic_rays"


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("saturation", [None, 5000.0])
def test_the_unit_of_the_frame_does_not_matter(variance, saturation):
    """In adu, with the gain from the header or from the call, the same pixels are flagged as in electron."""
    data, _ = image()
    sigma = np.sqrt(np.maximum(data, 0) + 25) if variance else None
    meta = {} if saturation is None else {"SATURATE": saturation}
    expected = flag_cosmic_rays(electron(data, sigma=sigma, **meta))
    gain = 2.5
    meta = {} if saturation is None else {"SATURATE": saturation / gain}
    meta |= {"GAIN": gain, "RDNOISE": 5.0}
    adu = make_ccd(data / gain, unit="adu", sigma=None if sigma is None else sigma / gain, meta=meta)
    quantities = {"gain": gain * u.electron / u.adu, "read_noise": 5 * u.electron}
    for options in ({}, {"gain": gain, "read_noise": 5.0}, quantities):
        result = flag_cosmic_rays(adu, **options)
        assert np.count_nonzero(result.flags != expected.flags) <= 2


def test_flagged_pixels_are_left_out_and_keep_their_flags():
    """Hot pixels look like cosmic rays unless the mask is given."""
    data, where = image(hits=30, stars=0)
    flags = np.where(where, FLAGS["BAD_PIXEL"].value, 0)
    result = flag_cosmic_rays(electron(data, flags=flags))
    assert (result.flags[where] & FLAGS["BAD_PIXEL"].value).all()
    assert not (result.flags[where] & COSMIC).any()
    assert np.count_nonzero(result.flags & COSMIC) <= 5


def test_values_that_are_not_finite():
    data, _ = image()
    data[50, 50] = np.nan
    data[60, 60] = np.inf
    flags = np.where(np.isfinite(data), 0, FLAGS["NO_DATA"].value)
    result = flag_cosmic_rays(electron(data, flags=flags, sigma=np.where(np.isfinite(data), 20, np.nan)))
    assert np.isnan(result.data[50, 50])
    assert result.meta["NCOSMIC"] < 60


def test_a_ccddata_of_others():
    """Big-endian, without flags and with a plain mapping as header."""
    data, where = image()
    mask = np.zeros(SHAPE, bool)
    mask[:5] = True
    ccd = CCDData(data.astype(">f8"), unit="electron", mask=mask, meta={"RDNUSED": 5.0})
    result = flag_cosmic_rays(ccd)
    assert ((result.flags & COSMIC) > 0)[where].mean() > 0.9
    assert (result.flags[:5] == FLAGS["NO_DATA"].value).all()
    assert ccd.flags is None


@pytest.mark.parametrize(
    ("unit", "meta", "words"),
    [
        ("electron", {}, "gain = 1.0, read_noise = None"),
        ("adu", {"RDNOISE": 5.0}, "gain = None, read_noise = 5.0"),
        ("adu", {"GAIN": 0, "RDNOISE": 5.0}, "gain = 0"),
    ],
)
def test_gain_and_read_noise_are_needed(unit, meta, words):
    with pytest.raises(InputError, match=words):
        flag_cosmic_rays(make_ccd(np.ones((10, 10)), unit=unit, meta=meta))


def test_an_unknown_engine_lists_the_known_ones():
    with pytest.raises(ValueError, match="engine = 'iraf' is not known; known are fast, astroscrappy"):
        flag_cosmic_rays(electron(np.ones((10, 10))), engine="iraf")
