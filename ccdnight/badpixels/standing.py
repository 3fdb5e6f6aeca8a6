"""Pixels that stand off their neighbors in biases and darks."""

import numpy as np

from ccdnight.badpixels.local import each_block_row, local_median, local_residual, local_sigma
from ccdnight.statistics import median_of, sample_pixels

__all__ = ["bias_deviation", "dark_deviation", "filled"]


def filled(image, lost):
    """
    An image whose lost pixels have its typical value.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``; changed.
    lost : `~numpy.ndarray`
        bool.

    Returns
    -------
    `~numpy.ndarray`
        The image.
    """
    if lost.any():
        good = sample_pixels(image)[~sample_pixels(lost)]
        image[lost] = median_of(good) if good.size else 0
    return image


def bias_deviation(image, noise, regions, *, workers=None):
    """
    What a master bias has beyond its neighbors, in units of the noise of a frame.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite.
    noise : list of float or None
        Of each amplifier in adu; the local scatter where it is not known.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        float32.
    """
    out, known = _blank(image, regions), _by_region(noise, regions)

    def do(part, rows):
        residual = local_residual(image[part], rows)
        sigma = local_sigma(residual) if known is None else known[_name(part)]
        out[part][rows] = residual / np.maximum(np.float32(sigma), np.float32(1e-6))

    each_block_row(do, regions, workers=workers)
    return out


def _blank(image, regions):
    """Room for an image, 0 where no region is."""
    covered = sum((y.stop - y.start) * (x.stop - x.start) for y, x in regions)
    return np.empty_like(image) if covered == image.size else np.zeros_like(image)


def _name(part):
    return part[0].start, part[1].start


def _by_region(values, regions):
    return None if values is None else {_name(part): value for part, value in zip(regions, values, strict=True)}


def dark_deviation(image, error, regions, *, workers=None):
    """
    What a master dark has beyond its neighbors, in units of the local scatter.

    In a steep glow the photon noise changes within a block; what the neighbors have more of it counts.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite.
    error : `~numpy.ndarray` or None
        Its standard deviation.
    regions : list of tuple of slice
        Rows and columns of the amplifiers.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        float32.
    """
    out, scatter = _blank(image, regions), _blank(image, regions)
    near = None if error is None else _blank(image, regions)
    clean = None if error is None else error if np.isfinite(error).all() else np.nan_to_num(error)

    def look(part, rows):
        residual = local_residual(image[part], rows)
        out[part][rows], scatter[part][rows] = residual, np.maximum(local_sigma(residual), np.float32(1e-9))
        if near is not None:
            near[part][rows] = local_median(clean[part], rows)

    each_block_row(look, regions, workers=workers)
    usual = 0 if near is None else median_of(sample_pixels(scatter)) ** 2 - median_of(sample_pixels(near)) ** 2

    def divide(part, rows):
        sigma = scatter[part][rows]
        if near is not None:
            sigma = np.maximum(sigma, np.sqrt(np.maximum(near[part][rows] ** 2 + np.float32(usual), 0)))
        out[part][rows] /= sigma

    each_block_row(divide, regions, workers=workers)
    return out
