"""Cards that name pixels, put right for a frame that was trimmed: sections, reference pixels of every WCS, LTVn."""

import re

from ccdnight._sections import format_section, parse_section
from ccdnight.exceptions import SectionError
from ccdnight.provenance import mark_applied, record_step

__all__ = ["note_trim", "trim_cards"]


def trim_cards(meta, geometry, profile):
    """
    Put the cards right that name pixels.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header`
        Header, changed in place.
    geometry : `ccdnight.geometry.Geometry`
        The frame's.
    profile : InstrumentProfile
        Its dialect names the section cards.
    """
    raw, trimmed = geometry.pieces(geometry.amplifiers[0])
    dy, dx = (a.start - b.start for a, b in zip(raw, trimmed, strict=True))
    ny, nx = geometry.trimmed_shape
    dialect = profile.dialect
    origin = _data_section(meta, geometry, dialect)
    for key in dict.fromkeys(("BIASSEC", *dialect.overscan_section, *dialect.overscan_columns, *dialect.overscan_rows)):
        meta.remove(key, ignore_missing=True, remove_all=True)
    for key in dict.fromkeys(("DATASEC", "TRIMSEC", *dialect.data_section, *dialect.trim_section)):
        if key in meta or key in ("DATASEC", "TRIMSEC"):
            meta[key] = f"[1:{nx},1:{ny}]"
    for key in ("CCDSEC", "DETSEC"):
        _move_section(meta, key, raw, origin, (ny, nx))
    _move_reference(meta, dx, dy)
    for number, item in enumerate(geometry.amplifiers, 1):
        if len(geometry.amplifiers) > 1:
            meta[f"AMPSEC{number}"] = (format_section(geometry.pieces(item)[1]), f"amplifier {item.amplifier.name}")


def _data_section(meta, geometry, dialect):
    """The data section that the header means, whose first pixel CCDSEC and DETSEC tell of."""
    for key in dict.fromkeys((*dialect.data_section, "DATASEC")):
        try:
            return parse_section(str(meta[key]), geometry.shape)
        except (KeyError, SectionError):
            continue
    return geometry.amplifiers[0].data


def _move_section(meta, key, raw, origin, shape):
    """Move a section in the detector's own pixels, which are a whole number to each pixel of a binned frame."""
    try:
        section = parse_section(str(meta[key]))
    except (KeyError, SectionError):
        meta.remove(key, ignore_missing=True, remove_all=True)
        return
    moved = []
    for old, data, kept, size in zip(section, origin, raw, shape, strict=True):
        step, rest = divmod(old.stop - old.start, data.stop - data.start)
        if rest or not step:
            meta.remove(key, remove_all=True)
            return
        first = old.start + step * (kept.start - data.start)
        moved.append(slice(first, first + step * size))
    meta[key] = format_section(tuple(moved))


def _move_reference(meta, dx, dy):
    """CRPIXn of every WCS (alternate ones have a letter, and CRPIXn = 0 where it is not written) and LTVn."""
    for axis, shift in ((1, dx), (2, dy)):
        pattern = re.compile(rf"(?:CTYPE|CRVAL|CRPIX|CDELT){axis}([A-Z]?)")
        letters = {match.group(1) for key in meta if (match := pattern.fullmatch(key))}
        for key in [f"CRPIX{axis}{letter}" for letter in sorted(letters)] + [f"LTV{axis}"]:
            value = meta.get(key, 0.0)
            # A value that is no number was no reference pixel before either.
            if shift and isinstance(value, int | float):
                meta[key] = value - shift


def note_trim(ccd, geometry):
    """
    Write into a frame's header and records that it has been trimmed.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    geometry : `ccdnight.geometry.Geometry`
        Of the raw frame.
    """
    where = format_section(geometry.pieces(geometry.amplifiers[0])[0])
    mark_applied(ccd, "trim", f"to {where}" + (" and others" if len(geometry.amplifiers) > 1 else ""))
    record_step(ccd, "trim", history=f"to {where} of the raw frame", section=where)
