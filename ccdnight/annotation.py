"""What an observer asks a frame's header: when in the middle, through how much air, how bright a sky, what seeing."""

from datetime import timedelta

import numpy as np

from ccdnight.observation import airmass_at, iso_utc, julian_date, parse_angle
from ccdnight.overview import flatness_of, overview_of, tile_for
from ccdnight.products import flags_of, sigma_of
from ccdnight.profiles.interpret import first_number, first_value, read_facts, site_of
from ccdnight.seeing import measure_seeing, pixel_scale
from ccdnight.statistics import clipped_moments, quantiles, sample_step

__all__ = ["annotate", "look_at", "noise_ratio", "sky_of"]

#: Tiles of the overview from which a frame is measured, whatever the size of its picture.
_TILES = 160_000
#: Pixels that tell of the noise, the part of them with the darkest surroundings, and fewest pairs that say anything.
_NOISE_PIXELS, _DARKEST, _FEWEST = 400_000, 0.3, 1000


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
        of the background from place to place), noise_ratio, fwhm, fwhm_arcsec; None where a value cannot be known.
        Besides stars, the number of those that were measured, and object, filter, exposure [s] and shape.
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
    ratio, ratio_error = noise_ratio(ccd)
    if np.isfinite(ratio):
        ccd.meta["NOISERAT"] = (round(ratio, 4), "scatter of neighbors over UNCERT, 1 if that is right")
    return {
        "object": facts.object,
        "filter": facts.filter,
        "exposure": facts.exposure,
        "shape": list(ccd.data.shape),
        "jd_mid": julian_date(middle) if middle else None,
        "airmass": airmass,
        "sky": _measured(level, error, ccd.unit),
        "sky_sigma": _measured(scatter, error / np.sqrt(2), ccd.unit),
        "noise_ratio": _measured(ratio, ratio_error, ""),
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
    step = sample_step(ccd.data.shape)
    part = (slice(None, None, step), slice(None, None, step))
    values = ccd.data[part][_good(ccd, part)]
    level, scatter, count = clipped_moments(values, sigma=3.0)
    return level, scatter, scatter / np.sqrt(max(count, 1))


def noise_ratio(ccd):
    """
    How much neighboring pixels scatter, in units of their uncertainties.

    Where gain and read noise are right and nothing else makes noise it is 1. Pairs of pixels are compared whose
    neighbors to either side are dark: that keeps stars out, and chooses no noise, since the noise of the neighbors is
    not that of the pair.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A calibrated frame with uncertainty; flagged pixels are left out.

    Returns
    -------
    ratio, error : float
        Standard deviation of ``(a - b) / hypot(sigma_a, sigma_b)``, clipped at 3 sigma with the loss put right, and its
        standard error; NaN where there are fewer than 1000 pairs, or no uncertainty.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.annotation import noise_ratio
    >>> from ccdnight.products import make_ccd
    >>> pixels = np.random.default_rng(1).normal(500, 12, (300, 300))
    >>> ccd = make_ccd(pixels, unit="electron", sigma=np.full(pixels.shape, 10.0))
    >>> round(noise_ratio(ccd)[0], 1)
    1.2
    """
    sigma, nothing = sigma_of(ccd), (float("nan"), float("nan"))
    if sigma is None or ccd.data.shape[1] < 4:
        return nothing
    some = slice(None, None, max(1, ccd.data.size // _NOISE_PIXELS))
    data, sigma, good = ccd.data[some], sigma[some], _good(ccd, some)
    good = good[:, :-3] & good[:, 1:-2] & good[:, 2:-1] & good[:, 3:]
    if np.count_nonzero(good) < _FEWEST / _DARKEST:
        return nothing
    with np.errstate(all="ignore"):
        around = data[:, :-3][good]
        around += data[:, 3:][good]
        good[good] = around <= quantiles(around, [_DARKEST])[0]
        del around
        difference = data[:, 2:-1][good] - data[:, 1:-2][good]
        pull = difference / np.hypot(sigma[:, 2:-1][good], sigma[:, 1:-2][good])
    _, ratio, count = clipped_moments(pull, sigma=3.0)
    return (ratio, ratio / np.sqrt(2 * count)) if count >= _FEWEST else nothing


def _good(ccd, part):
    """Pixels of a part of a frame that are neither flagged nor masked, and finite."""
    good = (_bits(ccd)[part] == 0) & np.isfinite(ccd.data[part])
    return good if ccd.mask is None else good & ~np.broadcast_to(ccd.mask, ccd.data.shape)[part]
