"""
Instrument profiles: what is known of an instrument, as a short TOML file over the generic one.

Profiles come with ccdnight, from a file, or from another package that offers one in the entry-point group
``ccdnight.profiles``.
"""

from ccdnight.profiles.loading import profile_to_toml
from ccdnight.profiles.model import Amplifier, Dialect, InstrumentProfile, KindRule, Policy
from ccdnight.profiles.registry import (
    get_profile,
    list_profiles,
    load_profile,
    match_profile,
    profile_from_toml,
)

__all__ = [
    "Amplifier",
    "Dialect",
    "InstrumentProfile",
    "KindRule",
    "Policy",
    "get_profile",
    "list_profiles",
    "load_profile",
    "match_profile",
    "profile_from_toml",
    "profile_to_toml",
]
