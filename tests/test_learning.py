"""A profile learnt from raw frames: simulated nights, and small nights of cameras that nobody has seen."""

import json
import pickle

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from strange_cameras import (
    PLAN,
    Amp,
    coded_header,
    maxim_header,
    observatory_header,
    plain_header,
    shutter_header,
    wheels_header,
    write_night,
)

from ccdnight import FrameCollection, Night, get_profile, learn_profile
from ccdnight._sections import parse_section
from ccdnight.cli import main
from ccdnight.exceptions import InputError, ProfileError
from ccdnight.profiles import profile_from_toml, profile_to_toml
from ccdnight.simulate import simulate_night

COLUMNS = ("path", "kind", "exposure", "filter", "object", "time", "temperature", "detector", "binning", "shape")

#: Layouts: shape, amplifiers. Boxes are (x1, x2, y1, y2).
LAYOUTS = {
    "right": ((240, 300), [Amp((0, 270, 0, 240), (((270, 300, 0, 240), 1),), trail=4)]),
    "left": ((240, 300), [Amp((24, 300, 0, 240), (((0, 24, 0, 240), 1),))]),
    "top": ((270, 256), [Amp((0, 256, 0, 240), (((0, 256, 240, 270), 0),))]),
    "bottom": ((270, 256), [Amp((0, 256, 26, 270), (((0, 256, 0, 26), 0),))]),
    "both": ((264, 288), [Amp((0, 256, 0, 240), (((256, 288, 0, 264), 1), ((0, 256, 240, 264), 0)))]),
    "none": ((256, 256), [Amp((0, 256, 0, 256))]),
    "two, ends": (
        (240, 400),
        [
            Amp((20, 200, 0, 240), (((0, 20, 0, 240), 1),), gain=1.4, level=1010),
            Amp((200, 380, 0, 240), (((380, 400, 0, 240), 1),), gain=1.6, level=1040),
        ],
    ),
    "two, middle": (
        (240, 400),
        [
            Amp((0, 180, 0, 240), (((180, 200, 0, 240), 1),), gain=1.4, level=1010),
            Amp((220, 400, 0, 240), (((200, 220, 0, 240), 1),), gain=1.6, level=1040),
        ],
    ),
    "two, right": (
        (240, 400),
        [
            Amp((0, 180, 0, 240), (((360, 380, 0, 240), 1),), gain=1.4, level=1010, trail=0),
            Amp((180, 360, 0, 240), (((380, 400, 0, 240), 1),), gain=1.6, level=1040, trail=0),
        ],
    ),
    "four": (
        (360, 400),
        [
            Amp((20, 200, 0, 180), (((0, 20, 0, 180), 1),), gain=1.4, level=1010),
            Amp((200, 380, 0, 180), (((380, 400, 0, 180), 1),), gain=1.6, level=1040),
            Amp((20, 200, 180, 360), (((0, 20, 180, 360), 1),), gain=1.5, level=980),
            Amp((200, 380, 180, 360), (((380, 400, 180, 360), 1),), gain=1.7, level=1100),
        ],
    ),
    "cross": (
        (352, 400),
        [
            Amp((0, 180, 0, 160), (((180, 200, 0, 160), 1), ((0, 180, 160, 176), 0)), gain=1.4, level=1000),
            Amp((220, 400, 0, 160), (((200, 220, 0, 160), 1), ((220, 400, 160, 176), 0)), gain=1.6, level=1030),
            Amp((0, 180, 192, 352), (((180, 200, 192, 352), 1), ((0, 180, 176, 192), 0)), gain=1.5, level=960),
            Amp((220, 400, 192, 352), (((200, 220, 192, 352), 1), ((220, 400, 176, 192), 0)), gain=1.7, level=1080),
        ],
    ),
    "four in a row": (
        (256, 464),
        [
            Amp((100 * i, 100 * i + 100, 0, 256), (((400 + 16 * i, 416 + 16 * i, 0, 256), 1),), gain=1.5, level=level)
            for i, level in enumerate((1000, 1034, 966, 1017))
        ],
    ),
    "prescan and overscan": (
        (256, 330),
        [Amp((20, 300, 0, 256), (((300, 330, 0, 256), 1), ((0, 20, 0, 256), 1)))],
    ),
    "two, one above the other": (
        (400, 260),
        [
            Amp((0, 240, 0, 200), (((240, 260, 0, 200), 1),), gain=1.4, level=1010),
            Amp((0, 240, 200, 400), (((240, 260, 200, 400), 1),), gain=1.6, level=1040),
        ],
    ),
}


