"""A folder of frames: as an ImageFileCollection, and as the typed frame table."""

import importlib.util
import os
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning
from builders import (
    arcsat_night,
    aspen_night,
    delete_card,
    garble_card,
    lfc_night,
    make_frame,
    nickel_night,
    plain_night,
    text_file,
    truncate,
    two_amp_night,
)

from ccdnight import storage
from ccdnight.exceptions import FrameWarning, InputError
from ccdnight.frames import COLUMNS, FrameCollection
from ccdnight.products import make_ccd, write_ccd
from ccdnight.provenance import mark_applied

#: Tests of ccdproc's own suite that FrameCollection fails, and why.
DIFFERENT = {
    "test_duplicate_keywords": "the warning comes when the summary is looked at, not when the collection is made",
    "test_less_strict_verify_option": "headers are read when they are needed, so it warns later than expected",
}

#: A module of tests with FrameCollection in the place of ImageFileCollection, under its name for its repr.
SHIPPED = """
import ccdproc.tests.test_image_collection as shipped
from ccdproc.tests.pytest_fixtures import triage_setup
from ccdnight.frames import FrameCollection

shipped.ImageFileCollection = type("ImageFileCollection", (FrameCollection,), {})
from ccdproc.tests.test_image_collection import *
"""

NIGHTS = {
    "plain": plain_night,
    "twoamp": two_amp_night,
    "lfc": lfc_night,
    "aspen": aspen_night,
    "arcsat": arcsat_night,
    "nickel": nickel_night,
}
PROFILES = {"plain": "generic", "twoamp": "generic"}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """The truth of a small night of every instrument; the folders must not be written to."""
    return {name: night(tmp_path_factory.mktemp(name)) for name, night in NIGHTS.items()}


@pytest.fixture
def lfc(nights):
    """Frames in a folder and in a folder below it, where names collide."""
    return nights["lfc"]


@pytest.fixture
def plain(nights):
    return nights["plain"]


@pytest.fixture
def bad_folder(tmp_path):
    """Six files that can be read, one of them with a bad card, in a folder with three that cannot."""
    make_frame(tmp_path / "a.fits", kind="bias")
    make_frame(tmp_path / "b" / "a.fits", kind="dark")
    make_frame(tmp_path / "b" / "packed.fts.gz", kind="flat", filter="V")
    make_frame(tmp_path / "b" / "tiled.fit.fz", kind="flat", filter="R")
    make_frame(tmp_path / "lfc.fits", kind="science", instrument="lfc", filter="i'", rows=32)
    garble_card(make_frame(tmp_path / "card.FIT", kind="dark"), "EXPTIME", "EXPTIME = 1O.0")
    text_file(tmp_path / "text.fits")
    truncate(make_frame(tmp_path / "short.fits"), 5000)
    (tmp_path / "gone.fits").symlink_to(tmp_path / "nowhere.fits")
    return tmp_path


READABLE = ["a.fits", "b/a.fits", "b/packed.fts.gz", "b/tiled.fit.fz", "card.FIT", "lfc.fits"]
UNREADABLE = ["gone.fits", "short.fits", "text.fits"]


def row_of(collection, path):
    (row,) = [row for row in collection.frames if row["path"] == path]
    return row


def frame_of(folder, name="frame.fits", **facts):
    """The row of a single frame, made with `facts`."""
    make_frame(folder / name, **facts)
    return row_of(FrameCollection(folder), name)


def count_reads(monkeypatch):
    """Names of the files whose header is read from now on."""
    read, reader = [], storage.read_header

    def counting(path, **options):
        read.append(Path(path).name)
        return reader(path, **options)

    monkeypatch.setattr(storage, "read_header", counting)
    return read


# -- as an ImageFileCollection -----------------------------------------------------------------------------


def test_the_tests_that_ccdproc_ships(tmp_path):
    """With FrameCollection in its place, they fail exactly where the difference is meant."""
    if not importlib.util.find_spec("ccdproc.tests.test_image_collection"):
        pytest.skip("the installed ccdproc comes without its tests")
    (tmp_path / "test_shipped.py").write_text(SHIPPED)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=result.xml"]
    package = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    cases = list(ET.parse(tmp_path / "result.xml").iter("testcase"))
    failed = {case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None}
    assert failed == set(DIFFERENT), done.stdout[-5000:]
    assert len(cases) > 60


@pytest.mark.parametrize("name", ["plain", "aspen", "arcsat", "nickel"])
def test_the_summary_of_one_folder_is_that_of_the_base_class(nights, name):
    folder = str(nights[name].folder)
    ours, theirs = FrameCollection(folder).summary, ccdproc.ImageFileCollection(folder).summary
    assert ours.colnames == theirs.colnames
    for key in theirs.colnames:
        assert ours[key].tolist() == theirs[key].tolist()


