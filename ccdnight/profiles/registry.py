"""Where profiles come from (this package, entry points of others, files) and which one a header asks for."""

import os
from dataclasses import replace
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ccdnight.exceptions import ProfileError, warn_user
from ccdnight.profiles._checks import did_you_mean, known, shown
from ccdnight.profiles.interpret import matches_globs
from ccdnight.profiles.loading import profile_to_toml, read_profile
from ccdnight.profiles.model import InstrumentProfile
from ccdnight.storage import card_value

__all__ = [
    "ENTRY_POINTS",
    "get_profile",
    "list_profiles",
    "load_profile",
    "match_profile",
    "profile_from_toml",
]

#: Group of entry points under which other packages offer profiles.
ENTRY_POINTS = "ccdnight.profiles"


def get_profile(name_or_path):
    """
    A profile by its name or from a file.

    Parameters
    ----------
    name_or_path : str, path-like or InstrumentProfile
        A known name; a file, which a text is taken for if it ends in ``.toml`` or has a separator of
        folders in it; or a profile, which is given back.

    Returns
    -------
    InstrumentProfile

    Raises
    ------
    ProfileError
        If there is none of this name, or the file cannot be read or has mistakes.

    Examples
    --------
    >>> from ccdnight import get_profile
    >>> get_profile("lfc").name
    'lfc'
    """
    if isinstance(name_or_path, InstrumentProfile):
        return name_or_path
    if not isinstance(name_or_path, str | os.PathLike):
        msg = f"{shown(name_or_path)} is no profile; a name, a TOML file or an InstrumentProfile is allowed"
        raise ProfileError(msg)
    if isinstance(name_or_path, os.PathLike) or _is_path(name_or_path):
        return load_profile(name_or_path)
    return _find(name_or_path, ())


def list_profiles():
    """
    Names of the profiles that can be used.

    Returns
    -------
    list of str
        Sorted: those of ccdnight and those of other packages. One that another package offers and that
        cannot be loaded is left out with a warning.

    Examples
    --------
    >>> from ccdnight import list_profiles
    >>> "lfc" in list_profiles()
    True
    """
    return sorted((*_built_in_names(), *_usable()))


def match_profile(header):
    """
    The profile whose frames have such a header.

    Parameters
    ----------
    header : `~astropy.io.fits.Header` or mapping
        Header of a raw frame; its cards may be unreadable.

    Returns
    -------
    InstrumentProfile
        The one that asks for the most keywords among those that match; `generic` if none does. Where two
        ask for equally many, the first by name, with a warning.

    Examples
    --------
    >>> from ccdnight import match_profile
    >>> match_profile({"INSTRUME": "a camera nobody knows"}).name
    'generic'
    """
    profiles = [get_profile(name) for name in list_profiles()]
    found = [item for item in profiles if item.matches and _is_of(header, item)]
    if not found:
        return _built_in("generic")
    most = max(len(item.matches) for item in found)
    best = [item for item in found if len(item.matches) == most]
    if len(best) > 1:
        names = known([item.name for item in best])
        warn_user(f"the header matches the profiles {names} equally well; {best[0].name!r} is used")
    return best[0]


def _is_of(header, profile):
    return all(matches_globs(card_value(header, key), globs) for key, globs in profile.matches.items())


def load_profile(path):
    """
    A profile from a file.

    Parameters
    ----------
    path : str or path-like
        A TOML file.

    Returns
    -------
    InstrumentProfile

    Raises
    ------
    ProfileError
        If the file cannot be read, or with every mistake in it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.profiles import get_profile, load_profile, profile_to_toml
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.toml")
    ...     size = path.write_text(profile_to_toml(get_profile("lfc")), "utf-8")
    ...     profile = load_profile(path)
    >>> profile.name
    'lfc'
    """
    if not Path(path).is_file():
        msg = f"{path}: no such file; a TOML file or a known profile is allowed: {known(list_profiles())}"
        raise ProfileError(msg)
    return _from_file(Path(path), (), source=os.fspath(path))


