"""Robust statistics against the truth of many draws."""

import math

import numpy as np
import pytest
from scipy import stats

from ccdnight.statistics import (
    _sample_of,
    clipped_mean_rows,
    clipped_moments,
    half_sample_mode,
    median_of,
    medians_of_rows,
    most_common,
    quantiles,
    sample_pixels,
    truncation_factor,
    values_of_rows,
)

#: Values that a sample tells about well, badly, or not at all.
SETS = {
    "noise": lambda rng, n: rng.normal(1000, 10, n),
    "whole numbers": lambda rng, n: np.rint(rng.normal(1000, 2, n)),
    "two values": lambda rng, n: rng.choice([0.0, 1.0], n),
    "one value": lambda rng, n: np.full(n, 7.0),
    "sorted": lambda rng, n: np.sort(rng.normal(0, 1, n)),
    "period of the sample": lambda rng, n: rng.normal(0, 1, n) + 100 * (np.arange(n) % (n // 4096) == 0),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "outliers": lambda rng, n: np.where(rng.random(n) < 0.2, 60000.0, rng.normal(0, 1e-3, n)),
}


def plain_moments(values, sigma, maxiters=20):
    """`clipped_moments` as one would write it down."""
    values = np.asarray(values, np.float64)
    low, center, high = np.percentile(values, [15.865, 50, 84.135])
    width = max((high - low) / 2, np.std(values) * 1e-3)
    if width < 0.5 and np.array_equal(2 * values, np.rint(2 * values)):
        width = 0.5
    kept = values[np.abs(values - center) <= sigma * width] if width > 0 else values
    for _ in range(maxiters):
        mean, std = kept.mean(), kept.std() / truncation_factor(sigma)
        inside = np.abs(values - mean) <= sigma * std
        if inside.sum() == kept.size or not inside.any():
            break
        kept = values[inside]
    return kept.mean(), kept.std(ddof=1) / truncation_factor(sigma), kept.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [20_000, 65_537, 250_000])
@pytest.mark.parametrize("name", SETS)
def test_quantiles_and_moments_are_those_of_numpy(name, size, dtype):
    values = SETS[name](np.random.default_rng(7), size).astype(dtype)
    fractions = [0.0, 0.15865, 0.5, 0.84135, 1.0]
    assert quantiles(values, fractions) == pytest.approx(np.quantile(values.astype(float), fractions), rel=1e-12)
    assert median_of(values) == pytest.approx(np.median(values.astype(float)), rel=1e-12)
    if name != "one value":
        for sigma in (2.5, 5.0):
            mean, std, count = clipped_moments(values, sigma=sigma)
            expected = plain_moments(values, sigma)
            assert (mean, std) == pytest.approx(expected[:2], rel=1e-9)
            assert count == expected[2]


@pytest.mark.parametrize("shape", [(4128, 2048), (4096, 2049), (1000, 1000), (2048, 4181), (200, 103)])
def test_a_sample_tells_between_which_values_of_a_vignetted_flat_a_quantile_lies(shape):
    """Every n-th pixel may be on a diagonal of the image, and all of it is then sorted."""
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    values = (20000 * (1 - 0.3 * x**2 + 0.1 * y)).astype(np.float32).reshape(-1)
    sample = _sample_of(values)
    for fraction in (0.15865, 0.5, 0.84135):
        share = np.mean(values <= sample[round(fraction * sample.size)])
        assert share == pytest.approx(fraction, abs=4 * math.sqrt(fraction * (1 - fraction) / sample.size))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 31, 512])
def test_values_of_rows_are_those_of_numpy(width, dtype):
    data = np.random.default_rng(width).normal(0, 3, (40, width)).astype(dtype)
    data[::3] = np.rint(data[::3])
    data[5] = np.sinh(data[5] * 5)
    before, ranks = data.copy(), [0, width // 6, width // 2, width - 1]
    np.testing.assert_array_equal(values_of_rows(data, ranks), np.sort(data, axis=1)[:, ranks])
    swapped = data.astype(data.dtype.newbyteorder(">"))
    np.testing.assert_array_equal(values_of_rows(swapped, ranks), values_of_rows(data, ranks))
    np.testing.assert_array_equal(medians_of_rows(swapped[:, ::-1]), medians_of_rows(data))
    np.testing.assert_array_equal(data, before)


def test_quantiles_leave_the_values_as_they_were():
    values = SETS["two values"](np.random.default_rng(8), 50_000)
    before = values.copy()
    quantiles(values, [0.25])
    clipped_moments(values)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0, 5.0])
def test_truncation_factor_is_that_of_the_truncated_normal(sigma):
    assert truncation_factor(sigma) == pytest.approx(stats.truncnorm(-sigma, sigma).std(), rel=1e-9)


