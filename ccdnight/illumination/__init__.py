"""
Light that falls unevenly: smooth models of it, flats of dome and twilight together, sky flats, the shutter.

- `fit_illumination`: a low-order polynomial, by least squares on every pixel;
- `combine_flats`: the small scales of dome flats on the large scales of twilight flats;
- `make_sky_flat`: a flat from dithered science frames;
- `shutter_pattern` and `correct_shutter`: exposures that depend on the position.
"""

from ccdnight.illumination.combine import combine_flats
from ccdnight.illumination.polynomial import fit_illumination, illumination_map
from ccdnight.illumination.shutter import correct_shutter, shutter_pattern
from ccdnight.illumination.skyflats import make_sky_flat

__all__ = [
    "combine_flats",
    "correct_shutter",
    "fit_illumination",
    "illumination_map",
    "make_sky_flat",
    "shutter_pattern",
]
