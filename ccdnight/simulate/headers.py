"""Headers as the cameras write them, card by card, with their peculiarities."""

from datetime import UTC, datetime, timedelta

import numpy as np

from ccdnight.observation import airmass_at, julian_date, local_sidereal_time
from ccdnight.simulate.rawfile import card, structure_cards

__all__ = ["lfc_cards", "maxim_cards", "nickel_cards", "pointing", "start_of"]


def start_of(exposure):
    """
    Start of an exposure as the camera's clock has it.

    Parameters
    ----------
    exposure : Exposure
        The exposure.

    Returns
    -------
    `~datetime.datetime`
        Aware, UTC.
    """
    moment = datetime.fromisoformat(exposure.time).replace(tzinfo=UTC)
    return moment + timedelta(seconds=exposure.clock_error)


def pointing(night, exposure):
    """
    Where the telescope points: moved by the dither, so that north is up and east is left.

    Parameters
    ----------
    night, exposure : Night, Exposure
        The night and the exposure.

    Returns
    -------
    right_ascension, declination, airmass : float
        Degrees; at least 1.
    """
    moment = start_of(exposure)
    if exposure.kind != "science":  # calibrations are taken at the zenith
        return local_sidereal_time(moment, night.longitude), night.latitude, 1.0
    scale = night.camera.pixel_scale / 3600
    declination = night.declination - exposure.dy * scale
    right_ascension = night.right_ascension + exposure.dx * scale / np.cos(np.deg2rad(night.declination))
    air = airmass_at(moment, right_ascension, declination, night.latitude, night.longitude)
    return right_ascension, declination, air or 1.0


def _sexagesimal(value, digits):
    sign, value = "-" if value < 0 else "", abs(value)
    units = round(value * 3600 * 10**digits)
    seconds, units = units / 10**digits % 60, units // 10**digits
    width = digits + 3 if digits else 2
    return f"{sign}{units // 3600:02d}:{units // 60 % 60:02d}:{seconds:0{width}.{digits}f}"


#: Spellings of the kinds at Palomar.
_LFC_KINDS = {
    "bias": "BIAS",
    "dark": "DARK",
    "flat": "FLATFIELD",
    "twilight": "FLATFIELD",
    "science": "OBJECT",
}


def lfc_cards(night, exposure, array):
    """
    Palomar LFC: an unescaped quote in FILTER, BIASSEC one row short, the time apart from the date.

    Parameters
    ----------
    night, exposure : Night, Exposure
        The night and the exposure.
    array : numpy.ndarray
        The raw frame.

    Returns
    -------
    list of str
        All cards but END.
    """
    moment = start_of(exposure)
    alpha, delta, air = pointing(night, exposure)
    sidereal = local_sidereal_time(moment, night.longitude)
    ny, nx = array.shape
    columns = night.camera.data_shape[1]

    def put(keyword, value, comment="", width=20):
        return card(keyword, value, comment, width=width, gap="  ")

    def number(keyword, value, digits, comment, width=20):
        return f"{keyword:8s}= {value:{width}.{digits}f}  / {comment}"

    name = exposure.header_filter or exposure.filter
    return [
        *_lfc_structure(array),
        put("DATE", moment.strftime("%Y-%m-%d"), "UT Date of file creation (DD/MM/YY)"),
        put("ORIGIN", "California Institute of Technology", "Palomar Observatory"),
        number("LATITUDE", night.latitude, 4, "Latitude (degrees N)"),
        number("LONGITUD", night.longitude, 4, "Longitude (degrees E)"),
        put("TELESCOP", "Hale 5m Telescope", "Telescope used for observation"),
        number("FRATIO", 7.5, 4, "Focal ratio of telescope"),
        put("INSTRUME", "LFC", "Instrument used for observation"),
        put("DETECTOR", "SITe SI002 x 6", "Detector used for observation"),
        put("FRAME", exposure.number, "Frame number of observation"),
        put("CCDPICNO", exposure.number, "Frame number of observation"),
        put("OBJECT", exposure.object, "Name of object"),
        put("IMAGETYP", _LFC_KINDS[exposure.header_kind or exposure.kind], "Type of observation"),
        number("EXPTIME", exposure.exposure, 3, "Integration time (seconds)"),
        number("DARKTIME", exposure.dark_time, 3, "Dark current time (seconds)"),
        put("DATE-OBS", moment.strftime("%Y-%m-%d"), "UT Date of observation (DD/MM/YY)"),
        put("UT", moment.strftime(" %H:%M:%S.00"), "Universal time (UTC) at exposure start"),
        number("JD", julian_date(moment), 6, "Julian date at exposure start", width=30),
        put("RA", " " + _sexagesimal(alpha / 15, 2), "Right Ascension"),
        put("DEC", " " + _sexagesimal(delta, 2), "Declination"),
        number("EQUINOX", 2000.0, 3, "Equinox of RA and DEC"),
        number("EPOCH", 2000.0, 3, "Equinox of RA and DEC"),
        put("HA", " " + _sexagesimal((sidereal - alpha + 180) % 360 / 15 - 12, 2), "Hour angle at start"),
        put("ST", " " + _sexagesimal(sidereal / 15, 2), "Sidereal time at start"),
        number("AIRMASS", air, 3, "Airmass at start"),
        # The camera writes the quote of g' as it is, which is no valid card.
        f"FILTER  = '{name:8s}'            / Filter description",
        number("GAIN", 1.1, 3, "Nominal gain (e-/ADU)"),
        number("SECPIX1", night.camera.pixel_scale, 3, "Arcseconds per pixel in fast dir"),
        number("SECPIX2", night.camera.pixel_scale, 3, "Arcseconds per pixel in slow dir"),
        put("CCDBIN1", 1, "On-chip column binning (fast dir)"),
        put("CCDBIN2", 1, "On-chip row binning (slow dir)"),
        number("ROTANGLE", 0.0, 2, "Rotation angle (deg)"),
        put("DATASEC", f"[1:{columns},1:{ny}]", "Image area of frame"),
        put("CCDSEC", f"[1:{columns},1:{ny}]", "Image area relative to full chip"),
        put("BIASSEC", f"[{columns + 1}:{nx},1:{ny - 1}]", "Overscan area of frame"),
        put("LOGINFO", " Status=0x00000000"),
        put("CHIPID", int(night.camera.detector or 0)),
    ]


