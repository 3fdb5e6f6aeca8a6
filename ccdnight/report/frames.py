"""Masters and science frames, each with what is to be said of it."""

from ccdnight import storage
from ccdnight.badpixels import CAUSES
from ccdnight.exceptions import FrameError
from ccdnight.flags import FLAGS
from ccdnight.plans import served
from ccdnight.report.wording import count, duration, exposure, fraction, measured, moment, plain, significant

__all__ = ["flag_rows", "master_entries", "science_entries"]


def master_entries(reduction, pictures, link):
    """
    What is said of every master of the plan.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    pictures : dict
        Of `ccdnight.report.pictures.pictures_of`.
    link : callable
        From a file of the output folder to a link.

    Returns
    -------
    list of dict
        name, kind, anchor, made, reason, served, picture, link, facts (name and value), flags, history.
    """
    entries = []
    for number, master in enumerate(reduction.plan.masters, 1):
        file = f"masters/{master.name}.fits"
        made = master.name in reduction.masters
        told = reduction.run.get("statistics", {}).get(file, {})
        header = _header(reduction.output / file) if made else None
        entries.append(
            {
                "name": master.name,
                "kind": {"badpixels": "bad pixel mask"}.get(master.kind, f"master {master.kind}"),
                "anchor": f"master-{number}",
                "made": made,
                "why_not": _why_not(reduction, f"master:{master.name}"),
                "reason": master.reason,
                "served": served(master),
                "picture": pictures.get(file, {}).get("after"),
                "link": link(file) if made else "",
                "facts": _master_facts(reduction, master, told, header),
                "flags": flag_rows(told.get("flags") or told.get("causes") or {}, _pixels(header)),
                "history": [] if header is None else [str(line) for line in header.get("HISTORY", [])],
                "inputs": list(master.inputs) or [*master.sources, *filter(None, [master.mask])],
            }
        )
    return entries


def _header(path):
    try:
        return storage.read_header(path).header
    except FrameError:
        return None


def _pixels(header):
    return 0 if header is None else int(header.get("NAXIS1", 0)) * int(header.get("NAXIS2", 0))


def _why_not(reduction, task):
    notes = [str(note) for note in reduction.run.get("notes", [])]
    return next((note.removeprefix(f"{task}: ") for note in notes if note.startswith(f"{task}: ")), "")


def _master_facts(reduction, master, told, header):
    unit, facts = told.get("unit", ""), []
    if told.get("median") is not None:
        level = "level beside the overscan's" if master.overscan_window else "level"
        words = {"bias": level, "dark": "dark current"}.get(master.kind, "median")
        digits = 4 if master.kind == "flat" else 3
        facts.append((words, measured(told["median"], None, unit.replace(" ", ""), digits)))
    if told.get("scatter") is not None:
        words = "scatter of its pixels"
        number = fraction(told["scatter"], 1) if master.kind == "flat" else measured(told["scatter"], None, unit, 2)
        facts.append((words, number.replace(" / ", "/")))
    if told.get("fraction") is not None:
        facts.append(("bad pixels", fraction(told["fraction"], 1)))
    if master.kind != "badpixels":
        rows = [row for row in reduction.night if plain(row["role"]) == master.name]
        used = sum(plain(row["fate"]) == "used" for row in rows)
        facts.append(("frames", count(used) if used == len(rows) else f"{count(used)} of {count(len(rows))} usable"))
    if master.filter:
        facts.append(("filter", master.filter))
    size = "" if header is None else f"{header.get('NAXIS1', '?')} x {header.get('NAXIS2', '?')} pixels"
    facts.append(("size", size))
    facts.append(("made in", _took(reduction, f"master:{master.name}")))
    return [(name, value) for name, value in facts if value]


def _took(reduction, task):
    seconds = reduction.run.get("timings", {}).get(task)
    return duration(seconds) if isinstance(seconds, int | float) else ""


def flag_rows(counts, total):
    """
    Flagged pixels by flag, or bad ones by cause.

    Parameters
    ----------
    counts : dict of str to int
        Number of pixels of each.
    total : int
        Pixels of the frame; 0 where it is not known.

    Returns
    -------
    list of dict
        name, count, part of all, meaning.
    """
    meanings = {name: flag.meaning for name, flag in FLAGS.items()}
    meanings |= {cause.name: cause.meaning for cause in CAUSES.values()}
    return [
        {
            "name": name.replace("_", " ").lower(),
            "count": count(number),
            "part": fraction(number, total),
            "meaning": meanings.get(name, ""),
        }
        for name, number in counts.items()
    ]


