"""The interpolations of reproject in the place of the compiled ones: slower, two of them right for any pixel size."""

import numpy as np

from ccdnight._quiet import quiet_libraries
from ccdnight.coadding.strips import read_piece, rows_needed

__all__ = ["reprojection"]

#: Rows beyond the positions, and side of the patch on which the loss of variance is measured.
_REACH, _PATCH = 8, 96


def reprojection(name, grid, coordinates, layers, recipe):
    """
    What `ccdnight.coadding.strips.coadd_strips` calls to interpolate a frame.

    Surface brightness is interpolated and multiplied by the ratio of the pixel areas, which keeps the light of stars.

    Parameters
    ----------
    name : {'interp', 'adaptive', 'exact'}
        `reproject.reproject_interp` (bicubic), `reproject.reproject_adaptive` or `reproject.reproject_exact`.
    grid : Grid
        The grid.
    coordinates : list of `~astropy.wcs.WCS`
        Of the frames.
    layers : list of Layer
        The frames.
    recipe : Recipe
        Flags that are left out.

    Returns
    -------
    callable
    """
    known = {id(layer): wcs for layer, wcs in zip(layers, coordinates, strict=True)}
    parts = {id(layer): _part_left(name, grid, known[id(layer)], layer.item.shape) for layer in layers}

    def interpolate(layer, start, out):
        needed = rows_needed(layer, start, out.value.shape[0], _REACH)
        if needed is None:
            return 0.0, 0
        piece = read_piece(layer.item, needed, recipe.exclude)
        wcs, target = _moved(known[id(layer)], needed.start), _moved(grid.wcs, start)
        return _put(name, layer, piece, wcs, target, start, out, parts[id(layer)])

    return interpolate


def _moved(wcs, rows):
    """World coordinates of an image without its first rows."""
    new = wcs.deepcopy()
    new.wcs.crpix = np.asarray(wcs.wcs.crpix, float) - [0, rows]
    if new.sip is not None:
        from astropy.wcs import Sip

        new.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, new.wcs.crpix)
    with quiet_libraries():
        new.wcs.set()
    return new


def _reproject(name, image, wcs, target, shape, order="bicubic"):
    import reproject

    with quiet_libraries():
        if name == "interp":
            return reproject.reproject_interp((image, wcs), target, shape_out=shape, order=order)
        if name == "adaptive":
            return reproject.reproject_adaptive((image, wcs), target, shape_out=shape, bad_value_mode="ignore")
        return reproject.reproject_exact((image, wcs), target, shape_out=shape, parallel=False)


def _put(name, layer, piece, wcs, target, start, out, part):
    """One layer of a strip."""
    from scipy.ndimage import binary_dilation, map_coordinates

    shape, bad = out.value.shape, ~np.isfinite(piece.good)
    filled = np.where(bad, np.nanmedian(piece.good) if not bad.all() else 0, piece.good).astype(np.float64)
    value, seen = _reproject(name, filled, wcs, target, shape)
    mesh = layer.mesh
    x, y, quiet = (_spread(nodes, mesh.step, start, shape) for nodes in (mesh.x, mesh.y, mesh.quiet))
    y -= piece.first
    known = np.isfinite(x) & np.isfinite(y)
    at = np.where(known, [y, x], -9)
    # A bicubic interpolation reaches one pixel beyond its neighbors.
    wide = binary_dilation(bad, np.ones((3, 3), bool)).astype(np.float32)
    touched = map_coordinates(wide, at, order=1, cval=1.0) > 1e-3
    inside = known & (x > -0.5) & (x < layer.item.shape[1] - 0.5)
    inside &= (y + piece.first > -0.5) & (y + piece.first < layer.item.shape[0] - 0.5)
    scale = layer.factor * _areas(mesh, start, shape)
    good = inside & ~touched & (seen > 0.999) & np.isfinite(value)
    quiet *= scale**2
    variance = quiet
    if piece.variance.shape[0]:
        variance = map_coordinates(np.where(bad, 0, piece.variance), at, order=1) * scale**2
    out.seen[...] += inside
    _put_flags(piece, at, inside & touched, scale, layer.offset, out)
    for place, values in (
        (out.value, value * scale - layer.offset),
        (out.variance, variance * part),
        (out.quiet, quiet),
    ):
        place[...] = np.where(good, values, np.nan)
    return part * float(good.sum()), int(good.sum())


def _put_flags(piece, at, where, scale, offset, out):
    """Flags about pixels that are not to be used, and their nearest value."""
    rows, columns = (np.rint(item[where]).astype(int) for item in at)
    rows, columns = rows.clip(0, piece.data.shape[0] - 1), columns.clip(0, piece.data.shape[1] - 1)
    bits = np.zeros(rows.size, np.uint16)
    for dy in (-1, 0, 1, 2):
        for dx in (-1, 0, 1, 2):
            r, c = (rows + dy).clip(0, piece.data.shape[0] - 1), (columns + dx).clip(0, piece.data.shape[1] - 1)
            bits |= np.where(np.isfinite(piece.good[r, c]), np.uint16(0), piece.flags[r, c])
    out.flags[where] |= bits
    values = piece.data[rows, columns]
    finite = np.isfinite(values)
    out.spare[where] += np.where(finite, values * scale[where] - offset, 0)
    out.spares[where] += finite


def _areas(mesh, start, shape):
    """Pixels of the frame for one of the output."""
    steps = [np.gradient(nodes, mesh.step, axis=axis) for nodes in (mesh.x, mesh.y) for axis in (0, 1)]
    return _spread(np.abs(steps[1] * steps[2] - steps[0] * steps[3]), mesh.step, start, shape)


def _spread(nodes, step, start, shape):
    """Values of nodes at the pixels of some rows."""
    from scipy.ndimage import map_coordinates

    rows, columns = np.mgrid[start : start + shape[0], : shape[1]]
    return map_coordinates(np.asarray(nodes, float), [rows / step, columns / step], order=1, mode="nearest")


def _part_left(name, grid, wcs, shape):
    """Part of the variance of white noise that the interpolation leaves, measured in the middle of the frame."""
    with quiet_libraries():
        middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
        x, y = grid.wcs.wcs_world2pix(wcs.all_pix2world(middle, 0), 0)[0]
    side = min(_PATCH, *shape)
    target = grid.wcs.deepcopy()
    target.wcs.crpix = np.asarray(target.wcs.crpix) - np.round([x - side / 2, y - side / 2])
    with quiet_libraries():
        target.wcs.set()
    noise = np.random.default_rng(1).normal(size=shape)
    value, _ = _reproject(name, noise, wcs, target, (side, side))
    return float(np.nanvar(value))
