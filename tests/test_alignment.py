"""Frames of known shift, rotation and parity come to lie on each other; what cannot is refused with the reason."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from starfields import SCALE, coordinates, dithered, make_image, moved, star_field

from ccdnight import align, read_ccd, write_ccd
from ccdnight.alignment import detect_stars, plot_residuals
from ccdnight.alignment.asterisms import fit_linear, match_lists
from ccdnight.alignment.coordinates import fit_coordinates, put_coordinates, start_coordinates
from ccdnight.exceptions import InputError
from ccdnight.products import make_ccd
from ccdnight.provenance import records_of


def spoiled(ccd, seed, hot=0, rays=0):
    """The frame with hot pixels, the same in every frame, and with cosmic rays of its own."""
    data, fixed, rng = ccd.data.copy(), np.random.default_rng(99), np.random.default_rng(seed)
    ny, nx = data.shape
    for _ in range(hot):
        data[fixed.integers(ny), fixed.integers(nx)] += fixed.uniform(300, 20000)
    for _ in range(rays):
        row, column = rng.integers(ny - 6), rng.integers(nx - 6)
        for step in range(rng.integers(1, 5)):
            data[row + step, column + step * rng.integers(0, 2)] += rng.uniform(300, 5000)
    return make_ccd(data, unit=ccd.unit, meta=ccd.meta, sigma=ccd.uncertainty.array)


def pair(count, *, seed=0, hot=0, rays=0, fwhm=3.2, **how):
    """Two frames without world coordinates, and the stars in both."""
    x, y, flux = star_field(count, seed)
    other = moved(x, y, **how)
    frames = [make_image(x, y, flux, seed=seed + 1, fwhm=fwhm), make_image(*other, flux, seed=seed + 2, fwhm=fwhm)]
    frames = [spoiled(item, seed + n, hot, rays) for n, item in enumerate(frames)]
    return frames, (x, y), other


def worst(transform, stars, other):
    """Largest distance of a star from where the transformation brings it."""
    x, y = transform(*other)
    return float(np.hypot(x - stars[0], y - stars[1]).max())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 60, 300, 1000])
def test_shift(count):
    """From one star to a thousand, tens of pixels apart, without any world coordinates."""
    frames, stars, other = pair(count, seed=count, shift=(17.3, -21.6))
    found = align(frames, reference=0).transforms[1]
    assert found.aligned
    assert worst(found, stars, other) < 0.15
    assert (found.dx, found.dy) == pytest.approx((-17.3, 21.6), abs=0.15)


@pytest.mark.parametrize("count", [3, 5, 12, 60, 300, 1000])
@pytest.mark.parametrize(("angle", "mirrored"), [(31.0, False), (180.0, False), (-90.0, True), (4.0, True)])
def test_rotation_and_reflection(count, angle, mirrored):
    frames, stars, other = pair(count, seed=count, shift=(3.3, -5.6), angle=angle, mirrored=mirrored)
    found = align(frames, reference=0).transforms[1]
    assert found.aligned
    assert found.mirrored == mirrored
    assert worst(found, stars, other) < 0.2
    assert found.scale == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("fwhm", [1.6, 3.2, 6.0])
@pytest.mark.parametrize("angle", [0.0, 57.0])
def test_hot_pixels_and_cosmic_rays(fwhm, angle):
    """Two hundred hot pixels, which stand still while the stars move, and a hundred cosmic rays."""
    frames, stars, other = pair(40, seed=5, shift=(11.3, 7.6), angle=angle, hot=200, rays=100, fwhm=fwhm)
    found = align(frames, reference=0).transforms[1]
    assert worst(found, stars, other) < 0.15


def test_little_overlap():
    frames, stars, other = pair(80, seed=3, shift=(140.0, 90.0))
    inside = (other[0] < 258) & (other[1] < 238)
    found = align(frames, reference=0).transforms[1]
    seen = [item[inside] for item in (*stars, *other)]
    assert worst(found, seen[:2], seen[2:]) < 0.3


def test_residuals_are_told():
    """As many vectors as stars, and their length is the residual that is told."""
    frames, *_ = pair(60, shift=(8.0, 3.0))
    found = align(frames, reference=0)
    transform = found.transforms[1]
    assert 0 < transform.residual < 0.05
    assert transform.vectors.shape == (transform.stars, 4)
    assert np.sqrt((transform.vectors[:, 2:] ** 2).sum(1).mean()) < 0.1
    assert found.residual == transform.residual
    assert found.table["stars"][1] == transform.stars
    assert "Alignment of 2 of 2" in found._repr_html_()
    assert transform.plain()["residual"] == round(transform.residual, 6)
    assert transform.plain()["correction"] is None


class TestCoordinates:
    """What stands in the headers afterwards."""

    def test_relative_positions_are_exact(self):
        """The same star has the same place on the sky in every frame, whatever the headers said."""
        shifts = [(0, 0), (14.2, -9.1), (-8.6, 12.9)]
        frames, (x, y, _) = dithered(shifts)
        for number, off in enumerate([(0, 0), (3.0, 4.0), (-2.0, 1.0)]):
            frames[number].meta["CRPIX1"] += off[0]
            frames[number].meta["CRPIX2"] += off[1]
        found = align([make_ccd(i.data, unit=i.unit, meta=i.meta) for i in frames], reference=0)
        sky = [item.wcs.wcs_pix2world(x + dx, y + dy, 0) for item, (dx, dy) in zip(found, shifts, strict=True)]
        for other in sky[1:]:
            assert np.hypot(*(np.array(other) - sky[0])).max() / SCALE < 0.05
        assert found.transforms[1].correction == pytest.approx(5, abs=0.05)
        assert found.transforms[1].source == "header"

    def test_header_cards(self):
        frames, _ = dithered([(0, 0), (5.5, 2.5)])
        found = align(frames, reference=1)
        assert found[0].meta["ASTRREF"] == "frame1.fits"
        assert found[0].meta["ASTRNUM"] > 20
        assert found[0].meta["ASTRRES"] == pytest.approx(found.transforms[0].residual, abs=1e-4)
        assert "as good as the header" in found[0].meta["ASTRABS"]
        assert records_of(found[0])[-1].step == "align"
        assert np.array_equal(found[0].data, frames[0].data)

    def test_without_any(self):
        """Neither pointing nor scale: relative positions all the same, and a card that says so."""
        frames, _ = dithered([(0, 0), (25.5, -32.5)], with_wcs=False)
        found = align(frames, reference=0)
        assert "not known" in found[1].meta["ASTRABS"]
        assert found.transforms[1].dx == pytest.approx(-25.5, abs=0.05)

    def test_pointing(self):
        """From position, scale and angle in the header."""
        header = fits.Header({"RA": "08:00:00.0", "DEC": "+30:00:00", "SECPIX1": 0.18, "ROTANGLE": 90.0})
        start = start_coordinates(header, (240, 260))
        assert start.source == "pointing"
        assert np.allclose(start.wcs.wcs_pix2world([[129.5, 119.5]], 0), [[120, 30]])
        # The y axis points east.
        sky = start.wcs.wcs_pix2world([[129.5, 219.5]], 0)[0]
        assert sky[0] - 120 == pytest.approx(100 * 0.18 / 3600 / np.cos(np.radians(30)), rel=1e-3)

    def test_scale_of_optics_and_profile(self):
        """Pixel size and focal length; else the profile's scale."""
        header = fits.Header({"RA": 10.0, "DEC": 20.0, "XPIXSZ": 13.0, "FOCALLEN": 4014.0})
        start = start_coordinates(header, (100, 100))
        assert abs(start.wcs.wcs.cd[1, 1]) * 3600 == pytest.approx(0.668, abs=1e-3)
        header = fits.Header({"RA": 10.0, "DEC": 20.0, "INSTRUME": "LFC"})
        assert abs(start_coordinates(header, (100, 100)).wcs.wcs.cd[1, 1]) * 3600 == pytest.approx(0.182)

    def test_reference_beside_the_frames(self, tmp_path):
        """The reference as a file that is not one of the frames; frames as files."""
        frames, _ = dithered([(0, 0), (5.5, 2.5), (-7.0, 1.0)])
        paths = [tmp_path / f"f{n}.fits" for n in range(3)]
        for item, path in zip(frames, paths, strict=True):
            write_ccd(item, path)
        found = align(paths[1:], reference=paths[0])
        assert [round(item.dx, 1) for item in found.transforms] == [-5.5, 7.0]
        assert found.reference == str(paths[0])
        assert align(paths, reference=str(paths[2])).transforms[0].dx == pytest.approx(-7.0, abs=0.05)

    def test_one_frame_with_reference(self):
        frames, _ = dithered([(0, 0), (5.5, 2.5)])
        assert align([frames[1]], reference=frames[0]).transforms[0].dx == pytest.approx(-5.5, abs=0.05)

    def test_sip_is_kept(self):
        """The distortion of the header stays, and the linear part gives way."""
        header = coordinates().to_header()
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        for key, value in {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-5, "B_0_2": -2e-5, "A_1_1": 1e-5}.items():
            header[key] = value
        x, y, _ = star_field(40)
        true = start_coordinates(header, (240, 260)).wcs
        sky = true.all_pix2world(np.column_stack([x, y]), 0)
        header["CRPIX1"] += 6
        wrong = start_coordinates(header, (240, 260)).wcs
        new = wrong
        for _ in range(4):
            new = fit_coordinates(new, np.column_stack([x, y]), sky, fit=fit_linear)
        assert np.abs(new.all_pix2world(np.column_stack([x, y]), 0) - sky).max() / SCALE < 0.01
        written = fits.Header()
        put_coordinates(written, new)
        assert written["A_2_0"] == 3e-5
        assert np.allclose(WCS(written).all_pix2world([[50, 60]], 0), new.all_pix2world([[50, 60]], 0), atol=1e-12)

    def test_cd_beside_pc(self):
        """Two linear parts: the CD matrix counts, and it is said."""
        header = coordinates().to_header()
        header["CD1_1"], header["CD2_2"], header["CD1_2"], header["CD2_1"] = -SCALE, SCALE, 0.0, 0.0
        header["CDELT1"], header["CROTA2"] = 1.0, 45.0
        start = start_coordinates(header, (240, 260))
        assert start.source == "header"
        assert np.allclose(start.wcs.wcs.cd, np.diag([-SCALE, SCALE]))
        assert "CD matrix" in start.notes[0]

    @pytest.mark.parametrize("named", [True, False])
    def test_half_a_sip(self, named):
        """CTYPE and coefficients that do not agree are put right in words."""
        header = coordinates().to_header()
        if named:
            header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        else:
            header["A_ORDER"], header["B_ORDER"], header["A_2_0"] = 2, 2, 1e-4
        start = start_coordinates(header, (240, 260))
        assert (start.wcs.sip is None) == named
        assert "SIP" in start.notes[0]

    @pytest.mark.parametrize(
        ("cards", "word"),
        [
            ({"CDELT1": 0.0}, ""),
            ({"CTYPE1": "X", "CTYPE2": "Y"}, "not celestial"),
            ({"CDELT1": 1e5, "CDELT2": 1e5}, "arcsec"),
        ],
    )
    def test_nonsense_is_no_start(self, cards, word):
        header = coordinates().to_header()
        header.update(cards)
        start = start_coordinates(header, (240, 260))
        assert start.source == "assumed"
        assert word in start.notes[0]

    def test_contradiction_is_told(self):
        """World coordinates that are 40 pixels off."""
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        frames[1].meta["CRPIX1"] += 40
        found = align([frames[0], make_ccd(frames[1].data, unit="electron", meta=frames[1].meta)], reference=0)
        assert "contradict its stars by 40" in found.transforms[1].reason
        assert any("contradict" in note for note in found.notes)


