"""A frame looked over in one pass, against numpy."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from ccdnight.overview import flatness_of, look_over_file, overview_of, tile_for
from ccdnight.products import make_ccd, write_ccd


def by_numpy(data, flags, step):
    """Mean and maximum of every tile, one by one."""
    good = np.where((flags == 0) & np.isfinite(data), data, np.nan)
    ny, nx = (-(-length // step) for length in data.shape)
    tiles = [[good[y * step : (y + 1) * step, x * step : (x + 1) * step] for x in range(nx)] for y in range(ny)]
    mean = [[np.nanmean(tile) if np.isfinite(tile).any() else np.nan for tile in row] for row in tiles]
    peak = [[np.nanmax(tile) if np.isfinite(tile).any() else -np.inf for tile in row] for row in tiles]
    return np.array(mean), np.array(peak)


def frame(shape=(67, 45), seed=1):
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 10, shape).astype(np.float32)
    data[3, 4], data[20, 7] = np.nan, np.inf
    flags = (rng.random(shape) < 0.2).astype(np.uint16) * 4
    flags[:8, :8] = 1
    return data, flags


@pytest.mark.parametrize("step", [1, 4, 8, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles(step, dtype):
    """Also where the last tiles have fewer pixels, and where a tile has none that is good."""
    data, flags = frame()
    found = overview_of(data.astype(dtype), flags, step=step)
    mean, peak = by_numpy(data, flags, step)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_array_equal(found.peak, peak.astype(np.float32))


def test_without_flags_and_of_integers():
    data = np.arange(30 * 20).reshape(30, 20)
    found = overview_of(data, step=10)
    mean, peak = by_numpy(data.astype(float), np.zeros(data.shape), 10)
    np.testing.assert_allclose(found.mean, mean)
    np.testing.assert_array_equal(found.peak, peak)


@pytest.mark.parametrize(("shape", "pixels"), [((4128, 2080), 160_000), ((64, 80), 160_000), ((3, 100_000), 50_000)])
def test_size_of_tiles(shape, pixels):
    step = tile_for(shape, pixels)
    assert np.prod([length / step for length in shape]) <= pixels
    assert step == 1 or np.prod([length / (step - 1) for length in shape]) > pixels


class TestFile:
    """A file by strips gives what the array gives."""

    def test_raw(self, tmp_path):
        rng = np.random.default_rng(2)
        data = rng.integers(0, 60000, (1300, 900)).astype(np.uint16)
        fits.writeto(tmp_path / "a.fits", data)
        with open(tmp_path / "a.fits", "rb") as plain, gzip.open(tmp_path / "a.fits.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)
        for name in ("a.fits", "a.fits.gz"):
            found = look_over_file(tmp_path / name, pixels=20_000)
            whole = overview_of(data.astype(np.float32), step=found.step)
            assert found.step == 8
            np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-6)
            np.testing.assert_array_equal(found.peak, whole.peak)

    def test_flags_of_a_product_are_left_out(self, tmp_path):
        data, flags = frame()
        write_ccd(make_ccd(data, unit="electron", flags=flags), tmp_path / "a.fits")
        found = look_over_file(tmp_path / "a.fits", pixels=500, kind="science")
        mean, _ = by_numpy(data, flags, found.step)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-6)

    def test_part_of_bad_pixels(self, tmp_path):
        bits = np.zeros((40, 40), np.uint16)
        bits[:10, :20] = 5
        fits.writeto(tmp_path / "a.fits", bits)
        found = look_over_file(tmp_path / "a.fits", pixels=4, kind="badpixels")
        np.testing.assert_allclose(found.mean, [[0.5, 0], [0, 0]])


class TestFlatness:
    """The scatter of the background from place to place."""

    def test_of_noise_alone_it_is_small(self):
        data = np.random.default_rng(3).normal(500, 20, (1000, 1200)).astype(np.float32)
        assert flatness_of(overview_of(data, step=4), 20.0) < 0.3

    @pytest.mark.parametrize("step", [1, 5, 12])
    def test_of_a_gradient(self, step):
        """From 0 to 100 over the frame: a standard deviation of 100 / sqrt(12)."""
        rng = np.random.default_rng(4)
        data = (rng.normal(500, 20, (1000, 1200)) + np.linspace(0, 100, 1200)).astype(np.float32)
        data[rng.random(data.shape) < 1e-4] += 5000.0
        assert flatness_of(overview_of(data, step=step), 20.0) == pytest.approx(100 / np.sqrt(12), rel=0.06)

    def test_not_of_a_small_frame(self):
        assert np.isnan(flatness_of(overview_of(np.ones((60, 60), np.float32), step=1), 1.0))

    def test_flagged_regions_do_not_count(self):
        data = np.random.default_rng(5).normal(500, 20, (640, 640)).astype(np.float32)
        flags = np.zeros(data.shape, np.uint16)
        data[:130], flags[:130] = 9000, 1
        assert flatness_of(overview_of(data, flags, step=4), 20.0) < 1
