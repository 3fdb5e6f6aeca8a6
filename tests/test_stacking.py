"""Stacking against plain numpy, against astropy, and against the scatter of many draws."""

import numpy as np
import pytest
from astropy.stats import sigma_clip

from ccdnight import _strips
from ccdnight._kernels.stack import stack_strip
from ccdnight.exceptions import InputError
from ccdnight.execution import TaskGraph, run_graph
from ccdnight.stacking import MEDIAN_FACTORS, NoiseModel, stack


class Plain:
    """An array as a source of rows."""

    def __init__(self, data, flags=None):
        self.data, self.shape = data, data.shape
        self.flags = np.zeros(data.shape, np.uint16) if flags is None else flags.astype(np.uint16)

    def rows(self, rows):
        return self.data[rows], self.flags[rows]


def sources_of(cube, masked=None):
    masked = np.zeros(cube.shape, bool) if masked is None else masked
    return [Plain(one, flags * 8) for one, flags in zip(cube, masked, strict=True)]


def cube_of(kind, n, seed=1, shape=(13, 17)):
    """A stack and where it is masked."""
    rng = np.random.default_rng(seed)
    cube = rng.normal(1000, 5, (n, *shape)).astype(np.float32)
    hit = rng.random(cube.shape) < 0.1
    cube[hit] += rng.choice([-400, 30, 5000], hit.sum()).astype(np.float32)
    masked = np.zeros(cube.shape, bool)
    if kind == "tied":
        cube = np.rint(cube / 4) * 4
    if kind in {"masked", "both"}:
        masked = rng.random(cube.shape) < 0.25
        masked[:, 0, 0] = True
        masked[1:, 0, 1] = True
    if kind in {"nan", "both"}:
        cube[rng.random(cube.shape) < 0.2] = np.nan
        cube[:, 1, 0] = np.nan
        cube[0, 1, 1] = np.inf
    return cube, masked


KINDS = ["random", "tied", "masked", "nan", "both"]
NOISE = NoiseModel(5.0, 1.5, 0.01)


def good_of(cube, masked):
    return np.isfinite(cube) & ~masked


def kept_by_noise(cube, good, sigma, noise, scales, zeros):
    """The rule in plain numpy, pixel by pixel."""
    keep = np.zeros(cube.shape, bool)
    for y, x in np.ndindex(cube.shape[1:]):
        used = np.flatnonzero(good[:, y, x])
        if used.size == 0:
            continue
        values = cube[used, y, x].astype(float) * scales[used] - zeros[used]
        s = np.median(values)
        for i, value in zip(used, values, strict=True):
            f = scales[i]
            variance = f**2 * noise.read_noise**2 + (noise.sensitivity * s) ** 2
            if noise.gain is not None:
                variance += f * max(s, 0) / noise.gain
            keep[i, y, x] = abs(value - s) <= sigma * np.sqrt(variance)
        if not keep[:, y, x].any():
            keep[used[values.argmin()], y, x] = True
    return keep


def combined(cube, keep, method):
    values = np.where(keep, cube, np.nan)
    result = np.full(cube.shape[1:], np.nan)
    some = keep.any(axis=0)
    result[some] = (np.nanmedian if method == "median" else np.nanmean)(values[:, some].astype(float), axis=0)
    return result


def assert_stack(result, cube, keep, good, method, above=None):
    """`above` tells which of the rejected values are high ones, where comparing them with the result does not."""
    expected = combined(cube, keep, method)
    np.testing.assert_allclose(result.data, expected, rtol=3e-7)
    np.testing.assert_array_equal(result.count, keep.sum(axis=0))
    out = good & ~keep
    assert result.low + result.high == out.sum()
    assert result.high == (out & (cube > expected) if above is None else above).sum()


