"""Coadds hold what went into them: light, noise, footprint, and nothing that was in one frame alone."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from starfields import SCALE, coordinates, dithered, lattice, make_image, star_field

from ccdnight import Night, Reduction, align, coadd, read_ccd, write_ccd
from ccdnight._kernels.outliers import clip_outliers
from ccdnight._kernels.resample import Mesh, Piece, Target, resample_rows
from ccdnight.alignment import detect_stars
from ccdnight.cli import main
from ccdnight.coadding import KERNELS
from ccdnight.coadding.correlated import measured_factor
from ccdnight.coadding.grid import make_grid, nodes_of
from ccdnight.coadding.interpolation import kernel_table
from ccdnight.coadding.levels import match_levels
from ccdnight.coaddtasks import coadd_groups
from ccdnight.exceptions import FrameWarning, InputError
from ccdnight.flags import FLAGS
from ccdnight.products import make_ccd
from ccdnight.provenance import records_of
from ccdnight.simulate import night_for, simulate_night
from ccdnight.simulate.stars import moffat_fraction

SHIFTS = [(0.0, 0.0), (7.3, -4.6), (-5.5, 9.2), (3.8, 6.1), (-8.1, -2.7)]


def resampled(data, x, y, name, *, variance=None, flags=None, factor=1.0, offset=0.0):
    """The compiled interpolation at positions that are linear in the output pixels."""
    ny, shape = len(data), x.shape
    step = 8
    rows, columns = (np.arange(-(-n // step) + 1) * step for n in shape)
    grid = [_linear(item, rows, columns) for item in (x, y)]
    mesh = Mesh(*grid, np.ones(grid[0].shape), step)
    flags = np.zeros(data.shape, np.uint16) if flags is None else flags
    good = np.where(flags != 0, np.nan, data).astype(np.float32)
    none = np.empty((0, 0), np.float32)
    piece = Piece(
        good, data.astype(np.float32), none if variance is None else variance.astype(np.float32), flags, 0, ny
    )
    out = Target(
        *(np.zeros(shape, np.float32) for _ in range(3)),
        np.zeros(shape),
        *(np.zeros(shape, np.uint16) for _ in range(3)),
    )
    table, squares = kernel_table(name)
    part = resample_rows(piece, mesh, table, squares, 0, factor, offset, out)
    return out, part


def _linear(values, rows, columns):
    """A linear field continued to the nodes."""
    dy, dx = values[1, 0] - values[0, 0], values[0, 1] - values[0, 0]
    return values[0, 0] + rows[:, None] * dy + columns[None, :] * dx


def slow(data, x, y, name):
    """The same pixel by pixel in float64: the sum of weights times values; NaN where a tap is missing."""
    taps = KERNELS[name]
    before = taps // 2 - 1
    out = np.full(x.shape, np.nan)
    for place in np.ndindex(x.shape):
        column, row = int(np.floor(x[place])), int(np.floor(y[place]))
        rows = np.arange(row - before, row - before + taps)
        columns = np.arange(column - before, column - before + taps)
        weights = [_weights(np.abs(item - at), name) for item, at in ((rows, y[place]), (columns, x[place]))]
        if rows[0] < 0 or columns[0] < 0 or rows[-1] >= data.shape[0] or columns[-1] >= data.shape[1]:
            continue
        out[place] = weights[0] @ data[np.ix_(rows, columns)] @ weights[1]
    return out


def _weights(away, name):
    if name == "bilinear":
        return 1 - away
    if name == "bicubic":
        inner = 1.5 * away**3 - 2.5 * away**2 + 1
        return np.where(away <= 1, inner, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2)
    weights = np.sinc(away) * np.sinc(away / 3)
    return weights / weights.sum()


class TestKernel:
    """The compiled interpolation."""

    @pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos3"])
    @pytest.mark.parametrize("turn", [0.0, 0.3, 1.5])
    def test_is_the_slow_one(self, name, turn):
        """Shifted and turned positions, at the precision of the phases."""
        rng = np.random.default_rng(1)
        data = rng.normal(100, 10, (50, 60))
        j, i = np.mgrid[:20, :24].astype(float)
        x = 25.3 + np.cos(turn) * (i - 12) - np.sin(turn) * (j - 10)
        y = 24.8 + np.sin(turn) * (i - 12) + np.cos(turn) * (j - 10)
        out, _ = resampled(data, x, y, name)
        assert np.allclose(out.value, slow(data, x, y, name), atol=0.03)

    def test_pixels_themselves(self):
        """A whole shift changes nothing, and spreads nothing."""
        data = np.arange(400.0).reshape(20, 20)
        flags = np.zeros((20, 20), np.uint16)
        flags[8, 9] = 4
        j, i = np.mgrid[:10, :10].astype(float)
        out, part = resampled(data, i + 4, j + 3, "lanczos3", flags=flags, variance=data)
        bad = np.isnan(out.value)
        assert np.argwhere(bad).tolist() == [[5, 5]]
        assert np.array_equal(out.value[~bad], data[3:13, 4:14].astype(np.float32)[~bad])
        assert np.array_equal(out.variance[~bad], data[3:13, 4:14].astype(np.float32)[~bad])
        assert out.flags[5, 5] == 4
        assert out.spare[5, 5] == data[8, 9]
        assert part == (99.0, 99)

    @pytest.mark.parametrize(("name", "reach"), [("bilinear", 2), ("bicubic", 4), ("lanczos3", 6)])
    def test_flags_spread_as_far_as_weights(self, name, reach):
        flags = np.zeros((40, 40), np.uint16)
        flags[20, 20] = 1
        j, i = np.mgrid[:20, :20].astype(float)
        out, _ = resampled(np.ones((40, 40)), i + 10.5, j + 10.5, name, flags=flags)
        assert np.isnan(out.value).sum() == reach**2
        assert (out.flags != 0).sum() == reach**2

    @pytest.mark.parametrize("name", KERNELS)
    def test_constant_stays(self, name):
        """Weights add up to 1; scale and offset act in this order."""
        j, i = np.mgrid[:20, :20].astype(float)
        out, _ = resampled(np.full((40, 40), 7.0), i + 10.37, j + 9.81, name, factor=2.0, offset=3.0)
        assert np.allclose(out.value, 11.0, atol=1e-4)

    def test_variance(self):
        """White noise comes out with the variance that is told."""
        rng = np.random.default_rng(2)
        data = rng.normal(0, 1, (400, 400))
        j, i = np.mgrid[:380, :380].astype(float)
        out, (total, count) = resampled(data, i + 8.3, j + 8.6, "bicubic", variance=np.ones(data.shape))
        assert np.var(out.value) == pytest.approx(out.variance[0, 0], rel=0.03)
        assert out.variance[5, 5] == pytest.approx(total / count, rel=1e-4)

    def test_area(self):
        """Pixels of half the size hold a quarter of the light."""
        j, i = np.mgrid[:40, :40].astype(float)
        out, _ = resampled(np.full((40, 40), 8.0), 10 + 0.5 * i, 9 + 0.5 * j, "bicubic")
        assert np.allclose(out.value, 2.0)

    def test_outside(self):
        j, i = np.mgrid[:10, :10].astype(float)
        out, _ = resampled(np.ones((20, 20)), i - 5.0, j + 5.0, "bicubic")
        assert np.isnan(out.value[:, :5]).all()
        assert (out.seen[:, :5] == 0).all()
        assert (out.seen[:, 5:] == 1).all()


class TestOutliers:
    """What is left out, and what is not."""

    @staticmethod
    def clipped(values, quiet=1.0, photon=1.0, tolerance=0.0, sigma=4.0, growth=2.0):
        cube = np.array(values, np.float32).reshape(len(values), *np.shape(values)[1:])
        variance = np.full(cube.shape, quiet, np.float32)
        lost = clip_outliers(cube, variance, np.full(len(cube), photon), tolerance, sigma, 2 * sigma, growth)
        return cube, lost

    def test_high_value(self):
        cube, lost = self.clipped(np.array([0.1, -0.2, 6.0, 0.3, 0.0])[:, None, None])
        assert lost == 1
        assert np.isnan(cube[2, 0, 0])

    def test_noise_of_the_signal(self):
        """On a star of 10,000 electron 300 electron are noise."""
        assert self.clipped(np.array([10000.0, 10020, 10300, 9990])[:, None, None])[1] == 0
        assert self.clipped(np.array([10000.0, 10020, 10500, 9990])[:, None, None])[1] == 1

    def test_change_of_the_seeing(self):
        """A star that is a fifth brighter in one frame."""
        values = np.array([10000.0, 10020, 12000, 9990])[:, None, None]
        assert self.clipped(values)[1] == 1
        assert self.clipped(values, tolerance=0.1)[1] == 0

    def test_two_values(self):
        """The lower one stays: cosmic rays only add; noise of both is allowed for."""
        cube, lost = self.clipped(np.array([50.0, 0.0])[:, None, None])
        assert lost == 1
        assert cube[1, 0, 0] == 0
        assert self.clipped(np.array([5.0, 0.0])[:, None, None])[1] == 0

    def test_neighbors(self):
        """Beside an outlier half the threshold does; elsewhere it does not."""
        values = np.zeros((4, 5, 5))
        values[1, 2, 2], values[1, 2, 3], values[1, 0, 0] = 50, 3, 3
        cube, lost = self.clipped(values)
        assert lost == 2
        assert np.isnan(cube[1, 2, 3])
        assert cube[1, 0, 0] == 3


@pytest.fixture(scope="module")
def night():
    """Five dithered frames of 25 stars, and the stars."""
    return dithered(SHIFTS, stars=lattice(4), fwhm=3.2, seed=4)


@pytest.fixture(scope="module")
def image(night):
    """Their coadd."""
    return coadd(night[0])


class TestCoadd:
    """Five dithered frames of 25 stars."""

    def places(self, image, night):
        """Stars in the coadd, by way of the sky."""
        x, y, flux = night[1]
        first = [item.name for item in image.alignment.transforms].index("frame0.fits")
        sky = image.alignment.coordinates[first].wcs_pix2world(x, y, 0)
        return (*image.wcs.wcs_world2pix(*sky, 0), flux)

    def test_light(self, image, night):
        """Stars have the light that they have, within a fifth of a percent together."""
        ratios = self.photometry(image, night)
        assert ratios.mean() == pytest.approx(1, abs=0.004)

    def photometry(self, image, night, radius=7.0):
        from photutils.aperture import CircularAperture, aperture_photometry
        from scipy.spatial import cKDTree

        x, y, flux = self.places(image, night)
        at = np.column_stack([x, y])
        lone = (cKDTree(at).query(at, 2)[0][:, 1] > 22) & (flux > 2e4)
        sky = image.meta["SKYLEVEL"]
        light = aperture_photometry(np.nan_to_num(image.data - sky), CircularAperture(at[lone], radius))
        assert lone.sum() >= 5
        return np.asarray(light["aperture_sum"]) / flux[lone] / moffat_fraction(radius, 3.2, 4.765)

    @pytest.mark.parametrize("name", ["bicubic", "bilinear", "interp", "adaptive", "exact"])
    def test_light_by_every_interpolation(self, night, name):
        image = coadd(night[0][:2], align="wcs", resample=name)
        assert self.photometry(image, night).mean() == pytest.approx(1, abs=0.02)

    def test_light_on_larger_and_turned_pixels(self, night):
        """A given grid whose pixels are a quarter larger, turned by 40 degrees."""
        wcs = coordinates(shape=(260, 260), scale=1.25 * SCALE)
        turn = np.radians(40)
        wcs.wcs.cd = wcs.wcs.cd @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        wcs.array_shape = 260, 260
        image = coadd(night[0], grid=wcs)
        assert image.shape == (260, 260)
        assert self.photometry(image, night, radius=5.5).mean() == pytest.approx(1, abs=0.02)
        assert image.meta["SKYLEVEL"] == pytest.approx(100 * 1.25**2, rel=0.01)

    def test_stars_do_not_grow(self, image, night):
        before = np.mean([detect_stars(item).fwhm for item in night[0]])
        assert detect_stars(image).fwhm == pytest.approx(before, rel=0.03)
        assert image.meta["FWHM"] == pytest.approx(image.meta["FWHMIN"], rel=0.03)

    def test_noise(self, image):
        """The scatter of pixels is their error, that of sums over blocks is larger by the factor in the header."""
        good = (image.flags == 0) & (image.coverage == 5) & (image.data < 110)
        pulls = (image.data - np.median(image.data[good]))[good] / image.uncertainty.array[good]
        assert 1.4826 * np.median(np.abs(pulls)) == pytest.approx(1, abs=0.06)
        assert 1.05 < image.meta["NOISCORR"] < 1.25

    def test_factor_of_blank_sky(self):
        """The factor of the kernels is the one that is measured, for each of them."""
        frames = [
            make_image([], [], [], seed=n, wcs=coordinates(shift), shape=(240, 260)) for n, shift in enumerate(SHIFTS)
        ]
        for name, factor in (("nearest-neighbor", 1.0), ("bilinear", 1.5), ("bicubic", 1.25), ("lanczos3", 1.13)):
            image = coadd(frames, align="wcs", resample=name)
            assert image.meta["NOISCORR"] == pytest.approx(factor, abs=0.12)
            measured = measured_factor(image.data, image.uncertainty.array, image.flags)
            assert measured == pytest.approx(image.meta["NOISCORR"], rel=0.1)

    def test_footprint(self, image):
        """The union of the frames: each shifted frame is counted where it lies."""
        assert image.shape[0] > 240 + 13
        assert image.shape[1] >= 260 + 15
        y, x = np.mgrid[: image.shape[0], : image.shape[1]]
        sky = image.wcs.wcs_pix2world(np.column_stack([x.ravel(), y.ravel()]), 0)
        seen = np.zeros(image.shape, int)
        deep = np.zeros(image.shape, int)
        for wcs in image.alignment.coordinates:
            at = wcs.wcs_world2pix(sky, 0)
            for count, margin in ((seen, -0.5), (deep, 3.5)):
                count += ((at > margin) & (at < np.array([260, 240]) - 1 - margin)).all(1).reshape(image.shape)
        assert (image.coverage <= seen).all()
        assert (image.coverage >= deep).mean() > 0.999
        assert (image.flags[seen == 0] == FLAGS["NO_DATA"].value).all()
        assert np.isnan(image.data[seen == 0]).all()
        assert np.array_equal(image.exposure_map, 60.0 * image.coverage)
        assert np.array_equal(image.mask, image.flags != 0)

    def test_header(self, image, night):
        meta = image.meta
        assert meta["NCOMBINE"] == 5
        assert (meta["EXPTIME"], meta["TEXPTIME"]) == (60, 300)
        assert meta["GAIN"] == pytest.approx(5, rel=0.01)
        assert meta["ASTRREF"].startswith("frame")
        assert [meta[f"IMG00{n}"] for n in (1, 5)] == ["frame0.fits", "frame4.fits"]
        records = [item for item in records_of(image) if item.step == "coadd"]
        assert len(records) == 5
        assert sum(json.loads(item.parameters)["weight"] for item in records) == pytest.approx(1, abs=1e-4)
        assert all(len(item.sha256) == 64 for item in records)
        assert night[0][0].meta.get("NCOMBINE") is None

    def test_written_and_read(self, image, tmp_path):
        write_ccd(image, tmp_path / "coadd.fits")
        again = read_ccd(tmp_path / "coadd.fits")
        assert np.array_equal(again.data, image.data, equal_nan=True)
        assert np.array_equal(again.coverage, image.coverage)
        assert np.array_equal(again.exposure_map, image.exposure_map)
        with fits.open(tmp_path / "coadd.fits") as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "MASK", "COVERAGE", "EXPOSURE", "PROVENANCE"]
            assert hdus["EXPOSURE"].header["BUNIT"] == "s"
        write_ccd(again, tmp_path / "again.fits")
        assert np.array_equal(read_ccd(tmp_path / "again.fits").coverage, image.coverage)

    def test_files_threads_and_strips_make_no_difference(self, night, image, tmp_path):
        """Frames as files, in narrow strips on three threads, give the same numbers."""
        paths = [tmp_path / f"frame{n}.fits" for n in range(5)]
        for item, path in zip(night[0], paths, strict=True):
            write_ccd(item, path)
        other = coadd(paths, mem_limit=2e6, workers=3)
        for one, two in ((image.data, other.data), (image.flags, other.flags), (image.coverage, other.coverage)):
            assert np.array_equal(one, two, equal_nan=True)

    def test_median(self, image):
        other = coadd(image.alignment, method="median")
        good = (image.flags == 0) & (image.coverage == 5) & (image.data < 110)
        assert np.median(other.data[good]) == pytest.approx(np.median(image.data[good]), abs=0.3)
        assert np.median(other.uncertainty.array[good]) > 1.1 * np.median(image.uncertainty.array[good])

    @pytest.mark.parametrize("grid", ["reference", "first"])
    def test_grids(self, night, grid):
        image = coadd(night[0], align="wcs", grid=grid)
        first = coordinates()
        off = np.asarray(image.wcs.wcs.crpix) - first.wcs.crpix
        assert np.allclose(off, np.round(off), atol=1e-6)
        assert (image.shape == (240, 260)) == (grid == "first")
        # Of the first frame nothing is interpolated.
        if grid == "first":
            alone = coadd([night[0][0], night[0][0]], align="wcs", grid="first", reject="none")
            assert np.allclose(alone.data, night[0][0].data, atol=1e-3)


def with_rays(frames, seed=0, count=60):
    """Cosmic rays, each in one frame alone, and where they are."""
    rng, out, hits = np.random.default_rng(seed), [], []
    for item in frames:
        data = item.data.copy()
        rows, columns = rng.integers(5, 235, count), rng.integers(5, 255, count)
        data[rows, columns] += rng.uniform(200, 20000, count)
        out.append(make_ccd(data, unit="electron", meta=item.meta, sigma=item.uncertainty.array))
        hits.append((rows, columns))
    return out, hits


def with_shape(image):
    """The grid of a coadd."""
    wcs = image.wcs.deepcopy()
    wcs.array_shape = image.shape
    return wcs


class TestCleaning:
    """Cosmic rays, satellites and flags go; stars stay, also where the seeing changes."""

    def test_cosmic_rays(self):
        frames, _ = dithered(SHIFTS, count=30, seed=4)
        found = align(frames, reference=0)
        clean = coadd(found, reject="none")
        dirty, _ = with_rays(frames)
        image = coadd(align(dirty, reference=0), grid=with_shape(clean))
        # Where one frame alone looks nobody can tell.
        good = (image.flags == 0) & (image.coverage > 2)
        away = (image.data - clean.data)[good] / image.uncertainty.array[good]
        assert away.max() < 6
        dirty = coadd(align(dirty, reference=0), grid=with_shape(clean), reject="none")
        assert ((dirty.data - clean.data)[good] / image.uncertainty.array[good] > 6).sum() > 1000

    def test_satellite(self):
        frames, _ = dithered(SHIFTS, count=30, seed=4)
        clean = coadd(align(frames, reference=0), reject="none")
        y, x = np.mgrid[:240, :260]
        trail = 3000 * np.exp(-0.5 * ((x - 0.7 * y - 20) / 1.5 / 1.22) ** 2)
        frames[2] = make_ccd(frames[2].data + trail, unit="electron", meta=frames[2].meta, sigma=np.sqrt(125 + trail))
        image = coadd(align(frames, reference=0), grid=with_shape(clean))
        # On a bright star a trail is no more than what the seeing may do.
        good = (image.flags == 0) & (image.coverage > 2) & (clean.data < 300)
        away = (image.data - clean.data)[good] / image.uncertainty.array[good]
        # What is left is the foot of the trail, below the threshold in its own frame.
        assert away.max() < 6

    @pytest.mark.parametrize("widths", [(3.0, 3.2, 3.6, 3.1, 3.3), (2.6, 4.0, 3.2, 3.0, 3.4)])
    def test_star_cores_stay(self, widths):
        """Star by star, under seeing that changes by up to a third, and under clouds."""
        x, y, flux = star_field(30, 4, flux=(2e4, 5e5))
        frames = [
            make_image(x + dx, y + dy, flux * (1 - 0.05 * n), seed=n, fwhm=widths[n], wcs=coordinates((dx, dy)))
            for n, (dx, dy) in enumerate(SHIFTS)
        ]
        found = align(frames, reference=0)
        kept, whole = coadd(found), coadd(found, reject="none")
        sky = found.coordinates[0].wcs_pix2world(x, y, 0)
        lost = whole.coverage.astype(int) - kept.coverage
        at = np.rint(kept.wcs.wcs_world2pix(*sky, 0)).astype(int).T
        cut = [lost[row - 2 : row + 3, column - 2 : column + 3].sum() for column, row in at]
        assert np.count_nonzero(cut) == 0
        assert coadd(found, tolerance=0.0).coverage.sum() < kept.coverage.sum()

    def test_flagged_pixels_are_left_out(self):
        """A bad column in every frame: dithered, it leaves no hole."""
        frames, _ = dithered(SHIFTS, count=30, seed=4)
        clean = coadd(frames, align="wcs", reject="none")
        dirty = []
        for item in frames:
            data, flags = item.data.copy(), np.zeros(item.shape, np.uint16)
            data[:, 100] = 60000
            flags[:, 100] = 1
            dirty.append(make_ccd(data, unit="electron", meta=item.meta, sigma=item.uncertainty.array, flags=flags))
        image = coadd(dirty, align="wcs", reject="none")
        good = image.flags == 0
        assert good.sum() > 0.9 * (clean.flags == 0).sum()
        assert (np.abs(image.data - clean.data)[good] / clean.uncertainty.array[good]).max() < 8
        assert image.coverage.min() < image.coverage.max()

    def test_what_is_flagged_everywhere(self):
        """A star that is saturated in all frames: its values under its flag, and no error."""
        frames, _ = dithered(SHIFTS, count=30, seed=4)
        dirty = []
        for item, (dx, dy) in zip(frames, SHIFTS, strict=True):
            flags = np.zeros(item.shape, np.uint16)
            row, column = round(120 + dy), round(130 + dx)
            flags[row - 6 : row + 7, column - 6 : column + 7] = FLAGS["SATURATED"].value
            dirty.append(
                make_ccd(item.data, unit="electron", meta=item.meta, sigma=item.uncertainty.array, flags=flags)
            )
        image = coadd(dirty, align="wcs", grid="first")
        assert image.flags[120, 130] == FLAGS["SATURATED"].value
        assert image.coverage[120, 130] == 0
        assert np.isfinite(image.data[120, 130])
        assert np.isnan(image.uncertainty.array[120, 130])
        assert coadd(dirty, align="wcs", grid="first", exclude=["COSMIC_RAY"]).coverage[120, 130] == 5


class TestLevels:
    """Background, exposure, weights, the masters' noise."""

    def test_background_is_matched(self):
        """Frames whose sky differs by 500 electron, with a nebula that stays."""
        y, x = np.mgrid[:240, :260]
        frames, _ = dithered(SHIFTS, count=20, seed=4)
        skies = np.array([0, 500, 120, 40, 300.0])
        out = []
        for item, sky, (dx, dy) in zip(frames, skies, SHIFTS, strict=True):
            nebula = 400 * np.exp(-0.5 * (np.hypot(x - 140 - dx, y - 110 - dy) / 40) ** 2)
            out.append(
                make_ccd(item.data + sky + nebula, unit="electron", meta=item.meta, sigma=item.uncertainty.array)
            )
        image = coadd(out, align="wcs", grid="first")
        corner, middle = image.data[15:45, 15:45], image.data[105:115, 135:145]
        assert np.median(corner) == pytest.approx(100 + skies.mean(), abs=20)
        assert np.median(middle) - np.median(corner) == pytest.approx(400, abs=25)
        # No step where the coverage changes.
        assert abs(np.median(image.data[:, 2]) - np.median(image.data[:, 30])) < 25
        taken = coadd(out, align="wcs", grid="first", background="subtract")
        assert np.allclose((image.data - taken.data)[taken.flags == 0], image.meta["SKYLEVEL"], atol=0.05)

    def test_levels_of_a_chain(self):
        """Frames that do not all overlap: each is matched by way of its neighbors."""
        sky = np.linspace(0, 50, 30)
        levels = np.full((3, 30), np.nan)
        for n, (part, level) in enumerate([(slice(0, 14), 10.0), (slice(8, 24), 400.0), (slice(18, 30), 90.0)]):
            levels[n, part] = sky[part] + level
        offsets = match_levels(levels)
        assert np.allclose(np.diff(offsets), [390, -310], atol=0.1)

    def test_exposures(self):
        """Frames of half and twice the exposure: brought to the median one; longer ones count more."""
        x, y, flux = star_field(30, 4)
        frames = [
            make_image(x, y, k * flux, seed=n, sky=100 * k, wcs=coordinates(), EXPTIME=60.0 * k, FILENAME=f"f{n}.fits")
            for n, k in enumerate((0.5, 1.0, 2.0))
        ]
        image = coadd(frames, align="wcs", grid="first")
        assert image.meta["EXPTIME"] == 60
        assert image.meta["TEXPTIME"] == 210
        assert image.meta["SKYLEVEL"] == pytest.approx(100, rel=0.03)
        weights = [json.loads(item.parameters)["weight"] for item in records_of(image) if item.step == "coadd"]
        # By variance of the sky over the square of the scale.
        expected = 1 / np.array([(75) * 4, 125.0, 225 / 4])
        assert weights == pytest.approx(expected / expected.sum(), rel=0.05)
        given = coadd(frames, align="wcs", grid="first", scale=[2.0, 1.0, 0.5])
        assert np.allclose(given.data, image.data, atol=1e-3, equal_nan=True)

    def test_clouds(self):
        """Scaled by the light of the stars."""
        x, y, flux = star_field(30, 4)
        frames = [
            make_image(x + dx, y + dy, flux * part, seed=n, wcs=coordinates((dx, dy)))
            for n, ((dx, dy), part) in enumerate(zip(SHIFTS[:3], (1.0, 0.6, 0.9), strict=True))
        ]
        found = align(frames, reference=0)
        assert [item.brightness for item in found.transforms] == pytest.approx([1, 0.6, 0.9], rel=0.01)
        image = coadd(found, scale="stars", grid="first")
        single = coadd(found, grid="first", scale=[1 / 1, 1 / 0.6, 1 / 0.9])
        assert np.nanmax(image.data) == pytest.approx(0.9 * np.nanmax(single.data), rel=0.02)

    def test_own_variance_is_no_weight(self):
        """Weighting by each pixel's own variance would make stars fainter; the sky's does not."""
        x, y, flux = star_field(20, 4, flux=(2e4, 5e4))
        frames = []
        for n in range(8):
            ccd = make_image(x, y, flux, seed=n, wcs=coordinates())
            sigma = np.sqrt(np.maximum(ccd.data, 0) + 25)
            frames.append(make_ccd(ccd.data, unit="electron", meta=ccd.meta, sigma=sigma))
        image = coadd(frames, align="wcs", grid="first", reject="none")
        mean = np.mean([item.data for item in frames], axis=0)
        assert image.data.sum() == pytest.approx(mean.sum(), rel=2e-4)

    def test_noise_of_masters(self):
        """Undithered frames have the masters' noise in common; dithered ones average it."""
        x, y, flux = star_field(10, 4)
        for step, once in ((0.0, True), (6.0, False)):
            frames = [
                make_image(x + n * step, y, flux, seed=n, wcs=coordinates((n * step, 0.0)), MASTVAR=100.0, FLATERR=0.0)
                for n in range(4)
            ]
            frames = [
                make_ccd(i.data, unit="electron", meta=i.meta, sigma=np.sqrt(i.uncertainty.array**2 + 100))
                for i in frames
            ]
            image = coadd(frames, align="wcs", grid="first", resample="nearest-neighbor")
            variance = np.median(image.uncertainty.array[30:-30, 60:-60]) ** 2
            expected = 125 / 4 + (100 if once else 25)
            assert variance == pytest.approx(expected, rel=0.03)

    def test_without_errors(self):
        """Frames without an uncertainty: the scatter of the sky and the light."""
        frames, _ = dithered(SHIFTS, count=30, seed=4, sigma=False)
        image = coadd(frames)
        assert np.nanmedian(image.uncertainty.array) == pytest.approx(
            np.sqrt(125 / 5) / image.meta["NOISCORR"], rel=0.1
        )


