"""A mask that somebody gives: an array, a CCDData or a file becomes flags."""

import os

import numpy as np
from astropy.nddata import CCDData

from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.products import flags_of, make_ccd, read_ccd

__all__ = ["read_mask"]


def read_mask(item, *, name="mask"):
    """
    A bad pixel mask.

    Parameters
    ----------
    item : `~astropy.nddata.CCDData`, array-like or path-like
        A mask made by `ccdnight.make_bad_pixel_mask`, or another one. Of a CCDData its flags are taken, else its
        mask, else the pixels whose data are not 0; of an array or an image file the pixels that are not 0.
    name : str, optional
        Name of the parameter, for errors.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With flags. Pixels of a mask that does not tell why are BAD_PIXEL.

    Raises
    ------
    InputError
        If it is not two-dimensional.
    """
    if isinstance(item, str | os.PathLike):
        item = read_ccd(item)
    if not isinstance(item, CCDData):
        array = np.asarray(item)
        if array.ndim != 2:
            msg = f"{name} has {array.ndim} axes; two are needed"
            raise InputError(msg)
        return make_ccd(np.zeros(array.shape), unit="", flags=_bits(array != 0))
    if item.meta.get("MASTER") == "badpixels" or (isinstance(item.flags, np.ndarray) and item.flags.any()):
        return item
    flags = flags_of(item)
    bad = flags != 0 if flags.any() else item.data != 0
    return make_ccd(item.data, unit=item.unit, meta=item.meta, flags=_bits(bad))


def _bits(bad):
    return np.where(bad, FLAGS["BAD_PIXEL"].value, 0).astype(np.uint16)
