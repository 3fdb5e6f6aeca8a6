"""Association on tables alone: no pixels are needed to decide what serves what."""

import math
from dataclasses import replace

import pytest

from ccdnight.association import FrameRow, associate
from ccdnight.exceptions import PlanError
from ccdnight.levels import choose_bias_source
from ccdnight.plans import Plan, UnusedFrame, served
from ccdnight.profiles import Policy, get_profile

GENERIC = get_profile("generic")
NAN = math.nan


def row(path, kind, **changes):
    """One frame of a plain night; `key` follows from detector, binning, read mode and shape."""
    values = {
        "exposure": {"bias": 0.0, "dark": 60.0, "flat": 5.0, "twilight": 5.0, "science": 60.0}[kind],
        "filter": "V" if kind in ("flat", "twilight", "science") else "",
        "time": 2460000.6,
        "night": "2023-02-25",
        "temperature": -20.0,
        "overscan": NAN,
        "level": 1000.0,
        "shape": "64x80",
        "detector": "",
        "binning": "1x1",
        "read_mode": "",
    } | changes
    key = tuple(values[name] for name in ("detector", "binning", "read_mode", "shape"))
    return FrameRow(path=path, kind=kind, key=key, **values)


def night(*, biases=5, darks=3, flats=3, science=2, **changes):
    rows = [row(f"b{i}.fits", "bias", **changes) for i in range(biases)]
    rows += [row(f"d{i}.fits", "dark", **changes) for i in range(darks)]
    rows += [row(f"f{i}.fits", "flat", **changes) for i in range(flats)]
    return rows + [row(f"s{i}.fits", "science", **changes) for i in range(science)]


def plan_of(rows, aside=(), *, profile=GENERIC, **policy):
    return associate(rows, list(aside), profile=profile, policy=Policy(**policy))


def names(plan):
    return [master.name for master in plan.masters]


def test_plain_night():
    plan = plan_of(night())
    assert names(plan) == ["bias", "dark_60s", "flat_V", "badpixels"]
    assert plan.masters[-1].sources == ("bias", "dark_60s", "flat_V")
    assert [item.output for item in plan.science] == ["s0.fits", "s1.fits"]
    first = plan.science[0]
    assert (first.bias, first.dark, first.flat, first.overscan_window) == ("bias", "dark_60s", "flat_V", 0)
    assert first.bad_pixels == "badpixels"
    assert plan.unused == ()
    plan.validate()


def test_every_input_stands_in_the_plan_once():
    rows = night()
    aside = [UnusedFrame("x.fits", "unknown", "failed", "broken")]
    extra = [row("other.fits", "bias", shape="32x32"), row("i.fits", "flat", filter="i")]
    plan = plan_of(rows + extra, aside)
    assert sorted(plan.inputs) == sorted([item.path for item in rows + extra] + ["x.fits"])
    reasons = {item.path: item.reason for item in plan.unused}
    assert "32x32 instead of 64x80" in reasons["other.fits"]
    assert "no science frame is in i" in reasons["i.fits"]


@pytest.mark.parametrize(
    ("exposure", "expected", "words"),
    [
        (60.0, "dark_60s", "same exposure"),
        (60.25, "dark_60s", "same exposure"),
        (60.35, "dark_60s", "scaled up"),
        (30.0, "dark_60s", "scaled down"),
        (150.0, "dark_60s", "scaled up"),
        (600.0, "dark_60s", "smooth part and its hot pixels"),
        (None, "", "not known"),
    ],
)
def test_dark_by_exposure(exposure, expected, words):
    rows = [*night(science=0), row("s.fits", "science", exposure=exposure)]
    item = plan_of(rows).science[0]
    assert item.dark == expected
    assert words in item.reason


def test_longer_dark_is_preferred_to_a_shorter_one():
    rows = [*night(darks=0, science=0), row("s.fits", "science", exposure=60.0)]
    rows += [row(f"d{t}_{i}.fits", "dark", exposure=t) for t in (50.0, 300.0, 900.0) for i in range(3)]
    assert plan_of(rows).science[0].dark == "dark_300s"


