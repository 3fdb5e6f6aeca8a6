"""Variances of small areas about a plane: each area stays in the nearest cache while it is clipped."""

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room

__all__ = ["plane_variances"]

#: Rounds of clipping at the most, and what is added to the diagonal so that an area of one row has no slope across it.
_ROUNDS, _RIDGE = 3, 1e-6


@kernel_with_room
def plane_variances(values, side, center, width, sigma, out):
    """
    Mean square of the values of areas about the plane through those that are no outliers.

    A value is an outlier of the plane's fit beyond ``sigma + 1`` widths of the center, and of the mean square beyond
    `sigma` of its own root. Three degrees of freedom go into the plane.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32, shape ``(k, rows * columns)``; NaN where there is nothing.
    side : tuple of int
        Rows and columns of an area, at most 1024.
    center, width : `~numpy.ndarray`
        float32, shape ``(k,)``.
    sigma : float
        Threshold.
    out : `~numpy.ndarray`
        float64, shape ``(k,)``; written.
    """
    height, across = side
    # Sums of the columns lie side by side, so that the rows are added to them by SIMD.
    sums, moments = np.empty((5, across), np.float64), np.empty(9, np.float64)
    residual = np.empty(height * across, np.float32)
    for k in range(values.shape[0]):
        area, middle = values[k], center[k]
        _sum_columns(area, height, middle, np.float32((sigma + 1) * width[k]), sums)
        _moments_of(sums, moments)
        a, b, c = _plane_of(moments)
        for y in range(height):
            across_y = a + c * _position(y, height)
            row, rest = area[y * across :], residual[y * across :]
            for x in range(across):
                rest[x] = row[x] - middle - np.float32(across_y + b * _position(x, across))
        square, count = _mean_square(area, residual, middle, np.float32((sigma + 1) * width[k]), True)
        for _ in range(_ROUNDS):
            again, left = _mean_square(area, residual, middle, np.float32(sigma * np.sqrt(square)), False)
            if left == count and again == square:
                break
            square, count = again, left
        out[k] = square


@kernel
def _position(i, n):
    """-1 to 1 along a side."""
    return 2.0 * i / (n - 1) - 1.0 if n > 1 else -1.0


@kernel
def _sum_columns(area, height, middle, limit, sums):
    """Of every column: values kept, their rows and squares of rows, their sum and that times the row."""
    across = sums.shape[1]
    sums[:] = 0.0
    for y in range(height):
        row, p = area[y * across :], _position(y, height)
        for x in range(across):
            value = row[x] - middle
            keep = np.abs(value) <= limit
            one, value = 1.0 if keep else 0.0, np.float64(value) if keep else 0.0
            sums[0, x] += one
            sums[1, x] += one * p
            sums[2, x] += one * p * p
            sums[3, x] += value
            sums[4, x] += value * p


@kernel
def _moments_of(sums, moments):
    """Sums over all columns of 1, x, y, xx, xy, yy, v, vx, vy."""
    moments[:] = 0.0
    across = sums.shape[1]
    for x in range(across):
        p, n = _position(x, across), sums[0, x]
        moments[0] += n
        moments[1] += n * p
        moments[2] += sums[1, x]
        moments[3] += n * p * p
        moments[4] += sums[1, x] * p
        moments[5] += sums[2, x]
        moments[6] += sums[3, x]
        moments[7] += sums[3, x] * p
        moments[8] += sums[4, x]


@kernel
def _plane_of(m):
    """Constant and slopes along x and y that fit best."""
    aa, ab, ac = m[0] + _RIDGE, m[1], m[2]
    bb, bc, cc = m[3] + _RIDGE, m[4], m[5] + _RIDGE
    one, two, three = bb * cc - bc * bc, ac * bc - ab * cc, ab * bc - ac * bb
    whole = aa * one + ab * two + ac * three
    four, five, six = aa * cc - ac * ac, ab * ac - aa * bc, aa * bb - ab * ab
    a = (one * m[6] + two * m[7] + three * m[8]) / whole
    b = (two * m[6] + four * m[7] + five * m[8]) / whole
    c = (three * m[6] + five * m[7] + six * m[8]) / whole
    return a, b, c


@kernel_with_room
def _mean_square(area, residual, middle, limit, about_center):
    """Of the residuals that are kept: by their distance from the center, or by their own size."""
    total, count = np.zeros(16), np.zeros(16)
    for start in range(0, residual.size, 16):
        w = min(16, residual.size - start)
        for i in range(w):
            value = residual[start + i]
            size = np.abs(area[start + i] - middle) if about_center else np.abs(value)
            keep = size <= limit
            square = np.float64(value) * np.float64(value)
            total[i] += square if keep else 0.0
            count[i] += 1.0 if keep else 0.0
    n = count.sum()
    return total.sum() / max(n - 3.0, 1.0), n
