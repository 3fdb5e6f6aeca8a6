"""Fringes: found in the sky of dithered frames, scaled to each frame, taken off, and no star harmed."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from photutils.aperture import CircularAnnulus, CircularAperture
from uneven import DITHERS, uneven_night

from ccdnight.calibration import calibrate
from ccdnight.exceptions import AlreadyAppliedError, InputError, MeasurementError, PlanError
from ccdnight.flags import FLAGS
from ccdnight.fringes import make_fringe_frame, measure_fringes, subtract_fringes
from ccdnight.illumination import combine_flats
from ccdnight.masters import make_bias, make_flat
from ccdnight.night import Night
from ccdnight.plans import Plan, UnusedFrame
from ccdnight.products import make_ccd, read_ccd, write_ccd
from ccdnight.profiles import get_profile
from ccdnight.provenance import records_of
from ccdnight.simulate.sky import fringe_pattern

SHAPE = (60, 80)
NAMES = [f"science_{n}.fits" for n in range(len(DITHERS))]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return uneven_night(tmp_path_factory.mktemp("fringes"))


@pytest.fixture(scope="module")
def science(night):
    """The i' (here z) series, calibrated."""
    raw = night.raw_folder
    bias = make_bias([raw / f"bias_{n}.fits" for n in range(5)], profile="arcsat")
    dome, twilight = (
        make_flat([raw / f"{kind}_{n}.fits" for n in range(5)], bias=bias, profile="arcsat")
        for kind in ("dome", "twilight")
    )
    flat = combine_flats(dome, twilight)
    return [calibrate(raw / name, bias=bias, flat=flat, profile="arcsat") for name in NAMES]


@pytest.fixture(scope="module")
def fringe(science):
    return make_fringe_frame(science)


@pytest.fixture(scope="module")
def planted(night):
    """The pattern that was put in, as a part of the sky."""
    return night.night.fringe_amplitude * fringe_pattern(night.night.camera, night.seed)


def _amplitude(data, pattern, good):
    """How much of a pattern is in data, by least squares."""
    pattern = pattern[good] - pattern[good].mean()
    return np.dot(data[good] - data[good].mean(), pattern) / np.dot(pattern, pattern)


def test_fringe_frame_is_the_pattern(night, fringe, planted):
    """Mean 0, and the planted amplitude but for what the smoothing takes."""
    good = (fringe.flags == 0) & ~night.bad
    assert _amplitude(fringe.data, planted, good) == pytest.approx(0.90, abs=0.02)
    assert np.corrcoef(fringe.data[good], planted[good])[0, 1] > 0.98
    assert fringe.data[fringe.flags == 0].mean() == pytest.approx(0, abs=1e-4)
    assert fringe.meta["MASTER"] == "fringe"
    assert fringe.meta["BUNIT"] == ""


def test_unsmoothed_fringe_frame_is_unbiased(night, science, planted):
    raw = make_fringe_frame(science, smooth=0)
    good = (raw.flags == 0) & ~night.bad
    assert _amplitude(raw.data, planted, good) == pytest.approx(1, abs=0.01)


def test_fringes_are_subtracted(night, science, fringe, planted):
    """What is left of the pattern is below a tenth of it, and with its noise below a fifth."""
    for ccd, name in zip(science, NAMES, strict=True):
        sky = night.exposure(name).light * 300
        clean = subtract_fringes(ccd, fringe)
        good = (clean.flags == 0) & (np.abs(night.light(name) / sky - 1 - planted) < 0.01) & ~night.bad
        before, after = (_amplitude(item.data / sky, planted, good) for item in (ccd, clean))
        assert before == pytest.approx(1, abs=0.03)
        assert abs(after) < 0.05
        left = planted + (clean.data - ccd.data) / sky
        assert left[good].std() < 0.2 * planted[good].std()
        assert clean.meta["FRNGSCAL"] == pytest.approx(sky / 0.90, rel=0.05)
        assert 0 < clean.meta["FRNGSERR"] < 0.01 * sky


def _fluxes(night, name, image):
    """Sum in an aperture less the sky of a ring about it, for the brighter stars."""
    stars = night.stars(name)
    x, y = np.asarray(stars["x"], float), np.asarray(stars["y"], float)
    bright = (stars["electron"] > 20000) & (np.minimum(x, y) > 20) & (np.maximum(x, y) < 492)
    places = np.transpose([x[bright], y[bright]])
    ring = [np.median(mask.get_values(image)) for mask in CircularAnnulus(places, 9, 15).to_mask(method="center")]
    aperture = CircularAperture(places, 6.5)
    return aperture.do_photometry(image, method="center")[0] - np.array(ring) * 129, stars["electron"][bright]


