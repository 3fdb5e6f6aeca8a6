"""The tasks of masters: each is made from what can be used of its inputs, and written."""

from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight.badpixels import describe_causes, make_bad_pixel_mask
from ccdnight.exceptions import FrameError, InputError
from ccdnight.flags import describe_flags
from ccdnight.frametasks import applied, calibrated, settled
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.products import to_hdus
from ccdnight.provenance import printable
from ccdnight.statistics import clipped_moments, median_of, sample_pixels
from ccdnight.thumbnails import picture_of_master

__all__ = ["make_mask", "make_master", "make_of_sky"]

#: Raw frames of one master that a bad pixel mask looks at.
_MOST_FRAMES = 20


def make_master(folder, output, master, profile, outcomes):
    """
    Make one master and write it.

    Inputs that cannot be used are left out and told of; the master is made of the rest.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    master : MasterPlan
        What to make.
    profile : InstrumentProfile
        The instrument, with the policy of the plan.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, used, rejected (path to reason), lacking (masters that could not be applied), statistics.
    """
    profile, policy = settled(profile, outcomes), profile.policy
    masters = {role: applied(output, getattr(master, role), outcomes) for role in ("bias", "dark")}
    lacking = [getattr(master, role) for role, ccd in masters.items() if getattr(master, role) and ccd is None]
    common = {
        "profile": profile,
        "overscan": master.overscan_window > 0,
        "window": master.overscan_window or None,
        "reject": None if policy.reject == "none" else policy.reject,
        "workers": None,
    }
    used, rejected = list(master.inputs), {}
    while True:
        try:
            ccd = _combine(master.kind, [Path(folder, path) for path in used], masters, policy, common)
            break
        except FrameError as error:
            culprit = next((path for path in used if str(Path(folder, path)) == error.path), None)
            if culprit is None:
                raise
            rejected[culprit] = error.reason
            used.remove(culprit)
            if not used:
                msg = f"master {master.name}: none of its {len(rejected)} inputs can be used: {error.reason}"
                raise InputError(msg) from error
    if master.twilight:
        ccd, missing = _with_large_scales(ccd, master.twilight, output, outcomes)
        lacking += missing
    good = sample_pixels(ccd.data)[~sample_pixels(ccd.mask)]
    statistics = {"median": median_of(good) if good.size else None, "flags": describe_flags(ccd.flags)}
    if good.size:
        statistics |= {"scatter": clipped_moments(good, sigma=3.0)[1], "unit": str(ccd.unit)}
    return _write_master(ccd, master, output) | {
        "used": used,
        "rejected": rejected,
        "lacking": lacking,
        "statistics": statistics,
    }


def _write_master(ccd, master, output):
    """Write a master; where it is, its digest, and a small picture of it."""
    name = f"{master.name}.fits"
    ccd.meta["FILENAME"] = (printable(name)[-60:], "name of this file")
    digest = storage.write_fits(Path(output, "masters", name), to_hdus(ccd))
    return {"output": f"masters/{name}", "digest": digest, "pictures": {"after": picture_of_master(ccd, master.kind)}}


def make_mask(folder, output, master, parts, profile, outcomes):
    """
    Make a bad pixel mask from other masters and their frames, and write it.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    master : MasterPlan
        What to make.
    parts : list of MasterPlan
        Its sources.
    profile : InstrumentProfile
        The instrument, with the policy of the plan.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, used, rejected, lacking (sources that could not be made), statistics.
    """
    profile, frames = settled(profile, outcomes), {"bias": [], "dark": [], "flat": []}
    made = [part for part in parts if outcomes[f"master:{part.name}"].ok]
    for part in made:
        frames[part.kind].append(applied(output, part.name, outcomes))
    longest = max((ccd.meta["DARKTIME"] for ccd in frames["dark"]), default=0)
    for part in made:
        # Short darks tell nothing that biases and long darks do not.
        if part.kind != "dark" or applied(output, part.name, outcomes).meta["DARKTIME"] == longest:
            used = [path for path in outcomes[f"master:{part.name}"].value["used"] if path in part.inputs]
            frames[part.kind] += [Path(folder, path) for path in used[:_MOST_FRAMES]]
    ccd = make_bad_pixel_mask(
        biases=frames["bias"] or None,
        darks=frames["dark"] or None,
        flats=frames["flat"] or None,
        mask=Path(folder, master.mask) if master.mask else None,
        profile=profile,
        overscan=master.overscan_window > 0,
        window=master.overscan_window or None,
    )
    return _write_master(ccd, master, output) | {
        "used": [],
        "rejected": {},
        "lacking": [part.name for part in parts if part not in made],
        "statistics": {"fraction": float(np.mean(ccd.data != 0)), "causes": describe_causes(ccd.data)},
    }


def make_of_sky(folder, output, master, series, profile, outcomes):
    """
    Make a fringe frame or a flat from science frames, which are calibrated for it, and write it.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    master : MasterPlan
        What to make.
    series : list of SciencePlan
        The science frames.
    profile : InstrumentProfile
        The instrument, with the policy of the plan.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, used, rejected (path to reason), lacking, statistics.
    """
    from ccdnight.fringes import make_fringe_frame
    from ccdnight.illumination import make_sky_flat

    make = make_fringe_frame if master.kind == "fringe" else make_sky_flat
    profile, frames, rejected = settled(profile, outcomes), {}, {}
    for item in series:
        try:
            ccd, lacking = calibrated(folder, output, item, profile, outcomes)
            if item.flat and item.flat in lacking:
                rejected[item.input] = f"its flat {item.flat} could not be made"
                continue
        except InputError as error:
            rejected[item.input] = str(error)
            continue
        ccd.uncertainty = None  # not looked at, and a third of the memory
        ccd.meta["FILENAME"] = (printable(item.input)[-60:], "name of this file")
        frames[item.input] = ccd
    while True:
        try:
            made = make(list(frames.values()))
            break
        except FrameError as error:
            culprit = next((path for path in frames if frames[path].meta["FILENAME"] == error.path), None)
            if culprit is None:
                raise
            rejected[culprit] = error.reason
            del frames[culprit]
    contrast = {name: made.meta[key] for name, key in (("rms", "FRNGRMS"), ("noise", "FRNGNOIS")) if key in made.meta}
    return _write_master(made, master, output) | {
        "used": list(frames),
        "rejected": rejected,
        "lacking": [],
        "statistics": contrast | {"flags": describe_flags(made.flags)},
    }


def _combine(kind, paths, masters, policy, common):
    """Make a master of some kind the way the policy says."""
    if kind == "bias":
        return make_bias(paths, method=policy.method, sigma=policy.sigma, **common)
    if kind == "dark":
        return make_dark(paths, bias=masters["bias"], method=policy.method, sigma=policy.dark_sigma, **common)
    return make_flat(
        paths,
        **masters,
        method=policy.flat_method,
        sigma=policy.flat_sigma,
        normalize=policy.normalize,
        scale=policy.scale_flats,
        sensitivity_noise=policy.sensitivity_noise,
        scale_up=policy.dark_scale_up,
        **common,
    )


def _with_large_scales(flat, name, output, outcomes):
    """A dome flat brought to the large scales of a twilight flat; as it is where that could not be made."""
    from ccdnight.illumination import combine_flats

    twilight = applied(output, name, outcomes)
    return (flat, [name]) if twilight is None else (combine_flats(flat, twilight), [])