class TestAbsolute:
    """The reference brought to the sky."""

    def test_catalog(self):
        frames, (x, y, flux) = dithered([(0, 0), (5.0, 3.0)])
        sky = coordinates().wcs_pix2world(x, y, 0)
        for item in frames:
            item.meta["CRPIX1"] += 12
        frames = [make_ccd(item.data, unit="electron", meta=item.meta) for item in frames]
        catalog = Table({"RA": sky[0], "Dec": sky[1], "mag": -2.5 * np.log10(flux)})
        found = align(frames, reference=0, catalog=catalog)
        assert np.hypot(*(np.array(found[0].wcs.wcs_pix2world(x, y, 0)) - sky)).max() / SCALE < 0.2
        assert "stars of a catalog" in found[1].meta["ASTRABS"]

    def test_wrong_catalog(self):
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        with pytest.raises(InputError, match="none of its 0 stars"):
            align(frames, catalog=Table({"ra": [10.0], "dec": [-40.0]}))
        with pytest.raises(InputError, match="columns ra and dec"):
            align(frames, catalog=Table({"x": [1.0]}))

    def test_solve_field(self, tmp_path, monkeypatch):
        """The program's own solution is taken; without the program it is said what to do."""
        monkeypatch.setenv("PATH", str(tmp_path))
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        with pytest.raises(InputError, match="not installed"):
            align(frames, solve=True)
        solved = coordinates((7.0, 0.0)).to_header()
        fits.PrimaryHDU(header=solved).writeto(tmp_path / "solved.fits")
        program = tmp_path / "solve-field"
        program.write_text(f'#!/bin/sh\nfor last; do :; done\n/bin/cp {tmp_path}/solved.fits "${{last%.fits}}.wcs"\n')
        program.chmod(0o755)
        found = align(frames, reference=0, solve=True)
        assert found[0].wcs.wcs.crpix[0] == pytest.approx(coordinates((7.0, 0.0)).wcs.crpix[0])
        assert "solve-field" in found[0].meta["ASTRABS"]
        program.write_text("#!/bin/sh\nexit 1\n")
        with pytest.raises(InputError, match="no solution"):
            align(frames, solve=True)


