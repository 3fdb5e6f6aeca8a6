"""The common grid of a coadd, and where its pixels lie in each frame."""

from dataclasses import dataclass

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import InputError

__all__ = ["Grid", "make_grid", "nodes_of"]

GRIDS = ("optimal", "reference", "first")
#: Pixels of the grid for one pixel of the frames, from which on the frames are taken to lie apart.
_SPARSE = 40.0
#: Output pixels between nodes at first, and at the least; pixels by which positions between nodes may be wrong.
_STEPS, _EXACT = (32, 4), 1e-3


@dataclass(frozen=True)
class Grid:
    """
    The grid of a coadd.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    shape : tuple of int
        Shape ``(ny, nx)``.
    """

    wcs: WCS
    shape: tuple


def make_grid(grid, coordinates, shapes):
    """
    The grid that was asked for.

    Parameters
    ----------
    grid : {'optimal', 'reference', 'first'}, `~astropy.wcs.WCS` or `~astropy.io.fits.Header`
        North up over all frames; the pixels of the first frame continued over all frames; the first frame itself; or
        what is given, which needs a shape.
    coordinates : list of `~astropy.wcs.WCS`
        Of the frames.
    shapes : list of tuple of int
        Of the frames.

    Returns
    -------
    Grid

    Raises
    ------
    InputError
        If the grid is not known or has no shape, or the frames lie so far apart that most of it would be empty.
    """
    if isinstance(grid, str):
        if grid not in GRIDS:
            msg = f"grid = {grid!r} is not known; known are {', '.join(GRIDS)}, a WCS and a header"
            raise InputError(msg)
        if grid == "first":
            return Grid(_plain(coordinates[0]), tuple(shapes[0]))
        made = _optimal(coordinates, shapes) if grid == "optimal" else _continued(coordinates, shapes)
        return _checked(made, shapes)
    return _given(grid)


def _given(grid):
    if isinstance(grid, Header):
        shape = grid.get("NAXIS2"), grid.get("NAXIS1")
        with quiet_libraries():
            grid = WCS(grid, relax=True, naxis=2)
    elif isinstance(grid, WCS):
        shape = grid.array_shape or (None, None)
    else:
        msg = f"grid is a {type(grid).__name__}; allowed are {', '.join(GRIDS)}, a WCS and a header"
        raise InputError(msg)
    if not grid.has_celestial or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        msg = (
            f"grid: celestial axes and a shape are needed; it has the shape {shape} (array_shape, or NAXIS1 and NAXIS2)"
        )
        raise InputError(msg)
    return Grid(grid.celestial, tuple(int(n) for n in shape))


def _plain(wcs):
    """Without a distortion: a coadd has none."""
    new = WCS(naxis=2)
    for name in ("ctype", "crval", "crpix", "cunit"):
        setattr(new.wcs, name, getattr(wcs.wcs, name))
    new.wcs.ctype = [text.replace("-SIP", "").replace("TPV", "TAN") for text in wcs.wcs.ctype]
    new.wcs.cd, new.wcs.radesys, new.wcs.lonpole = wcs.pixel_scale_matrix, wcs.wcs.radesys, wcs.wcs.lonpole
    if wcs.wcs.radesys != "ICRS":
        new.wcs.equinox = wcs.wcs.equinox
    with quiet_libraries():
        new.wcs.set()
    return new


def _optimal(coordinates, shapes):
    from reproject.mosaicking import find_optimal_celestial_wcs

    with quiet_libraries():
        wcs, shape = find_optimal_celestial_wcs(list(zip(shapes, coordinates, strict=True)))
    return Grid(wcs, tuple(int(n) for n in shape))


def _continued(coordinates, shapes):
    """The pixels of the first frame, over the union of the footprints."""
    wcs = _plain(coordinates[0])
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for other, (ny, nx) in zip(coordinates, shapes, strict=True):
        edge = np.array([(x, y) for x in np.linspace(-0.5, nx - 0.5, 9) for y in np.linspace(-0.5, ny - 0.5, 9)])
        with quiet_libraries():
            at = wcs.wcs_world2pix(other.all_pix2world(edge, 0), 0)
        low, high = np.minimum(low, np.nanmin(at, axis=0)), np.maximum(high, np.nanmax(at, axis=0))
    first, last = np.floor(low + 0.5), np.ceil(high - 0.5)
    wcs.wcs.crpix = np.asarray(wcs.wcs.crpix) - first
    with quiet_libraries():
        wcs.wcs.set()
    nx, ny = (last - first + 1).clip(1).astype(int)
    return Grid(wcs, (int(ny), int(nx)))


def _checked(grid, shapes):
    frames = sum(float(ny) * nx for ny, nx in shapes)
    if np.prod(np.asarray(grid.shape, float)) > _SPARSE * frames:
        ny, nx = grid.shape
        msg = f"the frames lie so far apart that the coadd would have {nx} x {ny} pixels, most of them empty; coadd "
        msg += "frames of one field, or give the grid"
        raise InputError(msg)
    return grid


def nodes_of(grid, wcs, shape):
    """
    Where pixels of the grid lie in a frame, at the nodes of a mesh.

    Parameters
    ----------
    grid : Grid
        The grid.
    wcs : `~astropy.wcs.WCS`
        Of the frame.
    shape : tuple of int
        Of the frame.

    Returns
    -------
    x, y : `~numpy.ndarray`
        0-based pixels of the frame every `step` pixels of the grid; NaN where there are none.
    step : int
        So that positions between the nodes are right to a thousandth of a pixel.
    """
    step = _STEPS[0]
    while True:
        x, y = _at(grid, wcs, *_places(grid.shape, step))
        middle = [item[: len(side) - 1] + step / 2 for item, side in ((p, p) for p in _places(grid.shape, step))]
        exact = _at(grid, wcs, *middle)
        error = [np.abs(_middle(a) - b) for a, b in ((x, exact[0]), (y, exact[1]))]
        inside = (exact[0] > -1) & (exact[0] < shape[1]) & (exact[1] > -1) & (exact[1] < shape[0])
        worst = max((float(np.max(item[inside], initial=0.0)) for item in error), default=0.0)
        if worst < _EXACT or step <= _STEPS[1]:
            return x, y, step
        step //= 2


def _places(shape, step):
    """Rows and columns of the nodes: one beyond the last pixel."""
    return tuple(np.arange(-(-length // step) + 1) * float(step) for length in shape)


def _at(grid, wcs, rows, columns):
    x, y = (item.ravel() for item in np.meshgrid(columns, rows))
    with quiet_libraries():
        world = grid.wcs.wcs_pix2world(np.column_stack([x, y]), 0)
        out = np.full((x.size, 2), np.nan)
        good = np.isfinite(world).all(1)
        try:
            out[good] = wcs.all_world2pix(world[good], 0, quiet=True)
        except (ValueError, RuntimeError):
            out[good] = wcs.wcs_world2pix(world[good], 0)
    return out[:, 0].reshape(rows.size, columns.size), out[:, 1].reshape(rows.size, columns.size)


def _middle(nodes):
    return 0.25 * (nodes[:-1, :-1] + nodes[:-1, 1:] + nodes[1:, :-1] + nodes[1:, 1:])
