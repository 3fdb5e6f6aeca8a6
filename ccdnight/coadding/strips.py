"""Strips of a coadd: every frame interpolated, outliers left out, and the rest combined by the stacking engine."""

import threading
from dataclasses import dataclass, field

import numpy as np

from ccdnight._kernels.outliers import clip_outliers
from ccdnight._kernels.resample import Mesh, Piece, Target, resample_rows
from ccdnight.coadding.interpolation import KERNELS, kernel_table
from ccdnight.execution import default_workers, map_strips
from ccdnight.flags import FLAGS
from ccdnight.stacking import stack

__all__ = ["Layer", "Maps", "Recipe", "coadd_strips"]

_NO_DATA, _LOW_WEIGHT = FLAGS["NO_DATA"].value, FLAGS["LOW_WEIGHT"].value
#: Rows above and below a strip that are looked at as well: outliers grow by one pixel.
_HALO = 1
#: Bytes for the strips of all threads, if nobody says otherwise.
_LIMIT = 6e8
#: Rows of a strip, if memory allows for as many.
_NARROWEST = 8
#: Bytes for one value of a frame while a strip is made: value, variance, sky, weight, and what stacking copies.
_BYTES = 48


@dataclass
class Layer:
    """
    One frame of a coadd.

    Attributes
    ----------
    item : Opened
        Its pixels.
    mesh : Mesh
        Where the pixels of the coadd lie in it.
    factor, offset : float
        What it is multiplied by, and what is then subtracted.
    photon : float
        Variance that one unit of signal adds to a value of the coadd.
    seconds : float
        Exposure.
    square : list of float
        Sum and number of the parts of the variance that interpolation leaves.
    """

    item: object
    mesh: Mesh
    factor: float
    offset: float
    photon: float
    seconds: float
    square: list = field(default_factory=lambda: [0.0, 0])


@dataclass(frozen=True)
class Recipe:
    """
    How values are interpolated and combined.

    Attributes
    ----------
    resample, method, reject : str
        See `ccdnight.coadding.coadd`.
    sigma, low, growth, tolerance : float
        Of the rejection.
    exclude : int
        Flags of pixels that are left out.
    weighted : bool
        Whether frames count by the variance of their sky.
    """

    resample: str
    method: str
    reject: bool
    sigma: float
    low: float
    growth: float
    tolerance: float
    exclude: int
    weighted: bool


@dataclass(frozen=True)
class Maps:
    """Images of a coadd: data, error, flags, number of frames, seconds; and values rejected."""

    data: np.ndarray
    error: np.ndarray
    flags: np.ndarray
    count: np.ndarray
    seconds: np.ndarray
    rejected: list


class _Rows:
    """A frame's rows of a strip, as the stacking engine takes them."""

    dtype, has_variance = np.dtype(np.float32), True

    def __init__(self, values, variances):
        self.shape, self._values, self._variances = values.shape, values, variances

    def fill(self, rows, out, _exclude):
        out[...] = self._values[rows]

    def variance(self, rows):
        return self._variances[rows]


def coadd_strips(layers, recipe, grid, *, mem_limit=None, workers=None, interpolate=None):
    """
    Coadd frames strip by strip.

    Parameters
    ----------
    layers : list of Layer
        The frames.
    recipe : Recipe
        How.
    grid : Grid
        The grid.
    mem_limit : float, optional
        Bytes for the strips of all threads.
    workers : int, optional
        Threads.
    interpolate : callable, optional
        Called with layer, first row and target in the place of the compiled interpolation.

    Returns
    -------
    Maps
    """
    ny, nx = grid.shape
    limit, row = _LIMIT if mem_limit is None else mem_limit, len(layers) * nx * _BYTES
    # Narrow strips are mostly halo: rather fewer threads.
    workers = max(1, min(default_workers() if workers is None else workers, int(limit / (row * _NARROWEST))))
    height = int(np.clip(limit / workers / row - 2 * _HALO, _NARROWEST, 512))
    maps = Maps(
        np.full((ny, nx), np.nan, np.float32), np.full((ny, nx), np.nan, np.float32),
        np.full((ny, nx), _NO_DATA, np.uint16), np.zeros((ny, nx), np.uint16), np.zeros((ny, nx), np.float32),
        [0] * len(layers),
    )  # fmt: skip
    lock = threading.Lock()

    def do(rows):
        _strip(layers, recipe, grid, rows, maps, lock, interpolate or _compiled(recipe))

    map_strips(do, [slice(a, min(a + height, ny)) for a in range(0, ny, height)], workers=workers)
    return maps


