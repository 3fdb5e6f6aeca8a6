"""FITS sections: 1-based, inclusive, x first."""

import pytest

from ccdnight._sections import format_section, parse_section, section_shape
from ccdnight.exceptions import SectionError


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("[1:2048,1:4128]", (0, 4128), (0, 2048)),
        (" [2:3,4:5] ", (3, 5), (1, 3)),
        ("[ 2 : 3 , 4 : 5 ]", (3, 5), (1, 3)),
        ("[:,:]", (0, 4128), (0, 2080)),
        ("[*,*]", (0, 4128), (0, 2080)),
        ("[1:4096, :]", (0, 4128), None),
        ("[5:,:7]", (0, 7), (4, 2080)),
        ("[9,3]", (2, 3), (8, 9)),
        ("[2048:1,4128:1]", (0, 4128), (0, 2048)),
        ("[2048:1:-1,1:4128:1]", (0, 4128), (0, 2048)),
        ("[+1:2,1:2]", None, None),
    ],
)
def test_text_becomes_slices(text, rows, columns):
    """Ends may be missing, reversed, or an axis a single pixel; an axis beyond the frame is refused."""
    if rows is None or columns is None:
        with pytest.raises(SectionError, match=r"4096|\+1"):
            parse_section(text, (4128, 2080))
    else:
        assert parse_section(text, (4128, 2080)) == (slice(*rows), slice(*columns))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[4096:4109]", "1 axis, not two"),
        ("[1:2,1:2,1:2]", "3 axis, not two"),
        ("1:2,1:2", "not of the form"),
        ("", "not of the form"),
        ("[a:b,1:2]", "'a:b' on the x axis"),
        ("[1:2,]", "on the y axis"),
        ("[0:5,1:2]", "beyond the frame"),
        ("[-4:5,1:2]", "beyond the frame"),
        ("[1:11,1:2]", "allowed 1:10"),
        ("[1:2,1:21]", "1:21 on the y axis"),
        ("[1:9:2,1:2]", "step 2"),
        (None, "not of the form"),
        (7, "not of the form"),
    ],
)
def test_what_is_no_section_is_refused_in_words(text, words):
    with pytest.raises(SectionError, match=words.replace("+", r"\+")):
        parse_section(text, (20, 10))


def test_an_open_end_needs_the_shape():
    assert parse_section("[1:5,2:3]") == (slice(1, 3), slice(0, 5))
    with pytest.raises(SectionError, match="open end"):
        parse_section("[1:5,:]")


@pytest.mark.parametrize("text", ["[1:1,1:1]", "[2049:2080,1:4127]", "[3:7,2:2]"])
def test_format_is_the_inverse(text):
    assert format_section(parse_section(text)) == text


def test_shape_is_rows_first():
    assert section_shape(parse_section("[3:7,1:100]")) == (100, 5)
