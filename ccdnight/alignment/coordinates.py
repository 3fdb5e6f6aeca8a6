"""World coordinates of frames: those of the header where they are good, else a start from the telescope's pointing."""

from dataclasses import dataclass

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from ccdnight._quiet import quiet_libraries
from ccdnight.observation import parse_angle
from ccdnight.profiles.interpret import first_number, first_value, read_facts
from ccdnight.provenance import printable
from ccdnight.readout import find_profile

__all__ = ["Start", "fit_coordinates", "pixel_scale_of", "put_coordinates", "start_coordinates"]

#: Arcseconds per pixel that a camera on a telescope can have.
_SCALES = (1e-3, 600.0)
#: What is assumed where neither header nor profile says how large a pixel is.
_ASSUMED = 1.0
#: Cards of world coordinates without their numbers.
_PLAIN = ("WCSAXES", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "CDELTM1", "CDELTM2")
_NUMBERED = ("CTYPE", "CUNIT", "CRVAL", "CRPIX", "CDELT", "CROTA")


@dataclass(frozen=True)
class Start:
    """
    What is known of a frame's world coordinates before stars are looked at.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    source : {'header', 'pointing', 'assumed'}
        The header's own; pointing and pixel scale; or nothing but an assumption.
    scale_known : bool
        Whether the pixel scale is known.
    notes : tuple of str
        What is wrong with the header's cards.
    """

    wcs: WCS
    source: str
    scale_known: bool = True
    notes: tuple[str, ...] = ()


def start_coordinates(header, shape):
    """
    World coordinates to begin with.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of the frame as it is (trimmed).
    shape : tuple of int
        Shape ``(ny, nx)``.

    Returns
    -------
    Start
    """
    wcs, notes = _from_header(header)
    if wcs is not None:
        return Start(wcs, "header", notes=notes)
    profile = find_profile(None, header)
    alpha = parse_angle(first_value(header, profile.dialect.right_ascension)[1], hours=True)
    delta = parse_angle(first_value(header, profile.dialect.declination)[1])
    scale = _scale_from_cards(header, profile)
    angle, _ = first_number(header, profile.dialect.rotation)
    angle = profile.rotation if angle is None else angle
    known = alpha is not None and delta is not None and abs(delta) <= 90
    position = (alpha % 360, delta) if known else (0.0, 0.0)
    wcs = _tangential(position, shape, scale or _ASSUMED, angle or 0.0, profile.mirrored)
    return Start(wcs, "pointing" if known and scale else "assumed", bool(scale), notes)


def _from_header(header):
    """The header's world coordinates if they are celestial and make sense, and what is wrong with them."""
    if not str(header.get("CTYPE1", "")).strip():
        return None, ()
    header, notes = _without_contradictions(header)
    with quiet_libraries():
        try:
            wcs = WCS(header, relax=True, naxis=2)
            celestial = wcs.has_celestial and wcs.wcs.lng >= 0
            scale = pixel_scale_of(wcs) if celestial else np.nan
        except (ValueError, KeyError, MemoryError, AttributeError, TypeError) as error:
            words = " ".join(str(error).split())[:120]
            return None, (*notes, f"its world coordinates cannot be used: {words}")
    if not celestial:
        return None, (*notes, f"its axes {header.get('CTYPE1')!r} and {header.get('CTYPE2')!r} are not celestial")
    if not _SCALES[0] < scale < _SCALES[1]:
        return None, (*notes, f"its world coordinates have pixels of {scale:.3g} arcsec")
    return _with_cd(wcs), notes


def _with_cd(wcs):
    """The same world coordinates with a CD matrix, whatever the header had."""
    header = Header()
    put_coordinates(header, wcs.celestial if wcs.naxis > 2 else wcs)
    with quiet_libraries():
        return WCS(header, relax=True)


def _without_contradictions(header):
    """Two descriptions of one and the same thing: the CD matrix and the distortion that CTYPE names are kept."""
    header, notes = Header(header.cards, copy=True), []
    cd = any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2))
    mixed = [key for key in header if key.startswith(("PC1_", "PC2_", "CROTA", "CDELT")) and key[-1:] in "12"]
    if cd and mixed:
        for key in mixed:
            header.remove(key, ignore_missing=True, remove_all=True)
        notes.append(f"has a CD matrix beside {', '.join(mixed)}; the CD matrix is taken")
    sip = "A_ORDER" in header or "B_ORDER" in header
    named = str(header.get("CTYPE1", "")).strip().endswith("-SIP")
    if named and not ("A_ORDER" in header and "B_ORDER" in header):
        header["CTYPE1"], header["CTYPE2"] = (str(header[f"CTYPE{i}"]).replace("-SIP", "") for i in (1, 2))
        notes.append("CTYPE names a SIP distortion whose coefficients are missing; none is applied")
    elif sip and not named and str(header.get("CTYPE1", "")).strip().endswith("TAN"):
        header["CTYPE1"], header["CTYPE2"] = (str(header[f"CTYPE{i}"]).strip() + "-SIP" for i in (1, 2))
        notes.append("has SIP coefficients which CTYPE does not name; they are applied")
    return header, tuple(notes)