def science_entries(reduction, pictures, link, anchors):
    """
    What is said of every science frame that was reduced.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    pictures : dict
        Of `ccdnight.report.pictures.pictures_of`.
    link : callable
        From a file of the output folder to a link.
    anchors : dict of str to str
        Name of a master to the id of its place in the report.

    Returns
    -------
    list of dict
        name, anchor, object, filter, exposure, before and after (pictures), link, facts, flags, masters, reason,
        problem, and for the charts jd_mid, sky, fwhm, fwhm_arcsec and airmass.
    """
    plans = {item.input: item for item in reduction.plan.science}
    reasons = {plain(row["path"]): plain(row["reason"]) for row in reduction.night}
    entries = []
    for number, name in enumerate(reduction.science, 1):
        file = reduction.science.path(name).relative_to(reduction.output).as_posix()
        told, item = reduction.run.get("statistics", {}).get(file, {}), plans.get(name)
        shape = told.get("shape") or (0, 0)
        shown = pictures.get(file, {})
        entries.append(
            {
                "name": name,
                "anchor": f"frame-{number}",
                "object": str(told.get("object") or ""),
                "filter": str(told.get("filter") or ""),
                "exposure": exposure(told["exposure"]) if told.get("exposure") is not None else "",
                "before": shown.get("before"),
                "after": shown.get("after"),
                "link": link(file),
                "facts": [*_science_facts(told), ("reduced in", _took(reduction, f"science:{name}"))],
                "flags": flag_rows(told.get("flags") or {}, shape[0] * shape[1]),
                "masters": _masters(item, anchors),
                "reason": reasons.get(name, ""),
                "problem": item.problem if item else "",
                **{key: _value(told.get(key)) for key in ("jd_mid", "sky", "fwhm", "fwhm_arcsec", "airmass")},
            }
        )
    return entries


def _value(item):
    """The number of what is measured; None where there is none."""
    value = item.get("value") if isinstance(item, dict) else item
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _masters(item, anchors):
    if item is None:
        return []
    roles = ("bias", "dark", "flat", "bad_pixels", "fringe")
    names = [(role.replace("_", " "), getattr(item, role)) for role in roles]
    applied = [{"role": role, "name": name, "anchor": anchors.get(name, "")} for role, name in names if name]
    if item.overscan_window:
        applied.insert(0, {"role": "overscan", "name": f"smoothed over {item.overscan_window} rows", "anchor": ""})
    return applied


def _science_facts(told):
    """Names and values; empty values are left out by the template."""
    middle = moment(told["jd_mid"]) if told.get("jd_mid") is not None else None
    sky, scatter, flatness = (_value(told.get(key)) for key in ("sky", "sky_sigma", "flatness"))
    seeing, arcsec = told.get("fwhm") or {}, told.get("fwhm_arcsec") or {}
    # The median of many stars is better known than what the word means: three digits are enough.
    width = measured(seeing.get("value"), None, "pixel")
    if width and arcsec:
        width = f"{significant(arcsec['value'])} arcsec ({width})"
    stars = told.get("stars", 0)
    flags, shape = told.get("flags") or {}, told.get("shape") or (0, 0)
    cosmic = flags.get("COSMIC_RAY", 0)
    rest = sum(number for name, number in flags.items() if name != "COSMIC_RAY")
    total = shape[0] * shape[1]
    even = "frame too small to tell" if flatness is None else measured(flatness, None, "electron", 2)
    if flatness is not None and sky is not None and scatter is not None and sky > scatter:
        even += f" ({fraction(flatness, sky)} of the sky)"
    ratio = _value(told.get("noise_ratio"))
    expected = "" if ratio is None or scatter is None else f"; neighbors: {ratio:.2f} of their uncertainty"
    return [
        ("middle of exposure", f"{middle:%Y-%m-%d %H:%M:%S} UTC" if middle else "not known"),
        ("Julian date", f"{told['jd_mid']:.5f}" if middle else ""),
        ("airmass", significant(told["airmass"]) if told.get("airmass") is not None else "not known"),
        ("sky level", measured(sky, None, "electron", 4 if sky is not None and abs(sky) >= 100 else 3)),
        ("sky noise", measured(scatter, None, "electron") + expected),
        ("sky unevenness", even),
        ("seeing (FWHM)", f"{width}, {stars} stars" if width else "too few stars to tell"),
        ("cosmic rays", f"{count(cosmic)} pixels" + (f", {fraction(cosmic, total)}" if cosmic and total else "")),
        ("other flags", f"{count(rest)}" + (f", {fraction(rest, total)} of all pixels" if rest and total else "")),
    ]
