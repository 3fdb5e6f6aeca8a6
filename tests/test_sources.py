"""Frames read by rows give the same pixels as the steps do one by one."""

import os
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from builders import all_nan, garble_card, make_frame, replace_pixels, truncate, two_amp_night
from test_readout import TWO_AMP

from ccdnight import _unchanged, sources
from ccdnight.exceptions import FrameError, InputError
from ccdnight.flags import FLAGS
from ccdnight.overscan import overscan_of
from ccdnight.products import make_ccd, write_ccd
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.provenance import digest_file
from ccdnight.readout import read_frame, subtract_overscan, trim
from ccdnight.sources import ArraySource, FrameSource, frame_facts, open_source, require_equal_shapes, wants_overscan
from ccdnight.storage import read_header

GENERIC = get_profile("generic")
EDGED = replace(TWO_AMP, policy=replace(TWO_AMP.policy, edge=5))


def whole(source, height=7):
    """All rows of a source, some at a time."""
    ny = source.shape[0]
    parts = [source.rows(slice(a, min(a + height, ny))) for a in range(0, ny, height)]
    return tuple(np.concatenate(items) for items in zip(*parts, strict=True))


def step_by_step(path, profile, overscan, window):
    ccd = read_frame(path, profile=profile)
    if overscan:
        ccd = subtract_overscan(ccd, profile=profile, window=window)
    return trim(ccd, profile=profile)


@pytest.mark.parametrize("overscan", [True, False])
@pytest.mark.parametrize("window", [1, 51])
@pytest.mark.parametrize(
    ("name", "profile", "options"),
    [
        ("d1.fits", "nickel", {"instrument": "nickel"}),
        ("d1.fits.gz", "nickel", {"instrument": "nickel"}),
        ("d1.fits.fz", "nickel", {"instrument": "nickel"}),
        ("ccd.001.0.fits", "lfc", {"instrument": "lfc", "rows": 64}),
        ("a.fits", TWO_AMP, {"instrument": "twoamp", "shape": (64, 168)}),
        ("a.fits", EDGED, {"instrument": "twoamp", "shape": (64, 168)}),
    ],
)
def test_rows_equal_the_steps(tmp_path, name, profile, options, overscan, window):
    path = make_frame(tmp_path / name, kind="science", level=65000.0, filter="V", **options)
    profile = get_profile(profile)
    expected = step_by_step(path, profile, overscan, window)
    source = FrameSource(path, profile, overscan=overscan, window=window)
    data, flags = whole(source)
    assert source.shape == expected.shape
    np.testing.assert_allclose(data, expected.data, atol=0.01)
    np.testing.assert_array_equal(flags, expected.flags)
    assert (flags & FLAGS["SATURATED"].value).any()
    assert source.overscan_applied == overscan
    assert source.level_error == pytest.approx(expected.meta.get("OVSCERR", 0), abs=1e-5)
    assert source.digest == digest_file(path)
    for key in ("DATASEC", "TRIMSEC", "AMPSEC2", "CCDSEC", "LTV1"):
        assert source.header.get(key) == expected.meta.get(key)


def test_a_parallel_overscan_by_rows(tmp_path):
    path = make_frame(tmp_path / "a.fits", shape=(60, 120))
    pixels = np.random.default_rng(1).normal(1000, 5, (60, 120)) + np.arange(120) / 4 + np.arange(60)[:, None] / 3
    replace_pixels(path, pixels.astype("f4"))
    amplifier = Amplifier(
        shape=(60, 120), data="[1:100,1:50]", overscan="[101:120,1:60]", parallel_overscan="[1:100,51:60]"
    )
    profile = replace(GENERIC, amplifiers=(amplifier,))
    expected = step_by_step(path, profile, True, 11)
    data, _ = whole(FrameSource(path, profile, overscan=True, window=11))
    np.testing.assert_allclose(data, expected.data, atol=0.01)