def test_exact_policy_refuses_scaled_darks():
    rows = [*night(science=0), row("s.fits", "science", exposure=30.0)]
    item = plan_of(rows, dark="exact").science[0]
    assert item.dark == ""
    assert "takes no others" in item.reason


def test_dark_of_another_temperature_is_refused_with_both_values():
    rows = night(darks=0) + [row(f"d{i}.fits", "dark", temperature=-10.0) for i in range(3)]
    plan = plan_of(rows)
    assert plan.science[0].dark == ""
    assert "-20.0 C" in plan.science[0].reason
    assert "-10.0" in plan.science[0].reason
    assert any("dark: none" in note for note in plan.notes)


def test_unknown_temperature_matches():
    rows = night(darks=0) + [row(f"d{i}.fits", "dark", temperature=None) for i in range(3)]
    assert plan_of(rows).science[0].dark == "dark_60s"


def test_dark_never_takes_the_bias_level_of_another_night():
    rows = night(darks=0) + [row(f"d{i}.fits", "dark", night="2023-03-20", time=2460024.6) for i in range(3)]
    plan = plan_of(rows)
    assert plan.science[0].dark == ""
    fates = {item.path: (item.fate, item.reason) for item in plan.unused}
    assert fates["d0.fits"][0] == "rejected"
    assert "own night" in fates["d0.fits"][1]


def test_dark_of_another_night_with_its_own_biases():
    other = {"night": "2023-03-20", "time": 2460024.6}
    rows = night(darks=0) + [row(f"d{i}.fits", "dark", **other) for i in range(3)]
    rows += [row(f"ob{i}.fits", "bias", **other) for i in range(3)]
    plan = plan_of(rows)
    masters = {master.name: master for master in plan.masters}
    assert masters["dark_60s"].bias == "bias_2023-03-20"
    assert plan.science[0].bias == "bias"


def test_dark_of_another_night_with_an_overscan():
    other = {"night": "2023-03-20", "time": 2460024.6, "overscan": 1050.0}
    rows = night(darks=0, overscan=1000.0) + [row(f"d{i}.fits", "dark", **other) for i in range(3)]
    plan = plan_of(rows)
    assert plan.science[0].dark == "dark_60s"
    assert all(master.overscan_window == 51 for master in plan.masters)


def test_foreign_bias_level_if_the_policy_wants_it():
    rows = night(darks=0) + [row(f"d{i}.fits", "dark", night="2023-03-20") for i in range(3)]
    assert plan_of(rows, foreign_dark_bias=True).science[0].dark == "dark_60s"


def test_flats_of_the_nearest_night_with_enough_frames():
    rows = night(flats=0)
    rows += [row(f"near{i}.fits", "flat", night="2023-02-26", time=2460001.6) for i in range(2)]
    rows += [row(f"far{i}.fits", "flat", night="2023-03-10", time=2460014.6) for i in range(5)]
    plan = plan_of(rows)
    flat = next(master for master in plan.masters if master.kind == "flat")
    assert flat.inputs[0] == "far0.fits"


def test_few_flats_of_two_nights_are_one_set():
    rows = night(flats=0)
    rows += [row(f"a{i}.fits", "flat", night="2023-02-26") for i in range(2)]
    rows += [row(f"b{i}x.fits", "flat", night="2023-02-27") for i in range(2)]
    flat = next(master for master in plan_of(rows).masters if master.kind == "flat")
    assert len(flat.inputs) == 4


def test_twilight_flats_are_preferred_to_dome_flats():
    """Where the policy does not combine them."""
    rows = night() + [row(f"t{i}.fits", "twilight") for i in range(3)]
    plan = plan_of(rows, illumination="none")
    (flat,) = (master for master in plan.masters if master.kind == "flat")
    assert flat.inputs[0] == "t0.fits"
    assert flat.twilight == ""
    assert "twilight" in plan.science[0].reason