@pytest.mark.parametrize("method", ["average", "median"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("kind", KINDS)
class TestRejection:
    """Which values are left, by every rule."""

    @pytest.mark.parametrize("name", ["sigma", "mad"])
    @pytest.mark.parametrize("sigma", [1.5, 3.0])
    @pytest.mark.filterwarnings("ignore:Input data contains invalid values", "ignore::RuntimeWarning")
    def test_scatter_as_astropy_clips(self, kind, n, method, name, sigma):
        """
        `astropy.stats.sigma_clip` about the median, with std or MAD, on a masked array.

        Functions given by name go through astropy's compiled code, which keeps what lies within the last bounds; given
        as functions, values that were rejected in an earlier round stay so.
        """
        cube, masked = cube_of(kind, n)
        good = good_of(cube, masked)
        deviation = "std" if name == "sigma" else "mad_std"
        clipped = sigma_clip(np.where(good, cube, np.nan), sigma=sigma, cenfunc="median", stdfunc=deviation, axis=0)
        keep = good & ~np.ma.getmaskarray(clipped) if n > 1 else good
        result = stack(sources_of(cube, masked), method=method, reject=name, sigma=sigma)
        # Of what two values are left where the clip would leave none is told in a test of its own.
        keep[:, good.any(axis=0) & ~keep.any(axis=0)] = False
        some = keep.any(axis=0) | ~good.any(axis=0)
        np.testing.assert_array_equal(result.count[some], keep.sum(axis=0)[some])
        np.testing.assert_allclose(result.data[some], combined(cube, keep, method)[some], rtol=3e-7)
        assert some.mean() > 0.9

    @pytest.mark.parametrize(("sigma", "scaled"), [(4.0, False), (2.0, True)])
    def test_noise_model_as_plainly_stated(self, kind, n, method, sigma, scaled):
        cube, masked = cube_of(kind, n)
        rng = np.random.default_rng(n)
        scales = rng.uniform(0.8, 1.3, n).astype(np.float32).astype(float) if scaled else np.ones(n)
        zeros = rng.normal(0, 8, n) if scaled else np.zeros(n)
        good = good_of(cube, masked)
        keep = kept_by_noise(cube, good, sigma, NOISE, scales, zeros) if n > 1 else good
        result = stack(
            sources_of(cube, masked),
            method=method,
            sigma=sigma,
            noise=NOISE,
            scales=scales if scaled else None,
            zeros=zeros if scaled else None,
        )
        # Values on the very edge may fall on either side in float32.
        assert np.mean(result.count == keep.sum(axis=0)) > 0.995
        same = result.count == keep.sum(axis=0)
        expected = combined(cube * scales[:, None, None], keep, method)
        np.testing.assert_allclose(result.data[same], expected[same], rtol=5e-7)

    def test_minmax(self, kind, n, method):
        """One lowest and one highest value go where three are left at least, also where they are equal."""
        cube, masked = cube_of(kind, n)
        good = good_of(cube, masked)
        keep, above = good.copy(), np.zeros(good.shape, bool)
        for y, x in np.ndindex(cube.shape[1:]):
            used = np.flatnonzero(good[:, y, x])
            if used.size >= 3:
                order = used[np.argsort(cube[used, y, x], kind="stable")]
                keep[order[[0, -1]], y, x] = False
                above[order[-1], y, x] = True
        result = stack(sources_of(cube, masked), method=method, reject="minmax")
        assert_stack(result, cube, keep, good, method, above)

    def test_none(self, kind, n, method):
        cube, masked = cube_of(kind, n)
        good = good_of(cube, masked)
        assert_stack(stack(sources_of(cube, masked), method=method, reject="none"), cube, good, good, method)


class TestOutliers:
    """What the rules are for."""

    @pytest.mark.parametrize("n", [3, 4, 5])
    def test_the_noise_model_finds_what_the_scatter_cannot(self, n):
        """Of three values none lies further than 2.1 standard deviations from the median."""
        cube = np.full((n, 4, 4), 1000, np.float32) + np.arange(n, dtype=np.float32)[:, None, None]
        cube[1] += 5000
        assert (stack(sources_of(cube), reject="sigma", sigma=3.0).count == n).all()
        result = stack(sources_of(cube), noise=NoiseModel(5.0, None))
        assert (result.count == n - 1).all()
        assert (result.low, result.high) == (0, 16)

    def test_of_two_that_disagree_the_lower_stays(self):
        """Cosmic rays only add."""
        cube = np.array([[[9000.0]], [[1000.0]]], np.float32)
        result = stack(sources_of(cube), noise=NoiseModel(5.0, 1.5))
        assert (result.data[0, 0], result.count[0, 0], result.high) == (1000, 1, 1)

    @pytest.mark.parametrize("reject", ["noise", "sigma"])
    def test_good_values_are_kept(self, reject):
        rng = np.random.default_rng(3)
        cube = (1000 + rng.normal(0, 5, (9, 60, 60))).astype(np.float32)
        result = stack(sources_of(cube), reject=reject, sigma=5.0, noise=NoiseModel(5.0, None))
        assert (result.low + result.high) / cube.size < 0.01

    def test_drift_is_no_outlier(self):
        """The level of each frame is taken off for the rejection, and is in the result all the same."""
        rng = np.random.default_rng(4)
        drift = np.array([0.0, 40, 80, -60, 20])
        cube = (1000 + drift[:, None, None] + rng.normal(0, 5, (5, 30, 30))).astype(np.float32)
        noise = NoiseModel(5.0, None)
        assert stack(sources_of(cube), noise=noise).low > 500
        result = stack(sources_of(cube), noise=noise, zeros=drift)
        assert result.low + result.high < 5
        np.testing.assert_allclose(result.data.mean(), 1000 + drift.mean(), atol=0.3)

    def test_flags_that_are_not_excluded_stay(self):
        cube = np.array([[[1.0]], [[3.0]]], np.float32)
        masked = np.array([[[True]], [[False]]])
        assert stack(sources_of(cube, masked), reject="none").data == [[3]]
        assert stack(sources_of(cube, masked), reject="none", exclude=7).data == [[2]]

    def test_where_nothing_is_left(self):
        """NaN, a count of 0, and no error that could be taken for one."""
        cube = np.full((3, 2, 2), np.nan, np.float32)
        for method in ("average", "median"):
            result = stack(sources_of(cube), method=method, noise=NOISE)
            assert np.isnan(result.data).all()
            assert not result.count.any()


class TestErrors:
    """The error of a stack is its scatter about the truth."""

    @pytest.mark.parametrize("n", range(3, 11))
    @pytest.mark.parametrize("method", ["average", "median"])
    @pytest.mark.parametrize("source", ["propagated", "scatter"])
    def test_of_average_and_median(self, n, method, source):
        rng = np.random.default_rng(n)
        light = 400.0
        cube = rng.poisson(light * 1.5, (n, 100, 120)) / 1.5 + rng.normal(0, 6, (n, 100, 120))
        noise = NoiseModel(6.0, 1.5) if source == "propagated" else None
        reject = "noise" if noise else "none"
        result = stack(sources_of(cube), method=method, reject=reject, sigma=5.0, noise=noise)
        scatter = np.std(result.data - light)
        assert np.sqrt(np.mean(result.error**2)) == pytest.approx(scatter, rel=0.03)

    @pytest.mark.parametrize("method", ["average", "median"])
    def test_of_scaled_frames(self, method):
        """Read and shot noise scale with the frame."""
        rng = np.random.default_rng(5)
        levels = np.array([300.0, 400, 500, 450, 350])
        cube = np.array([rng.poisson(one * 1.5, (150, 150)) / 1.5 + rng.normal(0, 9, (150, 150)) for one in levels])
        result = stack(sources_of(cube), method=method, sigma=6.0, noise=NoiseModel(9.0, 1.5), scales=400 / levels)
        assert np.sqrt(np.mean(result.error**2)) == pytest.approx(np.std(result.data), rel=0.03)

    def test_sensitivity_noise_is_for_the_rejection_alone(self):
        cube = np.full((3, 2, 2), 10000, np.float32)
        one, other = (stack(sources_of(cube), noise=NoiseModel(5.0, 1.5, s)).error for s in (0.0, 0.5))
        np.testing.assert_array_equal(one, other)

    def test_maps_of_gain_and_read_noise(self):
        """Of several amplifiers."""
        cube = np.full((4, 6, 6), 900, np.float32)
        gain, read = np.ones((6, 6), np.float32), np.full((6, 6), 5, np.float32)
        gain[:, 3:], read[:, 3:] = 2.0, 8.0
        error = stack(sources_of(cube), noise=NoiseModel(read, gain)).error
        np.testing.assert_allclose(error, np.sqrt(900 / gain + read**2) / 2, rtol=1e-6)

    def test_maps_are_stacked_by_the_same_kernel(self):
        """Of arrays that cannot be written numba would compile it once more."""
        cube, one = np.full((4, 6, 6), 900, np.float32), np.ones((6, 6), np.float32)
        stack(sources_of(cube), noise=NoiseModel(5.0, 1.0))
        known = len(stack_strip.signatures)
        stack(sources_of(cube), noise=NoiseModel(5 * one, one))
        assert len(stack_strip.signatures) == known

    def test_one_value_tells_nothing_of_its_error(self):
        cube = np.full((1, 2, 2), 5, np.float32)
        assert np.isnan(stack(sources_of(cube), reject="none").error).all()
        np.testing.assert_array_equal(stack(sources_of(cube), noise=NoiseModel(5.0)).error, 5)

    def test_factors_of_the_median(self):
        draws = np.random.default_rng(6).standard_normal((40_000, 30))
        for n in (2, 3, 4, 5, 10, 17, 30):
            factor = np.std(np.median(draws[:, :n], axis=1)) * np.sqrt(n)
            assert MEDIAN_FACTORS[n - 1] == pytest.approx(factor, rel=0.015)


class TestStrips:
    """The result does not depend on how it was cut or on how many threads did it."""

    @pytest.mark.parametrize(
        "options",
        [
            {"noise": NOISE},
            {"noise": NOISE, "method": "median"},
            {"reject": "mad"},
            {"reject": "sigma", "sigma": 2.0},
            {"reject": "minmax"},
        ],
        ids=lambda options: "-".join(map(str, options)),
    )
    def test_same_bits(self, monkeypatch, options):
        cube, masked = cube_of("both", 7, shape=(41, 17))
        sources = sources_of(cube, masked)
        whole = stack(sources, workers=1, **options)
        for rows in (1, 4, 40):
            monkeypatch.setattr(_strips, "_STRIP_BYTES", rows * 7 * 17 * 8 + 1)
            monkeypatch.setattr(_strips, "_FETCH_BYTES", 0)
            for workers in (1, 2):
                cut = stack(sources, workers=workers, **options)
                for name in ("data", "error", "count"):
                    assert getattr(cut, name).tobytes() == getattr(whole, name).tobytes()
                assert (cut.low, cut.high) == (whole.low, whole.high)

    def test_within_a_task(self):
        cube, masked = cube_of("both", 5)
        graph = TaskGraph()
        graph.add("a", lambda outcomes: stack(sources_of(cube, masked), noise=NOISE))
        done = run_graph(graph, workers=2)["a"].value
        assert done.data.tobytes() == stack(sources_of(cube, masked), noise=NOISE).data.tobytes()

    @pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "u2", "i4"])
    def test_pixel_types(self, dtype):
        cube = (cube_of("random", 5)[0] + 1000).astype(dtype)
        result = stack(sources_of(cube), reject="none")
        assert (result.data.dtype, result.error.dtype, result.count.dtype) == (np.float32, np.float32, np.uint16)
        np.testing.assert_allclose(result.data, cube.astype("f8").mean(axis=0), rtol=3e-7)

    def test_sums_are_exact_to_the_last_bit_of_float32(self):
        """Of many frames at a high level."""
        cube = np.random.default_rng(1).normal(60000, 3, (200, 3, 5)).astype(np.float32)
        result = stack(sources_of(cube), reject="none")
        np.testing.assert_array_equal(result.data, cube.mean(axis=0, dtype="f8").astype("f4"))

    def test_the_sources_stay_as_they_are(self):
        cube, masked = cube_of("random", 5)
        before = cube.copy()
        stack(sources_of(cube, masked), noise=NOISE, scales=[2.0] * 5, zeros=[1.0] * 5)
        np.testing.assert_array_equal(cube, before)


