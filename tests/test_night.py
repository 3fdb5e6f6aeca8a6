"""Whole nights: every input has its fate, bad input costs no other frame, and the results are right."""

import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import builders
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table
from ccdproc import ImageFileCollection
from click.testing import CliRunner

from ccdnight import FrameCollection, Night, Plan, Reduction, read_ccd
from ccdnight.cli import main
from ccdnight.cli.nights import _not_told, _together
from ccdnight.cli.process import no_collection
from ccdnight.exceptions import InputError, OutputLockedError, PlanError
from ccdnight.storage import OutputLock

QUIET = {"progress": False, "cosmic_rays": False, "workers": 1}


@pytest.fixture
def raw(tmp_path):
    """A plain night: 5 biases, 3 darks, 3 flats and 2 science frames in V."""
    return builders.plain_night(tmp_path / "raw")


def run(*arguments):
    """The command line, without cosmic rays where it reduces."""
    return CliRunner().invoke(main, [str(item) for item in arguments])


def reduce(folder, out, *options):
    return run("reduce", folder, out, "--no-cosmic-rays", *options)


def fates(out):
    table = Table.read(Path(out) / "night.ecsv", format="ascii.ecsv")
    return {str(row["path"]): (str(row["fate"]), str(row["reason"])) for row in table}