@pytest.mark.parametrize(
    "query",
    [
        {"imagetyp": "bias"},
        {"imagetyp": "light", "filter": "g"},
        {"filter": "H-Alpha"},
        {"filter": "H-A|g", "regex_match": True},
        {"filter": None},
        {"filter": "*"},
        {"exptime": 10.0},
        {"file": "domeflat_g_001.fits"},
        {"date-obs": "2025-06-01t02", "regex_match": True},
        {"nothing": 1},
    ],
)
@pytest.mark.parametrize("include_path", [False, True])
def test_files_are_filtered_as_in_the_base_class(nights, query, include_path):
    folder, keywords = str(nights["arcsat"].folder), ["imagetyp", "filter"]
    ours, theirs = (cls(folder, keywords) for cls in (FrameCollection, ccdproc.ImageFileCollection))
    assert list(ours.files_filtered(include_path=include_path, **query)) == list(
        theirs.files_filtered(include_path=include_path, **query)
    )
    assert not ours.summary["file"].mask.any()


def test_a_filtered_collection_is_that_of_the_base_class(nights):
    folder = str(nights["arcsat"].folder)
    ours, theirs = (cls(folder).filter(filter="g") for cls in (FrameCollection, ccdproc.ImageFileCollection))
    assert isinstance(ours, FrameCollection)
    assert ours.files == theirs.files
    assert list(ours.keywords) == list(theirs.keywords)
    assert ours.summary["file"].tolist() == theirs.summary["file"].tolist()
    assert [name for _, name in ours.headers(return_fname=True)] == [
        name for _, name in theirs.headers(return_fname=True)
    ]
    assert ours.values("filter", unique=True) == ["g"]


def test_equal_names_in_two_folders_stay_apart(lfc):
    collection = FrameCollection(lfc.folder)
    assert collection.summary["file"].tolist() == collection.files == sorted(lfc.paths())
    assert {"ccd.014.0.fits", "darks/ccd.014.0.fits"} <= set(collection.files)
    darks = list(collection.files_filtered(imagetyp="DARK"))
    assert darks == sorted(lfc.paths("dark"))
    assert collection.files_filtered(imagetyp="DARK", include_path=True) == [
        os.path.join(lfc.folder, name) for name in darks
    ]


def test_a_filtered_collection_keeps_subfolders_apart(lfc):
    collection = FrameCollection(lfc.folder)
    darks = collection.filter(imagetyp="DARK")
    assert [Path(name).relative_to(lfc.folder).as_posix() for name in darks.files] == sorted(lfc.paths("dark"))
    assert darks.frames["path"].tolist() == sorted(lfc.paths("dark"))
    assert darks.measure()["path"].tolist() == sorted(lfc.paths("dark"))
    shorter = darks.filter(exptime=7.0)
    assert shorter.frames["path"].tolist() == [f"darks/ccd.{number:03d}.0.fits" for number in (23, 24, 25)]
    assert len(darks.files) == 9


def test_generators_look_into_subfolders(lfc):
    collection = FrameCollection(lfc.folder)
    for name, thing in (("data", None), ("hdus", "data"), ("ccds", "data")):
        options = {"ccd_kwargs": {"unit": "adu"}} if name == "ccds" else {}
        pairs = list(getattr(collection, name)(return_fname=True, imagetyp="DARK", **options))
        assert [path for _, path in pairs] == sorted(lfc.paths("dark"))
        for item, path in pairs:
            expected = fits.getdata(lfc.folder / path)
            np.testing.assert_array_equal(item if thing is None else getattr(item, thing), expected)
    assert [header["FRAME"] for header in collection.headers(imagetyp="DARK", exptime=70.0)] == [17, 18, 19]


def test_saving_keeps_subfolders_apart(lfc, tmp_path):
    collection = FrameCollection(lfc.folder)
    for header in collection.headers(save_location=str(tmp_path), ccdpicno=14):
        header["SEEN"] = header["IMAGETYP"]
    saved = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.fits"))
    assert saved == ["ccd.014.0.fits", "darks/ccd.014.0.fits"]
    for path, kind in zip(saved, ("FLATFIELD", "DARK"), strict=True):
        assert fits.getheader(tmp_path / path)["SEEN"] == kind
        np.testing.assert_array_equal(fits.getdata(tmp_path / path), fits.getdata(lfc.folder / path))


@pytest.mark.parametrize("location", [True, False])
def test_files_given_by_whole_paths_are_saved_where_they_should_be(lfc, tmp_path, location):
    """A whole path must not lead the copy back into the raw folder."""
    names = [str(lfc.folder / name) for name in ("ccd.014.0.fits", "darks/ccd.014.0.fits")]
    before = sorted(lfc.folder.rglob("*"))
    collection = FrameCollection(lfc.folder if location else None, filenames=names)
    for _ in collection.data(save_location=str(tmp_path), save_with_name="_new"):
        pass
    saved = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.fits"))
    assert saved == ["ccd.014.0_new.fits", "darks/ccd.014.0_new.fits"]
    assert sorted(lfc.folder.rglob("*")) == before


