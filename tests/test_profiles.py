"""Instrument profiles: facts, mistakes told in words, where they come from, which one a header asks for."""

import os
import re
import sys
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import pytest
import tomli_w
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ccdnight.profiles as profiles_package
from ccdnight.exceptions import CcdnightWarning, ProfileError
from ccdnight.profiles import (
    Amplifier,
    Dialect,
    InstrumentProfile,
    Policy,
    _fields,
    get_profile,
    list_profiles,
    load_profile,
    match_profile,
    profile_from_toml,
    profile_to_toml,
    registry,
)
from ccdnight.profiles.interpret import read_facts

BUILT_IN = ["arcsat", "aspen", "generic", "lfc", "nickel"]
REAL_DATA = Path(os.environ.get("CCDNIGHT_REALDATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

# The cards that matter of an LFC frame; FILTER is invalid, with an unescaped quote, as the camera writes it.
LFC_CARDS = """
SIMPLE  =                    T  / STANDARD FITS
BITPIX  =                   16  / BITS/PIXEL
NAXIS   =                    2  / NUMBER OF AXES
NAXIS1  =                 2080  / NUMBER OF COLUMNS
NAXIS2  =                 4128  / NUMBER OF ROWS
INSTRUME= 'LFC     '            / Instrument used for observation
DETECTOR= 'SITe SI002 x 6'      / Detector used for observation
FRAME   =                    1  / Frame number of observation
IMAGETYP= '{kind:8}'            / Type of observation
EXPTIME =                0.000  / Integration time (seconds)
DATE-OBS= '2016-01-15'          / UT Date of observation (DD/MM/YY)
UT      = ' 23:53:30.00'        / Universal time (UTC) at exposure start
FILTER  = 'i'      '            / Filter description
GAIN    =                1.100  / Nominal gain (e-/ADU)
CCDBIN1 =                    1  / On-chip column binning (fast dir)
CCDBIN2 =                    1  / On-chip row binning (slow dir)
CHIPID  =                    {chip}
"""

TWO_AMPLIFIERS = """
format = 1
name = "twin"
title = "A detector read through two amplifiers, each with its overscan in the middle"

[match]
INSTRUME = ["Twin*", "TWN?"]

[dialect]
binning = [["XBIN", "YBIN"], "CCDSUM"]
exposure = "TEXP"

[[amplifiers]]
name = "left"
shape = [100, 240]
data = "[1:100,1:100]"
overscan = "[101:120,1:100]"
overscan_skip = 3
gain = 1.5
read_noise = 4

[[amplifiers]]
name = "right"
shape = [100, 240]
data = "[141:240,1:100]"
overscan = "[121:140,1:100]"
gain = 1.6

[policy]
bias = "both"
minimum_bias = 5

[[rules]]
kind = "ignored"
when = { OBJECT = "slew*" }
"""


def make_toml(lines="", *, name="mine"):
    """A profile of two lines and some more."""
    return f'format = 1\nname = "{name}"\n{lines}\n'


def problems_of(text):
    """The sentences that reading a text gives."""
    with pytest.raises(ProfileError) as caught:
        profile_from_toml(text, source="mine.toml")
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def make_lfc_header(chip=0, kind="BIAS"):
    cards = LFC_CARDS.format(chip=chip, kind=kind).strip().splitlines()
    return fits.Header.fromstring("".join(f"{card:80}" for card in cards))


@pytest.fixture
def offer(monkeypatch, tmp_path):
    """Offer Python values as the profiles of another package, each under its name."""
    caches = (registry._entry_points, registry._usable, registry._offered)
    monkeypatch.syspath_prepend(tmp_path)

    def install(source, *names):
        (tmp_path / "other_package.py").write_text(source, encoding="utf-8")
        points = [metadata.EntryPoint(name, f"other_package:{name}", registry.ENTRY_POINTS) for name in names]
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: points if group == registry.ENTRY_POINTS else [])
        for cached in caches:
            cached.cache_clear()

    yield install
    sys.modules.pop("other_package", None)
    for cached in caches:
        cached.cache_clear()


# What is shipped


def test_built_in_profiles_are_listed():
    assert [name for name in list_profiles() if name in BUILT_IN] == BUILT_IN == sorted(BUILT_IN)
    assert list_profiles() == sorted(list_profiles())


@pytest.mark.parametrize("name", BUILT_IN)
def test_shipped_profile_survives_a_round_trip(name):
    profile = get_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.source == f"ccdnight/profiles/{name}.toml"
    again = profile_from_toml(profile_to_toml(profile), source=profile.source)
    assert again == profile
    assert replace(again, policy=replace(again.policy, edge=again.policy.edge + 1)) != profile


@pytest.mark.parametrize("name", BUILT_IN)
def test_shipped_file_says_where_its_facts_are_from(name):
    text = (Path(profiles_package.__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    assert re.search(r"^# Sources?: ", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "detector", "facts"),
    [
        ("lfc", "0", {"gain": 2.0, "read_noise": 11.0, "saturation": 59100.0, "shape": (4128, 2080)}),
        ("lfc", "1", {"gain": 1.9, "read_noise": 9.0, "saturation": 53400.0}),
        ("lfc", "2", {"gain": 2.1, "read_noise": 9.0, "saturation": 40800.0}),
        (
            "lfc",
            "3",
            {"gain": None, "read_noise": None, "saturation": None, "overscan": "[2049:2080,1:4128]"},
        ),
        ("lfc", "5", {"data": "[1:2048,1:4128]", "overscan": "[2049:2080,1:4128]", "overscan_skip": 7}),
        ("aspen", "", {"gain": 1.5, "read_noise": 10.0, "saturation": 55000.0, "overscan": "none"}),
        ("aspen", "", {"shape": (4096, 4109), "data": "[1:4096,1:4096]"}),
        ("arcsat", "", {"gain": 1.34, "read_noise": 16.3, "saturation": 65535.0, "overscan": "none"}),
        ("nickel", "", {"gain": 1.78, "read_noise": 9.8, "data": "[1:1024,1:1024]", "shape": (1024, 1056)}),
        ("nickel", "", {"overscan": "[1025:1056,1:1024]", "overscan_skip": 8}),
        ("generic", "", {"gain": None, "data": "", "overscan": "", "parallel_overscan": "none"}),
    ],
)
def test_facts_of_an_amplifier(name, detector, facts):
    (amplifier,) = get_profile(name).amplifiers_of(detector)
    assert {key: getattr(amplifier, key) for key in facts} == facts


def test_facts_of_the_instruments():
    lfc, nickel, arcsat = (get_profile(name) for name in ("lfc", "nickel", "arcsat"))
    assert lfc.detectors == ("0", "1", "2", "3", "4", "5")
    assert nickel.dialect.gain == ()
    assert nickel.dialect.overscan_columns == ("COVER",)
    assert nickel.standard_binning == "2x2"
    assert nickel.policy.temperature_tolerance > 111.4 - 108.8
    assert (nickel.latitude, nickel.longitude) == (37.3414, -121.6429)
    assert (arcsat.latitude, arcsat.longitude) == (32.7803, -105.8203)
    assert get_profile("aspen").dialect.overscan_section == ()
    assert lfc.dialect.exposure == get_profile("generic").dialect.exposure


def test_every_entry_has_a_reader():
    """A new field of a dataclass has to be readable from a file."""
    assert set(_fields._POLICY) == {item.name for item in fields(Policy)}
    assert set(_fields._AMPLIFIER) == {item.name for item in fields(Amplifier)}
    assert set(_fields._DIALECT) == {item.name for item in fields(Dialect)}


def test_exported_names_are_sorted_and_exist():
    assert profiles_package.__all__ == sorted(profiles_package.__all__)
    assert all(hasattr(profiles_package, name) for name in profiles_package.__all__)


# Kinds


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("BIAS", "bias"),
        ("Bias Frame", "bias"),
        ("zero", "bias"),
        ("Dark Frame", "dark"),
        ("flatdark", "dark"),
        ("FLATFIELD", "flat"),
        ("Flat Field", "flat"),
        ("dome flat", "flat"),
        ("DFLAT", "flat"),
        ("LAMPFLAT", "flat"),
        ("SKYFLAT", "twilight"),
        ("sky flat", "twilight"),
        ("Flat, twilight", "twilight"),
        ("Light Frame", "science"),
        ("OBJECT", "science"),
        ("EXPOSE", "science"),
        ("focus", "unknown"),
        ("comp", "unknown"),
        ("gibberish", "unknown"),
    ],
)
def test_usual_spellings_of_kinds(value, kind):
    facts = read_facts({"IMAGETYP": value, "EXPTIME": 5.0}, get_profile("generic"))
    assert facts.kind == kind
    assert facts.ignored == (value in ("focus", "comp"))