def ends(section, shape):
    """The four ends of a section."""
    rows, columns = parse_section(section, shape)
    return columns.start, columns.stop, rows.start, rows.stop


def same_table(folder, one, two):
    """Whether two profiles list a folder alike."""
    tables = [FrameCollection(folder, profile=profile).frames for profile in (one, two)]
    return {
        name: [(a, b) for a, b in zip(*([str(v) for v in t[name]] for t in tables), strict=True) if a != b][:3]
        for name in COLUMNS
    }


NO_DIFFERENCE = {name: [] for name in COLUMNS}


@pytest.fixture(scope="module", params=["lfc", "aspen", "nickel", "arcsat"])
def simulated(request, tmp_path_factory):
    """A simulated night and what was learnt from it."""
    folder = tmp_path_factory.mktemp(request.param)
    truth = simulate_night(folder, request.param, seed=11)
    return request.param, folder / "raw", truth.night.camera, learn_profile(folder / "raw")


class TestSimulated:
    """Small nights of the instruments that have profiles."""

    def test_dialect(self, simulated, tmp_path):
        """Loaded again, it lists the frames as the profile that was written by hand."""
        name, raw, _, learnt = simulated
        (tmp_path / "mycam.toml").write_text(learnt.to_toml())
        assert same_table(raw, name, get_profile(tmp_path / "mycam.toml")) == NO_DIFFERENCE

    def test_sections(self, simulated):
        """Within one column."""
        _, _, camera, learnt = simulated
        (found,), (put,) = learnt.amplifiers, camera.readouts
        assert ends(found.data, camera.shape) == pytest.approx(ends(put.data, camera.shape), abs=1)
        assert (found.overscan == "none") == (put.overscan == "")
        if put.overscan:
            assert ends(found.overscan, camera.shape) == pytest.approx(ends(put.overscan, camera.shape), abs=1)

    def test_numbers(self, simulated):
        _, _, camera, learnt = simulated
        assert learnt.amplifiers[0].gain == pytest.approx(camera.readouts[0].gain, rel=0.02)
        assert learnt.amplifiers[0].read_noise == pytest.approx(camera.readouts[0].read_noise, rel=0.03)

    def test_is_what_its_file_says(self, simulated):
        _, _, _, learnt = simulated
        assert profile_from_toml(learnt.to_toml()) == learnt.profile
        assert pickle.loads(pickle.dumps(learnt)) == learnt


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "data", "overscan", "gain", "read_noise"),
    [
        ("nickel-2024-05-13", "[1:1024,1:1024]", "[1025:1056,1:1024]", 1.78, 9.5),
        ("arcsat-2025-06-01", "[1:1024,1:1024]", "none", 1.34, 16.3),
    ],
)
def test_real_nights(name, data, overscan, gain, read_noise, realdata):
    """The profiles that were written by hand list the frames alike."""
    learnt = learn_profile(realdata / name)
    assert same_table(realdata / name, None, learnt) == NO_DIFFERENCE
    (found,) = learnt.amplifiers
    assert (found.data, found.overscan) == (data, overscan)
    assert found.gain == pytest.approx(gain, rel=0.02)
    assert found.read_noise == pytest.approx(read_noise, rel=0.03)
    assert learnt.dialect.gain == (() if name.startswith("nickel") else get_profile("generic").dialect.gain)


def test_lfc(tmp_path):
    """Contaminated overscan columns are skipped, dead rows trimmed, the wrong gain of the header passed over."""
    simulate_night(tmp_path, "lfc", seed=3)
    learnt = learn_profile(tmp_path / "raw", name="mylfc")
    assert learnt.amplifiers[0].overscan_skip == 7
    assert learnt.policy.edge == 4
    assert learnt.dialect.gain == ()
    assert learnt.amplifiers[0].detector == "0"
    assert "GAIN = 1.1" in learnt.to_toml()


@pytest.fixture(scope="module", params=list(LAYOUTS))
def strange(request, tmp_path_factory):
    shape, amps = LAYOUTS[request.param]
    folder = write_night(tmp_path_factory.mktemp("night") / "raw", shape, amps, plain_header)
    return shape, amps, learn_profile(folder)


