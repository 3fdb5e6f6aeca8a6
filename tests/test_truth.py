"""Nights with known truth give back what was put in, with the right errors; and wrong masters would be seen."""

from dataclasses import replace

import numpy as np
import pytest

from ccdnight import Night, calibrate
from ccdnight.comparison import compare_night
from ccdnight.flags import FLAGS
from ccdnight.planted import planted_pixels
from ccdnight.pulls import frame_pulls, star_pulls
from ccdnight.simulate import Physics, simulate_night

QUIET = {"cosmic_rays": False, "progress": False}
#: Off: what the reduction does not correct.
PHYSICS = replace(Physics(), shutter=False)


@pytest.fixture(scope="module", params=["lfc", "aspen", "nickel"])
def known(request, tmp_path_factory):
    """A small simulated night, its reduction and its truth."""
    folder = tmp_path_factory.mktemp(request.param)
    truth = simulate_night(folder, request.param, seed=5, physics=PHYSICS)
    return Night(folder / "raw", profile=request.param).reduce(folder / "out", **QUIET), truth


@pytest.fixture(scope="module")
def lfc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lfc")
    truth = simulate_night(folder, "lfc", seed=6, physics=PHYSICS)
    return Night(folder / "raw", profile="lfc").reduce(folder / "out", **QUIET), truth


def test_pulls_are_those_of_pure_noise(known):
    """Mean 0 and standard deviation 1, reported variance the true one, in sky and in stars."""
    result, truth = known
    for path in result.science:
        for region, value in frame_pulls(result, truth, path).items():
            # Fewer pixels lie in stars, and a small frame's common errors (overscan level) show.
            loose = 3 / np.sqrt(value["pixels"])
            assert abs(value["mean"]) < 0.02 + loose, (path, region)
            assert value["std"] == pytest.approx(1, abs=0.015 + loose), (path, region)
            assert value["variance_ratio"] == pytest.approx(1, abs=0.03), (path, region)


def test_every_quantity_is_within_five_errors(known):
    rows = compare_night(*known)
    assert all(abs(row.pull) < 5 for row in rows if row.pull is not None), rows


def test_star_fluxes(lfc):
    result, truth = lfc
    stars = np.concatenate([star_pulls(result, truth, path) for path in result.science])
    pull = (stars[:, 0] - stars[:, 1]) / np.sqrt(stars[:, 2])
    assert len(stars) > 1000
    assert pull.std() == pytest.approx(1, abs=0.05)
    weight = stars[:, 1] ** 2 / stars[:, 2]
    assert abs(np.sum(weight * (stars[:, 0] / stars[:, 1] - 1)) / weight.sum()) < 0.001


class TestMistakesWouldBeSeen:
    """The figures above fail if the reduction goes wrong."""

    @pytest.fixture
    def parts(self, lfc):
        result, truth = lfc
        item = result.plan.science[0]
        masters = {role: result.masters[getattr(item, role)] for role in ("bias", "dark", "flat")}
        return result, truth, item, masters

    def pulls(self, parts, **changes):
        """Pulls of the first frame, calibrated with something changed."""
        result, truth, item, masters = parts
        options = masters | changes
        ccd = calibrate(truth.raw_folder / item.input, profile="lfc", overscan=True, window=51, **options)
        frames = {**dict.fromkeys(result.science), item.input: ccd}
        return frame_pulls(replace(result, science=frames), truth, item.input)["sky"]

    def test_right(self, parts):
        value = self.pulls(parts)
        assert abs(value["mean"]) < 0.03
        assert value["std"] == pytest.approx(1, abs=0.02)

    def test_wrong_gain(self, parts):
        assert abs(self.pulls(parts, gain=2.1)["mean"]) > 0.5

    def test_skipped_bias(self, parts):
        assert abs(self.pulls(parts, bias=None, dark=None)["mean"]) > 0.5

    def test_unscaled_dark(self, parts):
        """As if the dark per second were taken for the dark of the exposure."""
        assert abs(self.pulls(parts, exposure=1.0)["mean"]) > 0.5

    def test_forgotten_read_noise(self, parts):
        assert self.pulls(parts, read_noise=1.0)["variance_ratio"] < 0.9


class TestPolicies:
    """What each bias policy leaves in the sky."""

    @pytest.mark.parametrize(("bias", "low", "high"), [("both", -0.5, 0.5), ("frames", -60, -30)])
    def test_level(self, tmp_path, bias, low, high):
        truth = simulate_night(tmp_path, "lfc", seed=7, physics=PHYSICS)
        night = Night(tmp_path / "raw", profile="lfc")
        result = night.reduce(tmp_path / "out", plan=night.plan(bias=bias), **QUIET)
        for path in result.science:
            ccd = result.science[path]
            good = truth.usable(path) & (ccd.flags == 0)
            assert low < np.mean((ccd.data - truth.light(path))[good]) < high


def test_no_master_pixel_keeps_a_cosmic_ray(tmp_path):
    """Of 5 frames and more: the same noise with and without particles differs by less than 6 sigma of the master."""
    masters = []
    for name, on in (("hit", True), ("clean", False)):
        simulate_night(tmp_path / name, "aspen", seed=3, physics=replace(PHYSICS, cosmic_rays=on))
        masters.append(
            Night(tmp_path / name / "raw", profile="aspen").reduce(tmp_path / f"{name}-out", **QUIET).masters
        )
    hit, clean = masters
    struck = 0
    for name in (name for name in hit if hit[name].meta["MASTER"] != "badpixels"):
        master, other = hit[name], clean[name]
        assert master.meta["NCOMBINE"] >= 5
        usable = (master.flags == 0) & (other.flags == 0)
        off = np.abs(master.data - other.data)[usable] / master.uncertainty.array[usable]
        struck += np.count_nonzero(off > 0.05)
        assert off.max() < 6, name
    assert struck > 50


@pytest.mark.parametrize("profile", ["lfc", "aspen"])
def test_planted_bad_pixels_are_found(tmp_path, profile):
    """98 % of what the frames can show, and at most 0.05 % of the good pixels with it."""
    truth = simulate_night(tmp_path, profile, seed=8, physics=PHYSICS)
    result = Night(tmp_path / "raw", profile=profile).reduce(tmp_path / "out", **QUIET)
    mask = next(result.masters[item.name] for item in result.plan.masters if item.kind == "badpixels")
    planted = planted_pixels(result, truth)
    for kind in ("hot", "dead", "noisy", "column", "unexposed"):
        assert (mask.data[planted[kind]] != 0).mean() >= 0.98, kind
    assert (mask.data[planted["good"]] != 0).mean() <= 0.0005
    ccd = next(iter(result.science.values()))
    assert (ccd.flags[planted["dead"]] & FLAGS["BAD_PIXEL"].value).all()
