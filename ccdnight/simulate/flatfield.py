"""How differently the pixels answer to even light: fixed pattern, vignetting, dust, bad pixels."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["dust_shadows", "fixed_pattern", "make_flat", "vignetting"]


def make_flat(camera, physics, seed, band, defects):
    """
    Flat field of one filter: relative response with median 1 over the exposed pixels.

    Parameters
    ----------
    camera : Camera
        The detector.
    physics : Physics
        Terms.
    seed : int
        Seed of the night.
    band : str
        The filter.
    defects : `~astropy.table.Table`
        Bad pixels, with their sensitivity.

    Returns
    -------
    numpy.ndarray
        Shape of the data frame, float32; 0 where no light falls.
    """
    flat = np.ones(camera.data_shape, np.float32)
    if physics.fixed_pattern:
        flat *= fixed_pattern(camera, seed, band)
    if physics.vignetting:
        flat *= vignetting(camera, seed, band)
    if physics.dust:
        flat *= dust_shadows(camera, seed)
    flat[defects["y"], defects["x"]] *= defects["sensitivity"].astype(np.float32)
    exposed = flat[flat > 0]
    return flat / np.float32(np.median(exposed)) if exposed.size else flat


def fixed_pattern(camera, seed, band):
    """
    Photo response non-uniformity: white from pixel to pixel.

    About 1 % rms, proportional to the light, partly the same in all filters and partly depending on how
    deep the light goes (Janesick 2007, Photon Transfer, chapter 6).

    Parameters
    ----------
    camera : Camera
        Gives both rms values.
    seed : int
        Seed of the night.
    band : str
        The filter.

    Returns
    -------
    numpy.ndarray
        Relative response, float32.
    """
    common = generator(seed, "fixed pattern").standard_normal(camera.data_shape, np.float32)
    own = generator(seed, "fixed pattern", band).standard_normal(camera.data_shape, np.float32)
    return 1 + np.float32(camera.prnu) * common + np.float32(camera.prnu_filter) * own


def vignetting(camera, seed, band):
    """
    Loss of light towards the corners, quadratic in the distance from the optical axis.

    The leading term of the cos^4 law and of the overlap of two pupils (Howell 2006, Handbook of CCD
    Astronomy, chapter 4); the axis lies a few percent off the center and differs between filters.

    Parameters
    ----------
    camera : Camera
        Gives the loss in the corners.
    seed : int
        Seed of the night.
    band : str
        The filter.

    Returns
    -------
    numpy.ndarray
        Relative response, float32.
    """
    ny, nx = camera.data_shape
    off_x, off_y, scale = generator(seed, "vignetting", band).normal([0, 0, 1], [0.03, 0.03, 0.1])
    x = np.linspace(-1, 1, nx, dtype=np.float32) - np.float32(off_x)
    y = np.linspace(-1, 1, ny, dtype=np.float32) - np.float32(off_y)
    loss = np.float32(camera.vignetting * scale / 2)
    return (1 - loss * x**2) - (loss * y**2)[:, np.newaxis]


def dust_shadows(camera, seed):
    """
    Rings of dust on window and filter, out of focus, and dark spots.

    A grain at some distance casts the shadow of the annular pupil (Howell 2006, chapter 4).

    Parameters
    ----------
    camera : Camera
        Gives the number of grains.
    seed : int
        Seed of the night.

    Returns
    -------
    numpy.ndarray
        Relative response, float32.
    """
    ny, nx = camera.data_shape
    out = np.ones((ny, nx), np.float32)
    rng = generator(seed, "dust")
    for _ in range(camera.dust):
        x0, y0 = rng.uniform(0, (nx, ny))
        radius, depth, hole = rng.uniform((8, 0.005, 0), (45, 0.04, 0.5))
        box = _box(x0, y0, radius + 4, nx, ny)
        y, x = np.ogrid[box]
        r = np.hypot(x - x0, y - y0)
        shadow = 1 / (1 + np.exp((r - radius) / 1.5)) - 1 / (1 + np.exp((r - hole * radius) / 1.5))
        out[box] *= (1 - depth * shadow).astype(np.float32)
    return out


def _box(x0, y0, half, nx, ny):
    rows = slice(max(int(y0 - half), 0), min(int(y0 + half) + 2, ny))
    return rows, slice(max(int(x0 - half), 0), min(int(x0 + half) + 2, nx))