@pytest.mark.parametrize("key", ["IMAGETYP", "OBSTYPE"])
@pytest.mark.parametrize(("exposure", "kind"), [(0, "bias"), (0.5, "dark")])
def test_dark_without_exposure_is_a_bias(key, exposure, kind):
    assert read_facts({key: "DARK", "EXPTIME": exposure}, get_profile("generic")).kind == kind


@pytest.mark.parametrize(
    ("shutter", "target", "exposure", "kind"),
    [
        ("DARK", "bias", 0, "bias"),
        ("DARK", "sky flat", 0, "bias"),
        ("DARK", "bias", 300, "dark"),
        ("OBJECT", "bias", 0, "bias"),
        ("OBJECT", "bias", 60, "science"),
        ("OBJECT", "sky flat", 4, "twilight"),
        ("OBJECT", "Dome flat V", 4, "flat"),
        ("OBJECT", "Twin Quasar", 600, "science"),
        ("OBJECT", "focus", 3, "unknown"),
    ],
)
def test_nickel_kind_rests_on_shutter_and_target(shutter, target, exposure, kind):
    header = {"OBSTYPE": shutter, "OBJECT": target, "EXPTIME": exposure}
    assert read_facts(header, get_profile("nickel")).kind == kind


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({"FILTER1": "R", "FILTER2": "Open"}, "R"),
        ({"FILTER1": "clear", "FILTER2": "V"}, "V"),
        ({"FILTER1": "ND2", "FILTER2": "V"}, "ND2+V"),
        ({"FILTER1": "Open", "FILTER2": "Clear"}, "Open"),
        ({"FILTER2": "Clear"}, "Clear"),
        ({"FILTER1": " ", "FILTNAM": "B"}, "B"),
    ],
)
def test_filter_wheels(header, name):
    """Wheels that work together give one name, open places left out of it."""
    profile = profile_from_toml("format = 1\nname = 'wheels'\ndialect = {filter = [['FILTER1', 'FILTER2'], 'FILTNAM']}")
    assert read_facts(header, profile).filter == name
    assert profile_from_toml(profile_to_toml(profile)).dialect.filter == (("FILTER1", "FILTER2"), "FILTNAM")


