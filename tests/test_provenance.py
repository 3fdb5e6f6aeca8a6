"""What was done to a frame: records, state cards, and what counts as evidence."""

import hashlib
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from ccdnight._version import version
from ccdnight.exceptions import AlreadyAppliedError
from ccdnight.products import derive, make_ccd
from ccdnight.provenance import (
    STATE_CARDS,
    StepRecord,
    digest_bytes,
    digest_file,
    digest_input,
    is_applied,
    mark_applied,
    record_rows,
    record_step,
    records_of,
    refuse_twice,
    set_records,
)


class TestDigestInput:
    """Read once, as long as the disk says that it is the same."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "raw.fits"
        path.write_bytes(b"one")
        return path

    @staticmethod
    def reads(monkeypatch):
        found = []
        monkeypatch.setattr("ccdnight.provenance.digest_file", lambda path: found.append(path) or digest_file(path))
        return found

    def test_it_is_read_once(self, path, monkeypatch):
        reads, later = self.reads(monkeypatch), path.stat().st_ctime_ns + 3_000_000_000
        monkeypatch.setattr("ccdnight._unchanged.time.time_ns", lambda: later)
        assert digest_input(path) == digest_input(str(path)) == digest_file(path)
        assert len(reads) == 1
        for content in (b"two", b"three"):
            path.write_bytes(content)
            assert digest_input(path) == digest_file(path)

    def test_what_changed_a_moment_ago_is_read_again(self, path, monkeypatch):
        """Within one tick of the clock another change would have the same time."""
        reads = self.reads(monkeypatch)
        assert digest_input(path) == digest_input(path) == digest_file(path)
        assert len(reads) == 2

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            digest_input(tmp_path / "no.fits")


@pytest.fixture
def ccd():
    return make_ccd(np.zeros((3, 4)), unit="adu")


def test_digests(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert digest_file(tmp_path / "x") == digest_bytes(b"abc" * 100_000)
    assert digest_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_records_go_with_the_frame(ccd):
    """A derived frame has the records of the one it comes from, and its own do not reach back."""
    record_step(ccd, "read", inputs=[("a.fits", "12", "raw")], profile="lfc")
    later = derive(ccd)
    record_step(later, "combine", history="two frames", sigma=4.0, b=1)
    assert [item.step for item in records_of(ccd)] == ["read"]
    assert [item.step for item in records_of(later)] == ["read", "combine"]
    assert records_of(later)[0] == StepRecord("a.fits", "12", "raw", "read", '{"profile": "lfc"}', version)
    assert json.loads(records_of(later)[1].parameters) == {"b": 1, "sigma": 4.0}
    assert list(later.meta["HISTORY"]) == ["combine: two frames"]
    assert "HISTORY" not in ccd.meta


def test_one_row_for_every_input(ccd):
    record_step(ccd, "combine", inputs=[("a", "1", "bias"), ("b", "2", "bias")])
    record_step(ccd, "trim")
    rows = record_rows(ccd)
    assert [row[:4] for row in rows] == [
        ("a", "1", "bias", "combine"),
        ("b", "2", "bias", "combine"),
        ("", "", "", "trim"),
    ]
    other = CCDData(np.zeros((2, 2)), unit="adu")
    assert records_of(other) == []
    set_records(other, rows)
    assert record_rows(other) == rows
    assert StepRecord.names() == ("file", "sha256", "role", "step", "parameters", "version")


def test_history_is_ascii_and_adds_up(ccd):
    record_step(ccd, "a", history="Jos\u00e9 \u00b1 1")
    record_step(ccd, "b", history="x" * 200)
    assert ccd.meta["HISTORY"][0] == "a: Jos? ? 1"
    assert "".join(list(ccd.meta["HISTORY"])[1:]) == "b: " + "x" * 200


@pytest.mark.parametrize(
    ("step", "cards"),
    [
        ("bias", {"ZEROCOR": "ccdnight: bias.fits"}),
        ("bias", {"ZEROCOR": "Apr 10 10:00 Zero level correction image is Zero"}),
        ("bias", {"ZEROCOR": True}),
        ("bias", {"SUBBIAS": "ccd=<CCDData>, master=<CCDData>"}),
        ("bias", {"CALSTAT": "BDF"}),
        ("dark", {"CALSTAT": "BD"}),
        ("flat", {"CALSTAT": "f"}),
        ("dark", {"DARKCOR": "dark.fits"}),
        ("dark", {"SUBDARK": ""}),
        ("flat", {"FLATCOR": "flat.fits"}),
        ("gain", {"GAINCOR": "gain=2.0 electron / adu"}),
        ("trim", {"TRIM": "Trim data section is [1:10,1:10]"}),
        ("trim", {"TRIMIM": "trimmed"}),
        ("overscan", {"OVERSCAN": "Apr 10 10:00 Overscan section is [1025:1056,1:1024] with mean=1000"}),
        ("overscan", {"OVERSCAN": "ccdnight: clipped row means"}),
        ("overscan", {"SUBOSCAN": "x"}),
    ],
)
@pytest.mark.parametrize("form", [fits.Header, dict, "lower"])
def test_evidence(step, cards, form):
    """In a FITS header and in any other mapping, where ccdproc's cards are in lower case."""
    meta = {key.lower(): value for key, value in cards.items()} if form == "lower" else form(cards)
    (key,) = cards
    assert is_applied(meta, step).startswith(f"{key} = ")
    ccd = CCDData(np.zeros((2, 2)), unit="adu", meta=meta)
    with pytest.raises(AlreadyAppliedError, match=f"x.fits: the step '{step}' has been applied already .{key} = "):
        refuse_twice(ccd, step, "x.fits")


