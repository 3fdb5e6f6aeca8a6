"""
Alignment: the stars of frames, which of them are the same, and world coordinates that agree with them.

- `align`: frames of one field brought to one system of coordinates;
- `detect_stars`: positions, light and width of the stars of one frame;
- `plot_residuals`: a picture of where the stars of the frames lie on each other.
"""

from ccdnight.alignment.align import align
from ccdnight.alignment.drawing import plot_residuals
from ccdnight.alignment.results import Alignment, FrameTransform
from ccdnight.alignment.stars import Stars, detect_stars

__all__ = ["Alignment", "FrameTransform", "Stars", "align", "detect_stars", "plot_residuals"]
