"""From a reduction to one HTML file, which takes nothing from elsewhere and lets nothing else in."""

import base64
import functools
import hashlib
import os
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from ccdnight import storage
from ccdnight._version import version
from ccdnight.exceptions import InputError
from ccdnight.report.advice import advise
from ccdnight.report.charts import night_charts
from ccdnight.report.coadds import coadd_entries
from ccdnight.report.detectors import detector_rows
from ccdnight.report.frames import master_entries, science_entries
from ccdnight.report.glance import glance, left_out, timings, title_of
from ccdnight.report.graph import plan_graph
from ccdnight.report.pictures import pictures_of
from ccdnight.report.wording import clean, count, plain, plural

__all__ = ["prepare_report", "write_report"]


def write_report(reduction, path):
    """
    Write the report of a night.

    Parameters
    ----------
    reduction : Reduction or path-like
        What came out; or the output folder of a run.
    path : path-like
        The HTML file; one that is there is replaced.

    Returns
    -------
    `~pathlib.Path`
        The file.

    Raises
    ------
    InputError
        If the folder is no output folder.
    OutputError
        If the environment does not allow it.

    Notes
    -----
    Pictures that were not made during the run are drawn from the products and, while they are still there, from the
    raw files. Whatever stands in headers and names of files is shown as text; the content-security policy lets the
    browser run the page's own script alone, and ask nothing of any other place.

    Examples
    --------
    Of a simulated night in :doc:`/user_guide/simulate`; of a reduced one:

    >>> from ccdnight.report import write_report
    >>> write_report("reduced/", "reduced/report.html")          # doctest: +SKIP
    """
    from ccdnight.reduction import Reduction

    if isinstance(reduction, str | os.PathLike):
        reduction = Reduction.open(reduction)
    elif not isinstance(reduction, Reduction):
        msg = f"reduction is a {type(reduction).__name__}; a Reduction or an output folder is needed"
        raise InputError(msg)
    path = Path(path)
    storage.write_text(path, _render(_content(reduction, path)))
    return path


def _content(reduction, path):
    """Everything that the template shows."""
    pictures, link = pictures_of(reduction), _linker(reduction.output, path)
    anchors = {master.name: f"master-{number}" for number, master in enumerate(reduction.plan.masters, 1)}
    advice = advise(reduction)
    science = science_entries(reduction, pictures, link, anchors)
    raw = reduction.run.get("raw") or ""
    return {
        "title": title_of(reduction),
        "glance": glance(reduction, advice),
        "advice": advice,
        "left_out": left_out(reduction),
        "graph": plan_graph(reduction, anchors),
        "charts": night_charts(science),
        "masters": master_entries(reduction, pictures, link),
        "science": science,
        "coadds": coadd_entries(reduction, link),
        "detectors": detector_rows(reduction),
        "timings": timings(reduction),
        "night": [{name: plain(row[name]) for name in reduction.night.colnames} for row in reduction.night],
        "run": reduction.run,
        "raw": raw,
        "raw_is_gone": bool(science) and not any(item["before"] for item in science),
        "policy": reduction.run.get("policy") or {},
        "profile": reduction.plan.profile,
        "version": version,
    }


def _linker(output, path):
    """From a file of the output folder to a link from the report; '' where there is no way between the two."""
    try:
        base = Path(os.path.relpath(output, path.parent)).as_posix()
    except ValueError:
        base = None  # on another drive

    def link(file):
        return "" if base is None else quote(f"./{base}/{file}".replace("/./", "/"), errors="surrogateescape")

    return link


def prepare_report():
    """
    Import and compile what a report is made with, which takes half a second; for those who have a thread to spare.

    Examples
    --------
    >>> from ccdnight.report import prepare_report
    >>> prepare_report()
    """
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    import ccdnight.plots  # noqa: F401

    # The templates that it includes are compiled by name.
    for name in _environment().list_templates(extensions=["html"]):
        _environment().get_template(name)


@functools.cache
def _environment():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ccdnight.report", "templates"),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "plural": plural}
    return environment


def _render(content):
    style, script = _part("style.css"), _part("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("report.html").render(style=style, script=script, security=policy, **content)


def _part(name):
    return resources.files("ccdnight.report").joinpath("templates", name).read_text(encoding="utf-8")


def _digest(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
