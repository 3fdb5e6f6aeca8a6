"""Instrument profiles as TOML: read with every mistake told at once, and written."""

import tomllib
from dataclasses import asdict, replace
from types import MappingProxyType

import tomli_w

from ccdnight.exceptions import ProfileError
from ccdnight.profiles._checks import Notes, read_table, shown
from ccdnight.profiles._fields import SORTS, TOP
from ccdnight.profiles.model import InstrumentProfile, KindRule, Policy

__all__ = ["FORMAT", "profile_to_toml", "read_policy", "read_profile"]

#: Version of the format that is written, and the newest that is read.
FORMAT = 1


def read_profile(toml, *, find, source="profile"):
    """
    Make a profile of TOML.

    What a file does not say it takes from the profile that it `extends`: scalars, entries of the dialect
    and of the policy one by one, each kind of its own, amplifiers as a whole; its rules come before the
    inherited ones. Name, title and match are always its own.

    Parameters
    ----------
    toml : str
        The text.
    find : callable
        Gives the profile of a name, for `extends`; raises `ProfileError` where there is none.
    source : str, optional
        The file, for messages.

    Returns
    -------
    InstrumentProfile

    Raises
    ------
    ProfileError
        With every mistake of the text, each with file, key, the value got and what is allowed; alone where
        the text is not TOML or is of a newer format.
    """
    data, notes = _parse(toml, source), Notes(source)
    _check_format(data, notes)
    entries = read_table(data, TOP, "", notes)
    if "name" not in data:
        notes.add("name", "missing; the name by which the profile is asked for")
    parent = _parent(entries.get("extends", "generic"), find, notes)
    notes.raise_any()
    return _assemble(entries, parent, source)


def read_policy(table, *, source="policy"):
    """
    Make a policy of a table of TOML.

    Parameters
    ----------
    table : dict
        Its entries; what is missing has its default.
    source : str, optional
        What it is a part of, for messages.

    Returns
    -------
    Policy

    Raises
    ------
    ProfileError
        With every mistake.
    """
    notes = Notes(source)
    entries = read_table({"policy": table}, {"policy": TOP["policy"]}, "", notes)
    notes.raise_any()
    return Policy(**entries["policy"])


def _parse(toml, source):
    try:
        return tomllib.loads(toml)
    except RecursionError:
        msg = f"{source}: not a profile: its lists or tables are nested too deeply"
    except ValueError as error:  # not only TOMLDecodeError: a number of thousands of digits, too
        msg = f"{source}: not valid TOML: {error}"
    raise ProfileError(msg)


def _check_format(data, notes):
    version = data.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        msg = (
            f"{notes.source}: format: written by a newer ccdnight, in format {shown(version)}; "
            f"this ccdnight reads formats up to {FORMAT}: update it, or write the profile anew"
        )
        raise ProfileError(msg)
    if version is None:
        notes.add("format", f"missing; write format = {FORMAT}")
    elif version == 0:
        notes.add("format", f"0 is not allowed; {FORMAT} is")


def _parent(name, find, notes):
    if name == "":
        return InstrumentProfile(name="")
    try:
        return find(name)
    except ProfileError as error:
        # The sentences of the parent name its own file; only one about the name itself is this file's.
        notes.problems.extend(f"{notes.source}: extends: {problem}" for problem in error.problems)
    return None


def _assemble(entries, parent, source):
    changes = {name: entries[name] for name in ("hdu", "standard_binning") if name in entries}
    modes = entries.get("standard_read_modes", parent.standard_read_modes)
    rules = [KindRule(**item | {"when": MappingProxyType(item.get("when", {}))}) for item in entries.get("rules", ())]
    return replace(
        parent,
        name=entries["name"],
        title=entries.get("title", ""),
        matches=MappingProxyType(entries.get("match", {})),
        dialect=replace(parent.dialect, **entries.get("dialect", {})),
        kinds=_merged_kinds(parent.kinds, entries.get("kinds", {})),
        rules=(*rules, *parent.rules),
        amplifiers=entries.get("amplifiers", parent.amplifiers),
        policy=replace(parent.policy, **entries.get("policy", {})),
        standard_read_modes=modes,
        source=source,
        **changes,
        **entries.get("site", {}),
        **entries.get("sky", {}),
    )


def _merged_kinds(inherited, own):
    merged = {**inherited, **own}
    # In the order of the kinds, so that it never depends on the files which kind is tried first.
    return MappingProxyType({kind: merged[kind] for kind in SORTS if merged.get(kind)})


def profile_to_toml(profile):
    """
    A profile as TOML that needs no other profile.

    Parameters
    ----------
    profile : InstrumentProfile
        The profile.

    Returns
    -------
    str
        Reading it gives an equal profile, but for `source`.

    Examples
    --------
    >>> from ccdnight.profiles import get_profile, profile_from_toml, profile_to_toml
    >>> text = profile_to_toml(get_profile("lfc"))
    >>> profile_from_toml(text).amplifiers == get_profile("lfc").amplifiers
    True
    """
    site = {"latitude": profile.latitude, "longitude": profile.longitude}
    data = {
        "format": FORMAT,
        "name": profile.name,
        "title": profile.title,
        "extends": "",
        "hdu": profile.hdu,
        "standard_binning": profile.standard_binning,
        "standard_read_modes": profile.standard_read_modes,
        "match": profile.matches,
        "dialect": asdict(profile.dialect),
        "kinds": profile.kinds,
        "rules": [{"kind": r.kind, "when": r.when, "exposure_max": r.exposure_max} for r in profile.rules],
        "amplifiers": [asdict(item) for item in profile.amplifiers],
        "policy": asdict(profile.policy),
        "site": site,
        "sky": {"pixel_scale": profile.pixel_scale, "rotation": profile.rotation, "mirrored": profile.mirrored},
    }
    return tomli_w.dumps(_plain(data))


def _plain(value):
    """What TOML can hold: no None, no empty tables, no numpy numbers; a string stands for a list of one."""
    if isinstance(value, dict | MappingProxyType):
        plain = {key: _plain(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in plain.items() if item != {}}
    if isinstance(value, tuple | list):
        items = [_plain(item) for item in value]
        return items[0] if len(items) == 1 and isinstance(items[0], str) else items
    return value.item() if hasattr(value, "item") else value
