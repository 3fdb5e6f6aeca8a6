"""The report: what stands in it, that nothing in it is markup but its own, and that it is always written."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import builders
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from reports import HOSTILE, hostile_night, read, repeated

from ccdnight import Night, Reduction, report, tasks
from ccdnight.cli import main
from ccdnight.exceptions import InputError, OutputError
from ccdnight.report import write_report
from ccdnight.report.advice import advise, remedy_for
from ccdnight.report.charts import night_charts
from ccdnight.report.coadds import coadd_entries
from ccdnight.report.detectors import detector_rows
from ccdnight.report.graph import plan_graph
from ccdnight.report.vectors import vector_drawing
from ccdnight.report.wording import clean, count, duration, exposure, fraction, measured, moment, plural, significant
from ccdnight.report.writing import _environment

QUIET = {"progress": False, "cosmic_rays": False, "workers": 1}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A plain night and its reduction; both are only read."""
    folder = tmp_path_factory.mktemp("night")
    raw = builders.plain_night(folder / "raw", filters=("V", "R"), n_science=3)
    builders.truncate(raw.folder / "science_R_001.fits", 6000)
    return raw, Night(raw.folder).reduce(folder / "out", **QUIET)


@pytest.fixture(scope="module")
def page(night):
    return read(night[1].output / "report.html")


def frames_shown(page):
    """Pictures of frames, without those of curves."""
    return [image for image in page.all("img") if "Photon transfer" not in image["alt"]]


def with_run(result, **entries):
    """The same reduction with other entries in its record."""
    return replace(result, run=result.run | entries)


class TestContent:
    """What an observer finds in it."""

    def test_at_a_glance(self, night, page):
        counts = night[1].counts
        assert counts["failed"] == 1
        assert f"{counts['inputs']} files came in" in page.text
        assert f"{counts['used']} of them were used" in page.text
        assert f"{counts['masters']} masters made" in page.text
        assert "5 of 5 science frames reduced" in page.text
        assert page.text.index("The night at a glance") < page.text.index("The plan: which")

    def test_left_out_and_why(self, night, page):
        row = night[1].failures[0]
        assert row["path"] in page.text
        assert "truncated" in page.text
        assert "Copy the file again" in page.text

    def test_masters(self, night, page):
        for name in night[1].masters:
            assert page.text.count(name) >= 2
        assert page.text.count("History") == len(night[1].masters)
        assert night[1].masters["flat_V"].meta["HISTORY"][0] in page.text

    def test_science_frames(self, night, page):
        result = night[1]
        for name in result.science:
            told = result.run["statistics"][result.science.path(name).relative_to(result.output).as_posix()]
            assert name in page.text
            assert f"{moment(told['jd_mid']):%Y-%m-%d %H:%M:%S} UTC" in page.text
            assert (
                measured(told["sky"]["value"], None, "electron", 4 if told["sky"]["value"] >= 100 else 3) in page.text
            )
        for words in ("airmass", "sky unevenness", "seeing (FWHM)", "cosmic rays", "middle of exposure"):
            assert page.text.count(words) >= len(result.science)

    def test_detector(self, night, page):
        row = Table.read(night[1].output / "detector.ecsv", format="ascii.ecsv")[0]
        gain, error = float(row["gain"]), float(row["gain_error"])
        assert f"gain [electron/adu] {measured(gain, error)} " in page.text
        assert (
            f"read noise [electron] {measured(float(row['read_noise']), float(row['read_noise_error']))} " in page.text
        )

    def test_photon_transfer(self, night, page):
        """A picture of what the run measured, and nothing where no gain was."""
        (image,) = (image for image in page.all("img") if "Photon transfer" in image["alt"])
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert data.startswith(b"\x89PNG")
        (curve,) = night[1].run["photon_transfer"]
        row = Table.read(night[1].output / "detector.ecsv", format="ascii.ecsv")[0]
        assert curve["gain"] == row["gain"]
        assert len(curve["level"]) == len(curve["variance"]) == row["pairs"] + 1
        for edited in (None, [], [None], [{"gain": 2}], "curve", [[1]]):
            assert [item["picture"] for item in detector_rows(with_run(night[1], photon_transfer=edited))] == [None]

    def test_remarks_are_sentences(self, night):
        """Of the gain and of the read noise, each by itself."""
        words = (
            "gain in electron/adu: a; 2, of the profile, is used; read noise in electron: b; 3, as measured, is used"
        )
        (row,) = night[1].run.get("detector", [{}])
        (entry,) = detector_rows(with_run(night[1], detector=[row | {"remark": words}]))
        assert [text[:10] for text in entry["remarks"]] == ["gain in el", "read noise"]
        (entry,) = detector_rows(with_run(night[1], detector=[row | {"remark": "could not be measured: x"}]))
        assert entry["remarks"] == ["could not be measured: x"]

    def test_pictures(self, night, page):
        images = frames_shown(page)
        assert len(images) == len(night[1].masters) + 2 * len(night[1].science)
        for image in images:
            data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"), validate=True)
            assert data.startswith(b"\xff\xd8\xff")
            assert image["loading"] == "lazy"
            assert image["alt"]
            assert int(image["width"]) > 0
            assert int(image["height"]) > 0

    def test_timings_and_versions(self, night, page):
        assert "science frames reduced" in page.text
        assert night[1].run["versions"]["numpy"] in page.text

    def test_every_file(self, night, page):
        for row in night[1].night:
            assert str(row["path"]) in page.text

    def test_links_lead_to_files(self, night, page):
        links = [attrs["href"] for attrs in page.all("a") if attrs["href"].startswith(".")]
        assert len(links) == len(night[1].masters) + len(night[1].science)
        assert all((night[1].output / link).is_file() for link in links)

    def test_every_link_within_the_page_has_its_end(self, page):
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        inner = [attrs["href"][1:] for tag, attrs in page.tags if tag in ("a", "use") and attrs["href"][0] == "#"]
        assert inner
        assert set(inner) <= set(ids)


