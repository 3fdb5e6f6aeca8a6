"""Where data and overscan lie: profiles, headers, and what is wrong with them."""

from dataclasses import replace

import pytest

from ccdnight._sections import format_section
from ccdnight.exceptions import FrameError
from ccdnight.geometry import resolve_geometry
from ccdnight.profiles import Amplifier, get_profile

GENERIC = get_profile("generic")


def profile_of(*amplifiers, **policy):
    return replace(GENERIC, amplifiers=amplifiers, policy=replace(GENERIC.policy, **policy))


def sections(geometry, number=0):
    item = geometry.amplifiers[number]
    parts = (item.data, item.overscan, item.parallel)
    return tuple(None if part is None else format_section(part) for part in parts)


def resolve(header, shape, profile=GENERIC, **options):
    return resolve_geometry(header, shape, profile, **options)


@pytest.mark.parametrize(
    ("header", "data", "overscan"),
    [
        ({}, "[1:120,1:50]", None),
        ({"BIASSEC": "[101:120,1:50]"}, "[1:100,1:50]", "[101:120,1:50]"),
        ({"BIASSEC": "[1:20,1:50]"}, "[21:120,1:50]", "[1:20,1:50]"),
        ({"BIASSEC": "[1:120,41:50]"}, "[1:120,1:40]", "[1:120,41:50]"),
        ({"BIASSEC": "[1:120,1:10]"}, "[1:120,11:50]", "[1:120,1:10]"),
        ({"BIASSEC": "[101:120,1:50]", "DATASEC": "[5:96,1:50]"}, "[5:96,1:50]", "[101:120,1:50]"),
        ({"BIASSEC": "[101:120,1:50]", "TRIMSEC": "[3:98,:]"}, "[3:98,1:50]", "[101:120,1:50]"),
        (
            {"BIASSEC": "[101:120,1:50]", "DATASEC": "[1:100,1:50]", "TRIMSEC": "[3:98,2:49]"},
            *("[3:98,2:49]", "[101:120,2:49]"),
        ),
        ({"DATASEC": "[1:100,1:50]", "TRIMSEC": "[101:120,1:50]"}, "[1:100,1:50]", None),
        # One row short, as the LFC writes it, means all of the rows; much shorter it is of no use.
        ({"BIASSEC": "[101:120,1:49]", "DATASEC": "[1:100,1:50]"}, "[1:100,1:50]", "[101:120,1:50]"),
        ({"BIASSEC": "[101:120,1:40]", "DATASEC": "[1:100,1:50]"}, "[1:100,1:50]", None),
        # Passed over: one axis, beyond the frame, no section at all.
        ({"BIASSEC": "[4096:4109]", "DATASEC": "[1:100,1:50]"}, "[1:100,1:50]", None),
        ({"BIASSEC": "[101:121,1:50]"}, "[1:120,1:50]", None),
        ({"BIASSEC": "none"}, "[1:120,1:50]", None),
        ({"BIASSEC": 5}, "[1:120,1:50]", None),
        ({"BIASSEC": "  "}, "[1:120,1:50]", None),
        ({"DATASEC": "[1:4096,1:50]"}, "[1:120,1:50]", None),
        # An overscan among the data would be subtracted from itself.
        ({"BIASSEC": "[91:120,1:50]", "DATASEC": "[1:100,1:50]"}, "[1:100,1:50]", None),
    ],
)
def test_sections_of_a_header(header, data, overscan):
    found = resolve(header, (50, 120))
    assert sections(found) == (data, overscan, None)
    assert found.has_overscan == (overscan is not None)