# Matching


@pytest.mark.parametrize("chip", range(6))
def test_lfc_header(chip):
    header = make_lfc_header(chip)
    profile = match_profile(header)
    facts = read_facts(header, profile)
    assert profile.name == "lfc"
    assert facts.detector == str(chip)
    assert len(profile.amplifiers_of(facts.detector)) == 1
    assert (facts.kind, facts.filter, facts.binning) == ("bias", "i'", "1x1")
    assert facts.time.isoformat() == "2016-01-15T23:53:30+00:00"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({"INSTRUME": "AspenCG16"}, "aspen"),
        ({"INSTRUME": "  lfc "}, "lfc"),
        ({"INSTRUME": "dcam-spare", "TELESCOP": "ARCSAT 0.5-m"}, "arcsat"),
        ({"INSTRUME": "dcam-spare"}, "generic"),
        ({"INSTRUME": "LFC2"}, "generic"),
        ({"INSTRUME": 5}, "generic"),
        ({}, "generic"),
        (fits.Header(), "generic"),
    ],
)
def test_match_profile(header, name):
    assert match_profile(header).name == name


def test_unreadable_cards_do_not_stop_matching():
    bad = fits.Card.fromstring(f"{'INSTRUME= LF C x':80}")
    header = fits.Header([bad, fits.Card.fromstring(f"{'EXPTIME = 1O.0':80}")])
    with pytest.raises(fits.VerifyError):
        header["INSTRUME"]
    assert match_profile(header).name == "generic"
    assert match_profile(fits.Header([fits.Card("INSTRUME", None)])).name == "generic"


