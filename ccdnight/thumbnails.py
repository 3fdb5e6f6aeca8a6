"""Small pictures of frames, as JPEG files of a few thousand bytes."""

import base64
import io
import math

import numpy as np

from ccdnight.exceptions import FrameError
from ccdnight.overview import look_over_file, overview_of, tile_for
from ccdnight.statistics import clipped_moments

__all__ = ["LARGEST", "draw", "picture_of_file", "picture_of_master", "pictures_of_science", "pixels_of_pictures"]

#: Pixels of a picture where there are few of them, and of all pictures of a night together.
LARGEST, _TOGETHER = 160_000, 18_000_000
#: How gray levels between background and bright stars are shared out: larger shows fainter things.
_SOFTENING = 12.0
_QUALITY = 75
#: Part of a tile's pixels that are bad where a bad pixel mask is drawn white.
_MOSTLY_BAD = 0.5


def pixels_of_pictures(frames):
    """
    How many pixels each picture of a night may have.

    Parameters
    ----------
    frames : int
        Frames, each shown before and after.

    Returns
    -------
    int
        So many that a report of 500 frames stays below 25 million bytes.
    """
    return min(LARGEST, max(_TOGETHER // max(frames, 1), 10_000))


def pictures_of_science(path, profile, ccd, look, pixels):
    """
    Pictures of a science frame as it came and as it is now.

    Parameters
    ----------
    path : path-like
        The raw file.
    profile : InstrumentProfile
        The instrument.
    ccd : `~astropy.nddata.CCDData`
        The calibrated frame.
    look : ccdnight.overview.Overview
        Of the calibrated frame; taken where its tiles are large enough.
    pixels : int
        Of each picture, at most.

    Returns
    -------
    dict
        before and after, each as `draw` gives it; before is None where the raw file cannot be read again.
    """
    step = tile_for(ccd.data.shape, pixels)
    if step != look.step:
        look = overview_of(ccd.data, ccd.flags, step=step)
    before = picture_of_file(path, hdu=profile.hdu, pixels=pixels, unit="adu")
    return {"before": before, "after": draw(look, unit=str(ccd.unit))}


def picture_of_master(ccd, kind):
    """
    Picture of a master.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The master.
    kind : str
        What it is; of a bad pixel mask, the part of bad pixels is drawn.

    Returns
    -------
    dict or None
        As `draw` gives it.
    """
    step = tile_for(ccd.data.shape, LARGEST)
    if kind == "badpixels":
        return _draw_part(overview_of((ccd.data != 0).astype(np.float32), step=step))
    return draw(overview_of(ccd.data, ccd.flags, step=step), linear=kind == "flat", unit=str(ccd.unit))


def picture_of_file(path, *, hdu=None, pixels, kind="raw", unit=""):
    """
    Picture of a frame in a file.

    Parameters
    ----------
    path : path-like
        The file.
    hdu : int, optional
        As in `ccdnight.storage.read_header`.
    pixels : int
        Of the picture, at most.
    kind : str, optional
        'raw', 'science', or the kind of a master.
    unit : str, optional
        Of the frame.

    Returns
    -------
    dict or None
        As `draw` gives it; None where the file is gone or cannot be read.
    """
    try:
        look = look_over_file(path, hdu=hdu, pixels=pixels, kind=kind)
    except (FrameError, OSError):
        return None
    if kind == "badpixels":
        return _draw_part(look)
    return draw(look, linear=kind == "flat", unit=unit)


def _draw_part(overview):
    """Picture of the part of bad pixels in every tile."""
    return draw(overview, limits=(0.0, _MOSTLY_BAD), unit="of the pixels bad")


def draw(overview, *, linear=False, limits=None, unit=""):
    """
    Draw a frame in gray, its first row at the bottom.

    Parameters
    ----------
    overview : ccdnight.overview.Overview
        Its tiles.
    linear : bool, optional
        Whether gray levels grow evenly, as is best for flats; otherwise as the inverse hyperbolic sine of the level
        above the background (Lupton et al. 1999, AJ 118, 1406), which shows faint and bright stars.
    limits : tuple of float, optional
        What is drawn black and white, gray levels growing evenly; by default what suits the frame.
    unit : str, optional
        Of the frame.

    Returns
    -------
    dict or None
        jpeg (base64), width, height, low and high (what is drawn black and white), unit; None where no pixel is good.
    """
    image = overview.mean
    values = image[np.isfinite(image)]
    if not values.size:
        return None
    low, high = _limits(values, linear) if limits is None else limits
    linear = linear or limits is not None
    with np.errstate(invalid="ignore"):
        part = np.clip((image - low) / (high - low), 0, 1)
        if not linear:
            part = np.arcsinh(_SOFTENING * part) / math.asinh(_SOFTENING)
    # Tiles without a good pixel are drawn dark: bright ones would be taken for stars.
    gray = np.rint(255 * np.where(np.isfinite(part), part, 0)).astype(np.uint8)[::-1]
    text = base64.b64encode(_jpeg(np.ascontiguousarray(gray))).decode("ascii")
    height, width = gray.shape
    return {"jpeg": text, "width": width, "height": height, "low": float(low), "high": float(high), "unit": unit}


def _limits(values, linear):
    """What is drawn black and what white."""
    if linear:
        low, high = (float(item) for item in np.percentile(values, [1, 99]))
    else:
        level, scatter, _ = clipped_moments(values[:: max(1, values.size // 20_000)], sigma=3.0)
        low = level - 2.5 * scatter
        high = max(float(np.percentile(values, 99.4)), level + 8 * scatter)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return low, high


def _jpeg(gray):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(gray).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
