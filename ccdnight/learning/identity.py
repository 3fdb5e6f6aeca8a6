"""Which camera wrote the frames: the cards it is recognised by, and the frames of the commonest one."""

import re
from collections import Counter

from ccdnight.profiles import list_profiles
from ccdnight.storage import card_value

__all__ = ["match_rules", "one_camera", "profile_name"]

#: Cards that name the camera; those that follow are of use where the first is missing.
_FIRST = ("INSTRUME", "CAMERA", "CAMNAME", "DETECTOR", "DETNAME", "CCDNAME", "CAMMODEL", "CAMERAID", "DSENSOR")
_SECOND = ("TELESCOP", "OBSERVAT")


def one_camera(shots):
    """
    Frames of the commonest camera.

    Parameters
    ----------
    shots : list of Shot
        Frames.

    Returns
    -------
    common, others : list of Shot
        Frames without a name of a camera count to the commonest one.
    """
    names = [str(card_value(shot.raw.header, "INSTRUME", "")).strip() for shot in shots]
    counts = Counter(name for name in names if name)
    if len(counts) < 2:
        return shots, []
    best = max(counts, key=lambda name: (counts[name], name))
    mine = [name in ("", best) for name in names]
    return (
        [shot for shot, own in zip(shots, mine, strict=True) if own],
        [shot for shot, own in zip(shots, mine, strict=True) if not own],
    )


def match_rules(cards, shape):
    """
    Cards and patterns that recognise the camera.

    Parameters
    ----------
    cards : Cards
        All cards.
    shape : tuple of int
        Of the frames, taken where no card names the camera.

    Returns
    -------
    rules : dict of str to tuple of str
    evidence : str
    """
    first = next((key for key in _FIRST if _constant(cards, key)), None)
    second = next((key for key in _SECOND if _constant(cards, key)), None)
    chosen = [key for key in (first, second) if key]
    if chosen:
        rules = {key: (_glob(cards.distinct(key)[0]),) for key in chosen}
        return rules, f"{' and '.join(chosen)} {'is' if len(chosen) == 1 else 'are'} the same in all frames"
    rules = {"NAXIS1": (str(shape[1]),), "NAXIS2": (str(shape[0]),)}
    return rules, "no card names the camera; its frames are told by their shape alone, which others may share"


def _constant(cards, key):
    return cards.part(key) > 0.9 and len(cards.distinct(key)) == 1


def _glob(value):
    return re.sub(r"([\[?*])", r"[\1]", str(value))


def profile_name(cards, source):
    """
    A name for the profile, from the camera's own or from the folder's.

    Parameters
    ----------
    cards : Cards
        All cards.
    source : object
        What is learnt from.

    Returns
    -------
    str
    """
    key = next((key for key in _FIRST if _constant(cards, key)), None)
    text = str(cards.distinct(key)[0]) if key else str(source).rstrip("/\\").replace("\\", "/").split("/")[-1]
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    name = name or "camera"
    # Asked for by its name, one that ccdnight brings would come instead.
    return f"{name}-learnt" if name in list_profiles() else name