def test_missing_pixels_are_flagged(tmp_path):
    path = make_frame(tmp_path / "a.fits", shape=(10, 12))
    pixels = np.ones((10, 12), "f4")
    pixels[3, 4] = np.nan
    _, flags = whole(FrameSource(replace_pixels(path, pixels), GENERIC))
    assert flags[3, 4] == FLAGS["NO_DATA"].value
    assert np.count_nonzero(flags) == 1


def test_the_overscan_of_a_file_is_measured_once(tmp_path, monkeypatch):
    """As long as the file, its sections and the window stay the same."""
    path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=900.0)
    os.utime(path, ns=(0, 0))
    monkeypatch.setattr(_unchanged, "_SETTLED", -1)
    monkeypatch.setattr(sources, "_overscans", _unchanged.Unchanged(3))
    profile, calls = get_profile("nickel"), []
    monkeypatch.setattr(sources, "overscan_of", lambda *given: calls.append(given) or overscan_of(*given))
    first, again = (FrameSource(path, profile, overscan=True) for _ in range(2))
    assert len(calls) == 1
    assert (first.overscan_level, first.level_error) == (again.overscan_level, again.level_error)
    np.testing.assert_array_equal(whole(again)[0], whole(first)[0])
    FrameSource(path, profile, overscan=True, window=1)
    narrow = replace(profile, amplifiers=tuple(replace(item, overscan_skip=4) for item in profile.amplifiers))
    assert FrameSource(path, narrow, overscan=True).overscan_level != first.overscan_level
    assert len(calls) == 3
    replace_pixels(path, fits.getdata(path) + 7)
    assert FrameSource(path, profile, overscan=True).overscan_level == pytest.approx(first.overscan_level + 7, abs=1e-3)


def test_a_file_that_is_gone_when_its_overscan_is_read(tmp_path):
    """It costs its frame, with a sentence, and is no error of ours."""
    path = make_frame(tmp_path / "d1.fits", instrument="nickel", kind="science", level=900.0)
    raw = read_header(path)
    path.unlink()
    with pytest.raises(FrameError, match=r"d1\.fits"):
        FrameSource(path, get_profile("nickel"), overscan=True, raw=raw)


class TestOpen:
    """`open_source`."""

    @pytest.mark.parametrize(
        ("instrument", "overscan", "expected"),
        [
            ("nickel", None, True),
            ("nickel", False, False),
            ("aspen", None, False),
            ("plain", None, False),
        ],
    )
    def test_the_overscan_is_taken_where_it_is_usable(self, tmp_path, instrument, overscan, expected):
        path = make_frame(tmp_path / "a_1.fits", instrument=instrument)
        assert open_source(path, overscan=overscan).overscan_applied == expected
        if overscan is None:
            assert wants_overscan(path, open_source(path).profile) == expected

    @pytest.mark.parametrize(("bias", "expected"), [("frames", False), ("overscan", True), ("auto", True)])
    def test_the_policy_may_speak_against_it(self, tmp_path, bias, expected):
        path = make_frame(tmp_path / "a_1.fits", instrument="nickel")
        profile = get_profile("nickel")
        profile = replace(profile, policy=replace(profile.policy, bias=bias))
        assert open_source(path, profile).overscan_applied == expected
        assert open_source(read_frame(path, profile=profile), profile).overscan_applied == expected

    def test_an_overscan_that_is_not_there(self, tmp_path):
        path = make_frame(tmp_path / "Bias-S001.fit", instrument="aspen")
        with pytest.raises(FrameError, match=r"Bias-S001\.fit: has no usable overscan"):
            open_source(path, overscan=True)
        path = all_nan(make_frame(tmp_path / "d1.fits", instrument="nickel"))
        with pytest.raises(FrameError, match="not finite"):
            open_source(path)

    @pytest.mark.parametrize(
        "cards",
        [{"ZEROCOR": "done"}, {"SUBBIAS": "x"}, {"CALSTAT": "BD"}, {"TRIM": "ccdnight: x"}, {"FLATCOR": True}],
    )
    def test_a_file_that_is_not_raw(self, tmp_path, cards):
        path = make_frame(tmp_path / "a.fits", header=cards)
        with pytest.raises(FrameError, match=r"a\.fits: is not raw: the step .* has been applied"):
            open_source(path)

    def test_a_product_is_not_raw(self, tmp_path):
        write_ccd(trim(make_ccd(np.ones((4, 4)), unit="adu"), profile=GENERIC), tmp_path / "p.fits")
        with pytest.raises(FrameError, match="'trim'"):
            open_source(tmp_path / "p.fits")

    def test_a_state_card_that_cannot_be_read(self, tmp_path):
        """It proves nothing, and costs no frame."""
        path = make_frame(tmp_path / "a.fits", header={"TRIM": "x"})
        garble_card(path, "TRIM", "TRIM    = [1:10")
        assert open_source(path).shape == open_source(make_frame(tmp_path / "b.fits")).shape

    def test_a_broken_file(self, tmp_path):
        with pytest.raises(FrameError, match="truncated"):
            open_source(truncate(make_frame(tmp_path / "a.fits"), 4000))

    def test_a_file_that_shrinks_on_the_way(self, tmp_path):
        path = make_frame(tmp_path / "a.fits")
        source = open_source(path)
        truncate(path, 4000)
        with pytest.raises(FrameError, match="pixels cannot be read"):
            source.rows(slice(0, source.shape[0]))


