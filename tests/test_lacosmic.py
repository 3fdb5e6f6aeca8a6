"""The fast engine of LA Cosmic against astroscrappy: the same pixels, and the same values to the last bit."""

import numpy as np
import pytest
from astropy.nddata import CCDData
from numpy.testing import assert_array_equal

from ccdnight._lacosmic import _middle_value
from ccdnight.cosmicrays import flag_cosmic_rays
from ccdnight.execution import TaskGraph, run_graph
from ccdnight.flags import FLAGS
from ccdnight.products import make_ccd

COSMIC, BAD = FLAGS["COSMIC_RAY"].value, FLAGS["BAD_PIXEL"].value


def field(seed=1, shape=(70, 80), *, hits=30, stars=8, full_well=50000.0):
    """Sky of 300 electron, stars, some of them saturated, and straight tracks; some reach the edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    data = np.full(shape, 300.0)
    for cy, cx, peak in rng.uniform((0, 0, 1e3), (*shape, 9e4), (stars, 3)):
        data += peak * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / 1.3**2)
    data = rng.poisson(data) + rng.normal(0, 6, shape)
    for _ in range(hits):
        start, angle, length = rng.uniform((0, 0), shape), rng.uniform(0, 2 * np.pi), rng.integers(1, 12)
        for step in range(length):
            j, i = (start + step * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            if 0 <= j < shape[0] and 0 <= i < shape[1]:
                data[j, i] += rng.exponential(600)
    return np.minimum(data, full_well)


def electron(data, flags=None, sigma=None, **meta):
    return make_ccd(data, unit="electron", sigma=sigma, flags=flags, meta={"RDNOISE": 6.0} | meta)


def assert_same(ccd, **options):
    """Both engines flag the same pixels and would replace them by the same values; the result of the fast one."""
    fast, slow = (flag_cosmic_rays(ccd, engine=engine, clean=True, **options) for engine in ("fast", "astroscrappy"))
    assert_array_equal(fast.flags, slow.flags)
    assert_array_equal(fast.data, slow.data)
    return fast


def options_of(data, background, variance):
    """A background in stripes, and a variance that is not quite that of the model."""
    rng, columns = np.random.default_rng(5), np.arange(data.shape[1])
    extra = {"background": (250 + 50 * np.sin(columns / 5)) * np.ones_like(data)} if background else {}
    return extra | ({"variance": np.abs(data) * rng.uniform(0.5, 2, data.shape) + 30} if variance else {})


@pytest.mark.parametrize("cleantype", ["meanmask", "medmask"])
@pytest.mark.parametrize("niter", [1, 4])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("satlevel", [None, 49000.0])
@pytest.mark.parametrize("masked", [False, True])
def test_every_combination(cleantype, niter, background, variance, satlevel, masked):
    data = field()
    flags = np.zeros(data.shape, np.uint16)
    if masked:
        # Scattered, a block that leaves pixels without good neighbors, and two in corners.
        flags[np.random.default_rng(2).random(data.shape) < 0.05] = BAD
        flags[20:34, 20:36], flags[0, 0], flags[-1, 40] = BAD, BAD, BAD
    extra = options_of(data, background, variance)
    result = assert_same(electron(data, flags), cleantype=cleantype, niter=niter, satlevel=satlevel, **extra)
    assert result.meta["NCOSMIC"] > 30


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("gain", [1.0, 1.7, 0.3])
def test_thresholds_and_gains(seed, gain):
    """Random thresholds, saturation down to the sky, levels around 0, whole numbers."""
    rng = np.random.default_rng(seed)
    data = field(seed, tuple(rng.integers(8, 90, 2)), hits=20 + 20 * (seed % 3)) - 300 * (seed % 4 == 0)
    data = np.rint(data) if seed % 3 == 0 else data
    names = ("sigclip", "sigfrac", "objlim", "satlevel", "read_noise", "niter", "cleantype")
    values = (
        [4.5, 3, 6, 2],
        [0.3, 0.5, 1, 0.1],
        [5, 2, 1, 0.5],
        [9e4, 1e4, 900],
        [2, 6, 15],
        [2, 5],
        ["meanmask", "medmask"],
    )
    options = {name: rng.choice(value) for name, value in zip(names, values, strict=True)}
    mask = np.where(rng.random(data.shape) < rng.choice([0, 0.1, 0.4]), BAD, 0)
    extra = options_of(data, rng.random() < 0.3, rng.random() < 0.3)
    assert_same(electron(data, mask), gain=gain, **options, **extra)


@pytest.mark.parametrize("shape", [(8, 8), (8, 200), (9, 8), (13, 9), (48, 256), (49, 257), (120, 300), (16, 1100)])
def test_shapes(shape):
    """Smaller than the filters, and just as large as tiles or a little larger."""
    data = field(3, shape, hits=max(3, shape[0] * shape[1] // 300))
    assert_same(electron(data), satlevel=40000.0)


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(workers):
    data = field(4, (300, 310), hits=200)
    result = assert_same(electron(data), workers=workers)
    assert result.meta["NCOSMIC"] > 200


def test_inside_a_task():
    """Strips of a task on a pool run in its own thread."""
    ccd = electron(field(4))
    graph = TaskGraph()
    for name in "abc":
        graph.add(name, lambda outcomes: flag_cosmic_rays(ccd).flags)
    expected = flag_cosmic_rays(ccd, engine="astroscrappy").flags
    for outcome in run_graph(graph, workers=3).values():
        assert_array_equal(outcome.value, expected)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "f8", "i4", ">i2", "u2"])
def test_types(dtype):
    data = np.clip(field(5, full_well=30000), 0, None).astype(dtype)
    ccd = CCDData(data, unit="electron", meta={"RDNOISE": 6.0})
    expected = flag_cosmic_rays(electron(data.astype(np.float32)), engine="astroscrappy")
    assert_array_equal(flag_cosmic_rays(ccd).flags, expected.flags)
    assert ccd.data.dtype == np.dtype(dtype)


def test_values_that_are_not_finite():
    """They are not flagged themselves and make nobody else look like a cosmic ray."""
    data = field(6)
    expected = flag_cosmic_rays(electron(data)).flags
    sigma = np.full(data.shape, 20.0)
    for value, place in ((np.nan, (40, 40)), (np.inf, (50, 10)), (-np.inf, (0, 5)), (np.nan, (69, 79))):
        data[place], sigma[place] = value, value
    result = assert_same(CCDData(data, unit="electron", meta={"RDNOISE": 6.0}))
    # Not further off than the filters reach.
    assert_array_equal(result.flags[:30, 20:] & COSMIC, expected[:30, 20:])
    assert not result.flags[40, 40] & COSMIC
    assert_same(electron(data, sigma=sigma))


@pytest.mark.parametrize("value", [0.0, 300.0, -5.0])
def test_constant_frames(value):
    assert assert_same(electron(np.full((40, 50), value)), satlevel=250.0).meta["NCOSMIC"] == 0


@pytest.mark.parametrize("variance", [False, True])
def test_all_masked(variance):
    data = field(7)
    flags = np.full(data.shape, BAD)
    assert assert_same(electron(data, flags), **options_of(data, True, variance)).meta["NCOSMIC"] == 0


def test_a_frame_full_of_hits():
    """Every pixel is looked at again in every iteration, and some have no good neighbor."""
    data = field(8, (100, 300), hits=2000)
    assert assert_same(electron(data), sigclip=2.0, objlim=0.5, niter=6).meta["NCOSMIC"] > 3000


@pytest.mark.parametrize("options", [{"sepmed": False}, {"fsmode": "convolve"}, {"cleantype": "idw"}])
def test_what_is_handed_over(options):
    """The fast engine does not know them, astroscrappy does."""
    import astroscrappy

    data = field(9).astype(np.float32)
    mask, cleaned = astroscrappy.detect_cosmics(data, readnoise=6.0, satlevel=np.inf, **options)
    result = assert_same(electron(data), **options)
    assert_array_equal((result.flags & COSMIC) > 0, mask)
    assert_array_equal(result.data, cleaned)


@pytest.mark.parametrize("options", [{"psfmodel": "moffat", "psfbeta": 3.0}, {"psffwhm": 3.5, "psfsize": 9}])
def test_point_spread_functions_are_handed_over(options):
    import astroscrappy

    data = field(9).astype(np.float32)
    options = options | {"fsmode": "convolve"}
    mask, _ = astroscrappy.detect_cosmics(data, readnoise=6.0, satlevel=np.inf, **options)
    assert_array_equal((flag_cosmic_rays(electron(data), **options).flags & COSMIC) > 0, mask)
    kernel = astroscrappy.astroscrappy.gausskernel(3.5, 9).astype(np.float64)
    if "psffwhm" in options:
        given = flag_cosmic_rays(electron(data), fsmode="convolve", psfk=kernel)
        assert_array_equal((given.flags & COSMIC) > 0, mask)


def test_median_cleaning():
    """Flagged pixels become the median of the 25 around them; astroscrappy does the detection, step by step."""
    import astroscrappy

    data = field(10, (60, 60)).astype(np.float32)
    image, found = data.copy(), np.zeros(data.shape, bool)
    for _ in range(3):
        mask, _ = astroscrappy.detect_cosmics(image, readnoise=6.0, satlevel=np.inf, niter=1)
        if not (mask & ~found).any():
            break
        found |= mask
        image = np.where(found, astroscrappy.utils.medfilt5(image), image)
    result = flag_cosmic_rays(electron(data), cleantype="median", niter=3, clean=True)
    assert_array_equal((result.flags & COSMIC) > 0, found)
    assert_array_equal(result.data, image)


def test_cleaning_flags_what_it_replaces():
    data = np.float32(field(11))
    plain, cleaned = (flag_cosmic_rays(electron(data), clean=clean) for clean in (False, True))
    found = (plain.flags & COSMIC) > 0
    assert_array_equal(plain.data, data)
    assert_array_equal(cleaned.data[~found], data[~found])
    assert (np.abs(cleaned.data[found] - data[found]) > 10).mean() > 0.9
    assert (cleaned.flags[found] == COSMIC | FLAGS["INTERPOLATED"].value).all()


def test_own_variance_and_model():
    """The frame's own variance is used unless the model is asked for."""
    data = field(12)
    sigma = np.sqrt(np.abs(data)) * 3
    ccd = electron(data, sigma=sigma)
    own, model = (flag_cosmic_rays(ccd, variance=variance) for variance in (None, "model"))
    assert_array_equal(own.flags, flag_cosmic_rays(electron(data), variance=np.float32(sigma) ** 2).flags)
    assert_array_equal(model.flags, flag_cosmic_rays(electron(data)).flags)
    assert_same(ccd)
    assert_same(ccd, variance="model")
    assert model.meta["NCOSMIC"] > own.meta["NCOSMIC"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cleantype": "mean"}, "cleantype = 'mean' is not known; known are meanmask, medmask, median, idw"),
        ({"fsmode": "fft"}, "fsmode = 'fft' is not known; known are median, convolve"),
        ({"psfmodel": "airy"}, "psfmodel = 'airy' is not known; known are gauss, gaussx"),
        ({"sigclip": 0}, "sigclip = 0; it must be above 0"),
        ({"sigfrac": -1.0}, "sigfrac = -1.0; it must be above 0"),
        ({"objlim": np.nan}, "objlim = nan; it must be above 0"),
        ({"niter": 0}, "niter = 0; it must be a whole number of 1 or more"),
        ({"niter": 1.5}, "niter = 1.5; it must be"),
        ({"background": np.ones((3, 3))}, r"background has shape \(3, 3\); it must be that of the frame, \(20, 20\)"),
        ({"variance": np.ones(20)}, r"variance has shape \(20,\); it must be"),
        ({"variance": "poisson"}, "variance = 'poisson'; it must be an array, or 'model'"),
        ({"engine": "astroscrappy", "cleantype": "median"}, "cleantype = 'median' is not done by astroscrappy"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        flag_cosmic_rays(electron(np.ones((20, 20))), **options)


@pytest.mark.parametrize("kind", ["noise", "rising", "two values", "misleading sample", "small"])
def test_the_median_of_a_frame(kind):
    """The value in the middle, whether the sample shows where it lies or not."""
    rng, n = np.random.default_rng(1), 17 if kind == "small" else 2101**2
    values = {
        "rising": lambda: np.arange(n),
        "two values": lambda: np.arange(n) % 2,
        "misleading sample": lambda: np.where(np.arange(n) % (n // 2000) == 0, 1e5, rng.normal(size=n)),
    }.get(kind, lambda: rng.normal(size=n))()
    values = values.astype(np.float32)
    assert _middle_value(values.copy()) == np.sort(values)[(n - 1) // 2]
