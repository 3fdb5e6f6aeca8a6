"""
A raw file and a profile become one CCDData: reading, overscan, trimming, assembly of the amplifiers.

The overscan is the clipped mean of each row over the usable columns, smoothed along the rows: single rows of an
overscan scatter by more than the rows of the image do, so row by row it would add stripes.
"""

from pathlib import Path

import numpy as np
from astropy.nddata import CCDData

from ccdnight import storage
from ccdnight._inputs import check_window
from ccdnight._sections import parse_section
from ccdnight.exceptions import FrameError
from ccdnight.flags import FLAGS
from ccdnight.geometry import resolve_geometry
from ccdnight.overscan import DEFAULT_WINDOW, note_overscan, overscan_levels
from ccdnight.products import derive, flags_of, header_of, make_ccd, sigma_of
from ccdnight.profiles import get_profile, match_profile
from ccdnight.profiles.interpret import detector_of, first_number
from ccdnight.provenance import digest_input, record_step, refuse_twice
from ccdnight.trimming import note_trim, trim_cards

__all__ = ["amplifier_regions", "find_profile", "frame_geometry", "read_frame", "subtract_overscan", "trim"]

#: Rows that are looked at together, and pixels at the highest value that are more than chance.
_STRIP, _PILED_UP = 256, 4


def find_profile(profile, header):
    """
    A profile by name, file or object; where none is given, the one that the header matches.

    Parameters
    ----------
    profile : str, path-like, InstrumentProfile or None
        What was asked for.
    header : mapping
        Header of the frame.

    Returns
    -------
    InstrumentProfile

    Examples
    --------
    >>> from ccdnight.readout import find_profile
    >>> find_profile("lfc", {}).name, find_profile(None, {}).name
    ('lfc', 'generic')
    """
    return match_profile(header) if profile is None else get_profile(profile)


def read_frame(path, *, profile=None):
    """
    Read a raw frame.

    Parameters
    ----------
    path : path-like
        A raw FITS file.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that the header matches.

    Returns
    -------
    `~astropy.nddata.CCDData`
        The whole raw frame in adu, float32. Pixels at saturation are flagged SATURATED, those that are not
        finite NO_DATA. Its sections have been held against its shape.

    Raises
    ------
    FrameError
        If the file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight import read_frame
    >>> pixels = np.full((4, 4), 1138, np.uint16)
    >>> pixels[0, 0] = 65535
    >>> with TemporaryDirectory() as folder:
    ...     fits.PrimaryHDU(pixels).writeto(Path(folder, "bias.fits"))
    ...     raw = read_frame(Path(folder, "bias.fits"), profile="generic")
    >>> float(raw.data[1, 1]), str(raw.unit), int(raw.mask.sum())
    (1138.0, 'adu', 1)
    """
    path = Path(path)
    raw, profile, header, problems = open_raw(path, profile)
    data = storage.read_pixels(path, raw=raw)
    geometry = frame_geometry(header, raw.shape, profile, path=path)
    flags = np.zeros(raw.shape, np.uint16)
    for item in geometry.amplifiers:
        level = saturation_of(data.__getitem__, item, raw.header, profile)
        view = flags[item.data]
        view[data[item.data] >= level] |= FLAGS["SATURATED"].value
    flags[~np.isfinite(data)] |= FLAGS["NO_DATA"].value
    ccd = make_ccd(data, unit="adu", meta=header, flags=flags)
    note_read(ccd, path, profile, problems)
    return ccd


def open_raw(path, profile):
    """
    What is known of a raw file before its pixels are read.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    profile : str, path-like, InstrumentProfile or None
        What was asked for.

    Returns
    -------
    raw : RawHeader
    profile : InstrumentProfile
    header : `~astropy.io.fits.Header`
        Its cards without those that tell how the pixels lie in the file.
    problems : list of str
        What was put right in it.
    """
    raw = storage.read_header(path)
    profile = find_profile(profile, raw.header)
    if profile.hdu is not None and profile.hdu != raw.hdu:
        raw = storage.read_header(path, hdu=profile.hdu)
    if profile.policy.datasum == "refuse":
        storage.require_intact(path, raw)
    header, problems = storage.clean_header(raw.header)
    for key in ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True, remove_all=True)
    return raw, profile, header, problems


def note_read(ccd, path, profile, problems):
    """
    Note in a frame's records where it was read from.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    path, profile, problems
        As in `open_raw`.
    """
    record_step(ccd, "read", inputs=[(path.name, digest_input(path), "raw")], profile=profile.name, header=problems)


