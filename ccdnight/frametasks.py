"""The task of a science frame, and what it shares with other tasks: masters that were made before."""

import functools
from pathlib import Path

from ccdnight import storage
from ccdnight.annotation import annotate, look_at
from ccdnight.calibration import calibrate
from ccdnight.cosmicrays import flag_cosmic_rays, thresholds_for
from ccdnight.exceptions import InputError, MeasurementError
from ccdnight.flags import describe_flags
from ccdnight.products import read_ccd, to_hdus
from ccdnight.provenance import printable
from ccdnight.thumbnails import pictures_of_science

__all__ = ["applied", "calibrated", "make_science", "settled"]

_ROLES = ("bias", "dark", "flat", "bad_pixels")


def make_science(folder, output, item, profile, cosmic_rays, pixels, outcomes):
    """
    Calibrate one science frame and write it.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    item : SciencePlan
        What to apply.
    profile : InstrumentProfile
        The instrument, with the policy of the plan.
    cosmic_rays : bool
        Whether cosmic rays are flagged.
    pixels : int
        Of the small pictures for the report.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, lacking (masters that could not be made), what was measured, and pictures.
    """
    profile = settled(profile, outcomes)
    ccd, lacking = calibrated(folder, output, item, profile, outcomes)
    if item.fringe:
        ccd, missing = _without_fringes(ccd, item, output, outcomes, profile.policy)
        lacking += missing
    if cosmic_rays:
        try:
            thresholds, width = thresholds_for(ccd, profile.policy)
            ccd = flag_cosmic_rays(ccd, **thresholds)
            ccd.meta["CRSIGCLP"] = (thresholds["sigclip"], "sigclip of the search for cosmic rays")
            ccd.meta["CROBJLIM"] = (thresholds["objlim"], "objlim of the search for cosmic rays")
            if width is not None:
                ccd.meta["CRWIDTH"] = (round(width, 3), "[pixel] width of stars by which objlim was chosen")
        except InputError as error:
            ccd.meta["HISTORY"] = printable(f"cosmic rays are not flagged: {error}")
    look = look_at(ccd)
    measured = annotate(ccd, profile, look=look)
    ccd.meta["FILENAME"] = (printable(Path(item.output).name)[-60:], "name of this file")
    for name in lacking:
        ccd.meta["HISTORY"] = f"lacking: {name} could not be made"
    path = Path(output, "science", item.output)
    digest = storage.write_fits(path, to_hdus(ccd))
    return {
        "output": f"science/{item.output}",
        "lacking": lacking,
        "digest": digest,
        "statistics": measured | {"flags": describe_flags(ccd.flags)},
        "pictures": pictures_of_science(Path(folder, item.input), profile, ccd, look, pixels),
    }


def calibrated(folder, output, item, profile, outcomes):
    """
    A science frame with its masters applied.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    item : SciencePlan
        What to apply.
    profile : InstrumentProfile
        The instrument, with the policy of the plan.
    outcomes : dict of str to Outcome
        Of the tasks that are needed.

    Returns
    -------
    ccd : `~astropy.nddata.CCDData`
    lacking : list of str
        Masters that could not be made.

    Raises
    ------
    InputError
        If the frame cannot be used, or the policy leaves it out without a master.
    """
    policy = profile.policy
    masters = {role: applied(output, getattr(item, role), outcomes) for role in _ROLES}
    lacking = [getattr(item, role) for role, ccd in masters.items() if getattr(item, role) and ccd is None]
    for role, ccd in masters.items():
        _allow_missing(item, role, ccd, policy)
    ccd = calibrate(
        Path(folder, item.input),
        profile=profile,
        overscan=item.overscan_window > 0,
        window=item.overscan_window or None,
        scale_up=policy.dark_scale_up,
        **masters,
    )
    return ccd, lacking


def _allow_missing(item, role, ccd, policy):
    name = getattr(item, role)
    if name and ccd is None and getattr(policy, f"missing_{role}", "reduce") == "leave out":
        msg = f"{item.input}: left out by the policy, since the {role} {name!r} could not be made"
        raise InputError(msg)


def _without_fringes(ccd, item, output, outcomes, policy):
    """A frame less its fringes; as it is, and told so, where there are none or they cannot be measured."""
    from ccdnight.fringes import stands_out, subtract_fringes

    fringe = applied(output, item.fringe, outcomes)
    _allow_missing(item, "fringe", fringe, policy)
    if fringe is None:
        return ccd, [item.fringe]
    if not stands_out(fringe):
        rms, noise = fringe.meta["FRNGRMS"], fringe.meta["FRNGNOIS"]
        ccd.meta["HISTORY"] = f"fringe: none seen, scatter {rms:.2g} with a noise of {noise:.2g}; nothing subtracted"
        return ccd, []
    try:
        return subtract_fringes(ccd, fringe), []
    except (InputError, MeasurementError) as error:
        ccd.meta["HISTORY"] = printable(f"fringe: not subtracted: {error}")
        return ccd, []


def settled(profile, outcomes):
    """
    The profile with gain and read noise as measured; as it was if they could not be.

    Parameters
    ----------
    profile : InstrumentProfile
        The instrument.
    outcomes : dict of str to Outcome
        Of the tasks that are needed.

    Returns
    -------
    InstrumentProfile
    """
    return outcomes["detector"].value["profile"] if outcomes["detector"].ok else profile


def applied(output, name, outcomes):
    """
    A master that was made by an earlier task.

    Parameters
    ----------
    output : str
        The output folder.
    name : str
        Of the master; '' for none.
    outcomes : dict of str to Outcome
        Of the tasks that are needed.

    Returns
    -------
    `~astropy.nddata.CCDData` or None
        None if it was not made.
    """
    outcome = outcomes.get(f"master:{name}")
    if not name or outcome is None or not outcome.ok:
        return None
    return _read_master(str(Path(output, outcome.value["output"])), outcome.value["digest"])


@functools.lru_cache(maxsize=6)
def _read_master(path, digest):
    """Masters serve many frames of a night; a few are kept, without the masks that only say where they are flagged."""
    ccd = read_ccd(path)
    ccd.mask = None
    ccd._ccdnight_sha256 = digest
    return ccd
