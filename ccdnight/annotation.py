"""What an observer asks a science frame's header: when in the middle, through how much air, how bright a sky."""

from datetime import timedelta

import numpy as np

from ccdnight.observation import airmass_at, iso_utc, julian_date, parse_angle
from ccdnight.products import flags_of
from ccdnight.profiles.interpret import first_number, first_value, read_facts, site_of
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["annotate", "sky_of"]


def annotate(ccd, profile):
    """
    Write mid-exposure time, airmass and sky into a calibrated frame's header.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, its header changed in place.
    profile : InstrumentProfile
        The instrument.

    Returns
    -------
    dict
        What was written: jd_mid [d], airmass, sky and sky_sigma as ``{"value", "error", "unit"}``; None where a
        value cannot be known.
    """
    facts = read_facts(ccd.meta, profile)
    middle = None
    if facts.time is not None and facts.exposure is not None:
        middle = facts.time + timedelta(seconds=facts.exposure / 2)
        ccd.meta["DATE-AVG"] = (iso_utc(middle), "UTC at the middle of the exposure")
        ccd.meta["JD-MID"] = (round(julian_date(middle), 8), "[d] Julian date (UTC) of the middle")
        ccd.meta["MJD-AVG"] = (round(julian_date(middle) - 2400000.5, 8), "[d] MJD (UTC) of the middle")
    airmass, how = _airmass(ccd.meta, profile, middle)
    if airmass is not None:
        ccd.meta["AIRMASS"] = (airmass, how)
    level, scatter, error = sky_of(ccd)
    if np.isfinite(level):
        ccd.meta["SKYLEVEL"] = (round(level, 4), f"[{ccd.unit}] typical value of the background")
        ccd.meta["SKYSIGMA"] = (round(scatter, 4), f"[{ccd.unit}] its scatter from pixel to pixel")
    return {
        "jd_mid": julian_date(middle) if middle else None,
        "airmass": airmass,
        "sky": _measured(level, error, ccd.unit),
        "sky_sigma": _measured(scatter, error / np.sqrt(2), ccd.unit),
    }


def _measured(value, error, unit):
    """A measured number as it stands in JSON."""
    return {"value": value, "error": error, "unit": str(unit)} if np.isfinite(value) else None


def _airmass(meta, profile, middle):
    """At mid-exposure where position and site are known, else the header's."""
    dialect = profile.dialect
    given, _ = first_number(meta, dialect.airmass)
    right_ascension = parse_angle(first_value(meta, dialect.right_ascension)[1], hours=True)
    declination = parse_angle(first_value(meta, dialect.declination)[1])
    latitude, longitude = site_of(meta, profile)
    if middle is not None and None not in (right_ascension, declination, latitude, longitude):
        value = airmass_at(middle, right_ascension, declination, latitude, longitude)
        # Coordinates of a parked telescope, or a longitude counted the other way, contradict the header.
        if value is not None and (given is None or abs(value - given) < 0.05 + 0.1 * given):
            return round(value, 4), "airmass at the middle of the exposure"
    if given is not None and given >= 1:
        return given, "airmass as the raw header gives it"
    return None, ""


def sky_of(ccd):
    """
    Level of the background, its scatter, and the error of the level.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A calibrated frame; flagged pixels are left out.

    Returns
    -------
    level, scatter, error : float
        Clipped at 3 sigma with the loss put right; NaN where no pixel is good. The error is that of the pixels
        which were looked at, up to a quarter of a million.
    """
    data, flags = sample_pixels(ccd.data), sample_pixels(flags_of(ccd))
    values = data[(flags == 0) & np.isfinite(data)]
    level, scatter, count = clipped_moments(values, sigma=3.0)
    return level, scatter, scatter / np.sqrt(max(count, 1))
