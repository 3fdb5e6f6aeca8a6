"""The simulator by itself: what is asked for is in the frames, measured with plain numpy."""

from dataclasses import fields, replace
from typing import ClassVar

import numpy as np
import pytest
from astropy.io import fits

from ccdnight.exceptions import InputError, OutputError, ProfileError
from ccdnight.profiles import Amplifier, get_profile
from ccdnight.simulate import (
    FAULTS,
    NIGHTS,
    Camera,
    Exposure,
    Night,
    Physics,
    Readout,
    add_faults,
    any_night,
    area_kernel,
    flat_series,
    make_frame,
    make_maps,
    moffat_fraction,
    night_for,
    open_truth,
    simulate_night,
)
from ccdnight.simulate.charge import bleed, grow
from ccdnight.simulate.dialects import plain_word
from ccdnight.simulate.stars import paint_stars
from ccdnight.simulate.tracks import cosmic_rays, landau

GAIN, READ_NOISE = 1.7, 9.0
#: Brighter-fatter coefficient and level of its test.
A00, MEAN = -2.5e-6, 40000.0


def make_night(shape=(240, 260), exposures=(), **camera):
    """A night of one amplifier with ten overscan columns and every effect at a size that can be seen."""
    ny, nx = shape
    edge = nx - 10
    readout = Readout(
        data=f"[1:{edge},1:{ny}]",
        overscan=f"[{edge + 1}:{nx},1:{ny}]",
        gain=GAIN,
        read_noise=READ_NOISE,
        full_well=90000.0,
        overscan_scatter=3.0,
        trailing=(0.01, 1.5, 5),
    )
    values = {
        "unexposed": ((0, 2, 0, 0),),
        "dark_rate": 0.5,
        "hot_fraction": 1e-3,
        "dead_fraction": 1e-3,
        "trap_fraction": 1e-3,
        "noisy_fraction": 1e-3,
        "glow": (5.0, 10.0),
        "bad_columns": ((50, 20, 0, 0.5, 1.0),),
        "bad_patch": (100, 100, 5, 0.5),
        "bias_gradient": (50.0, 20.0),
        "cosmic_ray_rate": 60.0,
    }
    camera = Camera(name="tiny", shape=shape, readouts=(readout,), **{**values, **camera})
    return Night(
        name="tiny", dialect="aspen", camera=camera, exposures=tuple(exposures), filters=("V",),
        fringe_filters=("V",), star_density=2000.0, star_rates=(100.0, 20000.0, 0.75),
    )  # fmt: skip


def make_exposure(kind="science", path="", **values):
    """An exposure of 100 s at a level of 1000 adu."""
    seconds = 0.0 if kind == "bias" else 100.0
    facts = {
        "exposure": seconds,
        "dark_time": seconds,
        "filter": "V",
        "light": 0.0,
        "time": "2024-03-01T02:00:00",
    }
    if kind == "science":
        facts |= {"field": "field", "light": 5.0}
    return Exposure(path or f"{kind}.fits", kind, **{**facts, **values})


def expose(night, exposure, physics, seed=1):
    """Raw pixels of one exposure, as float64."""
    night = replace(night, exposures=(exposure,))
    return make_frame(night, exposure, physics, seed, make_maps(night, physics, seed)).raw.astype(float)


@pytest.fixture(scope="module")
def lfc(tmp_path_factory):
    """The small LFC night."""
    return simulate_night(tmp_path_factory.mktemp("lfc"), "lfc", seed=5)


@pytest.fixture(scope="module")
def grown():
    """Deviations from the mean of evenly lit frames with brighter-fatter correlation."""
    rng = np.random.default_rng(11)
    frames = [grow(np.full((300, 300), MEAN, np.float32), rng, a00=A00) for _ in range(6)]
    return [frame[8:-8, 8:-8] - MEAN for frame in frames]


def raw_of(truth, frame):
    return fits.getdata(truth.raw_folder / truth.exposure(frame).path).astype(float)


def header_of(path):
    return [path.read_bytes()[i : i + 80].decode() for i in range(0, 2880 * 2, 80)]