def test_saving_beside_and_over_the_files(tmp_path):
    make_frame(tmp_path / "a.fits")
    make_frame(tmp_path / "b" / "a.fits")
    for data in FrameCollection(tmp_path).data(save_with_name="_zero"):
        data[:] = 0
    assert FrameCollection(tmp_path).files == ["a.fits", "a_zero.fits", "b/a.fits", "b/a_zero.fits"]
    assert not fits.getdata(tmp_path / "b" / "a_zero.fits").any()
    assert fits.getdata(tmp_path / "b" / "a.fits").all()
    for hdu in FrameCollection(tmp_path).hdus(overwrite=True):
        hdu.header["SEEN"] = True
    assert all(fits.getheader(path)["SEEN"] for path in tmp_path.rglob("*.fits"))


def test_saving_to_a_folder_that_does_not_exist(plain, tmp_path):
    with pytest.raises(OSError, match=r"save_location = .*nowhere.* is no folder"):
        list(FrameCollection(plain.folder).headers(save_location=str(tmp_path / "nowhere")))
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_saved_of_ccds(lfc, tmp_path):
    for _ in FrameCollection(lfc.folder).ccds(save_location=str(tmp_path), ccd_kwargs={"unit": "adu"}, exptime=7.0):
        pass
    assert not list(tmp_path.iterdir())


def test_an_unknown_generator(plain):
    with pytest.raises(ValueError, match="'image'; allowed are header, data, ccd, hdu"):
        next(FrameCollection(plain.folder)._generator("image"))


def test_a_masked_file_is_passed_over(plain):
    collection = FrameCollection(plain.folder)
    collection.summary["file"].mask[0] = True
    assert len(list(collection.headers())) == len(collection.files) - 1
    assert collection.summary["file"].mask.sum() == 1


def test_a_loop_that_is_left_leaves_no_mask(plain):
    collection = FrameCollection(plain.folder)
    for _ in collection.headers(imagetyp="dark"):
        break
    assert not collection.summary["file"].mask.any()


# -- files that cannot be read, and cards ------------------------------------------------------------------


def test_a_bad_file_is_a_row_of_the_frame_table_and_none_of_the_summary(bad_folder, caplog):
    collection = FrameCollection(bad_folder)
    assert collection.summary["file"].tolist() == READABLE
    assert "left out of the summary: gone.fits, short.fits, text.fits" in caplog.text
    assert collection.frames["path"].tolist() == collection.files == sorted(READABLE + UNREADABLE)
    problems = {str(row["path"]): str(row["problem"]) for row in collection.frames}
    assert "not a FITS file: it begins with b'This is " in problems["text.fits"]
    assert "truncated: its header claims 10240 bytes of pixels, the file holds" in problems["short.fits"]
    assert "cannot be opened: No such file" in problems["gone.fits"]
    assert "EXPTIME = '1O.0' is not a number" in problems["card.FIT"]
    assert [problems[name] for name in READABLE if name != "card.FIT"] == [""] * 5
    assert {str(row_of(collection, name)["kind"]) for name in UNREADABLE} == {"unknown"}


@pytest.mark.parametrize("keywords", [None, ["imagetyp", "exptime", "filter"]])
def test_a_bad_card_is_a_text_in_the_summary(bad_folder, keywords):
    collection = FrameCollection(bad_folder, keywords)
    row = dict(zip(READABLE, collection.summary, strict=True))["card.FIT"]
    assert (row["imagetyp"], row["exptime"]) == ("dark", "1O.0")
    assert list(collection.files_filtered(filter="i'")) == ["lfc.fits"]
    assert list(collection.files_filtered(exptime=60.0)) == ["b/a.fits", "lfc.fits"]


def test_generators_survive_bad_files(bad_folder):
    collection = FrameCollection(bad_folder)
    assert [name for _, name in collection.headers(return_fname=True)] == READABLE
    assert all(isinstance(item, np.ndarray) and item.ndim == 2 for item in collection.data())
    assert len(list(collection.data())) == len(list(collection.hdus())) == len(READABLE)
    assert [str(header["EXPTIME"]) for header in collection.headers(imagetyp="dark")] == ["60.0", "1O.0"]
    assert [str(hdu.header["FILTER"]) for hdu in collection.hdus(filter="*")] == ["V", "R", "i'"]
    ccds = list(collection.ccds(ccd_kwargs={"unit": "adu"}, imagetyp="flat"))
    assert [ccd.shape for ccd in ccds] == [(64, 80), (64, 80)]


