"""Bad pixels: hot, dead, trapping, noisy and unexposed ones, bad columns and patches."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["KINDS", "apply_traps", "make_defects"]

#: Kinds of bad pixels in the truth.
KINDS = ("hot", "dead", "trap", "noisy", "column", "patch", "unexposed")


def make_defects(camera, physics, seed):
    """
    Table of the detector's bad pixels.

    Parameters
    ----------
    camera : Camera
        Gives fractions, ranges and places.
    physics : Physics
        Terms.
    seed : int
        Seed of the night.

    Returns
    -------
    `~astropy.table.Table`
        Columns x, y (0-based, data frame), kind, sensitivity (factor), rate (electron/s beyond the dark
        rate), capacity (electron that a trap holds back), noise (factor on the read noise). One row a
        pixel; a pixel with two defects has the first one of `KINDS`, unexposed before all others.
    """
    parts = []
    if physics.unexposed:
        parts += [_unexposed(box, camera.data_shape) for box in camera.unexposed]
    if physics.hot_pixels:
        rng, low, high = generator(seed, "hot pixels"), *np.log(camera.hot_rates)
        x, y = _places(rng, camera, camera.hot_fraction)
        parts.append(_rows(x, y, "hot", rate=np.exp(rng.uniform(low, high, x.size))))
    if physics.dead_pixels:
        rng = generator(seed, "dead pixels")
        x, y = _places(rng, camera, camera.dead_fraction)
        parts.append(_rows(x, y, "dead", sensitivity=rng.uniform(0.0, 0.6, x.size)))
    if physics.traps:
        rng = generator(seed, "traps")
        x, y = _places(rng, camera, camera.trap_fraction)
        parts.append(_rows(x, y, "trap", capacity=rng.uniform(*camera.trap_capacity, x.size)))
    if physics.noisy_pixels:
        rng = generator(seed, "noisy pixels")
        x, y = _places(rng, camera, camera.noisy_fraction)
        parts.append(_rows(x, y, "noisy", noise=rng.uniform(*camera.noisy_factor, x.size)))
    if physics.bad_columns:
        parts += [_column(item, camera.data_shape, seed) for item in camera.bad_columns]
        parts.append(_patch(camera, seed))
    return _table(parts, camera.data_shape)


def apply_traps(charge, defects):
    """
    Charge that traps hold back: each takes up to its capacity from the charge of its pixel.

    The static limit of a deep trap (Janesick 2001, chapter 5); what it releases later is spread over so many
    pixels that it is left out.

    Parameters
    ----------
    charge : numpy.ndarray
        Electron, data frame; changed in place.
    defects : `~astropy.table.Table`
        Bad pixels.
    """
    traps = defects[defects["capacity"] > 0]
    at = traps["y"], traps["x"]
    charge[at] = np.maximum(charge[at] - traps["capacity"].astype(charge.dtype), 0)


def _places(rng, camera, fraction):
    ny, nx = camera.data_shape
    places = np.unique(rng.integers(0, ny * nx, round(fraction * ny * nx)))
    rng.shuffle(places)
    return places % nx, places // nx


def _rows(x, y, kind, *, sensitivity=1.0, rate=0.0, capacity=0.0, noise=1.0):
    size = np.size(x)
    values = (sensitivity, rate, capacity, noise)
    return x, y, np.full(size, kind), *(np.broadcast_to(np.float64(item), size) for item in values)


def _unexposed(box, shape):
    ny, nx = shape
    x1, x2, y1, y2 = box
    columns = slice(x1 % nx, x2 % nx or nx)
    rows = slice(y1 % ny, y2 % ny or ny)
    y, x = np.mgrid[rows, columns]
    return _rows(x.ravel(), y.ravel(), "unexposed", sensitivity=0.0)


def _column(item, shape, seed):
    x, y1, y2, sensitivity, rate = item
    y = np.arange(y1, y2 or shape[0])
    values = sensitivity * generator(seed, "bad column", str(x)).uniform(0.85, 1.15, y.size)
    return _rows(np.full(y.size, x % shape[1]), y, "column", sensitivity=values, rate=rate)


def _patch(camera, seed):
    x0, y0, radius, sensitivity = camera.bad_patch
    ny, nx = camera.data_shape
    y, x = np.mgrid[max(y0 - radius, 0) : min(y0 + radius, ny), max(x0 - radius, 0) : min(x0 + radius, nx)]
    inside = np.hypot(x - x0, y - y0) < radius
    values = sensitivity * generator(seed, "bad patch").uniform(0.8, 1.2, np.count_nonzero(inside))
    return _rows(x[inside], y[inside], "patch", sensitivity=values)


def _table(parts, shape):
    from astropy.table import Table

    names = ("x", "y", "kind", "sensitivity", "rate", "capacity", "noise")
    kinds = (int, int, "U9", float, float, float, float)
    columns = [
        np.concatenate([np.empty(0, kind), *(part[i] for part in parts)]).astype(kind) for i, kind in enumerate(kinds)
    ]
    _, first = np.unique(columns[1] * shape[1] + columns[0], return_index=True)
    table = Table([column[first] for column in columns], names=names)
    for name, unit in (("rate", "electron/s"), ("capacity", "electron")):
        table[name].unit = unit
    return table