def test_stars_are_not_touched(night, science, fringe, planted):
    """The flux that is taken from stars beyond the fringes below them is less than 0.2 % of theirs."""
    taken, flux = [], []
    for ccd, name in zip(science, NAMES, strict=True):
        sky = night.exposure(name).light * 300
        beyond = ccd.data - subtract_fringes(ccd, fringe).data - planted * sky
        one, other = _fluxes(night, name, beyond)
        taken.append(one)
        flux.append(np.asarray(other))
    taken, flux = np.concatenate(taken), np.concatenate(flux)
    assert len(flux) > 50
    assert abs(taken.sum() / flux.sum()) < 0.002
    assert abs(np.median(taken / flux)) < 0.002


def test_subtraction_is_recorded(science, fringe, tmp_path):
    clean = subtract_fringes(science[0], fringe)
    write_ccd(clean, tmp_path / "clean.fits")
    again = read_ccd(tmp_path / "clean.fits")
    assert again.meta["FRINGCOR"].startswith("ccdnight: fringe times ")
    assert again.meta["FRNGFILE"] == "fringe"
    assert records_of(again)[-1].role == "fringe"
    assert [item.role for item in records_of(fringe)][-7:] == ["science"] * 7
    grown = clean.uncertainty.array**2 - science[0].uncertainty.array ** 2
    np.testing.assert_allclose(grown, (clean.meta["FRNGSCAL"] * fringe.uncertainty.array) ** 2, rtol=0.2, atol=1)
    with pytest.raises(AlreadyAppliedError, match="fringe"):
        subtract_fringes(again, fringe)


