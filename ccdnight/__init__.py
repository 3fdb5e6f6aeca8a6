"""
Reduction of CCD nights: raw FITS frames in, calibrated images with uncertainty and flags out.

Names are imported when they are used, so that importing the package costs next to nothing.
"""

import importlib

_NAMES = {
    "Amplifier": "profiles",
    "Combiner": "combiner",
    "FrameCollection": "frames",
    "InstrumentProfile": "profiles",
    "Night": "night",
    "Plan": "association",
    "Policy": "profiles",
    "Reduction": "reduction",
    "align": "alignment",
    "calibrate": "calibration",
    "coadd": "coadding",
    "combine": "combining",
    "flag_cosmic_rays": "cosmicrays",
    "get_profile": "profiles",
    "learn_profile": "learning",
    "list_profiles": "profiles",
    "make_bad_pixel_mask": "badpixels",
    "make_bias": "masters",
    "make_dark": "masters",
    "make_flat": "masters",
    "match_profile": "profiles",
    "read_ccd": "products",
    "read_frame": "readout",
    "subtract_overscan": "readout",
    "trim": "readout",
    "write_ccd": "products",
}
_SUBMODULES = (
    *("alignment", "badpixels", "calibration", "coadding", "combiner", "cosmicrays", "detector", "exceptions"),
    *("execution", "flags", "frames"),
    "fringes",
    *(
        "illumination",
        "learning",
        "linearity",
        "masters",
        "night",
        "plots",
        "profiles",
        "provenance",
        "readout",
        "reduction",
        "report",
        "saturation",
        "simulate",
        "stacking",
        "statistics",
        "storage",
    ),
)

__all__ = [
    "Amplifier",
    "Combiner",
    "FrameCollection",
    "InstrumentProfile",
    "Night",
    "Plan",
    "Policy",
    "Reduction",
    "__version__",
    "align",
    "calibrate",
    "coadd",
    "combine",
    "flag_cosmic_rays",
    "get_profile",
    "learn_profile",
    "list_profiles",
    "make_bad_pixel_mask",
    "make_bias",
    "make_dark",
    "make_flat",
    "match_profile",
    "read_ccd",
    "read_frame",
    "subtract_overscan",
    "trim",
    "write_ccd",
]


def __getattr__(name):
    if name == "__version__":
        return importlib.import_module("ccdnight._version").version
    if name in _NAMES:
        return getattr(importlib.import_module(f"ccdnight.{_NAMES[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"ccdnight.{name}")
    msg = f"module 'ccdnight' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__():
    return sorted({*__all__, *_SUBMODULES})
