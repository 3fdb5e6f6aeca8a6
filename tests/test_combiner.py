"""Combiner and combine against ccdproc's: the same where it is right, and the differences that are meant."""

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.stats import mad_std
from test_kernels import ASTROPY_FORGETS

from ccdnight import Combiner, combine
from ccdnight.exceptions import FrameError, OutputError
from ccdnight.stacking import NoiseModel

#: ccdproc's own tests with ours in the place of its classes.
SHIPPED = """
import ccdproc.combiner
import ccdproc.tests.test_combiner as shipped
import ccdnight

for module in (shipped, ccdproc.combiner, ccdproc):
    module.Combiner, module.combine = ccdnight.Combiner, ccdnight.combine
from ccdproc.tests.test_combiner import *
"""


def frames(n=7, shape=(20, 30), seed=1, hit=0.05, dtype=float):
    rng = np.random.default_rng(seed)
    cube = rng.normal(100, 5, (n, *shape))
    cube[rng.random(cube.shape) < hit] += 200
    return [CCDData(one.astype(dtype), unit="adu") for one in cube]


@pytest.fixture
def files(tmp_path):
    """Seven raw files, unsigned 16-bit integers."""
    paths = []
    for number, ccd in enumerate(frames()):
        paths.append(str(tmp_path / f"b{number}.fits"))
        fits.PrimaryHDU(np.rint(ccd.data).astype(np.uint16), fits.Header({"OBJECT": "bias"})).writeto(paths[-1])
    return paths


def assert_same(ours, theirs, rtol=1e-6):
    np.testing.assert_allclose(ours.data, theirs.data, rtol=rtol)
    np.testing.assert_allclose(ours.uncertainty.array, theirs.uncertainty.array, rtol=max(1e-5, 30 * rtol), atol=1e-7)
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert ours.unit == theirs.unit
    assert ours.data.dtype == theirs.data.dtype


def test_the_tests_that_ccdproc_ships(tmp_path):
    """All of them pass with ours in the place of its classes."""
    if not importlib.util.find_spec("ccdproc.tests.test_combiner"):
        pytest.skip("the installed ccdproc comes without its tests")
    (tmp_path / "test_shipped.py").write_text(SHIPPED)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml=result.xml"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    cases = list(ET.parse(tmp_path / "result.xml").iter("testcase"))
    bad = [case.get("name") for case in cases if len(case)]
    assert bad == [], done.stdout[-5000:]
    assert len(cases) > 60