def test_files_with_bad_cards_are_saved(bad_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    for hdu in FrameCollection(bad_folder).hdus(save_location=str(out)):
        hdu.header["SEEN"] = True
    saved = FrameCollection(out)
    assert saved.files == READABLE
    assert saved.values("seen") == [True] * 6
    assert saved.values("exptime")[4] == "1O.0"
    assert saved.values("filter") == [None, None, "V", "R", None, "i'"]
    for path in READABLE:
        raw = storage.read_pixels(bad_folder / path)
        np.testing.assert_array_equal(storage.read_pixels(out / path), raw)


def test_sorting_keeps_what_cannot_be_read(bad_folder):
    collection = FrameCollection(bad_folder)
    shapes = dict(zip(collection.frames["path"], collection.frames["shape"], strict=True))
    levels = dict(zip(collection.measure()["path"], collection.measure()["level"], strict=True))
    collection.sort(["naxis1", "file"])
    order = ["a.fits", "b/a.fits", "b/packed.fts.gz", "b/tiled.fit.fz", "card.FIT", "lfc.fits", *UNREADABLE]
    assert collection.summary["file"].tolist() == order[:6]
    assert collection.files == collection.frames["path"].tolist() == collection.measure()["path"].tolist() == order
    collection.sort("imagetyp")
    assert collection.files[0] == "lfc.fits"
    assert collection.frames["shape"].tolist() == [shapes[name] for name in collection.files]
    np.testing.assert_array_equal(collection.measure()["level"], [levels[name] for name in collection.files])


def test_only_bad_files(tmp_path):
    text_file(tmp_path / "a.fits")
    collection = FrameCollection(tmp_path)
    assert len(collection.summary) == 0
    assert list(collection.files_filtered(imagetyp="bias")) == list(collection.headers()) == []
    assert collection.frames["path"].tolist() == collection.measure()["path"].tolist() == ["a.fits"]
    assert collection.profile.name == "generic"


def test_other_fits_files_are_in_the_summary(tmp_path):
    """A spectrum and a table are no frames, but code that takes an ImageFileCollection may want them."""
    fits.writeto(tmp_path / "spectrum.fits", np.arange(5.0), fits.Header({"OBJECT": "Vega"}))
    columns = [fits.Column("x", "E", array=np.arange(3.0))]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "table.fits")
    truncate(tmp_path / "table.fits", 2880 * 2)
    collection = FrameCollection(tmp_path)
    assert collection.summary["file"].tolist() == ["spectrum.fits", "table.fits"]
    assert collection.values("object") == ["Vega", None]
    np.testing.assert_array_equal(next(collection.data(object="Vega")), np.arange(5.0))
    assert ["holds no two-dimensional image" in text for text in collection.frames["problem"]] == [True, True]


def test_a_card_that_stands_twice(tmp_path):
    make_frame(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].header.append(("OBJECT", "second"))
        for line in ("one", "two"):
            hdus[0].header["HISTORY"] = line
    with pytest.warns(FrameWarning, match="OBJECT stands more than once in 1 files, first in a.fits"):
        summary = FrameCollection(tmp_path).summary
    assert summary["object"].tolist() == [""]
    assert summary["history"].tolist() == ["one,two"]
    assert FrameCollection(tmp_path, ["exptime"]).values("exptime") == [0.0]  # and no warning


def test_a_card_named_file(tmp_path):
    make_frame(tmp_path / "a.fits", header={"FILE": "other.fits"})
    collection = FrameCollection(tmp_path)
    assert collection.summary["file"].tolist() == ["a.fits"]
    assert len(list(collection.headers(imagetyp="bias"))) == 1


def test_columns_of_the_summary_have_types(tmp_path):
    make_frame(tmp_path / "a.fits", header={"N": 1, "X": 1, "MIXED": "text", "FLAG": True})
    make_frame(tmp_path / "b.fits", header={"X": 2.5, "MIXED": 3, "FLAG": False})
    summary = FrameCollection(tmp_path).summary
    assert [summary[key].dtype.kind for key in ("n", "x", "mixed", "flag", "imagetyp")] == ["i", "f", "O", "b", "U"]
    assert summary["n"].tolist() == [1, None]
    assert summary["mixed"].tolist() == ["text", 3]


# -- keywords, reading when it is needed, refreshing -------------------------------------------------------


def test_each_header_is_read_once(lfc, monkeypatch):
    read = count_reads(monkeypatch)
    collection = FrameCollection(lfc.folder)
    assert not read
    collection.measure()
    assert len(collection.frames) == len(collection.summary)
    collection.keywords = ["imagetyp", "filter", "jd"]
    flats = collection.filter(imagetyp="FLATFIELD")
    assert len(list(flats.headers(filter="i'"))) == 3
    assert (len(flats.frames), flats.profile.name) == (6, "lfc")
    flats.measure()
    collection.sort("jd")
    assert collection.frames["path"][0] == "ccd.001.0.fits"
    assert sorted(read) == sorted(Path(name).name for name in collection.files)


def test_the_summary_alone_reads_each_header_once(plain, monkeypatch):
    read = count_reads(monkeypatch)
    assert len(FrameCollection(plain.folder, keywords=["imagetyp"]).files_filtered(filter="V", exptime=5.0)) == 3
    assert len(read) == len(set(read)) == len(plain.frames)


