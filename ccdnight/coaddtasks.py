"""The tasks of a night that coadd: the science frames of one target and filter become one image."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight.exceptions import InputError
from ccdnight.flags import describe_flags
from ccdnight.products import to_hdus
from ccdnight.provenance import printable

__all__ = ["CoaddGroup", "add_coadds", "coadd_groups"]


@dataclass(frozen=True)
class CoaddGroup:
    """
    Science frames that belong together.

    Attributes
    ----------
    name : str
        Name of the coadd, that of its file in ``coadd/``.
    inputs : tuple of str
        Raw files.
    outputs : tuple of str
        Their products, relative to the output folder.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def coadd_groups(frames, plan, profile):
    """
    The science frames of a plan by target and filter, and by what else tells detectors apart.

    Parameters
    ----------
    frames : `~astropy.table.Table`
        The frames of the night.
    plan : Plan
        What is done with them.
    profile : InstrumentProfile
        Detector and binning are named where it has several.

    Returns
    -------
    list of CoaddGroup
        In the order of the plan; groups of one frame as well.
    """
    rows = {str(row["path"]): row for row in frames}
    groups = {}
    for item in plan.science:
        row = rows[item.input]
        key = tuple(_text(row[name]) for name in ("object", "filter", "detector", "binning"))
        groups.setdefault((" ".join(key[0].split()).casefold(), *key[1:]), []).append((item, key))
    found, taken = [], set()
    for items in groups.values():
        name = _name(items[0][1], profile)
        number, plain = 1, name
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        inputs = tuple(item.input for item, _ in items)
        found.append(CoaddGroup(name, inputs, tuple(f"science/{item.output}" for item, _ in items)))
    return found


def _text(value):
    return "" if value is None or np.ma.is_masked(value) or str(value) == "--" else str(value)


def _name(key, profile):
    target, band, detector, binning = key
    parts = [target.strip() or "field", band]
    parts.append(f"det{detector}" if len(profile.detectors) > 1 else "")
    parts.append(binning if binning not in ("", profile.standard_binning) else "")
    return "_".join(storage.safe_name(part) for part in parts if part)


def add_coadds(graph, night, plan, output):
    """
    Add a task for every target and filter with two science frames and more.

    Parameters
    ----------
    graph : TaskGraph
        With the tasks of the science frames.
    night : Night
        Its frames.
    plan : Plan
        What is done.
    output : `~pathlib.Path`
        The output folder.

    Returns
    -------
    list of str
        What is told of those with one frame only, in one sentence.
    """
    groups = coadd_groups(night.frames, plan, night.profile)
    for group in groups:
        if len(group.inputs) < 2:
            continue
        needs = [f"science:{name}" for name in group.inputs]
        graph.add(f"coadd:{group.name}", make_coadd, str(output), group, needs=needs)
    alone = [group.name for group in groups if len(group.inputs) < 2]
    return [f"coadd: not made of one frame only: {', '.join(alone)}"] if alone else []


def make_coadd(output, group, outcomes):
    """
    Align and coadd the frames of one target and filter, and write the coadd.

    Frames that could not be reduced or aligned are left out and told of.

    Parameters
    ----------
    output : str
        Output folder.
    group : CoaddGroup
        The frames.
    outcomes : dict of str to Outcome
        Of their tasks.

    Returns
    -------
    dict
        output, digest, statistics.

    Raises
    ------
    InputError
        If there are not two frames that go together.
    """
    from ccdnight.alignment import align
    from ccdnight.coadding import coadd

    made = [number for number, name in enumerate(group.inputs) if outcomes[f"science:{name}"].ok]
    if len(made) < 2:
        msg = f"not made: {len(made)} of its {len(group.inputs)} frames could be reduced"
        raise InputError(msg)
    paths = [Path(output, group.outputs[number]) for number in made]
    try:
        image = coadd(align(paths))
    except InputError as error:
        msg = f"not made: {_relative(error, output)}"
        raise InputError(msg) from error
    file = f"coadd/{group.name}.fits"
    image.meta["FILENAME"] = (printable(Path(file).name)[-60:], "name of this file")
    statistics = _statistics(image, [group.inputs[number] for number in made], output)
    statistics["frames"] += [
        {"frame": name, "used": False, "reason": "could not be reduced"}
        for number, name in enumerate(group.inputs)
        if number not in made
    ]
    digest = storage.write_fits(Path(output, file), to_hdus(image))
    return {"output": file, "digest": digest, "statistics": statistics}


def _relative(error, output):
    """The words of an error without the path of the output folder."""
    return str(error).replace(str(Path(output)) + "/", "")


def _statistics(image, inputs, output):
    """What is told of a coadd in run.json."""
    meta, alignment = image.meta, image.alignment
    frames, vectors = [], {}
    for name, transform in zip(inputs, alignment.transforms, strict=True):
        told = replace(transform, name=name).plain()
        vectors[name] = told.pop("vectors") or []
        told.pop("matrix"), told.pop("offset")
        frame, used, reason = told.pop("name"), told.pop("aligned"), _relative(told.pop("reason"), output)
        frames.append({"frame": frame, "used": used, "reason": reason} | told)
    residuals = [item.residual for item in alignment.transforms if item.aligned and item.residual > 0]
    return {
        "frames_used": len(alignment),
        "exposure": {"value": meta.get("TEXPTIME"), "unit": "s"} if "TEXPTIME" in meta else None,
        "residual": {"value": round(float(max(residuals)), 4), "unit": "pixel"} if residuals else None,
        "fwhm_before": {"value": meta["FWHMIN"], "unit": "pixel"} if "FWHMIN" in meta else None,
        "fwhm_after": {"value": meta["FWHM"], "unit": "pixel"} if "FWHM" in meta else None,
        "noise_correlation": meta["NOISCORR"],
        "noise_correlation_measured": meta.get("NOISMEAS"),
        "gain": {"value": meta["GAIN"], "unit": "electron per data unit"} if "GAIN" in meta else None,
        "sky": {"value": meta["SKYLEVEL"], "unit": str(image.unit)},
        "absolute": alignment.absolute,
        "flags": describe_flags(image.flags),
        "frames": frames,
        "residual_vectors": vectors,
    }
