"""What an observer has to know about a night, each in a sentence and with what can be done about it."""

import re
from dataclasses import dataclass

from ccdnight.report.wording import plain

__all__ = ["Advice", "advise", "remedy_for"]

#: What is done about a sentence that says so and so; the first that fits.
_REMEDIES = (
    (r"no space is left|quota", "Make room on the disk and give the same command again."),
    (r"no permission|read-only", "Choose an output folder that you may write to, and give the same command again."),
    (r"interrupted|run stopped", "Give the same command again; every file that stands there is whole."),
    (r"truncated|bytes of (them|it) are missing|damaged|is empty", "Copy the file again from where it was taken."),
    (r"not a FITS file", "Remove the file from the raw folder, or give it another suffix."),
    (r"cannot be opened", "Check the permissions of the file, and whether it is where it should be."),
    (
        r"its header says|is no kind of frame|does not say what kind",
        "If the header is wrong, it was left out rightly; else move the file in plan.toml and run that plan.",
    ),
    (r"saturated; a flat may", "Expose flats to half of the full well; leave these out."),
    (
        r"adu of light above the bias",
        "Take flats within the policy's flat_level, or widen that in your own profile.",
    ),
    (r"all of its pixels|pixels are 0|of its pixels is finite", "The camera or the transfer failed: take it again."),
    (r"exposure .*(needed|not a number)|no exposure time", "Put the exposure in seconds into the raw header."),
    (
        r"^dark: none|scaled up|too short for",
        "Take darks as long as the science frames, at their temperature, and put them into the raw folder.",
    ),
    (
        r"^flat: none|flats in .* fewer",
        "Take at least three flats in this filter, or put those of a neighboring night into the raw folder.",
    ),
    (
        r"flats in .* are of the night|are of unknown date",
        "Dust moves from night to night: look for rings in the reduced frames, or put flats of the same night there.",
    ),
    (r"^bias: none|its level is not known", "Take at least five biases in this readout mode."),
    (r"frames are fewer than the", "Take more frames of this kind, at least five: single cosmic rays are found then."),
    (r"light leaks into the overscan", "Take biases often through the night: the overscan cannot follow their level."),
    (r"no usable overscan", "If the camera has an overscan, put its section into a profile of your own."),
    (r"bias from frames alone", "Let the bias policy be 'auto' or 'both', which follow the overscan."),
    (
        r"profile cannot be right",
        "Check readout mode and gain setting; if this is the camera's new value, put it into a profile of your own.",
    ),
    (
        r"header cannot be right",
        "Nothing has to be done: the value that is used is named. Have the header mended where it is written.",
    ),
    (r"is the header's", "Take two biases and two flats of equal exposure: the value is measured from them then."),
    (
        r"too few (flats|biases) to measure|could not be measured|photon transfer",
        "Take at least two flats of equal exposure and two biases in this readout mode.",
    ),
    (
        r"from pixel to pixel than their uncertainties",
        "Look for stripes or pick-up, take biases between the science frames; till then multiply UNCERT by NOISERAT.",
    ),
    (r"differ in level", "Take the two flats right after each other under the same light."),
    (
        r"coadd .*not made",
        "Look at the frames: clouds, or another field under the same name, leave no stars in common.",
    ),
    (r"lacking|could not be made|without .*, which could not", "See why that master failed, mend it, and run again."),
    (r"cosmic rays are not flagged", "Give the read noise in a profile, or take biases so that it is measured."),
    (r"left out by the policy", "Take the missing frames, or let the policy entry missing_... be 'reduce'."),
    (r"shape|detector|binning|read mode", "Take calibration frames with the same binning and readout mode."),
)
_ANY = "Look at the frames that it names; if it is right, nothing has to be done."
#: Sentences that only tell what was chosen.
_TOLD = (
    r"^bias from the overscan",
    r"^no science frames",
    r"one frame only",
    r"profile: its sections",
    r"^[^:]*: the frames are dithered",
)


@dataclass(frozen=True)
class Advice:
    """
    One thing to know.

    Attributes
    ----------
    level : {'error', 'warning', 'note'}
        How much it matters.
    words : str
        What is the case.
    remedy : str
        What can be done.
    files : tuple of str
        Inputs that it is about.
    trace : str
        Traceback of an error in ccdnight itself.
    """

    level: str
    words: str
    remedy: str
    files: tuple[str, ...] = ()
    trace: str = ""


def remedy_for(words):
    """
    What can be done about something that is told in words.

    Parameters
    ----------
    words : str
        The sentence.

    Returns
    -------
    str
    """
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, words)), _ANY)


def advise(reduction):
    """
    Everything that an observer has to know, the gravest first.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    list of Advice
    """
    run, found = reduction.run, []
    if run.get("stopped"):
        words = f"The run did not come to its end: {run['stopped']}"
        found.append(Advice("error", words, remedy_for(words)))
    for name, trace in run.get("errors", {}).items():
        last = str(trace).strip().rpartition("\n")[2]
        words = f"An error in ccdnight itself, in {name}: {last}"
        found.append(Advice("error", words, "Please report it with the lines below.", trace=str(trace)))
    found += _left_out(reduction) + _with_problems(reduction)
    told, raw = " ".join(item.words for item in found), run.get("raw")
    for note in run.get("notes", []):
        # Files are named from the raw folder on, as everywhere in the report.
        note = str(note).replace(f"{raw}/", "") if raw else str(note)
        bare = note.partition(": ")[2] or note
        if bare not in told and note not in told:
            level = "note" if any(re.search(pattern, note) for pattern in _TOLD) else "warning"
            found.append(Advice(level, note, remedy_for(note) if level == "warning" else ""))
    order = ("error", "warning", "note")
    return sorted(found, key=lambda item: order.index(item.level))


def _left_out(reduction):
    """Inputs that failed or were rejected, those with the same reason together."""
    groups = {}
    for row in reduction.failures:
        path, reason = plain(row["path"]), plain(row["reason"])
        groups.setdefault((plain(row["fate"]), _without_path(reason, path)), []).append(path)
    return [
        Advice("warning", f"{fate.capitalize()}: {reason}", remedy_for(reason), tuple(paths))
        for (fate, reason), paths in groups.items()
    ]


def _without_path(reason, path):
    """A reason without the name of its file, which is told beside it."""
    match = re.match(rf"(?:\S*[/\\])?{re.escape(path)}: ", reason)
    return reason[match.end() :] if match else reason


def _with_problems(reduction):
    """Science frames that were reduced although something is wrong with them, or without a master that failed."""
    groups = {}
    for path, problem in reduction.run.get("problems", {}).items():
        groups.setdefault(str(problem), []).append(str(path))
    for row in reduction.night:
        for part in plain(row["reason"]).split("; "):
            if plain(row["fate"]) == "used" and re.match(r"(reduced|made) without .*", part):
                groups.setdefault(part[0].upper() + part[1:], []).append(plain(row["path"]))
    return [Advice("warning", words, remedy_for(words), tuple(paths)) for words, paths in groups.items()]