class TestPlainNight:
    """What comes out of a night without faults."""

    def test_output_folder(self, raw, tmp_path):
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        assert sorted(path.name for path in (tmp_path / "out" / "masters").iterdir()) == [
            "badpixels.fits",
            "bias.fits",
            "dark_60s.fits",
            "flat_V.fits",
        ]
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert {"night.ecsv", "plan.toml", "detector.ecsv", "run.json"} <= names
        assert not list((tmp_path / "out").rglob(".*"))
        assert result.counts == {
            "inputs": 13,
            "used": 13,
            "unused": 0,
            "rejected": 0,
            "failed": 0,
            "masters": 4,
            "science": 2,
        }

    def test_science_frame(self, raw, tmp_path):
        """Data model of section 4: units, uncertainty, mask and flags, and the field's own cards."""
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        ccd = result.science["science_V_001.fits"]
        assert isinstance(ccd, CCDData)
        assert ccd.unit == "electron"
        assert ccd.data.dtype == np.float32
        assert ccd.uncertainty.array.dtype == np.float32
        assert ccd.flags.dtype == np.uint16
        assert np.array_equal(ccd.mask, ccd.flags != 0)
        meta = ccd.meta
        assert (meta["BUNIT"], meta["GAIN"]) == ("electron", 1.0)
        assert (meta["BIASFILE"], meta["DARKFILE"], meta["FLATFILE"]) == ("bias.fits", "dark_60s.fits", "flat_V.fits")
        assert meta["BPMFILE"] == "badpixels.fits"
        assert meta["GAINUSED"] == pytest.approx(raw.gain, rel=0.05)
        assert all(key in meta for key in ("TRIM", "ZEROCOR", "DARKCOR", "FLATCOR", "RDNOISE"))
        assert all(key in meta for key in ("DATE-AVG", "JD-MID", "SKYLEVEL", "SKYSIGMA"))

    def test_result_is_the_truth(self, raw, tmp_path):
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        ccd = result.science["science_V_001.fits"]
        truth = raw.scene("science_V_001.fits")[raw.data]
        # The gain is measured from this small night itself; its error is common to all pixels.
        pull = ((ccd.data * raw.gain / ccd.meta["GAINUSED"] - truth) / ccd.uncertainty.array)[~ccd.mask]
        assert abs(np.median(pull)) < 0.05
        assert np.std(pull) == pytest.approx(1, abs=0.06)

    def test_masters(self, raw, tmp_path):
        masters = Night(raw.folder).reduce(tmp_path / "out", **QUIET).masters
        assert [str(masters[name].unit) for name in masters] == ["adu", "adu / s", "", ""]
        assert np.median(masters["flat_V"].data) == pytest.approx(1, abs=1e-6)
        assert masters["bias"].meta["NCOMBINE"] == 5
        assert masters["bias"].meta["BUNIT"] == "adu"
        assert masters["flat_V"].meta["BUNIT"] == ""

    def test_files_are_whole_and_read_by_astropy(self, raw, tmp_path):
        Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        paths = list((tmp_path / "out").rglob("*.fits"))
        assert len(paths) == 6
        for path in paths:
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                others = ["MASK", "PROVENANCE"] if path.stem == "badpixels" else ["UNCERT", "MASK", "PROVENANCE"]
                assert [hdu.name for hdu in hdus] == ["PRIMARY", *others]
            ccd = CCDData.read(path)
            assert ccd.mask.shape == ccd.data.shape

    def test_provenance_names_every_input(self, raw, tmp_path):
        Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        table = Table.read(tmp_path / "out" / "masters" / "bias.fits", hdu="PROVENANCE")
        names = [str(name) for name in table["file"]]
        assert [f"bias_00{i}.fits" in names for i in range(1, 6)] == [True] * 5
        steps = {str(step).strip() for step in Table.read(tmp_path / "out/science/science_V_001.fits", hdu=3)["step"]}
        assert {"read", "trim", "bias", "dark", "flat", "gain"} <= steps

    def test_raw_files_are_left_alone(self, raw, tmp_path):
        before = {path: path.read_bytes() for path in Path(raw.folder).rglob("*.fits")}
        Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        assert before == {path: path.read_bytes() for path in Path(raw.folder).rglob("*.fits")}

    def test_runs_are_equal_to_the_byte(self, raw, tmp_path):
        for name, workers in (("one", 1), ("two", 2), ("one", 2)):
            Night(raw.folder).reduce(tmp_path / name, progress=False, workers=workers)
        for path in sorted((tmp_path / "one").rglob("*.fits")):
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()

    def test_reduction_can_be_opened_again(self, raw, tmp_path):
        made = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        opened = Reduction.open(tmp_path / "out")
        assert opened.counts == made.counts
        assert list(opened.science) == list(made.science)
        assert opened.plan == made.plan

    def test_newer_run_is_refused(self, raw, tmp_path):
        Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        path = tmp_path / "out" / "run.json"
        path.write_text(path.read_text().replace('"format": 1', '"format": 2', 1))
        with pytest.raises(InputError, match="newer ccdnight"):
            Reduction.open(tmp_path / "out")

    def test_no_output_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"run\.json is missing"):
            Reduction.open(tmp_path)

    def test_unknown_product(self, raw, tmp_path):
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        with pytest.raises(KeyError, match="science_V_001"):
            result.science["nothing.fits"]

    def test_cosmic_rays_are_flagged(self, tmp_path):
        raw = builders.plain_night(tmp_path / "raw", hits=4, n_science=1)
        result = Night(raw.folder).reduce(tmp_path / "out", progress=False)
        ccd = result.science["science_V_001.fits"]
        hits = raw.hits("science_V_001.fits")[raw.data]
        assert ((ccd.flags & 4) != 0)[hits].mean() > 0.7
        assert ccd.meta["NCOSMIC"] == np.count_nonzero(ccd.flags & 4)

    def test_html(self, raw, tmp_path):
        night = Night(raw.folder)
        assert "bias_001.fits" in night._repr_html_()
        assert "flat_V" in night.plan()._repr_html_()
        assert "science_V_001" in night.reduce(tmp_path / "out", **QUIET)._repr_html_()
        assert "Night of 13 files" in repr(night)


