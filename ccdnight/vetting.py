"""Header against pixels: a bias with light in it, a flat without, a frame of all one value."""

import math

import numpy as np

__all__ = ["COPY", "contradictions", "copies"]

#: How the reason begins why a copy is not used.
COPY = "a copy of "

#: A bias (or dark) may stray from the others by this many adu, or this many times its read noise.
_STRAY_ADU, _STRAY_NOISE = 100.0, 20.0
#: Darks of the same exposure are alike only if their detector temperatures differ by no more than this.
_WARMER = 1.0
#: No bias lies above its own overscan by so many adu.
_MUCH_LIGHT = 1000.0
#: A flat has so much light above the bias, in adu, at least and at most.
_FLAT_LEVEL = (200.0, 1e6)
#: More than this part of a flat saturated and it is of no use.
_SATURATED = 0.1


def contradictions(frames, samples, *, flat_level=_FLAT_LEVEL, flat_saturated=_SATURATED):
    """
    Hold what the headers say against what the pixels show.

    Parameters
    ----------
    frames : `~astropy.table.Table`
        The frame table.
    samples : `~astropy.table.Table`
        What `FrameCollection.measure` returned for the same files, in the same order.
    flat_level, flat_saturated : optional
        Bounds for flats, as in `ccdnight.Policy`.

    Returns
    -------
    dict of str to str
        Path to a sentence that names the values; files without a contradiction are left out.
    """
    rows = [_Row(frame, sample) for frame, sample in zip(frames, samples, strict=True)]
    found = {}
    for row in rows:
        sentence = row.problem or _broken(row) or _check_kind(row, rows, flat_level, flat_saturated)
        if sentence:
            found[row.path] = sentence
    return found


def copies(frames, samples, found):
    """
    Calibration frames that are there twice, as a.fits beside a.fits.gz or in two folders.

    Counted twice, a frame would make the error of its master too small, and the noise of pairs of frames vanish. The
    noise of its pixels tells it apart from any other frame. Science frames are all reduced, whoever wants them twice.

    Parameters
    ----------
    frames, samples : `~astropy.table.Table`
        As for `contradictions`.
    found : dict of str to str
        What `contradictions` returned; a frame that cannot be used does not stand for its copy.

    Returns
    -------
    dict of str to str
        Path of each further copy to the path of the first.
    """
    first, others = {}, {}
    for frame, sample in zip(frames, samples, strict=True):
        row = _Row(frame, sample)
        if row.kind not in ("bias", "dark", "flat", "twilight") or row.path in found or not row.scatter > 0:
            continue
        pixels = (row.level, row.scatter, str(row.overscan), row.saturated, row.span)
        one = first.setdefault((row.kind, row.key, row.exposure, pixels), row.path)
        if one != row.path:
            others[row.path] = one
    return others


class _Row:
    """What is needed of one frame."""

    def __init__(self, frame, sample):
        self.path, self.kind = str(frame["path"]), str(frame["kind"])
        self.key = tuple(str(frame[name]) for name in ("detector", "binning", "read_mode", "shape"))
        self.exposure, self.temperature = (
            None if np.ma.is_masked(frame[name]) else float(frame[name]) for name in ("exposure", "temperature")
        )
        self.problem = str(sample["problem"])
        self.level, self.scatter, self.overscan, self.saturated, self.span = (
            float(sample[name]) for name in ("level", "scatter", "overscan", "saturated", "span")
        )

    @property
    def light(self):
        """Level above the overscan where there is one; else the level itself."""
        return self.level - self.overscan if math.isfinite(self.overscan) else self.level


def _broken(row):
    if math.isnan(row.level):
        return "none of its pixels is finite"
    if row.saturated == 1:
        return f"all of its pixels are saturated ({row.level:g} adu)"
    if row.span == 0:
        return f"all of its pixels are {row.level:g}; a read-out frame has noise"
    if row.level == 0 and row.scatter == 0:
        return "more than half of its pixels are 0; a read-out frame has a bias level and noise"
    return ""


def _check_kind(row, rows, flat_level, flat_saturated):
    if row.kind in ("bias", "dark"):
        return _check_unlit(row, rows)
    if row.kind in ("flat", "twilight"):
        return _check_lit(row, rows, flat_level, flat_saturated)
    return ""


def _check_unlit(row, rows):
    alike = [
        other
        for other in rows
        if other.kind == row.kind and other.key == row.key and _same_charge(other, row) and not _broken(other)
    ]
    if len(alike) >= 3:
        typical = float(np.median([other.light for other in alike]))
        noise = float(np.median([other.scatter for other in alike]))
        allowed = max(_STRAY_ADU, _STRAY_NOISE * noise)
        if abs(row.light - typical) > allowed:
            return (
                f"its header says {row.kind}, but its level is {row.level:.0f} adu, {row.light - typical:+.0f} adu "
                f"from the other {row.kind} frames; up to {allowed:.0f} adu are allowed"
            )
    if row.kind == "bias" and math.isfinite(row.overscan) and row.light > _MUCH_LIGHT:
        return (
            f"its header says bias, but it has {row.light:.0f} adu of light above its overscan; "
            f"up to {_MUCH_LIGHT:.0f} adu are allowed"
        )
    if row.saturated > 0.5:
        return f"its header says {row.kind}, but {row.saturated:.0%} of its pixels are saturated"
    return ""


def _same_charge(one, other):
    """Whether two unlit frames should have gathered the same dark current; a bias has none, whatever it says."""
    if one.kind == "bias":
        return True
    if one.exposure is None or other.exposure is None:
        return False
    known = one.kind == "dark" and one.temperature is not None and other.temperature is not None
    if known and abs(one.temperature - other.temperature) > _WARMER:
        return False
    return abs(one.exposure - other.exposure) <= max(0.1, 0.005 * other.exposure)


def _check_lit(row, rows, flat_level, flat_saturated):
    if row.saturated > flat_saturated:
        return f"{row.saturated:.0%} of its pixels are saturated; a flat may have up to {flat_saturated:.0%}"
    biases = [other.light for other in rows if other.kind == "bias" and other.key == row.key and not _broken(other)]
    if biases:
        light = row.light - float(np.median(biases))
    elif math.isfinite(row.overscan):
        light = row.light
    else:
        return ""
    lowest, highest = flat_level
    if light < lowest:
        return (
            f"its header says {row.kind}, but it has {light:.0f} adu of light above the bias; "
            f"a flat needs at least {lowest:.0f} adu"
        )
    if light > highest:
        return f"it has {light:.0f} adu of light above the bias; the policy takes flats of up to {highest:.0f} adu"
    return ""
