"""Noise that interpolation has spread over neighboring pixels, and by how much apertures are noisier than those say."""

import numpy as np

__all__ = ["interpolated_part", "measured_factor"]

#: Side of the blocks in pixels, and how many are needed to measure.
_BLOCK, _ENOUGH = 8, 200
#: Pixels in the middle of a coadd that are looked at.
_PIXELS = 2_000_000


def interpolated_part(layers):
    """
    Factor by which the noise of a large aperture exceeds the root of the sum of its pixels' variances.

    Interpolation keeps the sum of the light, so that the noise of a large aperture is that of the frames; what it takes
    from the variance of each pixel is in the correlation with the neighbors (Casertano et al. 2000, AJ 120, 2747,
    section 5 and the appendix, for drizzling). A frame's part is the mean over the coadd of the sum of its squared
    weights.

    Parameters
    ----------
    layers : list of Layer
        The frames after `coadd_strips`.

    Returns
    -------
    float
        1 where nothing is correlated.
    """
    weights, variances, squares = [], [], []
    for layer in layers:
        total, count = layer.square
        if count:
            variance = float(np.nanmedian(layer.mesh.quiet)) * layer.factor**2
            weights.append(1 / variance)
            variances.append(variance)
            squares.append(total / count)
    if not weights:
        return 1.0
    part = np.array(weights) ** 2 * np.array(variances)
    return float(np.sqrt(part.sum() / (part * np.array(squares)).sum()))


def measured_factor(data, error, flags):
    """
    The same measured on the sky of a coadd: scatter of sums over blocks against what the errors of their pixels say.

    Neighboring blocks are subtracted from each other, which removes the background; blocks with objects or flagged
    pixels are left out. What the errors do not know of is in it as well.

    Parameters
    ----------
    data, error : `~numpy.ndarray`
        The coadd and its error, shape ``(ny, nx)``.
    flags : `~numpy.ndarray`
        Its flags.

    Returns
    -------
    float
        NaN where there is too little sky.
    """
    from scipy.ndimage import binary_dilation, uniform_filter

    rows = max(2 * _BLOCK, min(len(data), _PIXELS // data.shape[1]))
    middle = slice((len(data) - rows) // 2, (len(data) + rows) // 2)
    data, error, flags = data[middle], error[middle], flags[middle]
    good = (flags == 0) & np.isfinite(error) & (error > 0)
    if good.sum() < _ENOUGH * _BLOCK**2:
        return np.nan
    values = np.where(good, data, 0).astype(np.float64)
    level = np.median(data[good][:: max(1, good.sum() // 200_000)])
    smooth = uniform_filter(np.where(good, data - level, 0), 5)
    noise = np.median(error[good][:: max(1, good.sum() // 200_000)])
    good &= ~binary_dilation(np.abs(smooth) > noise, iterations=4)
    sums, variances, counts = (_blocks(item) for item in (np.where(good, values, 0), np.where(good, error**2, 0), good))
    whole = counts == _BLOCK**2
    pairs = whole[:, :-1:2] & whole[:, 1::2]
    if pairs.sum() < _ENOUGH:
        return np.nan
    step = (sums[:, :-1:2] - sums[:, 1::2])[pairs] / np.sqrt((variances[:, :-1:2] + variances[:, 1::2])[pairs])
    return float(1.4826 * np.median(np.abs(step - np.median(step))))


def _blocks(image):
    """Sums over blocks; an even number of columns of blocks."""
    ny, nx = image.shape[0] // _BLOCK * _BLOCK, image.shape[1] // (2 * _BLOCK) * 2 * _BLOCK
    return image[:ny, :nx].astype(np.float64).reshape(ny // _BLOCK, _BLOCK, nx // _BLOCK, _BLOCK).sum((1, 3))
