"""Coadds, where there are any: their pictures, and what the run tells of them."""

from ccdnight import storage
from ccdnight.exceptions import FrameError
from ccdnight.report.frames import flag_rows
from ccdnight.report.vectors import vector_drawing
from ccdnight.report.wording import exposure, measured, significant
from ccdnight.thumbnails import LARGEST, picture_of_file

__all__ = ["coadd_entries"]

#: Entries of a table of frames that are shown at most.
_MOST_ROWS = 200


def coadd_entries(reduction, link):
    """
    What is said of every coadd.

    Parameters
    ----------
    reduction : Reduction
        What came out.
    link : callable
        From a file of the output folder to a link.

    Returns
    -------
    list of dict
        name, anchor, picture, link, facts (name and value), flags, vectors, tables (columns and rows).
    """
    entries, told = [], _told(reduction.run)
    files = {path.name: path for path in sorted((reduction.output / "coadd").glob("*.fits"))}
    for number, (file, path) in enumerate(files.items(), 1):
        own = told.get(f"coadd/{file}", told.get(file, told.get(path.stem, {})))
        entries.append(
            {
                "name": path.stem,
                "anchor": f"coadd-{number}",
                "picture": picture_of_file(path, pixels=LARGEST, kind="science", unit=""),
                "link": link(f"coadd/{file}"),
                "facts": _header_facts(path, own) + _facts(own),
                "flags": flag_rows(own.get("flags") or {}, _pixels(path)),
                "vectors": vector_drawing(own.get("residual_vectors")),
                "tables": [table for name, value in own.items() if (table := _table(name, value))],
            }
        )
    return entries


def _told(run):
    """What run.json has of coadds: by their names, or one after the other."""
    told = run.get("coadds") or {}
    if isinstance(told, list):
        told = {str(item.get("output") or item.get("name")): item for item in told if isinstance(item, dict)}
    statistics = {name: item for name, item in run.get("statistics", {}).items() if name.startswith("coadd/")}
    told = {name: item for name, item in told.items() if isinstance(item, dict)} if isinstance(told, dict) else {}
    return {**statistics, **told}


def _pixels(path):
    try:
        ny, nx = storage.read_header(path).shape
    except FrameError:
        return 0
    return ny * nx


def _header_facts(path, told):
    try:
        header = storage.read_header(path).header
    except FrameError as error:
        return [("file", error.reason)]
    facts = []
    for key, name in (("OBJECT", "object"), ("FILTER", "filter")):
        if str(header.get(key, "")).strip():
            facts.append((name, str(header[key]).strip()))
    if isinstance(header.get("NCOMBINE"), int) and "frames_used" not in told:
        facts.append(("frames", str(header["NCOMBINE"])))
    if isinstance(header.get("EXPTIME"), int | float) and "exposure" not in told:
        facts.append(("exposure", exposure(header["EXPTIME"])))
    facts.append(("size", f"{header.get('NAXIS1', '?')} x {header.get('NAXIS2', '?')} pixels"))
    return facts


def _facts(told):
    """Single numbers and words."""
    facts = []
    for name, value in told.items():
        words = str(name).replace("_", " ").replace("fwhm", "FWHM")
        if isinstance(value, dict) and isinstance(value.get("value"), int | float):
            facts.append((words, measured(value["value"], value.get("error"), str(value.get("unit") or ""))))
        elif isinstance(value, bool) or (isinstance(value, str) and value):
            facts.append((words, str(value)))
        elif isinstance(value, int | float):
            facts.append((words, _plain(value)))
    return facts


def _table(name, value):
    """A list of alike things, such as the frames of a coadd."""
    rows = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if not rows:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {
        "title": str(name).replace("_", " "),
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [[_cell(row.get(column)) for column in columns] for row in rows[:_MOST_ROWS]],
        "more": max(0, len(rows) - _MOST_ROWS),
    }


def _cell(value):
    if isinstance(value, dict):
        return (
            measured(value.get("value"), value.get("error"), str(value.get("unit") or "")) if "value" in value else ""
        )
    return _plain(value)


def _plain(value):
    if value is None:
        return ""
    if isinstance(value, int) or not isinstance(value, float):
        return str(value)
    return significant(value, 4)