def test_masters_noise_is_in_the_header(reduced):
    """The cards that the coadd counts by, and their size against the error of the frame."""
    frame = next(iter(reduced[1].science.values()))
    assert 0 < frame.meta["MASTVAR"] < np.median(frame.uncertainty.array) ** 2
    assert 0 < frame.meta["FLATERR"] < 0.02


def test_memory_is_bounded(tmp_path):
    """
    Sixty frames take no more than ten, beyond what the strips may take: of each frame some rows are read.

    A hundred frames of 4096 x 4096 are 3.4 GB of pixels and errors for each 2 bytes of a value; what is held is the
    result (18 bytes a pixel), the strips (`mem_limit`), and of one frame a thread those rows that a strip needs.
    """
    frames, _ = dithered(SHIFTS[:3], count=30, seed=4)
    paths = [tmp_path / f"frame{n:02d}.fits" for n in range(60)]
    for n, path in enumerate(paths):
        write_ccd(frames[n % 3], path)
    peaks = []
    coadd(paths[:10], align="wcs", mem_limit=8e6, workers=1)
    for count in (10, 60):
        tracemalloc.start()
        coadd(paths[:count], align="wcs", mem_limit=8e6, workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sum(path.stat().st_size for path in paths) > 30e6
    assert peaks[1] < peaks[0] + 10e6


class TestRefusals:
    """Frames that do not go together, and options that are none, in words."""

    @pytest.fixture
    def frames(self):
        return dithered(SHIFTS[:2], count=30, seed=4)[0]

    def test_mixed_filters(self, frames):
        for item, name in zip(frames, "gr", strict=True):
            item.meta["FILTER"] = name
        with pytest.raises(InputError, match=r"mixed filters: g \(frame0.fits\), r \(frame1.fits\)"):
            coadd(frames)

    def test_mixed_units(self, frames):
        other = make_ccd(frames[1].data, unit="adu", meta=frames[1].meta)
        with pytest.raises(InputError, match="mixed units: electron"):
            coadd([frames[0], other])

    def test_one_frame(self, frames):
        with pytest.raises(InputError, match="one frame only"):
            coadd(frames[:1])
        with pytest.raises(InputError, match="one frame only"):
            coadd(frames[0])

    def test_one_that_does_not_belong(self, frames):
        """Left out with a warning that has the reason."""
        frames.append(make_image(*star_field(40, 77), seed=5, wcs=coordinates(), FILENAME="stranger.fits"))
        with pytest.warns(FrameWarning, match=r"stranger.fits is left out: no common stars"):
            image = coadd(frames, reference=0)
        assert image.meta["NCOMBINE"] == 2
        assert any("stranger.fits left out" in line for line in image.meta["HISTORY"])

    def test_world_coordinates_that_are_none(self, frames):
        bare = [make_ccd(item.data, unit="electron", meta={"EXPTIME": 60.0}) for item in frames]
        with pytest.raises(InputError, match="no usable world coordinates"):
            coadd(bare, align="wcs")

    def test_far_apart(self, frames):
        frames[1].meta["CRVAL1"] = 150.0
        other = make_ccd(frames[1].data, unit="electron", meta=frames[1].meta)
        with pytest.raises(InputError, match="lie so far apart"):
            coadd([frames[0], other], align="wcs")

    def test_grid_elsewhere(self, frames):
        wcs = coordinates()
        wcs.wcs.crval = [200.0, -30.0]
        wcs.array_shape = (50, 50)
        with pytest.raises(InputError, match="does not lie on the grid"):
            coadd(frames, grid=wcs)

    def test_exposure_unknown(self, frames):
        del frames[1].meta["EXPTIME"]
        with pytest.raises(InputError, match=r"frame1.fits: its exposure is not known"):
            coadd(frames)
        assert coadd(frames, scale="none").meta["NCOMBINE"] == 2

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"method": "sum"}, "known are average, median"),
            ({"resample": "cubic"}, "known are nearest-neighbor"),
            ({"align": "yes"}, "known are auto, stars, wcs"),
            ({"grid": "north"}, "known are optimal, reference, first"),
            ({"grid": coordinates()}, "a shape are needed"),
            ({"scale": [1.0]}, "a positive factor for each of 2"),
            ({"scale": "median"}, "allowed are 'exposure'"),
            ({"sigma": 0}, "sigma"),
            ({"tolerance": -1}, "tolerance"),
        ],
    )
    def test_options(self, frames, wrong, words):
        with pytest.raises(InputError, match=words):
            coadd(frames, **wrong)

    def test_unknown_flag(self, frames):
        with pytest.raises(ValueError, match="known are BAD_PIXEL"):
            coadd(frames, exclude=["HOT"])