def _lfc_structure(array):
    lines = [
        card("SIMPLE", True, "STANDARD FITS", gap="  "),
        card("BITPIX", 16, "BITS/PIXEL", gap="  "),
        card("NAXIS", 2, "NUMBER OF AXES", gap="  "),
        card("NAXIS1", array.shape[1], "NUMBER OF COLUMNS", gap="  "),
        card("NAXIS2", array.shape[0], "NUMBER OF ROWS", gap="  "),
        f"BSCALE  = {'1.0000000E+00':>20s}  / PHYSICAL = BSCALE * DATA + BZERO",
        f"BZERO   = {'32768.':>20s}",
    ]
    return lines if array.dtype == np.uint16 else structure_cards(array, gap="  ")


#: Spellings of the kinds in MaxIm DL.
_MAXIM_KINDS = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "twilight": "FLAT", "science": "LIGHT"}


def maxim_cards(night, exposure, array):
    """
    MaxIm DL, as the Aspen and the ARCSAT camera are run: both EXPTIME and EXPOSURE, no gain.

    The Aspen's BIASSEC has one axis and is off by one. Calibrations without a filter have no FILTER card.

    Parameters
    ----------
    night, exposure, array
        As for `lfc_cards`.

    Returns
    -------
    list of str
    """
    aspen = night.dialect == "aspen"
    moment = start_of(exposure)
    alpha, delta, air = pointing(night, exposure)
    name = exposure.header_filter or exposure.filter
    kind = _MAXIM_KINDS[exposure.header_kind or exposure.kind]
    size = night.camera.pixel_size
    set_point = float(round(exposure.temperature))
    science = exposure.kind == "science"
    cards = [
        *structure_cards(array),
        card("DATE-OBS", _iso(moment, 0 if aspen else 3), "[ISO 8601] UTC date/time of exposure start"),
        card("EXPTIME", exposure.exposure, "[sec] Duration of exposure"),
        card("EXPOSURE", exposure.exposure, "[sec] Duration of exposure"),
        card("SET-TEMP", set_point, "CCD temperature setpoint in C"),
        card("CCD-TEMP", exposure.temperature, "CCD temperature at start of exposure in C"),
        card("XPIXSZ", size, "Pixel Width in microns (after binning)"),
        card("YPIXSZ", size, "Pixel Height in microns (after binning)"),
        card("XBINNING", 1, "Binning level along the X-axis"),
        card("YBINNING", 1, "Binning level along the Y-axis"),
        card("XORGSUBF", 0, "Subframe X position in binned pixels"),
        card("YORGSUBF", 0, "Subframe Y position in binned pixels"),
        card("READOUTM", "Normal" if aspen else "Monochrome", "Readout mode of image"),
        *([card("FILTER", name, "Filter name")] if name else []),
        card("IMAGETYP", kind, "Type of image"),
        card("SWCREATE", "MaxIm DL Version 6" if aspen else "MaxIm DL Version 6.50", "Name of software"),
        card("JD", round(julian_date(moment), 7), "Julian Date at time of exposure"),
        card("OBJECT", exposure.object if science else "", "Target object name"),
        card("INSTRUME", "AspenCG16" if aspen else "dcam-spare", "Detector instrument name"),
        card("SITELAT", _sexagesimal(night.latitude, 0).replace(":", " "), "Latitude of the imaging location"),
        card("SITELONG", _sexagesimal(night.longitude, 0).replace(":", " "), "Longitude of the location"),
    ]
    if aspen:
        cards += [
            card("BIASSEC", "[4096:4109]"),
            card("TRIMSEC", "[1:4096, :]"),
            card("BUNIT", "adu"),
        ]
    else:
        cards += [card("TELESCOP", "ARCSAT 0.5-m", "Telescope name"), card("PEDESTAL", 0, "Pedestal in ADU")]
    if science:
        cards += [
            card("AIRMASS", round(air, 6), "Airmass (multiple of zenithal airmass)"),
            card("RADECSYS", "FK5", "Equatorial coordinate system"),
            card("RA", _sexagesimal(alpha / 15, 2).replace(":", " "), "[hms J2000] Target right ascension"),
            card("DEC", _sexagesimal(delta, 1).replace(":", " "), "[dms +N J2000] Target declination"),
        ]
    return cards