def test_keywords_can_be_set_before_anything_is_read(plain):
    collection = FrameCollection(plain.folder)
    collection.keywords = ["filter", "exptime"]
    assert sorted(collection.summary.colnames) == ["exptime", "file", "filter"]
    collection.keywords = ["exptime"]
    assert collection.summary.colnames == ["file", "exptime"]
    assert repr(collection) == f"FrameCollection(location={str(plain.folder)!r}, keywords=['exptime'])"


@pytest.mark.parametrize("how", ["delete", "none"])
def test_keywords_can_be_deleted_before_anything_is_read(plain, how):
    collection = FrameCollection(plain.folder)
    if how == "delete":
        del collection.keywords
    else:
        collection.keywords = None
    assert collection.keywords == collection.summary == []


def test_keywords_keep_the_case_that_they_are_asked_for_in(plain):
    collection = FrameCollection(plain.folder, ["*", "ImageTyp", "not there"])
    assert {"ImageTyp", "exptime", "not there"} <= set(collection.keywords)
    assert "imagetyp" not in collection.keywords
    assert collection.summary["not there"].mask.all()


def test_refreshing(tmp_path):
    make_frame(tmp_path / "a.fits")
    seen, unseen = FrameCollection(tmp_path), FrameCollection(tmp_path)
    assert (seen.values("imagetyp"), seen.frames["kind"].tolist()) == (["bias"], ["bias"])
    seen.measure()
    only_biases = seen.filter(imagetyp="bias")
    make_frame(tmp_path / "a.fits", kind="dark")
    make_frame(tmp_path / "sub" / "b.fits", kind="flat")
    assert seen.files == ["a.fits"]
    for collection in (seen, unseen):
        collection.refresh()
        assert collection.values("imagetyp") == ["dark", "flat"]
        assert collection.frames["kind"].tolist() == ["dark", "flat"]
        assert collection.measure()["path"].tolist() == ["a.fits", "sub/b.fits"]
    only_biases.refresh()
    assert only_biases.frames["path"].tolist() == ["a.fits"]


def test_a_filter_that_nothing_passes(plain):
    with pytest.warns(AstropyUserWarning, match="no FITS files in the collection"):
        nothing = FrameCollection(plain.folder).filter(imagetyp="nothing")
    nothing.refresh()
    assert nothing.files == list(nothing.headers()) == nothing.frames["path"].tolist() == []
    assert nothing.summary is None


def test_an_empty_folder(tmp_path):
    with pytest.warns(AstropyUserWarning, match="no FITS files in the collection"):
        collection = FrameCollection(tmp_path)
    assert collection.summary is None
    collection.sort("file")
    assert len(collection) == len(collection.frames) == len(collection.measure()) == 0
    assert collection.frames.colnames == list(COLUMNS)


def test_an_empty_list_of_files_is_not_the_whole_folder(plain):
    with pytest.warns(AstropyUserWarning, match="no FITS files in the collection"):
        assert FrameCollection(plain.folder, filenames=[]).files == []


@pytest.mark.parametrize(("make", "words"), [(False, "does not exist"), (True, "is not a folder")])
def test_a_folder_that_is_none(tmp_path, make, words):
    if make:
        text_file(tmp_path / "x")
    with pytest.raises(InputError, match=f"x: {words}; a folder of FITS files is needed"):
        FrameCollection(tmp_path / "x")


def test_pickling(lfc):
    collection = FrameCollection(lfc.folder)
    collection.measure()
    collection.summary  # noqa: B018 - what has been read goes along
    again = pickle.loads(pickle.dumps(collection))
    assert again.files == collection.files
    assert again.summary.values_equal(collection.summary)
    assert again.frames.colnames == collection.frames.colnames
    assert again.profile == collection.profile


# -- which files -------------------------------------------------------------------------------------------


def test_suffixes(tmp_path):
    names = [f"a{suffix}{packed}" for suffix in (".fits", ".fit", ".fts") for packed in ("", ".gz", ".fz")]
    for name in [*names, "B.FITS", "c.FIT"]:
        make_frame(tmp_path / name)
    text_file(tmp_path / "notes.txt")
    collection = FrameCollection(tmp_path)
    assert collection.files == sorted([*names, "B.FITS", "c.FIT"])
    assert set(collection.frames["shape"]) == {"64x80"}
    assert set(collection.frames["problem"]) == {""}
    assert collection._fits_files_in_directory(compressed=False) == ["B.FITS", "a.fit", "a.fits", "a.fts", "c.FIT"]
    assert collection._fits_files_in_directory(["fts"]) == ["a.fts", "a.fts.fz", "a.fts.gz"]


def test_without_subfolders(lfc):
    collection = FrameCollection(lfc.folder, recursive=False)
    assert collection.files == [name for name in sorted(lfc.paths()) if "/" not in name]