class TestMeasured:
    """Numbers asked for against numbers measured."""

    def test_photon_transfer(self):
        """Half the variance of the difference of two flats against their mean has slope 1/gain."""
        night = make_night()
        physics = Physics.none(photon_noise=True, read_noise=True, quantization=True, fixed_pattern=True)
        signal, variance = [], []
        for level in (2000, 8000, 20000, 40000):
            pair = [
                expose(night, make_exposure("flat", f"{level}-{i}", light=level / 100), physics)[:, :-10] for i in "ab"
            ]
            signal.append((pair[0] + pair[1]).mean() / 2 - 1000)
            variance.append(np.var(pair[0] - pair[1]) / 2)
        gains = np.diff(signal) / np.diff(variance)
        assert gains[-1] == pytest.approx(GAIN, rel=0.035)
        noise = (READ_NOISE / GAIN) ** 2 + 1 / 12
        assert np.array(variance) == pytest.approx(np.array(signal) / GAIN + noise, rel=0.025)
        assert signal == pytest.approx(np.array([2000, 8000, 20000, 40000]) / GAIN, rel=2e-3)

    def test_read_noise(self):
        """Bias frames scatter by the read noise, and by the rounding of the converter."""
        physics = Physics.none(read_noise=True, quantization=True)
        raw = expose(make_night(), make_exposure("bias"), physics)
        assert raw.mean() == pytest.approx(1000, abs=0.1)
        assert np.var(raw) == pytest.approx((READ_NOISE / GAIN) ** 2 + 1 / 12, rel=0.02)

    def test_dark_rate(self):
        physics = Physics.none(dark=True, photon_noise=True, quantization=True)
        raw = expose(make_night(), make_exposure("dark", dark_time=200.0), physics)[:, :-10]
        assert (raw.mean() - 1000) * GAIN == pytest.approx(0.5 * 200, rel=0.01)

    def test_cosmic_ray_rate(self):
        """Particles per area and time, and the most probable loss of a fast particle in thin silicon."""
        camera = night_for("lfc").camera
        ny, nx = camera.data_shape
        runs = [cosmic_rays(camera, 600.0, 1, str(i)) for i in range(20)]
        asked = 20 * camera.cosmic_ray_rate * ny * nx * (15e-4) ** 2 * 10
        assert sum(run[3] for run in runs) == pytest.approx(asked, abs=4 * asked**0.5)
        charge = sum(run[2].sum() for run in runs) / asked
        assert 2000 < charge < 8000  # some 80 electron/um over a mean path of twice the thickness, and worms
        assert all(run[0].max() < nx and run[1].max() < ny and run[0].min() >= 0 for run in runs)
        muons = replace(camera, worm_fraction=0.0, diffusion=0.01)
        total = np.concatenate([cosmic_rays(muons, 600.0, 2, str(i))[2] for i in range(20)])
        # Thin tracks leave what a path through 15 um costs most often: 60 to 65 electron/um.
        histogram, edges = np.histogram(total, bins=np.geomspace(100, 5000, 20))
        assert 700 < edges[histogram.argmax()] * 1.1 < 1300

    def test_landau(self):
        """Quantiles of Landau's distribution (tables of Koelbig & Schorr 1984)."""
        draws = landau(np.random.default_rng(3), 200_000)
        assert np.median(draws) == pytest.approx(1.3558, abs=0.02)
        assert np.quantile(draws, 0.1) == pytest.approx(-1.0867, abs=0.02)

    def test_flat_pattern(self):
        """The mean of flats shows the flat of the truth, pixel by pixel."""
        night = make_night()
        physics = Physics.none(photon_noise=True, fixed_pattern=True, vignetting=True, dust=True, quantization=True)
        frames = [expose(night, make_exposure("flat", str(i), light=600.0), physics)[:, :-10] for i in range(12)]
        flat = make_maps(replace(night, exposures=(make_exposure(),)), physics, 1).flats["V"]
        assert np.median(flat) == pytest.approx(1, abs=1e-6)
        ratio = (np.mean(frames, axis=0) - 1000) * GAIN / 60000 / flat
        assert ratio.mean() == pytest.approx(1, abs=2e-4)
        assert ratio.std() == pytest.approx((60000 * 12) ** -0.5, rel=0.05)
        high = flat / (np.roll(flat, 1, axis=1) + np.roll(flat, -1, axis=1)) * 2
        assert np.std(high[:, 5:-5]) == pytest.approx(np.hypot(0.008, 0.003) * 1.5**0.5, rel=0.05)

    @pytest.mark.parametrize("fwhm", [1.5, 2.0, 2.6, 4.2])
    def test_star_flux(self, fwhm):
        """Sums in apertures of 3 FWHM are right to 0.02 %, wherever the star is in its pixel."""
        from photutils.aperture import CircularAperture, aperture_photometry

        rng = np.random.default_rng(8)
        x, y = 60 + 120 * np.arange(6) + rng.uniform(-0.5, 0.5, 6), 60 + rng.uniform(-0.5, 0.5, 6)
        image = np.zeros((121, 780), np.float64)
        paint_stars(image, x, y, np.full(6, 1e5), fwhm=fwhm, beta=4.765)
        sums = aperture_photometry(image, CircularAperture(np.transpose([x, y]), 3 * fwhm))["aperture_sum"]
        assert sums / 1e5 == pytest.approx(moffat_fraction(3 * fwhm, fwhm, 4.765), rel=2.2e-4)
        assert image.sum() == pytest.approx(6e5, rel=1e-4)

    def test_star_fluxes_of_truth(self, lfc):
        """Lonely stars of the noise-free light have the flux of the star table, at its place."""
        from photutils.aperture import CircularAperture, aperture_photometry

        frame = "ccd.041.0.fits"
        light = lfc.light(frame) - lfc.exposure(frame).light * 300
        ny, nx = light.shape
        stars = lfc.stars(frame)
        place = np.transpose([stars["x"], stars["y"]])
        gaps = np.hypot(*(place[:, np.newaxis] - place).transpose(2, 0, 1)) + np.eye(len(place)) * 1e3
        lonely = (gaps.min(axis=1) > 45) & (stars["electron"] > 2e4) & (stars["x"] > 20) & (stars["x"] < nx - 20)
        lonely &= (stars["y"] > 20) & (stars["y"] < ny - 20)
        sums = aperture_photometry(light.astype(float), CircularAperture(place[lonely], 15.0))["aperture_sum"]
        exposure = lfc.exposure(frame)
        inside = moffat_fraction(15.0, exposure.fwhm, lfc.night.moffat_beta)
        assert np.count_nonzero(lonely) >= 10
        assert sums / stars["electron"][lonely] == pytest.approx(inside, rel=4e-4)

    def test_frames_scatter_about_the_truth(self, lfc):
        """(Raw - bias) * gain - expected, in units of the truth's sigma, is a unit Gaussian."""
        for frame in ("ccd.003.0.fits", "ccd.015.0.fits", "ccd.037.0.fits", "darks/ccd.014.0.fits"):
            charge = (lfc.night.camera.to_data(raw_of(lfc, frame)) - lfc.bias(frame)) * 2.0
            pull = (charge - lfc.expected(frame)) / np.sqrt(lfc.variance(frame))
            good = pull[lfc.usable(frame)]
            assert good.size > 0.97 * pull.size
            assert good.mean() == pytest.approx(0, abs=0.005)
            assert good.std() == pytest.approx(1, abs=0.005)

    def test_cosmic_rays_of_truth(self, lfc):
        """What a frame has beyond the noise is in the table of cosmic rays."""
        frame = "darks/ccd.013.0.fits"
        charge = (lfc.night.camera.to_data(raw_of(lfc, frame)) - lfc.bias(frame)) * 2.0
        rays = lfc.cosmic_rays(frame)
        excess = (charge - lfc.expected(frame)) / np.sqrt(lfc.variance(frame))
        excess[lfc.bad] = 0
        assert np.count_nonzero(rays > 500) > 30
        assert np.all(excess[(rays > 500) & ~lfc.bad] > 10)
        assert np.all(rays[excess > 8] > 50)

    def test_lecture_levels(self, lfc):
        """The levels that the lecture prints, and gain 2.11 by its quick method."""
        levels = {"ccd.001.0.fits": 1138, "ccd.014.0.fits": 21559, "ccd.017.0.fits": 22233}
        levels |= {"darks/ccd.002.0.fits": 1176, "darks/ccd.013.0.fits": 1198, "darks/ccd.023.0.fits": 1171}
        for frame, level in levels.items():
            part = raw_of(lfc, frame)[100:-100, 600:1900]
            assert np.median(part) == pytest.approx(level, abs=1.5 if level < 2000 else 250)
        one, two = (raw_of(lfc, f"ccd.{n:03d}.0.fits")[150:450, 1300:1700] for n in (14, 15))
        usable = (lfc.usable("ccd.014.0.fits") & lfc.usable("ccd.015.0.fits"))[150:450, 1300:1700]
        quick = (one + two)[usable].mean() / np.var((one - two)[usable])
        assert quick == pytest.approx(2.11, abs=0.05)


