"""Weights of the neighbors by which a frame is interpolated."""

import functools

import numpy as np

__all__ = ["KERNELS", "REPROJECT", "kernel_table"]

#: Steps in which positions between two pixels are told apart: an error of 1/4096 pixel at most.
_PHASES = 2048
#: Ways of interpolating that are compiled here, with their number of taps, and those that reproject does.
KERNELS = {"nearest-neighbor": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6}
REPROJECT = ("interp", "adaptive", "exact")


@functools.lru_cache(maxsize=8)
def kernel_table(name):
    """
    Weights of the taps for every position between two pixels.

    Parameters
    ----------
    name : str
        One of `KERNELS`. The bicubic kernel is that of Keys (1981, IEEE Trans. ASSP 29, 1153) with a = -1/2, which is
        right to the third order; Lanczos' is the sinc of three lobes, with weights that add up to 1.

    Returns
    -------
    table : `~numpy.ndarray`
        float32, shape ``(phases + 1, taps)``.
    squares : `~numpy.ndarray`
        Sums of the squared weights, float64.
    """
    taps = KERNELS[name]
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    before = taps // 2 - 1 if taps > 1 else 0
    away = np.abs(np.arange(taps)[None, :] - before - phase)
    if name == "nearest-neighbor":
        weights = np.ones_like(away)
    elif name == "bilinear":
        weights = np.maximum(1 - away, 0)
    elif name == "bicubic":
        near = (1.5 * away - 2.5) * away**2 + 1
        far = ((-0.5 * away + 2.5) * away - 4) * away + 2
        weights = np.where(away <= 1, near, np.where(away < 2, far, 0))
    else:
        weights = np.where(away < 3, np.sinc(away) * np.sinc(away / 3), 0)
    weights = weights / weights.sum(1, keepdims=True)
    return np.ascontiguousarray(weights, np.float32), (weights**2).sum(1)