def test_hidden_files_and_products_are_no_inputs(tmp_path):
    make_frame(tmp_path / "a.fits")
    for name in (".a.fits", ".hidden/a.fits", "reduced/science/a.fits", "locked/a.fits"):
        make_frame(tmp_path / name)
    text_file(tmp_path / "reduced" / "night.ecsv")
    text_file(tmp_path / "reduced" / "run.json", "{}")
    text_file(tmp_path / "locked" / ".ccdnight.lock", "{}")
    assert FrameCollection(tmp_path).files == ["a.fits"]
    assert FrameCollection(tmp_path, find_fits_by_reading=True).files == ["a.fits"]


def test_links_to_files(tmp_path):
    make_frame(tmp_path / "there" / "a.fits")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "b.fits").symlink_to(tmp_path / "there" / "a.fits")
    collection = FrameCollection(tmp_path / "raw")
    assert (collection.files, collection.frames["kind"].tolist()) == (["b.fits"], ["bias"])


def test_files_by_their_first_bytes(tmp_path):
    make_frame(tmp_path / "a.fits")
    make_frame(tmp_path / "sub" / "b.0001")
    text_file(tmp_path / "text.fits")
    (tmp_path / "gone.fits").symlink_to(tmp_path / "nowhere.fits")
    collection = FrameCollection(tmp_path, find_fits_by_reading=True)
    assert collection.files == ["a.fits", "sub/b.0001"]
    assert FrameCollection(tmp_path, find_fits_by_reading=True, recursive=False).files == ["a.fits"]


@pytest.mark.parametrize(
    ("include", "exclude", "files"),
    [
        ("bias*", None, ["bias_1.fits", "n1/bias_2.fits"]),
        ("n1/*", None, ["n1/bias_2.fits", "n1/dark_1.fits"]),
        (None, "bias*", ["n1/dark_1.fits"]),
        (None, "n1*", ["bias_1.fits", "n1/bias_2.fits", "n1/dark_1.fits"]),
        ("*_1*", "n1/*", ["bias_1.fits"]),
    ],
)
def test_patterns_are_those_of_names_or_of_paths(tmp_path, include, exclude, files):
    for name in ("bias_1.fits", "n1/bias_2.fits", "n1/dark_1.fits"):
        make_frame(tmp_path / name)
    collection = FrameCollection(tmp_path, glob_include=include, glob_exclude=exclude)
    assert collection.files == files


@pytest.mark.parametrize("ext", [None, 1, "IM", ("IM", 1)])
def test_images_in_extensions(tmp_path, ext):
    """Without `ext` the first image is taken and the primary header's cards are its own, too."""
    data = np.arange(12.0).reshape(3, 4)
    for name in ("a.fits", "b.fits"):
        primary = fits.PrimaryHDU(header=fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0}))
        fits.HDUList([primary, fits.ImageHDU(data, name="IM")]).writeto(tmp_path / name)
    collection = FrameCollection(tmp_path, ext=ext)
    assert ("imagetyp" in collection.keywords) == (ext is None)
    assert collection.frames["kind"].tolist() == ["bias", "bias"]
    assert collection.frames["shape"].tolist() == ["3x4", "3x4"]
    assert [name for _, name in collection.data(return_fname=True, extname="IM")] == ["a.fits", "b.fits"]
    for pixels in (next(collection.data()), next(collection.hdus()).data, next(collection.ccds({"unit": "adu"})).data):
        np.testing.assert_array_equal(pixels, data)


def test_an_extension_that_is_not_there(plain):
    collection = FrameCollection(plain.folder, ext="IM")
    assert len(collection.summary) == 0
    assert all("holds no HDU 'IM'" in text for text in collection.frames["problem"])


@pytest.mark.parametrize("how", ["asked", "voted"])
def test_the_hdu_of_the_profile(tmp_path, how, monkeypatch):
    """A preview before the image is not the frame."""
    text = 'format = 1\nname = "second"\nhdu = 2\n[match]\nINSTRUME = "Second"\n'
    (tmp_path / "second.toml").write_text(text)
    primary = fits.PrimaryHDU(header=fits.Header({"INSTRUME": "Second", "IMAGETYP": "bias"}))
    images = [fits.ImageHDU(np.zeros(shape)) for shape in ((3, 4), (30, 40))]
    fits.HDUList([primary, *images]).writeto(tmp_path / "a.fits")
    if how == "voted":
        from ccdnight.profiles import load_profile

        profile = load_profile(tmp_path / "second.toml")
        monkeypatch.setattr("ccdnight._frametable.match_profile", lambda header: profile)
    collection = FrameCollection(tmp_path, profile=tmp_path / "second.toml" if how == "asked" else None)
    assert collection.frames["shape"].tolist() == ["30x40"]


