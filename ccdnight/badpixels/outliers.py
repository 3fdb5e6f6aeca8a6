"""Pixels that lie off their neighbors: IRAF's ccdmask, with the moving median compiled."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight.badpixels.local import box_value
from ccdnight.exceptions import InputError

__all__ = ["block_scatter", "box_median", "find_outliers"]

#: Ranks between which half a standard deviation to either side lies, as in IRAF.
_IRAF_PERCENTILES = (30.9, 69.1)


def find_outliers(image, *, median=(7, 7), block=(15, 15), low=9.0, high=9.0, running=False, workers=None):
    """
    Outliers of an image among their neighbors, by the method of IRAF's ccdmask.

    A moving median is taken off; what is left is compared with the local scatter. This is equivalent to
    ``ccdproc.ccdmask(image, byblocks=not running, nlmed=..., ncmed=..., nlsig=..., ncsig=..., lsigma=low,
    hsigma=high)``. Columns are looked for in another way, see `make_bad_pixel_mask`.

    Parameters
    ----------
    image : `~astropy.nddata.CCDData` or array-like
        Usually the ratio of two flats, shape ``(ny, nx)``.
    median : tuple of int, optional
        Rows and columns of the moving median, odd.
    block : tuple of int, optional
        Rows and columns in which the scatter is measured; odd where it is running.
    low, high : float, optional
        Thresholds in units of the scatter, which is half the distance of the percentiles 30.9 and 69.1: IRAF calls
        it one sigma, of a Gaussian it is half of one.
    running : bool, optional
        Whether the scatter is measured around every pixel instead of in blocks, which takes some ten times as long.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        bool, shape ``(ny, nx)``: True is bad. Pixels that are not finite are.

    Raises
    ------
    InputError
        If the image is not two-dimensional, or a box is not odd.

    References
    ----------
    IRAF, noao.imred.ccdred.ccdmask (F. Valdes).

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.badpixels import find_outliers
    >>> ratio = np.random.default_rng(1).normal(1, 0.01, (64, 64))
    >>> ratio[20, 30] = 0.5
    >>> np.argwhere(find_outliers(ratio)).tolist()
    [[20, 30]]
    """
    data = np.asarray(image.data if isinstance(image, CCDData) else image)
    if data.ndim != 2:
        msg = f"image has {data.ndim} axes; two are needed"
        raise InputError(msg)
    _require_odd(median, "median")
    finite = np.isfinite(data)
    data = np.where(finite, data, 0).astype(np.float32)
    residual = data - box_median(data, median, workers=workers)
    if running:
        _require_odd(block, "block")
        ranks = [int(block[0] * block[1] * part / 100.0) for part in _IRAF_PERCENTILES]
        lower, upper = (box_value(residual, block, rank, workers=workers) for rank in ranks)
        scatter = (upper - lower) / 2.0
    else:
        scatter = block_scatter(residual, block)
    return ~finite | (residual < -low * scatter) | (residual > high * scatter)


def _require_odd(box, name):
    if len(box) != 2 or any(int(side) != side or side < 1 or side % 2 == 0 for side in box):
        msg = f"{name} = {box!r}; two odd numbers are needed"
        raise InputError(msg)


def box_median(image, box=(7, 7), *, workers=None):
    """
    Moving median; beyond its edges the image is mirrored.

    This is equivalent to ``scipy.ndimage.median_filter(image, size=box)``.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, finite.
    box : tuple of int, optional
        Rows and columns, odd.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        float32.
    """
    return box_value(image, box, box[0] * box[1] // 2, workers=workers)


def block_scatter(residual, block, percentiles=_IRAF_PERCENTILES):
    """
    Half the distance of two percentiles in the blocks of an image.

    Parameters
    ----------
    residual : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    block : tuple of int
        Rows and columns of a block; those at the end may have fewer.
    percentiles : tuple of float, optional
        Which.

    Returns
    -------
    `~numpy.ndarray`
        Shape ``(ny, nx)``, the value of its block at every pixel.
    """
    out = np.empty(residual.shape, residual.dtype)
    for rows in _spans(residual.shape[0], block[0]):
        for columns in _spans(residual.shape[1], block[1]):
            height, width = (
                min(side, span.stop - span.start) for side, span in zip(block, (rows, columns), strict=True)
            )
            part = residual[rows, columns].reshape(-1, height, (columns.stop - columns.start) // width, width)
            low, high = np.percentile(part, percentiles, axis=(1, 3))
            target = out[rows, columns].reshape(part.shape)
            target[...] = ((high - low) / 2.0)[:, None, :, None]
            out[rows, columns] = target.reshape(out[rows, columns].shape)
    return out


def _spans(size, side):
    """The pixels of an axis that whole blocks cover, and the rest."""
    whole = size // side * side
    return [slice(a, b) for a, b in ((0, whole), (whole, size)) if b > a]
