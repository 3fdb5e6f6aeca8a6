"""
Values of a coadd that a cosmic ray or a satellite raised, by the noise of each frame and the change of the seeing.

Frames differ in exposure, sky and interpolation, so each value is held against the noise of its own frame. Where a star
is, seeing and guiding change its values by more than the noise: a part of the signal counts as noise.
"""

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room

__all__ = ["clip_outliers"]


@kernel_with_room
def clip_outliers(cube, quiet, photon, tolerance, sigma, low, growth):
    """
    Replace outliers by NaN.

    Parameters
    ----------
    cube : `~numpy.ndarray`
        Values above the sky, shape ``(n, k, nx)``; changed in place.
    quiet : `~numpy.ndarray`
        Variance of the sky of each value, same shape.
    photon : `~numpy.ndarray`
        Variance that one unit of signal adds in each frame, shape ``(n,)``.
    tolerance : float
        Part of the signal that counts as noise.
    sigma, low, growth : float
        Thresholds above and below the center, and above it beside an outlier.

    Returns
    -------
    int
        Values rejected.
    """
    n, k, nx = cube.shape
    marks = np.zeros((n, k, nx), np.uint8)
    centers, spreads = np.empty((k, nx)), np.empty((k, nx))
    lost = _mark(cube, quiet, photon, tolerance, sigma, low, marks, centers, spreads)
    if lost == 0:
        return 0
    for f in range(n):
        for j in range(k):
            for i in range(nx):
                if marks[f, j, i]:
                    cube[f, j, i] = np.nan
                elif growth < sigma and _beside(marks[f], j, i):
                    away = cube[f, j, i] - centers[j, i]
                    noise = spreads[j, i] * _noise(quiet[f, j, i], photon[f], centers[j, i], tolerance)
                    if away > 0 and away * away > growth * growth * noise:
                        cube[f, j, i] = np.nan
                        lost += 1
    return lost


@kernel_with_room
def _mark(cube, quiet, photon, tolerance, sigma, low, marks, centers, spreads):
    """Outliers, the center of every pixel, and by how much the noise between a value and the center is larger."""
    n, k, nx = cube.shape
    values, lost = np.empty(n), 0
    for j in range(k):
        for i in range(nx):
            count = 0
            for f in range(n):
                if abs(cube[f, j, i]) < np.inf:
                    values[count] = cube[f, j, i]
                    count += 1
            centers[j, i] = center = _center(values, count)
            # One of two is the center of the other: the noise of both is between them.
            spreads[j, i] = spread = 2.0 if count == 2 else 1.0
            for f in range(n if count > 1 else 0):
                away = cube[f, j, i] - center
                limit = sigma if away > 0 else low
                if away * away > limit * limit * spread * _noise(quiet[f, j, i], photon[f], center, tolerance):
                    marks[f, j, i] = 1
                    lost += 1
    return lost


@kernel
def _noise(quiet, photon, center, tolerance):
    signal = max(center, 0.0)
    return quiet + photon * signal + tolerance * signal * tolerance * signal


@kernel
def _beside(marks, j, i):
    """Whether one of the eight neighbors is an outlier."""
    k, nx = marks.shape
    for r in range(max(j - 1, 0), min(j + 2, k)):
        for c in range(max(i - 1, 0), min(i + 2, nx)):
            if marks[r, c]:
                return True
    return False


@kernel
def _center(values, count):
    """Median; of two values the lower one, since cosmic rays only add."""
    if count == 0:
        return np.nan
    for a in range(1, count):
        value, b = values[a], a - 1
        while b >= 0 and values[b] > value:
            values[b + 1] = values[b]
            b -= 1
        values[b + 1] = value
    if count == 2:
        return values[0]
    return 0.5 * (values[(count - 1) // 2] + values[count // 2])