class TestBrighterFatter:
    """Covariances of grown charge against Astier et al. 2019."""

    def test_variance(self, grown):
        """Equation 16: below the Poisson variance, by the amount of a00."""
        variance = np.mean([np.var(frame) for frame in grown])
        asked = (np.exp(2 * A00 * MEAN) - 1) / (2 * A00)
        assert asked == pytest.approx(0.9 * MEAN, rel=0.01)
        assert variance == pytest.approx(asked, rel=0.008)

    def test_covariance(self, grown):
        """Neighbors are correlated, to leading order by a10 mu^2."""
        covariance = np.mean([np.mean(f[:, 1:] * f[:, :-1]) + np.mean(f[1:] * f[:-1]) for f in grown]) / 2
        asked = area_kernel(A00)[4, 5] * MEAN**2
        assert asked > 0
        assert covariance == pytest.approx(asked, rel=0.25)

    def test_charge_is_conserved(self):
        """Repelled charge is found next door, also under a star."""
        image = np.zeros((41, 41))
        paint_stars(image, [20.2], [19.7], [3e5], fwhm=3.0, beta=4.765)
        rng = np.random.default_rng(2)
        frames = [grow(image, rng, a00=-4e-6) for _ in range(12)]
        assert np.mean([f.sum() for f in frames]) == pytest.approx(image.sum(), rel=1.5e-3)
        assert np.mean([f[20, 20] for f in frames]) < 0.99 * image[20, 20]

    def test_kernel(self):
        kernel = area_kernel(A00)
        assert kernel[4, 4] == pytest.approx(A00)
        assert kernel.sum() == pytest.approx(0, abs=1e-18)
        assert kernel == pytest.approx(kernel.T)