class TestStrange:
    """Overscans on every side, one to four amplifiers."""

    def test_data(self, strange):
        shape, amps, learnt = strange
        assert [ends(item.data, shape) for item in learnt.amplifiers] == [amp.data for amp in amps]

    def test_overscan(self, strange):
        shape, amps, learnt = strange
        for found, amp in zip(learnt.amplifiers, amps, strict=True):
            if not amp.overscans:
                assert found.overscan == "none"
                continue
            (box, _), x, y = amp.overscans[0], slice(0, 2), slice(2, 4)
            got = ends(found.overscan, shape)
            # Beside the data an overscan is as long as these.
            axis = x if box[x] != amp.data[x] else y
            assert got[axis] == box[axis]
            assert found.overscan_skip == pytest.approx(amp.trail, abs=1)

    def test_numbers(self, strange):
        _, amps, learnt = strange
        for found, amp in zip(learnt.amplifiers, amps, strict=True):
            assert found.gain == pytest.approx(amp.gain, rel=0.03)
            assert found.read_noise == pytest.approx(amp.read_noise, rel=0.04)


def test_both_overscans(tmp_path):
    """The one beside the rows is the overscan, the one above the parallel overscan."""
    learnt = learn_profile(write_night(tmp_path / "raw", *LAYOUTS["both"], plain_header))
    assert learnt.amplifiers[0].overscan == "[257:288,1:240]"
    assert learnt.amplifiers[0].parallel_overscan == "[1:256,244:264]"


HEADERS = {
    "maxim": (maxim_header, "int16", "2x2"),
    "observatory": (observatory_header, "float32", "1x1"),
    "shutter": (shutter_header, "uint16", ""),
}


@pytest.mark.parametrize("name", list(HEADERS))
def test_dialects(name, tmp_path):
    """Frame by frame what was written: kinds, exposures, filters, times."""
    header, dtype, binning = HEADERS[name]
    amps = [Amp((0, 270, 0, 240), (((270, 300, 0, 240), 1),), gain=3.0)]
    folder = write_night(tmp_path / "raw", (240, 300), amps, header, dtype=dtype)
    learnt = learn_profile(folder)
    table = FrameCollection(folder, profile=learnt).frames
    assert list(table["kind"]) == [kind for kind, count, *_ in PLAN for _ in range(count)]
    assert list(table["exposure"]) == [seconds for _, count, seconds, *_ in PLAN for _ in range(count)]
    lit = [row for row in table if row["kind"] in ("flat", "science")]
    assert [row["filter"] for row in lit] == [band for kind, n, _, band, _ in PLAN[2:] for _ in range(n)]
    assert all(row["object"] == "M 31" for row in table if row["kind"] == "science")
    assert table["time"][0] == "2024-05-06T01:02:03.000"
    assert set(table["binning"]) == {binning}
    assert learnt.amplifiers[0].gain == pytest.approx(3.0, rel=0.03)
    if name != "shutter":
        assert not table["temperature"].mask.any()


def test_codes_for_the_kinds(tmp_path):
    """Words that mean nothing are learnt from what the frames look like."""
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], coded_header)
    learnt = learn_profile(raw)
    table = FrameCollection(raw, profile=learnt).frames
    assert list(table["kind"]) == [kind for kind, count, *_ in PLAN for _ in range(count)]


def test_two_filter_wheels(tmp_path):
    """The filter is what stands in either wheel, open places left out."""
    plan = [*PLAN, ("science", 1, 30.0, "I", 100.0), ("science", 1, 30.0, "W", 100.0)]
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], wheels_header, plan=plan)
    learnt = learn_profile(raw)
    assert learnt.dialect.filter == (("FILTER1", "FILTER2"),)
    assert profile_from_toml(profile_to_toml(learnt.profile)).dialect == learnt.dialect
    table = FrameCollection(raw, profile=learnt).frames
    assert list(table["filter"][8:]) == ["V"] * 4 + ["R"] * 4 + ["V"] * 3 + ["R"] * 3 + ["I", "V+R"]