class TestClippedMoments:
    """Mean and scatter without outliers."""

    @pytest.mark.parametrize("sigma", [2.5, 3.0, 5.0])
    def test_loss_by_clipping_is_put_right(self, sigma):
        values = np.random.default_rng(1).normal(100, 7, 200_000)
        mean, std, count = clipped_moments(values, sigma=sigma)
        assert mean == pytest.approx(100, abs=4 * 7 / 447)
        assert std == pytest.approx(7, rel=0.005)
        assert count == pytest.approx(200_000 * math.erf(sigma / math.sqrt(2)), rel=0.003)

    @pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
    @pytest.mark.parametrize("height", [60, 1e4, 1e9])
    def test_outliers_leave_no_mark(self, share, height):
        values = np.random.default_rng(2).normal(100, 7, 50_000)
        values[: int(share * values.size)] += height
        mean, std, _ = clipped_moments(values)
        assert mean == pytest.approx(100, abs=0.2)
        assert std == pytest.approx(7, rel=0.02)

    @pytest.mark.parametrize("std", [0.25, 0.3, 0.4, 0.6, 1.0])
    @pytest.mark.parametrize("level", [1000.0, 1000.3, 1000.5])
    def test_integers_are_not_narrowed(self, std, level):
        """Nearly all values may be one and the same number; the others are no outliers."""
        values = np.rint(np.random.default_rng(3).normal(level, std, 100_000))
        _, found, _ = clipped_moments(values)
        assert found == pytest.approx(np.std(values), rel=0.01)

    def test_few_values_are_not_too_narrow(self):
        """The variance of n values is that of n - 1."""
        draws = np.random.default_rng(4).normal(0, 1, (4000, 5))
        variance = np.mean([clipped_moments(row)[1] ** 2 for row in draws])
        assert variance == pytest.approx(1, rel=0.05)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([], (math.nan, math.nan, 0)),
            ([math.nan, math.inf], (math.nan, math.nan, 0)),
            ([5.0], (5, 0, 1)),
            ([5, 5, 5, 5], (5, 0, 4)),
            ([[5, math.nan], [5, math.inf]], (5, 0, 2)),
            ([5] * 50 + [900], (5, 0, 50)),
        ],
    )
    def test_odd_input(self, values, expected):
        assert clipped_moments(np.array(values)) == pytest.approx(expected, nan_ok=True)

    @pytest.mark.filterwarnings("ignore:overflow")
    def test_squares_that_are_no_numbers_any_more(self):
        """Damaged floating-point files hold such values; they are no reason to stop."""
        mean, std, count = clipped_moments(np.array([5.0] * 40 + [1e200] * 60))
        assert mean == pytest.approx(6e199)
        assert (std, count) == (math.inf, 100)


class TestClippedMeanRows:
    """The level of an overscan."""

    def test_level_and_error_of_each_row(self):
        rng = np.random.default_rng(5)
        truth = 1000 + np.linspace(0, 40, 400)
        data = truth[:, None] + rng.normal(0, 4, (400, 25))
        mean, error = clipped_mean_rows(data)
        assert error == pytest.approx(4 / 5, rel=0.05)
        assert np.std((mean - truth) / error) == pytest.approx(1, abs=0.1)

    def test_outliers_and_missing_pixels(self):
        rng = np.random.default_rng(6)
        data = 1000 + rng.normal(0, 4, (200, 25))
        clean, _ = clipped_mean_rows(data)
        data[::3, 4] = 60000
        data[::5, 7] = np.nan
        mean, _ = clipped_mean_rows(data)
        assert np.abs(mean - clean).max() < 1.5

    def test_a_row_without_pixels_takes_the_level_of_the_others(self):
        data = np.full((5, 4), 7.0)
        data[2] = np.nan
        mean, _ = clipped_mean_rows(data)
        np.testing.assert_array_equal(mean, [7] * 5)

    def test_nothing_gives_nothing(self):
        mean, error = clipped_mean_rows(np.full((3, 4), np.nan))
        assert np.isnan(mean).all()
        assert error.shape == (3,)


class TestMode:
    """Two kinds of mode."""

    def test_half_sample_mode_of_a_skewed_distribution(self):
        """It finds the mode of a gamma distribution (4) and neither its median (4.67) nor its mean (5)."""
        rng = np.random.default_rng(1)
        found = [half_sample_mode(rng.gamma(5, 1, 20_000)) for _ in range(25)]
        assert np.mean(found) == pytest.approx(4, abs=0.25)

    def test_of_integers_is_unbiased(self):
        rng = np.random.default_rng(7)
        found = [half_sample_mode(np.rint(rng.normal(1000.5, 3, 2000))) for _ in range(60)]
        assert np.mean(found) == pytest.approx(1000.5, abs=0.5)

    @pytest.mark.parametrize(
        ("values", "mode", "common"),
        [
            ([], math.nan, math.nan),
            ([math.nan], math.nan, math.nan),
            ([3.0], 3, 3),
            ([1.0, 2.0], 1.5, 1),
            ([1, 2, 2.5], 2.25, 1),
            ([1, 1.5, 9], 1.25, 1),
            ([1, 2, 3], 2, 1),
            ([4, 4, 4, 9, math.nan], 4, 4),
            ([5, 5, 1, 1, 7], 5, 1),
        ],
    )
    def test_small(self, values, mode, common):
        assert half_sample_mode(np.array(values)) == pytest.approx(mode, nan_ok=True)
        assert most_common(np.array(values)) == pytest.approx(common, nan_ok=True)

    def test_most_common_is_the_mode_of_scipy(self):
        values = np.random.default_rng(8).poisson(900, (50, 60)).astype(np.float32)
        assert most_common(values) == stats.mode(values, axis=None).mode


@pytest.mark.parametrize("shape", [(10, 10), (4128, 2048), (1, 3_000_000), (3000, 3000)])
def test_a_sample_is_small_and_even(shape):
    """It sees both phases of a pattern of period two."""
    data = np.broadcast_to(np.arange(shape[1]) % 2, shape)
    sample = sample_pixels(data, 250_000)
    assert sample.size <= 1_000_000
    assert np.shares_memory(sample, data)
    if sample.shape[1] > 2:
        assert sample.mean() == pytest.approx(0.5, abs=0.05)
