"""What was learnt: a profile, and what each value of it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType

from ccdnight._html import table_html
from ccdnight.profiles import InstrumentProfile

__all__ = ["Finding", "LearnedProfile"]


@dataclass(frozen=True)
class Finding:
    """
    One value and what it rests on.

    Attributes
    ----------
    key : str
        Where it stands in the profile, such as 'dialect.filter' or 'amplifiers.gain'.
    value : object
        What was found; None if nothing was.
    evidence : str
        In words: what was seen, or why nothing was found.
    error : float or None
        Standard error of a measured number.
    unit : str
        Of a measured number.

    Examples
    --------
    >>> from ccdnight.learning import Finding
    >>> found = Finding("amplifiers.gain", 1.79, "3 pairs of flats", error=0.01, unit="electron/adu")
    >>> found.value, found.error
    (1.79, 0.01)
    """

    key: str
    value: object
    evidence: str
    error: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class LearnedProfile(InstrumentProfile):
    """
    A profile that was learnt from raw frames; it can be used wherever a profile is asked for.

    Attributes
    ----------
    findings : tuple of Finding
        The evidence, value by value.
    unusable : mapping of str to str
        Files that could not be used, and why.
    toml : str
        The profile as a commented file.

    Examples
    --------
    What `learn_profile` returns; one that was learnt from a simulated night is in :doc:`/user_guide/simulate`.
    """

    findings: tuple[Finding, ...] = ()
    unusable: MappingProxyType = field(default_factory=lambda: MappingProxyType({}))
    toml: str = field(default="", repr=False)

    @property
    def profile(self):
        """The profile alone, an `~ccdnight.InstrumentProfile`."""
        return InstrumentProfile(**{item.name: getattr(self, item.name) for item in fields(InstrumentProfile)})

    def to_toml(self):
        """
        The profile as TOML, with the evidence as comments.

        Returns
        -------
        str
            `~ccdnight.get_profile` reads a file of it.
        """
        return self.toml

    def summary(self):
        """
        What was learnt as plain values, for JSON.

        Returns
        -------
        dict
            name, findings (key, value, evidence; a measured number is an object of value, error and unit), unusable
            and toml.
        """
        return {
            "name": self.name,
            "title": self.title,
            "findings": [{"key": item.key, "value": _plain(item), "evidence": item.evidence} for item in self.findings],
            "unusable": dict(self.unusable),
            "toml": self.toml,
        }

    def __reduce__(self):
        return _rebuild, (self.profile, self.findings, dict(self.unusable), self.toml)

    def _repr_html_(self):
        rows = [(item.key, "" if item.value is None else item.value, item.evidence) for item in self.findings]
        return table_html(f"Learnt profile {self.name}", ["value", "found", "evidence"], rows, caption=self.title)


def _plain(item):
    if item.value is None or not item.unit:
        return list(item.value) if isinstance(item.value, tuple) else item.value
    return {"value": item.value, "error": item.error, "unit": item.unit}


def with_evidence(profile, findings, unusable, toml):
    """
    A profile and its evidence as one.

    Parameters
    ----------
    profile : InstrumentProfile
        What was learnt.
    findings : iterable of Finding
        Evidence for each value.
    unusable : dict of str to str
        Files that were left out, and why.
    toml : str
        The commented profile.

    Returns
    -------
    LearnedProfile
    """
    plain = {item.name: getattr(profile, item.name) for item in fields(InstrumentProfile)}
    return LearnedProfile(**plain, findings=tuple(findings), unusable=MappingProxyType(dict(unusable)), toml=toml)


_rebuild = with_evidence
