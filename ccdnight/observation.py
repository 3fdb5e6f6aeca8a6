"""When a frame was exposed and through how much air; from cards as they are, without any download."""

import math
import re
from datetime import UTC, datetime, timedelta

__all__ = [
    "airmass_at",
    "iso_utc",
    "julian_date",
    "local_sidereal_time",
    "night_of",
    "parse_angle",
    "parse_time",
]

_JD_EPOCH = datetime(2000, 1, 1, 12, tzinfo=UTC)
_JD_2000 = 2451545.0


def parse_time(date=None, time_of_day=None):
    """
    UTC of a date card and, where the date has no time, of a time card.

    Parameters
    ----------
    date : str or None
        ``2016-01-15T23:53:30.00``, ``2016-01-15``, or the old form ``15/01/16`` (years 19yy below 2000 in
        files of that time are read as FITS says; here two digits below 70 mean 20yy).
    time_of_day : str or None
        ``23:53:30.00``.

    Returns
    -------
    `~datetime.datetime` or None
        Aware, in UTC; None where the cards give no time to the minute.
    """
    match = re.match(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]+(.*))?$", str(date or ""))
    if match:
        year, month, day = (int(item) for item in match.groups()[:3])
        clock = match.group(4)
    else:
        match = re.match(r"\s*(\d{1,2})/(\d{1,2})/(\d{2})\s*$", str(date or ""))
        if not match:
            return None
        day, month, year = (int(item) for item in match.groups())
        year += 2000 if year < 70 else 1900
        clock = None
    parts = re.match(r"\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?", str(clock or time_of_day or ""))
    if not parts:
        return None
    if not 1900 <= year < 2200:
        # Drivers that know no date write the year 1, from which no night can be counted.
        return None
    try:
        moment = datetime(year, month, day, int(parts.group(1)), int(parts.group(2)), tzinfo=UTC)
    except ValueError:
        return None
    return moment + timedelta(seconds=float(parts.group(3) or 0))


def from_julian_date(value):
    """
    UTC of a Julian date, or of a modified one (values below 100,000).

    Parameters
    ----------
    value : float
        JD or MJD, in days.

    Returns
    -------
    `~datetime.datetime` or None
        None for what is no date between 1950 and 2200.
    """
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    value += 2400000.5 if 0 < value < 100000 else 0
    if not 2433282 < value < 2524593:
        return None
    return _JD_EPOCH + timedelta(days=value - _JD_2000)


def julian_date(moment):
    """
    Julian date (UTC) of a moment.

    Parameters
    ----------
    moment : `~datetime.datetime`
        Aware.

    Returns
    -------
    float
    """
    return _JD_2000 + (moment - _JD_EPOCH) / timedelta(days=1)


def iso_utc(moment):
    """
    A moment as FITS writes it, to the millisecond.

    Parameters
    ----------
    moment : `~datetime.datetime` or None
        Aware.

    Returns
    -------
    str
        '' for None.
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}" if moment else ""


def night_of(moment, longitude=None):
    """
    Date of the evening of an observing night, which runs from local noon to local noon.

    Parameters
    ----------
    moment : `~datetime.datetime`
        Aware.
    longitude : float, optional
        Degrees, east positive; without it the night runs from noon to noon UTC.

    Returns
    -------
    str
        Such as '2016-01-15'.
    """
    local = moment + timedelta(hours=(longitude or 0.0) / 15)
    return (local - timedelta(hours=12)).date().isoformat()


def parse_angle(value, *, hours=False):
    """
    Degrees of a sexagesimal or decimal angle.

    Parameters
    ----------
    value : str or float or None
        '05 30 12.3', '-105 49 13', '+66:37:58.8' or a number.
    hours : bool, optional
        Whether a sexagesimal value is in hours. A plain number is taken in degrees.

    Returns
    -------
    float or None
        None where it is no angle.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    text = str(value).strip()
    match = re.match(r"([+-]?)\s*(\d+)[\s:hd]+(\d+)[\s:m']+(\d+(?:\.\d*)?)", text)
    if match:
        sign, first, minutes, seconds = match.groups()
        degrees = float(first) + float(minutes) / 60 + float(seconds) / 3600
        return (-degrees if sign == "-" else degrees) * (15 if hours else 1)
    match = re.fullmatch(r"[+-]?\d+(?:\.\d*)?", text)
    return float(text) if match else None


def local_sidereal_time(moment, longitude):
    """
    Mean sidereal time in degrees.

    Parameters
    ----------
    moment : `~datetime.datetime`
        Aware; UT1 is taken as UTC, which is right to 0.9 s.
    longitude : float
        Degrees, east positive.

    Returns
    -------
    float
        Meeus 1998, Astronomical Algorithms, equation 12.4.
    """
    days = julian_date(moment) - _JD_2000
    return (280.46061837 + 360.98564736629 * days + longitude) % 360


def airmass_at(moment, right_ascension, declination, latitude, longitude):
    """
    Airmass of a direction.

    Parameters
    ----------
    moment : `~datetime.datetime`
        Aware.
    right_ascension, declination : float
        Degrees; precession since 2000 is left out, which changes the airmass by up to 0.001 for every year
        at 30 degrees of altitude.
    latitude, longitude : float
        Degrees, north and east positive.

    Returns
    -------
    float or None
        Pickering 2002, DIO 12, 20; None below the horizon.
    """
    angle = math.radians(local_sidereal_time(moment, longitude) - right_ascension)
    phi, delta = math.radians(latitude), math.radians(declination)
    sine = math.sin(phi) * math.sin(delta) + math.cos(phi) * math.cos(delta) * math.cos(angle)
    altitude = math.degrees(math.asin(max(-1.0, min(1.0, sine))))
    if altitude <= 0:
        return None
    return 1 / math.sin(math.radians(altitude + 244 / (165 + 47 * altitude**1.1)))