def test_dome_flats_take_the_large_scales_of_twilight_flats():
    rows = night() + [row(f"t{i}.fits", "twilight") for i in range(3)]
    plan = plan_of(rows)
    twilight, dome = (master for master in plan.masters if master.kind == "flat")
    assert (twilight.inputs[0], dome.inputs[0]) == ("t0.fits", "f0.fits")
    assert dome.twilight == twilight.name
    assert plan.science[0].flat == dome.name
    assert "large scales of 3 twilight flats" in plan.science[0].reason
    assert "large scales from the twilight flats" in dome.reason
    assert Plan.from_toml(plan.to_toml()) == plan
    assert twilight.name in served(dome)


@pytest.mark.parametrize(("dome", "twilight"), [(2, 3), (3, 2)])
def test_too_few_flats_of_one_kind_are_not_combined(dome, twilight):
    """The kind that has enough serves alone."""
    rows = night(flats=dome) + [row(f"t{i}.fits", "twilight") for i in range(twilight)]
    (flat,) = (master for master in plan_of(rows).masters if master.kind == "flat")
    assert flat.inputs[0] == ("t0.fits" if twilight == 3 else "f0.fits")
    assert flat.twilight == ""


def test_plan_says_what_is_wrong_with_its_twilight():
    """A name that is not made, a kind that takes none, and a policy that was changed afterwards."""
    plan = plan_of(night() + [row(f"t{i}.fits", "twilight") for i in range(3)])
    text = plan.to_toml()
    with pytest.raises(PlanError, match="illumination = 'none', but a flat"):
        Plan.from_toml(text.replace('illumination = "auto"', 'illumination = "none"'))
    (twilight,) = {master.twilight for master in plan.masters} - {""}
    with pytest.raises(PlanError, match="names the flat 'other', which is not made before it"):
        Plan.from_toml(text.replace(f'twilight = "{twilight}"', 'twilight = "other"'))
    (bias, *rest) = plan.masters
    with pytest.raises(PlanError, match="twilight belongs to a flat"):
        replace(plan, masters=(replace(bias, twilight=rest[0].name), *rest)).validate()


@pytest.mark.parametrize("below", ["use", "refuse"])
def test_too_few_flats(below):
    plan = plan_of(night(flats=2), below_minimum=below)
    assert (plan.science[0].flat == "flat_V") == (below == "use")
    if below == "use":
        assert any("fewer than the 3" in note for note in plan.notes)
    else:
        assert {item.path for item in plan.unused} == {"f0.fits", "f1.fits"}
        assert all("fewer than the 3" in item.reason for item in plan.unused)


@pytest.mark.parametrize("role", ["dark", "flat"])
def test_missing_master_by_policy(role):
    counts = {f"{role}s": 0}
    kept = plan_of(night(**counts))
    assert getattr(kept.science[0], role) == ""
    assert any(note.startswith(f"{role}: none") for note in kept.notes)
    left = plan_of(night(**counts), **{f"missing_{role}": "leave out"})
    assert left.science == ()
    assert any("left out by the policy" in item.reason for item in left.unused)


def test_without_a_bias_level_no_flat_is_applied():
    plan = plan_of(night(biases=0))
    assert plan.masters == ()
    item = plan.science[0]
    assert (item.bias, item.dark, item.flat) == ("", "", "")
    assert {entry.fate for entry in plan.unused} == {"rejected"}


def test_overscan_alone_where_there_are_no_biases():
    plan = plan_of(night(biases=0, overscan=1000.0))
    assert plan.science[0].bias == ""
    assert plan.science[0].overscan_window == 51
    assert plan.science[0].flat == "flat_V"


def test_masters_of_a_folder_without_science():
    plan = plan_of(night(science=0))
    assert names(plan) == ["bias", "dark_60s", "flat_V", "badpixels"]
    assert any("no science frames" in note for note in plan.notes)


