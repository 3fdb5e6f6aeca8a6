"""Large scales of a frame: medians of the cells of a mesh, and their values between the cells."""

import numpy as np

__all__ = ["cell_medians", "spread_cells"]

#: Values of a cell that its median is taken of, along each axis.
_SAMPLES = 24


def cell_medians(data, size):
    """
    Medians of the cells of a mesh.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``; NaN where a pixel does not count.
    size : int
        Side of a cell in pixels.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(my, mx)``; cells without a value get that of the nearest one, and 0 if there is none at all.
        An outlying cell is replaced by the median of its neighborhood.
    """
    from scipy.ndimage import distance_transform_edt, median_filter

    my, mx = (max(1, -(-length // size)) for length in data.shape)
    step = max(1, size // _SAMPLES)
    out = np.full((my, mx), np.nan)
    for row in range(my):
        band = data[row * size : (row + 1) * size : step, ::step].astype(np.float64)
        edges = [min(-(-column * size // step), band.shape[1]) for column in range(mx + 1)]
        for column in range(mx):
            values = band[:, edges[column] : edges[column + 1]]
            values = values[np.isfinite(values)]
            if values.size >= 8:
                out[row, column] = np.median(values)
    empty = np.isnan(out)
    if empty.all():
        return np.zeros((my, mx))
    if empty.any():
        nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
        out = out[tuple(nearest)]
    if min(out.shape) < 3:
        return out
    smooth = median_filter(out, size=3, mode="nearest")
    away = np.abs(out - smooth)
    # A slope is no outlier: cells at the edge differ from their neighborhood by as much as all the others do.
    return np.where(away > 5 * np.median(away) + 1e-12, smooth, out)


def spread_cells(cells, shape, size):
    """
    Bilinear interpolation between the centers of cells, and extrapolation to the edges.

    Parameters
    ----------
    cells : `~numpy.ndarray`
        What `cell_medians` gave.
    shape : tuple of int
        Shape ``(ny, nx)`` of the frame.
    size : int
        Side of a cell.

    Returns
    -------
    `~numpy.ndarray`
        float32, shape `shape`.
    """
    rows = _between(cells.shape[0], shape[0], size)
    columns = _between(cells.shape[1], shape[1], size)
    part = cells[rows[0]] * (1 - rows[2])[:, None] + cells[rows[1]] * rows[2][:, None]
    part = part.astype(np.float32)
    weight = columns[2].astype(np.float32)
    return part[:, columns[0]] * (1 - weight) + part[:, columns[1]] * weight


def _between(cells, length, size):
    """The two cells that a pixel lies between, and the part of the second."""
    # The last cell may be a narrow one, whose center lies before the middle of a whole one.
    centers = (np.minimum((np.arange(cells) + 1) * size, length) + np.arange(cells) * size - 1) / 2
    if cells == 1:
        return np.zeros(length, int), np.zeros(length, int), np.zeros(length)
    low = np.clip(np.searchsorted(centers, np.arange(length), side="right") - 1, 0, cells - 2)
    # Beyond the outermost centers the slope goes on, by half a cell at most.
    return low, low + 1, (np.arange(length) - centers[low]) / (centers[low + 1] - centers[low])