@pytest.mark.parametrize("shape", [(1, 1), (5, 7)])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_median_of_the_good(n, shape):
    rng = np.random.default_rng(n)
    cube = rng.normal(0, 1, (n, *shape)).astype(np.float32)
    good = rng.random(cube.shape) < 0.6
    good[0, 0, 0] = True
    expected = combined(cube, good, "median")
    result = stack(sources_of(np.where(good, cube, np.nan)), method="median", reject="none")
    np.testing.assert_allclose(result.data, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "mean"}, "method = 'mean' is not known; known are average, median"),
        ({"reject": "ccdclip"}, "reject = 'ccdclip' is not known; known are noise, sigma"),
        ({"reject": None}, "reject = None"),
        ({"sigma": 0, "noise": NOISE}, "sigma = 0; it must be larger than 0"),
        ({"sigma": np.nan, "noise": NOISE}, "sigma = nan"),
        ({"reject": "noise"}, "needs the read noise"),
        ({"reject": "none", "scales": [1.0]}, "scales: 1 values for 3 frames"),
        ({"reject": "none", "zeros": [1.0] * 4}, "zeros: 4 values for 3 frames"),
    ],
)
def test_wrong_use(options, words):
    with pytest.raises(ValueError, match=words):
        stack(sources_of(np.ones((3, 2, 2))), **options)


def test_no_frames():
    with pytest.raises(InputError, match="no frames given"):
        stack([], reject="none")
