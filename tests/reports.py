"""Nights for the tests of the report: hostile ones, ones with many frames, and a reader of pages."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import builders
from astropy.table import Table, vstack

from ccdnight import Reduction
from ccdnight.reduction import Products

__all__ = ["HOSTILE", "Reader", "hostile_night", "read", "repeated"]

#: Values of headers that would be markup, script, a formula, or another page if they were taken for it.
HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'><svg onload=window.hacked=1>",
    "$\\frac{1}{0}$ {{ 7 * 7 }} {% raw %}",
    "javascript:window.hacked=1",
    "--></style><b>&amp;&lt;</b><!--",
)


def hostile_night(folder):
    """A night whose objects, filters and names of files are hostile."""
    night = builders.plain_night(folder, filters=(HOSTILE[0],), n_science=1)
    for number, text in enumerate(HOSTILE):
        name = text.replace("/", "_") + f" {number}.fits"
        builders.make_frame(Path(folder, name), kind="science", object=text, filter=HOSTILE[0], shape=(64, 80))
    builders.text_file(Path(folder, "<b onclick=window.hacked=1>.fits"))
    return night


def repeated(result, frames):
    """The same reduction with so many science frames, all alike but for name and time."""
    name, *_ = result.science
    plan = next(item for item in result.plan.science if item.input == name)
    file, row = f"science/{plan.output}", result.night[result.night["path"] == name][0]
    told, pictures = result.run["statistics"], result.pictures[file]
    plans, rows, files, statistics, shown = [], [], {}, dict(told), dict(result.pictures)
    for number in range(frames):
        new = f"frame_{number:04d}.fits"
        plans.append(replace(plan, input=new, output=new))
        rows.append((new, "science", "science", "used", row["reason"], f"science/{new}"))
        statistics[f"science/{new}"] = told[file] | {
            "jd_mid": 2460443.7 + number / 1440,
            "object": f"target{number % 7}x",
        }
        files[new], shown[f"science/{new}"] = f"science/{new}", pictures
    others = result.night[result.night["kind"] != "science"]
    night = vstack([others, Table(rows=rows, names=others.colnames)])
    products = Products(result.output, files)
    run = result.run | {"statistics": statistics}
    plan = replace(result.plan, science=tuple(plans))
    return Reduction(result.output, result.masters, products, night, plan, run, shown)


class Reader(HTMLParser):
    """
    A page as a browser takes it apart.

    Attributes
    ----------
    tags : list of (str, dict)
        Every tag with its attributes.
    text : str
        All text, that of style and script left out.
    inside : dict of str to list of str
        Texts of 'style', 'script' and 'title'.
    """

    def __init__(self):
        super().__init__()
        self.tags, self._words, self.inside, self._open = [], [], {}, []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "script", "title"):
            self._open.append(tag)
            self.inside.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            self.inside[self._open[-1]][-1] += data
        if not self._open or self._open[-1] == "title":
            self._words.append(data)

    @property
    def text(self):
        """Blanks as one."""
        return " ".join(" ".join(self._words).split())

    def all(self, tag):
        """Attributes of every tag of a kind."""
        return [attrs for name, attrs in self.tags if name == tag]


def read(path):
    """Take a page apart."""
    reader = Reader()
    reader.feed(Path(path).read_text("utf-8"))
    reader.close()
    return reader
