"""How a camera says what kind of frame it wrote."""

import re
from collections import Counter
from dataclasses import dataclass, field

from ccdnight.learning.words import KIND_WORDS, word_kind
from ccdnight.profiles import get_profile

__all__ = ["KindWords", "learn_kinds"]

#: A keyword with more different words than this is something an observer types.
_MOST_WORDS = 16
#: Names of cards that may tell whether the shutter opened, and part of the frames that must look so.
_SHUTTER, _SURE = re.compile(r"SHUT|TYP|KIND|MODE|STAT|IMG|FRAME|CLASS"), 0.9
#: A frame of a kind looks like this; what the sky sends may look like a flat.
_LOOKS = {
    "bias": {"bias"},
    "dark": {"dark", "bias"},
    "flat": {"flat", "science"},
    "twilight": {"flat", "science"},
    "science": {"science", "dark"},
}


@dataclass
class KindWords:
    """
    The keyword of the kind, and what its words mean.

    Attributes
    ----------
    keywords : tuple of str
        Empty where the header does not say the kind.
    rules : list of (str, dict, float or None, str)
        Kind, patterns of keywords, longest exposure, evidence.
    spellings : dict of str to (str, str)
        Word to kind and evidence.
    evidence : str
        Of the keyword.
    """

    keywords: tuple = ()
    rules: list = field(default_factory=list)
    spellings: dict = field(default_factory=dict)
    evidence: str = "no card says what kind a frame is"


def learn_kinds(cards, pixel_kinds, exposures):
    """
    Find the keyword that says the kind, and its words.

    Parameters
    ----------
    cards : Cards
        All cards.
    pixel_kinds : list of str
        What the frames look like.
    exposures : list of float or None
        In seconds.

    Returns
    -------
    KindWords
    """
    key = _keyword(cards, pixel_kinds) or _coded(cards, pixel_kinds)
    found = KindWords()
    if key is None:
        _shutter_rules(found, cards, pixel_kinds)
        return _by_exposure_only(found, exposures, pixel_kinds)
    found.keywords = (key,)
    typed = len(cards.distinct(key)) > _MOST_WORDS or key in _TYPED
    words = cards.values[key]
    seen = Counter(word_kind(str(word), typed) or "?" for word in words if word is not None)
    found.evidence = f"{key} in {round(100 * cards.part(key))} % of the frames: {_count(seen)}"
    _typed_elsewhere(found, cards, key, pixel_kinds, exposures)
    if typed:
        _shutter_rules(found, cards, pixel_kinds)
        _typed_rules(found, key, words, exposures, rest=True)
        return found
    for word in cards.distinct(key):
        _spelling(found, key, str(word), [i for i, value in enumerate(words) if value == word], pixel_kinds, exposures)
    return found


#: Cards an observer fills in.
_TYPED = ("OBJECT", "OBJNAME", "TARGNAME", "TARGET", "TITLE", "COMMENTS", "NOTES")


def _keyword(cards, pixel_kinds):
    """The keyword whose words say the kind: known names first, then the one with most kinds and best agreement."""
    known = get_profile("generic").dialect.kind
    scored = []
    for place, key in enumerate(cards.values):
        words = cards.values[key]
        texts = [word for word in words if isinstance(word, str)]
        typed = key in _TYPED
        many = len(set(texts)) > _MOST_WORDS
        if not texts or (many and not typed) or re.search(r"FILE|PATH|NAME$", key.replace("OBJNAME", "")):
            continue
        kinds = [word_kind(word, typed) for word in words]
        told = sum(bool(kind) for kind in kinds)
        agreed = sum(look in _LOOKS.get(kind, ()) for kind, look in zip(kinds, pixel_kinds, strict=True))
        if not told or (key not in known and agreed < 0.5 * told):
            continue
        rank = known.index(key) if key in known else len(known)
        namely = bool(re.search(r"TYP|KIND|IMG|CLASS|CATG", key))
        scored.append((rank, typed, -namely, -len(set(kinds) - {""}), -agreed, place, key))
    return min(scored)[-1] if scored else None


def _coded(cards, pixel_kinds):
    """A keyword whose words mean nothing to us, but go with what the frames look like."""
    for key in (*get_profile("generic").dialect.kind, *filter(_SHUTTER.search, cards.values)):
        words = cards.values.get(key)
        if words is None or cards.part(key) < 1 or not 2 <= len(cards.distinct(key)) <= _MOST_WORDS // 2:
            continue
        looks = [Counter(look for look, own in zip(pixel_kinds, words, strict=True) if own == word) for word in words]
        pure = all(look.most_common(1)[0][1] >= _SURE * look.total() for look in looks)
        if pure and len({look.most_common(1)[0][0] for look in looks}) > 2:
            return key
    return None


