"""What an observer asks a frame's header: when in the middle, through how much air, how bright a sky, what seeing."""

from datetime import timedelta

import numpy as np

from ccdnight.observation import airmass_at, iso_utc, julian_date, parse_angle
from ccdnight.overview import flatness_of, overview_of, tile_for
from ccdnight.products import flags_of
from ccdnight.profiles.interpret import first_number, first_value, read_facts, site_of
from ccdnight.seeing import measure_seeing, pixel_scale
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["annotate", "look_at", "sky_of"]

#: Tiles of the overview from which a frame is measured, whatever the size of its picture.
_TILES = 160_000


def look_at(ccd):
    """
    Look over a calibrated frame the way `annotate` does.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame.

    Returns
    -------
    ccdnight.overview.Overview
    """
    return overview_of(ccd.data, _bits(ccd), step=tile_for(ccd.data.shape, _TILES))


def _bits(ccd):
    """Flags without a copy where the frame has them."""
    whole = isinstance(ccd.flags, np.ndarray) and ccd.flags.dtype == np.uint16
    return ccd.flags if whole else flags_of(ccd)


def annotate(ccd, profile, *, look=None):
    """
    Write mid-exposure time, airmass, sky and seeing into a calibrated frame's header.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, its header changed in place.
    profile : InstrumentProfile
        The instrument.
    look : ccdnight.overview.Overview, optional
        What `look_at` gave.

    Returns
    -------
    dict
        What was written: jd_mid [d], airmass, and as ``{"value", "error", "unit"}`` sky, sky_sigma, flatness (scatter
        of the background from place to place), fwhm, fwhm_arcsec; None where a value cannot be known. Besides stars,
        the number of those that were measured, and object, filter, exposure [s] and shape.
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
        "object": facts.object,
        "filter": facts.filter,
        "exposure": facts.exposure,
        "shape": list(ccd.data.shape),
        "jd_mid": julian_date(middle) if middle else None,
        "airmass": airmass,
        "sky": _measured(level, error, ccd.unit),
        "sky_sigma": _measured(scatter, error / np.sqrt(2), ccd.unit),
        **_shape_of(ccd, profile, facts.binning, look or look_at(ccd), level, scatter),
    }


def _scale_of(profile, binning):
    """Pixel scale of a profile that has one, for frames in the binning that it is meant for."""
    usual = binning in ("", getattr(profile, "standard_binning", binning))
    return getattr(profile, "pixel_scale", None) if usual else None


def _shape_of(ccd, profile, binning, look, level, scatter):
    """Flatness and seeing, written into the header."""
    flatness = flatness_of(look, scatter)
    if np.isfinite(flatness):
        ccd.meta["SKYFLAT"] = (round(flatness, 4), f"[{ccd.unit}] its scatter from place to place")
    seeing = measure_seeing(ccd.data, _bits(ccd), look, level, scatter)
    told = {"flatness": _measured(flatness, None, ccd.unit), "fwhm": None, "fwhm_arcsec": None, "stars": 0}
    if seeing is None:
        return told
    ccd.meta["FWHMPIX"] = (round(seeing.fwhm, 3), f"[pixel] width of stars, median of {seeing.stars}")
    told |= {"fwhm": _measured(seeing.fwhm, seeing.error, "pixel"), "stars": seeing.stars}
    scale = pixel_scale(ccd.meta, ccd.wcs, _scale_of(profile, binning))
    if scale is not None:
        ccd.meta["FWHMSEC"] = (round(scale * seeing.fwhm, 3), f"[arcsec] the same, at {scale:.4g} arcsec per pixel")
        told["fwhm_arcsec"] = _measured(scale * seeing.fwhm, scale * seeing.error, "arcsec")
    return told


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
    data, flags = sample_pixels(ccd.data), sample_pixels(_bits(ccd))
    good = (flags == 0) & np.isfinite(data)
    if ccd.mask is not None:
        good &= ~sample_pixels(np.broadcast_to(ccd.mask, ccd.data.shape))
    values = data[good]
    level, scatter, count = clipped_moments(values, sigma=3.0)
    return level, scatter, scatter / np.sqrt(max(count, 1))
