"""Sums for a separable least-squares fit over an image, row by row, with outliers left out on the way."""

import numpy as np

from ccdnight._kernels._jit import kernel_with_room

__all__ = ["surface_sums"]


@kernel_with_room
def surface_sums(data, good, shift, basis_x, basis_y, coefficients, limit, weights, values):
    """
    Sums along y of the weights and of the data, for each column.

    With w = 1 where `good` and ``|data - shift - basis_y.T @ coefficients @ basis_x| <= limit``, else 0, this is
    equivalent to::

        values += basis_y @ (w * (data - shift))
        weights += pairs @ w        # pairs[m] = basis_y[k] * basis_y[l] for k in range(q), l in range(k + 1)

    Parameters
    ----------
    data : `~numpy.ndarray`
        Float, shape ``(ny, nx)``.
    good : `~numpy.ndarray`
        bool, same shape; data must be finite there.
    shift : float
        Taken off the data.
    basis_x, basis_y : `~numpy.ndarray`
        float64, shapes ``(p, nx)`` and ``(q, ny)``.
    coefficients : `~numpy.ndarray`
        float64, shape ``(q, p)``: the surface from which deviations are counted.
    limit : float
        Largest deviation.
    weights, values : `~numpy.ndarray`
        float64, shapes ``(q * (q + 1) // 2, nx)`` and ``(q, nx)``; added to.

    Returns
    -------
    int
        Values used.
    """
    (ny, nx), p, q = data.shape, basis_x.shape[0], basis_y.shape[0]
    used, value, surface, row = np.empty(nx), np.empty(nx), np.empty(nx), np.empty(p)
    count = 0
    for y in range(ny):
        row[:] = 0.0
        for k in range(q):
            for i in range(p):
                row[i] += basis_y[k, y] * coefficients[k, i]
        surface[:] = 0.0
        for i in range(p):
            for x in range(nx):
                surface[x] += row[i] * basis_x[i, x]
        for x in range(nx):
            rest = data[y, x] - shift
            keep = good[y, x] and abs(rest - surface[x]) <= limit
            used[x] = 1.0 if keep else 0.0
            value[x] = rest if keep else 0.0
            count += keep
        m = 0
        for k in range(q):
            for x in range(nx):
                values[k, x] += basis_y[k, y] * value[x]
            for other in range(k + 1):
                factor = basis_y[k, y] * basis_y[other, y]
                for x in range(nx):
                    weights[m, x] += factor * used[x]
                m += 1
    return count