class TestArray:
    """A CCDData as a source."""

    def test_taken_as_it_is_without_a_profile(self):
        mask = np.zeros((20, 30), bool)
        mask[2, 3] = True
        ccd = CCDData(np.arange(600.0).reshape(20, 30).astype(">f4"), unit="adu", mask=mask)
        data, flags = whole(open_source(ccd))
        np.testing.assert_array_equal(data, ccd.data)
        assert data.dtype.isnative
        np.testing.assert_array_equal(flags != 0, mask)
        assert not open_source(ccd).overscan_applied
        assert not open_source(ccd).trimmed
        assert open_source(ccd).regions == []

    def test_steps_not_yet_seen_are_done(self, tmp_path):
        path = make_frame(tmp_path / "d1.fits", instrument="nickel")
        profile = get_profile("nickel")
        raw = read_frame(path)
        expected, _ = whole(open_source(path))
        for ccd in (raw, subtract_overscan(raw), trim(subtract_overscan(raw))):
            source = open_source(ccd, profile)
            data, _ = whole(source)
            np.testing.assert_allclose(data, expected, atol=0.01)
            assert source.overscan_applied
            assert source.trimmed
            assert source.level_error > 0
        assert raw.data.shape == fits.getdata(path).shape

    def test_amplifiers_after_trimming(self, tmp_path):
        night = two_amp_night(tmp_path)
        raw = read_frame(tmp_path / night.paths("bias")[0], profile=TWO_AMP)
        regions = open_source(trim(raw, profile=TWO_AMP), TWO_AMP).regions
        assert [(part[1].start, part[1].stop, item.gain) for part, item in regions] == [(0, 64, 1.2), (64, 128, 1.8)]


def test_shapes_must_be_equal(tmp_path):
    frames = [open_source(make_frame(tmp_path / f"{n}.fits", shape=(10, 10 + n // 2))) for n in range(3)]
    with pytest.raises(FrameError) as caught:
        require_equal_shapes(frames)
    assert str(caught.value) == f"{frames[2].name}: shape (10, 11) differs from (10, 10) of {frames[0].name}"
    require_equal_shapes(frames[:2])
    with pytest.raises(InputError, match="no frames given"):
        require_equal_shapes([])


def test_facts_of_a_source(tmp_path):
    path = make_frame(tmp_path / "a.fits", kind="dark", exposure=30.0)
    assert frame_facts(open_source(path)).exposure == 30
    assert frame_facts(ArraySource(read_frame(path))).kind == "dark"
