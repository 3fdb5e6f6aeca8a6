"""`ccdnight combine`: FITS files into one, from the command line."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from click.testing import CliRunner

from ccdnight.cli import main
from ccdnight.fitsrows import FitsRows


@pytest.fixture
def files(tmp_path):
    """Six frames, of which one is hit in one pixel."""
    rng = np.random.default_rng(1)
    paths = []
    for number in range(6):
        pixels = rng.normal(1000, 5, (20, 30))
        pixels[3, 4] += 5000 * (number == 2)
        paths.append(str(tmp_path / f"f{number}.fits"))
        fits.PrimaryHDU(np.rint(pixels).astype(np.uint16)).writeto(paths[-1])
    return paths


def run(*words):
    return CliRunner().invoke(main, ["combine", *map(str, words)])


def cube_of(files):
    return np.array([fits.getdata(path).astype(float) for path in files])


def test_noise_model(files, tmp_path):
    words = ("--reject", "noise", "--sigma", 6, "--read-noise", 10, "--gain", 2, "--pedestal", 1000, "--maps", "--json")
    done = run(*files, "-o", tmp_path / "out.fits", *words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) | {"output": ""} == {
        "frames": 6,
        "rejected_low": 0,
        "rejected_high": 1,
        "output": "",
    }
    with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "MASK", "NUSED", "NLOW", "NHIGH"]
        assert (hdus["NUSED"].data[3, 4], hdus["NHIGH"].data[3, 4], hdus["NUSED"].data.min()) == (5, 1, 5)
        assert (hdus[0].header["NCOMBINE"], hdus[0].header["IMCMB003"]) == (6, "f2.fits")
    ccd = CCDData.read(tmp_path / "out.fits")
    assert ccd.unit == "adu"
    expected = cube_of(files).mean(axis=0)
    expected[3, 4] = np.delete(cube_of(files)[:, 3, 4], 2).mean()
    np.testing.assert_allclose(ccd.data, expected, rtol=1e-6)
    np.testing.assert_allclose(ccd.uncertainty.array[3, 4], 5 / np.sqrt(5), rtol=0.1)


@pytest.mark.parametrize("method", ["average", "median", "sum"])
def test_methods(files, tmp_path, method):
    done = run(*files, "-o", tmp_path / "out.fits", "--method", method, "--reject", "none")
    assert done.exit_code == 0, done.output
    function = {"average": np.mean, "median": np.median, "sum": np.sum}[method]
    np.testing.assert_allclose(fits.getdata(tmp_path / "out.fits"), function(cube_of(files), axis=0), rtol=1e-6)


def test_an_output_that_is_there(files, tmp_path):
    target = tmp_path / "out.fits"
    target.write_text("mine")
    assert run(*files, "-o", target).exit_code == 2
    assert target.read_text() == "mine"
    assert run(*files, "-o", target, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--reject", "noise"], 4, "needs the read noise"),
        (["--section", "[1:99,1:2]", "--scale", "median"], 4, "99"),
        (["--uncertainty", "propagated"], 4, "needs an uncertainty of every frame"),
        (["--sigma", "0"], 2, "sigma"),
        (["--hdu", "3"], 4, "holds no HDU 3"),
    ],
)
def test_what_cannot_be_done(files, tmp_path, words, code, text):
    done = run(*files, "-o", tmp_path / "out.fits", *words)
    assert (done.exit_code, text in done.output) == (code, True), done.output
    assert not (tmp_path / "out.fits").exists()


def test_files_that_cannot_be_stacked(files, tmp_path):
    fits.PrimaryHDU(np.ones((3, 3))).writeto(tmp_path / "other.fits")
    done = run(*files, tmp_path / "other.fits", "-o", tmp_path / "out.fits")
    assert (done.exit_code, "other.fits: shape (3, 3) differs" in done.output) == (4, True)
    done = run(tmp_path / "none.fits", "-o", tmp_path / "out.fits")
    assert (done.exit_code, "none.fits" in done.output) == (4, True)


@pytest.mark.parametrize(("kind", "blank"), [("plain", False), ("plain", True), ("gzip", False), ("tiled", False)])
def test_rows_are_those_astropy_reads(tmp_path, kind, blank):
    """Scaled integers with blanks, plain and compressed."""
    pixels = np.random.default_rng(1).integers(-300, 300, (40, 50)).astype(np.int16)
    path = tmp_path / ("a.fits.gz" if kind == "gzip" else "a.fits")
    hdu = (fits.CompImageHDU if kind == "tiled" else fits.PrimaryHDU)(pixels)
    hdu.writeto(path)
    if blank:
        with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
            hdus[0].header["BLANK"], hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = int(pixels[0, 0]), 0.5, 10.0
    expected = fits.getdata(path)
    out = np.empty((7, 50), np.float32)
    FitsRows(path).fill(slice(11, 18), out, 0)
    np.testing.assert_array_equal(out, expected[11:18])
    assert np.isnan(FitsRows(path).pixels("[1:1,1:1]")).all() == blank