def test_most_keywords_win(offer):
    special = make_toml("match = {INSTRUME = 'LFC', CHIPID = '0'}", name="special")
    other = make_toml("match = {INSTRUME = 'LFC*'}", name="other")
    offer(f"special, other = {special!r}, {other!r}", "special", "other")
    assert match_profile(make_lfc_header(0)).name == "special"
    with pytest.warns(CcdnightWarning, match="'lfc', 'other' equally well; 'lfc' is used"):
        assert match_profile(make_lfc_header(1)).name == "lfc"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("night", "name", "counts"),
    [
        ("arcsat-2025-06-01", "arcsat", {"bias": 9, "dark": 9, "flat": 21, "science": 4}),
        ("nickel-2024-05-13", "nickel", {"bias": 10, "twilight": 3, "science": 6}),
    ],
)
def test_real_nights(night, name, counts):
    if not REAL_DATA.is_dir():
        pytest.skip("the folder of real nights is not there")
    found = []
    for path in sorted((REAL_DATA / night).glob("*.fits")):
        header = fits.getheader(path)
        assert match_profile(header).name == name
        facts = read_facts(header, get_profile(name))
        assert facts.problems == ()
        assert facts.binning == get_profile(name).standard_binning
        assert facts.read_mode in get_profile(name).standard_read_modes
        found.append(facts.kind)
    assert {kind: found.count(kind) for kind in set(found)} == counts


# Reading


def test_two_amplifiers_from_a_file(tmp_path):
    path = tmp_path / "twin.toml"
    path.write_text(TWO_AMPLIFIERS, encoding="utf-8")
    profile = get_profile(path)
    assert get_profile(str(path)) == load_profile(path) == profile
    assert profile.source == str(path)
    assert [(item.name, item.gain) for item in profile.amplifiers_of("")] == [("left", 1.5), ("right", 1.6)]
    assert profile.amplifiers[0].shape == (100, 240)
    assert profile.dialect.binning == (("XBIN", "YBIN"), ("CCDSUM",))
    assert profile.dialect.exposure == ("TEXP",)
    assert dict(profile.matches) == {"INSTRUME": ("Twin*", "TWN?")}
    assert profile_from_toml(profile_to_toml(profile), source=str(path)) == profile


def test_what_a_child_takes_from_its_parent():
    lines = """
    extends = "nickel"
    dialect = {filter = "WHEEL"}
    policy = {edge = 3}
    kinds = {twilight = ["dusk"], ignored = []}
    site = {latitude = 10}
    rules = [{kind = "dark", when = {OBJECT = "cap on"}}]
    """
    child, parent = profile_from_toml(make_toml(lines)), get_profile("nickel")
    assert child.amplifiers == parent.amplifiers
    assert child.dialect == replace(parent.dialect, filter=("WHEEL",))
    assert child.policy == replace(parent.policy, edge=3)
    assert child.kinds["twilight"] == ("dusk",)
    assert child.kinds["bias"] == parent.kinds["bias"]
    assert "ignored" not in child.kinds
    assert child.rules[0].when["OBJECT"] == ("cap on",)
    assert child.rules[1:] == parent.rules
    assert (child.latitude, child.longitude) == (10.0, parent.longitude)
    assert (child.title, dict(child.matches)) == ("", {})


def test_amplifiers_replace_those_of_the_parent():
    child = profile_from_toml(make_toml('extends = "lfc"\namplifiers = [{detector = "7", gain = 3}]'))
    assert child.amplifiers == (Amplifier(detector="7", gain=3.0),)
    assert isinstance(child.amplifiers[0].gain, float)


def test_a_profile_that_extends_nothing():
    profile = profile_from_toml(make_toml('extends = ""'))
    assert profile == InstrumentProfile(name="mine", source="profile")


def test_profile_passes_through():
    profile = InstrumentProfile(name="made here")
    assert get_profile(profile) is profile


def test_built_in_profiles_are_read_once():
    assert get_profile("lfc") is get_profile("lfc")


def test_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + make_toml().encode())
    assert get_profile(path).name == "mine"


