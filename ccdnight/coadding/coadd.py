"""Aligned frames combined into one image."""

from dataclasses import dataclass

import numpy as np

from ccdnight._inputs import positive
from ccdnight._kernels.resample import Mesh
from ccdnight.alignment.opening import threads_for
from ccdnight.alignment.stars import detect_stars
from ccdnight.coadding.describing import describe_coadd
from ccdnight.coadding.grid import make_grid, nodes_of
from ccdnight.coadding.inputs import factors_of, facts_of, gather_frames, refuse_mixtures, tolerance_of
from ccdnight.coadding.interpolation import KERNELS, REPROJECT
from ccdnight.coadding.levels import match_levels, mesh_at, sky_of_frame
from ccdnight.coadding.shared import add_shared_variance
from ccdnight.coadding.strips import Layer, Recipe, coadd_strips
from ccdnight.exceptions import InputError
from ccdnight.execution import map_list
from ccdnight.flags import FLAGS, flag_value
from ccdnight.products import make_ccd

__all__ = ["coadd"]

_CHOICES = {
    "method": ("average", "median"),
    "reject": ("noise", "none"),
    "weights": ("sky", "none"),
    "background": ("match", "subtract", "none"),
    "resample": (*KERNELS, *REPROJECT),
}
#: A flag that says how a pixel came about, and not that it is wrong.
_HARMLESS = ("LOW_WEIGHT",)
#: Side of the part of a coadd in which the width of its stars is measured.
_MEASURED = 1536


