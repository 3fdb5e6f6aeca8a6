"""Which words mean which kind of frame, and what the pixels say of it."""

import numpy as np

from ccdnight.profiles import get_profile
from ccdnight.profiles.interpret import matches_globs

__all__ = ["KIND_WORDS", "pixel_kinds", "word_kind"]

#: Patterns of what observers type where the camera does not say the kind.
KIND_WORDS = {
    "bias": ("bias*", "zero*", "* bias", "offset*"),
    "dark": ("dark*", "* dark", "* darks"),
    "twilight": ("*sky*flat*", "*twi*flat*", "*flat*sky*", "*flat*twi*", "twilight*"),
    "flat": ("*flat*",),
    "ignored": ("focus*", "test*", "pointing*"),
}
#: A flat has at least this part of the light of the brightest frame, and so many times the noise of a dark one.
_FLAT_PART, _FLAT_NOISES = 0.1, 100.0
_STARS = 3e-4


def word_kind(value, typed=False):
    """
    Kind of frame that a word means.

    Parameters
    ----------
    value : object
        A card's value.
    typed : bool, optional
        Whether an observer typed it, who may say more than the kind.

    Returns
    -------
    str
        '' for a word that means none.
    """
    if not isinstance(value, str) or not value.strip():
        return ""
    if typed:
        return next((kind for kind, globs in KIND_WORDS.items() if matches_globs(value, globs)), "")
    generic = get_profile("generic")
    if matches_globs(value, ("flat*sky*", "flat*twi*")):
        return "twilight"
    return next((kind for kind, globs in generic.kinds.items() if matches_globs(value, globs)), "")


def pixel_kinds(shots, exposures):
    """
    What frames look like: the shortest and darkest are biases, bright and smooth ones flats.

    Parameters
    ----------
    shots : list of Shot
        Frames that have been looked at.
    exposures : list of float or None
        Their exposures in seconds.

    Returns
    -------
    list of str
        'bias', 'dark', 'flat' or 'science' for each.
    """
    levels, noises = (np.array([getattr(shot, name) for shot in shots]) for name in ("level", "noise"))
    base = _base_level(levels, exposures)
    dark_noise = float(np.median(noises[levels <= base + 3 * noises.min()]))
    excess = levels - base
    kinds = []
    for shot, light, exposure in zip(shots, excess, exposures, strict=True):
        if light > max(_FLAT_NOISES * dark_noise, _FLAT_PART * excess.max()) and shot.stars < 10 * _STARS:
            kinds.append("flat")
        elif light > 30 * dark_noise or shot.stars > _STARS:
            kinds.append("science" if exposure is None or exposure > 0 else "dark")
        else:
            kinds.append("bias" if exposure is not None and exposure <= 0.01 else "dark")
    return kinds


def _base_level(levels, exposures):
    """Level of the frames without light: the lowest that more than a single frame has, where there are several."""
    shortest = min((e for e in exposures if e is not None), default=None)
    short = [level for level, e in zip(levels, exposures, strict=True) if e == shortest]
    values = np.sort(short if shortest is not None and shortest <= 0.01 else levels)
    return float(values[min(1, len(values) - 1)] if len(values) < 5 else values[len(values) // 5])
