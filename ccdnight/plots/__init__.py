"""
Figures; each function draws on matplotlib axes and returns them.

Where no axes are given a figure is made: with pyplot where the caller has imported it, so that a notebook shows
it, and without pyplot otherwise. Images are averaged in blocks and profiles sampled, so frames of any size draw at
once, and no text from a header is read as mathematics.

- `show`: a frame, with its flags and its sections on request;
- `plot_profile`, `plot_overscan`, `plot_histogram`, `plot_before_after`: levels of frames;
- `plot_bias_drift`, `plot_stack_noise`: series of frames;
- `plot_ptc`, `plot_linearity`, `plot_bias`: what `ccdnight.detector` measured.
"""

from ccdnight.plots.images import show
from ccdnight.plots.levels import plot_before_after, plot_histogram, plot_overscan, plot_profile
from ccdnight.plots.measured import plot_bias, plot_linearity, plot_ptc
from ccdnight.plots.series import plot_bias_drift, plot_stack_noise

__all__ = [
    "plot_before_after",
    "plot_bias",
    "plot_bias_drift",
    "plot_histogram",
    "plot_linearity",
    "plot_overscan",
    "plot_profile",
    "plot_ptc",
    "plot_stack_noise",
    "show",
]
