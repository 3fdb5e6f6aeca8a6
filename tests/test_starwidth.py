"""Width of stars among cosmic rays and hot pixels, and the thresholds that follow from it."""

from dataclasses import replace

import numpy as np
import pytest
from uneven import uneven_night

from ccdnight.cosmicrays import flag_cosmic_rays, thresholds_for
from ccdnight.flags import FLAGS
from ccdnight.night import Night
from ccdnight.products import make_ccd
from ccdnight.profiles import Policy, get_profile
from ccdnight.simulate import Physics, make_frame, make_maps, night_for
from ccdnight.simulate.stars import paint_stars
from ccdnight.starwidth import star_width

SKY, READ = 200.0, 8.0


def field(fwhm, *, seed=1, stars=150, rays=0, hot=0, shape=(600, 500)):
    """Stars in electron, with single hit pixels, short tracks and hot pixels; and where the stars are."""
    rng = np.random.default_rng(seed)
    light = np.full(shape, SKY, np.float32)
    x, y = rng.uniform(0, shape[1], stars), rng.uniform(0, shape[0], stars)
    paint_stars(light, x, y, 10 ** rng.uniform(3.5, 5.3, stars), fwhm=fwhm, beta=4.765)
    data = rng.poisson(light) + rng.normal(0, READ, shape)
    hits = np.zeros(shape, bool)
    for _ in range(rays):
        row, column = rng.integers(2, shape[0] - 12), rng.integers(2, shape[1] - 12)
        angle, length = rng.uniform(0, np.pi / 2), rng.integers(1, 10)
        steps = np.arange(length)
        hits[row + (steps * np.sin(angle)).astype(int), column + (steps * np.cos(angle)).astype(int)] = True
    data[hits] += rng.uniform(500, 5000, np.count_nonzero(hits))
    data[rng.integers(0, shape[0], hot), rng.integers(0, shape[1], hot)] += rng.uniform(1000, 40000, hot)
    ccd = make_ccd(data, unit="electron", sigma=np.sqrt(light + READ**2), meta={"RDNOISE": READ})
    return ccd, {"hits": hits, "star": light > SKY + 3 * np.sqrt(SKY + READ**2)}


@pytest.mark.parametrize("fwhm", [1.5, 2.0, 2.5, 3.0, 4.0, 6.0])
def test_width(fwhm):
    """That of the star and of the pixels, whatever else is there."""
    for rays, hot in ((0, 0), (200, 0), (200, 300)):
        found = star_width(field(fwhm, rays=rays, hot=hot)[0])
        if fwhm < 3.5:
            assert found == pytest.approx(np.sqrt(fwhm**2 + 0.7), rel=0.06)
        else:
            assert found is None or found > 3.5


def test_where_there_is_nothing():
    rng = np.random.default_rng(1)
    empty = make_ccd(rng.normal(SKY, 10, (300, 300)), unit="electron")
    assert star_width(empty) is None
    assert star_width(make_ccd(np.ones((300, 300)), unit="electron")) is None
    assert star_width(make_ccd(rng.normal(SKY, 10, (30, 300)), unit="electron")) is None
    assert star_width(make_ccd(np.full((300, 300), np.nan), unit="electron")) is None
    assert star_width(field(3.0, stars=0, rays=300, hot=300)[0]) is None


@pytest.mark.parametrize("name", ["lfc", "aspen"])
def test_cosmic_rays_are_no_stars(name):
    """With ten times as many as usual, and no star."""
    night = night_for(name, "full")
    science = next(item for item in night.exposures if item.kind == "science")
    camera = replace(night.camera, cosmic_ray_rate=20.0)
    only = replace(night, exposures=(science,), camera=camera)
    physics = Physics.none(cosmic_rays=True, read_noise=True, photon_noise=True)
    raw = make_frame(only, science, physics, 1, make_maps(only, physics, 1)).raw
    ccd = make_ccd(camera.to_data(raw) * camera.readouts[0].gain, unit="electron")
    assert star_width(ccd) is None


def test_thresholds():
    """Raised where the stars are undersampled, as the policy says."""
    policy = Policy()
    assert thresholds_for(field(3.0)[0], policy)[0] == {"sigclip": 4.5, "objlim": 5.0}
    raised, width = thresholds_for(field(1.5)[0], policy)
    assert raised["objlim"] == pytest.approx(5 * (2.6 / width) ** 1.75, abs=0.01)
    assert 8 < raised["objlim"] < 12
    assert raised["sigclip"] == 6.0
    fixed = replace(policy, cosmic_seeing=False, cosmic_objlim=4.0, cosmic_sigclip=3.0)
    assert thresholds_for(field(1.5)[0], fixed) == ({"sigclip": 3.0, "objlim": 4.0}, None)
    assert thresholds_for(make_ccd(np.ones((300, 300)), unit="electron"), policy) == (
        {"sigclip": 4.5, "objlim": 5.0}, None)  # fmt: skip


def test_undersampled_stars_survive():
    """Nine tenths of what astroscrappy's defaults flag in stars is left alone, and rays are still found."""
    ccd, known = field(1.5, rays=150)
    clear = known["star"] & ~known["hits"]
    wrong = {}
    for name, asked in (("defaults", {}), ("seeing", thresholds_for(ccd, Policy())[0])):
        flagged = (flag_cosmic_rays(ccd, **asked).flags & FLAGS["COSMIC_RAY"].value) > 0
        wrong[name] = np.count_nonzero(flagged & clear)
        assert np.count_nonzero(flagged & known["hits"]) > 0.9 * np.count_nonzero(known["hits"] & ~known["star"])
    assert wrong["seeing"] < 0.1 * wrong["defaults"]


def test_in_a_night(tmp_path):
    """The cards say what was asked for, and the policy is followed."""
    truth = uneven_night(tmp_path)
    known = get_profile("arcsat")
    for changes, expected in (({}, 4.5), ({"cosmic_sigclip": 5.5, "cosmic_seeing": False}, 5.5)):
        profile = replace(known, policy=replace(known.policy, **changes))
        made = Night(truth.raw_folder, profile=profile).reduce(tmp_path / f"out{expected}", progress=False)
        meta = made.science["science_0.fits"].meta
        assert (meta["CRSIGCLP"], meta["CROBJLIM"]) == (expected, 5.0)
        assert "CRWIDTH" not in meta if changes else meta.get("CRWIDTH", 9.0) > 2.6
