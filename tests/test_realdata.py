"""The real raw nights, reduced as an observer would."""

import json

import numpy as np
import pytest
from astropy.stats import sigma_clip
from astropy.table import Table
from click.testing import CliRunner

from ccdnight import Night, Reduction
from ccdnight.cli import main

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def reduced(realdata, tmp_path_factory):
    """Both nights through the command line: name to (exit code, JSON, reduction)."""
    results = {}
    for name in ("arcsat-2025-06-01", "nickel-2024-05-13"):
        out = tmp_path_factory.mktemp(name)
        result = CliRunner().invoke(main, ["reduce", str(realdata / name), str(out), "--json"])
        results[name] = (result.exit_code, json.loads(result.stdout), Reduction.open(out))
    return results


def flatness(ccd):
    """Level and standard deviation of the clipped medians of 64 x 64 boxes, in adu."""
    data = np.where(ccd.mask, np.nan, ccd.data) / ccd.meta["GAINUSED"]
    boxes = []
    for y in range(0, data.shape[0] - 63, 64):
        for x in range(0, data.shape[1] - 63, 64):
            box = data[y : y + 64, x : x + 64]
            boxes.append(np.ma.median(sigma_clip(box[np.isfinite(box)], sigma=3)))
    return np.median(boxes), np.std(boxes)


class TestArcsat:
    """ARCSAT, no overscan: 9 biases, 9 darks, 21 flats, 4 science frames."""

    @pytest.fixture
    def night(self, reduced):
        return reduced["arcsat-2025-06-01"]

    def test_all_done(self, night):
        code, value, _ = night
        assert code == 0
        assert value["masters"] == ["bias", "dark_10s", "flat_H-Alpha", "flat_g", "flat_r", "flat_z", "badpixels"]

    def test_every_input_once(self, night, realdata):
        table = night[2].night
        files = sorted(path.name for path in (realdata / "arcsat-2025-06-01").iterdir())
        assert [str(name) for name in table["path"]] == files
        assert len(files) == 43
        row = table[table["path"] == "domeflat_i_001.fits"][0]
        assert row["fate"] == "unused"
        assert "no science frame is in i" in row["reason"]

    # What the lecture's recipe by hand leaves on these frames, and the level of the sky.
    @pytest.mark.parametrize(
        ("name", "scatter", "sky"),
        [
            ("Cats_Eye_Nebula_g_20250601_065904.fits", 7.1, 24),
            ("Cats_Eye_Nebula_r_20250601_065842.fits", 3.3, 31),
            ("Cats_Eye_Nebula_z_20250601_065953.fits", 8.6, 27),
            ("Cats_Eye_Nebula_H-Alpha_20250601_070015.fits", 9.3, 13),
        ],
    )
    def test_sky_is_no_less_flat_than_by_hand(self, night, name, scatter, sky):
        ccd = night[2].science[name]
        level, spread = flatness(ccd)
        assert spread < scatter + 0.05
        assert level == pytest.approx(sky, abs=3)

    def test_science_header(self, night):
        meta = night[2].science["Cats_Eye_Nebula_g_20250601_065904.fits"].meta
        assert meta["JD-MID"] == pytest.approx(2460827.79115243, abs=1e-6)
        assert meta["DATE-AVG"] == "2025-06-01T06:59:15.570"
        assert meta["AIRMASS"] == pytest.approx(1.235, abs=0.002)
        assert meta["OBJECT"] == "Cat's Eye Nebula"

    def test_reported_noise_is_the_noise_of_the_sky(self, night):
        """Difference of neighboring pixels against the reported sigma, where nothing but sky is seen."""
        for name in night[2].science:
            ccd = night[2].science[name]
            region = (slice(700, 1000), slice(50, 350))
            step = np.diff(np.where(ccd.mask, np.nan, ccd.data)[region], axis=1)
            step = sigma_clip(step[np.isfinite(step)], sigma=4)
            assert step.std() / np.sqrt(2) / np.median(ccd.uncertainty.array[region]) == pytest.approx(1, abs=0.03)

    def test_detector(self, night):
        table = Table.read(night[2].output / "detector.ecsv", format="ascii.ecsv")
        assert table["gain"][0] == pytest.approx(1.34, abs=0.01)
        assert table["read_noise"][0] == pytest.approx(16.3, abs=0.3)


class TestNickel:
    """Nickel: an overscan that drifts by 60 adu while the biases were all taken at the start."""

    @pytest.fixture
    def night(self, reduced):
        return reduced["nickel-2024-05-13"]

    def test_all_done(self, night):
        code, value, result = night
        assert code == 0
        assert value["masters"] == ["bias", "flat_V", "badpixels"]
        assert len(result.science) == 6

    def test_the_overscan_is_followed_and_the_plan_says_why(self, night):
        plan = night[2].plan
        assert all(item.overscan_window == 51 for item in (*plan.masters, *plan.science))
        assert any("the overscan moves from 959" in note and "rows do not move" in note for note in plan.notes)

    def test_bias_frames_alone_come_out_too_low(self, night, realdata, tmp_path):
        """By just what the overscan has drifted."""
        _, _, default = night
        raw = Night(realdata / "nickel-2024-05-13")
        frames = raw.reduce(tmp_path, plan=raw.plan(bias="frames"), cosmic_rays=False, progress=False)
        biases = [str(row["path"]) for row in raw.frames if row["kind"] == "bias"]
        overscan = {str(row["path"]): float(row["overscan"]) for row in raw.collection.measure()}
        start = np.mean([overscan[name] for name in biases])
        for name in default.science:
            one, other = default.science[name], frames.science[name]
            good = ~(one.mask | other.mask)
            off = np.median((other.data - one.data)[good]) / one.meta["GAINUSED"]
            # The flats keep 20 to 26 adu of their own under this policy, which bends them by 0.05 %.
            assert off == pytest.approx(overscan[name] - start, abs=2.0)
        assert min(overscan[name] - start for name in default.science) < -35

    def test_wrong_obstype_is_seen_through(self, night):
        kinds = {str(row["path"]): str(row["kind"]) for row in night[2].night}
        assert [kinds[f"d10{i:02d}.fits"] for i in range(1, 11)] == ["bias"] * 10
        assert kinds["d1035.fits"] == "twilight"

    def test_gain_index_is_not_taken_for_the_gain(self, night):
        table = Table.read(night[2].output / "detector.ecsv", format="ascii.ecsv")
        assert table["gain"][0] == pytest.approx(1.78, rel=0.02)
        assert table["header_gain"][0] == 1
        assert table["gain_used"][0] == 1.78
        assert "the header cannot be right (a header's 1 is often the number of a gain setting" in table["remark"][0]

    def test_wcs_still_points_at_the_same_pixel(self, night):
        """Only columns at the right were cut: the reference pixel stays where it was."""
        meta = night[2].science["d1074.fits"].meta
        assert (meta["CRPIX1"], meta["CRPIX2"]) == (512, 512)
        assert meta["DATASEC"] == "[1:1024,1:1024]"
        assert "COVER" not in meta
