"""Bad pixels replaced by their neighbors: on request only, and flagged."""

import numpy as np
from scipy import ndimage

from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS, flag_value
from ccdnight.products import derive, flags_of, sigma_of
from ccdnight.provenance import record_step

__all__ = ["fill_bad_pixels"]


def fill_bad_pixels(ccd, *, flags=("BAD_PIXEL",), reach=3):
    """
    Replace pixels by the mean of the good ones around them, and flag them INTERPOLATED.

    For pictures, and for programs that cannot take a mask: no information is gained. Nothing in ccdnight does it
    unless it is asked to.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A frame, shape ``(ny, nx)``; left as it is.
    flags : tuple of str, optional
        Pixels with one of these flags are replaced.
    reach : int, optional
        Pixels with no good one nearer than this many pixels along both axes keep their values.

    Returns
    -------
    `~astropy.nddata.CCDData`
        The flags of replaced pixels stay, with INTERPOLATED added. Their uncertainty is the scatter of the good
        neighbors, or what these have themselves where that is more.

    Raises
    ------
    InputError
        If `reach` is not 1 or more.
    ValueError
        For a flag that is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.badpixels import fill_bad_pixels
    >>> from ccdnight.flags import describe_flags, flag_value
    >>> image = CCDData(np.full((9, 9), 100.0), unit="electron", flags=np.zeros((9, 9), np.uint16))
    >>> image.data[4, 4] = 9000
    >>> image.flags[4, 4] = flag_value("BAD_PIXEL")
    >>> filled = fill_bad_pixels(image)
    >>> float(filled.data[4, 4]), describe_flags(filled.flags)
    (100.0, {'BAD_PIXEL': 1, 'INTERPOLATED': 1})
    """
    if int(reach) != reach or reach < 1:
        msg = f"reach = {reach!r}; a whole number of 1 or more is needed"
        raise InputError(msg)
    bits, sigma = flags_of(ccd), sigma_of(ccd)
    wanted = (bits & flag_value(*flags)) != 0
    good = (bits == 0) & np.isfinite(ccd.data)
    data = np.array(ccd.data, np.float32)
    left, filled = wanted.copy(), np.zeros(wanted.shape, bool)
    for distance in range(1, reach + 1):
        if not left.any():
            break
        mean, scatter, count = _around(ccd.data, good, 2 * distance + 1)
        now = left & (count > 0)
        data[now] = mean[now]
        if sigma is not None:
            near = _around(sigma, good, 2 * distance + 1)[0]
            sigma = np.where(now, np.maximum(scatter, near), sigma)
        filled |= now
        left &= ~now
    bits[filled] |= FLAGS["INTERPOLATED"].value
    result = derive(ccd, data, sigma=sigma, flags=bits)
    words = f"{int(filled.sum())} pixels replaced by the mean of their neighbors"
    record_step(result, "interpolate", history=words, flags=" ".join(flags), reach=reach)
    return result


def _around(values, good, size):
    """Mean, standard deviation and number of the good values in a box."""
    kept = np.where(good, values, 0).astype(np.float64)
    count = np.rint(ndimage.uniform_filter(good.astype(np.float64), size, mode="constant") * size**2)
    total, square = (ndimage.uniform_filter(item, size, mode="constant") * size**2 for item in (kept, kept**2))
    mean = total / np.maximum(count, 1)
    variance = np.maximum(square / np.maximum(count, 1) - mean**2, 0)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32), count
