"""Bad pixels: found in biases, darks and flats, kept as a mask that says why, and filled on request."""

from ccdnight.badpixels.causes import CAUSES, Cause, cause_flags, describe_causes
from ccdnight.badpixels.filling import fill_bad_pixels
from ccdnight.badpixels.mask import make_bad_pixel_mask
from ccdnight.badpixels.outliers import find_outliers

__all__ = [
    "CAUSES",
    "Cause",
    "cause_flags",
    "describe_causes",
    "fill_bad_pixels",
    "find_outliers",
    "make_bad_pixel_mask",
]
