"""The bits of the mask."""

import numpy as np
import pytest

from ccdnight.flags import FLAGS, describe_flags, flag_value


def test_the_bits_are_those_of_the_design():
    """They are written to files, so they cannot change."""
    names = ["BAD_PIXEL", "SATURATED", "COSMIC_RAY", "NO_DATA", "INTERPOLATED", "BLEED", "LOW_WEIGHT", "CROSSTALK"]
    assert {name: flag.value for name, flag in FLAGS.items()} == {name: 2**i for i, name in enumerate(names)}
    assert all(flag.name == name and flag.meaning for name, flag in FLAGS.items())


def test_values_add_up():
    assert flag_value() == 0
    assert flag_value("BAD_PIXEL", "NO_DATA", "BAD_PIXEL") == 9


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="flag 'HOT' is not known; known are BAD_PIXEL, SATURATED"):
        flag_value("BAD_PIXEL", "HOT")


def test_pixels_are_counted_by_flag():
    flags = np.array([[0, 1, 3], [2, 128, 128]], np.uint16)
    assert describe_flags(flags) == {"BAD_PIXEL": 2, "SATURATED": 2, "CROSSTALK": 2}
    assert list(describe_flags(flags)) == ["BAD_PIXEL", "SATURATED", "CROSSTALK"]
    assert describe_flags(np.zeros((2, 2), np.uint16)) == {}
