"""Light that fills the frame: lamp, twilight and night sky, fringes, and the shutter that lets it in."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["even_light", "exposure_map", "fringe_pattern", "gradient", "shutter_map"]


def even_light(night, exposure, physics, seed):
    """
    Rate of lamp, twilight or sky over the frame, before the flat field.

    A dome screen is lit unevenly by a few percent; twilight at its best point has a slope of a few tenths
    of a percent (Chromey & Hasselbacher 1996, PASP 108, 944).

    Parameters
    ----------
    night, exposure, physics, seed
        The night, the exposure, the terms, the seed.

    Returns
    -------
    numpy.ndarray or float
        Electron/s/pixel, data frame, float32; a float where it is the same everywhere.
    """
    if exposure.kind == "flat" and physics.screen_gradient:
        return exposure.light * gradient(night.camera.data_shape, night.gradient_screen, 25.0)
    if exposure.kind == "twilight" and physics.twilight_gradient:
        return exposure.light * gradient(night.camera.data_shape, night.gradient_twilight, 115.0)
    if exposure.kind == "science" and physics.fringes and exposure.filter in night.fringe_filters:
        return exposure.light * (1 + np.float32(night.fringe_amplitude) * fringe_pattern(night.camera, seed))
    return exposure.light


def gradient(shape, slope, angle):
    """
    Plane of mean 1.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    slope : float
        Change from edge to edge along the longer axis' direction cosines.
    angle : float
        Direction of the rise, in degrees from the x axis.

    Returns
    -------
    numpy.ndarray
        float32.
    """
    ny, nx = shape
    x = np.linspace(-0.5, 0.5, nx, dtype=np.float32)
    y = np.linspace(-0.5, 0.5, ny, dtype=np.float32)[:, np.newaxis]
    angle = np.deg2rad(angle)
    return 1 + np.float32(slope * np.cos(angle)) * x + np.float32(slope * np.sin(angle)) * y


def fringe_pattern(camera, seed):
    """
    Fringes: interference of night-sky lines in silicon of uneven thickness.

    The thickness is a smooth random surface of some ten wavelengths; the pattern is its cosine
    (Howell 2012, PASP 124, 263).

    Parameters
    ----------
    camera : Camera
        The detector.
    seed : int
        Seed of the night.

    Returns
    -------
    numpy.ndarray
        Mean 0 and amplitude 1, data frame, float32.
    """
    ny, nx = camera.data_shape
    rng = generator(seed, "fringes")
    x = np.linspace(0, 1, nx, dtype=np.float32)
    y = np.linspace(0, ny / nx, ny, dtype=np.float32)[:, np.newaxis]
    phase = np.zeros((ny, nx), np.float32)
    for _ in range(6):
        kx, ky, shift, size = rng.uniform((-2, -2, 0, 6), (2, 2, 2 * np.pi, 14)).astype(np.float32)
        phase += size * np.sin(2 * np.pi * (kx * x + ky * y) + shift)
    pattern = np.cos(phase)
    return pattern - pattern.mean()


def shutter_map(camera):
    """
    Seconds by which the exposure of a pixel differs from the commanded one.

    The blades of an iris shutter open the center first and close it last, in the shape of a star with as
    many points as blades (Zissell 2000, JAAVSO 28, 149).

    Parameters
    ----------
    camera : Camera
        Gives the delay between center and corners.

    Returns
    -------
    numpy.ndarray
        Data frame, float32, 0 in the corners.
    """
    ny, nx = camera.data_shape
    x = np.linspace(-1, 1, nx, dtype=np.float32)
    y = np.linspace(-1, 1, ny, dtype=np.float32)[:, np.newaxis]
    radius = np.hypot(x, y) / np.float32(np.sqrt(2))
    blades = 1 + np.float32(0.15) * np.cos(6 * np.arctan2(y, x)) * np.sin(np.pi * np.minimum(radius, 1))
    return np.float32(camera.shutter_delay) * np.maximum(1 - radius * blades, 0)


def exposure_map(night, exposure, physics):
    """
    Seconds for which each pixel saw light.

    Parameters
    ----------
    night, exposure, physics
        The night, the exposure, the terms.

    Returns
    -------
    numpy.ndarray or float
    """
    if not physics.shutter or exposure.exposure == 0:
        return exposure.exposure
    return np.float32(exposure.exposure) + shutter_map(night.camera)