def pixel_scale_of(wcs):
    """
    Side of a pixel.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial.

    Returns
    -------
    float
        Arcseconds, the root of the area at the reference pixel.
    """
    return 3600 * float(np.sqrt(abs(np.linalg.det(wcs.celestial.pixel_scale_matrix))))


def _scale_from_cards(header, profile):
    """Arcseconds per pixel from a card, from pixel size and focal length, or from the profile."""
    scale, _ = first_number(header, profile.dialect.pixel_scale)
    if scale is None or not _SCALES[0] < scale < _SCALES[1]:
        size, _ = first_number(header, ("XPIXSZ", "PIXSIZE1"))
        length, _ = first_number(header, ("FOCALLEN",))
        scale = 206.264806 * size / length if size and length and size > 0 and length > 0 else None
    if (scale is None or not _SCALES[0] < scale < _SCALES[1]) and profile.pixel_scale:
        binning, standard = read_facts(header, profile).binning, profile.standard_binning
        steps = [
            float(text.partition("x")[0]) if text.partition("x")[0].isdigit() else None for text in (binning, standard)
        ]
        return profile.pixel_scale * (steps[0] / steps[1] if all(steps) else 1.0)
    return scale


def _tangential(position, shape, scale, angle, mirrored):
    """Tangential projection about the middle of the frame; `angle` is that of the y axis, from north to east."""
    wcs = WCS(naxis=2)
    turn, step = np.radians(angle), scale / 3600
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = position, [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    sign = 1 if mirrored else -1
    wcs.wcs.cd = step * np.array([[sign * np.cos(turn), np.sin(turn)], [-sign * np.sin(turn), np.cos(turn)]])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def fit_coordinates(wcs, positions, sky, *, weights=None, fit):
    """
    World coordinates (with a CD matrix) with a new linear part, so that stars come to their places on the sky.

    Projection, point of tangency and distortion stay as they are.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        What to begin with.
    positions : `~numpy.ndarray`
        Stars in the frame, 0-based pixels, shape ``(n, 2)``.
    sky : `~numpy.ndarray`
        The same in degrees.
    weights : `~numpy.ndarray`, optional
        Of each star.
    fit : callable
        `ccdnight.alignment.asterisms.fit_linear`.

    Returns
    -------
    `~astropy.wcs.WCS`
    """
    plain = wcs.deepcopy()
    with quiet_libraries():
        plain.sip, plain.cpdis1, plain.cpdis2, plain.det2im1, plain.det2im2 = (None,) * 5
        focal = wcs.pix2foc(positions, 0) if wcs.has_distortion else np.asarray(positions, float)
        # Where the sky wants the stars, in pixels of the undistorted frame.
        wanted = plain.wcs_world2pix(sky, 0)
    matrix, offset = fit(wanted, focal, weights=weights)
    new = wcs.deepcopy()
    crpix = np.linalg.solve(matrix, np.asarray(wcs.wcs.crpix, float) - 1 - offset) + 1
    if new.sip is not None:
        new.sip = _moved_sip(new.sip, crpix)
    new.wcs.cd, new.wcs.crpix = plain.pixel_scale_matrix @ matrix, crpix
    with quiet_libraries():
        new.wcs.set()
    return new


def _moved_sip(sip, crpix):
    """
    The distortion for another reference pixel.

    Its polynomial counts from the reference pixel: moved along by a few pixels it changes by the second order of
    that, which the next round of the fit takes up.
    """
    from astropy.wcs import Sip

    return Sip(sip.a, sip.b, sip.ap, sip.bp, crpix)


def put_coordinates(header, wcs):
    """
    Write world coordinates into a header in the place of those it has.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Changed in place.
    wcs : `~astropy.wcs.WCS`
        Two celestial axes.
    """
    old = [f"{name}{axis}" for name in _NUMBERED for axis in (1, 2)] + list(_PLAIN)
    old += [f"{name}{i}_{j}" for name in ("CD", "PC", "PV") for i in (1, 2) for j in range(40)]
    old += [key for key in header if key.partition("_")[0] in ("A", "B", "AP", "BP") and key[-1:].isdigit()]
    old += [f"{name}_{what}" for name in ("A", "B", "AP", "BP") for what in ("ORDER", "DMAX")]
    for key in old:
        header.remove(key, ignore_missing=True, remove_all=True)
    with quiet_libraries():
        new = wcs.to_header(relax=True)
    matrix = wcs.pixel_scale_matrix
    for card in new.cards:
        if card.keyword.startswith(("PC", "CDELT", "CD1_", "CD2_", "DATE", "MJD", "TIMESYS")):
            continue
        zenithal = wcs.wcs.theta0 == 90.0
        if zenithal and (card.keyword == "LATPOLE" or (card.keyword == "LONPOLE" and card.value == 180.0)):
            continue
        header[card.keyword] = (card.value, printable(card.comment))
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = (float(matrix[i - 1, j - 1]), "[deg/pixel]")