# Mistakes


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ("polcy = {}", "polcy", "unknown key; did you mean 'policy'?"),
        ("zzz = 1", "zzz", "unknown key (allowed here: 'format', 'name'"),
        ("policy = {dark_sigm = 1}", "policy.dark_sigm", "did you mean 'dark_sigma'?"),
        ("policy = 3", "policy", "3 is not a table"),
        ("policy = {bias = 'frame'}", "policy.bias", "'frame' is not one of 'auto', 'frames'"),
        ("policy = {bias = true}", "policy.bias", "True is not one of"),
        (
            "policy = {minimum_bias = -1}",
            "policy.minimum_bias",
            "-1 is not allowed; a whole number of at least 0",
        ),
        ("policy = {minimum_flat = 2.5}", "policy.minimum_flat", "2.5 is not allowed"),
        ("policy = {edge = true}", "policy.edge", "True is not allowed; a whole number"),
        ("policy = {sigma = true}", "policy.sigma", "True is not allowed; a number above 0"),
        ("policy = {sigma = 0}", "policy.sigma", "0 is not allowed"),
        ("policy = {sigma = nan}", "policy.sigma", "nan is not allowed"),
        ("policy = {scale_flats = 1}", "policy.scale_flats", "1 is not allowed; true and false are"),
        ("policy = {exposure_tolerance = [0.1]}", "policy.exposure_tolerance", "a list of 2 numbers"),
        ("policy = {exposure_tolerance = [0.1, -1]}", "policy.exposure_tolerance[1]", "-1 is not allowed"),
        ("policy = {match = ['detektor']}", "policy.match[0]", "did you mean 'detector'?"),
        ("policy = {dark_scale_up = 0.5}", "policy.dark_scale_up", "a number of at least 1"),
        ("title = 5", "title", "5 is not allowed; a string is"),
        (
            "extends = 'genric'",
            "extends",
            "no profile 'genric'; did you mean 'generic'? (known profiles: ",
        ),
        ("extends = 'mine'", "extends", "no profile 'mine'"),
        ("hdu = -1", "hdu", "a whole number from 0 to 9999"),
        ("standard_binning = '2'", "standard_binning", "'2' is no binning, such as '1x1'"),
        ("standard_read_modes = [1]", "standard_read_modes[0]", "1 is not allowed; a string is"),
        ("match = {INSTRUME = 5}", "match.INSTRUME", "5 is not allowed; a string or a list of strings is"),
        ("match = {INSTRUME = ['a', 5]}", "match.INSTRUME[1]", "5 is not a pattern"),
        ("match = {INSTRUME = []}", "match.INSTRUME", "the list of patterns is empty"),
        ("match = {'IN*' = 'x'}", "match.IN*", "'IN*' is no header keyword"),
        ("dialect = {exposre = 'T'}", "dialect.exposre", "did you mean 'exposure'?"),
        ("dialect = {exposure = 3}", "dialect.exposure", "3 is not allowed; a string or a list of strings"),
        ("dialect = {exposure = ['T=']}", "dialect.exposure[0]", "'T=' is no header keyword"),
        ("dialect = {binning = [['A', 'B', 'C']]}", "dialect.binning", "keywords and of pairs of keywords"),
        ("dialect = {binning = [[1, 'B']]}", "dialect.binning[0][0]", "1 is no header keyword"),
        ("dialect = {filter = [[]]}", "dialect.filter", "a list of keywords and of lists of keywords (of wheels)"),
        ("dialect = {filter = [['A', 1]]}", "dialect.filter[0][1]", "1 is no header keyword"),
        ("dialect = {filter = 5}", "dialect.filter", "a list of keywords and of lists of keywords (of wheels)"),
        ("kinds = {biass = 'b'}", "kinds.biass", "did you mean 'bias'?"),
        ("kinds = {bias = [1]}", "kinds.bias[0]", "1 is not a pattern"),
        ("rules = 1", "rules", "1 is not a list of tables, each of which is written [[rules]]"),
        ("rules = [{when = {A = 'x'}}]", "rules (no. 1).kind", "missing; one of bias, dark"),
        ("rules = [{kind = 'sky', when = {A = 'x'}}]", "rules (no. 1).kind", "'sky' is not one of 'bias'"),
        ("rules = [{kind = 'bias'}]", "rules (no. 1)", "holds for every frame"),
        ("rules = [{kind = 'bias', when = {}}]", "rules (no. 1).when", "an empty table"),
        ("rules = [{kind = 'bias', exposure_max = -1}]", "rules (no. 1).exposure_max", "-1 is not allowed"),
        ("amplifiers = []", "amplifiers", "at least one amplifier"),
        ("amplifiers = [{gain = 0}]", "amplifiers (no. 1).gain", "0 is not allowed; a number above 0"),
        ("amplifiers = [{gain = '2'}]", "amplifiers (no. 1).gain", "'2' is not allowed"),
        ("amplifiers = [{read_noise = -3}]", "amplifiers (no. 1).read_noise", "-3 is not allowed"),
        ("amplifiers = [{saturation = inf}]", "amplifiers (no. 1).saturation", "inf is not allowed"),
        ("amplifiers = [{shape = [0, 5]}]", "amplifiers (no. 1).shape[0]", "0 is not allowed"),
        ("amplifiers = [{shape = 5}]", "amplifiers (no. 1).shape", "a list of 2 numbers"),
        ("amplifiers = [{data = '[1:5]'}]", "amplifiers (no. 1).data", "'[1:5]' has 1 axis, not two"),
        (
            "amplifiers = [{data = 'none'}]",
            "amplifiers (no. 1).data",
            "a section of the raw frame is allowed",
        ),
        (
            "amplifiers = [{shape = [5, 5], data = '[1:6,1:5]'}]",
            "amplifiers (no. 1).data",
            "'[1:6,1:5]' reaches beyond the frame: 1:6 on the x axis, allowed 1:5",
        ),
        (
            "amplifiers = [{shape = [5, 9], overscan = '[6:9,1:5]', overscan_skip = 4}]",
            "amplifiers (no. 1).overscan_skip",
            "4 leaves nothing of the overscan '[6:9,1:5]'; 0 to 3 is allowed",
        ),
        (
            "amplifiers = [{shape = [5, 9], data = '[1:6,1:5]', overscan = '[6:9,1:5]'}]",
            "amplifiers (no. 1).overscan",
            "'[6:9,1:5]' lies on the data section '[1:6,1:5]'",
        ),
        (
            "amplifiers = [{name = 'a', data = '[1:5,1:5]'}, {name = 'b', data = '[5:9,1:5]'}]",
            "amplifiers (no. 2).data",
            "'[5:9,1:5]' overlaps with '[1:5,1:5]' of amplifiers (no. 1)",
        ),
        (
            "amplifiers = [{name = 'a', data = '[1:5,1:5]'}, {name = 'a', data = '[6:9,1:5]'}]",
            "amplifiers (no. 2).name",
            "'a' is also the name of amplifiers (no. 1)",
        ),
        (
            "amplifiers = [{name = 'a', data = '[1:5,1:5]'}, {name = 'b'}]",
            "amplifiers (no. 2).data",
            "'' is not allowed where a detector has several amplifiers",
        ),
        (
            "amplifiers = [{name = 'a', shape = [9, 9], data = '[1:5,:]'}, {name = 'b', data = '[6:9,1:5]'}]",
            "amplifiers (no. 2).shape",
            "no shape is not allowed where amplifiers (no. 1) has [9, 9]",
        ),
        (
            "amplifiers = [{detector = 'A'}, {name = 'b'}]",
            "amplifiers (no. 2).detector",
            "'' is not allowed where other amplifiers name theirs",
        ),
        ("site = {latitude = 91}", "site.latitude", "a number from -90 to 90"),
        ("site = {longitude = 'west'}", "site.longitude", "'west' is not allowed"),
    ],
)
def test_a_mistake_is_told(lines, key, words):
    """One sentence, which names file and key, the value got and what is allowed."""
    (problem,) = problems_of(make_toml(lines))
    assert problem.startswith(f"mine.toml: {key}: ")
    assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "format = 2\nname = 5\nnew = 1",
            "written by a newer ccdnight, in format 2; this ccdnight reads",
        ),
        ("format = 1\nname = ", "not valid TOML: Invalid value (at end of document"),
        ("format = 1\nname = 'a'\nname = 'b'\n", "not valid TOML: Cannot overwrite a value (at line 3"),
        ("name = 'a'", "mine.toml: format: missing; write format = 1"),
        ("format = 0\nname = 'a'", "mine.toml: format: 0 is not allowed; 1 is"),
        ("format = true\nname = 'a'", "mine.toml: format: True is not allowed"),
        ("format = 1", "mine.toml: name: missing"),
        ("format = 1\nname = 'a/b'", "mine.toml: name: 'a/b' is no name"),
        ("format = 1\nname = 'a.toml'", "mine.toml: name: 'a.toml' is no name"),
        ("a = " + "[" * 9999, "nested too deeply"),
        ("a = " + "9" * 9999, "not valid TOML"),
        (
            "format = 1\nname = 'a'\nhdu = 0x" + "f" * 9999,
            "hdu: a number of thousands of digits is not allowed",
        ),
    ],
)
def test_mistakes_of_the_whole_file(text, words):
    (problem,) = problems_of(text)
    assert words in problem