def _strip(layers, recipe, grid, rows, maps, lock, interpolate):
    """Make some rows of the coadd."""
    ny, nx = grid.shape
    start, stop = max(0, rows.start - _HALO), min(ny, rows.stop + _HALO)
    shape = (stop - start, nx)
    cube, variances, quiet = (np.full((len(layers), *shape), np.nan, np.float32) for _ in range(3))
    spare, spares = np.zeros(shape), np.zeros(shape, np.uint16)
    flags, seen = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    for number, layer in enumerate(layers):
        out = Target(cube[number], variances[number], quiet[number], spare, spares, flags, seen)
        total, count = interpolate(layer, start, out)
        with lock:
            layer.square[0] += total
            layer.square[1] += count
    inner = slice(rows.start - start, rows.stop - start)
    if recipe.reject and len(layers) > 1:
        _reject(layers, recipe, cube, quiet, inner, maps, lock)
    cube, variances, quiet = (np.ascontiguousarray(item[:, inner]) for item in (cube, variances, quiet))
    weights = np.where(np.isfinite(cube), 1 / quiet, 0.0) if recipe.weighted else None
    result = stack(
        [_Rows(*pair) for pair in zip(cube, variances, strict=True)], method=recipe.method, reject="none",
        weights=weights, uncertainty="propagated", workers=1,
    )  # fmt: skip
    maps.data[rows], maps.error[rows], maps.count[rows] = result.data, result.error, result.count
    seconds = np.array([layer.seconds for layer in layers], np.float32)
    maps.seconds[rows] = np.einsum("f,fji->ji", seconds, np.isfinite(cube).astype(np.float32))
    _put_flags(maps, rows, spare[inner], spares[inner], flags[inner], seen[inner])


def _reject(layers, recipe, cube, quiet, inner, maps, lock):
    """Leave outliers out, and count those of the strip itself."""
    before = np.isfinite(cube[:, inner]).sum((1, 2))
    photon = np.array([layer.photon for layer in layers])
    clip_outliers(cube, quiet, photon, recipe.tolerance, recipe.sigma, recipe.low, recipe.growth)
    lost = before - np.isfinite(cube[:, inner]).sum((1, 2))
    with lock:
        for number, value in enumerate(lost):
            maps.rejected[number] += int(value)


def _put_flags(maps, rows, spare, spares, flags, seen):
    """
    Flags of some rows.

    Where no frame has a value that may be used, the mean of those that may not stands in its place, under their flags:
    a picture without holes, and a mask that says so.
    """
    count = maps.count[rows]
    bits = np.zeros(count.shape, np.uint16)
    few = (count > 0) & (2 * count < seen)
    bits[few] = _LOW_WEIGHT
    none = count == 0
    bits[none] = np.where(flags[none] != 0, flags[none], _NO_DATA)
    maps.data[rows][none] = np.where(spares[none] > 0, spare[none] / np.maximum(spares[none], 1), np.nan)
    maps.error[rows][none] = np.nan
    bits[~np.isfinite(maps.data[rows])] |= _NO_DATA
    maps.flags[rows] = bits


def _compiled(recipe):
    """The compiled interpolation of one layer."""
    table, squares = kernel_table(recipe.resample)
    reach = KERNELS[recipe.resample] // 2 + 1

    def interpolate(layer, start, out):
        needed = rows_needed(layer, start, out.value.shape[0], reach)
        if needed is None:
            return 0.0, 0
        piece = read_piece(layer.item, needed, recipe.exclude)
        return resample_rows(piece, layer.mesh, table, squares, start, layer.factor, layer.offset, out)

    return interpolate


def rows_needed(layer, start, count, reach):
    """
    Rows of a frame that some rows of the coadd need.

    Parameters
    ----------
    layer : Layer
        The frame.
    start, count : int
        First row of the coadd, and how many.
    reach : int
        Rows beyond the positions.

    Returns
    -------
    slice or None
        None if they need none.
    """
    mesh, (ny, nx) = layer.mesh, layer.item.shape
    nodes = slice(start // mesh.step, (start + count - 1) // mesh.step + 2)
    x, y = mesh.x[nodes], mesh.y[nodes]
    # Nodes of cells that touch the frame; those about it reach into it.
    side = 2 * mesh.step * max(1.0, float(np.nanmax(np.abs(np.diff(x, axis=1)), initial=0.0)) / mesh.step)
    near = (x > -side) & (x < nx + side) & (y > -side) & (y < ny + side)
    if not near.any():
        return None
    low, high = np.floor(y[near].min()) - reach, np.ceil(y[near].max()) + reach + 1
    low, high = max(0, int(low)), min(ny, int(high))
    return slice(low, high) if low < high else None


def read_piece(item, rows, exclude):
    """
    Some rows of a frame for the interpolation.

    Parameters
    ----------
    item : Opened
        The frame.
    rows : slice
        Which.
    exclude : int
        Flags of pixels that are left out.

    Returns
    -------
    Piece
    """
    data, variance, flags = item.rows(rows)
    bad = (flags & exclude) != 0
    good = np.array(data, np.float32)
    if variance is not None:
        variance = np.ascontiguousarray(variance, np.float32)
        bad |= ~np.isfinite(variance)
    good[bad] = np.nan
    none = np.empty((0, 0), np.float32)
    flags, data = np.ascontiguousarray(flags), np.ascontiguousarray(data, np.float32)
    return Piece(good, data, none if variance is None else variance, flags, rows.start, item.shape[0])