class TestSelfContained:
    """One file that asks for nothing, and whose policy allows nothing else."""

    def test_nothing_comes_from_elsewhere(self, page):
        for tag, attrs in page.tags:
            assert tag not in ("link", "iframe", "object", "embed", "base") or attrs.get("href") == "data:,"
            for name in ("src", "srcset", "data", "poster", "background", "action"):
                assert attrs.get(name, "data:").startswith("data:")
            assert not any(name.startswith("on") or name == "style" for name in attrs)
        assert not re.search(r"url\(|@import", page.inside["style"][0])

    def test_policy_names_exactly_our_style_and_script(self, page):
        (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        told = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert told["default-src"] == "'none'"
        assert told["img-src"] == "data:"
        for kind in ("style", "script"):
            (text,) = page.inside[kind]
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert told[f"{kind}-src"] == f"'sha256-{digest}'"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Reduction of a night whose headers and names would be markup, and its page."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile_night(folder / "raw <i>x")
    result = Night(folder / "raw <i>x").reduce(folder / "out", **QUIET)
    return result, read(folder / "out" / "report.html")


def test_hostile_values_are_text(hostile):
    """Every hostile value is shown word for word, and adds neither a tag nor an attribute."""
    result, page = hostile
    assert len(result.science) == len(HOSTILE) + 1
    for text in HOSTILE:
        assert " ".join(text.split()) in page.text
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert {tag for tag, _ in page.tags}.isdisjoint({"b onclick", "i"})
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert len(frames_shown(page)) == len(result.masters) + 2 * len(result.science)
    assert all(attrs["href"][0] in "#." or attrs["href"] == "data:," for attrs in page.all("a") + page.all("link"))


def failing(error):
    """A function that always fails."""

    def fail(*_):
        raise error

    return fail


class TestAlwaysWritten:
    """Whatever becomes of a run."""

    @pytest.mark.filterwarnings("ignore:no FITS files in the collection")
    def test_nothing_came_in(self, tmp_path):
        (tmp_path / "raw").mkdir()
        Night(tmp_path / "raw").reduce(tmp_path / "out", **QUIET)
        assert "Nothing came in" in read(tmp_path / "out" / "report.html").text

    def test_nothing_could_be_reduced(self, tmp_path):
        (tmp_path / "raw").mkdir()
        builders.text_file(tmp_path / "raw" / "a.fits")
        Night(tmp_path / "raw").reduce(tmp_path / "out", **QUIET)
        text = read(tmp_path / "out" / "report.html").text
        assert "Nothing could be reduced" in text
        assert "not a FITS file" in text
        assert "give it another suffix" in text

    @pytest.mark.parametrize(
        ("error", "words", "remedy"),
        [
            (OutputError("out/x.fits: cannot be written: no space is left on the disk"), "no space", "Make room"),
            (KeyboardInterrupt(), "it was interrupted", "Give the same command again"),
        ],
    )
    def test_a_run_that_stops(self, tmp_path, monkeypatch, error, words, remedy):
        """What was done before is told of, and what was not."""
        raw, make = builders.plain_night(tmp_path / "raw", n_science=3), tasks.make_science
        last = raw.paths("science")[-1]

        def stop_at_the_last(folder, output, item, *rest):
            if item.input == last:
                raise error
            return make(folder, output, item, *rest)

        monkeypatch.setattr(tasks, "make_science", stop_at_the_last)
        with pytest.raises(type(error)):
            Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        page = read(tmp_path / "out" / "report.html")
        assert "The run stopped before its end" in page.text
        assert words in page.text
        assert remedy in page.text
        assert "not done: the run stopped before" in page.text
        assert len(frames_shown(page)) == 4 + 2 * 2
        assert not (tmp_path / "out" / "run.json").exists()

    def test_where_it_cannot_be_written_the_first_error_counts(self, tmp_path, monkeypatch):
        raw = builders.plain_night(tmp_path / "raw")

        monkeypatch.setattr(tasks, "make_science", failing(OutputError("the first")))
        (tmp_path / "out" / "report.html").mkdir(parents=True)
        with pytest.raises(OutputError, match="the first"):
            Night(raw.folder).reduce(tmp_path / "out", **QUIET)

    def test_a_mistake_in_the_report_does_not_cost_the_night(self, tmp_path, monkeypatch):
        raw = builders.plain_night(tmp_path / "raw")

        monkeypatch.setattr(report, "write_report", failing(ZeroDivisionError("a mistake")))
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        assert len(result.science) == 2
        assert "a mistake" in result.run["errors"]["report"]

    def test_an_error_of_ours_is_told_with_its_lines(self, tmp_path, monkeypatch):
        raw = builders.plain_night(tmp_path / "raw")

        monkeypatch.setattr(tasks, "make_science", failing(ZeroDivisionError("a <mistake>")))
        Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        text = read(tmp_path / "out" / "report.html").text
        assert "An error in ccdnight itself" in text
        assert "ZeroDivisionError: a <mistake>" in text
        assert "Please report it" in text


def test_what_is_prepared_is_not_imported_when_the_report_is_written():
    """The run does it while the masters are made, and has nothing to wait for at its end."""
    script = "import io, sys; from ccdnight.report import prepare_report; prepare_report(); before = set(sys.modules);"
    script += "import jinja2; from ccdnight.plots import plot_ptc; from matplotlib.figure import Figure;"
    script += "figure = Figure(); figure.add_axes((0.1, 0.1, 0.8, 0.8)).loglog([1, 9]); figure.savefig(io.BytesIO());"
    # Pillow's own kinds of files are there as soon as a frame has had its picture made.
    script += "print([name for name in set(sys.modules) - before if not name.startswith('PIL.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestWrittenAgain:
    """From the output folder alone."""

    def test_it_is_the_same(self, night, page):
        result = Reduction.open(night[1].output)
        assert not result.pictures
        again = read(write_report(result, night[1].output / "again.html"))
        (night[1].output / "again.html").unlink()
        assert again.text == page.text
        assert [image["src"] for image in again.all("img")] == [image["src"] for image in page.all("img")]

    def test_without_the_raw_frames(self, night, tmp_path):
        shutil.copytree(night[1].output, tmp_path / "out")
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        (tmp_path / "out" / "run.json").write_text(json.dumps(run | {"raw": str(tmp_path / "gone")}))
        page = read(write_report(tmp_path / "out", tmp_path / "night.html"))
        assert "The raw frames are not where they were any more" in page.text
        assert len(frames_shown(page)) == len(night[1].masters) + len(night[1].science)

    def test_a_product_that_is_gone(self, night, tmp_path):
        shutil.copytree(night[1].output, tmp_path / "out")
        name = next(iter(night[1].science))
        (tmp_path / "out" / "science" / name).unlink()
        (tmp_path / "out" / "masters" / "bias.fits").write_text("damaged")
        page = read(write_report(tmp_path / "out", tmp_path / "out" / "report.html"))
        assert "the file is gone or cannot be read" in page.text

    def test_raw_names_never_leave_the_raw_folder(self, night):
        """A plan could name any file of the disk."""
        from ccdnight.report.pictures import _raw_file

        result = night[1]
        assert _raw_file(result, "science_V_001.fits").is_file()
        assert _raw_file(result, "../raw/science_V_001.fits") is None
        assert _raw_file(result, str(night[0].folder / "science_V_001.fits")) is None
        assert _raw_file(result, "gone\0.fits") is None

    def test_of_an_older_run(self, night, tmp_path):
        """run.json without what later versions measure."""
        shutil.copytree(night[1].output, tmp_path / "out")
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        for name in ("seconds", "timings", "versions", "policy", "statistics", "notes"):
            del run[name]
        (tmp_path / "out" / "run.json").write_text(json.dumps(run))
        (tmp_path / "out" / "detector.ecsv").unlink()
        page = read(write_report(tmp_path / "out", tmp_path / "out" / "report.html"))
        assert "could not be measured from this night" in page.text

    def test_on_the_command_line(self, night, tmp_path):
        done = CliRunner().invoke(main, ["report", str(night[1].output), "-o", str(tmp_path / "a.html"), "--json"])
        assert done.exit_code == 0
        assert json.loads(done.stdout) == {"output": str(tmp_path / "a.html")}
        assert read(tmp_path / "a.html").all("img")
        (tmp_path / "empty").mkdir()
        refused = CliRunner().invoke(main, ["report", str(tmp_path / "empty")])
        assert refused.exit_code == 4
        assert "no output folder of ccdnight" in refused.stderr

    def test_of_something_else(self, tmp_path):
        with pytest.raises(InputError, match="a Reduction or an output folder"):
            write_report(42, tmp_path / "a.html")


class TestManyFrames:
    """3 and 500 science frames."""

    @pytest.mark.parametrize("frames", [1, 3, 500])
    def test_size_and_time(self, night, tmp_path, frames):
        result = repeated(night[1], frames)
        begin = time.monotonic()
        path = write_report(result, tmp_path / "report.html")
        assert time.monotonic() - begin < 10
        assert path.stat().st_size < 25e6
        page = read(path)
        assert sum(attrs.get("class") == "card frame" for attrs in page.all("article")) == frames
        assert len(frames_shown(page)) == len(result.masters) + 2 * frames

    def test_pictures_of_500_frames_fit(self):
        """Noise is what compresses worst; every picture of it takes less than a thousandth of what is left."""
        from ccdnight.overview import overview_of, tile_for
        from ccdnight.thumbnails import draw, pixels_of_pictures

        noise = np.random.default_rng(1).normal(100, 5, (1024, 1024)).astype(np.float32)
        picture = draw(overview_of(noise, step=tile_for(noise.shape, pixels_of_pictures(500))))
        assert 1000 * len(picture["jpeg"]) < 23e6


@pytest.fixture(scope="module")
def graph(night):
    return plan_graph(night[1], {"bias": "master-1"})


class TestGraph:
    """Which master serves what."""

    def test_boxes_do_not_overlap_and_fit(self, graph):
        width, height = graph["box"]
        for number, one in enumerate(graph["boxes"]):
            assert 0 <= one["x"] <= graph["width"] - width
            assert 0 <= one["y"] <= graph["height"] - height
            for other in graph["boxes"][number + 1 :]:
                assert abs(one["x"] - other["x"]) >= width or abs(one["y"] - other["y"]) >= height

    def test_lines_go_to_the_right_and_around_boxes(self, graph):
        height = graph["box"][1]
        for line in graph["lines"]:
            numbers = [float(item) for item in re.findall(r"-?[\d.]+", line["path"])]
            if "h" in line["path"]:
                x, y = numbers[:2]
                assert not any(box["x"] == x and box["y"] < y < box["y"] + height for box in graph["boxes"])
            else:
                assert numbers[-2] > numbers[0]

    def test_every_use_is_a_line(self, night, graph):
        words = " ".join(line["words"] for line in graph["lines"])
        for master in night[1].plan.masters:
            for source in filter(None, (master.bias, master.dark)):
                assert re.search(rf"{source} serves [^|]*{master.name}", words)
        assert sum(box["kind"] == "science" for box in graph["boxes"]) == 2

    def test_a_master_of_science_frames(self, night):
        """A fringe frame is made with what its frames are calibrated with, and serves them."""
        plan = night[1].plan
        first = plan.science[0]
        fringe = replace(plan.masters[-1], name="fringe_V", kind="fringe", inputs=(first.input,), sources=())
        science = tuple(replace(item, fringe="fringe_V") for item in plan.science)
        result = replace(night[1], plan=replace(plan, masters=(*plan.masters, fringe), science=science))
        graph = plan_graph(result, {})
        words = " ".join(line["words"] for line in graph["lines"])
        assert re.search(rf"{first.flat} serves [^|]*fringe_V", words)
        assert re.search("fringe_V serves [^|]*science", words)
        places = {box["full"]: box["x"] for box in graph["boxes"]}
        assert places[first.flat] < places["fringe_V"] < max(places.values())

    def test_what_failed(self, night):
        run = night[1].run | {"masters": ["bias"]}
        result = Reduction.assemble(night[1].output, night[1].night, night[1].plan, run)
        made = {box["full"]: box["made"] for box in plan_graph(result, {})["boxes"]}
        assert made["bias"]
        assert not made["flat_V"]

    def test_of_no_plan(self, night):
        assert plan_graph(replace(night[1], plan=replace(night[1].plan, masters=(), science=())), {}) is None


class TestCharts:
    """The night in time."""

    @staticmethod
    def frames(values, key="sky"):
        known = {"sky": None, "fwhm": None, "fwhm_arcsec": None, "airmass": None}
        return [
            {"name": f"f{i}", "anchor": f"frame-{i}", "filter": "V", "jd_mid": 2460443.7 + i / 48, **known, key: value}
            for i, value in enumerate(values)
        ]

    def test_points_are_in_place(self):
        (chart,) = night_charts(self.frames([10.0, 20.0, 40.0]))["charts"]
        x, y, width, height = chart["box"]
        assert all(x <= point["x"] <= x + width and y <= point["y"] <= y + height for point in chart["points"])
        heights = [point["y"] for point in chart["points"]]
        assert heights[0] - heights[1] == pytest.approx((heights[1] - heights[2]) / 2, abs=0.3)
        assert chart["points"][0]["words"] == "f0: 10.0 electron"
        assert 2 <= len(chart["rows"]) <= 7
        assert [words for _, words in chart["columns"]] == ["04:45", "05:00", "05:15", "05:30", "05:45"]

    @pytest.mark.parametrize(
        "values", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-5.0, 3.0, 1e6], [1e-6, 2e-6, 3e-6], [5.0, 50.0, 5000.0]]
    )
    def test_any_values(self, values):
        (chart,) = night_charts(self.frames(values))["charts"]
        assert all(np.isfinite([point["x"], point["y"]]).all() for point in chart["points"])
        assert chart["rows"]

    @pytest.mark.parametrize(("values", "told"), [([10.0, 20.0, 40.0], False), ([10.0, 20.0, 400.0], True)])
    def test_a_logarithmic_axis_is_told(self, values, told):
        chart = night_charts(self.frames(values))["charts"][0]
        parts = _environment().get_template("parts.html").module
        assert ("its axis is logarithmic" in str(parts.chart_svg(chart, 300, 200))) == told

    def test_too_little_to_draw(self):
        assert night_charts(self.frames([1.0, 2.0]))["charts"] == []
        assert night_charts([frame | {"jd_mid": None} for frame in self.frames([1.0, 2.0, 3.0])])["charts"] == []
        assert night_charts(self.frames([1.0, None, None]))["charts"] == []

    def test_months_and_seconds(self):
        for span in (1e-4, 400.0):
            frames = [frame | {"jd_mid": 2460443.7 + i * span} for i, frame in enumerate(self.frames([1.0, 2.0, 3.0]))]
            assert len(night_charts(frames)["charts"][0]["columns"]) <= 8


