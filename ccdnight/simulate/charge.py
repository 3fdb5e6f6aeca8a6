"""From the light of an exposure to the charge in the pixels: photons, repulsion, full well, bleeding."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["area_kernel", "bleed", "collect", "grow", "saturate"]

#: Rms width in pixels of the potential of a pixel's charge; makes a10 / -a00 = 0.143, as in deep CCDs.
_WIDTH, _REACH = 0.5, 3


def collect(expected, seed, path, physics, camera):
    """
    Charge that light and dark current have gathered.

    Photons and thermal electrons arrive independently, so the charge is Poisson (Janesick 2001, chapter 2).

    Parameters
    ----------
    expected : numpy.ndarray
        Mean charge in electron, data frame.
    seed : int
        Seed of the night.
    path : str
        The frame.
    physics : Physics
        Terms.
    camera : Camera
        The detector.

    Returns
    -------
    numpy.ndarray
        Electron, float32.
    """
    if not physics.photon_noise:
        return expected.astype(np.float32)
    rng = generator(seed, "photons", path)
    if physics.brighter_fatter:
        return grow(expected, rng, a00=camera.brighter_fatter_a00, steps=camera.brighter_fatter_steps)
    out = np.empty(expected.shape, np.float32)
    for first in range(0, len(out), 128):  # strips stay in the cache
        out[first : first + 128] = rng.poisson(expected[first : first + 128])
    return out


def grow(expected, rng, *, a00, steps=50):
    """
    Charge that repels what comes later: the brighter-fatter effect.

    In each step the charge ``Q`` makes a potential ``phi = K * Q`` (K a Gaussian) which shifts the boundary
    of two pixels in proportion to its difference across it, and with the boundary goes the light that falls
    there (Antilogus et al. 2014, JINST 9, C03048; Coulton et al. 2018, AJ 155, 258). Charge is conserved,
    also under stars. In even light ``dQ/dt = I (1 + a * Q)`` with ``a`` the Laplacian of K (`area_kernel`),
    which is the equation that leads to the covariances of Astier et al. 2019 (A&A 629, A36), eq. 16 for the
    variance: ``V = (exp(2 a00 mu) - 1) / (2 a00)``, and ``C_ij = a_ij mu^2`` to leading order. Explicit steps
    would make these smaller by the factor ``(1 - 1 / steps)``, which is put back into K.

    Parameters
    ----------
    expected : numpy.ndarray
        Mean charge in electron.
    rng : numpy.random.Generator
        Source.
    a00 : float
        Relative change of a pixel's area per electron in it; negative.
    steps : int, optional
        Steps of equal light.

    Returns
    -------
    numpy.ndarray
        Electron, float32.
    """
    from scipy.ndimage import correlate1d

    line = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _WIDTH) ** 2).astype(np.float32)
    scale = np.float32(_potential_scale(a00) * steps / (steps - 1))
    light = (expected / steps).astype(np.float32)
    in_x = 0.5 * (light[:, 1:] + light[:, :-1])
    in_y = 0.5 * (light[1:] + light[:-1])
    charge = np.zeros(expected.shape, np.float32)
    for _ in range(steps):
        phi = correlate1d(correlate1d(charge, line, axis=0, mode="nearest"), line, axis=1, mode="nearest")
        flow_x = scale * np.diff(phi, axis=1) * in_x
        flow_y = scale * np.diff(phi, axis=0) * in_y
        mean = light.copy()
        mean[:, :-1] += flow_x
        mean[:, 1:] -= flow_x
        mean[:-1] += flow_y
        mean[1:] -= flow_y
        charge += rng.poisson(np.maximum(mean, 0))
    return charge


def _potential_scale(a00):
    return a00 / (4 * (np.exp(-0.5 / _WIDTH**2) - 1))


def area_kernel(a00):
    """
    Relative change of a pixel's area for each electron in it and in its neighbors.

    Parameters
    ----------
    a00 : float
        That for an electron in the pixel itself.

    Returns
    -------
    numpy.ndarray
        Shape (9, 9), ``a[4 + j, 4 + i]`` for a neighbor i columns and j rows away; its sum is 0.

    Examples
    --------
    >>> from ccdnight.simulate import area_kernel
    >>> kernel = area_kernel(-2e-6)
    >>> kernel.shape, abs(round(float(kernel.sum()), 9))
    ((9, 9), 0.0)
    """
    line = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _WIDTH) ** 2)
    phi = np.pad(_potential_scale(a00) * np.outer(line, line), 2)
    inner = phi[1:-1, 1:-1]
    return phi[1:-1, 2:] + phi[1:-1, :-2] + phi[2:, 1:-1] + phi[:-2, 1:-1] - 4 * inner


def saturate(charge, camera):
    """
    Full well of each amplifier's pixels, with bleeding along the columns.

    Parameters
    ----------
    charge : numpy.ndarray
        Electron, data frame; changed in place.
    camera : Camera
        Gives the full wells.

    Returns
    -------
    numpy.ndarray
        Pixels whose well is full or that took charge from such a pixel, bool.
    """
    touched = np.zeros(charge.shape, bool)
    for block in camera.blocks:
        touched[block.data] = bleed(charge[block.data], block.readout.full_well)
    return touched


def bleed(charge, full_well):
    """
    Move what is above the full well to the nearest pixels of the column that have room.

    Half goes up and half goes down, since the barriers between rows are the lowest; what reaches the ends of
    the column is drained (blooming: Janesick 2001, chapter 4).

    Parameters
    ----------
    charge : numpy.ndarray
        Electron, shape ``(ny, nx)``; changed in place.
    full_well : float
        Electron.

    Returns
    -------
    numpy.ndarray
        Pixels that are full or took charge, bool.
    """
    touched = np.zeros(charge.shape, bool)
    columns = np.flatnonzero((charge >= full_well).any(axis=0))
    if not columns.size:
        return touched
    part = charge[:, columns].astype(float)
    excess = np.maximum(part - full_well, 0)
    part -= excess
    for rows in (range(len(part)), range(len(part) - 1, -1, -1)):
        carry = np.zeros(columns.size)
        for row in rows:
            taken = np.minimum(full_well - part[row], carry)
            part[row] += taken
            carry += 0.5 * excess[row] - taken
    touched[:, columns] = (part >= full_well) | (part > charge[:, columns])
    charge[:, columns] = part
    return touched