def _iso(moment, digits):
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{moment.microsecond // 1000:03d}" if digits else "")


def nickel_cards(night, exposure, array):
    """
    Lick Nickel: OBSTYPE says DARK for a bias, EXPTIME is an integer, GAIN is an index, no BIASSEC.

    Parameters
    ----------
    night, exposure, array
        As for `lfc_cards`.

    Returns
    -------
    list of str
    """
    moment = start_of(exposure)
    end = moment + timedelta(seconds=exposure.dark_time)
    alpha, delta, air = pointing(night, exposure)
    shut = (exposure.header_kind or exposure.kind) in ("bias", "dark")
    ny, nx = array.shape
    columns = night.camera.data_shape[1]
    scale = night.camera.pixel_scale / 3600
    return [
        *structure_cards(array),
        card("CRVAL1U", 2048, "COLUMN ORIGIN"),
        card("CRVAL2U", 2048, "ROW ORIGIN"),
        card("CDELT1U", -2, "COLUMN CHANGE PER PIXEL"),
        card("CDELT2U", -2, "ROW CHANGE PER PIXEL"),
        card("OBSNUM", exposure.number, "OBSERVATION NUMBER"),
        card("OBSTYPE", "DARK" if shut else "OBJECT", "IMAGE TYPE"),
        card("EXPTIME", round(exposure.exposure), "Exp time (not counting shutter error)"),
        card("PROGRAM", "NEWCAM", "New Lick Camera"),
        card("VERSION", "nickel_direct", "Data acquisition version"),
        card("DATE", _iso(end, 3), "UT of CCD readout & descramble"),
        card("DATASEC", f"[1:{columns},1:{ny}]", "IRAF/NOAO-style data section"),
        card("CD1_1", -scale),
        card("CD1_2", 0.0),
        card("CD2_1", 0.0),
        card("CD2_2", -scale),
        card("CRVAL1", round(alpha, 10)),
        card("CRVAL2", round(delta, 10)),
        card("CRPIX1", columns // 2),
        card("CRPIX2", ny // 2),
        card("CUNIT1", "deg"),
        card("CUNIT2", "deg"),
        card("EQUINOX", 2000, "date of celestial reference frame"),
        card("RADECSYS", "FK5", "reference system for celestial coordinates"),
        card("CTYPE1", "RA---TAN"),
        card("CTYPE2", "DEC--TAN"),
        card("AIRMASS", round(air, 9), "AIRMASS AT START OF OBSERVATION"),
        card("RA", _sexagesimal(alpha / 15, 2), "RIGHT ASCENSION"),
        card("DEC", _sexagesimal(delta, 1), "DECLINATION"),
        card("INSTRUME", "Nickel Direct Camera"),
        card("FILTNAM", exposure.header_filter or exposure.filter, "FILTER POSITION NAME"),
        card("DSENSOR", "Loral 2Kx2K", "SENSOR DESCRIPTION"),
        card("DATE-BEG", _iso(moment, 3), "START OF OBSERVATION"),
        card("DATE-END", _iso(end, 3), "END OF OBSERVATION"),
        card("GAIN", 1, "DCS GAIN INDEX"),
        card("ROVER", 0, "NUMBER OF OVERSCAN ROWS"),
        card("COVER", nx - columns, "NUMBER OF OVERSCAN COLUMNS"),
        card("TEMPDET", exposure.temperature, "EXPOSURE START DETECTOR TEMPERATURE"),
        card("READ-SPD", 80, "DCS READ SPEED"),
        card("OBJECT", exposure.object),
    ]