class TestAdvice:
    """Warnings in words, with the remedy."""

    def test_everything_that_is_wrong_has_a_remedy(self, night):
        found = advise(night[1])
        assert [item.level for item in found] == sorted(
            (item.level for item in found), key=("error", "warning", "note").index
        )
        assert all(item.remedy for item in found if item.level != "note")
        assert any("truncated" in item.words and item.files == ("science_R_001.fits",) for item in found)

    @pytest.mark.parametrize(
        ("words", "remedy"),
        [
            ("dark: none, there are no darks; science frames are reduced without it", "Take darks"),
            ("flat: none, there are no flats in V (there are flats in R); science frames ...", "flats in this filter"),
            ("bias: none, there are no biases", "Take at least five biases"),
            ("flats in z are of the night of 2025-06-04, the science frames of another", "Dust moves"),
            ("dark: none, the detector was at -20.0 C and the darks at -30.0 C (tolerance 1)", "at their temperature"),
            ("60 % of its pixels are saturated; a flat may have up to 10%", "half of the full well"),
            ("flat_V: 2 frames are fewer than the 3 asked for; cosmic rays may stay in it", "more frames"),
            ("gain in electron/adu: measured 2, profile 2, header 1; the header cannot be right", "Nothing has to be"),
            ("read noise in electron: measured 9, profile 12; the profile cannot be right", "profile of your own"),
            ("its header says bias, but its level is 9000 adu", "left out rightly"),
            ("something nobody has thought of", "Look at the frames"),
        ],
    )
    def test_remedies(self, words, remedy):
        assert remedy in remedy_for(words)


