"""Which frames are coadded: aligned, of one filter and unit, with what is known of exposure, gain and masters."""

from dataclasses import dataclass

import numpy as np

from ccdnight.alignment import Alignment, align
from ccdnight.alignment.coordinates import start_coordinates
from ccdnight.alignment.opening import open_frames
from ccdnight.alignment.results import FrameTransform
from ccdnight.exceptions import FrameWarning, InputError, warn_user
from ccdnight.profiles.interpret import first_number, read_facts
from ccdnight.readout import find_profile

__all__ = ["Facts", "factors_of", "facts_of", "gather_frames", "refuse_mixtures", "tolerance_of"]

#: Tolerance for stars at the least, at most, and where nothing is known.
_LEAST, _LARGEST, _UNKNOWN = 0.08, 0.6, 0.3
#: Stars in common, and full width in pixels, from which on a width is believed.
_MEASURED, _NARROW = 8, 2.5
ALIGNMENTS = ("auto", "stars", "wcs")


@dataclass(frozen=True)
class Facts:
    """
    What a coadd needs to know of a frame.

    Attributes
    ----------
    filter : str
        Filter.
    exposure : float or None
        Seconds.
    gain : float or None
        Electron per data unit; None where it is not known.
    read_noise : float or None
        Electron.
    masters : tuple
        Files of the masters that were applied.
    shared : tuple of float
        Variance that bias and dark bring to each pixel, in the unit squared, and the relative error of the flat.
    """

    filter: str
    exposure: float | None
    gain: float | None
    read_noise: float | None
    masters: tuple
    shared: tuple


def facts_of(item):
    """
    Facts from a frame's header.

    Parameters
    ----------
    item : Opened
        The frame.

    Returns
    -------
    Facts
    """
    header = item.header
    profile = find_profile(None, header)
    facts = read_facts(header, profile)
    if item.unit == "electron":
        gain = 1.0
    else:
        known = profile.amplifiers_of(facts.detector)
        gain = known[0].gain if known and known[0].gain else first_number(header, profile.dialect.gain)[0]
    noise = first_number(header, ("RDNUSED", *profile.dialect.read_noise))[0]
    masters = tuple(str(header.get(key, "")) for key in ("BIASFILE", "DARKFILE", "FLATFILE"))
    shared = tuple(first_number(header, (key,))[0] or 0.0 for key in ("MASTVAR", "FLATERR"))
    exposure = facts.exposure if facts.exposure and facts.exposure > 0 else None
    return Facts(facts.filter, exposure, gain if gain and gain > 0 else None, noise, masters, shared)


def gather_frames(frames, alignment, workers, reference=None):
    """
    The frames with world coordinates that agree.

    Parameters
    ----------
    frames : list or Alignment
        What was given.
    alignment : {'auto', 'stars', 'wcs'}
        See `ccdnight.coadding.coadd`.
    workers : int or None
        Threads.
    reference : object, optional
        As for `ccdnight.align`.

    Returns
    -------
    Alignment

    Raises
    ------
    InputError
        If there is one frame only, or the frames do not go together.
    """
    if alignment not in ALIGNMENTS:
        msg = f"align = {alignment!r} is not known; known are {', '.join(ALIGNMENTS)}"
        raise InputError(msg)
    if isinstance(frames, Alignment):
        if len(frames) < 2:
            msg = f"frames: one frame only is aligned; at least 2 are needed: {'; '.join(frames.failures.values())}"
            raise InputError(msg)
        return frames
    opened = open_frames(frames, least=2)
    told = {str(item.header.get("ASTRREF", "")) for item in opened}
    if alignment == "wcs" or (alignment == "auto" and len(told) == 1 and told != {""}):
        return _as_they_are(opened)
    refuse_mixtures(opened)
    found = align(frames, reference=reference, workers=workers)
    for name, reason in found.failures.items():
        warn_user(f"{name} is left out: {reason}", FrameWarning)
    return found


