"""
Coadding: frames of one field on a common grid, matched in background, cleaned of outliers and combined.

- `coadd`: from frames to one image with error, flags, coverage and exposure;
- `KERNELS`: the interpolations that are compiled, with their number of taps.
"""

from ccdnight.coadding.coadd import coadd
from ccdnight.coadding.interpolation import KERNELS

__all__ = ["KERNELS", "coadd"]
