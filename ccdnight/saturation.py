"""Saturated stars: their pixels grown, and the trails of the charge that their wells could not hold."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight._inputs import whole
from ccdnight._kernels.saturation import find_above, find_flagged
from ccdnight._sections import parse_section
from ccdnight._trails import CROWDED, NEARLY, find_trails
from ccdnight.exceptions import SectionError
from ccdnight.flags import FLAGS
from ccdnight.products import derive, flags_of, read_ccd, sigma_of
from ccdnight.profiles import get_profile
from ccdnight.provenance import is_applied, record_step
from ccdnight.readout import amplifier_regions, frame_geometry

__all__ = ["flag_saturation"]

#: Pixels by which saturated pixels and trails are grown unless something else is asked for.
DEFAULT_GROW = 1
_SATURATED, _BLEED = (np.uint16(FLAGS[name].value) for name in ("SATURATED", "BLEED"))
_BAD = np.uint16(FLAGS["BAD_PIXEL"].value)


def flag_saturation(ccd, *, profile=None, grow=None):
    """
    Grow the saturated pixels of a frame, and flag the bleed trails that start from them.

    `ccdnight.calibrate` does this with every frame. It works on raw frames as well as on calibrated ones.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A frame whose saturated pixels are flagged SATURATED, as `ccdnight.read_frame` gives it, shape ``(ny, nx)``.
    profile : str, path-like or InstrumentProfile, optional
        The instrument, which knows along which axis the charge runs; without one, or where it does not know, the
        shape of the saturated cores tells.
    grow : int, optional
        Pixels by which both are grown; by default what the profile's policy says, else 1.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With SATURATED also next to saturated pixels, and BLEED on the trails and next to them. Pixels that are
        flagged BAD_PIXEL are saturated for reasons of their own: they neither grow nor bleed.

    Raises
    ------
    ValueError
        If grow is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.flags import flag_value
    >>> from ccdnight.saturation import flag_saturation
    >>> star = CCDData(np.full((32, 32), 500.0), unit="adu", flags=np.zeros((32, 32), np.uint16))
    >>> star.data[14:17, 14:17] = 65535
    >>> star.flags[14:17, 14:17] = flag_value("SATURATED")
    >>> int((star.flags > 0).sum()), int((flag_saturation(star, grow=1).flags > 0).sum())
    (9, 25)
    """
    ccd = ccd if isinstance(ccd, CCDData) else read_ccd(ccd)
    profile = None if profile is None else get_profile(profile)
    if grow is None:
        grow = DEFAULT_GROW if profile is None else profile.policy.grow_saturated
    flags, data = flags_of(ccd), np.array(ccd.data, np.float32, order="C")
    level = _known_level(ccd, profile)
    mark_saturation(data, sigma_of(ccd), flags, trail_regions(ccd, profile), grow=whole(grow, "grow"), level=level)
    result = derive(ccd, flags=flags)
    record_step(result, "saturation", history=f"saturated pixels grown by {grow}, trails flagged", grow=int(grow))
    return result


def _known_level(ccd, profile):
    """Saturation in the unit of a frame, as far as it is known: of raw values, or of electrons above the bias."""
    if str(ccd.unit) == "electron":
        level = ccd.meta.get("SATURATE")
        return float(level) if isinstance(level, int | float) and level > 0 else None
    if profile is None or is_applied(ccd.meta, "overscan") or is_applied(ccd.meta, "bias"):
        return None
    levels = [amplifier.saturation for _, amplifier in amplifier_regions(ccd, profile) if amplifier.saturation]
    return min(levels) if levels else None


def trail_regions(ccd, profile):
    """
    Where each amplifier lies in a frame and along which axis its charge runs.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, trimmed or not.
    profile : InstrumentProfile or None
        The instrument.

    Returns
    -------
    list of tuple
        ``((rows, columns), axis)`` with axis 0 along columns, 1 along rows, None where that is not known.
    """
    if profile is None:
        return [((slice(0, ccd.data.shape[0]), slice(0, ccd.data.shape[1])), None)]
    regions = amplifier_regions(ccd, profile)
    if is_applied(ccd.meta, "trim"):
        return [(region, _axis(amplifier, *_own_sections(amplifier))) for region, amplifier in regions]
    geometry = frame_geometry(ccd.meta, ccd.data.shape, profile)
    return [(item.data, _axis(item.amplifier, item.data, item.overscan)) for item in geometry.amplifiers]


def _own_sections(amplifier):
    try:
        return tuple(parse_section(getattr(amplifier, name), amplifier.shape) for name in ("data", "overscan"))
    except SectionError:
        return None, None


def _axis(amplifier, data, overscan):
    """The serial overscan lies at the ends of the rows that are read one by one; the charge runs across them."""
    if amplifier.bleed != "auto":
        return {"columns": 0, "rows": 1}[amplifier.bleed]
    if data is None or overscan is None:
        return None
    beside = overscan[1].start >= data[1].stop or overscan[1].stop <= data[1].start
    return 0 if beside else 1


def mark_saturation(data, sigma, flags, regions, *, grow=DEFAULT_GROW, level=None):
    """
    Grow saturated pixels and flag trails, in arrays.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    sigma : `~numpy.ndarray` or None
        The same; None takes the scatter of the frame.
    flags : `~numpy.ndarray`
        uint16, changed.
    regions : list of tuple
        As `trail_regions` gives them.
    grow : int, optional
        Pixels by which both are grown.
    level : float, optional
        Saturation in the unit of the data. Wells can be full a little below it: cores that reach 95 % of it and bleed
        are taken for saturated as well.
    """
    flags_c, nx = np.ascontiguousarray(flags), flags.shape[1]
    seeds = saturated = find_flagged(flags_c, _SATURATED, _BAD)
    if level is not None and np.isfinite(level) and level > 0:
        near = find_above(np.ascontiguousarray(data), NEARLY * level, int(CROWDED * data.size))
        near = near[(flags_c.reshape(-1)[near] & _BAD) == 0]
        seeds = np.union1d(seeds, near) if near.size else seeds
    if not seeds.size:
        return
    trails, full = find_trails(data, sigma, flags, np.divmod(seeds, nx), regions)
    saturated = np.union1d(saturated, full[0] * nx + full[1]) if full[0].size else saturated
    for places, bit in ((np.divmod(saturated, nx), _SATURATED), (trails, _BLEED)):
        if places[0].size:
            _set(flags, places, bit, grow)


def _set(flags, place, bit, grow):
    """Set a bit at some places and around them."""
    ny, nx = flags.shape
    if place[0].size > CROWDED * flags.size:
        from scipy.ndimage import binary_dilation

        mask = np.zeros(flags.shape, bool)
        mask[place] = True
        flags[binary_dilation(mask, np.ones((3, 3)), iterations=grow) if grow else mask] |= bit
        return
    for dy in range(-grow, grow + 1):
        for dx in range(-grow, grow + 1):
            flags[np.clip(place[0] + dy, 0, ny - 1), np.clip(place[1] + dx, 0, nx - 1)] |= bit
