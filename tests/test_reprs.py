"""What a notebook shows: all of it is there, and text of headers stays text."""

from html.parser import HTMLParser

import pytest
from astropy.io import fits

from ccdnight import Night, get_profile
from ccdnight.detector import estimate_gain, measure_bias
from ccdnight.simulate import simulate_night

HOSTILE = "<script>alert(1)</script><img src=x onerror=a()>"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.seen.update(name for name, _ in attrs if name.startswith("on"))


def tags_of(thing):
    parser = Tags()
    parser.feed(thing._repr_html_())
    return parser.seen


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Raw frames whose headers carry markup."""
    folder = tmp_path_factory.mktemp("reprs")
    simulate_night(folder, "lfc", seed=1, size="small")
    for name in ("ccd.037.0.fits", "ccd.001.0.fits", "ccd.014.0.fits"):
        with fits.open(folder / "raw" / name, mode="update", output_verify="silentfix") as hdus:
            hdus[0].header["OBJECT"] = (HOSTILE, "")
            hdus[0].header["FILTER"] = (HOSTILE, "")
    return folder / "raw"


@pytest.fixture(scope="module")
def night(raw):
    return Night(raw)


def test_markup_in_headers_stays_text(night, tmp_path, capfd):
    """Night, frames, plan and reduction hold tables and headings and no element of a header's making."""
    plan = night.plan()
    things = [night, night.frames, plan, night.reduce(tmp_path / "out", plan=plan, progress=False)]
    for thing in things:
        assert tags_of(thing) <= {"div", "h4", "p", "table", "thead", "tbody", "tr", "th", "td", "i"}
    assert "&lt;script&gt;" in night.frames._repr_html_()
    assert capfd.readouterr().out == ""


def test_results_of_the_detector_show_values_with_errors(raw):
    """Numbers beside their unit; arrays and tables are not poured out."""
    biases = [raw / f"ccd.{number:03d}.0.fits" for number in (2, 3, 4)]
    flats = [raw / f"ccd.{number:03d}.0.fits" for number in (15, 16)]
    found = estimate_gain(flats, biases)
    html = found._repr_html_()
    assert f"{found.gain.value:.5g} ± {found.gain_error.value:.2g} electron / adu" in html
    assert "gain error" not in html
    assert len(measure_bias(biases)._repr_html_()) < 3000


def test_profiles_show_their_facts():
    html = get_profile("lfc")._repr_html_()
    assert "Instrument profile lfc" in html
    assert tags_of(get_profile("lfc")) <= {"div", "h4", "p", "table", "thead", "tbody", "tr", "th", "td"}
