"""The plan of a night: which frame is calibrated by what, and why. Frozen, and readable by a person as TOML."""

import tomllib
from dataclasses import asdict, dataclass, field, fields

from ccdnight import storage
from ccdnight._html import table_html
from ccdnight._planchecks import FROM_SCIENCE, problems_of
from ccdnight.exceptions import PlanError, ProfileError
from ccdnight.profiles import Policy
from ccdnight.profiles.loading import read_policy

__all__ = ["FROM_SCIENCE", "MasterPlan", "Plan", "SciencePlan", "UnusedFrame", "served"]

#: Version of the plan file's format.
FORMAT = 1


@dataclass(frozen=True)
class MasterPlan:
    """
    One master to be made.

    Attributes
    ----------
    name : str
        Name, also that of its file in ``masters/``.
    kind : {'bias', 'dark', 'flat', 'badpixels', 'fringe', 'skyflat'}
        What it is.
    inputs : tuple of str
        Paths of raw files relative to the raw folder; a bad pixel mask has none of its own, those of a fringe frame
        and of a flat of the sky are science frames of the plan.
    bias, dark : str
        Names of masters applied to the inputs; '' for none.
    twilight : str
        Name of a master flat whose large scales a flat is brought to; '' for none.
    filter : str
        Filter of a flat or a fringe frame.
    overscan_window : int
        Rows over which the overscan is smoothed; 0 leaves the overscan alone.
    sources : tuple of str
        Names of the masters that a bad pixel mask is made from, they and their inputs.
    mask : str
        File of a mask that is added to a bad pixel mask, relative to the raw folder or absolute; '' for none.
    reason : str
        Why these inputs, in words.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    bias: str = ""
    dark: str = ""
    twilight: str = ""
    filter: str = ""
    overscan_window: int = 0
    sources: tuple[str, ...] = ()
    mask: str = ""
    reason: str = ""


@dataclass(frozen=True)
class SciencePlan:
    """
    One science frame to be calibrated.

    Attributes
    ----------
    input : str
        Path of the raw file relative to the raw folder.
    output : str
        Path of the product relative to ``science/``.
    bias, dark, flat, bad_pixels, fringe : str
        Names of masters; '' for none.
    overscan_window : int
        As in `MasterPlan`.
    reason : str
        Why these masters, and why some are missing.
    problem : str
        What is wrong with the frame although it is reduced.
    """

    input: str
    output: str
    bias: str = ""
    dark: str = ""
    flat: str = ""
    bad_pixels: str = ""
    fringe: str = ""
    overscan_window: int = 0
    reason: str = ""
    problem: str = ""


@dataclass(frozen=True)
class UnusedFrame:
    """
    An input that serves nothing.

    Attributes
    ----------
    path, kind : str
        Which.
    fate : {'unused', 'rejected', 'failed'}
        Not needed; not usable for what it says it is; not readable.
    reason : str
        In words.
    """

    path: str
    kind: str
    fate: str
    reason: str


@dataclass(frozen=True, repr=False)
class Plan:
    """
    What will be done with a night.

    Attributes
    ----------
    profile : str
        Name of the instrument profile, or its file.
    policy : Policy
        How the night is reduced.
    masters : tuple of MasterPlan
        In an order in which they can be made.
    science : tuple of SciencePlan
        Science frames.
    unused : tuple of UnusedFrame
        Every other input.
    notes : tuple of str
        What an observer should know: choices made and things missing.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight import Night, Plan
    >>> folder, rng = TemporaryDirectory(), np.random.default_rng(1)
    >>> for number in range(3):
    ...     header = fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0, "DATE-OBS": f"2024-01-01T18:0{number}:00"})
    ...     pixels = rng.normal(1000, 5, (64, 80)).astype(np.int16)
    ...     fits.PrimaryHDU(pixels, header).writeto(f"{folder.name}/bias_{number}.fits")
    >>> plan = Night(folder.name).plan()
    >>> [(master.name, len(master.inputs)) for master in plan.masters]  # the mask is made of the master
    [('bias', 3), ('badpixels', 0)]
    >>> Plan.from_toml(plan.to_toml()) == plan
    True
    >>> folder.cleanup()
    """

    profile: str
    policy: Policy = field(default_factory=Policy)
    masters: tuple[MasterPlan, ...] = ()
    science: tuple[SciencePlan, ...] = ()
    unused: tuple[UnusedFrame, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def inputs(self):
        """Every input with what it serves as, as a mapping of path to role."""
        roles = {
            path: master.name for master in self.masters if master.kind not in FROM_SCIENCE for path in master.inputs
        }
        roles |= {item.input: "science" for item in self.science}
        return roles | {item.path: "" for item in self.unused}

    def validate(self):
        """
        Check that the plan can be carried out.

        Raises
        ------
        PlanError
            Naming everything that is wrong with it.
        """
        problems = problems_of(self)
        if problems:
            raise PlanError("the plan cannot be carried out:\n" + "\n".join(f"- {item}" for item in problems))

    def to_toml(self):
        """
        The plan as a TOML text that `from_toml` reads again.

        Returns
        -------
        str
        """
        import tomli_w

        body = {"format": FORMAT, "profile": self.profile, "notes": list(self.notes)}
        body["policy"] = asdict(self.policy)
        body["masters"] = [_lean(item) for item in self.masters]
        body["science"] = [_lean(item) for item in self.science]
        body["unused"] = [_lean(item) for item in self.unused]
        return storage.keep_names(_HEAD + tomli_w.dumps(body, multiline_strings=False))

    @classmethod
    def from_toml(cls, text):
        """
        Read a plan.

        Parameters
        ----------
        text : str
            TOML, as `to_toml` writes it, edited or not.

        Returns
        -------
        Plan

        Raises
        ------
        PlanError
            If it is no plan, was written by a newer ccdnight, or cannot be carried out.
        """
        try:
            body = tomllib.loads(storage.names_again(text))
        except tomllib.TOMLDecodeError as error:
            msg = f"the plan is not valid TOML: {error}"
            raise PlanError(msg) from error
        _check_format(body)
        unknown = sorted(set(body) - {"format", "profile", "policy", "masters", "science", "unused", "notes"})
        if unknown:
            known = "format, profile, policy, masters, science, unused, notes"
            msg = f"the plan has unknown entries {unknown}; known are {known}"
            raise PlanError(msg)
        plan = cls(
            profile=_text(body.get("profile", "generic"), "profile"),
            policy=_policy(body.get("policy", {})),
            masters=_entries(body, "masters", MasterPlan),
            science=_entries(body, "science", SciencePlan),
            unused=_entries(body, "unused", UnusedFrame),
            notes=_notes(body.get("notes", [])),
        )
        plan.validate()
        return plan

    def rows(self):
        """
        The plan as rows of a table.

        Returns
        -------
        list of tuple of str
            What, from what, with which masters, why.
        """
        rows = [
            (item.name, f"{len(item.inputs)} {item.kind} frames", served(item), item.reason)
            if item.kind != "badpixels"
            else (item.name, ", ".join([*item.sources, *filter(None, [item.mask])]), served(item), item.reason)
            for item in self.masters
        ]
        rows += [(item.output, item.input, served(item), item.reason) for item in self.science]
        return rows + [(item.fate, item.path, "", item.reason) for item in self.unused]

    def __repr__(self):
        counts = f"{len(self.masters)} masters, {len(self.science)} science frames, {len(self.unused)} not used"
        return f"<Plan for {self.profile}: {counts}>"

    def _repr_html_(self):
        caption = (
            f"profile {self.profile}; {len(self.masters)} masters, {len(self.science)} science frames, "
            f"{len(self.unused)} inputs not used. " + " ".join(self.notes)
        )
        return table_html("Plan", ["result", "from", "with", "why"], self.rows(), caption=caption)


_HEAD = """\
# A plan of ccdnight: which frame is calibrated by what, and why.
# Move a file from one list to another, give a frame another master, and run it again with
#   ccdnight reduce RAW OUT --plan THIS_FILE
# Of the policy, how masters are combined (method, reject, sigma, normalize, scale_flats, edge, ...) is read when it
# is run; what chooses frames (bias, dark, flat, flat_level, illumination, fringe, minimum, match, tolerances, missing)
# has acted already.
"""


def served(item):
    """
    With what a master or science frame is made, in words.

    Parameters
    ----------
    item : MasterPlan or SciencePlan
        The entry.

    Returns
    -------
    str
    """
    names = [getattr(item, role, "") for role in ("bias", "dark", "flat", "twilight", "bad_pixels", "fringe")]
    if item.overscan_window:
        names.insert(0, f"overscan ({item.overscan_window} rows)")
    return ", ".join(name for name in names if name) or "nothing"


def _lean(item):
    """An entry without its empty values, which a person need not read."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(item).items() if value}