def test_reduces(tmp_path):
    """A night of an unknown camera is reduced with what was learnt of it, from the command line."""
    shape, amps = LAYOUTS["two, ends"]
    raw = write_night(tmp_path / "raw", shape, amps, shutter_header)
    run = CliRunner().invoke(main, ["profile", "learn", str(raw), "-o", str(tmp_path / "mycam.toml"), "--name", "my"])
    assert run.exit_code == 0, run.output
    args = ["reduce", str(raw), str(tmp_path / "out"), "--profile", str(tmp_path / "mycam.toml"), "--json"]
    run = CliRunner().invoke(main, args)
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert len(told["science"]) == 6
    assert told["masters"] == ["bias", "dark_60s", "flat_R", "flat_V", "badpixels"]


class TestFewer:
    """What is missing is said, and the rest is learnt."""

    @pytest.mark.parametrize("kinds", [("bias",), ("flat",), ("science",), ("bias", "science"), ("bias", "dark")])
    def test_partial(self, kinds, tmp_path):
        plan = [item for item in PLAN if item[0] in kinds]
        raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header, plan=plan)
        learnt = learn_profile(raw)
        assert learnt.amplifiers[0].gain is None
        assert "gain: not found, left at the generic default" in learnt.to_toml()
        assert {row["kind"] for row in FrameCollection(raw, profile=learnt).frames} == set(kinds)

    def test_flats_without_biases_show_the_sections(self, tmp_path):
        raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header, plan=PLAN[2:4])
        assert learn_profile(raw).amplifiers[0].data == "[1:270,1:240]"

    def test_no_frames(self, tmp_path):
        (tmp_path / "a.fits").write_text("no")
        with pytest.raises(InputError, match=r"none of its 1 files .* a\.fits: not a FITS file"):
            learn_profile(tmp_path)

    def test_no_files(self, tmp_path):
        with pytest.raises(InputError, match="holds no FITS files"):
            learn_profile(tmp_path)

    def test_no_folder(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            learn_profile(tmp_path / "nowhere")

    def test_wrong_name(self, tmp_path):
        raw = write_night(tmp_path / "raw", *LAYOUTS["none"], plain_header, plan=PLAN[:1])
        with pytest.raises(ProfileError, match="a b"):
            learn_profile(raw, name="a b")


def test_no_kind_in_the_header(tmp_path):
    """Biases are told by their exposure, the rest is unknown and said to be."""

    def header(*args):
        return {key: value for key, value in plain_header(*args).items() if key not in ("IMAGETYP", "OBJECT")}

    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], header)
    learnt = learn_profile(raw)
    kinds = list(FrameCollection(raw, profile=learnt).frames["kind"])
    assert kinds == ["bias"] * 5 + ["unknown"] * 17
    assert "no card says what kind a frame is" in learnt.to_toml()


@pytest.mark.parametrize("fault", ["truncated", "wrong kind", "saturated flat", "nan"])
def test_faults(fault, tmp_path):
    """Frames that are not what they say do not spoil what is learnt."""
    simulate_night(tmp_path, "nickel", seed=4, faults=[fault])
    learnt = learn_profile(tmp_path / "raw")
    assert learnt.amplifiers[0].data == "[1:1024,1:256]"
    assert learnt.amplifiers[0].overscan == "[1025:1056,1:256]"
    assert learnt.amplifiers[0].gain == pytest.approx(1.78, rel=0.02)


def test_several_detectors(tmp_path):
    """Each gets its amplifiers, with its own gain and sections."""
    raw = tmp_path / "raw"
    for chip, gain in (("1", 1.5), ("2", 2.5)):
        amp = Amp((0, 270, 0, 240), (((270, 300, 0, 240), 1),), gain=gain)
        write_night(raw / chip, (240, 300), [amp], plain_header, cards={"CCDID": int(chip)}, seed=int(chip))
    learnt = learn_profile(raw)
    assert [item.detector for item in learnt.amplifiers] == ["1", "2"]
    assert [item.gain for item in learnt.amplifiers] == pytest.approx([1.5, 2.5], rel=0.03)


