"""The classroom reduction by hand and ours under the policy 'lecture' give the same numbers."""

import builders
import lecture
import numpy as np
import pytest

from ccdnight import Night

#: What the lecture trims from every edge of the raw frame.
CUT = (slice(100, -100), slice(100, -100))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """An LFC night of short frames: its folder, our reduction and the one by hand."""
    folder = tmp_path_factory.mktemp("lecture")
    truth = builders.lfc_night(folder / "raw", rows=256)
    night = Night(folder / "raw")
    result = night.reduce(folder / "out", policy="lecture", cosmic_rays=False, progress=False)
    return truth, result, lecture.lecture_reduction(folder / "raw")


def test_profile_is_found(night):
    assert night[1].plan.profile == "lfc"


def test_bias(night):
    _, ours, theirs = night
    assert np.abs(ours.masters["bias_det0"].data - theirs.bias[CUT]).max() < 0.01


def test_dark(night):
    _, ours, theirs = night
    assert np.abs(ours.masters["dark_300s_det0"].data - theirs.dark[CUT]).max() * 300 < 0.01


@pytest.mark.parametrize("band", ["g", "i"])
def test_flat(night, band):
    _, ours, theirs = night
    assert np.abs(ours.masters[f"flat_{band}_det0"].data - theirs.flats[f"{band}'"][CUT]).max() < 1e-6


def test_science(night):
    """Within 0.01 adu wherever our frame is not flagged."""
    _, ours, theirs = night
    assert set(ours.science) == set(theirs.science)
    for name, expected in theirs.science.items():
        ccd = ours.science[name]
        assert ccd.data.shape == expected.shape
        good = ~ccd.mask
        assert good.mean() > 0.99
        assert np.abs(ccd.data / ccd.meta["GAINUSED"] - expected)[good].max() < 0.01


def test_the_policy_says_what_it_leaves(night):
    """The overscan shows that bias frames alone leave the science frames off by the drift."""
    notes = " ".join(night[1].plan.notes)
    assert "adu off" in notes


def test_default_policy_is_nearer_to_the_truth(night, tmp_path):
    """The hand recipe takes 51 adu of another night's bias for dark; the default does not."""
    truth, by_hand, _ = night
    default = Night(truth.folder).reduce(tmp_path / "out", cosmic_rays=False, progress=False)
    name = "ccd.037.0.fits"
    scene = truth.scene(name)[truth.data]
    ours = default.science[name]
    assert abs(np.median((ours.data - scene)[~ours.mask])) < 3
    # The classroom frame is cut by 100 pixels of the raw frame, and its flat is normalized within.
    theirs = by_hand.science[name]
    off = np.median((theirs.data - truth.scene(name)[CUT])[~theirs.mask]) / truth.gain
    assert off < -50
    assert np.median(by_hand.masters["dark_300s_det0"].data) * 300 - np.median(
        default.masters["dark_300s_det0"].data
    ) * 300 == pytest.approx(51, abs=3)
