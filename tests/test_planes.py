"""The compiled variances of areas against least squares of numpy, area by area."""

import numpy as np
import pytest

from ccdnight._kernels.planes import plane_variances

SIGMA = 5.0


def slow(values, side, center, width):
    """The same for one area."""
    y, x = np.mgrid[: side[0], : side[1]] / (np.maximum(side, 2) - 1).reshape(2, 1, 1) * 2 - 1
    basis = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
    shifted = values.astype(float) - center
    keep = np.abs(shifted) <= (SIGMA + 1) * width
    plane = basis @ np.linalg.lstsq(basis[keep], shifted[keep], rcond=None)[0]
    residual = shifted - plane
    square = (residual[keep] ** 2).sum() / max(keep.sum() - 3, 1)
    for _ in range(3):
        inside = np.abs(residual) <= SIGMA * np.sqrt(square)
        square = (residual[inside] ** 2).sum() / max(inside.sum() - 3, 1)
    return square


@pytest.mark.parametrize("side", [(64, 64), (8, 8), (10, 23), (5, 5), (1, 40), (40, 1)])
def test_variances_are_those_of_least_squares(side):
    random = np.random.default_rng(side[1])
    values = random.normal(1000, 5, (20, side[0] * side[1])).astype(np.float32)
    values += np.linspace(-9, 9, values.shape[1], dtype=np.float32)
    values[random.random(values.shape) < 0.02] = np.nan
    values[random.random(values.shape) < 0.02] += 3000
    center = np.nanmedian(values, axis=1).astype(np.float32)
    width = np.full(20, 8, np.float32)
    out = np.empty(20)
    plane_variances(values, side, center, width, SIGMA, out)
    expected = [slow(*item) for item in zip(values, [side] * 20, center, width, strict=True)]
    np.testing.assert_allclose(out, expected, rtol=2e-6)


def test_an_empty_area_is_no_error():
    out = np.empty(1)
    plane_variances(np.full((1, 25), np.nan, np.float32), (5, 5), *np.zeros((2, 1), np.float32), SIGMA, out)
    assert out[0] == 0
