"""Compiled kernels against numpy and astropy, on what is drawn and on what hypothesis thinks of."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.stats import sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import ccdnight
from ccdnight._kernels._jit import kernel, on_first_compile
from ccdnight._kernels.decode import decode_int16
from ccdnight._kernels.finish import finish_master
from ccdnight._kernels.groups import number_groups
from ccdnight._kernels.moments import pick_between, sums_within
from ccdnight._kernels.order import BISECT, WIDTH, middle_values, selection_network, sorting_network, values_of_rank
from ccdnight._kernels.spread import ROOM, middle_of_three, ranges_without_highest
from ccdnight._kernels.words import sum_of_halves, sum_of_words
from ccdnight.smoothing import gaussian_smooth
from ccdnight.stacking import NoiseModel, stack
from ccdnight.statistics import medians_of_rows

#: Astropy 7.0 forgets what it has rejected when a round leaves nothing; later ones and ours keep to it.
with np.errstate(invalid="ignore"):
    ASTROPY_FORGETS = not np.ma.getmaskarray(sigma_clip(np.array([[0.0], [1.0]]), sigma=0.5, axis=0)).all()


class Rows:
    """An array as a frame; NaN is masked."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype

    def fill(self, rows, out, _exclude):
        out[...] = self.data[rows]


class PackedRows(Rows):
    """Whole numbers of 16 bits, as they would lie in a file."""

    packed_zero = 32768

    def fill_packed(self, rows, out):
        stored = (self.data[rows].astype(np.int32) - 32768).astype(">i2")
        out[...] = stored.reshape(-1).view(np.uint16)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (40, 2), (64, 70)])
@pytest.mark.parametrize(("sigma", "truncate"), [(0.3, 4), (1.5, 3), (1.5, 4), (5.0, 3)])
def test_smoothing_is_that_of_scipy(shape, sigma, truncate):
    values = np.random.default_rng(1).normal(100, 30, shape)
    expected = gaussian_filter(values, sigma, mode="nearest", truncate=truncate)
    np.testing.assert_allclose(gaussian_smooth(values, sigma, truncate=truncate), expected, rtol=2e-6)


@pytest.mark.parametrize("members", [1, 2, 7, 300])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 2])
def test_groups_are_those_of_scipy(members, share):
    rng = np.random.default_rng(members)
    pairs = rng.integers(0, members, (2, int(share * members)))
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(members, members))
    number, expected = connected_components(graph, directed=False)
    label = np.empty(members, np.int64)
    assert number_groups(*pairs, label) == number
    np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 1000])
def test_sums_of_words_are_those_of_numpy(size):
    values = np.random.default_rng(size).integers(0, 2**32, size, dtype=np.uint32)
    assert sum_of_words(values) == values.sum(dtype=np.uint64)
    halves = (values >> 16).astype(np.uint16)
    turned = np.append(halves ^ 0x8000, np.zeros(size % 2, np.uint16)).astype(np.uint64)
    assert sum_of_halves(halves) == (turned[::2] << 16).sum() + turned[1::2].sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_passes_over_values_are_those_of_numpy(size, dtype):
    values = np.random.default_rng(size).integers(-20, 20, size).astype(dtype)
    away = values[np.abs(values - 1.0) <= 7].astype(float) - 1.0
    assert sums_within(values, 1.0, 7.0) == (away.size, away.sum(), (away**2).sum())
    room = np.empty(size + 1, dtype)
    below, taken = pick_between(values, -3.0, 5.0, room)
    assert below == (values < -3).sum()
    np.testing.assert_array_equal(room[:taken], values[(values >= -3) & (values <= 5)])
    if taken > 3:
        assert pick_between(values, -3.0, 5.0, room[:3]) == (below, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["noise", "ties", "sorted", "nan", "infinite", "signs", "wide"])
