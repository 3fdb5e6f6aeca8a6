"""The report as a real browser shows it: quiet, whole, readable at any width, and asking for nothing."""

import pytest
from browser import Browser, find_chromium
from reports import HOSTILE, hostile_night, repeated

from ccdnight import Night, tasks
from ccdnight.demo import run_demo
from ccdnight.exceptions import OutputError
from ccdnight.report import write_report
from ccdnight.simulate import simulate_night

pytestmark = pytest.mark.browser

QUIET = {"progress": False, "workers": 1}
#: One frame each of a night of Palomar LFC, and what goes wrong with it.
FAULTS = (
    *("truncated:ccd.001.0.fits", "truncated:ccd.014.0.fits", "truncated:ccd.036.0.fits"),
    *("truncated:darks/ccd.013.0.fits", "nan:ccd.002.0.fits", "nan:ccd.037.0.fits", "nan:darks/ccd.017.0.fits"),
    *("wrong kind:ccd.003.0.fits", "wrong kind:ccd.015.0.fits", "wrong kind:ccd.038.0.fits"),
    *("wrong kind:darks/ccd.023.0.fits", "saturated flat:ccd.017.0.fits", "saturated flat:ccd.016.0.fits"),
    *("swapped filter:ccd.018.0.fits", "swapped filter:ccd.039.0.fits", "swapped filter:ccd.041.0.fits"),
    *("duplicate:ccd.040.0.fits", "duplicate:ccd.004.0.fits", "drifted clock:ccd.042.0.fits"),
    "drifted clock:darks/ccd.014.0.fits",
)


@pytest.fixture(scope="module")
def browser():
    with Browser(find_chromium()) as running:
        yield running


#: Width and height of the picture of a photon transfer curve, which is none of a frame.
CURVE = (600, 420)


def look(browser, path, images=None, **kwargs):
    """Look at a page at the widths of a desk and of a phone; what is seen at the desk."""
    pages = [browser.look(path, width=width, **kwargs) for width in (1280, 390)]
    for page, width in zip(pages, (1280, 390), strict=True):
        assert page.requests == []
        assert page.complaints == []
        assert all(complete and wide and high for complete, wide, high in page.images)
        shown = [image for image in page.images if tuple(image[1:]) != CURVE]
        assert images is None or len(shown) == images
        # Nothing has to be scrolled sideways but what says so.
        assert page.width <= width
        assert page.wide == []
        assert page.scripts == 1
    return pages[0]


def test_demo(browser, tmp_path):
    _, result = run_demo(tmp_path)
    page = look(browser, result.output / "report.html", images=len(result.masters) + 2 * len(result.science))
    assert "All 10 science frames are reduced." in page.text
    assert "Through the night" in page.text


def test_night_with_20_faults(browser, tmp_path):
    assert len(FAULTS) == 20
    truth = simulate_night(tmp_path / "night", "lfc", seed=1, faults=FAULTS)
    result = Night(truth.raw_folder).reduce(tmp_path / "out", **QUIET)
    page = look(browser, tmp_path / "out" / "report.html")
    assert len(result.failures) >= 6
    for row in result.failures:
        assert row["path"] in page.text
    assert page.text.count("What to do:") >= len({row["reason"] for row in result.failures}) - 4
    assert "truncated" in page.text
    assert "saturated" in page.text


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["arcsat-2025-06-01", "nickel-2024-05-13"])
def test_real_night(browser, realdata, tmp_path, name):
    result = Night(realdata / name).reduce(tmp_path, **QUIET)
    page = look(browser, tmp_path / "report.html", images=len(result.masters) + 2 * len(result.science))
    assert f"All {len(result.science)} science frames are reduced." in page.text
    assert "arcsec" in page.text


def test_hostile_values_are_shown_and_not_run(browser, tmp_path):
    hostile_night(tmp_path / "raw")
    Night(tmp_path / "raw").reduce(tmp_path / "out", **QUIET)
    page = look(browser, tmp_path / "out" / "report.html", then={"hacked": "String(window.hacked)"})
    assert page.hacked == "undefined"
    for text in HOSTILE:
        assert " ".join(text.split()) in " ".join(page.text.split())


