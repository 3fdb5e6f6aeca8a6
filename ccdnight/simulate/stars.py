"""The star field: a catalog drawn once a night, and stars painted as pixel-integrated Moffat profiles."""

import numpy as np

from ccdnight.simulate.streams import generator
from ccdnight.storage import safe_name

__all__ = ["make_catalog", "moffat_alpha", "moffat_fraction", "paint_stars", "star_positions"]

#: Part of a star's light that may fall outside its stamp, and the brightness in electron where it may end.
_OUTSIDE, _FAINTEST = 1e-4, 0.1


def make_catalog(night, seed):
    """
    Stars of all fields of a night.

    Field stars are spread evenly; a cluster has the projected density of Plummer (1911, MNRAS 71, 460) with
    ``R = a sqrt(u / (1 - u))``. Rates follow a power law, as counts of stars do over a few magnitudes; colors
    scatter by 0.25 magnitudes.

    Parameters
    ----------
    night : Night
        Gives density, cluster, rates and fields.
    seed : int
        Seed of the night.

    Returns
    -------
    `~astropy.table.Table`
        Columns id, field, x, y (0-based, data frame of an exposure without shift), and ``flux_<filter>`` in
        electron/s.
    """
    from astropy.table import Table, vstack

    fields = dict.fromkeys(item.field for item in night.exposures if item.field)
    tables = [_field(night, field, seed) for field in fields]
    if not tables:
        names = ["field", "x", "y", *(f"flux_{safe_name(band)}" for band in night.filters)]
        tables = [Table(names=names, dtype=["U1"] + [float] * (len(names) - 1))]
    out = vstack(tables, metadata_conflicts="silent")
    out.add_column(np.arange(1, len(out) + 1), index=0, name="id")
    return out


def _field(night, field, seed):
    from astropy.table import Table

    ny, nx = night.camera.data_shape
    margin = night.margin
    rng = generator(seed, "stars", field)
    number = rng.poisson(night.star_density * (nx + 2 * margin) * (ny + 2 * margin) / 1e6)
    x = rng.uniform(-margin - 0.5, nx + margin - 0.5, number)
    y = rng.uniform(-margin - 0.5, ny + margin - 0.5, number)
    members, radius = night.cluster
    if members:
        part = rng.uniform(0, 0.95, members)
        distance, angle = radius * np.sqrt(part / (1 - part)), rng.uniform(0, 2 * np.pi, members)
        x = np.concatenate([x, 0.5 * nx + distance * np.cos(angle)])
        y = np.concatenate([y, 0.62 * ny + distance * np.sin(angle)])
    low, high, slope = night.star_rates
    ends = np.array([high, low]) ** -slope
    rates = rng.uniform(*ends, x.size) ** (-1 / slope)
    table = Table({"field": np.full(x.size, field), "x": x, "y": y})
    table["x"].unit = table["y"].unit = "pix"
    for band, color in zip(night.filters, night.colors or (1.0,) * len(night.filters), strict=True):
        own = color * 10 ** (0.4 * rng.normal(0, 0.25, x.size)) if band != night.filters[0] else color
        table[f"flux_{safe_name(band)}"] = rates * own
        table[f"flux_{safe_name(band)}"].unit = "electron/s"
    return table


def star_positions(night, exposure, catalog):
    """
    Where the stars of the exposure's field are in its data frame.

    Parameters
    ----------
    night, exposure, catalog
        The night, the exposure, all stars.

    Returns
    -------
    selected : numpy.ndarray
        Rows of the catalog.
    x, y : numpy.ndarray
        0-based positions; the center of the first pixel is (0, 0).
    """
    ny, nx = night.camera.data_shape
    selected = np.flatnonzero(catalog["field"] == exposure.field) if exposure.field else np.empty(0, int)
    x = np.asarray(catalog["x"][selected], float) - (nx - 1) / 2
    y = np.asarray(catalog["y"][selected], float) - (ny - 1) / 2
    angle = np.deg2rad(exposure.rotation)
    turned_x = np.cos(angle) * x - np.sin(angle) * y
    turned_y = np.sin(angle) * x + np.cos(angle) * y
    return selected, turned_x + (nx - 1) / 2 + exposure.dx, turned_y + (ny - 1) / 2 + exposure.dy


def moffat_alpha(fwhm, beta):
    """
    Scale of a Moffat profile of a given full width at half maximum.

    Parameters
    ----------
    fwhm, beta : float
        Width and exponent.

    Returns
    -------
    float
    """
    return fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))


