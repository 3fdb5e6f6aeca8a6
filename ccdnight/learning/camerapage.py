"""The parts of a learnt profile that pixels decide: amplifiers and policy."""

import math

import numpy as np

from ccdnight._sections import format_section
from ccdnight.learning.headersections import agrees
from ccdnight.profiles import Policy

__all__ = ["put_amplifiers", "put_policy", "typical_modes"]

#: A detector that wanders by more than this many kelvin in a night is not at one temperature.
_MOST_KELVIN = 5.0


def put_amplifiers(page, detector, shape, layout, measured, saturations, stated):
    """
    Write the amplifiers of one detector.

    Parameters
    ----------
    page : Page
        Is written to.
    detector : str
        Its name in the header.
    shape : tuple of int
        Of its frames.
    layout : Layout
        Its amplifiers.
    measured : list of Electronics
        Of each of them.
    saturations : list of (float or None, str)
        Of each of them.
    stated : dict of str to tuple of slice
        Sections of the headers.
    """
    for cell, numbers, saturation in zip(layout.cells, measured, saturations, strict=True):
        page.head("[[amplifiers]]")
        if layout.split_words:
            page.say(f"Amplifiers: {layout.split_words}")
        if detector:
            page.put("detector", detector)
        if cell.name:
            page.put("name", cell.name)
        _put_sections(page, cell, shape, layout, stated)
        value = None if numbers.gain is None else _rounded(numbers.gain, numbers.gain_error)
        page.put("gain", value, _with_error(numbers.gain_words, numbers.gain_error), error=numbers.gain_error,
                 unit="electron/adu")  # fmt: skip
        value = None if numbers.read_noise is None else _rounded(numbers.read_noise, numbers.read_noise_error)
        words = _with_error(numbers.noise_words, numbers.read_noise_error)
        page.put("read_noise", value, words, error=numbers.read_noise_error, unit="electron")
        page.put("saturation", *saturation, unit="adu")


def _put_sections(page, cell, shape, layout, stated):
    if not layout.known:
        page.say("Sections: no flats bright enough to see which columns carry no light; the header's are taken.")
        return
    page.put("shape", tuple(int(n) for n in shape))
    same = [key for key, section in stated.items() if agrees(section, cell.data)]
    told = f"; so say {', '.join(same)}" if same else ""
    page.put("data", format_section(cell.data), cell.notes["data"] + told)
    if "others" in cell.notes:
        page.say(cell.notes["others"])
    if cell.overscan is None:
        page.put("overscan", "none", cell.notes.get("unusable", "all columns and rows are lit in flats"))
        return
    same = [key for key, section in stated.items() if agrees(section, cell.overscan)]
    told = f"; so say {', '.join(same)}" if same else ""
    page.put("overscan", format_section(cell.overscan), cell.notes["overscan"] + told)
    page.put("overscan_skip", cell.skip, cell.notes["overscan_skip"])
    if cell.parallel is not None:
        page.put("parallel_overscan", format_section(cell.parallel), cell.notes["parallel_overscan"])
    elif "unusable" in cell.notes:
        page.say(f"Not used: {cell.notes['unusable']}")


def _rounded(value, error):
    digits = 2 - math.floor(math.log10(error)) if error and error > 0 else 3
    return round(float(value), min(max(digits - 1, 0), 6))


def _with_error(words, error):
    return words if error is None else f"+- {error:.2g}; {words}"


def put_policy(page, layouts, temperatures):
    """
    Write the policy.

    Parameters
    ----------
    page : Page
        Is written to.
    layouts : list of Layout
        Of the detectors.
    temperatures : list of float
        Of the detector, in Celsius.
    """
    edge = max((layout.edge for layout in layouts), default=0)
    known = [layout for layout in layouts if layout.known]
    spread = float(np.ptp(temperatures)) if len(temperatures) else 0.0
    page.head("[policy]")
    if known:
        page.put("edge", edge, max(known, key=lambda layout: layout.edge).edge_words)
    else:
        page.put("edge", None, "no flats to see dead borders in")
    usual = Policy().temperature_tolerance
    if usual < spread <= _MOST_KELVIN:
        told = f"the detector is between {min(temperatures):.1f} and {max(temperatures):.1f} C in these frames"
        page.put("temperature_tolerance", float(math.ceil(spread)), told)
    elif spread > _MOST_KELVIN:
        page.say(
            f"temperature_tolerance: temperatures spread over {spread:.1f} K, which is not one state of a detector"
        )


def typical_modes(shots):
    """
    Binning and read modes of the frames.

    Parameters
    ----------
    shots : list of Shot
        Frames.

    Returns
    -------
    binning : str
        '' where no card says it.
    modes : tuple of str
    """
    binnings = [shot.facts.binning for shot in shots if shot.facts.binning]
    modes = dict.fromkeys(shot.facts.read_mode for shot in shots)
    return max(binnings, key=binnings.count, default=""), tuple(dict.fromkeys([*modes, ""]))