@pytest.mark.parametrize("width", [1, 2, 3, 24, 25, 300])
def test_medians_of_rows_are_those_of_numpy(kind, width, dtype):
    rng = np.random.default_rng(width)
    data = rng.normal(1000, 5, (200, width)).astype(dtype)
    data = {
        "ties": np.rint(data / 5),
        "sorted": np.sort(data, axis=1)[:, ::-1].copy(),
        "signs": np.rint((data - 1000) / 4),
        "wide": np.sinh((data - 1000) * 3),
    }.get(kind, data)
    if kind in ("nan", "infinite"):
        data[rng.random(data.shape) < 0.3] = np.nan if kind == "nan" else np.inf
    before, out = data.copy(), medians_of_rows(data)
    np.testing.assert_array_equal(data, before)
    assert out.dtype == dtype
    lost = np.isnan(data).all(axis=1)
    assert np.isnan(out[lost]).all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(out[~lost], np.nanmedian(data[~lost], axis=1), rtol=2e-7)


@pytest.mark.parametrize("n", [3, 4, 9])
def test_ranges_are_those_of_sorted_values(n):
    rng = np.random.default_rng(n)
    images, levels = rng.normal(1000, 5, (n, 12, 50)).astype(np.float32), rng.normal(1000, 5, (n, 8)).astype(np.float32)
    images[:, 4], images[1, 5, ::3] = np.rint(images[:, 4]), np.nan
    spread, middle = np.full((2, 12, 50), -1, np.float32)
    ranges_without_highest(images, (3, 11, 4, 47), levels, np.empty(ROOM, np.float32), spread)
    off = np.nan_to_num(images[:, 3:11, 4:47] - levels[:, :, None])
    off = np.sort(off, axis=0)
    np.testing.assert_array_equal(spread[3:11, 4:47], off[-2] - off[0])
    spread[3:11, 4:47] = -1
    assert (spread == -1).all()
    middle_of_three(images, middle)
    np.testing.assert_array_equal(middle, np.median(images[:3], axis=0))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("common", [True, False])
def test_a_master_is_finished_as_numpy_would(strict, common):
    rng = np.random.default_rng(3)
    data, error = rng.normal(1000, 400, 5000).astype(np.float32), rng.random(5000).astype(np.float32)
    data[::97], data[::89], error[::101] = np.nan, np.inf, np.nan
    count, extra = rng.integers(0, 6, 5000).astype(np.uint16), rng.random(5000 if common else 0).astype(np.float32)
    norm, share = np.float32(1000), np.float32(0.2)
    dead = np.float32(0.5 if strict else -np.inf)
    out, sigma, flags = np.empty(5000, np.float32), np.empty(5000, np.float32), np.empty(5000, np.uint16)
    rule = (dead, np.float32(2.5), np.uint16(8), np.uint16(64), strict)
    lost = finish_master((data, error, count), extra, (norm, share), rule, out, sigma, flags)
    value = data / norm
    empty = (count == 0) | ~np.isfinite(value)
    blind = empty | (value < dead)
    usable = np.isfinite(value) & ~(blind & strict)
    np.testing.assert_array_equal(flags, np.where(blind, 8, 0) | np.where(~empty & (count < 2.5), 64, 0))
    np.testing.assert_array_equal(out, np.where(usable, value, np.nan))
    noise = np.hypot(error / norm, extra * share) if common else error / norm
    np.testing.assert_allclose(sigma, np.where(usable & np.isfinite(error), noise, 0), rtol=3e-7)
    assert lost == np.count_nonzero(~usable)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 13, 31, 64, 100])
def test_the_network_sorts(n):
    """By the 0-1 principle, tried on random permutations for more than a dozen."""
    table = sorting_network(n)
    x = np.random.default_rng(n).permuted(np.tile(np.arange(n), (500, 1)), axis=1).T.copy()
    if n <= 8:
        x = np.array(list(itertools.product((0, 1), repeat=n))).T.copy()
    some = x.copy()
    for low, high, needed, *first in table:
        x[[low, high]] = np.minimum(x[low], x[high]), np.maximum(x[low], x[high])
        if needed:
            some[[low, high]] = np.minimum(some[low], some[high]), np.maximum(some[low], some[high])
        else:
            assert not any(first)
    assert (np.diff(x, axis=0) >= 0).all()
    of_interest = [0, (n - 1) // 2, n // 2, n - 1]
    np.testing.assert_array_equal(some[of_interest], x[of_interest])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [5, 6, 64, 129, 200])
