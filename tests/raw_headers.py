"""Headers as the instruments write them, card by card: 80 characters each, invalid ones included."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from astropy.io import fits

__all__ = ["Exposure", "as_type", "card", "header_cards", "keyword_of", "override", "put_raw"]

#: How each instrument spells the kinds.
SPELLINGS = {
    "lfc": {
        "bias": "BIAS",
        "dark": "DARK",
        "flat": "FLATFIELD",
        "twilight": "FLATFIELD",
        "science": "OBJECT",
    },
    "nickel": {"bias": "DARK", "dark": "DARK", "flat": "OBJECT", "twilight": "OBJECT", "science": "OBJECT"},
    "maxim": {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "twilight": "FLAT", "science": "LIGHT"},
}


@dataclass(frozen=True)
class Exposure:
    """
    One raw frame: what its header says, and what its pixels were made of.

    `path` is relative to the folder of the night, in POSIX form. `kind` is what the frame is in truth;
    `level` the smooth light and `pedestal` the bias level, both in adu; `hits` the number of cosmic rays.
    """

    path: str
    kind: str
    instrument: str
    shape: tuple[int, int]
    exposure: float = 0.0
    filter: str | None = None
    object: str = ""
    time: datetime = datetime(2024, 1, 1)
    number: int = 1
    detector: int = 0
    binning: int = 1
    level: float = 0.0
    pedestal: float = 0.0
    dark_time: float = 0.0
    stars: int = 0
    hits: int = 0
    seed: tuple[int, ...] = (0,)


def card(keyword, value, comment=""):
    """
    One card in the form astropy gives it.

    Raises
    ------
    ValueError
        If it does not fit into 80 characters.
    """
    image = fits.Card(keyword, value, comment).image
    if len(image) != 80:
        msg = f"the card {keyword} takes {len(image)} characters, 80 are allowed"
        raise ValueError(msg)
    return image


def keyword_of(image):
    """Keyword of a card image."""
    return image[:8].rstrip()


def override(cards, changes):
    """
    Replace, append or (value None) delete cards.

    Parameters
    ----------
    cards : list of str
    changes : mapping
        Keyword to value or ``(value, comment)``.

    Returns
    -------
    list of str
    """
    for keyword, value in changes.items():
        if value is None:
            cards = [image for image in cards if keyword_of(image) != keyword]
        else:
            value, comment = value if isinstance(value, tuple) else (value, "")
            cards = put_raw(cards, card(keyword, value, comment))
    return cards


def put_raw(cards, image):
    """
    Put a card image in as it is: in the place of the first card with its keyword, or at the end.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If the image is longer than 80 characters.
    """
    if len(image) > 80:
        msg = f"card image of {len(image)} characters, at most 80 are allowed: {image!r}"
        raise ValueError(msg)
    image = image.ljust(80)
    keywords = [keyword_of(item) for item in cards]
    if keyword_of(image) not in keywords:
        return [*cards, image]
    place = keywords.index(keyword_of(image))
    return [*cards[:place], image, *cards[place + 1 :]]


def as_type(cards, dtype):
    """
    The cards for pixels of another type than unsigned 16-bit integers.

    Returns
    -------
    list of str
    """
    bitpix = {"uint16": 16, "int16": 16, "int32": 32, "float32": -32, "float64": -64}[dtype]
    if dtype == "uint16":
        return cards
    cards = [image for image in cards if keyword_of(image) not in {"BSCALE", "BZERO"}]
    return put_raw(cards, f"BITPIX  = {bitpix:20d}")


def header_cards(exposure, sensor):
    """
    Header of a raw frame without END, for unsigned 16-bit pixels.

    Parameters
    ----------
    exposure : Exposure
    sensor : Sensor
        Gives the sections.

    Returns
    -------
    list of str
        Card images of 80 characters.
    """
    makers = {"lfc": _lfc, "aspen": _aspen, "arcsat": _arcsat, "nickel": _nickel, "twoamp": _two_amp}
    return [image.ljust(80) for image in makers.get(exposure.instrument, _plain)(exposure, sensor)]


def _structure(shape):
    return [
        card("SIMPLE", True),
        card("BITPIX", 16),
        card("NAXIS", 2),
        card("NAXIS1", shape[1]),
        card("NAXIS2", shape[0]),
        card("BSCALE", 1.0),
        card("BZERO", 32768.0),
    ]


def _cards(pairs):
    """Cards of ``(keyword, value, comment)``; None values are left out."""
    return [card(*item) for item in pairs if item[1] is not None]


def _julian_date(time):
    return 2451544.5 + (time - datetime(2000, 1, 1)) / timedelta(days=1)


def _sexagesimal(value, digits=2):
    units = round(abs(value) * 3600 * 10**digits)
    seconds, rest = divmod(units, 10**digits)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:0{digits}d}"
    return f"{'-' if value < 0 else ' '}{text}"


def _iso(time):
    return time.isoformat(timespec="milliseconds")


def _section(columns, rows):
    """A FITS section of a slice of columns and a number of rows."""
    return f"[{columns.start + 1}:{columns.stop},1:{rows}]"


def _lfc(exposure, sensor):
    """
    The 43 cards of the Palomar LFC.

    The quote of the filter's name is not doubled, which makes that card invalid, and BIASSEC is one row
    short.
    """
    ny, nx = exposure.shape
    amplifier = sensor.amplifiers[0]
    time, binning = exposure.time, exposure.binning
    sidereal = (18.697374558 + 24.06570982441908 * (_julian_date(time) - 2451545.0) - 116.9 / 15) % 24
    pointing = {"science": (9.267278, 52.84)}.get(exposure.kind, ((sidereal - 0.0141) % 24, 33.369667))
    angle = (sidereal - pointing[0] + 12) % 24 - 12 if exposure.kind == "science" else 4 / 3600
    date = time.date().isoformat()
    return [
        "SIMPLE  =                    T  / STANDARD FITS",
        "BITPIX  =                   16  / BITS/PIXEL",
        "NAXIS   =                    2  / NUMBER OF AXES",
        f"NAXIS1  = {nx:20d}  / NUMBER OF COLUMNS",
        f"NAXIS2  = {ny:20d}  / NUMBER OF ROWS",
        "BSCALE  =        1.0000000E+00  / PHYSICAL = BSCALE * DATA + BZERO",
        "BZERO   =               32768.",
        f"DATE    = '{date}'          / UT Date of file creation (DD/MM/YY)",
        "ORIGIN  = 'California Institute of Technology'  / Palomar Observatory",
        "LATITUDE=              33.4000  / Latitude (degrees N)",
        "LONGITUD=            -116.9000  / Longitude (degrees E)",
        "TELESCOP= 'Hale 5m Telescope'   / Telescope used for observation",
        "FRATIO  =               7.5000  / Focal ratio of telescope",
        "INSTRUME= 'LFC     '            / Instrument used for observation",
        "DETECTOR= 'SITe SI002 x 6'      / Detector used for observation",
        f"FRAME   = {exposure.number:20d}  / Frame number of observation",
        f"CCDPICNO= {exposure.number:20d}  / Frame number of observation",
        f"OBJECT  = {_quoted(exposure.object)}  / Name of object",
        f"IMAGETYP= {_quoted(SPELLINGS['lfc'].get(exposure.kind, 'TEST'))}  / Type of observation",
        f"EXPTIME = {exposure.exposure:20.3f}  / Integration time (seconds)",
        f"DARKTIME= {exposure.dark_time:20.3f}  / Dark current time (seconds)",
        f"DATE-OBS= '{date}'          / UT Date of observation (DD/MM/YY)",
        (
            f"UT      = ' {time:%H:%M:%S}.{time.microsecond // 10000:02d}'        "
            "/ Universal time (UTC) at exposure start"
        ),
        f"JD      = {_julian_date(time):30.6f}  / Julian date at exposure start",
        f"RA      = '{_sexagesimal(pointing[0])}'        / Right Ascension",
        f"DEC     = '{_sexagesimal(pointing[1])}'        / Declination",
        "EQUINOX =             2000.000  / Equinox of RA and DEC",
        "EPOCH   =             2000.000  / Equinox of RA and DEC",
        f"HA      = '{_sexagesimal(angle)}'        / Hour angle at start",
        f"ST      = '{_sexagesimal(sidereal)}'        / Sidereal time at start",
        f"AIRMASS = {1.25 if exposure.kind == 'science' else 1.0:20.3f}  / Airmass at start",
        f"FILTER  = '{exposure.filter or '':<8}'            / Filter description",
        "GAIN    =                1.100  / Nominal gain (e-/ADU)",
        "SECPIX1 =                0.182  / Arcseconds per pixel in fast dir",
        "SECPIX2 =                0.182  / Arcseconds per pixel in slow dir",
        f"CCDBIN1 = {binning:20d}  / On-chip column binning (fast dir)",
        f"CCDBIN2 = {binning:20d}  / On-chip row binning (slow dir)",
        "ROTANGLE=                 0.00  / Rotation angle (deg)",
        f"DATASEC = '{_section(amplifier.data, ny)}'     / Image area of frame",
        f"CCDSEC  = '{_section(amplifier.data, ny)}'     / Image area relative to full chip",
        f"BIASSEC = '{_section(amplifier.overscan, ny - 1)}'  / Overscan area of frame",
        "LOGINFO = ' Status=0x00000000'",
        f"CHIPID  = {exposure.detector:20d}",
    ]


def _quoted(text):
    """A string value as the LFC writes it: padded to 8 characters in quotes, then to 20."""
    quoted = text.replace("'", "''")
    return f"'{quoted:<8}'".ljust(20)


def _maxim(exposure, *, pixel, focal_length, aperture):
    """Cards which MaxIm DL writes for every camera."""
    return _cards(
        [
            ("DATE-OBS", _iso(exposure.time), "YYYY-MM-DDThh:mm:ss observation, UT"),
            ("EXPTIME", float(exposure.exposure), "Exposure time in seconds"),
            ("EXPOSURE", float(exposure.exposure), "Exposure time in seconds"),
            ("SET-TEMP", {"arcsat": -25.0}.get(exposure.instrument, -20.0), "CCD temperature setpoint in C"),
            ("CCD-TEMP", _temperature(exposure), "CCD temperature at start of exposure in C"),
            ("XPIXSZ", pixel * exposure.binning, "Pixel Width in microns (after binning)"),
            ("YPIXSZ", pixel * exposure.binning, "Pixel Height in microns (after binning)"),
            ("XBINNING", exposure.binning, "Binning factor in width"),
            ("YBINNING", exposure.binning, "Binning factor in height"),
            ("XORGSUBF", 0, "Subframe X position in binned pixels"),
            ("YORGSUBF", 0, "Subframe Y position in binned pixels"),
            ("READOUTM", "Monochrome", "Readout mode of image"),
            ("FILTER", exposure.filter, "Filter name"),
            ("IMAGETYP", SPELLINGS["maxim"].get(exposure.kind, "TRICOLOR"), "Type of image"),
            ("FOCALLEN", focal_length, "Focal length of telescope in mm"),
            ("APTDIA", aperture, "Aperture diameter of telescope in mm"),
        ]
    )


def _temperature(exposure):
    """Detector temperature, which wanders by some hundredths of a kelvin around its set point."""
    if exposure.instrument == "arcsat":
        return -25.05 + 0.03 * (exposure.number % 5)
    return -20.02 - 0.01 * (exposure.number % 6)


def _aspen(exposure, sensor):
    """MaxIm DL 6 header of the Aspen: BIASSEC has one axis only, and sections with open ends."""
    columns = sensor.amplifiers[0].data.stop
    light = exposure.kind in {"science", "flat", "twilight"}
    return (
        _structure(exposure.shape)
        + _maxim(exposure, pixel=9.0, focal_length=3454.0, aperture=400.0)
        + _cards(
            [
                ("SWCREATE", "MaxIm DL Version 6.16", "Name of software"),
                ("JD", _julian_date(exposure.time), "Julian Date at time of exposure"),
                ("OBJECT", exposure.object, ""),
                ("INSTRUME", "AspenCG16", "instrument or camera used"),
                ("ROWORDER", "TOP-DOWN", "Image write order, BOTTOM-UP or TOP-DOWN"),
                ("RA", "20:11:00.0" if light else None, "Right ascension"),
                ("DEC", "31:12:00.0" if light else None, "Declination"),
                ("AIRMASS", 1.05 if light else None, "Relative optical path length"),
                ("EQUINOX", 2000.0, ""),
                ("RADECSYS", "FK5", ""),
                ("BUNIT", "adu", ""),
                ("BIASSEC", f"[{columns}:{exposure.shape[1]}]", "Region of overscan"),
                ("TRIMSEC", f"[1:{columns}, :]", "Region to be kept"),
            ]
        )
    )


def _arcsat(exposure, _sensor):
    """MaxIm DL 6.50 header of ARCSAT: OBJECT is blank on calibration frames."""
    cards = _cards(
        [
            ("SWCREATE", "MaxIm DL Version 6.50", "Name of software"),
            ("OBJCTRA", "17 58 33.24", "[hms J2000] Target right ascension"),
            ("OBJCTDEC", "+66 37 58.8", "[dms +N J2000] Target declination"),
            ("SITELAT", "32 46 49", "Latitude of the imaging location"),
            ("SITELONG", "-105 49 13", "Longitude of the imaging location"),
            ("JD", _julian_date(exposure.time), "Julian Date at time of exposure"),
            ("AIRMASS", 1.2356, "Airmass (multiple of zenithal airmass)"),
            ("OBJECT", exposure.object, "Target object name"),
            ("TELESCOP", "ARCSAT 0.5-m", "Telescope name"),
            ("INSTRUME", "dcam-spare", "Detector instrument name"),
            ("OBSERVER", "", "Observer name"),
            ("ROWORDER", "TOP-DOWN", "Image write order, BOTTOM-UP or TOP-DOWN"),
            ("FLIPSTAT", "Flip/Rotate 90 CW", ""),
            ("PEDESTAL", 0, "Correction to add for zero-based ADU"),
        ]
    )
    late = [
        ("DATE", exposure.time.strftime("%d/%m/%y"), "[old format] UTC date of exposure start"),
        ("TIME-OBS", exposure.time.strftime("%H:%M:%S"), "[old format] UTC time of exposure start"),
        ("UT", exposure.time.strftime("%H:%M:%S"), "[old format] UTC time of exposure start"),
        ("TIMESYS", "UTC", "Default time system"),
        ("RADECSYS", "FK5", "Equatorial coordinate system"),
        ("RA", "17 58 33.24", "[hms J2000] Target right ascension"),
        ("DEC", "+66 37 58.8", "[dms +N J2000] Target declination"),
    ]
    camera = _maxim(exposure, pixel=13.0, focal_length=4014.0, aperture=508.0)
    # Only frames which saw light went through the program that adds the later cards.
    lit = exposure.kind not in {"bias", "dark"}
    return _structure(exposure.shape) + camera + cards + (_cards(late) if lit else [])


def _nickel(exposure, sensor):
    """Header of the Nickel: no IMAGETYP, no BIASSEC, an OBSTYPE not to be trusted, GAIN an index."""
    data = sensor.amplifiers[0].data
    columns, rows = data.stop - data.start, exposure.shape[0]
    whole = float(exposure.exposure).is_integer()
    end = exposure.time + timedelta(seconds=exposure.exposure)
    step = 1.027e-4 / 2 * exposure.binning
    return _structure(exposure.shape) + _cards(
        [
            ("CDELT1U", -exposure.binning, "COLUMN CHANGE PER PIXEL"),
            ("CDELT2U", -exposure.binning, "ROW CHANGE PER PIXEL"),
            ("OBSNUM", exposure.number, "OBSERVATION NUMBER"),
            ("AMPSROW", 1, "AMPLIFIERS PER ROW"),
            ("AMPSCOL", 1, "AMPLIFIERS PER COLUMN"),
            ("OBSTYPE", SPELLINGS["nickel"].get(exposure.kind, "OBJECT"), "IMAGE TYPE"),
            ("EXPTIME", int(exposure.exposure) if whole else exposure.exposure, "Exp time"),
            ("PROGRAM", "NEWCAM", "New Lick Camera"),
            ("VERSION", "nickel_direct", "Data acquisition version"),
            ("DATE", _iso(end), "UT of CCD readout & descramble"),
            ("DATASEC", f"[1:{columns},1:{rows}]", "IRAF/NOAO-style data section"),
            ("CD1_1", -step, "CTM element i_j from FITS axis j to WCS axis i"),
            ("CD1_2", -step / 26, "CTM element i_j from FITS axis j to WCS axis i"),
            ("CD2_1", step / 26, "CTM element i_j from FITS axis j to WCS axis i"),
            ("CD2_2", -step, "CTM element i_j from FITS axis j to WCS axis i"),
            ("CRVAL1", 187.8125762939, "coord value of WCS axis i at ref pixel"),
            ("CRVAL2", 39.93419265747, "coord value of WCS axis i at ref pixel"),
            ("CRPIX1", columns // 2, "reference pixel along FITS axis j"),
            ("CRPIX2", rows // 2, "reference pixel along FITS axis j"),
            ("CUNIT1", "deg", "unit of WCS axis i"),
            ("CUNIT2", "deg", "unit of WCS axis i"),
            ("EQUINOX", 2000, "date of celestial reference frame"),
            ("RADECSYS", "FK5", "reference system for celestial coordinates"),
            ("CTYPE1", "RA---TAN", "type of WCS axis i"),
            ("CTYPE2", "DEC--TAN", "type of WCS axis i"),
            ("AIRMASS", 1.070087313652, "AIRMASS AT START OF OBSERVATION"),
            ("HA", "-1:45:39.17", "HOUR ANGLE"),
            ("DEC", "39:56:03.1", "DECLINATION"),
            ("RA", "12:31:15.03", "RIGHT ASCENSION"),
            ("INSTRUME", "Nickel Direct Camera", ""),
            ("FILTNAM", exposure.filter, "FILTER POSITION NAME"),
            ("DSENSOR", "Loral 2Kx2K", "SENSOR DESCRIPTION"),
            ("DATE-BEG", _iso(exposure.time), "START OF OBSERVATION"),
            ("DATE-END", _iso(end), "END OF OBSERVATION"),
            ("GAIN", 1, "DCS GAIN INDEX"),
            ("ROVER", 0, "NUMBER OF OVERSCAN ROWS"),
            ("COVER", exposure.shape[1] - columns, "NUMBER OF OVERSCAN COLUMNS"),
            ("TEMPDET", -109.0 - 0.1 * (exposure.number % 7), "EXPOSURE START DETECTOR TEMPERATURE"),
            ("READ-SPD", 80, "DCS READ SPEED"),
            ("OBJECT", exposure.object, ""),
        ]
    )


def _plain(exposure, sensor):
    """As little as a frame can say: kind, exposure, filter, time, object, gain and read noise."""
    binned = exposure.binning if exposure.binning != 1 else None
    return _structure(exposure.shape) + _cards(
        [
            ("IMAGETYP", exposure.kind, ""),
            ("EXPTIME", float(exposure.exposure), "[s]"),
            ("FILTER", exposure.filter, ""),
            ("DATE-OBS", _iso(exposure.time), "UTC at start"),
            ("OBJECT", exposure.object, ""),
            ("GAIN", sensor.amplifiers[0].gain, "[electron/adu]"),
            ("RDNOISE", sensor.amplifiers[0].read_noise, "[electron]"),
            ("XBINNING", binned, ""),
            ("YBINNING", binned, ""),
        ]
    )


def _two_amp(exposure, sensor):
    """A plain header with the sections, the gain and the read noise of each amplifier in numbered cards."""
    numbered = []
    for number, item in enumerate(sensor.amplifiers, start=1):
        numbered += [
            (f"DATASEC{number}", _section(item.data, exposure.shape[0]), ""),
            (f"BIASSEC{number}", _section(item.overscan, exposure.shape[0]), ""),
            (f"GAIN{number}", item.gain, "[electron/adu]"),
            (f"RDNOISE{number}", item.read_noise, "[electron]"),
        ]
    plain = override(_plain(exposure, sensor), {"GAIN": None, "RDNOISE": None})
    return plain + _cards([("INSTRUME", "TwoAmp", ""), *numbered])