class TestRefusals:
    """Frames that do not go together, in words."""

    def test_no_common_stars(self):
        frames = [make_image(*star_field(40, seed), seed=seed) for seed in (1, 2)]
        with pytest.raises(InputError, match=r"no common stars: 3\d stars, and 3\d of the reference"):
            align(frames)

    def test_one_of_three(self):
        """It is left out with its reason; the others are aligned."""
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        frames.insert(1, make_image(*star_field(40, 77), seed=5, wcs=coordinates(), FILENAME="stranger.fits"))
        found = align(frames, reference=0)
        assert len(found) == 2
        assert list(found.failures) == ["stranger.fits"]
        assert "no common stars" in found.failures["stranger.fits"]

    def test_empty_frames(self):
        frames = [make_image([], [], [], seed=seed) for seed in (1, 2)]
        with pytest.raises(InputError, match="no stars"):
            align(frames)

    def test_pixel_scale_by_header(self):
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        wcs = coordinates((5.0, 3.0), scale=2 * SCALE)
        other = make_ccd(frames[1].data, unit="electron", meta=wcs.to_header())
        with pytest.raises(InputError, match=r"different pixel scale: 0.36 arcsec, and 0.18"):
            align([frames[0], other], reference=0)

    def test_pixel_scale_by_stars(self):
        frames, _, _ = pair(40, scale=0.8)
        with pytest.raises(InputError, match="different pixel scale: its stars lie"):
            align(frames, reference=0)

    def test_one_frame(self):
        frames, _ = dithered([(0, 0)])
        with pytest.raises(InputError, match="one frame only; at least 2"):
            align(frames)
        with pytest.raises(InputError, match="no frames"):
            align([])

    @pytest.mark.parametrize("reference", [2, -3])
    def test_unknown_reference(self, reference):
        frames, _ = dithered([(0, 0), (5.0, 3.0)])
        with pytest.raises(InputError, match=r"0 to 1 are allowed"):
            align(frames, reference=reference)

    def test_no_frame(self):
        with pytest.raises(TypeError, match="frame 0 is a ndarray"):
            align([np.zeros((9, 9)), np.zeros((9, 9))])