@pytest.mark.parametrize("network", [True, False])
def test_order_statistics(n, dtype, network):
    """By network and by bisection, with values left out, equal, huge, tiny and of both signs."""
    rng = np.random.default_rng(n)
    x = rng.normal(0, 3, (n, 300)).astype(dtype)
    x[:, :100] = np.rint(x[:, :100])
    x[0, 100:103], x[1, 103], x[2, 104] = (1e38, -1e38, 1e-38), 3e38, -3e38
    x[rng.random(x.shape) < 0.3] = np.inf
    whole = np.zeros(11 * WIDTH, np.int32)
    count = (x < np.inf).sum(axis=0)
    whole[2 * WIDTH : 2 * WIDTH + 300] = count
    own, rows, w = np.empty(11 * WIDTH, dtype), np.empty_like(x), np.arange(300)
    ordered = np.sort(x, axis=0)
    table = sorting_network(n) if network else BISECT
    middle_values(x, 300, 2 * WIDTH, table, rows, own, whole)
    np.testing.assert_array_equal(own[:300], ordered[(count - 1) // 2, w])
    np.testing.assert_array_equal(own[WIDTH : WIDTH + 300], ordered[count // 2, w])
    rank = (rng.random(300) * count).astype(np.int32)
    values_of_rank(x, 300, rank, table, rows, own, whole, 0)
    np.testing.assert_array_equal(own[:300], ordered[rank, w])


@pytest.mark.parametrize("n", [2, 5, 9, 49])
def test_values_of_one_rank(n):
    """By the comparators that it depends on, from a block that is left as it was."""
    x = np.random.default_rng(n).normal(size=(n, 300)).astype(np.float32)
    before, ordered, rows = x.copy(), np.sort(x, axis=0), np.full_like(x, np.nan)
    own, whole = np.empty(11 * WIDTH, np.float32), np.zeros(11 * WIDTH, np.int32)
    full = sorting_network(n)
    for rank in {0, n // 3, n // 2, n - 1}:
        table = selection_network(full, rank)
        assert table.shape[1] == full.shape[1]
        assert len(table) <= len(full)
        values_of_rank(x, 300, np.full(300, rank, np.int32), table, rows, own, whole, 0)
        np.testing.assert_array_equal(own[:300], ordered[rank])
        np.testing.assert_array_equal(x, before)


def stacks(kind, n, dtype):
    rng = np.random.default_rng(n)
    cube = rng.normal(1000, 5, (n, 13, 17))
    hit = rng.random(cube.shape) < 0.1
    cube[hit] += rng.choice([-400, 30, 5000], hit.sum())
    if kind == "tied":
        cube = np.rint(cube / 4) * 4
    elif kind == "few values":
        cube = rng.integers(0, 3, cube.shape).astype(float)
    elif kind == "masked":
        cube[rng.random(cube.shape) < 0.3] = np.nan
        cube[:, 0, 0] = np.nan
        cube[1:, 0, 1] = np.nan
    elif kind == "constant":
        cube[:] = 0.1
    elif kind == "heavy tails":
        cube = rng.standard_cauchy(cube.shape)
    return cube.astype(dtype)


@pytest.mark.filterwarnings("ignore:Input data contains invalid values", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["random", "tied", "few values", "masked", "constant", "heavy tails"])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 9, 10, 17, 150])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rejected_sets_are_astropys(kind, n, dtype):
    """Every combination of center, deviation, asymmetry and rounds; the same values, bit for bit."""
    cube = stacks(kind, n, dtype)
    choices = itertools.product(("median", "mean"), ("std", "mad_std"), (1.5, 2.5, 3.0), (2.0, 2.5), (1, 2, 5, None))
    for center, deviation, low, high, maxiters in choices:
        options = {"sigma_lower": low, "sigma_upper": high, "cenfunc": center, "stdfunc": deviation}
        clipped = sigma_clip(cube, **options, maxiters=maxiters, axis=0)
        result = stack(
            [Rows(one) for one in cube],
            reject="sigma" if deviation == "std" else "mad",
            sigma=(low, high),
            center=center,
            maxiters=-1 if maxiters is None else maxiters,
            minimum=0,
            keep=True,
            uncertainty="none",
            dtype=float,
        )
        kept = ~np.ma.getmaskarray(clipped)
        if ASTROPY_FORGETS:
            kept &= result.keep.any(axis=0)
        np.testing.assert_array_equal(result.keep, kept, err_msg=str(options))
        mean = np.nanmean(np.where(kept, cube, np.nan).astype(float), axis=0)
        np.testing.assert_allclose(result.data, mean, rtol=1e-12, atol=1e-12)


VALUES = st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3).map(float) | st.just(float("nan"))


@pytest.mark.filterwarnings("ignore:Input data contains invalid values", "ignore::RuntimeWarning")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    cube=hnp.arrays(np.float32, st.tuples(st.integers(2, 12), st.just(1), st.integers(1, 6)), elements=VALUES),
    sigma=st.sampled_from([1.0, 1.7, 2.5, 3.0]),
    center=st.sampled_from(["median", "mean"]),
    deviation=st.sampled_from(["std", "mad_std"]),
    method=st.sampled_from(["average", "median", "sum"]),
)
def test_any_stack(cube, sigma, center, deviation, method):
    """What is kept is what astropy keeps, up to values on the very edge, and the result is that of what is kept."""
    reject = "sigma" if deviation == "std" else "mad"
    options = {"reject": reject, "sigma": sigma, "center": center, "minimum": 0, "uncertainty": "none", "dtype": float}
    result = stack([Rows(one) for one in cube], method=method, keep=True, **options)
    _, low, high = sigma_clip(
        cube, sigma=sigma, cenfunc=center, stdfunc=deviation, maxiters=5, axis=0, return_bounds=True
    )
    good = np.isfinite(cube)
    with np.errstate(invalid="ignore"):
        kept = good & ~((cube < low) | (cube > high))
        edge = np.isclose(cube, low, rtol=1e-12, atol=0) | np.isclose(cube, high, rtol=1e-12, atol=0)
    same = ((result.keep == kept) | edge).all(axis=0)
    if ASTROPY_FORGETS:
        same |= ~result.keep.any(axis=0)
    values = np.where(result.keep, cube, np.nan).astype(float)
    some = result.keep.any(axis=0)
    plain = {"average": np.nanmean, "median": np.nanmedian, "sum": np.nansum}[method](values, axis=0)
    np.testing.assert_allclose(result.data[some], plain[some], rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(result.count, result.keep.sum(axis=0))
    assert result.low + result.high == (good & ~result.keep).sum()


@pytest.mark.parametrize("maxiters", [1, -1])
@pytest.mark.parametrize("n", [3, 5, 8, 140])
@pytest.mark.parametrize(("shape", "hit", "spread"), [((6, 8), 0.15, 25), ((20, 300), 2e-4, 10)])
def test_the_noise_rule_is_ccdclip(n, maxiters, shape, hit, spread):
    """Its plain statement, with scales, asymmetric thresholds, a pedestal and rounds, and the error of what is left."""
    rng = np.random.default_rng(n)
    cube = rng.normal(900, spread, (n, *shape))
    cube[rng.random(cube.shape) < hit] += 600
    cube[rng.random(cube.shape) < hit / 3] -= 500
    cube[0, 0, :3] = np.nan
    scales, noise = rng.uniform(0.8, 1.2, n), NoiseModel(9.0, 1.7, 0.01, pedestal=200.0)
    options = {"noise": noise, "sigma": (2.5, 3.5), "scales": scales, "maxiters": maxiters, "minimum": 0}
    result = stack([Rows(one / scale) for one, scale in zip(cube, scales, strict=True)], keep=True, **options)
    keep = np.isfinite(cube)
    while True:
        median = np.ma.median(np.ma.array(cube, mask=~keep), axis=0).filled(np.nan)
        signal = np.maximum(median - 200, 0)
        f = scales[:, None, None]
        width = np.sqrt((f * 9.0) ** 2 + f * signal / 1.7 + (0.01 * signal) ** 2)
        new = keep & (cube - median >= -2.5 * width) & (cube - median <= 3.5 * width)
        lost, keep = (new != keep).any(), new
        if not lost or maxiters == 1:
            break
    np.testing.assert_array_equal(result.keep, keep)
    assert result.low + result.high == np.isfinite(cube).sum() - keep.sum() > 0
    count, some = np.maximum(keep.sum(axis=0), 1), keep.any(axis=0)
    signal = np.maximum(np.where(keep, cube, 0).sum(axis=0) / count - 200, 0)
    variance = np.where(keep, (f * 9.0) ** 2 + f * signal / 1.7, 0).sum(axis=0)
    np.testing.assert_allclose(result.error[some], (np.sqrt(variance) / count)[some], rtol=1e-6)
    assert np.isnan(result.error[~some]).all()


def test_values_that_are_kept_at_least():
    """Those nearest to the center come back first; if none is left, the lowest, since cosmic rays only add."""
    cube = np.array([0.0, 1, 2, 50, 100])[:, None, None]
    frames, noise = [Rows(one) for one in cube], NoiseModel(0.1)
    for minimum, kept in ((0, [2]), (1, [2]), (2, [1, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 50]), (9, [0, 1, 2, 50, 100])):
        result = stack(frames, noise=noise, minimum=minimum, keep=True)
        assert cube[result.keep].tolist() == kept
        assert result.low + result.high + result.count[0, 0] == 5
    two = stack([Rows(np.array([[9.0]])), Rows(np.array([[1.0]]))], noise=noise, minimum=1)
    assert (two.data, two.low, two.high) == ([[1]], 0, 1)


@pytest.mark.parametrize("n", [5, 8])
def test_values_given_back_to_sigma_clipping(n):
    """They are the ones nearest to the median, whatever lay in memory where it should have been."""
    cube = np.random.default_rng(n).normal(1000, 30, (n, 40, 50)).astype(np.float32)
    result = stack([Rows(one) for one in cube], reject="sigma", sigma=0.5, maxiters=1, minimum=n - 2, keep=True)
    off = np.abs(cube.astype(float) - np.median(cube.astype(float), axis=0))
    inside = off <= 0.5 * cube.std(axis=0, dtype=float)
    nearest = np.argsort(np.argsort(off, axis=0), axis=0) < n - 2
    assert (inside.sum(axis=0) < n - 2).mean() > 0.5
    # Where none is left the lowest value is the center.
    some = inside.any(axis=0)
    np.testing.assert_array_equal(result.keep[:, some], (inside | nearest)[:, some])


def test_thresholds_are_no_rejection():
    cube = np.array([-5.0, 1, 2, 3, 70000])[:, None, None]
    result = stack([Rows(one) for one in cube], reject="none", thresholds=(0, 60000), maps=True)
    assert (result.data, result.count, result.low, result.high) == ([[2]], [[3]], 0, 0)


@pytest.mark.parametrize("n", [2, 3, 6, 11, 140, 300])
@pytest.mark.parametrize("method", ["average", "median", "sum"])
def test_packed_values(n, method):
    """What is decoded where it is used gives the same as what was decoded before."""
    rng = np.random.default_rng(n)
    cube = np.rint(rng.normal(1000, 6, (n, 29, 61)))
    cube[rng.random(cube.shape) < 0.03] = 65535
    cube = cube.clip(0, 65535).astype(np.float32)
    rules = [
        {"reject": "sigma", "sigma": 2.0, "maxiters": 1},
        {"reject": "sigma", "sigma": (1.5, 2.5), "maxiters": 5, "minimum": min(n, 3)},
        {"reject": "sigma", "sigma": (None, 2.0), "maxiters": 1, "thresholds": (990, 60000), "minimum": 1},
        {"reject": "mad", "sigma": 3.0},
        {"reject": "minmax"},
        {"reject": "noise", "noise": NoiseModel(5.0, 2.0)},
        {"reject": "none"},
    ]
    for rule, error in itertools.product(rules, ("none", "std", "empirical", "mad_std")):
        options = {"method": method, "uncertainty": error, "dtype": float, "maps": True, "keep": True, **rule}
        packed = stack([PackedRows(one) for one in cube], **options)
        plain = stack([Rows(one) for one in cube], **options)
        np.testing.assert_array_equal(packed.keep, plain.keep, err_msg=str(rule))
        np.testing.assert_array_equal(packed.high_map, plain.high_map)
        np.testing.assert_allclose(packed.data, plain.data, rtol=1e-14)
        np.testing.assert_allclose(packed.error, plain.error, rtol=1e-5)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 33, 256, 257])