def test_the_policy_stops_what_would_slip_through(browser, tmp_path):
    """Were a value not escaped, the browser would run nothing of it and ask for nothing."""
    hostile_night(tmp_path / "raw")
    Night(tmp_path / "raw").reduce(tmp_path / "out", **QUIET)
    path = tmp_path / "out" / "report.html"
    holes = "<img src='http://192.0.2.1/a.png' onerror='window.hacked=1'><script>window.hacked=1</script>"
    path.write_text(path.read_text("utf-8").replace("<main>", f"<main>{holes}"), "utf-8")
    page = browser.look(path, then={"hacked": "String(window.hacked)"})
    assert page.hacked == "undefined"
    assert len(page.complaints) >= 2
    assert all("Content Security Policy" in text or "content security policy" in text for text in page.complaints)


def test_run_that_stopped(browser, tmp_path, monkeypatch):
    truth, make = simulate_night(tmp_path / "night", "nickel", seed=1), tasks.make_science

    def stop(folder, output, item, *rest):
        if item.input == "d1074.fits":
            msg = f"{output}: cannot be written: no space is left on the disk"
            raise OutputError(msg)
        return make(folder, output, item, *rest)

    monkeypatch.setattr(tasks, "make_science", stop)
    with pytest.raises(OutputError):
        Night(truth.raw_folder).reduce(tmp_path / "out", **QUIET)
    page = look(browser, tmp_path / "out" / "report.html", images=3 + 2 * 4)
    assert "The run stopped before its end" in page.text
    assert "Make room on the disk" in page.text


FILTER = """
(() => {{
  const box = document.getElementById("filter");
  box.value = "{words}";
  box.dispatchEvent(new Event("input"));
  const seen = Array.from(document.querySelectorAll(".frame")).filter(frame => frame.offsetParent !== null);
  return seen.length + "|" + document.getElementById("shown").textContent
    + "|" + (document.getElementById("none").offsetParent !== null);
}})()
"""


@pytest.mark.parametrize("frames", [3, 500])
def test_many_frames(browser, tmp_path, frames):
    truth = simulate_night(tmp_path / "night", "nickel", seed=1)
    result = repeated(Night(truth.raw_folder).reduce(tmp_path / "out", **QUIET), frames)
    path = write_report(result, tmp_path / "many.html")
    asked = {"one": "FRAME_0002", "some": "v target1x", "nothing": "nowhere", "all": ""}
    then = {name: FILTER.format(words=words) for name, words in asked.items()}
    page = look(browser, path, images=len(result.masters) + 2 * frames, then=then)
    some = len([number for number in range(frames) if number % 7 == 1])
    assert page.one == f"1|1 of {frames} frames|false"
    assert page.some.split("|")[0] == str(some)
    assert page.nothing == f"0|0 of {frames} frames|true"
    assert page.all == f"{frames}|{frames} frames|false"


class TestTheBrowserSees:
    """A browser that noticed nothing would be pleased with everything."""

    def test_requests_errors_and_broken_images(self, browser, tmp_path):
        text = "<img src='http://192.0.2.1/x.png'><script>console.error('words'); nothing.there</script>"
        (tmp_path / "a.html").write_text(text)
        page = browser.look(tmp_path / "a.html")
        assert page.requests == ["http://192.0.2.1/x.png"]
        assert any("words" in complaint for complaint in page.complaints)
        assert any("ReferenceError" in complaint for complaint in page.complaints)
        assert page.images == [[True, 0, 0]]

    def test_what_is_too_wide(self, browser, tmp_path):
        (tmp_path / "a.html").write_text("<!DOCTYPE html><div style='width:2000px'>wide</div>")
        page = browser.look(tmp_path / "a.html", width=390)
        assert page.width > 390
        assert page.wide == ["DIV."]