class TestStars:
    """Detection and measurement."""

    def test_positions_and_width(self):
        x, y, flux = star_field(30, flux=(2e4, 2e5))
        stars = detect_stars(make_image(x, y, flux, fwhm=4.0))
        gap = np.hypot(stars.x[:, None] - x, stars.y[:, None] - y)
        assert len(stars) >= 25
        assert np.median(gap.min(1)) < 0.03
        # A Moffat profile with the pixel in it is as wide as a Gaussian that is a little wider.
        assert stars.fwhm == pytest.approx(4.3, abs=0.2)
        assert np.all(np.diff(stars.flux) <= 0)

    def test_errors_are_right(self):
        """Positions of faint stars scatter as much as their error says."""
        x, y, flux = star_field(150, flux=(3000, 6000), shape=(600, 600))
        stars = detect_stars(make_image(x, y, flux, shape=(600, 600)))
        gap = np.stack([stars.x[:, None] - x, stars.y[:, None] - y])
        near = np.argmin(np.hypot(*gap), axis=1)
        pulls = gap[:, np.arange(len(stars)), near] / stars.error
        assert 0.6 < 1.4826 * np.median(np.abs(pulls)) < 1.4

    def test_flagged_stars_are_left_out(self):
        ccd = make_image([60.2, 150.7], [80.1, 140.4], [1e5, 1e5])
        flags = np.zeros(ccd.shape, np.uint16)
        flags[80, 60] = 2
        stars = detect_stars(make_ccd(ccd.data, unit="electron", flags=flags))
        assert np.round(stars.x[stars.snr > 20]).tolist() == [151]

    def test_background_does_not_matter(self):
        x, y, flux = star_field(20, flux=(2e4, 2e5))
        ccd = make_image(x, y, flux)
        slope = ccd.data + np.linspace(0, 3000, ccd.shape[1])
        assert len(detect_stars(make_ccd(slope, unit="electron"))) == pytest.approx(len(detect_stars(ccd)), abs=1)

    @pytest.mark.parametrize("wrong", [{"threshold": 0}, {"limit": 0}])
    def test_wrong_numbers(self, wrong):
        with pytest.raises(InputError, match="positive"):
            detect_stars(make_image([], [], []), **wrong)