@pytest.mark.parametrize("maxiters", [1, 2, None])
@pytest.mark.parametrize("sides", [(2.0, 2.0), (1.5, 3.0), (None, 2.5)])
def test_whole_numbers_are_clipped_as_astropy_clips(n, maxiters, sides):
    """Of which only sums and counts are wanted: sorted and summed as integers, with many ties and extremes."""
    rng = np.random.default_rng(n)
    shape = (n, 17, 40)
    quiet, wide = np.rint(rng.normal(1000, 1, shape)), np.rint(rng.normal(30000, 9000, shape))
    tails, two = np.rint(5000 + 40 * rng.standard_cauchy(shape)), rng.choice([0, 65535], shape)
    kinds = rng.integers(0, 5, shape[1:])
    cube = np.select([kinds == 0, kinds == 1, kinds == 2, kinds == 3], [quiet, wide, tails, two], 1234)
    cube = cube.clip(0, 65535).astype(float)
    options = {"uncertainty": "std", "dtype": float, "maps": True, "minimum": 0}
    options |= {"reject": "sigma", "sigma": sides, "maxiters": -1 if maxiters is None else maxiters}
    # An infinite threshold times a scatter of 0 would be none at all to astropy.
    low, high = (1e9 if side is None else side for side in sides)
    clipped = sigma_clip(cube, sigma_lower=low, sigma_upper=high, maxiters=maxiters, axis=0, cenfunc="median")
    found = stack([PackedRows(one) for one in cube], **options)
    np.testing.assert_array_equal(found.count, clipped.count(axis=0))
    np.testing.assert_array_equal(found.low_map + found.high_map, n - clipped.count(axis=0))
    np.testing.assert_allclose(found.data, clipped.mean(axis=0), rtol=1e-7)
    # Squares of such differences are summed in float32.
    error = clipped.std(axis=0) / np.sqrt(clipped.count(axis=0))
    np.testing.assert_allclose(found.error, error, rtol=2e-5, atol=1e-9)
    total = stack([PackedRows(one) for one in cube], method="sum", **options)
    np.testing.assert_allclose(total.data, clipped.sum(axis=0), rtol=1e-7)