class TestTerms:
    """Every switch changes what it should, and nothing else."""

    #: Exposures on which a term shows; science frames where nothing is said.
    SHOWS_ON: ClassVar = {
        "screen_gradient": make_exposure("flat", light=100.0),
        "twilight_gradient": make_exposure("twilight", light=100.0),
        "shutter": make_exposure("flat", exposure=1.0, light=20000.0),
        "non_linearity": make_exposure("flat", light=500.0),
        "trailing_charge": make_exposure("flat", light=500.0),
        "saturation": make_exposure("flat", light=930.0),
        "brighter_fatter": make_exposure("flat", light=500.0),
    }

    @pytest.mark.parametrize("name", [item.name for item in fields(Physics)])
    def test_each_switch_does_something(self, name):
        night = make_night((120, 140), brighter_fatter_steps=5)
        exposure = self.SHOWS_ON.get(name, make_exposure())
        default = getattr(Physics(), name)
        other = 5.0 if name == "satellites" else not default
        assert np.any(expose(night, exposure, Physics()) != expose(night, exposure, Physics(**{name: other})))

    def test_none_is_a_perfect_detector(self):
        raw = expose(make_night(), make_exposure("flat", light=17.0), Physics.none(quantization=True))
        assert np.unique(raw[:, :-10]).tolist() == [2000.0]
        assert np.unique(raw[:, -10:]).tolist() == [1000.0]

    def test_terms_have_streams_of_their_own(self):
        """A frame with stars is the frame without them, and the stars."""
        night, exposure = make_night(), make_exposure()
        physics = Physics(photon_noise=False, quantization=False)
        maps = make_maps(replace(night, exposures=(exposure,)), physics, 1)
        with_stars = make_frame(night, exposure, physics, 1, maps).raw
        without = make_frame(night, exposure, replace(physics, stars=False), 1, maps).raw
        difference = night.camera.to_data(with_stars - without)
        assert difference.min() > -0.01
        assert np.median(difference) < 1
        assert difference.max() > 1000

    def test_bias_drift_is_in_image_and_overscan(self):
        night = make_night(row_drift=20.0)
        raw = expose(night, make_exposure("bias"), Physics.none(bias_drift=True, quantization=True))
        assert np.ptp(raw[:, 0]) > 20
        assert np.array_equal(raw[:, 100], raw[:, -1])

    def test_overscan_scatter_is_not_in_the_image(self):
        raw = expose(make_night(), make_exposure("bias"), Physics.none(overscan_scatter=True, quantization=True))
        assert np.unique(raw[:, :-10]).size == 1
        assert raw[:, -1].std() == pytest.approx(3.0, rel=0.2)
        assert np.ptp(raw[:, -10:], axis=1).max() == 0

    def test_trailing_charge(self):
        """One percent of the last pixel in the first overscan column, falling, gone after five columns."""
        physics = Physics.none(trailing_charge=True, quantization=True)
        raw = expose(make_night(), make_exposure("flat", light=340.0), physics)
        late = raw[:, -10:].mean(axis=0) - 1000
        assert late[:5] == pytest.approx(200 * np.exp(-np.arange(5) / 1.5), abs=0.5)
        assert np.all(late[5:] == 0)

    def test_bleeding_keeps_charge(self):
        charge = np.full((60, 5), 100.0, np.float32)
        charge[30, 2] = 10500.0
        before = charge.sum()
        bleed(charge, 1000.0)
        assert charge.sum() == pytest.approx(before)
        assert charge.max() == 1000
        full = np.flatnonzero(charge[:, 2] == 1000)
        assert full.size == 11
        assert abs(full.mean() - 30) <= 1
        assert np.all(charge[:, [0, 1, 3, 4]] == 100)

    def test_defects(self):
        """Each kind of bad pixel behaves as its row of the table says."""
        exposure = make_exposure("flat", light=200.0)
        night = replace(make_night(), exposures=(exposure,))
        physics = replace(Physics.none(quantization=True), **dict.fromkeys(
            ("hot_pixels", "dead_pixels", "traps", "bad_columns", "unexposed"), True))  # fmt: skip
        maps = make_maps(night, physics, 1)
        raw = make_frame(night, exposure, physics, 1, maps).raw[:, :-10]
        table = maps.defects
        assert set(table["kind"]) == {"hot", "dead", "trap", "column", "patch", "unexposed"}
        charge = np.maximum(20000 * table["sensitivity"] + 100 * table["rate"] - table["capacity"], 0)
        assert raw[table["y"], table["x"]] == pytest.approx(1000 + charge / GAIN, abs=1)
        good = np.ones(raw.shape, bool)
        good[table["y"], table["x"]] = False
        assert np.ptp(raw[good]) == 0


