"""Smoothing of whole images: down the columns and along the rows in one pass."""

from ccdnight._kernels._jit import kernel

__all__ = ["smooth_symmetric"]


@kernel
def smooth_symmetric(values, weights, line, out):
    """
    Convolve an image with the same symmetric weights along both axes; beyond an edge its last pixel goes on.

    This is equivalent to `scipy.ndimage.correlate1d` along either axis with ``mode="nearest"``, in float32.

    Parameters
    ----------
    values : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    weights : `~numpy.ndarray`
        float32, shape ``(r + 1,)``: of a pixel itself, of its neighbors, of those behind them and so on.
    line : `~numpy.ndarray`
        Room, float32, shape ``(nx + 2 r,)``.
    out : `~numpy.ndarray`
        float32, of the shape of the image; written.
    """
    (ny, nx), reach = values.shape, weights.size - 1
    for y in range(ny):
        weight = weights[0]
        for x in range(nx):
            line[reach + x] = weight * values[y, x]
        for k in range(1, reach + 1):
            above, below, weight = values[max(y - k, 0)], values[min(y + k, ny - 1)], weights[k]
            for x in range(nx):
                line[reach + x] += weight * (above[x] + below[x])
        for x in range(reach):
            line[x], line[reach + nx + x] = line[reach], line[reach + nx - 1]
        row, weight = out[y], weights[0]
        for x in range(nx):
            row[x] = weight * line[reach + x]
        for k in range(1, reach + 1):
            weight = weights[k]
            left, right = line[reach - k :], line[reach + k :]
            for x in range(nx):
                row[x] += weight * (left[x] + right[x])
