"""Charge without light: dark current, hot pixels, glow."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["glow", "make_dark_rate"]


def make_dark_rate(camera, physics, seed, defects):
    """
    Rate of the charge that gathers in the dark, in electron/s.

    Thermal generation scatters from pixel to pixel; a small fraction of pixels with impurities is hot, at
    rates over several decades (Widenhorn et al. 2002, Proc. SPIE 4669, 193).

    Parameters
    ----------
    camera : Camera
        The detector.
    physics : Physics
        Terms.
    seed : int
        Seed of the night.
    defects : `~astropy.table.Table`
        Bad pixels, with their extra rate.

    Returns
    -------
    numpy.ndarray
        Shape of the data frame, float32.
    """
    rate = np.zeros(camera.data_shape, np.float32)
    if physics.dark:
        scatter = generator(seed, "dark").standard_normal(camera.data_shape, np.float32)
        rate += np.float32(camera.dark_rate) * np.maximum(1 + np.float32(camera.dark_scatter) * scatter, 0)
    if physics.glow:
        rate += glow(camera)
    rate[defects["y"], defects["x"]] += defects["rate"].astype(np.float32)
    return rate


def glow(camera):
    """
    Light of the output amplifier in the corner at the origin, and a band along the left edge.

    The amplifier's transistor shines while it is powered, so the glow grows with the exposure and looks like
    dark current (Janesick 2001, Scientific Charge-Coupled Devices).

    Parameters
    ----------
    camera : Camera
        Gives peak rates and scales.

    Returns
    -------
    numpy.ndarray
        Electron/s, shape of the data frame, float32.
    """
    ny, nx = camera.data_shape
    x = np.arange(nx, dtype=np.float32)
    y = np.arange(ny, dtype=np.float32)[:, np.newaxis]
    peak, scale = camera.glow
    edge, width = camera.edge_glow
    out = np.broadcast_to(np.float32(edge) * np.exp(-x / np.float32(width)), (ny, nx)).copy()
    if peak:
        size = int(12 * scale)
        out[:size, :size] += (
            np.float32(peak)
            * np.exp(-np.hypot(x[:size], y[:size]) / np.float32(scale))
            * (1 - np.maximum(x[:size], y[:size]) / size)
        )
    return out