class TestWording:
    """No more digits than are known."""

    @pytest.mark.parametrize(
        ("value", "digits", "text"),
        [
            (0.9996, 3, "1.00"),
            (9.996, 3, "10.0"),
            (1234.5, 3, "1,234"),
            (0.01234, 3, "0.0123"),
            (-38.04, 3, "-38.0"),
            (1e-7, 3, "1.00e-07"),
            (0, 3, "0"),
            (2, 4, "2.000"),
        ],
    )
    def test_significant(self, value, digits, text):
        assert significant(value, digits) == text

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ((1.78312, 0.0021, "electron/adu"), "1.7831 ± 0.0021 electron/adu"),
            ((388.39, 7.5), "388.4 ± 7.5"),
            ((1234567.8, 2300.0), "1,234,568 ± 2,300"),
            ((2.0, 0.0), "2.00"),
            ((2.0, float("nan"), "adu"), "2.00 adu"),
            ((None,), ""),
            ((float("nan"),), ""),
        ],
    )
    def test_measured(self, arguments, text):
        assert measured(*arguments) == text

    def test_times(self):
        assert [duration(s) for s in (0.84, 5, 12.34, 61, 7300)] == [
            "0.84 s",
            "5.0 s",
            "12.3 s",
            "1 min 01 s",
            "2 h 01 min",
        ]
        assert [exposure(s) for s in (0.5, 60, 70.0043, 1500, 3600)] == [
            "0.5 s",
            "60 s",
            "70 s",
            "1,500 s",
            "1 h 00 min",
        ]
        assert f"{moment(2460443.6897814814):%Y-%m-%d %H:%M:%S}" == "2024-05-13 04:33:17"
        assert moment(1e300) is None

    def test_numbers_of_things(self):
        assert [plural(n, "frame") for n in (0, 1, 2, 20485)] == ["0 frames", "1 frame", "2 frames", "20,485 frames"]
        assert count(1234567) == "1,234,567"
        assert [fraction(*pair) for pair in ((218, 1048576), (1, 1e6), (0, 5), (1, 0))] == [
            "0.021 %",
            "below 0.001 %",
            "0 %",
            "",
        ]

    def test_nothing_is_hidden(self):
        """Control characters, letters that turn the direction of the line, and halves of pairs."""
        assert clean("a\x00b\x1b[1m\u202egnp.exe\udc80\n") == "a\ufffdb\ufffd[1m\ufffdgnp.exe?\n"
        assert clean(5) == 5