class TestSources:
    """A night from a folder, from files, from a collection."""

    def test_list_of_files(self, raw, tmp_path):
        night = Night([raw.folder / path for path in raw.paths()])
        assert len(night.frames) == 13
        assert len(night.reduce(tmp_path / "out", **QUIET).science) == 2

    def test_image_file_collection(self, raw, tmp_path):
        night = Night(ImageFileCollection(raw.folder))
        assert len(night.frames) == 13
        assert "bias_001.fits" in list(night.frames["path"])
        assert len(night.reduce(tmp_path / "out", **QUIET).science) == 2

    def test_collection_is_left_as_it_is(self, raw):
        """Another profile for the night does not change the caller's own collection."""
        collection = FrameCollection(raw.folder)
        assert Night(collection).collection is collection
        assert Night(collection, profile="arcsat").profile.name == "arcsat"
        assert collection.profile.name == "generic"

    def test_missing_folder(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            Night(tmp_path / "nowhere")

    def test_wrong_type(self):
        with pytest.raises(TypeError, match="int"):
            Night(3)

    def test_empty_list(self):
        with pytest.raises(InputError, match="empty list"):
            Night([])

    def test_unknown_policy(self, raw):
        with pytest.raises(InputError, match="known are lecture"):
            Night(raw.folder).plan(policy="lectures")
        with pytest.raises(InputError, match="allowed are auto, frames"):
            Night(raw.folder).plan(bias="frame")


class TestPlanFile:
    """A plan is written, edited and run."""

    def test_edited_plan_is_done(self, raw, tmp_path):
        path = tmp_path / "plan.toml"
        result = run("plan", raw.folder, "-o", path)
        assert result.exit_code == 0
        assert f"plan: {path}: " in result.stdout
        assert f"reduce {raw.folder} OUT --plan {path}" in result.stdout
        text = path.read_text().replace('    "bias_001.fits",\n', "").replace('dark = "dark_60s"\n', "")
        path.write_text(text)
        assert reduce(raw.folder, tmp_path / "out", "--plan", path).exit_code == 0
        ccd = read_ccd(tmp_path / "out" / "science" / "science_V_001.fits")
        assert "DARKFILE" not in ccd.meta
        assert fates(tmp_path / "out")["bias_001.fits"] == ("unused", "not in the plan")

    def test_written_plan_is_what_was_done(self, raw, tmp_path):
        reduce(raw.folder, tmp_path / "out")
        again = reduce(raw.folder, tmp_path / "again", "--plan", tmp_path / "out" / "plan.toml")
        assert again.exit_code == 0
        for path in sorted((tmp_path / "out").rglob("*.fits")):
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "out")).read_bytes()

    def test_plan_with_a_missing_file(self, raw, tmp_path):
        plan = Night(raw.folder).plan()
        (raw.folder / "bias_003.fits").unlink()
        with pytest.raises(PlanError, match="bias_003"):
            Night(raw.folder).reduce(tmp_path / "out", plan=plan, **QUIET)

    def test_plan_that_is_no_plan(self, raw, tmp_path):
        (tmp_path / "plan.toml").write_text("format = 99")
        result = reduce(raw.folder, tmp_path / "out", "--plan", tmp_path / "plan.toml")
        assert result.exit_code == 2
        assert "newer ccdnight" in result.output

    def test_plan_json(self, raw):
        result = run("plan", raw.folder, "--json")
        assert json.loads(result.stdout)["format"] == 1
        assert Plan.from_toml(run("plan", raw.folder).stdout).science


def truncated_bias(raw):
    builders.truncate(raw.folder / "bias_001.fits", 5000)
    return "bias_001.fits", "failed", "truncated"


def truncated_science(raw):
    builders.truncate(raw.folder / "science_V_001.fits", 4000)
    return "science_V_001.fits", "failed", "truncated"


def empty_file(raw):
    (raw.folder / "empty.fits").write_bytes(b"")
    return "empty.fits", "failed", ""


def text_file(raw):
    builders.text_file(raw.folder / "notes.fits")
    return "notes.fits", "failed", "not a FITS file"


def unknown_kind(raw):
    builders.garble_card(raw.folder / "flat_V_001.fits", "IMAGETYP", "IMAGETYP= 'XYZZY   '")
    return "flat_V_001.fits", "rejected", "'XYZZY'"


def zero_flat(raw):
    builders.all_zero(raw.folder / "flat_V_001.fits")
    return "flat_V_001.fits", "rejected", "all of its pixels are 0"


def nan_flat(raw):
    builders.all_nan(raw.folder / "flat_V_001.fits")
    return "flat_V_001.fits", "rejected", "none of its pixels is finite"


def dark_without_exposure(raw):
    builders.delete_card(raw.folder / "dark_001.fits", "EXPTIME")
    return "dark_001.fits", "rejected", "EXPTIME"


def science_without_exposure(raw):
    builders.delete_card(raw.folder / "science_V_001.fits", "EXPTIME")
    return "science_V_001.fits", "used", "EXPTIME"