@pytest.mark.parametrize(
    ("step", "cards"),
    [
        ("bias", {}),
        ("bias", {"ZEROCOR": ""}),
        ("bias", {"ZEROCOR": "NO"}),
        ("bias", {"ZEROCOR": False}),
        ("bias", {"ZEROCOR": 0}),
        ("bias", {"SUBBIAS": False}),
        ("bias", {"CALSTAT": "DF"}),
        ("bias", {"CALSTAT": ""}),
        ("bias", {"CALSTAT": 5}),
        ("gain", {"CALSTAT": "BDF"}),
        ("trim", {"TRIM": "F"}),
        ("overscan", {"OVERSCAN": 32}),
        ("overscan", {"OVERSCAN": True}),
        ("overscan", {"OVERSCAN": "[2049:2080,1:4128]"}),
        ("overscan", {"OVERSCAN": "YES"}),
    ],
)
def test_no_evidence(step, cards):
    """A raw header's own OVERSCAN card (a count, a section, a flag) tells of no subtraction."""
    assert is_applied(fits.Header(cards), step) == ""
    refuse_twice(CCDData(np.zeros((2, 2)), unit="adu", meta=cards), step)


@pytest.mark.parametrize("key", ["TRIM", "TRIMIM", "CALSTAT"])
def test_an_unreadable_card_proves_nothing(key):
    """A header as it stands in the file may hold cards that cannot be read."""
    text = "".join(card.ljust(80) for card in (f"{key:8}= [1:10 x", "END")).ljust(2880)
    assert key in fits.Header.fromstring(text)
    assert is_applied(fits.Header.fromstring(text), "bias") == ""
    if key != "TRIMIM":
        assert is_applied(fits.Header.fromstring(text), "trim") == ""


@pytest.mark.parametrize("step", STATE_CARDS)
def test_a_marked_step_is_evidence(ccd, step):
    """However long the words are, they stay one card."""
    mark_applied(ccd, step, "it's \u00b1" + "x" * 100)
    assert is_applied(ccd.meta, step)
    key = STATE_CARDS[step][0]
    assert len(ccd.meta[key]) <= 68
    for other in set(STATE_CARDS) - {step}:
        assert not is_applied(ccd.meta, other)