def _as_they_are(opened):
    """Frames whose world coordinates are taken as they are."""
    starts = [start_coordinates(item.header, item.shape) for item in opened]
    for item, start in zip(opened, starts, strict=True):
        if start.source != "header":
            why = f": {start.notes[-1]}" if start.notes else ""
            msg = f"{item.name}: no usable world coordinates in its header{why}; let the stars align it"
            raise InputError(msg)
    words = str(opened[0].header.get("ASTRABS", "absolute positions are as good as the headers of the frames"))
    transforms = [
        FrameTransform(item.name, True, source="header", stars=int(item.header.get("ASTRNUM", 0) or 0),
                       residual=float(item.header.get("ASTRRES", np.nan) or np.nan))
        for item in opened
    ]  # fmt: skip
    reference = str(opened[0].header.get("ASTRREF", "")) or opened[0].name
    coordinates = [item.wcs for item in starts]
    loads = [item.load for item in opened]
    return Alignment(loads, transforms, reference, coordinates=coordinates, opened=opened, absolute=words)


def refuse_mixtures(opened):
    """
    Refuse frames of several units, and of several filters.

    Parameters
    ----------
    opened : list of Opened
        The frames.

    Raises
    ------
    InputError
        With every filter or unit and a frame that has it.
    """
    found = {"filters": {}, "units": {}}
    for item in opened:
        found["filters"].setdefault(facts_of(item).filter, item.name)
        found["units"].setdefault(item.unit, item.name)
    for what, values in found.items():
        if len(values) > 1:
            texts = ", ".join(f"{value or 'none'} ({name})" for value, name in values.items())
            msg = f"frames: mixed {what}: {texts}; coadd the frames of each by themselves"
            raise InputError(msg)


def tolerance_of(transforms, factors):
    """
    Part of a star's light that counts as noise, from how much width and brightness change from frame to frame.

    Nowhere does a Moffat profile with the exponent of the atmosphere, 4.8, change by more than 7.6 times the relative
    change of its width; thresholds are some four times the noise.

    Parameters
    ----------
    transforms : sequence of FrameTransform
        Of the aligned frames.
    factors : `~numpy.ndarray`
        What the frames are multiplied by.

    Returns
    -------
    float
        0.3 where widths are not known or too narrow to be interpolated well.
    """
    widths = np.array([item.fwhm for item in transforms])
    light = np.array([item.brightness for item in transforms]) * factors
    few = any(item.stars < _MEASURED for item in transforms)
    if few or not (np.isfinite(widths).all() and np.isfinite(light).all()) or widths.min() < _NARROW:
        return _UNKNOWN
    change = [np.abs(values / np.median(values) - 1).max() for values in (widths, light)]
    return float(min(_LARGEST, _LEAST + 2.0 * change[0] + 0.25 * change[1]))


def factors_of(facts, transforms, scale):
    """
    What each frame is multiplied by.

    Parameters
    ----------
    facts : list of Facts
        Of the frames.
    transforms : sequence of FrameTransform
        Of the frames.
    scale : {'exposure', 'stars', 'none'} or sequence of float
        See `ccdnight.coadding.coadd`.

    Returns
    -------
    factors : `~numpy.ndarray`
    exposure : float or None
        Seconds to which the values of the coadd belong.

    Raises
    ------
    InputError
        If exposures differ and one is not known, or the factors are none.
    """
    times = [item.exposure for item in facts]
    known = [value for value in times if value]
    usual = float(np.median(known)) if known else None
    if isinstance(scale, str) and scale == "none":
        return np.ones(len(facts)), usual
    if isinstance(scale, str) and scale == "exposure":
        if not known:
            return np.ones(len(facts)), None
        if len(known) < len(times):
            without = [item.name for item, value in zip(transforms, times, strict=True) if not value]
            msg = f"{without[0]}: its exposure is not known, those of others are; give scale = 'none' or factors"
            raise InputError(msg)
        return usual / np.array(times), usual
    if isinstance(scale, str) and scale == "stars":
        light = np.array([item.brightness for item in transforms])
        if not (np.isfinite(light) & (light > 0)).all():
            lost = [item.name for item, value in zip(transforms, light, strict=True) if not value > 0]
            msg = f"scale = 'stars': {lost[0]} has no stars in common with the reference"
            raise InputError(msg)
        return np.median(light) / light, usual
    values = None if isinstance(scale, str) else np.asarray(scale, float)
    if values is None or values.shape != (len(facts),) or not (np.isfinite(values) & (values > 0)).all():
        allowed = f"'exposure', 'stars', 'none' and a positive factor for each of {len(facts)} frames"
        msg = f"scale = {scale!r}; allowed are {allowed}"
        raise InputError(msg)
    return values, usual
