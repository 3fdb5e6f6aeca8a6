"""
The tasks of a night: detector, masters, science frames.

Tasks take plain values and file names, and hand masters on through the output folder.
"""

from dataclasses import replace

from ccdnight.coaddtasks import add_coadds
from ccdnight.execution import TaskGraph
from ccdnight.frametasks import make_science
from ccdnight.mastertasks import make_mask, make_master, make_of_sky
from ccdnight.measuring import measure_detectors
from ccdnight.plans import FROM_SCIENCE
from ccdnight.record import Run
from ccdnight.thumbnails import pixels_of_pictures
from ccdnight.vetting import COPY

__all__ = ["build_graph"]

#: Levels of flats, bias included, that may be the two levels which are compared.
_LEVELS = 1.5


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
