"""
Raw nights with known truth.

A night is played from a `Night` (a `Camera` and its `Exposure` s) with the terms of a `Physics`, one effect a
module: light (`sky`, `stars`, `flatfield`, `tracks`), charge (`darkcurrent`, `charge`, `defects`) and numbers
(`electronics`), put together in `frame`, written with headers (`headers`, `dialects`) as the instrument
writes them, and kept as a `Truth`.
"""

from ccdnight.simulate.anynight import any_night
from ccdnight.simulate.camera import Camera, Readout
from ccdnight.simulate.charge import area_kernel
from ccdnight.simulate.faults import FAULTS, add_faults
from ccdnight.simulate.frame import Maps, make_frame, make_maps
from ccdnight.simulate.nights import NIGHTS
from ccdnight.simulate.physics import Physics
from ccdnight.simulate.run import night_for, simulate_night
from ccdnight.simulate.script import Exposure, Night, flat_series
from ccdnight.simulate.stars import moffat_fraction
from ccdnight.simulate.truth import Truth, open_truth

__all__ = [
    "FAULTS",
    "NIGHTS",
    "Camera",
    "Exposure",
    "Maps",
    "Night",
    "Physics",
    "Readout",
    "Truth",
    "add_faults",
    "any_night",
    "area_kernel",
    "flat_series",
    "make_frame",
    "make_maps",
    "moffat_fraction",
    "night_for",
    "open_truth",
    "simulate_night",
]