class TestGrid:
    """Where pixels of the grid lie in a frame."""

    def test_positions_between_nodes(self):
        """Distortion and projection to a thousandth of a pixel, everywhere."""
        header = coordinates(scale=3e-4).to_header()
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        for key, value in {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-5, "B_0_2": -2e-5, "A_1_1": 1e-5}.items():
            header[key] = value
        from ccdnight.alignment.coordinates import start_coordinates

        wcs = start_coordinates(header, (240, 260)).wcs
        grid = make_grid("optimal", [wcs], [(240, 260)])
        x, y, step = nodes_of(grid, wcs, (240, 260))
        assert step < 32
        rows, columns = np.mgrid[5:200:7, 5:200:7]
        exact = wcs.all_world2pix(grid.wcs.wcs_pix2world(np.column_stack([columns.ravel(), rows.ravel()]), 0), 0)
        from scipy.ndimage import map_coordinates

        for nodes, truth in ((x, exact[:, 0]), (y, exact[:, 1])):
            between = map_coordinates(nodes, [rows.ravel() / step, columns.ravel() / step], order=1)
            assert np.abs(between - truth).max() < 2e-3


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """A night of two targets, one of them dithered in two filters, reduced and coadded."""
    folder = tmp_path_factory.mktemp("night")
    night = night_for("arcsat", "small")
    first = [item for item in night.exposures if item.kind == "science" and item.filter in "rg"]
    more = [
        replace(item, path=f"field_{item.filter}_{n}.fits", dx=9.3 * n, dy=-7.7 * n, exposure=30.0, object="field",
                field="field", number=40 + n, fwhm=3.0 + 0.1 * n)
        for item in first
        for n in range(3)
    ]  # fmt: skip
    kept = [item for item in night.exposures if item.kind != "science" and item.filter in ("", "r", "g")]
    truth = simulate_night(folder / "night", "arcsat", seed=5, night=replace(night, exposures=(*kept, *first, *more)))
    result = CliRunner().invoke(main, ["reduce", str(truth.raw_folder), str(folder / "out"), "--coadd", "--json"])
    return json.loads(result.stdout), Reduction.open(folder / "out"), truth, result.exit_code


