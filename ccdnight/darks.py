"""A master dark scaled to an exposure; scaled far, only what is significant of it."""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from ccdnight.products import flags_of, make_ccd, sigma_of

__all__ = ["dark_for", "dark_seconds", "scales_whole"]

#: Block in which a dark is smoothed where it has to be scaled up far.
_SMOOTH = 64
#: Pixels of a dark that stand out of the smooth dark by this many of their errors are kept as hot.
_HOT_SIGMA = 5.0


def dark_for(dark, seconds, *, scale_up=3.0):
    """
    Dark charge of a number of seconds.

    A dark scaled up by much brings more noise than it takes away: beyond `scale_up` its smooth part (medians of
    64 x 64 pixels, interpolated) is used, and of its single pixels those that are significantly hot.

    Parameters
    ----------
    dark : `~astropy.nddata.CCDData`
        Master dark in adu/s; its DARKTIME (else EXPTIME) is the exposure it was made from.
    seconds : float
        Exposure.
    scale_up : float, optional
        Largest factor by which it is scaled pixel by pixel.

    Returns
    -------
    `~astropy.nddata.CCDData`
        In adu. The uncertainty is the scaled one, 0 where the smooth part is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.calibration import dark_for
    >>> dark = CCDData(np.full((32, 32), 0.5), unit="adu/s", meta={"EXPTIME": 300.0})
    >>> charge = dark_for(dark, 60)
    >>> float(charge.data[0, 0]), str(charge.unit)
    (30.0, 'adu')
    """
    sigma = sigma_of(dark)
    if scales_whole(dark, seconds, scale_up):
        scaled = None if sigma is None else sigma * np.float32(seconds)
        return make_ccd(dark.data * np.float32(seconds), unit="adu", sigma=scaled, flags=flags_of(dark))
    smooth = _smooth(dark)
    hot = np.abs(dark.data - smooth) > _HOT_SIGMA * sigma
    data = np.where(hot, dark.data, smooth) * np.float32(seconds)
    return make_ccd(data, unit="adu", sigma=np.where(hot, sigma * seconds, 0), flags=flags_of(dark))


def scales_whole(dark, seconds, scale_up):
    """
    Whether a dark is scaled pixel by pixel, see `dark_for`.

    Parameters
    ----------
    dark, seconds, scale_up
        As in `dark_for`.

    Returns
    -------
    bool
    """
    own = dark_seconds(dark)
    return own is None or seconds <= own * scale_up * (1 + 1e-6) or dark.uncertainty is None


def dark_seconds(dark):
    """
    Exposure a master dark was made from.

    Parameters
    ----------
    dark : `~astropy.nddata.CCDData`
        Master dark.

    Returns
    -------
    float or None
        Seconds.
    """
    for key in ("DARKTIME", "EXPTIME"):
        value = dark.meta.get(key)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def _smooth(dark):
    ny, nx = dark.data.shape
    by, bx = max(1, round(ny / _SMOOTH)), max(1, round(nx / _SMOOTH))
    rows, columns = (np.linspace(0, size, n + 1).astype(int) for size, n in ((ny, by), (nx, bx)))
    blocks = np.array([[np.nanmedian(dark.data[a:b, c:d]) for c, d in pairwise(columns)] for a, b in pairwise(rows)])
    # Sample the grid of block medians at every pixel, its centers on the centers of the blocks.
    y = (np.arange(ny) + 0.5) * by / ny - 0.5
    x = (np.arange(nx) + 0.5) * bx / nx - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(blocks, grid, order=1, mode="nearest").astype(np.float32)