def test_all_mistakes_are_told_at_once():
    lines = """
    extends = "lcf"
    [policy]
    bias = "frame"
    minimum_dark = -2
    [[amplifiers]]
    name = "left"
    gain = -1
    data = "[1:5,1:5]"
    [[amplifiers]]
    name = "left"
    data = "[1:5,3:9]"
    [kinds]
    zero = "zero*"
    """
    keys = [problem.split(": ")[1] for problem in problems_of(make_toml(lines))]
    assert sorted(keys) == [
        "amplifiers (no. 1).gain",
        "amplifiers (no. 2).data",
        "amplifiers (no. 2).name",
        "extends",
        "kinds.zero",
        "policy.bias",
        "policy.minimum_dark",
    ]


def test_wrong_entry_causes_no_second_complaint():
    """A name that is no string is not also complained about as a name given twice."""
    lines = "amplifiers = [{name = 1, data = '[1:5,1:5]'}, {name = '', data = 5}]"
    assert len(problems_of(make_toml(lines))) == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("LFC", "no profile 'LFC'; did you mean 'lfc'? (known profiles: 'arcsat', 'aspen', 'generic'"),
        ("xyz", "no profile 'xyz' (known profiles: "),
        ("", "no profile '' (known profiles: "),
        ("absent.toml", "absent.toml: no such file; a TOML file or a known profile is allowed: 'arcsat'"),
        ("some/folder", "some/folder: no such file"),
        (5, "5 is no profile; a name, a TOML file or an InstrumentProfile is allowed"),
        (["lfc"], "is no profile"),
    ],
)
def test_profile_that_is_not_there(asked, words):
    with pytest.raises(ProfileError, match=re.escape(words)):
        get_profile(asked)