def coadd(
    frames,
    *,
    method="average",
    align="auto",
    reference=None,
    grid="optimal",
    resample="lanczos3",
    background="match",
    scale="exposure",
    weights="sky",
    reject="noise",
    sigma=4.0,
    tolerance=None,
    exclude=None,
    mem_limit=None,
    workers=None,
):
    """
    Coadd frames of one field and filter.

    The frames are aligned by their stars, interpolated onto a common grid, brought to a common background, and
    combined; the light of a star is kept. Memory is bounded by strips of the grid, whatever the number of frames that
    are given as paths.

    Parameters
    ----------
    frames : list of `~astropy.nddata.CCDData` or of path-like, or `~ccdnight.alignment.Alignment`
        At least two, calibrated. Pixels with flags are left out with all that interpolation would spread them to.
    method : {'average', 'median'}, optional
        How values are combined.
    align : {'auto', 'stars', 'wcs'}, optional
        'stars' aligns the frames, 'wcs' takes their world coordinates as they are; 'auto' does that where
        `ccdnight.align` has been there before.
    reference : int, `~astropy.nddata.CCDData` or path-like, optional
        As for `ccdnight.align`.
    grid : {'optimal', 'reference', 'first'}, `~astropy.wcs.WCS` or `~astropy.io.fits.Header`, optional
        'optimal' has north up and holds all frames (`reproject.mosaicking.find_optimal_celestial_wcs`); 'reference' is
        the first frame's grid continued over all frames, 'first' that frame's alone; or what is given, with its shape.
    resample : str, optional
        'lanczos3', 'bicubic', 'bilinear' and 'nearest-neighbor' are compiled here; 'interp' (bicubic), 'adaptive' and
        'exact' are those of `reproject`, the last two of them for pixels that change their size.
    background : {'match', 'subtract', 'none'}, optional
        'match' brings the frames to their common sky by constants, measured where they look at the same sky, so that
        nebulae stay; 'subtract' takes that common level off as well.
    scale : {'exposure', 'stars', 'none'} or sequence of float, optional
        'exposure' scales to the median exposure, which card EXPTIME then says; 'stars' to equal light of the stars,
        where clouds came through; or the factors.
    weights : {'sky', 'none'}, optional
        'sky' weights by the inverse of the smoothed variance of each frame's sky. That of a pixel itself would weight
        down those which are high by chance, and make stars fainter.
    reject : {'noise', 'none'}, optional
        'noise' leaves out values further from the median than `sigma` times the noise of their frame.
    sigma : float, optional
        Threshold; pixels beside those are left out from half of it on. Twice of it counts below the median.
    tolerance : float, optional
        Part of the signal above the sky that is added to the noise: what a change of the seeing does to a star. By
        default as much as the measured widths and brightnesses of the frames ask for, 0.08 to 0.6; 0.3 where they are
        not known.
    exclude : iterable of str, optional
        Flags of pixels that are left out; by default all but LOW_WEIGHT.
    mem_limit : float, optional
        Bytes for the strips that are worked at; by default 6e8. The images of the result come on top.
    workers : int, optional
        Threads.

    Returns
    -------
    `~astropy.nddata.CCDData`
        float32, with error, flags (and a mask where they are not 0), `coverage` (frames that made each pixel) and
        `exposure_map` (their seconds), which `ccdnight.write_ccd` writes as extensions COVERAGE and EXPOSURE. Where no
        frame has a value that may be used, the values stand under the flags of the frames. The header tells
        NCOMBINE, EXPTIME, TEXPTIME (effective), GAIN (effective), NOISCORR (the noise of large apertures over that of
        their pixels, since interpolation correlates neighbors) and how the frames lie. `alignment` is the alignment.

    Raises
    ------
    InputError
        If there is one frame only, filters or units are mixed, no frame can be aligned, or an option is not allowed.

    Examples
    --------
    Twelve stars, three columns further to the right in the second frame:

    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import coadd
    >>> rng = np.random.default_rng(1)
    >>> x, y, row, column = *rng.uniform(10, 118, (2, 12)), *np.mgrid[:128, :128]
    >>> def field(dx):
    ...     light = [3000 * np.exp(-((column - i - dx) ** 2 + (row - j) ** 2) / 8) for i, j in zip(x, y)]
    ...     return CCDData(rng.normal(200, 10, (128, 128)) + sum(light), unit="electron", meta={"EXPTIME": 30.0})
    >>> coadd([field(0), field(3)], reference=0).shape
    (128, 131)
    """
    given = {"method": method, "reject": reject, "weights": weights, "background": background, "resample": resample}
    _check_choices(given)
    sigma = positive(sigma, "1", "sigma")
    tolerance = None if tolerance is None else positive(tolerance, "1", "tolerance", zero=True)
    found = gather_frames(frames, align, workers, reference)
    refuse_mixtures(found.opened)
    facts = [facts_of(item) for item in found.opened]
    used = [item for item in found.transforms if item.aligned]
    factors, exposure = factors_of(facts, used, scale)
    tolerance = tolerance_of(used, factors) if tolerance is None else tolerance
    place = make_grid(grid, found.coordinates, [item.shape for item in found.opened])
    recipe = Recipe(
        resample, method, reject == "noise", sigma, 2 * sigma, 0.5 * sigma, tolerance, _excluded(exclude),
        weights == "sky" and method == "average",
    )  # fmt: skip
    layers, common = _layers(found, facts, factors, place, recipe, background, workers)
    interpolate = None
    if resample in REPROJECT:
        from ccdnight.coadding.reprojection import reprojection

        interpolate = reprojection(resample, place, found.coordinates, layers, recipe)
    maps = coadd_strips(layers, recipe, place, mem_limit=mem_limit, workers=workers, interpolate=interpolate)
    add_shared_variance(maps, layers, facts, recipe)
    if background != "subtract":
        maps.data[...] += np.float32(common)
    options = given | {"sigma": sigma, "tolerance": tolerance}
    options["grid"] = grid if isinstance(grid, str) else "given"
    result = make_ccd(
        maps.data, unit=found.opened[0].unit, meta=found.opened[0].header, sigma=maps.error, flags=maps.flags
    )
    parts = Parts(found, facts, factors, layers, place, maps, exposure, common, detect_stars(_middle_of(result)).fwhm)
    return describe_coadd(result, parts, options)