def _count(counter):
    return ", ".join(f"{number} {kind}" for kind, number in counter.most_common())


def _typed_elsewhere(found, cards, key, pixel_kinds, exposures):
    """Where the shutter's words cover several kinds, what the observer typed tells them apart."""
    words = [word_kind(str(word), key in _TYPED) for word in cards.values[key]]
    for other in ("OBJECT", *(item for item in _TYPED if item != "OBJECT")):
        values = cards.values.get(other)
        if values is None or other == key:
            continue
        typed = [word_kind(value, typed=True) for value in values]
        wrong = [
            place
            for place, (kind, own, look) in enumerate(zip(typed, words, pixel_kinds, strict=True))
            if kind in ("bias", "flat", "twilight") and own in ("", "science", "dark") and look in _LOOKS[kind]
        ]
        if wrong:
            _typed_rules(found, other, values, exposures, only=wrong)
            return


def _typed_rules(found, key, values, exposures, *, only=None, rest=False):
    """Rules for what an observer typed; with `rest`, everything else that was typed is a science frame."""
    places = range(len(values)) if only is None else only
    seen = Counter(word_kind(values[place], typed=True) for place in places)
    dark = [place for place in places if word_kind(values[place], True) == "dark" and exposures[place] == 0]
    if dark:
        found.rules.append(("bias", {key: ("dark*",)}, 0.0, f"{len(dark)} darks without an exposure"))
    if {"flat", "twilight"} & set(seen):
        seen.update({"flat": 0, "twilight": 0})
    for kind, globs in KIND_WORDS.items():
        if kind in seen and (rest or kind in ("bias", "flat", "twilight")):
            limit = (
                0.0 if kind == "bias" and all(_short(exposures[i]) for i in places if _is(values[i], kind)) else None
            )
            told = f"{seen[kind]} frames whose {key} says so" if seen[kind] else "none of these frames, but likely ones"
            found.rules.append((kind, {key: globs}, limit, told))
    if rest:
        count = sum(not word_kind(value, True) for value in values if value is not None)
        found.rules.append(("science", {key: ("?*",)}, None, f"the other {count} frames, whose {key} names a target"))


def _is(value, kind):
    return word_kind(value, typed=True) == kind


def _short(exposure):
    return exposure is not None and exposure <= 0


def _spelling(found, key, word, places, pixel_kinds, exposures):
    """One word of the kind keyword: what it says, what its frames look like, and a rule where that differs."""
    kind, looks = word_kind(word), Counter(pixel_kinds[place] for place in places)
    look, most = looks.most_common(1)[0]
    zero = [place for place in places if exposures[place] == 0]
    told = f"{len(places)} frames, which look like {_count(looks)}"
    if kind == "dark" and zero:
        if key not in ("IMAGETYP", "OBSTYPE"):
            found.rules.append(("bias", {key: (_literal(word),)}, 0.0, f"{len(zero)} of them without an exposure"))
        told += f"; the {len(zero)} without an exposure are biases"
    if not kind and most >= 0.7 * len(places):
        kind = look
        found.rules.append((kind, {key: (_literal(word),)}, None, f"{told}; the word alone does not say it"))
    found.spellings[word] = (kind or "unknown", told)


def _literal(text):
    return re.sub(r"([\[?*])", r"[\1]", text)


def _shutter_rules(found, cards, pixel_kinds):
    """Rules from a card whose words tell dark frames from lit ones, whatever the words are."""
    for key in cards.values:
        words = cards.distinct(key)
        texts = all(isinstance(word, str | bool) for word in words)
        if not texts or not 2 <= len(words) <= 4 or not _SHUTTER.search(key) or cards.part(key) < 1:
            continue
        shut = {}
        for word in words:
            looks = [look for look, value in zip(pixel_kinds, cards.values[key], strict=True) if value == word]
            shut[word] = sum(look in ("bias", "dark") for look in looks) / len(looks)
        dark = [word for word, part in shut.items() if part > _SURE]
        if dark and all(part > _SURE or part < 1 - _SURE for part in shut.values()) and len(dark) < len(words):
            globs = tuple(_literal(str(word)) for word in dark)
            told = f"frames whose {key} is {' or '.join(map(str, dark))} carry no light, the others do"
            found.rules.append(("bias", {key: globs}, 0.0, f"{told}; these are without an exposure"))
            found.rules.append(("dark", {key: globs}, None, told))
            return


def _by_exposure_only(found, exposures, pixel_kinds):
    zero = [look for exposure, look in zip(exposures, pixel_kinds, strict=True) if exposure == 0]
    if zero and zero.count("bias") > 0.5 * len(zero):
        found.rules.append(("bias", {}, 0.0, f"{len(zero)} frames without an exposure, dark in their pixels"))
    return found