def test_dead_borders(tmp_path):
    """Narrow ones are trimmed all round, a wide one is cut off the data."""
    shape, amps = LAYOUTS["right"]
    learnt = learn_profile(write_night(tmp_path / "one", shape, amps, plain_header, dead=[(0, 270, 0, 2)]))
    assert (learnt.policy.edge, learnt.amplifiers[0].data) == (2, "[1:270,1:240]")
    cards = {"DATASEC": "[1:270,1:240]"}
    raw = write_night(tmp_path / "two", shape, amps, plain_header, dead=[(0, 270, 220, 240)], cards=cards)
    learnt = learn_profile(raw)
    assert (learnt.policy.edge, learnt.amplifiers[0].data) == (0, "[1:270,1:220]")
    assert learnt.amplifiers[0].parallel_overscan == "none"


def test_bad_and_odd_files_are_named(tmp_path):
    """A broken file, a file of zeros and one of another shape do not stop it."""
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header)
    (raw / "broken.fits").write_bytes((raw / "frame001.fits").read_bytes()[:9000])
    header = fits.getheader(raw / "frame001.fits")
    fits.writeto(raw / "zeros.fits", np.zeros((240, 300), "i2"), header)
    fits.writeto(raw / "window.fits", np.arange(100 * 100, dtype="i2").reshape(100, 100), header)
    learnt = learn_profile(raw)
    assert set(learnt.unusable) == {"broken.fits", "zeros.fits", "window.fits"}
    assert learnt.amplifiers[0].data == "[1:270,1:240]"


def test_header_numbers_count_only_if_right(tmp_path):
    """Of two cards that state a gain the one that was measured is kept."""
    cards = {"EGAIN": 0.3, "GAIN": 1.48, "RDNOISE": 20.0}
    learnt = learn_profile(write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header, cards=cards))
    assert learnt.dialect.gain == ("GAIN",)
    assert learnt.dialect.read_noise == ()


def test_header_sections_count_only_if_right(tmp_path):
    cards = {"DATASEC": "[1:260,1:240]", "BIASSEC": "[271:300,1:240]", "AMPSEC": "[1:270,1:240]"}
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header, cards=cards)
    learnt = learn_profile(raw)
    assert learnt.amplifiers[0].data == "[1:270,1:240]"
    assert learnt.dialect.data_section == ()
    assert learnt.dialect.overscan_section == ("BIASSEC",)
    assert "so say AMPSEC" in learnt.to_toml()


def test_a_light_leak_makes_an_overscan_useless(tmp_path):
    amp = Amp((0, 270, 0, 240), (((270, 284, 0, 240), 1),), trail=14, pattern=(0.01, 7.0))
    learnt = learn_profile(write_night(tmp_path / "raw", (240, 284), [amp], plain_header))
    assert learnt.amplifiers[0].overscan == "none"
    assert learnt.amplifiers[0].data == "[1:270,1:240]"


def test_an_even_leak_is_seen_too(tmp_path):
    """Every overscan column gathers a hundredth of the light of its row."""
    amp = Amp((0, 270, 0, 240), (((270, 300, 0, 240), 1),), trail=30, pattern=(0.01, 1e9))
    learnt = learn_profile(write_night(tmp_path / "raw", (240, 300), [amp], plain_header))
    assert learnt.amplifiers[0].overscan == "none"
    told = next(item.evidence for item in learnt.findings if item.key == "amplifiers.overscan")
    assert "of the light beside them, row by row" in told


def test_json(tmp_path):
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header)
    run = CliRunner().invoke(main, ["profile", "learn", str(raw), "--json"])
    told = json.loads(run.stdout)
    gain = next(item for item in told["findings"] if item["key"] == "amplifiers.gain")
    assert gain["value"]["unit"] == "electron/adu"
    assert gain["value"]["value"] == pytest.approx(1.5, abs=4 * gain["value"]["error"] + 0.001)
    assert profile_from_toml(told["toml"]).name == "plaincam"


def test_a_learnt_profile_is_a_profile(tmp_path):
    """It can be given wherever a profile is asked for, and shows itself in a notebook."""
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header)
    learnt = learn_profile(raw)
    assert Night(raw, profile=learnt).profile is learnt
    assert "amplifiers.gain" in learnt._repr_html_()


def test_all_files_of_the_night_can_be_given(tmp_path):
    raw = write_night(tmp_path / "raw", *LAYOUTS["right"], plain_header)
    one = learn_profile(raw)
    assert learn_profile(sorted(raw.iterdir())).profile == one.profile
    assert learn_profile(FrameCollection(raw)).profile == one.profile