def saturation_level(amplifier, header, profile):
    """
    Raw value from which on a pixel is saturated.

    Parameters
    ----------
    amplifier : Amplifier
        Its own value is taken first.
    header : mapping
        Header of the raw frame.
    profile : InstrumentProfile
        Its dialect names the header's card.

    Returns
    -------
    float
        In adu; never above what the numbers of the file can hold, infinite for floating-point files
        without further knowledge.
    """
    largest = {8: 255.0, 16: 32767.0}.get(storage.card_value(header, "BITPIX"), np.inf)
    zero, factor = (first_number(header, [key])[0] for key in ("BZERO", "BSCALE"))
    ceiling = (zero or 0.0) + (1.0 if factor is None else abs(factor)) * largest
    level = amplifier.saturation
    if level is None:
        level, _ = first_number(header, profile.dialect.saturation)
    return min(level, ceiling) if level and level > 0 else ceiling


def saturation_of(rows, item, header, profile):
    """
    Raw value from which on a pixel of a frame is saturated, seen in its pixels where nothing else tells.

    Converters of fewer than 16 bits, and files of wider numbers, end below what the file can hold: there, the highest
    value of a frame is that end if it is ``2**n - 1`` and values pile up at it.

    Parameters
    ----------
    rows : callable
        Gives some rows of the raw frame, all columns, for a slice.
    item : `ccdnight.geometry.AmplifierGeometry`
        The amplifier with its sections.
    header : mapping
        Header of the raw frame.
    profile : InstrumentProfile
        Its dialect names the header's card.

    Returns
    -------
    float
        In adu, as in `saturation_level`.
    """
    level = saturation_level(item.amplifier, header, profile)
    told = item.amplifier.saturation or first_number(header, profile.dialect.saturation)[0]
    return level if told and told > 0 else min(level, _end_of_converter(rows, item.data, level))


def _end_of_converter(rows, section, level):
    first, last, columns = section[0].start, section[0].stop, section[1]
    strips = [slice(start, min(start + _STRIP, last)) for start in range(first, last, _STRIP)]
    highest = max((_highest(rows(strip)[:, columns]) for strip in strips), default=-np.inf)
    if not 255 <= highest < level or (highest + 1) % 1 or int(highest + 1) & int(highest):
        return np.inf
    at_end = below = 0
    for strip in strips:
        values = rows(strip)[:, columns]
        at_end += np.count_nonzero(values == highest)
        below += np.count_nonzero((values < highest) & (values >= highest - 3))
    return highest if at_end >= _PILED_UP and at_end > below else np.inf


def _highest(values):
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return float(values.max()) if values.size else -np.inf


def frame_geometry(header, shape, profile, *, path="frame"):
    """
    Sections of a raw frame, its detector found in its header.

    Parameters
    ----------
    header : mapping
        Header.
    shape : tuple of int
        Shape ``(ny, nx)``.
    profile : InstrumentProfile
        The instrument.
    path : path-like, optional
        How to call the frame in errors.

    Returns
    -------
    `ccdnight.geometry.Geometry`

    Examples
    --------
    >>> from ccdnight import get_profile
    >>> from ccdnight.readout import frame_geometry
    >>> cards = {"DATASEC": "[1:32,1:32]", "BIASSEC": "[33:40,1:32]"}
    >>> len(frame_geometry(cards, (32, 40), get_profile("generic")).amplifiers)
    1
    """
    return resolve_geometry(header, shape, profile, detector=detector_of(header, profile), path=path)


def subtract_overscan(ccd, *, profile=None, window=DEFAULT_WINDOW):
    """
    Subtract the overscan of every amplifier from its data.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        An untrimmed raw frame in adu.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that the header matches.
    window : int, optional
        Rows over which the level is smoothed; 1 is row by row.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Its header has the mean level in OVSCMEAN and the error of a row's level in OVSCERR, both in adu.

    Raises
    ------
    AlreadyAppliedError
        If its overscan has been subtracted, or it has been trimmed.
    InputError
        If the frame has no usable overscan.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import subtract_overscan
    >>> cards = {"DATASEC": "[1:32,1:32]", "BIASSEC": "[33:40,1:32]"}
    >>> raw = CCDData(np.full((32, 40), 1000.0), unit="adu", meta=cards)
    >>> raw.data[:, :32] += 250
    >>> subtract_overscan(raw).data[0, 0]
    np.float32(250.0)
    """
    if not isinstance(ccd, CCDData):
        ccd = read_frame(ccd, profile=profile)
    refuse_twice(ccd, "overscan")
    profile = find_profile(profile, ccd.meta)
    refuse_twice(ccd, "trim")
    check_window(window)
    geometry = frame_geometry(ccd.meta, ccd.data.shape, profile)
    data = np.array(ccd.data, dtype=np.float32)
    found = overscan_levels(data, geometry, profile, window)
    for item, (_, levels) in zip(geometry.amplifiers, found, strict=True):
        for level in levels:
            data[item.data] -= level
    result = derive(ccd, data)
    note_overscan(result, found, window)
    return result