class TestNights:
    """Files, folders and headers as the instruments write them."""

    def test_lfc_layout(self, lfc):
        names = sorted(path.relative_to(lfc.raw_folder).as_posix() for path in lfc.raw_folder.rglob("*.fits"))
        assert len(names) == 32
        assert {f"ccd.{number:03d}.0.fits" for number in range(36, 46)} <= set(names)
        assert {f"darks/ccd.{number:03d}.0.fits" for number in (2, 13, 14, 15, 17, 18, 19, 23, 24, 25)} <= set(names)
        assert "ccd.014.0.fits" in names  # collides with a dark
        shifts = {(lfc.exposure(f"ccd.0{n}.0.fits").dx, lfc.exposure(f"ccd.0{n}.0.fits").dy) for n in range(36, 41)}
        assert len(shifts) == 5

    def test_lfc_header_bytes(self, lfc):
        """The cards of the lecture, byte for byte."""
        cards = header_of(lfc.raw_folder / "ccd.001.0.fits")
        for text in (
            "SIMPLE  =                    T  / STANDARD FITS",
            "BSCALE  =        1.0000000E+00  / PHYSICAL = BSCALE * DATA + BZERO",
            "BZERO   =               32768.",
            "INSTRUME= 'LFC     '            / Instrument used for observation",
            "IMAGETYP= 'BIAS    '            / Type of observation",
            "DARKTIME=                0.120  / Dark current time (seconds)",
            "DATE-OBS= '2016-01-15'          / UT Date of observation (DD/MM/YY)",
            "UT      = ' 23:53:30.00'        / Universal time (UTC) at exposure start",
            "JD      =                 2457403.495486  / Julian date at exposure start",
            "FILTER  = 'i'      '            / Filter description",
            "GAIN    =                1.100  / Nominal gain (e-/ADU)",
            "BIASSEC = '[2049:2080,1:511]'   / Overscan area of frame",
            "CHIPID  =                    0",
        ):
            assert f"{text:80s}" in cards
        assert len(cards[: cards.index(f"{'END':80s}")]) == 43

    def test_full_frames(self):
        """The full cameras have the shapes and sections of the instruments; nothing is exposed here."""
        shapes = {name: night_for(name, "full").camera.shape for name in NIGHTS}
        expected = {
            "lfc": (4128, 2080),
            "aspen": (4096, 4109),
            "arcsat": (1024, 1024),
            "nickel": (1024, 1056),
        }
        assert shapes == expected
        assert night_for("lfc", "full").camera.data_shape == (4128, 2048)
        assert night_for("aspen", "full").camera.data_shape == (4096, 4096)

    @pytest.mark.parametrize("name", ["aspen", "arcsat", "nickel"])
    def test_headers_are_understood(self, name, tmp_path):
        """Kind, exposure and filter come back from the headers, and the headers choose the profile."""
        from ccdnight.profiles import match_profile
        from ccdnight.profiles.interpret import read_facts

        truth = simulate_night(tmp_path, name, seed=3, physics=Physics.none(quantization=True, stars=True))
        for path, exposure in truth.exposures.items():
            header = fits.getheader(truth.raw_folder / path)
            profile = match_profile(header)
            assert profile.name == name
            facts = read_facts(header, profile)
            assert facts.kind in ({"twilight", "flat"} if exposure.kind == "twilight" else {exposure.kind})
            assert (facts.exposure, facts.filter) == (exposure.exposure, exposure.filter)
            assert not facts.problems

    def test_nickel_drift(self, tmp_path):
        """Biases at the start only; the overscan falls to 960 adu and rises again."""
        truth = simulate_night(tmp_path, "nickel", seed=2)
        levels = [np.median(raw_of(truth, path)[:, -20:]) for path in truth.exposures]
        assert levels[0] == pytest.approx(1001, abs=1)
        assert levels[10] > 1013
        assert min(levels) == pytest.approx(960, abs=1)
        assert levels.index(min(levels)) == 16
        assert levels[17] > 990
        assert set(truth.select("bias")) == set(list(truth.exposures)[:10])
        assert np.all(raw_of(truth, "d1001.fits")[:, 256] == 65535)

    def test_aspen_twilight_falls(self):
        levels = [item.light * item.exposure for item in night_for("aspen").exposures if item.kind == "twilight"]
        assert len(levels) == 10
        assert levels == sorted(levels, reverse=True)
        assert levels[-1] / levels[0] == pytest.approx((38662 - 1200) / (45892 - 1200), rel=0.02)
        assert night_for("aspen").physics.shutter

    def test_any_profile(self, tmp_path):
        """A camera of two amplifiers, in its own words; the amplifiers keep their gains."""
        amplifiers = (
            Amplifier(name="L", shape=(100, 240), data="[1:100,1:100]", overscan="[201:220,1:100]", gain=1.0),
            Amplifier(name="R", shape=(100, 240), data="[101:200,1:100]", overscan="[221:240,1:100]", gain=3.0),
        )
        profile = replace(get_profile("generic"), name="twin", amplifiers=amplifiers)
        truth = simulate_night(tmp_path, profile, seed=4)
        assert truth.night.camera.data_shape == (100, 200)
        flat = truth.select("flat")[0]
        raw = raw_of(truth, flat)
        left, right = np.median(raw[:, 5:95]) - 1000, np.median(raw[:, 105:195]) - 1000
        assert left / right == pytest.approx(3, rel=0.02)
        pull = (truth.night.camera.to_data(raw) - truth.bias(flat)) * truth.night.camera.per_pixel("gain")
        pull = ((pull - truth.expected(flat)) / np.sqrt(truth.variance(flat)))[truth.usable(flat)]
        assert pull.std() == pytest.approx(1, abs=0.03)
        assert fits.getheader(truth.raw_folder / flat)["IMAGETYP"].lower().startswith("flat")

    @pytest.mark.parametrize("name", ["lfc", "aspen", "nickel"])
    def test_cut_frames_are_understood(self, name, tmp_path):
        """Small frames of a profile that has no night of its own: kinds and sections come back."""
        from ccdnight import storage
        from ccdnight.geometry import resolve_geometry
        from ccdnight.profiles.interpret import read_facts

        profile = replace(get_profile(name), name="mine")
        physics = Physics.none(quantization=True)
        truth = simulate_night(tmp_path, profile, seed=3, physics=physics)
        camera = truth.night.camera
        assert camera.shape[0] == 320
        for path, exposure in truth.exposures.items():
            raw = storage.read_header(truth.raw_folder / path)
            facts = read_facts(raw.header, profile)
            assert (facts.kind, facts.exposure) == (exposure.kind, exposure.exposure)
            geometry = resolve_geometry(raw.header, raw.shape, profile, detector=camera.detector)
            assert geometry.trimmed_shape == camera.data_shape
            assert geometry.has_overscan == bool(camera.readouts[0].overscan)

    def test_flat_series(self, tmp_path):
        """A photon transfer series: biases, and pairs of flats of the levels asked for."""
        night = flat_series(night_for("arcsat"), [1000.0, 30000.0], biases=2)
        physics = Physics.none(quantization=True)
        truth = simulate_night(tmp_path, "arcsat", seed=1, night=night, physics=physics)
        assert list(truth.exposures)[2:] == [f"flat_{i:02d}_{j}.fits" for i in (1, 2) for j in (1, 2)]
        level = np.median(raw_of(truth, "flat_02_1.fits")) - 1355
        assert level == pytest.approx(30000 / 1.34, abs=1)

    def test_plain_words(self):
        assert [plain_word(item) for item in ("dark*", "*flat*", "a?c", "light")] == [
            "dark",
            "flat",
            "axc",
            "light",
        ]

    def test_unknown_profile(self, tmp_path):
        with pytest.raises(ProfileError, match="nosuch"):
            simulate_night(tmp_path, "nosuch", seed=1)

    @pytest.mark.parametrize(
        ("more", "word"),
        [
            ({"size": "tiny"}, "tiny"),
            ({"seed": -1}, "seed"),
            ({"seed": 1.5}, "seed"),
            ({"faults": ["x"]}, "truncated"),
        ],
    )
    def test_wrong_arguments(self, tmp_path, more, word):
        with pytest.raises(InputError, match=word):
            simulate_night(tmp_path, "generic", **{"seed": 1, **more})

    def test_amplifiers_without_sections(self):
        amplifiers = (Amplifier(name="L"), Amplifier(name="R"))
        with pytest.raises(InputError, match="'L', 'R'"):
            any_night(replace(get_profile("generic"), name="mine", amplifiers=amplifiers))