@pytest.mark.parametrize(
    ("biassec", "words"),
    [
        ("[4096:4109]", "BIASSEC: section '[4096:4109]' has 1 axis, not two"),
        ("[101:121,1:50]", "reaches beyond the frame: 101:121 on the x axis, allowed 1:120; it is passed over"),
        ("[91:120,1:50]", "overlaps the data"),
        ("[101:120,1:40]", "covers only a part of the data"),
        ("[101:120,1:49]", "is meant to lie beside all of the data"),
    ],
)
def test_what_was_put_right_is_said(biassec, words):
    notes = resolve({"BIASSEC": biassec, "DATASEC": "[1:100,1:50]"}, (50, 120)).notes
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize(
    ("columns", "rows", "data", "overscan"),
    [
        (32, 0, "[1:88,1:50]", "[89:120,1:50]"),
        (32, 4, "[1:88,1:46]", "[89:120,1:46]"),
        ("32", None, "[1:88,1:50]", "[89:120,1:50]"),
        (0, 0, "[1:120,1:50]", None),
        (-3, 0, "[1:120,1:50]", None),
        (60, 0, "[1:120,1:50]", None),
        ("many", "x", "[1:120,1:50]", None),
        (None, 4, "[1:120,1:46]", None),
    ],
)
def test_counts_of_overscan_columns_and_rows(columns, rows, data, overscan):
    """Lick's COVER and ROVER."""
    dialect = replace(GENERIC.dialect, overscan_columns=("COVER",), overscan_rows=("ROVER",))
    header = {key: value for key, value in (("COVER", columns), ("ROVER", rows)) if value is not None}
    assert sections(resolve(header, (50, 120), replace(GENERIC, dialect=dialect))) == (data, overscan, None)


@pytest.mark.parametrize(
    ("skip", "overscan"),
    [(0, "[101:120,1:50]"), (5, "[106:120,1:50]"), (19, "[120:120,1:50]"), (20, "[101:120,1:50]")],
)
def test_leading_columns_are_skipped(skip, overscan):
    """More than there are cannot be skipped."""
    profile = profile_of(Amplifier(overscan_skip=skip))
    assert sections(resolve({"BIASSEC": "[101:120,1:50]"}, (50, 120), profile))[1] == overscan


@pytest.mark.parametrize(
    ("biassec", "overscan"),
    [
        ("[1:20,1:50]", "[1:15,1:50]"),
        ("[101:120,1:50]", "[106:120,1:50]"),
        ("[1:120,1:10]", "[1:120,1:5]"),
        ("[1:120,41:50]", "[1:120,46:50]"),
    ],
)
def test_the_side_next_to_the_data_is_skipped(biassec, overscan):
    """Trailing charge is in the pixels next to the data, on whichever side the overscan lies."""
    profile = profile_of(Amplifier(overscan_skip=5))
    assert sections(resolve({"BIASSEC": biassec}, (50, 120), profile))[1] == overscan


class TestProfile:
    """The profile's sections, where they hold."""

    AMPLIFIER = Amplifier(
        shape=(50, 120), data="[1:100,1:46]", overscan="[101:120,1:50]", parallel_overscan="[1:100,47:50]"
    )

    def test_they_win_over_the_header(self):
        header = {"DATASEC": "[1:10,1:10]", "BIASSEC": "[11:20,1:50]"}
        found = sections(resolve(header, (50, 120), profile_of(self.AMPLIFIER)))
        assert found[::2] == ("[1:100,1:46]", "[1:100,47:50]")

    def test_the_overscan_covers_the_data_and_more(self):
        """Rows beyond the data are of the parallel overscan, so the serial one is taken beside the data alone."""
        found = sections(resolve({}, (50, 120), profile_of(self.AMPLIFIER)))
        assert found[1] == "[101:120,1:46]"

    def test_another_shape_takes_the_header(self):
        """Binned or windowed."""
        header = {"DATASEC": "[1:50,1:25]", "BIASSEC": "[51:60,1:25]"}
        found = sections(resolve(header, (25, 60), profile_of(self.AMPLIFIER)))
        assert found == ("[1:50,1:25]", "[51:60,1:25]", None)

    def test_an_overscan_of_no_use_is_not_taken_from_the_header(self):
        profile = profile_of(Amplifier(overscan="none"))
        assert sections(resolve({"BIASSEC": "[101:120,1:50]"}, (50, 120), profile))[1] is None

    def test_a_section_that_does_not_fit_gives_way_to_the_header(self):
        profile = profile_of(Amplifier(data="[1:500,1:50]", overscan="[501:520,1:50]"))
        found = resolve({"BIASSEC": "[101:120,1:50]"}, (50, 120), profile)
        assert sections(found) == ("[1:100,1:50]", "[101:120,1:50]", None)
        assert "profile: section '[1:500,1:50]' reaches beyond the frame" in found.notes[0]

    def test_an_unknown_detector_lists_the_known_ones(self):
        with pytest.raises(FrameError, match=r"a\.fits: detector '7'; profile 'lfc' knows 0, 1, 2, 3, 4, 5"):
            resolve({}, (4128, 2080), get_profile("lfc"), detector="7", path="a.fits")