def _middle_of(result):
    """As much of a coadd as it takes to measure the width of its stars."""
    ny, nx = result.data.shape
    rows, columns = min(ny, _MEASURED), min(nx, _MEASURED)
    part = slice((ny - rows) // 2, (ny + rows) // 2), slice((nx - columns) // 2, (nx + columns) // 2)
    return make_ccd(result.data[part], unit=result.unit, flags=result.flags[part])


@dataclass(frozen=True)
class Parts:
    """What went into a coadd, for its header."""

    alignment: object
    facts: list
    factors: np.ndarray
    layers: list
    grid: object
    maps: object
    exposure: float | None
    common: float
    fwhm: float


def _check_choices(given):
    for name, value in given.items():
        if value not in _CHOICES[name]:
            msg = f"{name} = {value!r} is not known; known are {', '.join(_CHOICES[name])}"
            raise InputError(msg)


def _excluded(names):
    if names is None:
        names = [name for name in FLAGS if name not in _HARMLESS]
    return flag_value(*names) if not isinstance(names, str) else flag_value(names)


def _layers(found, facts, factors, grid, recipe, background, workers):
    """Every frame with its place, its sky and its level; and the level of the sky that they have in common."""
    skies = map_list(
        lambda item: sky_of_frame(item, recipe.exclude), found.opened, workers=threads_for(found.opened, workers)
    )
    layers, columns = [], _places(grid)
    levels = np.full((len(skies), columns[0].size), np.nan)
    for number, (item, wcs, sky) in enumerate(zip(found.opened, found.coordinates, skies, strict=True)):
        x, y, step = nodes_of(grid, wcs, item.shape)
        _refuse_outside(item, x, y)
        area = _area(x, y, step)
        quiet = mesh_at(sky.variance, x, y)
        photon = factors[number] * area / facts[number].gain if facts[number].gain else 0.0
        mesh = Mesh(x, y, quiet, step)
        layers.append(Layer(item, mesh, float(factors[number]), 0.0, float(photon), facts[number].exposure or 0.0))
        at = _between(mesh, *columns)
        inside = (at[0] >= 0) & (at[1] >= 0) & (at[0] <= item.shape[1] - 1) & (at[1] <= item.shape[0] - 1)
        levels[number, inside] = factors[number] * area * mesh_at(sky.level, *at)[inside]
    offsets = match_levels(levels)
    common = float(np.mean(offsets))
    for layer, offset in zip(layers, offsets, strict=True):
        # Outliers are told above the sky: the level is taken off, and the common one given back at the end.
        layer.offset = common if background == "none" else float(offset)
    return layers, common


def _refuse_outside(item, x, y):
    """A frame of which the grid shows nothing."""
    known = np.isfinite(x) & np.isfinite(y)
    ny, nx = item.shape
    beyond = not known.any() or max(x[known].min() - nx, y[known].min() - ny, -x[known].max(), -y[known].max()) > 0
    if beyond:
        msg = f"{item.name}: does not lie on the grid of the coadd"
        raise InputError(msg)


def _places(grid):
    """Pixels of the grid where levels are compared: at least a few in every direction."""
    rows, columns = (np.linspace(0, length - 1, max(5, length // 48)) for length in grid.shape)
    x, y = np.meshgrid(columns, rows)
    return x.ravel(), y.ravel()


def _between(mesh, x, y):
    """Positions in the frame of pixels of the grid."""
    from scipy.ndimage import map_coordinates

    return [
        map_coordinates(nodes, [y / mesh.step, x / mesh.step], order=1, mode="nearest") for nodes in (mesh.x, mesh.y)
    ]


def _area(x, y, step):
    """Pixels of the frame for one of the grid, in the middle."""
    gradients = [np.gradient(nodes, axis=axis) for nodes in (x, y) for axis in (0, 1)]
    areas = np.abs(gradients[1] * gradients[2] - gradients[0] * gradients[3]) / step**2
    return float(np.nanmedian(areas))