class TestSameBytes:
    """The seed decides everything."""

    @staticmethod
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_reproducible(self, tmp_path):
        for name, workers, seed in (("a", 1, 7), ("b", 2, 7), ("c", 1, 8)):
            simulate_night(tmp_path / name, "generic", seed=seed, workers=workers, faults=["truncated", "duplicate"])
        one, two, other = (self.content(tmp_path / name) for name in "abc")
        assert one == two
        assert one.keys() == other.keys()
        assert sum(one[path] == other[path] for path in one if path.suffix == ".fits" and path.parts[0] == "raw") == 0

    def test_frame_is_independent_of_the_others(self, lfc):
        """A frame made alone has the bytes it has in the night."""
        night, physics = lfc.night, lfc.physics
        alone = make_frame(night, lfc.exposure("ccd.042.0.fits"), physics, 5, make_maps(night, physics, 5))
        assert np.array_equal(alone.raw, raw_of(lfc, "ccd.042.0.fits"))

    def test_truth_opens_again(self, lfc):
        again = open_truth(lfc.folder.parent)
        assert again.night == lfc.night
        assert again.physics == lfc.physics
        assert np.array_equal(again.expected("ccd.036.0.fits"), lfc.expected("ccd.036.0.fits"))
        assert again.gain == {"": 2.0}
        assert again.read_noise == {"": 11.0}
        assert again.sky["g'"] == pytest.approx(1.56)
        assert len(again.frames) == 32
        assert "lfc" in repr(again)

    def test_truth_of_nothing(self, tmp_path):
        with pytest.raises(InputError, match="no truth"):
            open_truth(tmp_path)

    def test_unknown_frame(self, lfc):
        with pytest.raises(InputError, match=r"ccd\.999"):
            lfc.light("ccd.999.0.fits")

    def test_does_not_overwrite(self, tmp_path):
        simulate_night(tmp_path, "generic", seed=1, physics=Physics.none(quantization=True))
        with pytest.raises(OutputError, match=r"not empty.*\(--overwrite\)"):
            simulate_night(tmp_path, "generic", seed=1)
        truth = simulate_night(tmp_path, "generic", seed=2, physics=Physics.none(quantization=True), overwrite=True)
        assert open_truth(tmp_path).seed == truth.seed == 2

    def test_overwrites_what_was_simulated_alone(self, tmp_path):
        """Frames of somebody stay; those of an earlier simulation do not mix with the new ones."""
        night = night_for("nickel")
        bias = tuple(item for item in night.exposures if item.kind == "bias")
        simulate_night(tmp_path / "a", "nickel", seed=1, night=replace(night, exposures=bias[:3]))
        simulate_night(tmp_path / "a", "nickel", seed=1, night=replace(night, exposures=bias[1:2]), overwrite=True)
        assert [path.name for path in (tmp_path / "a" / "raw").iterdir()] == [bias[1].path]
        (tmp_path / "b" / "raw").mkdir(parents=True)
        (tmp_path / "b" / "raw" / bias[0].path).write_text("mine")
        with pytest.raises(OutputError, match="no simulation made"):
            simulate_night(tmp_path / "b", "nickel", seed=1, overwrite=True)
        assert (tmp_path / "b" / "raw" / bias[0].path).read_text() == "mine"

    def test_a_folder_that_is_called_truth_proves_nothing(self, tmp_path):
        """With somebody's file in it; an empty one is left by a simulation that was broken off."""
        night = night_for("nickel")
        one = replace(night, exposures=tuple(item for item in night.exposures if item.kind == "bias")[:1])
        mine = tmp_path / "raw" / one.exposures[0].path
        mine.parent.mkdir()
        mine.write_text("mine")
        (tmp_path / "truth").mkdir()
        (tmp_path / "truth" / "notes.txt").write_text("mine as well")
        with pytest.raises(OutputError, match="no simulation made"):
            simulate_night(tmp_path, "nickel", seed=1, night=one, overwrite=True)
        assert mine.read_text() == "mine"
        (tmp_path / "truth" / "notes.txt").unlink()
        simulate_night(tmp_path, "nickel", seed=1, night=one, overwrite=True)
        assert mine.read_bytes().startswith(b"SIMPLE  =")


