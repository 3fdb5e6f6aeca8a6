"""What all figures share: axes, colors, text that is not mathematics, pixels of whatever is given."""

import sys
from pathlib import Path

import numpy as np

from ccdnight._sections import parse_section
from ccdnight.exceptions import InputError
from ccdnight.readout import as_frame

__all__ = [
    "BLUE",
    "CYCLE",
    "GRAY",
    "GREEN",
    "ORANGE",
    "leave_out_extremes",
    "new_axes",
    "new_figure",
    "one_of",
    "part_of",
    "pixels_of",
    "plain",
    "printable",
    "unit_of",
]

#: Colors that are told apart by the color-blind too (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#666666"
CYCLE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")

#: Points that lie further from the middle of a profile than so many of its spreads are beyond the axis; where there
#: are fewer points than this each of them counts.
_FAR, _MANY, _BEYOND = 5.0, 100, "beyond the axis"


def new_axes(ax, figsize=(7, 5)):
    """
    The axes that were given, or those of a new figure.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes` or None
        What was asked for.
    figsize : tuple of float, optional
        Size of a new figure in inches.

    Returns
    -------
    `~matplotlib.axes.Axes`
    """
    return new_figure(figsize).add_subplot() if ax is None else ax


def new_figure(figsize):
    """
    A figure, known to pyplot only where the caller uses pyplot.

    Parameters
    ----------
    figsize : tuple of float
        Size in inches.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    if "matplotlib.pyplot" in sys.modules:
        return sys.modules["matplotlib.pyplot"].figure(figsize=figsize, layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, layout="constrained")


def plain(text):
    """
    Text in which a dollar sign is a dollar sign, without what cannot be printed.

    Parameters
    ----------
    text : object
        Shown with `str`.

    Returns
    -------
    str
    """
    return printable(text).replace("$", r"\$")


def printable(text):
    """
    Text without line breaks and control characters, for where mathematics is switched off.

    Parameters
    ----------
    text : object
        Shown with `str`.

    Returns
    -------
    str
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def leave_out_extremes(ax):
    """
    Limits that a few hot columns do not decide: beside one of 60,000 adu nothing else would be seen.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        With the lines; how many points are beyond is written into a corner.
    """
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in ax.lines])
    values = values[np.isfinite(values)]
    for old in [text for text in ax.texts if text.get_gid() == _BEYOND]:
        old.remove()
    if values.size < _MANY:
        return
    low, high = np.percentile(values, (0.5, 99.5))
    near = np.abs(values - (low + high) / 2) <= _FAR * (high - low)
    if near.all() or not high > low:
        return
    least, most = values[near].min(), values[near].max()
    ax.set_ylim(least - 0.05 * (most - least), most + 0.12 * (most - least))
    furthest = values[~near][np.argmax(np.abs(values[~near] - (low + high) / 2))]
    words = f"{(~near).sum()} beyond the axis, as far as {furthest:.5g}"
    ax.text(0.99, 0.98, words, transform=ax.transAxes, ha="right", va="top", fontsize="small", color=GRAY, gid=_BEYOND)


def pixels_of(frame, name="ccd"):
    """
    The pixels of a frame and which of them are masked.

    Parameters
    ----------
    frame : array-like, `~numpy.ma.MaskedArray`, `~astropy.nddata.CCDData` or path-like
        A frame; a path is read as a raw frame.
    name : str, optional
        How to call it in errors.

    Returns
    -------
    ccd : object
        The frame, read where it was a path.
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``; no copy.
    mask : `~numpy.ndarray` or None
        True where a pixel is bad.
    """
    ccd = as_frame(frame)[0] if isinstance(frame, (str, Path)) else frame
    if isinstance(ccd, np.ma.MaskedArray):
        data, mask = ccd.data, ccd.mask
    else:
        data, mask = getattr(ccd, "data", ccd) if not isinstance(ccd, np.ndarray) else ccd, getattr(ccd, "mask", None)
    data = np.asarray(data)
    if data.ndim != 2 or 0 in data.shape or data.dtype.kind not in "biuf":
        msg = f"{name} has shape {data.shape} and type {data.dtype}; an image of real numbers with two axes is needed"
        raise InputError(msg)
    mask = None if mask is None or mask is np.ma.nomask else np.broadcast_to(np.asarray(mask, bool), data.shape)
    return ccd, data, mask


def unit_of(ccd):
    """
    What the axis of a level is called.

    Parameters
    ----------
    ccd : object
        A frame.

    Returns
    -------
    str
    """
    unit = str(getattr(ccd, "unit", "") or "")
    return f"level [{unit}]" if unit else "level"


def part_of(region, shape):
    """
    Slices of a region.

    Parameters
    ----------
    region : str, tuple of slice or None
        A FITS section, 1-based and inclusive, or ``(rows, columns)``, 0-based; None is the whole frame.
    shape : tuple of int
        Shape of the frame.

    Returns
    -------
    tuple of slice

    Raises
    ------
    InputError
        If there is no pixel in it.
    """
    if isinstance(region, str):
        return parse_section(region, shape)
    rows, columns = (slice(None), slice(None)) if region is None else _two_slices(region)
    part = tuple(slice(*item.indices(size)[:2]) for item, size in zip((rows, columns), shape, strict=True))
    if any(item.stop <= item.start for item in part):
        msg = f"region {region!r} holds no pixel of a frame of shape {shape}"
        raise InputError(msg)
    return part


def _two_slices(region):
    pair = isinstance(region, (tuple, list)) and len(region) == 2
    if pair and all(isinstance(item, slice) and item.step in (None, 1) for item in region):
        return region
    msg = f"region {region!r} is neither a section like '[x1:x2,y1:y2]' nor two slices (rows, columns) of step 1"
    raise InputError(msg)


def one_of(value, allowed, name):
    """
    Refuse what is not allowed.

    Parameters
    ----------
    value : object
        What was got.
    allowed : tuple
        What may be given.
    name : str
        The parameter.

    Returns
    -------
    object
        The value.

    Raises
    ------
    InputError
        If it is something else.
    """
    if any(value is item or (type(value) is type(item) and value == item) for item in allowed):
        return value
    msg = f"{name} is {value!r}; allowed are {', '.join(map(repr, allowed))}"
    raise InputError(msg)