CALLS = {
    "plain": {},
    "extremes": {"clip_extrema": True},
    "two low": {"clip_extrema": True, "nlow": 2, "nhigh": 0},
    "thresholds": {"minmax_clip": True, "minmax_clip_min": 95, "minmax_clip_max": 106},
    "all beyond": {"minmax_clip": True, "minmax_clip_min": 1000},
    "sigma": {"sigma_clip": True},
    "sigma about the median": {
        "sigma_clip": True,
        "sigma_clip_low_thresh": 1.5,
        "sigma_clip_high_thresh": 2,
        "sigma_clip_func": np.ma.median,
    },
    "mad": {"sigma_clip": True, "sigma_clip_func": "median", "sigma_clip_dev_func": mad_std},
    "own function": {"sigma_clip": True, "sigma_clip_func": lambda values, axis: np.nanmin(values, axis=axis)},
    "both": {"sigma_clip": True, "clip_extrema": True},
    "scale": {"scale": lambda values: 1 / np.median(values)},
    "scales": {"scale": list(np.arange(1, 8) / 4), "sigma_clip": True, "sigma_clip_high_thresh": 2},
    "weights": {"weights": np.arange(1.0, 8)},
    "float32": {"dtype": np.float32},
    "integer": {"dtype": int},
    "own uncertainty": {"combine_uncertainty_function": np.ma.std},
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Input data contains invalid values")
@pytest.mark.parametrize("method", ["average", "median", "sum"])
@pytest.mark.parametrize("name", CALLS)
class TestAsCcdproc:
    """The same arguments, the same result."""

    def test_frames(self, name, method):
        rtol = 3e-6 if name == "float32" else 1e-6
        given = frames()
        assert_same(
            combine(given, method=method, **CALLS[name]), ccdproc.combine(given, method=method, **CALLS[name]), rtol
        )

    def test_files(self, files, name, method):
        ours, theirs = (
            module(files, method=method, unit="adu", **CALLS[name]) for module in (combine, ccdproc.combine)
        )
        assert_same(ours, theirs, 3e-6 if name == "float32" else 1e-6)
        assert ours.meta["OBJECT"] == theirs.meta["OBJECT"]


class TestCombiner:
    """The class, step by step."""

    @pytest.mark.parametrize("maxiters", [1, 3, None])
    @pytest.mark.parametrize(("low", "high"), [(2, 2), (1.5, 3)])
    @pytest.mark.parametrize("dev_func", ["std", "mad_std"])
    @pytest.mark.parametrize("func", ["mean", "median"])
    def test_rejects_as_astropy(self, func, dev_func, low, high, maxiters):
        from astropy.stats import sigma_clip

        given = frames(9, hit=0.1)
        combiner = Combiner(given)
        combiner.sigma_clipping(low, high, func, dev_func, maxiters=maxiters)
        left = ~combiner.data_arr.mask.all(axis=0)
        some = left if ASTROPY_FORGETS else np.ones(left.shape, bool)
        assert some.mean() > 0.3
        cube = np.array([ccd.data for ccd in given])
        options = {"sigma_lower": low, "sigma_upper": high, "cenfunc": func, "stdfunc": dev_func, "maxiters": maxiters}
        with np.errstate(invalid="ignore"):
            expected = sigma_clip(cube, **options, axis=0).mask
        np.testing.assert_array_equal(combiner.data_arr.mask[:, some], expected[:, some])

    def test_none_is_no_threshold(self):
        """ccdproc's words say so; its code takes 3 for None."""
        combiner = Combiner(frames(30, hit=0.1))
        combiner.sigma_clipping(low_thresh=None, high_thresh=2, func="median")
        low = combiner.data_arr.data < np.median(combiner.data_arr.data, axis=0)
        assert not (combiner.data_arr.mask & low).any()
        assert combiner.data_arr.mask.any()

    def test_masked_values_are_left_out_of_the_statistics(self):
        given = frames(8, hit=0)
        given[3].data[:] = 1e6
        given[3].mask = np.ones(given[3].shape, bool)
        given[5].data[2, 2] = 200
        combiner = Combiner(given)
        combiner.sigma_clipping(2.4, 2.4, "median", "std")
        assert combiner.data_arr.mask[5, 2, 2]

    def test_weights_of_masked_values_do_not_count(self):
        given = [CCDData(np.full((2, 2), float(value)), unit="adu") for value in (1, 1)]
        given[0].mask = np.array([[True, False], [False, False]])
        combiner = Combiner(given)
        combiner.weights = np.array([3.0, 1.0])
        np.testing.assert_array_equal(combiner.average_combine().data, 1)

    def test_uncertainties_are_propagated(self):
        given = frames(4)
        for ccd in given:
            ccd.uncertainty = StdDevUncertainty(np.full(ccd.shape, 6.0))
        np.testing.assert_allclose(Combiner(given).average_combine().uncertainty.array, 3)
        np.testing.assert_allclose(Combiner(given).sum_combine().uncertainty.array, 12)
        np.testing.assert_allclose(Combiner(given).median_combine().uncertainty.array, 3 * 1.0922, rtol=1e-4)
        np.testing.assert_allclose(combine(given).uncertainty.array, 3)
        empirical = Combiner(given).average_combine(uncertainty="empirical").uncertainty.array
        assert np.ptp(empirical) > 0

    def test_one_axis_and_three(self):
        for shape in ((12,), (3, 4, 5)):
            given = frames(5, shape=shape)
            ours, theirs = (
                module([ccd.copy() for ccd in given]).average_combine() for module in (Combiner, ccdproc.Combiner)
            )
            assert_same(ours, theirs)

    @pytest.mark.parametrize("method", ["average_combine", "median_combine", "sum_combine"])
    def test_scaling(self, method):
        ours, theirs = Combiner(frames()), ccdproc.Combiner(frames())
        ours.scaling = theirs.scaling = np.arange(1, 8) / 3
        assert_same(getattr(ours, method)(), getattr(theirs, method)())
        assert_same(getattr(ours, method)(scale_to=2.0), getattr(theirs, method)(scale_to=2.0))

    def test_unknown_words(self):
        with pytest.raises(TypeError, match="'maxiter' that nobody knows; did you mean 'maxiters'"):
            Combiner(frames()).sigma_clipping(maxiter=3)

    def test_a_result_that_can_be_written(self, tmp_path):
        ccd = Combiner(frames()).average_combine()
        ccd.write(tmp_path / "a.fits")
        again = CCDData.read(tmp_path / "a.fits")
        assert (again.meta["NCOMBINE"], again.unit) == (7, "adu")


class TestCombine:
    """What combine has beyond ccdproc's."""

    def test_header(self, files):
        ccd = combine(files, unit="adu")
        assert ccd.meta["NCOMBINE"] == 7
        assert [ccd.meta[f"IMCMB{i:03d}"] for i in (1, 7)] == ["b0.fits", "b6.fits"]
        assert ccd.meta["BUNIT"] == "adu"

    def test_numbers_of_each_pixel(self, files):
        options = {
            "sigma_clip": True,
            "sigma_clip_low_thresh": 1.5,
            "sigma_clip_high_thresh": 1.5,
            "return_stack": True,
        }
        _, told = combine(files, unit="adu", **options)
        np.testing.assert_array_equal(told.count + told.low_map + told.high_map, 7)
        assert (told.low, told.high) == (told.low_map.sum(), told.high_map.sum())

    def test_noise_clip(self, files):
        ccd, told = combine(files, unit="adu", noise_clip=NoiseModel(5.0), return_stack=True)
        cube = np.array([fits.getdata(path).astype(float) for path in files])
        hit = cube > np.median(cube, axis=0) + 100
        assert (told.count <= 7 - hit.sum(axis=0)).all()
        np.testing.assert_allclose(ccd.uncertainty.array, 5 / np.sqrt(told.count), rtol=1e-6)

    def test_scale_and_zero_by_name(self, tmp_path):
        pattern = np.random.default_rng(1).normal(1, 0.01, (20, 20))
        paths = [str(tmp_path / f"{i}.fits") for i in range(3)]
        for path, level in zip(paths, (1000, 2000, 500), strict=True):
            fits.PrimaryHDU((level * pattern).astype("f4")).writeto(path)
        scaled = combine(paths, unit="adu", scale="median", section="[1:10,1:10]")
        np.testing.assert_allclose(scaled.data, 1000 * pattern, rtol=1e-5)
        zeroed = combine(paths, unit="adu", zero="median")
        assert np.median(zeroed.data) == pytest.approx(1000 * np.median(pattern), rel=1e-4)
        fixed = combine(paths, unit="adu", zero=[900, 1900, 400])
        np.testing.assert_allclose(fixed.data, (3500 * pattern - 3200) / 3, rtol=1e-4)

    def test_masks_and_uncertainties_of_files(self, tmp_path):
        paths = []
        for number, ccd in enumerate(frames(3, hit=0)):
            ccd.mask = np.zeros(ccd.shape, bool)
            ccd.mask[number, 0] = True
            ccd.uncertainty = StdDevUncertainty(np.full(ccd.shape, 2.0))
            paths.append(str(tmp_path / f"{number}.fits"))
            ccd.write(paths[-1])
        result, told = combine(paths, return_stack=True)
        assert told.count[:4, 0].tolist() == [2, 2, 2, 3]
        np.testing.assert_allclose(result.uncertainty.array, 2 / np.sqrt(told.count), rtol=1e-6)

    @pytest.mark.parametrize("suffix", ["fits.gz", "fits.fz"])
    def test_compressed_files(self, files, tmp_path, suffix):
        packed = []
        for number, path in enumerate(files):
            packed.append(str(tmp_path / f"p{number}.{suffix}"))
            pixels = fits.getdata(path)
            kind = fits.CompImageHDU if suffix.endswith("fz") else fits.PrimaryHDU
            kind(pixels).writeto(packed[-1])
        assert_same(combine(packed, unit="adu"), combine(files, unit="adu"))

    @pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
    def test_pixel_types(self, tmp_path, dtype):
        given = [np.random.default_rng(i).integers(0, 250, (9, 8)).astype(dtype) for i in range(4)]
        paths = [str(tmp_path / f"{i}.fits") for i in range(4)]
        for path, pixels in zip(paths, given, strict=True):
            fits.PrimaryHDU(pixels).writeto(path)
        np.testing.assert_allclose(combine(paths, unit="adu").data, np.mean(given, axis=0, dtype=float), rtol=1e-7)

    def test_output_is_not_replaced_unless_told(self, files, tmp_path):
        target = tmp_path / "out.fits"
        combine(files, str(target), unit="adu")
        before = target.read_bytes()
        with pytest.raises(OSError, match="already exists; give overwrite_output"):
            combine(files, str(target), unit="adu", method="sum")
        assert target.read_bytes() == before
        combine(files, str(target), unit="adu", overwrite_output=True)
        assert CCDData.read(target).meta["NCOMBINE"] == 7

    def test_unknown_words(self, files):
        with pytest.raises(TypeError, match="did you mean 'sigma_clip_dev_func'"):
            combine(files, signma_clip_dev_func=np.std)

    def test_what_ccdproc_lacks_is_not_dropped(self):
        with pytest.raises(ValueError, match="uncertainty = 'empirical' cannot be given here"):
            combine(frames(), sigma_clip=True, clip_extrema=True, uncertainty="empirical")

    def test_other_units(self, tmp_path):
        with pytest.raises(TypeError, match="frame 1: unit 's' differs from 'adu' of frame 0"):
            combine([*frames(1), CCDData(np.ones((20, 30)), unit="s")])
        for unit in ("adu", "electron"):
            CCDData(np.ones((4, 4)), unit=unit).write(tmp_path / f"{unit}.fits")
        with pytest.raises(TypeError, match="unit 'electron' differs"):
            combine([tmp_path / "adu.fits", tmp_path / "electron.fits"])

    def test_what_frames_can_be_given_as(self, files):
        expected = combine(files, unit="adu").data
        for given in (tuple(files), iter(files), np.array(files), ",".join(files), [Path(path) for path in files]):
            np.testing.assert_array_equal(combine(given, unit="adu").data, expected)
        big = [CCDData(ccd.data.astype(">f4"), unit="adu") for ccd in frames()]
        small = [CCDData(ccd.data.astype("<f4"), unit="adu") for ccd in frames()]
        np.testing.assert_array_equal(combine(big).data, combine(small).data)

    def test_other_shapes(self):
        with pytest.raises(FrameError, match=r"frame 1: shape \(3, 3\) differs"):
            combine([*frames(1), CCDData(np.ones((3, 3)), unit="adu")])

    def test_few_open_files_and_little_memory(self, tmp_path):
        """500 files with at most 64 open, by a process of its own whose limit that is."""
        fits.PrimaryHDU(np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)).writeto(tmp_path / "a.fits")
        code = (
            "import resource, numpy as np; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
            "from ccdnight import combine\n"
            "ccd = combine(['a.fits'] * 500, unit='adu', mem_limit=1e6, method='median')\n"
            "assert ccd.data[3, 4] == 124, ccd.data[3, 4]; assert ccd.meta['NCOMBINE'] == 500\n"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


def test_strips_leave_no_temporary_files(files, tmp_path, monkeypatch):
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    packed = []
    for number, path in enumerate(files):
        packed.append(str(tmp_path / f"p{number}.fits.gz"))
        fits.PrimaryHDU(fits.getdata(path)).writeto(packed[-1])
    combine(packed, unit="adu")
    gc.collect()
    assert list(Path(tmp_path).glob("*.pixels")) == []


def test_no_room_to_unpack(files, tmp_path, monkeypatch):
    """The frame is well; it is the environment that fails, and a night can be taken up again."""
    import tempfile

    fits.PrimaryHDU(fits.getdata(files[0])).writeto(tmp_path / "p.fits.gz")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="gone: cannot be written"):
        combine([str(tmp_path / "p.fits.gz")] * 2, unit="adu")


def test_uncertainty_that_is_asked_for():
    """It is what is given, also where every frame has one; and not dropped where ccdproc does the work."""
    rng = np.random.default_rng(4)
    frames = [
        CCDData(rng.normal(100, 3, (6, 7)), unit="adu", uncertainty=StdDevUncertainty(np.full((6, 7), 50.0)))
        for _ in range(5)
    ]
    scatter = np.std([frame.data for frame in frames], axis=0) / np.sqrt(5)
    combiner = Combiner(frames)
    np.testing.assert_allclose(combiner.average_combine(uncertainty="std").uncertainty.array, scatter)
    np.testing.assert_allclose(combiner.average_combine().uncertainty.array, 50 / np.sqrt(5))
    with pytest.raises(ValueError, match="uncertainty = 'empirical' cannot be given here"):
        combiner.median_combine(median_func=lambda data, axis: np.min(data, axis=axis), uncertainty="empirical")
