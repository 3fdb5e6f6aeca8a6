"""The night at a glance: what came in, what came out, what was left out."""

from pathlib import Path
from statistics import median

from ccdnight.report.wording import clean, duration, exposure, moment, plain, plural, significant, span

__all__ = ["glance", "left_out", "summary_of_targets", "timings", "title_of"]

_KINDS = ("bias", "dark", "flat", "twilight", "science", "unknown")


#: Names of folders that say nothing of the night.
_ANY_NIGHT = ("raw", "data", "fits", "images", "night", "frames")


def title_of(reduction):
    """
    What the night is called: as the folder of its raw frames is.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    str
    """
    parts = [part for part in Path(reduction.run.get("raw") or reduction.output).parts if part.strip("/\\.")]
    if len(parts) > 1 and parts[-1].lower() in _ANY_NIGHT:
        return f"{parts[-2]}/{parts[-1]}"
    return parts[-1] if parts else "night"


def glance(reduction, advice):
    """
    The first thing that is read.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    advice : list of Advice
        What there is to know.

    Returns
    -------
    dict
        when, state ('good', 'partly', 'bad'), verdict, tiles (number, words, whether something is wrong),
        inputs (kind and numbers), fates that occur, targets.
    """
    counts, planned = reduction.counts, len(reduction.plan.science)
    state, verdict = _verdict(reduction, counts, planned)
    aside = counts["rejected"] + counts["failed"]
    grave = sum(item.level != "note" for item in advice)
    tiles = [
        (counts["inputs"], "files came in", False),
        (counts["used"], "of them were used", False),
        (counts["masters"], "masters made", counts["masters"] < len(reduction.plan.masters)),
        (counts["science"], f"of {plural(planned, 'science frame')} reduced", counts["science"] < planned),
        (aside, "files could not be used", aside > 0),
        (grave, "things to look at", grave > 0),
    ]
    inputs = _inputs(reduction.night)
    return {
        "when": _when(reduction),
        "state": state,
        "verdict": verdict,
        "tiles": tiles,
        "inputs": inputs,
        "fates": ["used", *(fate for fate in ("unused", "rejected", "failed") if any(row[fate] for row in inputs))],
        "targets": summary_of_targets(reduction),
    }


def _verdict(reduction, counts, planned):
    run = reduction.run
    if run.get("stopped"):
        return "bad", f"The run stopped before its end: {run['stopped']}. Below is what was done until then."
    if run.get("errors"):
        return "bad", "There was an error in ccdnight itself. What does not depend on it is done."
    if not counts["inputs"]:
        return "bad", "Nothing came in: no FITS file was found."
    if not counts["masters"] and not counts["science"]:
        return "bad", "Nothing could be reduced. Below is the reason for every file."
    if counts["science"] < planned:
        return "partly", f"{counts['science']} of {plural(planned, 'science frame')} could be reduced."
    if counts["rejected"] + counts["failed"]:
        number = counts["rejected"] + counts["failed"]
        lost = plural(number, "file") + (" that came in could not be used." if number > 1 else " could not be used.")
        return "partly", f"All that could be reduced is reduced; {lost}"
    if not planned:
        return "good", "There were no science frames; the masters are made."
    return (
        "good",
        f"All {plural(planned, 'science frame')} are reduced." if planned > 1 else "The science frame is reduced.",
    )


def _when(reduction):
    """First and last middle of an exposure."""
    statistics = reduction.run.get("statistics", {}).values()
    times = sorted(item["jd_mid"] for item in statistics if isinstance(item.get("jd_mid"), int | float))
    first, last = (moment(times[0]), moment(times[-1])) if times else (None, None)
    if first is None or last is None:
        return ""
    begin, end = first.strftime("%Y-%m-%d %H:%M"), last.strftime("%Y-%m-%d %H:%M")
    if begin[:10] == end[:10]:
        end = end[11:]
    return f"{begin} to {end} UTC" if begin[11:] != end[-5:] else f"{begin} UTC"


def _inputs(night):
    rows = {}
    for row in night:
        kind, fate = plain(row["kind"]) or "unknown", plain(row["fate"])
        counts = rows.setdefault(kind, dict.fromkeys(("all", "used", "unused", "rejected", "failed"), 0))
        counts["all"] += 1
        counts[fate] = counts.get(fate, 0) + 1
    ordered = sorted(rows, key=lambda kind: (_KINDS.index(kind) if kind in _KINDS else 99, kind))
    return [{"kind": kind, **rows[kind]} for kind in ordered]


def summary_of_targets(reduction):
    """
    Science frames by object and filter.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    list of dict
        object, filter, frames, exposure, sky, fwhm, airmass, all in words.
    """
    groups = {}
    for name in reduction.science:
        output = reduction.science.path(name).relative_to(reduction.output).as_posix()
        told = reduction.run.get("statistics", {}).get(output, {})
        if "object" in told:
            key = (str(told.get("object") or ""), str(told.get("filter") or ""))
            groups.setdefault(key, []).append(told)
    rows = []
    for (name, band), items in sorted(groups.items()):
        sky = [item["sky"]["value"] for item in items if item.get("sky")]
        unit = "arcsec" if all(item.get("fwhm_arcsec") for item in items if item.get("fwhm")) else "pixel"
        widths = [item["fwhm_arcsec" if unit == "arcsec" else "fwhm"]["value"] for item in items if item.get("fwhm")]
        rows.append(
            {
                "object": name,
                "filter": band,
                "frames": len(items),
                "exposure": exposure(sum(item.get("exposure") or 0 for item in items)),
                "sky": significant(median(sky)) if sky else "",
                "fwhm": f"{significant(median(widths))} {unit}" if widths else "",
                "airmass": span(item.get("airmass") for item in items),
            }
        )
    return rows


def left_out(reduction):
    """
    Inputs that were not used, those with the same fate, kind and reason together.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    list of dict
        fate, kind, reason, files.
    """
    groups = {}
    for row in reduction.night:
        if plain(row["fate"]) != "used":
            key = (plain(row["fate"]), plain(row["kind"]), plain(row["reason"]))
            groups.setdefault(key, []).append(clean(plain(row["path"])))
    order = ("failed", "rejected", "unused")
    keys = sorted(groups, key=lambda key: (order.index(key[0]) if key[0] in order else 9, key[1]))
    return [dict(zip(("fate", "kind", "reason"), key, strict=True)) | {"files": groups[key]} for key in keys]


def timings(reduction):
    """
    How long the parts of a run took.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    dict
        total (in words, '' if not known) and rows (what, tasks, seconds together, the longest one), in words.
    """
    stages = {"detector": "detector measured", "master": "masters made", "science": "science frames reduced"}
    stages |= {"coadd": "frames coadded"}
    found = {}
    for name, seconds in reduction.run.get("timings", {}).items():
        stage = name.partition(":")[0]
        found.setdefault(stages.get(stage, stage), []).append((float(seconds), name.partition(":")[2]))
    rows = [
        {
            "what": what,
            "tasks": len(items),
            "sum": duration(sum(item[0] for item in items)),
            "longest": duration(max(items)[0]),
            "name": max(items)[1],
        }
        for what, items in found.items()
    ]
    seconds = reduction.run.get("seconds")
    return {"total": duration(seconds) if isinstance(seconds, int | float) else "", "rows": rows}