def profile_from_toml(text, *, source="profile"):
    """
    A profile from TOML.

    Parameters
    ----------
    text : str
        The text.
    source : str, optional
        What messages call it.

    Returns
    -------
    InstrumentProfile

    Raises
    ------
    ProfileError
        With every mistake.

    Examples
    --------
    >>> from ccdnight.profiles import profile_from_toml
    >>> text = '''
    ... format = 1
    ... name = "mine"
    ... title = "My camera"
    ... '''
    >>> profile = profile_from_toml(text)
    >>> profile.name, profile.title
    ('mine', 'My camera')
    """
    return _from_text(text, (), source=source)


def _is_path(name):
    separators = {os.sep, os.altsep or os.sep, "/"}
    return name.lower().endswith(".toml") or not separators.isdisjoint(name)


def _from_text(text, asking, *, source):
    # `asking` are the names of the profiles that wait for this one, so that a circle of `extends` is seen.
    return read_profile(text, find=lambda name: _find(name, asking), source=source)


def _from_file(path, asking, *, source):
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{source}: not a profile: it is no UTF-8 text ({error.reason} at byte {error.start})"
    except OSError as error:
        msg = f"{source}: cannot be read: {error.strerror or error}"
    else:
        return _from_text(text, asking, source=source)
    raise ProfileError(msg)


def _find(name, asking):
    """A profile by name, for those in `asking`."""
    if name in asking:
        msg = f"{name!r} extends itself: {' -> '.join((*asking, name))}"
        raise ProfileError(msg)
    if name in _built_in_names():
        return _built_in(name)
    if name in _entry_points():
        return _load_entry_point(name, asking) if asking else _offered(name)
    names = [*_built_in_names(), *_entry_points()]
    msg = f"no profile {shown(name)}{did_you_mean(name, names)} (known profiles: {known(sorted(names))})"
    raise ProfileError(msg)


@cache
def _built_in_names():
    files = resources.files(__package__).iterdir()
    return tuple(sorted(item.name.removesuffix(".toml") for item in files if item.name.endswith(".toml")))


@cache
def _built_in(name):
    text = (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
    return _from_text(text, (name,), source=f"ccdnight/profiles/{name}.toml")


@cache
def _entry_points():
    """Entry points of other packages by name, without those that cannot be told apart."""
    points = {}
    for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda item: (item.name, item.value)):
        if point.name in _built_in_names():
            warn_user(f"profile {point.name!r} of {point.value!r} is not used: ccdnight has one of that name")
        elif points.setdefault(point.name, point).value != point.value:
            first = points[point.name].value
            warn_user(f"profile {point.name!r} of {point.value!r} is not used: {first!r} has that name, too")
    return points


@cache
def _usable():
    """Names of the profiles of other packages; one that cannot be loaded is told about once and left out."""
    usable = []
    for name in _entry_points():
        try:
            usable.append(_offered(name).name)
        except ProfileError as error:
            warn_user(f"profile {name!r} of another package cannot be used: {error}")
    return usable


@cache
def _offered(name):
    return _load_entry_point(name, ())


def _load_entry_point(name, asking):
    point = _entry_points()[name]
    source = f"entry point {name} = {point.value}"
    try:
        value = point.load()
        profile = _resolve(value() if callable(value) else value, (*asking, name), source)
    except ProfileError:
        raise
    except Exception as error:  # code of another package, where anything may go wrong: told, with its name
        msg = f"{source}: {type(error).__name__}: {error}"
        raise ProfileError(msg) from error
    return replace(profile, name=name)


def _resolve(value, asking, source):
    """A profile from what an entry point gives."""
    if isinstance(value, InstrumentProfile):
        # Written and read again, so that what another package builds is held to the same rules.
        return _from_text(profile_to_toml(value), asking, source=source)
    if isinstance(value, str) and ("\n" in value or "=" in value):
        return _from_text(value, asking, source=source)
    if isinstance(value, str | os.PathLike):
        return _from_file(Path(value), asking, source=f"{source}: {os.fspath(value)}")
    if isinstance(value, Traversable):
        return _from_file(value, asking, source=f"{source}: {value.name}")
    msg = f"{source}: gives a {type(value).__name__}; a path, a TOML text or an InstrumentProfile is allowed"
    raise ProfileError(msg)
