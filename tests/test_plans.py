"""The plan file: written, edited, read, refused."""

import re

import pytest

from ccdnight.exceptions import PlanError
from ccdnight.plans import MasterPlan, Plan, SciencePlan, UnusedFrame
from ccdnight.profiles import Policy


def make_plan(**changes):
    values = {
        "profile": "generic",
        "policy": Policy(bias="both", edge=3, exposure_tolerance=(0.2, 0.01)),
        "masters": (
            MasterPlan("bias", "bias", ("b1.fits", "sub/b1.fits"), reason="two"),
            MasterPlan("flat_g", "flat", ("f1.fits",), bias="bias", filter="g'", overscan_window=51),
        ),
        "science": (SciencePlan("s1.fits", "s1.fits", bias="bias", flat="flat_g", reason='with "quotes" and \\'),),
        "unused": (UnusedFrame("x.fits", "unknown", "failed", "broken"),),
        "notes": ("one note",),
    } | changes
    return Plan(**values)


def test_round_trip():
    plan = make_plan()
    assert Plan.from_toml(plan.to_toml()) == plan


def test_round_trip_of_a_bad_pixel_mask():
    """It has sources instead of inputs, and may have a mask file."""
    masters = (*make_plan().masters, MasterPlan("badpixels", "badpixels", (), sources=("bias",), mask="my.fits"))
    plan = make_plan(masters=masters, science=(SciencePlan("s1.fits", "s1.fits", bad_pixels="badpixels"),))
    assert Plan.from_toml(plan.to_toml()) == plan
    assert ("badpixels", "bias, my.fits", "nothing", "") in plan.rows()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": ("nosuch",)}, "names the source 'nosuch'"),
        ({}, "neither sources nor a mask"),
        ({"sources": ("bias",), "inputs": ("a.fits",)}, "no inputs of its own"),
        ({"kind": "dark", "inputs": ("a.fits",), "sources": ("bias",)}, "belong to a bad pixel mask"),
    ],
)
def test_bad_pixel_mask_that_cannot_be_made(changes, words):
    entry = MasterPlan(**({"name": "badpixels", "kind": "badpixels", "inputs": ()} | changes))
    with pytest.raises(PlanError, match=words):
        make_plan(masters=(*make_plan().masters, entry)).validate()


def test_edited_plan():
    """A person moves a frame from one list to another and changes the policy."""
    text = make_plan().to_toml().replace('"sub/b1.fits",\n', "").replace('reject = "noise"', 'reject = "mad"')
    plan = Plan.from_toml(text)
    assert plan.masters[0].inputs == ("b1.fits",)
    assert plan.policy.reject == "mad"


def test_short_plan_written_by_hand():
    plan = Plan.from_toml('format = 1\n[[science]]\ninput = "a.fits"\noutput = "a.fits"\n')
    assert plan.profile == "generic"
    assert plan.policy == Policy()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = 2", "newer ccdnight"),
        ("", "format is None"),
        ("format = true", "format is True"),
        ("format = 1\nmaster = []", "unknown entries ['master']"),
        ("format = 1\nnot toml", "not valid TOML"),
        ("format = 1\n[policy]\nbais = 'both'", "policy.bais: unknown key; did you mean 'bias'"),
        ("format = 1\n[policy]\nbias = 'bath'", "not one of 'auto', 'frames', 'overscan', 'both'"),
        ("format = 1\n[policy]\nedge = 'wide'", "policy.edge: 'wide'"),
        ("format = 1\n[policy]\nedge = -5", "policy.edge: -5"),
        ("format = 1\n[policy]\nsigma = nan", "policy.sigma"),
        ("format = 1\n[policy]\nexposure_tolerance = [1]", "policy.exposure_tolerance"),
        ("format = 1\n[policy]\nmatch = ['foo']", "policy.match"),
        ("format = 1\n[policy]\nscale_flats = 1", "policy.scale_flats: 1"),
        ("format = 1\npolicy = 5", "policy"),
        ("format = 1\nnotes = 5", "notes are 5"),
        ("format = 1\nmasters = 3", "[[masters]]"),
        ("format = 1\n[[masters]]\nname='a'\nkind='bias'", "no inputs"),
        ("format = 1\n[[masters]]\nname='a'\nkind='bias'\ninputs=[1]", "a text is needed"),
        ("format = 1\n[[masters]]\nname='a'\nkind='bias'\ninputs=['x']\ncolor='red'", "unknown entries ['color']"),
        ("format = 1\n[[science]]\ninput='a'\noutput='a.fits'\noverscan_window='many'", "overscan_window"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(PlanError, match=re.escape(words)):
        Plan.from_toml(text)


def test_a_name_that_is_wrong_in_many_frames_is_told_once():
    """A flat that was misspelt is so in every frame of its filter."""
    science = tuple(SciencePlan(name, f"{name}.fits", flat="flat_R") for name in "abc")
    with pytest.raises(PlanError) as caught:
        Plan(profile="generic", science=science).validate()
    lines = str(caught.value).splitlines()[1:]
    assert lines == ["- 'a' and 2 more: names the flat 'flat_R', which is not made before it; there is none"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"masters": (MasterPlan("bias", "zero", ("b",)),), "science": ()}, "kind 'zero'"),
        ({"masters": (MasterPlan("../bias", "bias", ("b",)),), "science": ()}, "name without folders"),
        ({"masters": (MasterPlan("bias", "bias", ()),), "science": ()}, "has no inputs"),
        ({"masters": (MasterPlan("bias", "bias", ("b",)), MasterPlan("bias", "bias", ("c",)))}, "two masters"),
        ({"masters": ()}, "names the bias 'bias', which is not made before it"),
        ({"science": (SciencePlan("s", "../s.fits"),)}, "must be a relative name"),
        ({"science": (SciencePlan("s", "/etc/s.fits"),)}, "must be a relative name"),
        ({"science": (SciencePlan("s", "s.fits"), SciencePlan("t", "S.FITS".lower()))}, "same output"),
        ({"science": (SciencePlan("s", "./s.fits"),)}, "must be a relative name"),
        ({"science": (SciencePlan("s", "s" * 300 + ".fits"),)}, "more than 200 bytes"),
        ({"science": (SciencePlan("s", "s.fits"), SciencePlan("t", "s.fits/t.fits"))}, "folder of other outputs"),
        ({"science": (SciencePlan("b1.fits", "s.fits"),)}, "more than once"),
        ({"policy": Policy(bias="overscan")}, "bias = 'overscan'"),
        ({"policy": Policy(bias="frames")}, "bias = 'frames'"),
        ({"policy": Policy(flat="none")}, "flat = 'none'"),
        ({"unused": (UnusedFrame("q", "bias", "lost", ""),)}, "fate 'lost'"),
    ],
)
def test_plans_that_cannot_be_carried_out(changes, words):
    with pytest.raises(PlanError, match=re.escape(words)):
        make_plan(**changes).validate()


def test_html_escapes_what_comes_from_headers():
    html = make_plan(notes=("<script>alert(1)</script>",))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