class TestNight:
    """reduce --coadd: one coadd for every target and filter that has frames enough."""

    def test_products(self, reduced):
        told, result, _, code = reduced
        assert code == 0
        assert sorted(result.coadds) == ["field_g", "field_r"]
        assert sorted(told["coadds"]) == ["field_g", "field_r"]
        image = result.coadds["field_g"]
        assert image.meta["NCOMBINE"] == 3
        assert image.meta["FILENAME"] == "field_g.fits"
        assert image.coverage.max() == 3

    def test_what_is_told(self, reduced):
        entry = reduced[1].run["coadds"]["field_r"]
        assert entry["output"] == "coadd/field_r.fits"
        assert entry["output"] in reduced[1].run["digests"]
        assert [item["used"] for item in entry["frames"]] == [True] * 3
        assert 0 < entry["residual"]["value"] < 0.1
        assert entry["fwhm_after"]["value"] == pytest.approx(entry["fwhm_before"]["value"], rel=0.05)
        assert set(entry["residual_vectors"]) == {f"field_r_{n}.fits" for n in range(3)}
        assert str(reduced[1].output) not in json.dumps(entry)

    def test_single_frames_are_told_of(self, reduced):
        """In one line, and they are no tasks that every run tries again."""
        (note,) = (note for note in reduced[1].run["notes"] if "one frame only" in note)
        assert note.count("Cat") == 2
        assert note.startswith("coadd: not made of one frame only: ")
        assert reduced[1].run["resumed"]["words"] == "" if "resumed" in reduced[1].run else True
        assert not any(name.startswith("coadd:Cat") for name in reduced[1].run["timings"])

    def test_stars_lie_on_each_other(self, reduced):
        _, result, truth, _ = reduced
        base = truth.stars("field_g_0.fits")
        reference = result.coadds["field_g"].meta["ASTRREF"]
        wanted = truth.stars(reference)
        frames = {item["frame"]: item for item in result.run["coadds"]["field_g"]["frames"]}
        shift = np.median(wanted["x"] - base["x"]), np.median(wanted["y"] - base["y"])
        assert (frames["field_g_0.fits"]["dx"], frames["field_g_0.fits"]["dy"]) == pytest.approx(shift, abs=0.05)

    def test_groups_have_names_of_their_own(self, reduced):
        """Targets that differ in what a file name cannot hold."""
        night = Night(reduced[2].raw_folder)
        plan = night.plan()
        frames = night.frames.copy()
        frames["object"] = frames["object"].astype("U20")
        names = [str(path) for path in frames["path"]]
        for path, name in (("field_g_0.fits", "M 1"), ("field_g_1.fits", "M/1"), ("field_g_2.fits", "m  1")):
            frames["object"][names.index(path)] = name
        groups = {item.name: item.inputs for item in coadd_groups(frames, plan, night.profile)}
        assert len({name.casefold() for name in groups}) == len(groups)
        assert ("field_g_0.fits", "field_g_2.fits") in groups.values()
        assert ("field_g_1.fits",) in groups.values()

    def test_without(self, reduced, tmp_path):
        """Without --coadd there is none, and those of an earlier run go."""
        result = Night(reduced[2].raw_folder).reduce(tmp_path / "out", progress=False)
        assert dict(result.coadds) == {}
        assert not (tmp_path / "out" / "coadd").exists()


