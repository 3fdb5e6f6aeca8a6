"""The seeing: width of the stars of a frame, by fits of a Gaussian to the cores of many of them at once."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Seeing", "measure_seeing", "pixel_scale"]

#: Stars are at least so many pixels from each other and from the edge.
_APART = 12
#: Peaks are so many standard deviations of a pixel above the background.
_ABOVE = 10.0
#: Candidates that are looked at, and pixels in all their cutouts.
_MOST, _MOST_PIXELS = 60, 30_000
#: Half the side of the cutouts from which the first guess comes.
_WIDE = 20
#: Fits need fewer rounds than this, or do not end.
_ROUNDS = 12
#: The four neighbors of a star's brightest pixel have more than this part of its light: 0.2 and more where the FWHM is
#: 1.4 pixels.
_SPREAD = 0.12
_FWHM = 2 * math.sqrt(2 * math.log(2))
#: Cards that tell how many arcseconds a pixel has.
_SCALE_CARDS = ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "SCALE")


@dataclass(frozen=True)
class Seeing:
    """
    Width of the stars of a frame.

    Attributes
    ----------
    fwhm : float
        Median full width at half maximum in pixels, that of the pixels included.
    error : float
        Of the median, from the scatter of the stars.
    stars : int
        How many.
    """

    fwhm: float
    error: float
    stars: int


def measure_seeing(data, flags, overview, level, scatter):
    """
    Measure the width of a frame's stars.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    flags : `~numpy.ndarray`
        uint16, same shape: stars with a flagged pixel in their core are left out.
    overview : ccdnight.overview.Overview
        Of the frame.
    level, scatter : float
        Of the background.

    Returns
    -------
    Seeing or None
        None where fewer than 3 stars can be measured.

    Notes
    -----
    Equivalent to `photutils.psf.fit_fwhm` star by star for Gaussian stars. That takes 10 to 25 ms a star and half a
    second to be imported, this 5 to 10 ms for 60 stars; and since only the core decides, the width of a Moffat function
    comes out within 2.5 % as well (beta = 2.5 and more), where a Gaussian fitted to all of it is up to 6 % too wide.
    """
    if not (np.isfinite(level) and scatter > 0):
        return None
    places = _candidates(data, flags, overview, level, scatter)
    if len(places) < 3:
        return None
    guess = _first_width(data, places, level)
    half = int(min(max(math.ceil(1.5 * guess), 4), 2 * _WIDE))
    places = _inside(places, data.shape, half)[: max(3, _MOST_PIXELS // (2 * half + 1) ** 2)]
    if len(places) < 3:
        return None
    cutouts, good = _cut(data, places, half), _cut(flags, places, half) == 0
    core = slice(half - 1, half + 2)
    whole = good[:, core, core].all(axis=(1, 2))
    if whole.sum() < 3:
        return None
    return _summary(_fit(cutouts[whole], good[whole], guess), scatter)


def _candidates(data, flags, overview, level, scatter):
    """Pixels that are the brightest good ones in their neighborhood, the brightest first: rows and columns."""
    side = max(1, math.ceil(_APART / overview.step))
    down, across = (length // side for length in overview.peak.shape)
    if down < 3 or across < 3:
        return np.empty((0, 2), int)
    cells = overview.peak[: down * side, : across * side].reshape(down, side, across, side).max(axis=(1, 3))
    padded = np.pad(cells, 1, constant_values=-np.inf)
    around = np.max([padded[i : i + down, j : j + across] for i in range(3) for j in range(3)], axis=0)
    rows, columns = np.nonzero((cells == around) & (cells > level + _ABOVE * scatter))
    brightest = np.argsort(-cells[rows, columns], kind="stable")[: 5 * _MOST]
    size, found = side * overview.step, []
    for row, column in zip(rows[brightest] * size, columns[brightest] * size, strict=True):
        part = (slice(row, row + size), slice(column, column + size))
        values = np.where((flags[part] == 0) & np.isfinite(data[part]), data[part], -np.inf)
        y, x = np.unravel_index(values.argmax(), values.shape)
        found.append((row + y, column + x))
    places = _inside(np.array(found, int).reshape(-1, 2), data.shape, _APART)
    return places[_are_spread(data, places, level)][:_MOST]


def _are_spread(data, places, level):
    """Whether the light of points reaches their neighbors, as that of a hot pixel does not."""
    y, x = places.T
    beside = np.stack([data[y - 1, x], data[y + 1, x], data[y, x - 1], data[y, x + 1]])
    return beside.mean(axis=0) - level > _SPREAD * (data[y, x] - level)


def _inside(places, shape, half):
    kept = ((places >= half) & (places < np.array(shape) - half)).all(axis=1)
    return places[kept]


def _cut(array, places, half):
    offsets = np.arange(-half, half + 1)
    return array[places[:, 0, None, None] + offsets[:, None], places[:, 1, None, None] + offsets]


def _first_width(data, places, level):
    """Width of a circle of as many pixels as lie above half of the peak, typical of the stars."""
    near = _inside(places, data.shape, _WIDE)
    near, half = (near, _WIDE) if len(near) >= 3 else (places, _APART)
    stars = _cut(data, near[:30], half).astype(np.float64)
    stars[~np.isfinite(stars)] = level
    ring = np.concatenate([stars[:, 0], stars[:, -1], stars[:, :, 0], stars[:, :, -1]], axis=1)
    background = np.median(ring, axis=1)
    peak = stars[:, half, half] - background
    area = (stars - background[:, None, None] > peak[:, None, None] / 2).sum(axis=(1, 2))
    return float(np.median(2 * np.sqrt(area / math.pi)))


def _fit(cutouts, good, guess):
    """
    Gaussians of height, place, width and background, fitted to the cores of all stars at once.

    Parameters
    ----------
    cutouts, good : `~numpy.ndarray`
        Shape ``(n, k, k)``: pixels, and which of them count.
    guess : float
        First guess of the full width at half maximum.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(n, 6)``: height, x and y from the middle, sigma, background, and the rms of what is left.
    """
    n, side = len(cutouts), cutouts.shape[-1]
    y, x = (axis.ravel() - side // 2 for axis in np.mgrid[:side, :side].astype(np.float64))
    values = np.where(good, cutouts, 0).reshape(n, -1).astype(np.float64)
    good = (good & np.isfinite(cutouts)).reshape(n, -1)
    values[~good] = 0
    background = np.median(values, axis=1)
    fit = np.stack([values[:, y.size // 2] - background, np.zeros(n), np.zeros(n), np.full(n, guess / _FWHM)], axis=1)
    fit = np.concatenate([fit, background[:, None]], axis=1)
    damping = np.full(n, 1e-3)
    # The wings of stars are no Gaussian's: what decides is the core.
    weight = good * np.exp(-0.5 * (x**2 + y**2) / (0.5 * max(guess, 1.5)) ** 2)
    cost, model = _cost(fit, x, y, values, weight)
    for _ in range(_ROUNDS):
        step = _step(fit, x, y, model, weight * (values - model), weight, damping)
        trial = fit + step
        trial[:, 3] = np.clip(np.abs(trial[:, 3]), 0.2, side)
        new, new_model = _cost(trial, x, y, values, weight)
        better = new < cost
        fit, model = np.where(better[:, None], trial, fit), np.where(better[:, None], new_model, model)
        done = np.abs(cost - new) < 1e-7 * cost
        cost, damping = np.where(better, new, cost), np.where(better, damping / 5, damping * 5)
        if done.all():
            break
    rms = np.sqrt(cost / np.maximum(weight.sum(axis=1), 1e-9))
    return np.concatenate([fit, rms[:, None]], axis=1)


def _cost(fit, x, y, values, weight):
    height, x0, y0, sigma, background = fit.T[:, :, None]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        model = height * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) + background
        cost = (weight * (values - model) ** 2).sum(axis=1)
    return np.where(np.isfinite(cost), cost, np.inf), model


def _step(fit, x, y, model, residual, weight, damping):
    """One step of Levenberg and Marquardt for every star."""
    height, x0, y0, sigma, background = fit.T[:, :, None]
    height = np.where(np.abs(height) > 1e-12, height, 1e-12)
    shape, dx, dy = (model - background) / height, x - x0, y - y0
    slope = height * shape / sigma**2
    columns = [shape, slope * dx, slope * dy, slope * (dx**2 + dy**2) / sigma, np.ones_like(shape)]
    jacobian = np.stack(columns, axis=2)
    # Products of small matrices: large ones would be added up in an order that depends on the number of threads.
    turned = jacobian.swapaxes(1, 2)
    normal, gradient = (turned * weight[:, None]) @ jacobian, turned @ residual[:, :, None]
    diagonal = np.einsum("nii->ni", normal)
    diagonal += damping[:, None] * diagonal + 1e-12
    return np.linalg.solve(normal, gradient)[:, :, 0]


def _summary(fits, scatter):
    """Median width of the fits that are stars: high enough, in their place, with little left, and alike."""
    height, x, y, sigma, _, rms = fits.T
    width = _FWHM * sigma
    stars = (height > _ABOVE / 2 * scatter) & (np.hypot(x, y) < 1 + 0.5 * width) & (rms < 0.15 * height) & (width > 1.1)
    width = width[stars]
    for _ in range(5):
        if len(width) < 3:
            return None
        middle = np.median(width)
        spread = 1.4826 * np.median(np.abs(width - middle))
        kept = np.abs(width - middle) <= 3 * max(spread, 0.02 * middle)
        if kept.all():
            break
        width = width[kept]
    error = 1.2533 * np.std(width, ddof=1) / math.sqrt(len(width))
    return Seeing(float(np.median(width)), float(error), len(width))


def pixel_scale(meta, wcs=None, given=None):
    """
    Arcseconds that a pixel has on the sky.

    Parameters
    ----------
    meta : mapping
        Header.
    wcs : `~astropy.wcs.WCS`, optional
        World coordinates.
    given : float, optional
        What the instrument's profile says.

    Returns
    -------
    float or None
        From the world coordinates, a card, the profile, or focal length and size of a pixel, in this order; None
        where nothing between 0.005 and 60 arcsec is known.
    """
    found = [_scale_of(wcs), *(meta.get(key) for key in _SCALE_CARDS), given]
    focal, size = meta.get("FOCALLEN"), meta.get("XPIXSZ")
    if isinstance(focal, int | float) and isinstance(size, int | float) and focal > 0:
        # Millimeters and micrometers, the size after binning.
        found.append(206.265 * size / focal)
    for value in found:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.005 < value < 60:
            return float(value)
    return None


def _scale_of(wcs):
    if wcs is None or not getattr(wcs, "has_celestial", False):
        return None
    from astropy.wcs.utils import proj_plane_pixel_area

    try:
        return math.sqrt(proj_plane_pixel_area(wcs.celestial)) * 3600
    except (ValueError, TypeError):
        return None
