"""The error from the scatter is right whatever rule has clipped the values."""

import numpy as np
import pytest

from ccdnight._strips import rule_of
from ccdnight.clipping import MEDIAN_FACTORS, clipping_factors, median_factor
from ccdnight.stacking import NoiseModel, stack

RULES = {
    "none": {"reject": "none"},
    "sigma 2.5": {"reject": "sigma", "sigma": 2.5},
    "sigma 3 about the mean": {"reject": "sigma", "sigma": 3.0, "center": "mean"},
    "sigma 2 to one side": {"reject": "sigma", "sigma": (None, 2.0)},
    "mad 3": {"reject": "mad", "sigma": 3.0},
    "minmax": {"reject": "minmax"},
    "noise 4": {"reject": "noise", "sigma": 4.0},
}


class Rows:
    """An array as a frame."""

    def __init__(self, data):
        self.data, self.shape = data, data.shape

    def fill(self, rows, out, _exclude):
        out[...] = self.data[rows]


def ratio(cube, truth, **options):
    """Root of the mean variance told over the variance about the truth."""
    noise = NoiseModel(5.0) if options["reject"] == "noise" else None
    result = stack([Rows(one) for one in cube], noise=noise, uncertainty="empirical", **options)
    known = np.isfinite(result.error)
    assert known.mean() > 0.99
    true = np.var(result.data[known], dtype=float) if truth is None else np.mean((result.data[known] - truth) ** 2)
    return np.sqrt(np.mean(result.error[known] ** 2, dtype=float) / true)


@pytest.mark.parametrize("method", ["average", "median", "sum"])
@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("name", RULES)
def test_the_error_is_right(name, n, method):
    """About a level of 0: a sum of fewer values is smaller by as many levels, which no error can tell."""
    level = 0 if method == "sum" else 1000
    cube = np.random.default_rng(n).normal(level, 5, (n, 200, 600)).astype(np.float32)
    assert ratio(cube, None, method=method, **RULES[name]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("name", ["noise 4", "mad 3"])
def test_the_error_is_right_with_cosmic_rays(name, n):
    """Of 2 in 1000 values; the noise model and MAD find them from 5 frames on."""
    rng = np.random.default_rng(n)
    cube = rng.normal(1000, 5, (n, 200, 600)).astype(np.float32)
    hit = rng.random(cube.shape) < 0.002
    cube[hit] += rng.exponential(2000, hit.sum()).astype(np.float32) + 100
    few = (hit.sum(axis=0) < 2).all(axis=1)
    assert ratio(cube[:, few], 1000, **RULES[name]) == pytest.approx(1, abs=0.02)


def test_sigma_clipping_with_cosmic_rays():
    """Where ten and more values allow it to find them."""
    for n in (10, 30):
        rng = np.random.default_rng(n)
        cube = rng.normal(1000, 5, (n, 200, 600)).astype(np.float32)
        cube[0][rng.random(cube.shape[1:]) < 0.01] += 5000
        assert ratio(cube, 1000, reject="sigma", sigma=2.5) == pytest.approx(1, abs=0.02)


def test_factors_of_the_median():
    """Exact up to 30 values, and what follows joins on."""
    assert [round(median_factor(n), 3) for n in (3, 4, 5, 6)] == [1.160, 1.092, 1.198, 1.135]
    draws = np.random.default_rng(1).standard_normal((20_000, 101))
    for n in (31, 40, 61, 100):
        assert median_factor(n) == pytest.approx(np.std(np.median(draws[:, :n], axis=1)) * np.sqrt(n), rel=0.02)
    assert median_factor(31) == pytest.approx(MEDIAN_FACTORS[28], rel=2e-3)


def test_nothing_rejected_needs_no_factor():
    np.testing.assert_array_equal(clipping_factors(rule_of("none"), "average", 12), 1)
    np.testing.assert_allclose(clipping_factors(rule_of("noise", 6.0, 6.0), "average", 12), 1, atol=1e-3)


def test_factors_are_the_same_every_time():
    rule = rule_of("sigma", 2.5, 2.5)
    first = clipping_factors(rule, "average", 10).copy()
    clipping_factors.cache_clear()
    np.testing.assert_array_equal(clipping_factors(rule, "average", 10), first)


def test_factors_of_frames_without_masks():
    """Where every pixel has all its values, only their number is measured."""
    rule = rule_of("sigma", 2.5, 2.5)
    whole, one = clipping_factors(rule, "average", 10), clipping_factors(rule, "average", 10, 10)
    assert one.shape == whole.shape
    assert one[10] == whole[10]
    assert one[5] == one[10] != whole[5]