def test_whole_numbers_of_unlike_zeros():
    """Signed and unsigned integers in one stack: the same numbers in the files are not the same values."""
    cube = np.rint(np.random.default_rng(3).normal(900, 5, (6, 8, 40)))
    cube[2, 4, 7] = 9000
    frames = [PackedRows(one.astype(float)) for one in cube]
    signed = PackedRows(cube[2])
    signed.packed_zero = 0
    signed.fill_packed = lambda rows, out: np.copyto(out, cube[2][rows].astype(">i2").reshape(-1).view(np.uint16))
    options = {"reject": "sigma", "sigma": 2.0, "maxiters": 1, "minimum": 0, "uncertainty": "std", "dtype": float}
    mixed, same = stack([*frames[:2], signed, *frames[3:]], **options), stack(frames, **options)
    np.testing.assert_array_equal(mixed.data, same.data)
    np.testing.assert_array_equal(mixed.count, same.count)
    assert same.count[4, 7] < 6


@pytest.mark.parametrize("size", [1e-30, 1e-21, 1e18, 1e25])
@pytest.mark.parametrize("maxiters", [1, 5])
def test_squares_beyond_float32(size, maxiters):
    """An outlier is found where its square, or those of all values, cannot be held."""
    cube = np.random.default_rng(2).normal(0, 1, (10, 6, 7))
    cube[3, 2, 2] = 1e6
    cube = (cube * size).astype(np.float32)
    options = {"sigma": 2.5, "maxiters": maxiters}
    kept = ~np.ma.getmaskarray(sigma_clip(cube.astype(float), **options, cenfunc="median", axis=0))
    result = stack([Rows(one) for one in cube], reject="sigma", **options, minimum=0, uncertainty="none", keep=True)
    np.testing.assert_array_equal(result.keep, kept)