def test_no_bad_pixel_mask():
    plan = plan_of(night(), bad_pixels="none")
    assert names(plan) == ["bias", "dark_60s", "flat_V"]
    assert {item.bad_pixels for item in plan.science} == {""}


def test_a_mask_for_every_binning():
    plan = plan_of([*night(), *(replace(item, path=f"2{item.path}") for item in night(binning="2x2"))])
    masks = {item.name: item.sources for item in plan.masters if item.kind == "badpixels"}
    assert masks == {
        "badpixels": ("bias", "dark_60s", "flat_V"),
        "badpixels_2x2": ("bias_2x2", "dark_60s_2x2", "flat_V_2x2"),
    }
    assert {(item.bias, item.bad_pixels) for item in plan.science} == {
        ("bias", "badpixels"),
        ("bias_2x2", "badpixels_2x2"),
    }
    plan.validate()


def test_nothing_at_all():
    plan = plan_of([])
    assert plan.masters == ()
    assert plan.science == ()


def test_names_do_not_depend_on_what_else_exists():
    alone = names(plan_of(night()))
    more = night() + [row(f"small{i}.fits", "bias", shape="32x32") for i in range(3)]
    more += [row("small.fits", "science", shape="32x32")]
    crowd = plan_of(more)
    assert set(alone) <= set(names(crowd))
    assert "bias_32x32" in names(crowd)


def test_detector_and_binning_in_names():
    profile = get_profile("lfc")
    rows = []
    for detector in ("0", "3"):
        rows += [replace(item, path=f"{detector}{item.path}") for item in night(detector=detector)]
    made = names(plan_of(rows, profile=profile))
    assert "bias_det0" in made
    assert "flat_V_det3" in made
    assert "bias_2x2" in names(plan_of(night(binning="2x2")))


def test_apostrophe_does_not_leak_into_names():
    assert "flat_g" in names(plan_of(night(filter="g'")))


class TestBiasSource:
    """Frames, overscan or both."""

    def rows(self, **changes):
        rows = [row(f"b{i}.fits", "bias", overscan=1000.0, level=1010.0) for i in range(5)]
        rows += [row(f"f{i}.fits", "flat", overscan=1000.0, level=21000.0) for i in range(3)]
        return [*rows, row("s.fits", "science", **({"overscan": 960.0, "level": 1200.0} | changes))]

    def test_both_where_there_is_an_overscan(self):
        source = choose_bias_source(self.rows(), Policy())
        assert source.frames
        assert source.window == 51
        assert "-40.0 to -40.0 adu off" in source.notes[0]

    def test_frames_where_a_frame_lacks_it(self):
        source = choose_bias_source(self.rows(overscan=NAN), Policy())
        assert source.frames
        assert source.window == 0

    def test_frames_where_light_leaks_in(self):
        rows = [replace(item, overscan=1400.0) if item.kind == "flat" else item for item in self.rows()]
        source = choose_bias_source(rows, Policy())
        assert source.window == 0
        assert "light leaks" in source.why

    def test_policy_frames_says_what_it_leaves(self):
        source = choose_bias_source(self.rows(), Policy(bias="frames"))
        assert source.window == 0
        assert "-40.0" in source.notes[0]

    def test_policy_overscan(self):
        source = choose_bias_source(self.rows(), Policy(bias="overscan"))
        assert not source.frames

    @pytest.mark.parametrize("asked", ["overscan", "both"])
    def test_policy_that_cannot_be_followed_is_said(self, asked):
        source = choose_bias_source(self.rows(overscan=NAN), Policy(bias=asked))
        assert source.frames
        assert f"asks for the overscan ({asked})" in source.notes[0]

    def test_row_by_row_only_where_rows_move(self):
        assert choose_bias_source(self.rows(), Policy(), (0.8, 2.0, 2.0)).window == 1
        assert choose_bias_source(self.rows(), Policy(), (-0.1, 2.0, 0.3)).window == 51
        assert choose_bias_source(self.rows(), Policy(overscan_window=9), (0.8, 2.0, 2.0)).window == 9