# -- the frame table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NIGHTS)
def test_the_frame_table_is_true(nights, name):
    truth = nights[name]
    collection = FrameCollection(truth.folder)
    table = collection.frames
    assert collection.profile.name == PROFILES.get(name, name)
    assert table.colnames == list(COLUMNS)
    assert table["exposure"].unit == "s"
    assert table["temperature"].unit == "deg_C"
    assert sorted(table["path"].tolist()) == sorted(truth.paths())
    for row in table:
        frame = truth.frame(row["path"])
        assert row["kind"] == frame.kind
        assert row["exposure"] == pytest.approx(frame.exposure)
        assert row["filter"] == (frame.filter or "")
        assert row["object"] == frame.object
        assert row["time"][:22] == frame.time.isoformat(timespec="milliseconds")[:22]
        assert row["shape"] == "{}x{}".format(*frame.shape)
        assert row["problem"] == ""
        assert row["evidence"].split(" = ")[0] in {"IMAGETYP", "OBSTYPE", "OBJECT"}


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("lfc", {"detector": "0", "binning": "1x1", "read_mode": "", "temperature": None}),
        ("aspen", {"detector": "", "binning": "1x1", "read_mode": "Monochrome", "temperature": -20.05}),
        ("arcsat", {"detector": "", "binning": "1x1", "read_mode": "Monochrome", "temperature": -25.02}),
        ("nickel", {"detector": "", "binning": "1x1", "read_mode": "80", "temperature": -109.0}),
        ("plain", {"detector": "", "binning": "", "read_mode": "", "temperature": None}),
    ],
)
def test_the_camera_in_the_frame_table(nights, name, facts):
    truth = nights[name]
    row = row_of(FrameCollection(truth.folder), next(iter(truth.paths("bias"))))
    for key, value in facts.items():
        if key != "temperature":
            assert row[key] == value
        elif value is None:
            assert row[key] is np.ma.masked
        else:
            assert row[key] == pytest.approx(value, abs=0.05)


def test_nickel_biases_say_dark(nights):
    truth = nights["nickel"]
    path = truth.paths("bias")[0]
    assert fits.getheader(truth.folder / path)["OBSTYPE"] == "DARK"
    row = row_of(FrameCollection(truth.folder), path)
    assert (row["kind"], row["evidence"]) == ("bias", "OBSTYPE = 'DARK', exposure 0 s")


@pytest.mark.parametrize("instrument", ["plain", "aspen", "arcsat"])
def test_a_dark_without_exposure_is_a_bias(tmp_path, instrument):
    row = frame_of(tmp_path, kind="dark", exposure=0, instrument=instrument)
    assert (row["kind"], row["exposure"], row["problem"]) == ("bias", 0.0, "")
    assert row["evidence"].lower() == "imagetyp = 'dark', exposure 0 s"


@pytest.mark.parametrize(("kind", "problem"), [("dark", "no exposure time: none of EXPTIME, "), ("bias", "")])
def test_no_exposure_time(tmp_path, kind, problem):
    make_frame(tmp_path / "a.fits", kind=kind)
    delete_card(tmp_path / "a.fits", "EXPTIME")
    row = row_of(FrameCollection(tmp_path), "a.fits")
    assert row["problem"].startswith(problem)
    assert bool(row["problem"]) == bool(problem)
    assert (row["exposure"] is np.ma.masked) == (kind == "dark")


@pytest.mark.parametrize("exposure", ["-5.0", "1E9"])
def test_an_exposure_that_cannot_be(tmp_path, exposure):
    garble_card(make_frame(tmp_path / "a.fits", kind="dark"), "EXPTIME", f"EXPTIME = {exposure}")
    row = row_of(FrameCollection(tmp_path), "a.fits")
    assert row["exposure"] is np.ma.masked
    assert "allowed are 0 to 1,000,000 s" in row["problem"]


def test_an_unknown_kind_names_the_known_ones(tmp_path):
    row = frame_of(tmp_path, kind="wobble")
    assert row["kind"] == "unknown"
    assert "IMAGETYP = 'wobble' is no kind of frame that profile 'generic' knows" in row["problem"]
    assert all(word in row["problem"] for word in ("bias: bias*, zero*", "dark: dark*", "flat: flat*", "science:"))


def test_no_kind(tmp_path):
    row = frame_of(tmp_path, kind="science", header={"IMAGETYP": None})
    assert row["kind"] == "unknown"
    assert "does not say what kind of frame this is: IMAGETYP, OBSTYPE" in row["problem"]


def test_a_focus_frame_is_no_problem(tmp_path):
    row = frame_of(tmp_path, kind="focus")
    assert (row["kind"], row["problem"], row["evidence"]) == ("unknown", "", "ignored: IMAGETYP = 'focus'")


@pytest.mark.parametrize(
    "header",
    [
        {"CALSTAT": "BDF"},
        {"ZEROCOR": "Nov 22 10:00 Zero level correction image is Zero"},
        {"FLATCOR": True},
        {"OVERSCAN": "Nov 22 10:00 Overscan section is [1025:1056,1:1024] with mean=995."},
        {"SUBBIAS": "subbias"},
    ],
)
def test_a_reduced_frame_is_told(tmp_path, header):
    row = frame_of(tmp_path, kind="science", header=header)
    ((key, value),) = header.items()
    assert row["problem"].startswith(f"is not raw: {key} = {value!r}; raw frames are needed")