@pytest.mark.parametrize(
    ("policy", "shape"),
    [
        ({"edge": 0}, (50, 100)),
        ({"edge": 10}, (30, 80)),
        ({"edge": 10, "edge_of": "frame"}, (30, 90)),
        ({"edge": 24}, (2, 52)),
    ],
)
def test_edges_count_from_the_data_or_from_the_frame(policy, shape):
    found = resolve({"BIASSEC": "[101:120,1:50]"}, (50, 120), profile_of(Amplifier(), **policy))
    assert found.trimmed_shape == shape
    raw, trimmed = found.pieces(found.amplifiers[0])
    edge = policy["edge"]
    assert (raw[0].start, raw[1].start) == (edge, edge)
    assert (trimmed[0].start, trimmed[0].stop, trimmed[1].stop) == (0, *shape)


@pytest.mark.parametrize("policy", [{"edge": 25}, {"edge": 60, "edge_of": "frame"}])
def test_something_must_be_left(policy):
    with pytest.raises(FrameError, match="nothing is left of 50 x 120 pixels"):
        resolve({}, (50, 120), profile_of(Amplifier(), **policy))


class TestAmplifiers:
    """Several amplifiers are put together in the order in which they lie in the raw frame."""

    LEFT = Amplifier(name="L", shape=(50, 140), data="[1:50,1:50]", overscan="[51:70,1:50]")
    RIGHT = Amplifier(name="R", shape=(50, 140), data="[91:140,1:50]", overscan="[71:90,1:50]")

    @pytest.mark.parametrize("order", [1, -1])
    def test_side_by_side(self, order):
        amplifiers = (self.LEFT, self.RIGHT)[::order]
        found = resolve({}, (50, 140), profile_of(*amplifiers))
        assert found.trimmed_shape == (50, 100)
        targets = {item.amplifier.name: format_section(item.target) for item in found.amplifiers}
        assert targets == {"L": "[1:50,1:50]", "R": "[51:100,1:50]"}
        assert [item.amplifier.name for item in found.amplifiers] == [item.name for item in amplifiers]

    @pytest.mark.parametrize("edge", [3, 24])
    def test_pieces_cover_the_trimmed_frame_once(self, edge):
        found = resolve({}, (50, 140), profile_of(self.LEFT, self.RIGHT, edge=edge))
        pieces = [found.pieces(item) for item in found.amplifiers]
        assert [[part.stop - part.start for part in one] for one, _ in pieces] == [[50 - 2 * edge, 50 - edge]] * 2
        (_, left), (_, right) = pieces
        assert (left[1].start, left[1].stop, right[1].stop) == (0, right[1].start, 100 - 2 * edge)
        assert pieces[1][0][1].start == 90

    def test_an_edge_that_eats_an_amplifier(self):
        """What is left of it is empty, not negative."""
        narrow = replace(self.RIGHT, data="[131:140,1:50]")
        found = resolve({}, (50, 140), profile_of(self.LEFT, narrow, edge=15))
        raw, trimmed = found.pieces(found.amplifiers[1])
        assert raw[1].stop - raw[1].start == trimmed[1].stop - trimmed[1].start == 0

    def test_four_corners(self):
        four = [
            Amplifier(name=f"{x}{y}", shape=(50, 140), data=f"[{x}:{x + 49},{y}:{y + 19}]", overscan="none")
            for y in (1, 31)
            for x in (1, 91)
        ]
        found = resolve({}, (50, 140), profile_of(*four))
        assert found.trimmed_shape == (40, 100)
        assert format_section(found.amplifiers[3].target) == "[51:100,21:40]"
        assert not found.has_overscan

    def test_another_shape_cannot_be_taken_apart(self):
        with pytest.raises(FrameError, match=r"a\.fits: shape \(25, 70\); profile 'generic' knows .* \(50, 140\) only"):
            resolve({}, (25, 70), profile_of(self.LEFT, self.RIGHT), path="a.fits")


def test_built_in_profiles_hold_for_their_shapes():
    """Every section that a profile names fits its shape, beside its data."""
    for name, shape in (("lfc", (4128, 2080)), ("aspen", (4096, 4109)), ("nickel", (1024, 1056))):
        profile = get_profile(name)
        found = resolve({"BIASSEC": "[4096:4109]"}, shape, profile, detector=profile.amplifiers[0].detector)
        assert found.notes == ()
        assert found.has_overscan == (name != "aspen")