def test_file_that_is_no_text(tmp_path):
    path = tmp_path / "frame.fits"
    path.write_bytes(b"SIMPLE  =\xff\xfe\x00")
    with pytest.raises(ProfileError, match=r"frame\.fits: not a profile: it is no UTF-8 text .* at byte 9"):
        load_profile(path)


_VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.datetimes()
    | st.sampled_from(["none", "[1:5,1:5]", "[:,-:2]", "[1:0x,*]", "bias", "auto", "generic"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*_fields.TOP, *_fields._AMPLIFIER, *_fields._RULE, "bias", "binning", "x"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.dictionaries(st.sampled_from(list(_fields.TOP)), _VALUES, max_size=6))
def test_garbage_gives_a_profile_or_profile_errors(table):
    """Whatever a file holds, nothing but ProfileError comes of it, and what is read can be written."""
    text = tomli_w.dumps({"format": 1, "name": "mine"} | table)
    try:
        profile = profile_from_toml(text)
    except ProfileError:
        return
    assert profile_from_toml(profile_to_toml(profile)) == profile


# Profiles of other packages


def test_entry_points_of_every_sort(offer, tmp_path):
    (tmp_path / "filed.toml").write_text(make_toml("policy = {edge = 4}", name="filed"), encoding="utf-8")
    texted = make_toml("extends = 'filed'", name="texted")
    offer(
        "from pathlib import Path\n"
        "from ccdnight.profiles import Amplifier, InstrumentProfile, get_profile\n"
        f"texted = {texted!r}\n"
        f"filed = Path({str(tmp_path / 'filed.toml')!r})\n"
        f"named = {str(tmp_path / 'filed.toml')!r}\n"
        "built = InstrumentProfile(name='built', amplifiers=(Amplifier(gain=3.0),))\n"
        "def called():\n"
        "    return texted\n",
        "texted",
        "filed",
        "named",
        "built",
        "called",
    )
    assert set(list_profiles()) == {*BUILT_IN, "texted", "filed", "named", "built", "called"}
    assert get_profile("filed").policy.edge == get_profile("texted").policy.edge == 4
    assert get_profile("built").amplifiers[0].gain == 3.0
    # The name under which a profile is asked for is the name it has.
    assert [get_profile(name).name for name in ("named", "called")] == ["named", "called"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("broken = 1 / 0", "ZeroDivisionError: division by zero"),
        ("import not_a_module_at_all", "ModuleNotFoundError: No module named 'not_a_module_at_all'"),
        ("def broken():\n    raise OSError('no disk')", "OSError: no disk"),
        ("broken = 5", "gives a int; a path, a TOML text or an InstrumentProfile is allowed"),
        ("broken = 'format = 1\\nname = 3\\n'", "name: 3 is no name"),
        ("broken = 'absent.toml'", "absent.toml: cannot be read: No such file"),
        (
            'broken = \'format = 1\\nname = "broken"\\nextends = "broken"\\n\'',
            "extends itself: broken -> broken",
        ),
        (
            "from ccdnight.profiles import *\nbroken = InstrumentProfile(name='broken', amplifiers=())",
            "an instrument has at least one amplifier",
        ),
    ],
)
def test_broken_entry_point_is_named_and_the_others_work(offer, source, words):
    offer(source, "broken")
    with pytest.warns(CcdnightWarning, match="profile 'broken' of another package cannot be used") as caught:
        assert list_profiles() == BUILT_IN
    assert words in str(caught[0].message)
    assert len(caught) == 1
    assert list_profiles() == BUILT_IN  # told once
    assert match_profile(make_lfc_header()).name == "lfc"
    with pytest.raises(ProfileError, match=re.escape(words)):
        get_profile("broken")