class TestLists:
    """Matching lists of positions alone."""

    def test_chance_does_not_do(self):
        """Of a hundred pairs of unrelated lists none is matched, clustered ones included."""
        rng = np.random.default_rng(1)
        found = 0
        for number in range(100):
            one, other = rng.uniform(0, 500, (2, 60, 2))
            if number % 2:
                one[:40], other[:40] = rng.normal(250, 25, (2, 40, 2))
            found += match_lists(one, other, area=250000.0, scales=(0.95, 1.05)) is not None
        assert found <= 1

    def test_half_in_common(self):
        rng = np.random.default_rng(2)
        one = rng.uniform(0, 500, (80, 2))
        other = np.vstack([one[:40], rng.uniform(0, 500, (40, 2))])
        order = rng.permutation(80)
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        match = match_lists(one, (other @ turn.T + [500, 30])[order], area=250000.0)
        assert len(match) == pytest.approx(40, abs=2)
        assert match.angle == pytest.approx(-90, abs=0.01)
        assert not match.mirrored

    def test_empty(self):
        assert match_lists(np.empty((0, 2)), np.ones((3, 2)), area=1e6) is None

    def test_fit_has_as_many_parameters_as_stars_carry(self):
        rng = np.random.default_rng(3)
        points = rng.uniform(0, 500, (20, 2))
        sheared = points @ np.array([[1.001, 0.0005], [-0.0002, 0.999]]).T + [3, 4]
        matrix, offset = fit_linear(sheared, points)
        assert np.allclose(points @ matrix.T + offset, sheared)
        matrix, _ = fit_linear(sheared[:1], points[:1])
        assert np.array_equal(matrix, np.eye(2))
        matrix, _ = fit_linear(sheared[:3], points[:3])
        assert matrix[0, 0] == matrix[1, 1]


@pytest.mark.realdata
class TestRealFrames:
    """ARCSAT without world coordinates; six fields of the Nickel telescope."""

    def test_arcsat(self, realdata):
        """Four filters of one target, raw."""
        found = align(sorted((realdata / "arcsat-2025-06-01").glob("Cats*")))
        # In H-alpha there is a nebula, and few stars.
        assert len(found) >= 3
        assert all("H-Alpha" in name and "no common stars" in why for name, why in found.failures.items())
        assert all(item.source == "pointing" for item in found.transforms)
        assert all(abs(item.dx) < 4 and abs(item.dy) < 4 for item in found.transforms if item.aligned)
        assert found.residual < 0.2
        assert found[0].wcs is not None

    def test_arcsat_shifted_by_tens_of_pixels(self, realdata):
        """A raw frame against itself, cut elsewhere."""
        path = next((realdata / "arcsat-2025-06-01").glob("Cats*_r_*"))
        with fits.open(path) as hdus:
            data, header = hdus[0].data.astype(np.float32), hdus[0].header
        for key in ("BZERO", "BSCALE", "OBJCTRA", "OBJCTDEC", "RA", "DEC"):
            header.remove(key, ignore_missing=True)
        frames = [make_ccd(data[a : a + 900, b : b + 900], unit="adu", meta=header) for a, b in ((0, 0), (63, 41))]
        transform = align(frames, reference=0).transforms[1]
        assert (transform.dx, transform.dy) == pytest.approx((41, 63), abs=0.02)

    def test_nickel_fields_are_refused(self, realdata):
        """Six different targets."""
        with pytest.raises(InputError, match="no common stars"):
            align(sorted((realdata / "nickel-2024-05-13").glob("d10[4-8]*")))


def test_residuals_are_drawn():
    """One vector for each star of each frame but the reference."""
    frames, _ = dithered([(0, 0), (5.0, 3.0), (2.0, -4.0)])
    found = align(frames, reference=0)
    ax = plot_residuals(found)
    assert [len(item.U) for item in ax.collections] == [item.stars for item in found.transforms[1:]]
    assert "frame1.fits: 0.0" in ax.get_legend().get_texts()[0].get_text()
    assert plot_residuals([]) is not ax


def test_files_are_left_as_they_are(tmp_path):
    frames, _ = dithered([(0, 0), (5.0, 3.0)])
    paths = [tmp_path / "a.fits", tmp_path / "b.fits"]
    for item, path in zip(frames, paths, strict=True):
        write_ccd(item, path)
    before = [path.read_bytes() for path in paths]
    found = align(paths)
    assert [path.read_bytes() for path in paths] == before
    write_ccd(found[1], tmp_path / "c.fits")
    assert read_ccd(tmp_path / "c.fits").meta["ASTRNUM"] == found.transforms[1].stars