class TestCoadds:
    """Where there are any."""

    def test_of_a_run_that_made_some(self, night, tmp_path):
        shutil.copytree(night[1].output, tmp_path / "out")
        (tmp_path / "out" / "coadd").mkdir()
        header = fits.Header({"OBJECT": "M <31>", "FILTER": "V", "NCOMBINE": 3, "EXPTIME": 180.0})
        fits.writeto(tmp_path / "out" / "coadd" / "M31_V.fits", np.ones((40, 50), np.float32), header)
        (tmp_path / "out" / "coadd" / "broken.fits").write_text("?")
        told = {
            "output": "coadd/M31_V.fits",
            "residual": {"value": 0.0312, "error": 0.0041, "unit": "pixel"},
            "correlation": 1.2345678,
            "flags": {"SATURATED": 12},
            "absolute": None,
            "residual_vectors": {"a.fits": [[1.0, 2.0, 0.02, -0.01], [30.0, 39.0, 0.04, 0.0]], "b.fits": None},
            "frames": [{"input": "a.fits", "fwhm": {"value": 3.2, "error": None, "unit": "pixel"}, "dx": 1.5}],
        }
        for coadds in ([told], {"coadd/M31_V.fits": told}, {"M31_V": told}):
            run = json.loads((tmp_path / "out" / "run.json").read_text()) | {"coadds": coadds}
            (tmp_path / "out" / "run.json").write_text(json.dumps(run))
            text = read(write_report(tmp_path / "out", tmp_path / "out" / "report.html")).text
            for words in ("Coadds", "M <31>", "0.0312 ± 0.0041 pixel", "1.235", "a.fits", "3.20 pixel", "180"):
                assert words in text

    def test_vectors(self):
        """Arrows begin at the stars, with y up, and are as long as their scale says."""
        drawing = vector_drawing({"a": [[0.0, 0.0, 0.02, 0.0], [100.0, 50.0, 0.0, 0.02], [100.0, 50.0, 0.02, 0.0]]})
        assert drawing["scale"]["words"] == "0.02 pixel"
        assert drawing["arrows"][0]["path"] == f"M0.0 {drawing['height']:.1f}l{drawing['scale']['length']:.1f} 0.0"
        assert re.search(r"l0\.0 -\d", drawing["arrows"][1]["path"])
        assert drawing["arrows"][0]["words"] == "a: 0.020 pixel"

    @pytest.mark.parametrize("vectors", [None, {}, [], {"a": None}, {"a": [[1, 2]]}, {"a": [[1, 2, float("nan"), 4]]}])
    def test_no_vectors(self, vectors):
        assert vector_drawing(vectors) is None

    def test_many_vectors_and_large_ones(self):
        drawing = vector_drawing({"a": [[i, i, 0.0, 0.0] for i in range(5000)] + [[3.0, 4.0, 1e9, 1e9]]})
        assert len(drawing["arrows"]) <= 1500
        assert vector_drawing({"a": [[0, 0, 0, 0]]})["arrows"]

    @pytest.mark.parametrize("coadds", [None, 5, ["x"], {"a": 5}, []])
    def test_of_anything(self, night, coadds):
        result = replace(night[1], run=night[1].run | {"coadds": coadds})
        assert coadd_entries(result, str) == []