def test_entry_point_cannot_replace_a_built_in_profile(offer):
    offer(f"lfc = {make_toml(name='lfc')!r}", "lfc")
    with pytest.warns(CcdnightWarning, match="'lfc' of 'other_package:lfc' is not used: ccdnight has one"):
        assert list_profiles() == BUILT_IN
    assert get_profile("lfc").detectors == ("0", "1", "2", "3", "4", "5")


def test_two_entry_points_of_one_name(offer, monkeypatch):
    """Which of them is used does not depend on the order in which packages are found."""
    one, two = make_toml("policy = {edge = 1}"), make_toml("policy = {edge = 2}")
    offer(f"one, two = {one!r}, {two!r}", "two", "one")
    points = [metadata.EntryPoint("mine", f"other_package:{item}", registry.ENTRY_POINTS) for item in ("two", "one")]
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: points)
    with pytest.warns(CcdnightWarning, match="'mine' of 'other_package:two' is not used: 'other_package:one'"):
        assert get_profile("mine").policy.edge == 1


def test_pixels_on_the_sky():
    """Scale, rotation and parity are read, inherited and written again; nonsense is refused with what is allowed."""
    text = 'format = 1\nname = "cam"\nextends = "lfc"\n[sky]\nrotation = 90.0\nmirrored = true\n'
    profile = profile_from_toml(text, source="cam.toml")
    assert (profile.pixel_scale, profile.rotation, profile.mirrored) == (0.182, 90.0, True)
    again = profile_from_toml(profile_to_toml(profile), source="cam.toml")
    assert (again.pixel_scale, again.rotation, again.mirrored) == (0.182, 90.0, True)
    assert get_profile("generic").pixel_scale is None
    with pytest.raises(ProfileError, match=r"sky.pixel_scale.*-1"):
        profile_from_toml('format = 1\nname = "cam"\n[sky]\npixel_scale = -1\n', source="cam.toml")
