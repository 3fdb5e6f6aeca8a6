"""
The tasks of a night: detector, masters, science frames.

Tasks take plain values and file names, and hand masters on through the output folder.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight.annotation import annotate, look_at
from ccdnight.badpixels import describe_causes, make_bad_pixel_mask
from ccdnight.calibration import calibrate
from ccdnight.coaddtasks import add_coadds
from ccdnight.cosmicrays import flag_cosmic_rays, thresholds_for
from ccdnight.exceptions import FrameError, InputError, MeasurementError
from ccdnight.execution import TaskGraph
from ccdnight.flags import describe_flags
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.measuring import measure_detectors
from ccdnight.plans import FROM_SCIENCE
from ccdnight.products import read_ccd, to_hdus
from ccdnight.provenance import printable
from ccdnight.record import Run
from ccdnight.statistics import clipped_moments, median_of, sample_pixels
from ccdnight.thumbnails import picture_of_master, pictures_of_science, pixels_of_pictures
from ccdnight.vetting import COPY

__all__ = ["build_graph"]

#: Raw frames of one master that a bad pixel mask looks at.
_MOST_FRAMES = 20
#: Levels of flats, bias included, that may be the two levels which are compared.
_LEVELS = 1.5
_ROLES = ("bias", "dark", "flat", "bad_pixels")


def build_graph(night, plan, output, *, folder=None, cosmic_rays=True, coadd=False):
    """
    The tasks of a plan.

    Parameters
    ----------
    night : Night
        Its frames.
    plan : Plan
        What to do.
    output : `~pathlib.Path`
        The output folder.
    folder : str, optional
        The raw folder as the tasks find it; by default as the night names it.
    cosmic_rays : bool, optional
        Whether cosmic rays are flagged in science frames.
    coadd : bool, optional
        Whether science frames are coadded.

    Returns
    -------
    graph : TaskGraph
    run : Run
    """
    graph, run = TaskGraph(), Run(night, plan, output, cosmic_rays)
    folder = night.folder if folder is None else folder
    profile = replace(night.profile, policy=plan.policy)
    samples = {str(row["path"]): float(row["level"]) for row in night.collection.measure()}
    measured = _measurable(night, plan)
    # Levels of other frames would make it another task whenever one of them is added.
    levels = {path: samples[path] for path, *_ in measured if path in samples}
    graph.add("detector", measure_detectors, folder, profile, measured, levels)
    members = {master.name: master for master in plan.masters}
    items = {item.input: item for item in plan.science}
    for master in plan.masters:
        if master.kind in FROM_SCIENCE:
            series = [items[path] for path in master.inputs]
            # A flat of the sky is made of frames that have none.
            series = [replace(item, flat="") for item in series] if master.kind == "skyflat" else series
            needs = list(dict.fromkeys(name for item in series for name in _needs(item)))
            graph.add(f"master:{master.name}", make_of_sky, folder, str(output), master, series, profile, needs=needs)
            continue
        if master.kind == "badpixels":
            needs = ["detector"] + [f"master:{name}" for name in master.sources]
            parts = [_looked_at(members[name], samples) for name in master.sources]
            graph.add(f"master:{master.name}", make_mask, folder, str(output), master, parts, profile, needs=needs)
            continue
        needs = ["detector"] + [f"master:{name}" for name in (master.bias, master.dark, master.twilight) if name]
        graph.add(f"master:{master.name}", make_master, folder, str(output), master, profile, needs=needs)
    pixels = pixels_of_pictures(len(plan.science))
    for item in plan.science:
        needs = _needs(item) + ([f"master:{item.fringe}"] if item.fringe else [])
        what = (folder, str(output), item, profile, cosmic_rays, pixels)
        graph.add(f"science:{item.input}", make_science, *what, needs=needs)
    if coadd:
        run.notes += add_coadds(graph, night, plan, output)
    return graph, run


def _needs(item):
    """Tasks before the calibration of a science frame."""
    return ["detector"] + [f"master:{name}" for name in (item.bias, item.dark, item.flat, item.bad_pixels) if name]


def _looked_at(master, samples):
    """A source of a bad pixel mask, its raw frames left out where they are flats of one level: they tell no more."""
    levels = [level for path in master.inputs if (level := samples.get(path, 0.0)) > 0]
    alike = master.kind == "flat" and (not levels or max(levels) < _LEVELS * min(levels))
    return replace(master, inputs=()) if alike else master


def _measurable(night, plan):
    """Biases and flats of the plan with what must be equal within a pair."""
    kinds = {path: master.kind for master in plan.masters for path in master.inputs}
    wanted = set(plan.inputs) - {item.path for item in plan.unused}
    spare = {item.path: item.kind for item in plan.unused if item.fate == "unused" and not item.reason.startswith(COPY)}
    names = ("detector", "binning", "read_mode", "shape")
    found = {str(row["path"]): (tuple(str(row[name]) for name in names), str(row["filter"])) for row in night.frames}
    keys = {found[path][0] for path in wanted if path in found}
    rows = []
    for path, (key, name) in found.items():
        kind = kinds.get(path) or spare.get(path)
        if kind in ("bias", "flat", "twilight") and key in keys:
            rows.append((path, "bias" if kind == "bias" else "flat", key, name))
    return rows


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
    profile, policy = _settled(profile, outcomes), profile.policy
    masters = {role: _applied(output, getattr(master, role), outcomes) for role in ("bias", "dark")}
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
    profile, frames = _settled(profile, outcomes), {"bias": [], "dark": [], "flat": []}
    made = [part for part in parts if outcomes[f"master:{part.name}"].ok]
    for part in made:
        frames[part.kind].append(_applied(output, part.name, outcomes))
    longest = max((ccd.meta["DARKTIME"] for ccd in frames["dark"]), default=0)
    for part in made:
        # Short darks tell nothing that biases and long darks do not.
        if part.kind != "dark" or _applied(output, part.name, outcomes).meta["DARKTIME"] == longest:
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
    profile, frames, rejected = _settled(profile, outcomes), {}, {}
    for item in series:
        try:
            ccd, lacking = _calibrated(folder, output, item, profile, outcomes)
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


def _settled(profile, outcomes):
    """The profile with gain and read noise as measured; as it was if they could not be."""
    return outcomes["detector"].value["profile"] if outcomes["detector"].ok else profile


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

    twilight = _applied(output, name, outcomes)
    return (flat, [name]) if twilight is None else (combine_flats(flat, twilight), [])


def _applied(output, name, outcomes):
    """A master that was made by an earlier task; None if it was not."""
    outcome = outcomes.get(f"master:{name}")
    if not name or outcome is None or not outcome.ok:
        return None
    return _read_master(str(Path(output, outcome.value["output"])), outcome.value["digest"])


@functools.lru_cache(maxsize=6)
def _read_master(path, digest):
    """Masters serve many frames of a night; a few are kept."""
    ccd = read_ccd(path)
    ccd._ccdnight_sha256 = digest
    return ccd


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
    profile = _settled(profile, outcomes)
    ccd, lacking = _calibrated(folder, output, item, profile, outcomes)
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


def _calibrated(folder, output, item, profile, outcomes):
    """A science frame with its masters applied, and those that could not be made."""
    policy = profile.policy
    masters = {role: _applied(output, getattr(item, role), outcomes) for role in _ROLES}
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

    fringe = _applied(output, item.fringe, outcomes)
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