def test_weights():
    """Of frames and of values; what is rejected has none."""
    rng = np.random.default_rng(1)
    cube, weights = rng.normal(100, 5, (6, 7, 8)), rng.uniform(1, 3, (6, 7, 8))
    cube[2, 3, 4] = 1e5
    frames, noise = [Rows(one) for one in cube], NoiseModel(5.0)
    for some, full in ((weights, weights), (weights[:, 0, 0], np.broadcast_to(weights[:, :1, :1], cube.shape))):
        result = stack(frames, noise=noise, sigma=6.0, weights=some, keep=True, dtype=float)
        used = np.where(result.keep, full, 0)
        np.testing.assert_allclose(result.data, (used * cube).sum(axis=0) / used.sum(axis=0), rtol=1e-10)
        np.testing.assert_allclose(result.error, 5 * np.sqrt((used**2).sum(axis=0)) / used.sum(axis=0), rtol=1e-6)
        assert not result.keep[2, 3, 4]


class TestTellOfCompiling:
    """The first run says why it takes longer; later ones say nothing."""

    def test_once_and_only_then(self, tmp_path):
        code = (
            "import numpy as np\n"
            "from ccdnight._kernels._jit import on_first_compile\n"
            "from ccdnight._kernels.decode import decode_int16\n"
            "stop = on_first_compile(lambda: print('told'))\n"
            "for dtype in (np.float32, np.float64):\n"
            "    decode_int16(np.zeros(4, np.uint16), np.float32(0), np.zeros(4, dtype))\n"
            "print('done')\n"
        )
        told = []
        for _ in range(2):
            environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
            done = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
            )
            told.append(done.stdout.split())
        assert told == [["told", "done"], ["done"]]

    def test_not_after_the_end(self):
        calls = []
        on_first_compile(lambda: calls.append(1))()
        decode_int16(np.zeros(4, np.uint16), np.float32(0), np.zeros(4, np.int8))
        assert not calls


class TestNamesInTheCache:
    """Processes that fill the cache together, in any order, get the kernels that they ask for."""

    def test_functions_within_functions_are_refused(self):
        """
        Medians along rows and along columns were such, alike in all but a number that counts what was compiled before.

        Where two processes compiled them, one was run for the other, and flagged the border as cosmic rays.
        """

        def nested(values):
            return values

        with pytest.raises(ValueError, match="nested is made within a function"):
            kernel(nested)

    def test_all_are_made_by_this_decorator(self):
        """So that none escapes the check."""
        package = Path(ccdnight.__file__).parent
        importing = [
            path for path in package.rglob("*.py") if re.search(r"(?m)^\s*(from|import) numba", path.read_text())
        ]
        assert importing == [package / "_kernels" / "_jit.py"]
