"""Times, angles and airmass from cards as they are."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers

from ccdnight.observation import (
    airmass_at,
    from_julian_date,
    iso_utc,
    julian_date,
    local_sidereal_time,
    night_of,
    parse_angle,
    parse_time,
)

MOMENT = datetime(2016, 1, 15, 23, 53, 30, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "clock", "expected"),
    [
        ("2016-01-15T23:53:30.5", None, MOMENT),
        ("2016-01-15T23:53:30.50Z", None, MOMENT),
        ("2016-01-15 23:53:30.5", None, MOMENT),
        (" 2016-1-15T23:53:30.5", None, MOMENT),
        ("2016-01-15", " 23:53:30.50", MOMENT),
        ("15/01/16", "23:53:30.5", MOMENT),
        ("15/01/96", "23:53:30.5", MOMENT.replace(year=1996)),
        ("2016-01-15T23:53:30.5", "01:00:00", MOMENT),
        ("2016-01-15", "23:53", MOMENT.replace(second=30, microsecond=0) - timedelta(seconds=30)),
        ("2016-12-31T23:59:60.0", None, datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-02-29T00:00:00", None, datetime(2016, 2, 29, tzinfo=UTC)),
        ("2016-01-15", None, None),
        ("2016-01-15T", None, None),
        (None, "23:53:30", None),
        (None, None, None),
        ("", "", None),
        (5, 7, None),
        ("2016-13-15T00:00:00", None, None),
        ("2015-02-29T00:00:00", None, None),
        ("2016-01-15T25:00:00", None, None),
        ("15.01.2016", "23:53:30", None),
        ("yesterday", "23:53:30", None),
        # What drivers write that do not know the date; no night can be counted from it.
        ("0001-01-01T00:00:00", None, None),
        ("9999-12-31T23:59:60", None, None),
    ],
)
def test_time_of_cards(date, clock, expected):
    assert parse_time(date, clock) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2457403.5, datetime(2016, 1, 16, tzinfo=UTC)),
        ("2457403.5", datetime(2016, 1, 16, tzinfo=UTC)),
        (57403.0, datetime(2016, 1, 16, tzinfo=UTC)),
        (0, None),
        (-5, None),
        (100_000, None),
        (1e300, None),
        (math.nan, None),
        (math.inf, None),
        ("x", None),
        (None, None),
    ],
)
def test_julian_and_modified_dates(value, expected):
    assert from_julian_date(value) == expected


@pytest.mark.parametrize("text", ["2016-01-15T23:53:30.500", "1999-12-31T00:00:00.001", "2024-03-01T12:00:00.999"])
def test_julian_date_is_that_of_astropy(text):
    moment = parse_time(text)
    assert julian_date(moment) == pytest.approx(Time(text, scale="utc").jd, abs=2e-9)
    assert abs(from_julian_date(julian_date(moment)) - moment) < timedelta(milliseconds=1)
    assert iso_utc(moment) == text


def test_no_moment_is_no_text():
    assert iso_utc(None) == ""


@pytest.mark.parametrize(
    ("text", "longitude", "night"),
    [
        ("2016-01-15T23:53:30", -116.9, "2016-01-15"),
        ("2016-01-16T08:12:00", -116.9, "2016-01-15"),
        ("2016-01-16T19:40:00", -116.9, "2016-01-15"),
        ("2016-01-16T19:50:00", -116.9, "2016-01-16"),
        ("2016-01-16T11:59:59", None, "2016-01-15"),
        ("2016-01-16T12:00:00", None, "2016-01-16"),
        ("2016-01-16T02:30:00", 150.0, "2016-01-16"),
        ("2016-01-16T01:30:00", 150.0, "2016-01-15"),
    ],
)
def test_a_night_runs_from_noon_to_noon(text, longitude, night):
    assert night_of(parse_time(text), longitude) == night


@pytest.mark.parametrize(
    ("value", "hours", "degrees"),
    [
        ("05 30 12.3", True, (5 + 30 / 60 + 12.3 / 3600) * 15),
        ("5:30:00", False, 5.5),
        ("-105 49 13", False, -(105 + 49 / 60 + 13 / 3600)),
        ("+66:37:58.8", False, 66.633),
        ("-00:30:00", False, -0.5),
        ("12h30m00s", True, 187.5),
        ("33d21m22.6s", False, 33.356277777777),
        ("12.5", True, 12.5),
        (" -0.25 ", False, -0.25),
        (12.5, True, 12.5),
        (7, False, 7.0),
        (np.float64(1.5), False, 1.5),
        (None, False, None),
        (True, False, None),
        (math.nan, False, None),
        (math.inf, False, None),
        ("", False, None),
        ("N/A", False, None),
        ("1O:30:00", False, None),
        ("nan", False, None),
    ],
)
def test_angles(value, hours, degrees):
    found = parse_angle(value, hours=hours)
    assert found == (None if degrees is None else pytest.approx(degrees, abs=1e-9))


SITES = {"Palomar": (33.3563, -116.865), "Siding Spring": (-31.2733, 149.0644), "Tromso": (69.65, 18.95)}


@pytest.mark.parametrize("site", SITES)
def test_airmass_is_that_of_the_altitude(site, monkeypatch):
    """Within what precession since 2000 and the bend of Pickering's formula bring above 30 degrees."""
    monkeypatch.setattr(iers.conf, "auto_download", False)
    latitude, longitude = SITES[site]
    place = EarthLocation(lat=latitude * u.deg, lon=longitude * u.deg)
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(40):
        moment = datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=float(rng.uniform(0, 3000)))
        ra, dec = float(rng.uniform(0, 360)), float(rng.uniform(-80, 80))
        frame = AltAz(obstime=Time(moment), location=place)
        altitude = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame).alt.deg
        airmass = airmass_at(moment, ra, dec, latitude, longitude)
        if altitude > 30:
            assert airmass == pytest.approx(1 / math.sin(math.radians(altitude)), abs=0.025)
            compared += 1
        elif altitude < -0.5:
            assert airmass is None
    assert compared > 3


def test_airmass_at_the_zenith_and_the_horizon():
    """Pickering's formula gives 38 or so at the horizon, where the secant knows no bound."""
    latitude, longitude = SITES["Palomar"]
    zenith = local_sidereal_time(MOMENT, longitude)
    assert airmass_at(MOMENT, zenith, latitude, latitude, longitude) == pytest.approx(1, abs=1e-3)
    assert 30 < airmass_at(MOMENT, zenith, latitude - 89.99, latitude, longitude) < 40


def test_sidereal_time_is_that_of_astropy(monkeypatch):
    monkeypatch.setattr(iers.conf, "auto_download", False)
    expected = Time(MOMENT).sidereal_time("mean", longitude=-116.865 * u.deg).deg
    assert local_sidereal_time(MOMENT, -116.865) == pytest.approx(expected, abs=0.005)