class TestFaults:
    """What goes wrong on request."""

    def test_all_faults(self, tmp_path):
        faults = ["truncated", "wrong kind", "saturated flat", "swapped filter"]
        physics = Physics.none(quantization=True)
        truth = simulate_night(tmp_path, "aspen", seed=6, physics=physics, faults=faults)
        fault = {item.fault: path for path, item in truth.exposures.items() if item.fault}
        sizes = {path: (truth.raw_folder / path).stat().st_size for path in truth.exposures}
        assert sizes[fault["truncated"]] < 0.7 * max(sizes.values())
        assert fits.getheader(truth.raw_folder / fault["wrong kind"])["IMAGETYP"] == "BIAS"
        assert np.median(raw_of(truth, fault["saturated flat"])) == 65535
        assert fits.getheader(truth.raw_folder / fault["swapped filter"])["FILTER"] == "B"

    def test_more_faults(self, tmp_path):
        clean = night_for("lfc")
        night = add_faults(
            replace(clean, exposures=clean.exposures[12:16], camera=replace(clean.camera, cosmic_ray_rate=0.0)),
            ["duplicate", "nan", "drifted clock:ccd.039.0.fits"],
        )
        truth = simulate_night(tmp_path, "lfc", seed=6, night=night, physics=Physics.none(quantization=True))
        assert len(truth.exposures) == 5
        copy = next(item for item in truth.night.exposures if item.damage == "duplicate")
        pair = [(truth.raw_folder / path).read_bytes() for path in (copy.path, copy.source)]
        assert pair[0] == pair[1]
        spoilt = next(item.path for item in truth.night.exposures if item.damage == "nan")
        pixels = fits.getdata(truth.raw_folder / spoilt)
        assert pixels.dtype.kind == "f"
        assert 0 < np.count_nonzero(np.isnan(pixels)) < 0.01 * pixels.size
        right = next(item for item in clean.exposures if item.path == "ccd.039.0.fits")
        ut = next(card for card in header_of(truth.raw_folder / "ccd.039.0.fits") if card.startswith("UT "))
        assert int(ut[12:14]) == int(right.time[11:13]) - 3

    def test_every_fault_finds_a_frame(self):
        night = add_faults(night_for("lfc"), list(FAULTS))
        assert sorted(item.fault for item in night.exposures if item.fault) == sorted(FAULTS)

    def test_unknown_frame(self):
        with pytest.raises(InputError, match=r"no frame 'x\.fits'"):
            add_faults(night_for("lfc"), ["truncated:x.fits"])