def _check_format(body):
    version = body.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        msg = f"the plan's format is {version!r}; it must be {FORMAT}"
        raise PlanError(msg)
    if version > FORMAT:
        msg = f"the plan has format {version}, written by a newer ccdnight; this one reads up to {FORMAT}"
        raise PlanError(msg)


def _text(value, name):
    if not isinstance(value, str):
        msg = f"the plan's {name} is {value!r}; a text is needed"
        raise PlanError(msg)
    return value


def _entries(body, name, kind):
    items, known = body.get(name, []), {item.name: item for item in fields(kind)}
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        msg = f"the plan's {name} must be tables, [[{name}]]"
        raise PlanError(msg)
    return tuple(_entry(item, kind, known, f"{name} {number}") for number, item in enumerate(items, 1))


def _entry(item, kind, known, where):
    unknown = sorted(set(item) - set(known))
    if item.get("kind") == "badpixels" and kind is MasterPlan:
        item = {"inputs": [], **item}
    required = [key for key in ("name", "kind", "inputs", "input", "output", "path", "fate") if key in known]
    missing = [key for key in required if key not in item and not (kind is UnusedFrame and key == "kind")]
    if unknown or missing:
        what = f"unknown entries {unknown}" if unknown else f"no {', '.join(missing)}"
        msg = f"the plan's {where} has {what}; known are {', '.join(known)}"
        raise PlanError(msg)
    item = {"kind": "unknown", "reason": "", **item} if kind is UnusedFrame else dict(item)
    for key, value in item.items():
        wanted = {"inputs": list, "sources": list, "overscan_window": int}.get(key, str)
        if not isinstance(value, wanted) or isinstance(value, bool):
            msg = f"the plan's {where}: {key} = {value!r}; {wanted.__name__} is needed"
            raise PlanError(msg)
    for key in ("inputs", "sources"):
        if key in item:
            item[key] = tuple(_text(path, f"{where}, {key}") for path in item[key])
    return kind(**item)


def _notes(value):
    if not isinstance(value, list):
        msg = f"the plan's notes are {value!r}; a list of texts is needed"
        raise PlanError(msg)
    return tuple(str(item) for item in value)


def _policy(body):
    try:
        return read_policy(body, source="the plan")
    except ProfileError as error:
        raise PlanError(str(error)) from error