def _simple(seed=3):
    """Sky of 1000 with a slope, fringes of 2 % and noise."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pattern = 0.02 * np.sin(x / 3 + y / 5)
    noise = np.random.default_rng(seed).normal(0, 5, SHAPE)
    return make_ccd(1000 + 0.5 * x + 900 * pattern + noise, unit="electron"), make_ccd(pattern, unit="")


def test_scale_is_measured():
    """A slope of the sky, stars and flagged pixels do not matter; the error is honest."""
    pulls = []
    for seed in range(30):
        ccd, fringe = _simple(seed)
        ccd.data[10:14, 10:14] += 3000
        ccd.data[40, 50], ccd.flags[40, 50] = np.nan, 1
        scale, error = measure_fringes(ccd, fringe)
        pulls.append((scale - 900) / error)
    assert 0.6 < np.std(pulls) < 1.5
    assert abs(np.mean(pulls)) < 0.6


def test_scale_is_given():
    """And a pixel without a fringe value keeps its own."""
    ccd, fringe = _simple()
    fringe.flags[3, 4], fringe.data[3, 4] = FLAGS["NO_DATA"].value, 0
    clean = subtract_fringes(ccd, fringe, scale=500)
    np.testing.assert_allclose(clean.data, ccd.data - 500 * fringe.data, rtol=1e-6)
    assert clean.data[3, 4] == ccd.data[3, 4]
    assert clean.flags[3, 4] == FLAGS["NO_DATA"].value
    assert clean.meta["FRNGSERR"] == 0


def test_refusals(science):
    ccd, fringe = _simple()
    with pytest.raises(InputError, match="2 science frames"):
        make_fringe_frame(science[:2])
    with pytest.raises(ValueError, match="source_sigma = 0"):
        make_fringe_frame(science, source_sigma=0)
    with pytest.raises(InputError, match="smooth = -1"):
        make_fringe_frame(science, smooth=-1)
    with pytest.raises(InputError, match=r"shape \(512, 512\) of the frame"):
        subtract_fringes(science[0], fringe)
    with pytest.raises(InputError, match="its unit is 'electron'"):
        subtract_fringes(ccd, ccd)
    with pytest.raises(ValueError, match=r"contrast = 1\.5"):
        measure_fringes(ccd, fringe, contrast=1.5)
    with pytest.raises(MeasurementError, match="or the fringe frame is empty"):
        measure_fringes(ccd, make_ccd(np.zeros(SHAPE), unit=""))
    with pytest.raises(MeasurementError, match="no pixel is unflagged"):
        measure_fringes(make_ccd(ccd.data, unit="electron", flags=np.ones(SHAPE)), fringe)


def fringing(**changes):
    """A profile whose filter z fringes."""
    known = get_profile("arcsat")
    return replace(known, policy=replace(known.policy, **{"fringing": ("Z*",), **changes}))


@pytest.fixture(scope="module")
def result(night, tmp_path_factory):
    """The night, reduced."""
    return Night(night.raw_folder, profile=fringing()).reduce(
        tmp_path_factory.mktemp("reduced"), progress=False, cosmic_rays=False
    )


class TestNight:
    """Fringes of a whole night, from its plan to its products."""

    def test_plan(self, night):
        plan = Night(night.raw_folder, profile=fringing()).plan()
        (master,) = [item for item in plan.masters if item.kind == "fringe"]
        assert (master.name, master.inputs, master.filter) == ("fringe_z", tuple(NAMES), "z")
        assert all(item.fringe == "fringe_z" for item in plan.science)
        assert all("fringes: fringe_z, from 7 science frames" in item.reason for item in plan.science)
        assert all(plan.inputs[name] == "science" for name in NAMES)
        again = Plan.from_toml(plan.to_toml())
        assert (again.masters, again.science, again.policy) == (plan.masters, plan.science, plan.policy)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (('kind = "fringe"', 'kind = "fringes"'), "is of kind 'fringes'; allowed are bias"),
            (('fringe = "fringe_z"', 'fringe = "fringe_y"'), "names the fringe 'fringe_y', which is not made"),
            (('fringe = "auto"', 'fringe = "none"'), "policy: fringe = 'none', but frames get a master fringe"),
        ],
    )
    def test_edited_plans(self, night, edit, message):
        text = Night(night.raw_folder, profile=fringing()).plan().to_toml()
        assert edit[0] in text
        with pytest.raises(PlanError, match=message):
            Plan.from_toml(text.replace(*edit))

    def test_inputs_are_science_frames_of_the_plan(self, night):
        plan = Night(night.raw_folder, profile=fringing()).plan()
        text = replace(plan, science=plan.science[1:], unused=(*plan.unused, UnusedFrame(NAMES[0], "science", "unused",
                                                                                         "")))  # fmt: skip
        with pytest.raises(PlanError, match=r"'science_0\.fits', which is no science frame of the plan"):
            text.validate()

    def test_pattern_and_stars(self, night, planted, result):
        """Below 20 % of the planted amplitude is left, and star fluxes are the same to 0.2 %."""
        without = Night(night.raw_folder, profile=fringing(fringe="none")).reduce(
            result.output.parent / "without", progress=False, cosmic_rays=False
        )
        taken, flux = [], []
        for name in NAMES:
            made, before = result.science[name], without.science[name]
            sky = night.exposure(name).light * 300
            good = (made.flags == 0) & (np.abs(night.light(name) / sky - 1 - planted) < 0.01) & ~night.bad
            assert _amplitude(before.data / sky, planted, good) > 0.9
            assert abs(_amplitude(made.data / sky, planted, good)) < 0.05
            left = planted + (made.data - before.data) / sky
            assert left[good].std() < 0.2 * planted[good].std()
            assert made.meta["FRNGFILE"] == "fringe_z.fits"
            assert made.meta["FRINGCOR"].startswith("ccdnight: fringe_z.fits times ")
            assert made.meta["FRNGSCAL"] == pytest.approx(sky / 0.9, rel=0.07)
            one, other = _fluxes(night, name, before.data - made.data - planted * sky)
            taken.append(one)
            flux.append(np.asarray(other))
        taken, flux = np.concatenate(taken), np.concatenate(flux)
        assert abs(taken.sum() / flux.sum()) < 0.002
        assert abs(np.median(taken / flux)) < 0.002

    def test_every_input_once(self, result):
        assert sorted(result.night["path"]) == sorted(set(result.night["path"]))
        rows = [row for row in result.night if row["role"] == "science"]
        assert [str(row["fate"]) for row in rows] == ["used"] * 7
        assert all("fringes: fringe_z, from 7 science frames" in row["reason"] for row in rows)
        assert "fringe_z" in result.masters
        assert result.masters["fringe_z"].meta["MASTER"] == "fringe"

    def test_the_number_of_workers_changes_nothing(self, night, result, tmp_path):
        again = Night(night.raw_folder, profile=fringing()).reduce(
            tmp_path / "out", progress=False, cosmic_rays=False, workers=3
        )
        assert again.run["digests"] == result.run["digests"]

    def test_one_bad_frame(self, night, tmp_path):
        """A frame without sky is left out of the fringe frame; the night goes on."""
        raw = tmp_path / "raw"
        shutil.copytree(night.raw_folder, raw)
        with fits.open(raw / NAMES[2], mode="update") as hdus:
            hdus[0].data[:] = np.random.default_rng(1).normal(1000, 5, hdus[0].data.shape)
        made = Night(raw, profile=fringing()).reduce(tmp_path / "out", progress=False, cosmic_rays=False)
        rows = {str(row["path"]): str(row["reason"]) for row in made.night if row["role"] == "science"}
        assert "not taken for fringe_z: " in rows[NAMES[2]]
        assert made.masters["fringe_z"].meta["NCOMBINE"] == 6
        assert len(made.science) == 7

    def test_too_few(self, night):
        """Said with the remedy; or the frames are left out, where the policy asks for that."""
        plan = Night(night.raw_folder, profile=fringing(minimum_fringe=8)).plan()
        assert not [item for item in plan.masters if item.kind == "fringe"]
        (note,) = [note for note in plan.notes if "fringes" in note]
        assert "7 science frames in z are fewer than the 8 asked for; take more dithered frames in z, or lower" in note
        assert all("fringes: not subtracted" in item.reason for item in plan.science)
        plan = Night(night.raw_folder, profile=fringing(minimum_fringe=8, missing_fringe="leave out")).plan()
        assert not plan.science
        assert sum("its fringes cannot be subtracted" in item.reason for item in plan.unused) == 7

    def test_not_dithered(self, night, tmp_path):
        """Sources that stay on their pixels are no fringes: nothing is subtracted, and it is said."""
        raw = tmp_path / "raw"
        shutil.copytree(night.raw_folder, raw)
        for name in NAMES[1:]:
            shutil.copy(raw / NAMES[0], raw / name)
            with fits.open(raw / name, mode="update") as hdus:
                hdus[0].data[5, 5] += 1
        made = Night(raw, profile=fringing()).reduce(tmp_path / "out", progress=False, cosmic_rays=False)
        assert "fringe_z" not in made.masters
        assert any("on 1 different positions" in note and "dither the telescope" in note for note in made.run["notes"])
        assert len(made.science) == 7
        assert "lacking: fringe_z could not be made" in str(made.science[NAMES[0]].meta["HISTORY"])

    def test_no_fringes(self, tmp_path):
        """A pattern that is not seen is not subtracted."""
        truth = uneven_night(tmp_path, fringes=False)
        made = Night(truth.raw_folder, profile=fringing()).reduce(tmp_path / "out", progress=False, cosmic_rays=False)
        meta = made.science[NAMES[0]].meta
        assert "FRNGFILE" not in meta
        assert "fringe: none seen" in str(meta["HISTORY"])


class TestSkyFlats:
    """Flats of the sky in a night, where the policy asks for them."""

    def test_in_a_night(self, tmp_path):
        """What two dithers saw of the sky is even afterwards; lamps are left alone."""
        truth = uneven_night(tmp_path, fringes=False)
        known = get_profile("arcsat")
        night = Night(truth.raw_folder, profile=replace(known, policy=replace(known.policy, flat="sky")))
        plan = night.plan()
        (master,) = [item for item in plan.masters if item.kind == "skyflat"]
        assert (master.name, master.inputs) == ("flat_z", tuple(NAMES))
        assert Plan.from_toml(plan.to_toml()).masters == plan.masters
        assert all(item.flat == "flat_z" for item in plan.science)
        assert all("sky flat: flat_z, from 7 science frames" in item.reason for item in plan.science)
        assert {item.reason for item in plan.unused} == {"the policy asks for flats of the sky"}
        made = night.reduce(tmp_path / "out", plan=plan, progress=False, cosmic_rays=False)
        flat = made.masters["flat_z"]
        assert flat.meta["MASTER"] == "flat"
        expected = truth.maps.flats["z"]
        good = (flat.flags == 0) & ~truth.bad
        ratio = flat.data[good] / expected[good]
        assert np.median(ratio) == pytest.approx(1 / np.median(expected[good]), rel=0.01)
        assert ratio.std() / ratio.mean() < 0.02
        science = made.science[NAMES[0]]
        assert science.meta["FLATFILE"] == "flat_z.fits"
        assert sorted(made.night["path"]) == sorted(set(made.night["path"]))

    def test_too_few(self, night):
        known = get_profile("arcsat")
        policy = replace(known.policy, flat="sky", minimum_flat=9, missing_flat="leave out")
        plan = Night(night.raw_folder, profile=replace(known, policy=policy)).plan()
        assert not plan.science
        assert any("sky flat: not made, 7 science frames in z are fewer than the 9 asked for" in x for x in plan.notes)