def moffat_fraction(radius, fwhm, beta):
    """
    Part of a star's light inside a circle, ``1 - (1 + r^2 / alpha^2)^(1 - beta)``.

    Parameters
    ----------
    radius : float
        Radius of the circle, in the unit of `fwhm`.
    fwhm, beta : float
        Width and exponent.

    Returns
    -------
    float

    Examples
    --------
    >>> from ccdnight.simulate import moffat_fraction
    >>> round(float(moffat_fraction(2.0, fwhm=3.0, beta=3.0)), 2)
    0.53
    """
    return 1 - (1 + (radius / moffat_alpha(fwhm, beta)) ** 2) ** (1 - beta)


def paint_stars(image, x, y, flux, *, fwhm, beta):
    """
    Add stars to an image.

    Profile: Moffat (1969, A&A 3, 455), with beta = 4.765 that of atmospheric turbulence (Trujillo et al.
    2001, MNRAS 328, 977), evaluated by `astropy.modeling`. Each pixel is integrated by the Gauss-Legendre
    rule with 2 x 2 nodes, 3 x 3 below a width of 2.5 pixels and 4 x 4 below 1.8, and stamps hold all but 1e-4
    of the light (and reach to 0.1 electron): fluxes in apertures are right to 0.02 %.

    Parameters
    ----------
    image : numpy.ndarray
        Shape ``(ny, nx)``, electron; changed in place.
    x, y : array_like
        Positions, 0-based.
    flux : array_like
        Electron of each star in this exposure.
    fwhm, beta : float
        Seeing in pixels, and exponent.
    """
    alpha = moffat_alpha(fwhm, beta)
    peak = (beta - 1) / (np.pi * alpha**2)
    x, y, flux = (np.asarray(item, float) for item in (x, y, flux))
    half = _stamp_radius(flux, alpha, beta, peak)
    ny, nx = image.shape
    near = (flux > 0) & (x > -half) & (x < nx + half) & (y > -half) & (y < ny + half)
    nodes, weights = np.polynomial.legendre.leggauss(2 if fwhm >= 2.5 else 3 if fwhm >= 1.8 else 4)
    for size in np.unique(half[near]):
        group = np.flatnonzero(near & (half == size))
        for chunk in np.array_split(group, max(1, group.size * (2 * size + 1) ** 2 // 200_000)):
            stamps = _stamps(x[chunk], y[chunk], size, alpha, beta, nodes / 2, weights / 2)
            stamps *= (flux[chunk] * peak)[:, np.newaxis, np.newaxis]
            _add(image, stamps, np.rint(x[chunk]).astype(int), np.rint(y[chunk]).astype(int), size)


def _stamp_radius(flux, alpha, beta, peak):
    most = _OUTSIDE ** (1 / (1 - beta))
    faint = np.maximum(flux * peak / _FAINTEST, 1) ** (1 / beta)
    radius = alpha * np.sqrt(np.maximum(faint, most) - 1)
    return (8 * np.ceil((radius + 1) / 8)).astype(int)


def _stamps(x, y, size, alpha, beta, nodes, weights):
    from astropy.modeling.functional_models import Moffat2D

    steps = np.arange(-size, size + 1.0)
    dx = (steps + np.rint(x)[:, np.newaxis] - x[:, np.newaxis])[:, np.newaxis, :]
    dy = (steps + np.rint(y)[:, np.newaxis] - y[:, np.newaxis])[:, :, np.newaxis]
    out = np.zeros((x.size, steps.size, steps.size))
    for shift_y, weight_y in zip(nodes, weights, strict=True):
        for shift_x, weight_x in zip(nodes, weights, strict=True):
            weight = weight_x * weight_y
            out += weight * Moffat2D.evaluate(dx + shift_x, dy + shift_y, 1.0, 0.0, 0.0, alpha, beta)
    return out


def _add(image, stamps, x, y, size):
    ny, nx = image.shape
    for stamp, column, row in zip(stamps, x, y, strict=True):
        x1, y1 = column - size, row - size
        rows, columns = slice(max(y1, 0), row + size + 1), slice(max(x1, 0), column + size + 1)
        part = stamp[rows.start - y1 : ny - y1, columns.start - x1 : nx - x1]
        if part.size:
            image[rows, columns] += part
