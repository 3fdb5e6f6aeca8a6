"""The width of stars, against truth and against photutils."""

import numpy as np
import pytest
from astropy.wcs import WCS

from ccdnight.overview import overview_of
from ccdnight.seeing import measure_seeing, pixel_scale
from ccdnight.simulate.stars import paint_stars


def field(fwhm, beta=3.5, stars=50, noise=8.0, seed=1, shape=(500, 600)):
    """Stars of one width on a sky of 100 electron; image, and places of the stars."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    x, y = (rng.uniform(25, length - 25, stars) for length in shape[::-1])
    paint_stars(image, x, y, fwhm**2 * 10 ** rng.uniform(2.8, 4, stars), fwhm=fwhm, beta=beta)
    return (image + rng.normal(100, noise, shape)).astype(np.float32), x, y


def measure(image, flags=None, noise=8.0):
    flags = np.zeros(image.shape, np.uint16) if flags is None else flags
    return measure_seeing(image, flags, overview_of(image, flags, step=4), 100.0, noise)


def seen(fwhm):
    """Width of the pixels of a star: a square pixel adds a variance of 1/12."""
    return np.sqrt(fwhm**2 + 8 * np.log(2) / 12)


@pytest.mark.parametrize("beta", [2.5, 3.5, 50.0])
@pytest.mark.parametrize("fwhm", [2.0, 3.0, 4.2, 6.0, 10.0])
def test_width(fwhm, beta):
    """As the user guide says: within 2.5 %, for Gaussians within 0.5 %."""
    found = measure(field(fwhm, beta)[0])
    assert found.fwhm == pytest.approx(seen(fwhm), rel=0.005 if beta == 50 else 0.025)
    assert found.stars >= 20
    assert 0 < found.error < 0.01 * fwhm


def test_photutils_finds_the_same():
    from photutils.psf import fit_fwhm

    image, x, y = field(4.0, beta=50.0, stars=12, seed=3)
    theirs = fit_fwhm(image - 100, xypos=list(zip(x, y, strict=True)), fit_shape=(15, 15))
    assert measure(image).fwhm == pytest.approx(np.median(theirs), rel=0.01)


def test_error_is_that_of_the_median():
    """Of many fields, the median strays as its error says."""
    found = [measure(field(3.0, stars=25, noise=20.0, seed=seed)[0], noise=20.0) for seed in range(12)]
    errors = np.median([item.error for item in found])
    assert np.std([item.fwhm for item in found]) == pytest.approx(errors, rel=0.6)


def test_cosmic_rays_and_hot_pixels_are_no_stars():
    image, *_ = field(4.0, stars=15)
    rng = np.random.default_rng(7)
    image[rng.integers(0, 500, 200), rng.integers(0, 600, 200)] += 3000
    assert measure(image).fwhm == pytest.approx(seen(4.0), rel=0.03)


def test_flagged_stars_are_left_out():
    """Broader stars under flags do not count."""
    narrow, *_ = field(3.0, stars=20, seed=1)
    broad, x, y = field(9.0, stars=20, seed=2)
    image = np.where(np.arange(600) < 300, narrow, broad).astype(np.float32)
    flags = np.zeros(image.shape, np.uint16)
    for a, b in zip(x.round().astype(int), y.round().astype(int), strict=True):
        if a > 290:
            flags[b - 20 : b + 21, a - 20 : a + 21] = 2
    flags[:, :300] = 0
    assert measure(image, flags).fwhm == pytest.approx(seen(3.0), rel=0.03)


@pytest.mark.parametrize(
    "image",
    [
        np.full((300, 300), 100, np.float32),
        np.random.default_rng(1).normal(100, 8, (300, 300)).astype(np.float32),
        field(4.0, stars=2, shape=(120, 120))[0],
        np.random.default_rng(1).normal(100, 8, (20, 30)).astype(np.float32),
    ],
    ids=["constant", "noise", "two stars", "tiny"],
)
def test_too_few_stars(image):
    assert measure(image) is None


def test_pixels_that_are_not_finite():
    image, x, y = field(4.0, stars=40)
    image[:, 100:160], image[200:210] = np.nan, np.inf
    image[y.astype(int)[:5], x.astype(int)[:5] + 8] = np.nan
    assert measure(image).fwhm == pytest.approx(seen(4.0), rel=0.03)


def test_nothing_is_known_of_the_sky():
    image, *_ = field(3.0)
    flags = np.zeros(image.shape, np.uint16)
    assert measure_seeing(image, flags, overview_of(image, step=4), np.nan, np.nan) is None


class TestPixelScale:
    """Arcseconds a pixel, by what is known best."""

    def test_world_coordinates_first(self):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cdelt = [-0.37 / 3600, 0.37 / 3600]
        assert pixel_scale({"PIXSCALE": 2.0}, wcs, 3.0) == pytest.approx(0.37)

    @pytest.mark.parametrize(
        ("meta", "given", "scale"),
        [
            ({"SECPIX1": 0.182}, None, 0.182),
            ({"PIXSCALE": "?"}, 0.5, 0.5),
            ({"SCALE": True}, None, None),
            ({"FOCALLEN": 4014.0, "XPIXSZ": 13.0}, None, 0.668),
            ({"FOCALLEN": 0.0, "XPIXSZ": 13.0}, None, None),
            ({"PIXSCALE": 1e6}, None, None),
            ({}, None, None),
        ],
    )
    def test_cards_and_profile(self, meta, given, scale):
        found = pixel_scale(meta, None, given)
        assert found == (scale if scale is None else pytest.approx(scale, rel=1e-3))

    def test_linear_coordinates_are_no_scale(self):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["LINEAR", "LINEAR"]
        assert pixel_scale({}, wcs) is None