@pytest.mark.parametrize(
    "header", [{"CALSTAT": ""}, {"OVERSCAN": 32}, {"OVERSCAN": True}, {"FLATCOR": False}, {"TRIM": "no"}]
)
def test_cards_that_prove_nothing(tmp_path, header):
    assert frame_of(tmp_path, kind="science", header=header)["problem"] == ""


def test_a_bad_card_among_those_of_reduced_frames(tmp_path):
    """It makes no difference to the other frames."""
    make_frame(tmp_path / "a.fits", kind="bias", raw_cards=["TRIM    = 1O.0"])
    make_frame(tmp_path / "b.fits", kind="bias")
    assert row_of(FrameCollection(tmp_path), "b.fits")["problem"] == ""
    assert "TRIM = '1O.0'" in row_of(FrameCollection(tmp_path), "a.fits")["problem"]


def test_what_ccdproc_reduced_is_told(tmp_path):
    make_frame(tmp_path / "a.fits", kind="science", instrument="arcsat", filter="g")
    raw = CCDData.read(tmp_path / "a.fits", unit="adu", hdu=0)
    ccdproc.trim_image(raw[2:, 2:]).write(tmp_path / "trimmed.fits")
    ccdproc.subtract_bias(raw, raw).write(tmp_path / "bias.fits")
    ccdproc.flat_correct(raw, raw).write(tmp_path / "flat.fits")
    problems = {str(row["path"]): str(row["problem"]) for row in FrameCollection(tmp_path).frames}
    assert problems.pop("a.fits") == ""
    assert [text[:11] for text in problems.values()] == ["is not raw:"] * 3


def test_our_own_products_are_told(tmp_path):
    """Also where they lie alone, without the record of their run."""
    ccd = make_ccd(np.ones((4, 4)), unit="adu", meta={"IMAGETYP": "bias", "EXPTIME": 0.0})
    mark_applied(ccd, "trim", "every frame before they were combined")
    write_ccd(ccd, tmp_path / "bias.fits")
    row = row_of(FrameCollection(tmp_path), "bias.fits")
    assert row["problem"].startswith("is not raw: TRIM = 'ccdnight: every frame")


def test_frames_of_several_detectors(tmp_path):
    lfc_night(tmp_path, rows=16, detectors=(0, 2), science=1)
    table = FrameCollection(tmp_path).frames
    assert {str(row["detector"]) for row in table} == {"0", "2"}
    assert all(row["path"].endswith(f".{row['detector']}.fits") for row in table)


def test_a_binned_frame(tmp_path):
    row = frame_of(tmp_path, kind="bias", instrument="arcsat", binning=2)
    assert (row["binning"], row["shape"]) == ("2x2", "64x64")


# -- the profile -------------------------------------------------------------------------------------------


def test_a_few_foreign_frames_do_not_decide(tmp_path):
    for number in range(3):
        make_frame(tmp_path / f"n{number}.fits", instrument="nickel", filter="V")
        make_frame(tmp_path / f"p{number}.fits", instrument="plain")
    make_frame(tmp_path / "foreign1.fits", instrument="arcsat")
    make_frame(tmp_path / "foreign2.fits", instrument="lfc", rows=16)
    collection = FrameCollection(tmp_path)
    assert collection.profile.name == "nickel"
    assert collection.filter(instrume="dcam-spare").profile.name == "nickel"


@pytest.mark.parametrize(("strangers", "profile"), [(15, "generic"), (5, "nickel")])
def test_a_stray_frame_in_the_night_of_an_unknown_camera(tmp_path, strangers, profile):
    for number in range(strangers):
        make_frame(tmp_path / f"a{number}.fits")
    make_frame(tmp_path / "stray.fits", instrument="nickel")
    assert FrameCollection(tmp_path).profile.name == profile


def test_a_profile_that_is_asked_for(nights):
    collection = FrameCollection(nights["nickel"].folder, profile="generic")
    assert collection.profile.name == "generic"
    assert collection.filter(obstype="DARK").profile.name == "generic"
    collection.refresh()
    assert collection.profile.name == "generic"


def test_html_is_escaped(tmp_path):
    make_frame(tmp_path / "a.fits", object="<script>alert(1)</script>")
    make_frame(tmp_path / "b.fits", kind="<b>")
    html = FrameCollection(tmp_path)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "2 files, profile generic" in html


def test_html_of_missing_numbers(plain):
    html = FrameCollection(plain.folder)._repr_html_()
    assert "<td>bias_001.fits</td><td>bias</td><td>0.0</td>" in html
    assert "--" not in html
    assert "nan" not in html