def exposure_with_a_letter(raw):
    builders.garble_card(raw.folder / "science_V_001.fits", "EXPTIME", "EXPTIME = 1O.0")
    return "science_V_001.fits", "used", "'1O.0' is not a number"


def swapped_kind(raw):
    builders.garble_card(raw.folder / "bias_001.fits", "IMAGETYP", "IMAGETYP= 'FLAT    '")
    return "bias_001.fits", "rejected", "of light above the bias"


def reduced_frame(raw):
    with fits.open(raw.folder / "flat_V_001.fits", mode="update") as hdus:
        hdus[0].header["CALSTAT"] = "BDF"
    return "flat_V_001.fits", "rejected", "CALSTAT"


FAULTS = [
    truncated_bias,
    truncated_science,
    empty_file,
    text_file,
    unknown_kind,
    zero_flat,
    nan_flat,
    dark_without_exposure,
    science_without_exposure,
    exposure_with_a_letter,
    swapped_kind,
    reduced_frame,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_one_bad_frame_never_stops_the_night(raw, tmp_path, fault):
    """It is named with the value and the reason, everything else is reduced, and the exit code is 3."""
    name, fate, words = fault(raw)
    result = reduce(raw.folder, tmp_path / "out")
    assert result.exit_code == 3, result.output
    table = fates(tmp_path / "out")
    assert sorted(table) == sorted(path.name for path in raw.folder.iterdir())
    assert table[name][0] == fate
    assert words in table[name][1]
    assert name in result.stderr
    others = {path for path, (what, _) in table.items() if what != "used"} - {name}
    assert not others
    products = {path.name for path in (tmp_path / "out" / "science").iterdir()}
    assert {"science_V_002.fits"} <= products


class TestMissing:
    """Folders that lack something."""

    def remove(self, raw, *kinds):
        for kind in kinds:
            for path in raw.paths(kind):
                Path(raw.folder, path).unlink()

    def test_empty_folder(self, tmp_path):
        (tmp_path / "raw").mkdir()
        result = reduce(tmp_path / "raw", tmp_path / "out")
        assert result.exit_code == 4
        assert fates(tmp_path / "out") == {}

    def test_only_rubbish(self, tmp_path):
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "a.fits").write_text("no FITS file")
        assert reduce(tmp_path / "raw", tmp_path / "out").exit_code == 4
        assert fates(tmp_path / "out")["a.fits"][0] == "failed"

    def test_no_science(self, raw, tmp_path):
        self.remove(raw, "science")
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 0
        assert "no science frames" in result.stderr
        assert (tmp_path / "out" / "masters" / "flat_V.fits").exists()

    def test_no_biases(self, raw, tmp_path):
        self.remove(raw, "bias")
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 3
        assert "there are no biases" in result.stderr
        ccd = read_ccd(tmp_path / "out" / "science" / "science_V_001.fits")
        assert not {"ZEROCOR", "DARKCOR", "FLATCOR"} & set(ccd.meta)

    @pytest.mark.parametrize(("kind", "card"), [("dark", "DARKCOR"), ("flat", "FLATCOR")])
    def test_no_darks_or_no_flats(self, raw, tmp_path, kind, card):
        self.remove(raw, kind)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 0
        assert f"{kind}: none" in result.stderr
        ccd = read_ccd(tmp_path / "out" / "science" / "science_V_001.fits")
        assert card not in ccd.meta
        assert "ZEROCOR" in ccd.meta

    def test_all_flats_zero(self, raw, tmp_path):
        for path in raw.paths("flat"):
            builders.all_zero(raw.folder / path)
        assert reduce(raw.folder, tmp_path / "out").exit_code == 3
        assert "FLATCOR" not in read_ccd(tmp_path / "out" / "science" / "science_V_001.fits").meta

    @pytest.mark.parametrize("kind", ["bias", "science"])
    def test_frame_of_another_shape(self, raw, tmp_path, kind):
        band = "V" if kind == "science" else None
        builders.make_frame(raw.folder / "odd.fits", kind=kind, shape=(32, 40), filter=band)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 0
        fate, reason = fates(tmp_path / "out")["odd.fits"]
        assert fate == ("unused" if kind == "bias" else "used")
        assert "32x40" in reason
        assert "64x80" in reason

    def test_master_that_fails_on_the_way(self, raw, tmp_path, monkeypatch):
        """Science frames are reduced without it, and say so."""
        from ccdnight import mastertasks

        def refuse(*_args, **_kwargs):
            msg = "no flat today"
            raise InputError(msg)

        monkeypatch.setattr(mastertasks, "make_flat", refuse)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 3
        table = fates(tmp_path / "out")
        assert table["flat_V_001.fits"] == ("failed", "no flat today")
        assert "reduced without flat_V" in table["science_V_001.fits"][1]
        assert "lacking: flat_V" in str(read_ccd(tmp_path / "out" / "science" / "science_V_001.fits").meta["HISTORY"])

    def test_error_of_ours(self, raw, tmp_path, monkeypatch):
        """Exit code 1 with a trace, and the other frames are there."""
        from ccdnight import frametasks

        calibrate = frametasks.calibrate

        def break_one(path, **kwargs):
            if path.name == "science_V_001.fits":
                msg = "a bug"
                raise ZeroDivisionError(msg)
            return calibrate(path, **kwargs)

        monkeypatch.setattr(frametasks, "calibrate", break_one)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 1
        assert "ZeroDivisionError" in result.stderr
        assert "ZeroDivisionError" in fates(tmp_path / "out")["science_V_001.fits"][1]
        assert (tmp_path / "out" / "science" / "science_V_002.fits").exists()