def trim(ccd, *, profile=None):
    """
    Cut a frame to its data, assembled from its amplifiers, with every section and WCS card put right.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        An untrimmed frame.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that the header matches. Its policy says how many pixels are cut
        from the edges.

    Returns
    -------
    `~astropy.nddata.CCDData`
        DATASEC and TRIMSEC name the whole new frame, BIASSEC is gone, CRPIXn of every WCS, LTVn and CCDSEC
        are moved; with several amplifiers AMPSECn says where each one lies.

    Raises
    ------
    AlreadyAppliedError
        If it has been trimmed.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import trim
    >>> cards = {"DATASEC": "[1:32,1:32]", "BIASSEC": "[33:40,1:32]"}
    >>> trim(CCDData(np.zeros((32, 40)), unit="adu", meta=cards)).shape
    (32, 32)
    """
    if not isinstance(ccd, CCDData):
        ccd = read_frame(ccd, profile=profile)
    refuse_twice(ccd, "trim")
    profile = find_profile(profile, ccd.meta)
    geometry = frame_geometry(ccd.meta, ccd.data.shape, profile)
    shape = geometry.trimmed_shape
    data, flags = np.empty(shape, np.float32), np.empty(shape, np.uint16)
    source_flags, source_sigma = flags_of(ccd), sigma_of(ccd)
    sigma = None if source_sigma is None else np.empty(shape, np.float32)
    for item in geometry.amplifiers:
        raw, trimmed = geometry.pieces(item)
        data[trimmed], flags[trimmed] = ccd.data[raw], source_flags[raw]
        if sigma is not None:
            sigma[trimmed] = source_sigma[raw]
    meta = header_of(ccd)
    trim_cards(meta, geometry, profile)
    result = derive(ccd, data, flags=flags, sigma=sigma, meta=meta)
    note_trim(result, geometry)
    return result


def amplifier_regions(ccd, profile):
    """
    Where each amplifier lies in a frame, trimmed or not.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame.
    profile : InstrumentProfile
        The instrument.

    Returns
    -------
    list of tuple
        ``((rows, columns), Amplifier)``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import get_profile
    >>> from ccdnight.readout import amplifier_regions
    >>> ((rows, columns), amplifier), = amplifier_regions(CCDData(np.zeros((4, 6)), unit="adu"), get_profile("generic"))
    >>> rows, columns
    (slice(0, 4, None), slice(0, 6, None))
    """
    detector = detector_of(ccd.meta, profile)
    amplifiers = profile.amplifiers_of(detector)
    if len(amplifiers) == 1:
        return [((slice(0, ccd.data.shape[0]), slice(0, ccd.data.shape[1])), amplifiers[0])]
    if "AMPSEC1" in ccd.meta:
        return [
            (parse_section(ccd.meta[f"AMPSEC{number}"], ccd.data.shape), amplifier)
            for number, amplifier in enumerate(amplifiers, 1)
        ]
    geometry = resolve_geometry(ccd.meta, ccd.data.shape, profile, detector=detector)
    return [(item.data, item.amplifier) for item in geometry.amplifiers]


def as_frame(frame, profile=None):
    """
    A frame given as path or CCDData, and its profile.

    Parameters
    ----------
    frame : path-like or `~astropy.nddata.CCDData`
        A CCDData is taken as it is.
    profile : str, path-like, InstrumentProfile or None
        What was asked for; None matches a path by its header and leaves a CCDData without.

    Returns
    -------
    ccd : `~astropy.nddata.CCDData`
    profile : InstrumentProfile or None
    name : str
    """
    if isinstance(frame, CCDData):
        return frame, None if profile is None else get_profile(profile), "CCDData"
    if not isinstance(frame, str | Path):
        msg = f"a frame is a CCDData or a path, not {type(frame).__name__}"
        raise TypeError(msg)
    raw = storage.read_header(frame)
    profile = find_profile(profile, raw.header)
    if raw.shape[0] < 1:
        raise FrameError(frame, f"shape {raw.shape}")
    return read_frame(frame, profile=profile), profile, str(frame)
