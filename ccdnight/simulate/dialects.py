"""Headers of any instrument that has a profile: the first keyword of each entry of its dialect."""

import fnmatch

from ccdnight.exceptions import InputError
from ccdnight.simulate.headers import lfc_cards, maxim_cards, nickel_cards, pointing, start_of
from ccdnight.simulate.rawfile import card, structure_cards

__all__ = ["header_cards", "plain_word", "profile_cards"]

_WRITERS = {"lfc": lfc_cards, "aspen": maxim_cards, "arcsat": maxim_cards, "nickel": nickel_cards}


def header_cards(night, exposure, array, profile=None):
    """
    Cards of a raw frame in the dialect of its night.

    Parameters
    ----------
    night, exposure : Night, Exposure
        The night and the exposure.
    array : numpy.ndarray
        The raw frame.
    profile : InstrumentProfile, optional
        Needed for nights of the dialect 'profile'.

    Returns
    -------
    list of str
        All cards but END.

    Raises
    ------
    InputError
        If the dialect is not known.
    """
    if night.dialect == "profile" and profile is not None:
        return profile_cards(night, exposure, array, profile)
    if night.dialect not in _WRITERS:
        known = ", ".join(sorted(_WRITERS))
        what = f"night {night.name!r} has dialect {night.dialect!r}"
        msg = f"{what}; known are {known}, and 'profile' with a profile"
        raise InputError(msg)
    return _WRITERS[night.dialect](night, exposure, array)


def plain_word(pattern):
    """
    A word that a shell pattern matches.

    Parameters
    ----------
    pattern : str
        Such as ``dark*``.

    Returns
    -------
    str
        The pattern without its wild cards where that matches, else the pattern itself.
    """
    word = "".join("x" if letter == "?" else letter for letter in pattern if letter != "*")
    return word if fnmatch.fnmatchcase(word.casefold(), pattern.casefold()) else pattern


def profile_cards(night, exposure, array, profile):
    """
    A header that a profile understands.

    Parameters
    ----------
    night, exposure : Night, Exposure
        The night and the exposure.
    array : numpy.ndarray
        The raw frame.
    profile : InstrumentProfile
        Its dialect gives the keywords, its kinds and rules their values, its matches what makes it known.

    Returns
    -------
    list of str
    """
    values = {}
    _facts(values, night, exposure, profile.dialect)
    _sections(values, night, array, profile)
    _kind(values, exposure.header_kind or exposure.kind, profile)
    for keyword, patterns in profile.matches.items():
        values.setdefault(keyword, plain_word(patterns[0]))
    return [*structure_cards(array), *(card(keyword, value) for keyword, value in values.items())]


def _facts(values, night, exposure, dialect):
    moment = start_of(exposure)
    alpha, delta, air = pointing(night, exposure)
    readout = night.camera.readouts[0] if len(night.camera.readouts) == 1 else None
    facts = {
        "exposure": exposure.exposure,
        "dark_time": exposure.dark_time,
        "filter": exposure.header_filter or exposure.filter,
        "object": exposure.object,
        "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3],
        "time_of_day": moment.strftime("%H:%M:%S.%f")[:-3],
        "temperature": exposure.temperature,
        "detector": night.camera.detector,
        "right_ascension": round(alpha, 7),
        "declination": round(delta, 7),
        "airmass": round(air, 5),
        "latitude": night.latitude,
        "longitude": night.longitude,
        "gain": readout and readout.gain,
        "read_noise": readout and readout.read_noise,
    }
    for name, value in facts.items():
        keywords = getattr(dialect, name)
        if keywords and value not in ("", None):
            first = keywords[0] if isinstance(keywords[0], str) else keywords[0][0]
            values.setdefault(first, value)
    for keyword in dialect.binning[0] if dialect.binning else ():
        values.setdefault(keyword, 1 if len(dialect.binning[0]) == 2 else "1 1")


def _sections(values, night, array, profile):
    camera, dialect = night.camera, profile.dialect
    if len(camera.readouts) > 1:
        return
    readout, ny, nx = camera.readouts[0], *array.shape
    if dialect.data_section:
        values[dialect.data_section[0]] = readout.data
    elif dialect.trim_section:
        values[dialect.trim_section[0]] = readout.data
    if not readout.overscan:
        return
    if dialect.overscan_section:
        values[dialect.overscan_section[0]] = readout.overscan
    elif dialect.overscan_columns:
        values[dialect.overscan_columns[0]] = nx - camera.data_shape[1]
        if dialect.overscan_rows:
            values[dialect.overscan_rows[0]] = ny - camera.data_shape[0]


def _kind(values, kind, profile):
    """Say the kind in a word of the profile, else by a rule of it."""
    words = [word for word in profile.kinds.get(kind, ()) if profile.dialect.kind]
    if words:
        values[profile.dialect.kind[0]] = plain_word(words[0])
        return
    for rule in profile.rules:
        if rule.kind == kind:
            values.update({keyword: plain_word(globs[0]) for keyword, globs in rule.when.items()})
            return
    known = ", ".join(profile.kinds)
    msg = f"profile {profile.name!r} has no word and no rule for the kind {kind!r}; it knows {known}"
    raise InputError(msg)