class TestOutput:
    """The output folder."""

    def test_raw_folder_as_output(self, raw):
        assert reduce(raw.folder, raw.folder).exit_code == 2
        with pytest.raises(InputError, match="never mixed"):
            Night(raw.folder).reduce(raw.folder, **QUIET)

    def test_output_inside_the_raw_folder_is_no_input(self, raw):
        assert reduce(raw.folder, raw.folder / "reduced").exit_code == 0
        assert len(Night(raw.folder).frames) == 13

    def test_product_among_the_raw_frames_is_no_input(self, raw, tmp_path):
        reduce(raw.folder, tmp_path / "out")
        (tmp_path / "out" / "masters" / "bias.fits").rename(raw.folder / "bias.fits")
        assert reduce(raw.folder, tmp_path / "again").exit_code == 0
        assert fates(tmp_path / "again")["bias.fits"][0] == "unused"

    def test_folder_that_cannot_be_made(self, raw, tmp_path):
        (tmp_path / "file").write_text("in the way")
        result = reduce(raw.folder, tmp_path / "file" / "out")
        assert result.exit_code == 6
        assert "is a file, not a folder" in result.stderr

    def test_folder_without_permission(self, raw, tmp_path, monkeypatch):
        import errno

        def refuse(self, *_args, **_kwargs):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        monkeypatch.setattr(Path, "mkdir", refuse)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 6
        assert "no permission" in result.stderr

    def test_disk_full(self, raw, tmp_path, monkeypatch):
        """The run stops cleanly, leaves no partial file and can be run again."""
        import errno

        replace = os.replace

        def full(source, target):
            if str(target).endswith("dark_60s.fits"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        result = reduce(raw.folder, tmp_path / "out", "--workers", "1")
        assert result.exit_code == 6
        assert "no space is left" in result.stderr
        assert not list((tmp_path / "out").rglob("*.part"))
        monkeypatch.undo()
        assert reduce(raw.folder, tmp_path / "out").exit_code == 0

    def test_folder_in_use(self, raw, tmp_path):
        with OutputLock(tmp_path / "out"):
            # The lock of this very process: its holder is alive.
            result = reduce(raw.folder, tmp_path / "out")
            assert result.exit_code == 5
            with pytest.raises(OutputLockedError, match=str(os.getpid())):
                Night(raw.folder).reduce(tmp_path / "out", **QUIET)

    def test_subfolders_and_equal_names(self, raw, tmp_path):
        """Frames of equal name in two folders, and a.fits beside a.fits.gz, stay apart."""
        (raw.folder / "sub").mkdir()
        data = (raw.folder / "science_V_001.fits").read_bytes()
        (raw.folder / "sub" / "science_V_001.fits").write_bytes(data)
        import gzip

        (raw.folder / "science_V_001.fits.gz").write_bytes(gzip.compress(data))
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        assert sorted(result.science) == [
            "science_V_001.fits",
            "science_V_001.fits.gz",
            "science_V_002.fits",
            "sub/science_V_001.fits",
        ]
        science = tmp_path / "out" / "science"
        files = sorted(path.relative_to(science).as_posix() for path in science.rglob("*.fits"))
        assert files == [
            "science_V_001.fits.fits",
            "science_V_001.fits.gz.fits",
            "science_V_002.fits",
            "sub/science_V_001.fits",
        ]
        first, second = (result.science[name] for name in ("science_V_001.fits", "sub/science_V_001.fits"))
        assert np.array_equal(first.data, second.data)


@pytest.mark.parametrize(("more", "word"), [(0.0, None), (9.0, "more"), (-1, "less")])
def test_uncertainties_that_are_not_those_of_the_pixels_are_told_of(tmp_path, more, word):
    """Noise that biases do not show, and frames that somebody has smoothed."""
    raw = builders.plain_night(tmp_path / "raw", shape=(160, 200))
    for path in raw.paths("science"):
        with fits.open(raw.folder / path, mode="update") as hdus:
            data = hdus[0].data.astype(float)
            noise = np.random.default_rng(len(path)).normal(0, max(more, 0), data.shape)
            hdus[0].data = np.rint(data + noise if more >= 0 else (data + np.roll(data, 1, 1)) / 2).astype(np.uint16)
    result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
    notes = [note for note in result.run["notes"] if "than their uncertainties say" in note]
    assert len(notes) == (word is not None)
    if word:
        assert re.match(rf"2 science frames scatter \d+% {word} from pixel to pixel", notes[0])


def test_files_with_the_same_to_tell_share_a_line(raw, tmp_path):
    """Flats that all are zero, and a first run in which something fails keeps nothing."""
    for path in raw.paths("flat"):
        builders.all_zero(raw.folder / path)
    result = run("reduce", raw.folder, tmp_path / "out")
    lines = [line for line in result.stderr.splitlines() if line.startswith("rejected: ")]
    assert len(lines) == 1
    assert all(path in lines[0] for path in raw.paths("flat"))
    assert "as they were" not in result.stdout


class TestCommandLine:
    """What is printed, and the exit codes."""

    def test_as_a_module(self):
        """What ``python -m ccdnight`` does is what ``ccdnight`` does."""
        call = [sys.executable, "-m", "ccdnight", "--version"]
        found = subprocess.run(call, capture_output=True, text=True, check=True)
        assert found.stdout.startswith("ccdnight, version ")

    def test_imports_are_kept_out_of_the_collection_of_garbage(self):
        """And it goes on afterwards, or is as it was."""
        for on in (True, False):
            (gc.enable if on else gc.disable)()
            try:
                with no_collection():
                    assert not gc.isenabled()
                assert gc.isenabled() is on
                assert gc.get_freeze_count() > 0
            finally:
                gc.enable()
                gc.unfreeze()

    def test_frames(self, raw):
        result = run("frames", raw.folder)
        assert result.exit_code == 0
        assert "13 files, profile generic" in result.stdout

    def test_frames_json(self, raw):
        value = json.loads(run("frames", raw.folder, "--json").stdout)
        assert value["profile"] == "generic"
        assert len(value["frames"]) == 13
        assert {"path", "kind", "exposure", "filter", "object", "time", "temperature", "detector", "binning"} <= set(
            value["frames"][0]
        )

    def test_reduce_json_prints_one_object(self, raw, tmp_path):
        result = reduce(raw.folder, tmp_path / "out", "--json")
        value = json.loads(result.stdout)
        assert value["output"] == str(tmp_path / "out")
        assert value["counts"]["science"] == 2
        assert value["masters"] == ["bias", "dark_60s", "flat_V", "badpixels"]
        assert value["failures"] == []

    def test_profile_list_and_show(self):
        names = {row["name"] for row in json.loads(run("profile", "list", "--json").stdout)["profiles"]}
        assert {"generic", "lfc", "aspen", "arcsat", "nickel"} <= names
        assert "Palomar" in run("profile", "list").stdout
        assert "format = 1" in run("profile", "show", "lfc").stdout
        assert json.loads(run("profile", "show", "nickel", "--json").stdout)["name"] == "nickel"

    @pytest.mark.parametrize("command", [[], ["frames"], ["plan"], ["reduce"], ["profile"], ["profile", "show"]])
    def test_help(self, command):
        result = run(*command, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output

    def test_unknown_profile(self, raw, tmp_path):
        result = reduce(raw.folder, tmp_path / "out", "--profile", "nickle")
        assert result.exit_code == 2
        assert "did you mean 'nickel'" in result.stderr

    def test_profile_with_mistakes_tells_them_all(self, raw, tmp_path):
        (tmp_path / "p.toml").write_text('format = 1\nname = "p"\n[[amplifiers]]\ngian = 2\n[policy]\nbias = "x"\n')
        result = reduce(raw.folder, tmp_path / "out", "--profile", tmp_path / "p.toml")
        assert result.exit_code == 2
        assert "gian" in result.stderr
        assert "policy.bias" in result.stderr

    def test_section_beyond_the_frame_in_a_header(self, raw, tmp_path):
        with fits.open(raw.folder / "science_V_001.fits", mode="update") as hdus:
            hdus[0].header["DATASEC"] = "[1:500,1:64]"
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 0
        assert "'[1:500,1:64]' reaches beyond the frame" in result.stderr

    @pytest.mark.parametrize("options", ["--bias frame", "--workers 0", "--policy lectur", "--nothing"])
    def test_wrong_usage(self, raw, tmp_path, options):
        assert reduce(raw.folder, tmp_path / "out", *options.split()).exit_code == 2

    def test_missing_raw_folder(self, tmp_path):
        assert reduce(tmp_path / "nowhere", tmp_path / "out").exit_code == 2


class TestHardened:
    """What a hostile tester found once."""

    def test_flat_labelled_bias(self, raw, tmp_path):
        """It has an exposure, so it differs from the other biases in its header too."""
        builders.garble_card(raw.folder / "flat_V_001.fits", "IMAGETYP", "IMAGETYP= 'BIAS    '")
        assert reduce(raw.folder, tmp_path / "out").exit_code == 3
        fate, reason = fates(tmp_path / "out")["flat_V_001.fits"]
        assert fate == "rejected"
        assert "its header says bias" in reason

    def test_hash_seed_changes_nothing(self, raw, tmp_path):
        """Sets of strings are ordered anew in every process."""
        import subprocess
        import sys

        for seed in ("1", "2"):
            code = "from ccdnight.cli import main; main()"
            command = [sys.executable, "-c", code, "reduce", raw.folder, tmp_path / seed, "--no-cosmic-rays"]
            subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True)
        for path in sorted((tmp_path / "1").rglob("*.fits")):
            assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()

    def test_names_beyond_ascii(self, raw, tmp_path):
        (raw.folder / "science_V_001.fits").rename(raw.folder / "sp ace é.fits")
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert (tmp_path / "out" / "science" / "sp ace é.fits").exists()

    def test_long_names_and_names_of_folders(self, raw, tmp_path):
        data = (raw.folder / "science_V_001.fits").read_bytes()
        (raw.folder / ("x" * 240 + ".fits")).write_bytes(data)
        (raw.folder / "y.fits").mkdir()
        (raw.folder / "y.fits" / "z.fits").write_bytes(data)
        (raw.folder / "y.fit").write_bytes(data)
        result = Night(raw.folder).reduce(tmp_path / "out", **QUIET)
        assert len(result.science) == 5
        outputs = [str(name) for name in result.night["output"] if str(name).startswith("science/")]
        assert len(set(outputs)) == 5
        assert all((tmp_path / "out" / name).is_file() for name in outputs)

    @pytest.mark.parametrize("shape", [(3, 60), (60, 3), (1, 50), (12, 12)])
    def test_narrow_frames(self, tmp_path, shape):
        """astroscrappy writes beyond such arrays; nothing is flagged in them, and the frames are reduced."""
        raw = builders.plain_night(tmp_path / "raw", shape=shape)
        result = run("reduce", raw.folder, tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "Traceback" not in result.output

    def test_detector_that_cannot_be_measured(self, raw, tmp_path, monkeypatch):
        """An error of ours there does not cost the science frames."""
        from ccdnight import measuring

        def fail(*_args, **_kwargs):
            msg = "a bug"
            raise ZeroDivisionError(msg)

        monkeypatch.setattr(measuring, "gain_of", fail)
        result = reduce(raw.folder, tmp_path / "out")
        assert result.exit_code == 1
        assert len(list((tmp_path / "out" / "science").iterdir())) == 2

    def test_plan_of_a_profile(self, raw, tmp_path):
        text = run("plan", raw.folder).stdout
        (tmp_path / "plan.toml").write_text(text.replace('profile = "generic"', 'profile = "nosuch"'))
        result = reduce(raw.folder, tmp_path / "out", "--plan", tmp_path / "plan.toml")
        assert result.exit_code == 2
        assert "no profile 'nosuch'" in result.stderr
        (tmp_path / "plan.toml").write_text(text.replace('profile = "generic"', 'profile = "arcsat"'))
        reduce(raw.folder, tmp_path / "out", "--plan", tmp_path / "plan.toml")
        assert read_ccd(tmp_path / "out" / "science" / "science_V_001.fits").meta["GAINUSED"] == 1.34

    def test_edited_plan_does_not_keep_its_old_reasons(self, raw, tmp_path):
        text = run("plan", raw.folder).stdout.replace('dark = "dark_60s"\n', "")
        (tmp_path / "plan.toml").write_text(text)
        assert reduce(raw.folder, tmp_path / "out", "--plan", tmp_path / "plan.toml").exit_code == 0
        assert fates(tmp_path / "out")["science_V_001.fits"][1] == "as the plan file says: bias, flat_V, badpixels"

    def test_products_of_an_earlier_run_do_not_linger(self, raw, tmp_path):
        reduce(raw.folder, tmp_path / "out")
        (tmp_path / "out" / "masters" / "mine.fits").write_bytes(b"mine")
        reduce(raw.folder, tmp_path / "out", "--flat", "none")
        names = {path.name for path in (tmp_path / "out" / "masters").iterdir()}
        assert names == {"badpixels.fits", "bias.fits", "dark_60s.fits", "mine.fits"}

    def test_empty_folder_is_said(self, tmp_path):
        (tmp_path / "raw").mkdir()
        assert "no FITS files in" in reduce(tmp_path / "raw", tmp_path / "out").stderr

    def test_simulate_with_an_unknown_fault(self, tmp_path):
        result = run("simulate", "lfc", tmp_path / "night", "--fault", "nosuch")
        assert result.exit_code == 2
        assert "truncated" in result.stderr

    def test_interrupt(self, raw, tmp_path, monkeypatch):
        """Code 130, no partial file, no lock."""
        from ccdnight import mastertasks

        def interrupt(*_args, **_kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(mastertasks, "make_dark", interrupt)
        result = reduce(raw.folder, tmp_path / "out", "--workers", "1")
        assert result.exit_code == 130
        assert not list((tmp_path / "out").rglob(".*"))


class TestTold:
    """What a run says of its files."""

    def test_the_same_of_several_files_is_one_line(self):
        told = [("a.fits", "failed", "truncated"), ("b.fits", "rejected", "dark"), ("c.fits", "failed", "truncated")]
        assert list(_together(told)) == ["failed: a.fits, c.fits: truncated", "rejected: b.fits: dark"]
        many = [(f"{number}.fits", "failed", "truncated") for number in range(11)]
        assert next(iter(_together(many))).endswith("7.fits and 3 more: truncated")

    def test_a_note_is_left_out_where_its_own_frame_was_told_of(self):
        """Not where another one was that gives no reason, or the same."""
        notes = ["science:a.fits: truncated", "science:ab.fits: truncated", "science:c.fits: dark", "bias: few"]
        assert _not_told(notes, ["a.fits"]) == notes[1:]
        assert _not_told(notes, []) == notes