class TestCommand:
    """ccdnight coadd."""

    @pytest.fixture
    def paths(self, tmp_path):
        frames, _ = dithered(SHIFTS[:3], count=30, seed=4)
        paths = [tmp_path / f"frame{n}.fits" for n in range(3)]
        for item, path in zip(frames, paths, strict=True):
            write_ccd(item, path)
        return [str(path) for path in paths]

    def test_words(self, paths, tmp_path):
        out = tmp_path / "out.fits"
        result = CliRunner().invoke(main, ["coadd", *paths, "-o", str(out)])
        assert result.exit_code == 0
        assert "3 frames, residuals up to 0.0" in result.stdout
        assert read_ccd(out).meta["NCOMBINE"] == 3
        again = CliRunner().invoke(main, ["coadd", *paths, "-o", str(out)])
        assert again.exit_code == 2
        assert "--overwrite" in again.stderr

    def test_json(self, paths, tmp_path):
        result = CliRunner().invoke(
            main,
            ["coadd", *paths, "-o", str(tmp_path / "o.fits"), "--grid", paths[1], "--resample", "bicubic", "--json"],
        )
        told = json.loads(result.stdout)
        assert told["ncombine"] == 3
        assert told["shape"] == [240, 260]
        assert [item["aligned"] for item in told["frames"]] == [True] * 3

    def test_one_frame(self, paths, tmp_path):
        result = CliRunner().invoke(main, ["coadd", paths[0], "-o", str(tmp_path / "out.fits")])
        assert result.exit_code == 4
        assert "one frame only" in result.stderr
