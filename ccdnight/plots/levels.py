"""Levels along a frame: profiles, overscan, histogram, the sky before and after."""

import math

import numpy as np
from astropy.nddata import CCDData

from ccdnight.exceptions import CcdnightError, InputError
from ccdnight.overscan import DEFAULT_WINDOW, overscan_levels
from ccdnight.plots._drawing import (
    BLUE,
    CYCLE,
    GRAY,
    ORANGE,
    leave_out_extremes,
    new_axes,
    new_figure,
    one_of,
    part_of,
    pixels_of,
    plain,
    unit_of,
)
from ccdnight.plots.images import show
from ccdnight.readout import find_profile, frame_geometry, subtract_overscan
from ccdnight.statistics import sample_pixels

__all__ = ["plot_before_after", "plot_histogram", "plot_overscan", "plot_profile"]

#: So many rows or columns, evenly spread, are enough for the median across them.
_ACROSS = 1000
_ALONG = {0: "column [pixel]", 1: "row [pixel]"}


def plot_profile(ccd, *, axis, region=None, statistic="median", ax=None, label=None):
    """
    Draw the level of a frame along its columns or its rows.

    Of frames with more than 1000 rows across the profile an even sample is taken; masked and not finite pixels are
    left out.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`, array-like or path-like
        The frame, shape ``(ny, nx)``; a path is read as a raw frame.
    axis : {0, 1}
        Which axis is collapsed, as in `numpy.median`: 0 gives a level for each column, 1 for each row.
    region : str or tuple of slice, optional
        A FITS section ``[x1:x2,y1:y2]``, or slices of rows and columns.
    statistic : {'median', 'mean', 'clipped'}, optional
        Of the pixels across; 'clipped' is the median after clipping at 3 standard deviations, which leaves the sky.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.
    label : str, optional
        What a legend calls it.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If it is no image, or the region lies outside.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import plot_profile
    >>> ax = plot_profile(np.arange(12.0).reshape(3, 4), axis=0)
    >>> ax.lines[0].get_ydata().tolist()
    [4.0, 5.0, 6.0, 7.0]
    """
    one_of(axis, (0, 1), "axis")
    one_of(statistic, ("median", "mean", "clipped"), "statistic")
    ccd, data, mask = pixels_of(ccd)
    part = part_of(region, data.shape)
    level = _profile(data, mask, part, axis, statistic)
    ax = new_axes(ax, (7, 4))
    start = part[1 - axis].start
    name = None if label is None else plain(label)
    color = CYCLE[len(ax.lines) % len(CYCLE)]
    ax.plot(np.arange(start, start + len(level)), level, color=color, lw=0.9, label=name)
    ax.set(xlabel=_ALONG[axis], ylabel=plain(f"{statistic} {unit_of(ccd)}"))
    leave_out_extremes(ax)
    return ax


def _profile(data, mask, part, axis, statistic="clipped"):
    """Level along the axis that is left, NaN where no pixel is good."""
    across = part[axis]
    step = max(1, (across.stop - across.start) // _ACROSS)
    part = list(part)
    part[axis] = slice(across.start, across.stop, step)
    part = tuple(part)
    pixels = np.array(data[part], dtype=np.float64 if data.dtype.itemsize > 4 else np.float32)
    bad = ~np.isfinite(pixels)
    if mask is not None:
        bad |= mask[part]
    if statistic == "clipped":
        bad |= _outliers(pixels, bad, axis)
    if not bad.any():
        return (np.mean if statistic == "mean" else np.median)(pixels, axis=axis)
    pixels[bad] = np.nan
    some = ~bad.all(axis=axis)
    level = np.full(some.shape, np.nan)
    rows = pixels[:, some] if axis == 0 else pixels[some]
    level[some] = (np.nanmean if statistic == "mean" else np.nanmedian)(rows, axis=axis)
    return level


def _outliers(pixels, bad, axis):
    from astropy.stats import sigma_clip

    masked = np.ma.masked_array(np.where(bad, 0, pixels), bad)
    return np.ma.getmaskarray(sigma_clip(masked, sigma=3, cenfunc="median", axis=axis, masked=True))


def plot_overscan(ccd, *, axis=1, profile=None, window=DEFAULT_WINDOW, ax=None):
    """
    Draw the overscan of a raw frame: along the rows what is subtracted, along the columns its trailing charge.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        An untrimmed raw frame.
    axis : {0, 1}, optional
        1 draws the level of each row and the smooth level that `ccdnight.subtract_overscan` takes; 0 the level of
        each column of the overscan, those that are left out in gray.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that the header matches.
    window : int, optional
        Rows over which the level is smoothed.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If the frame has no overscan.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.plots import plot_overscan
    >>> cards = {"DATASEC": "[1:32,1:32]", "BIASSEC": "[33:40,1:32]"}
    >>> raw = CCDData(np.random.default_rng(1).normal(1000, 5, (32, 40)), unit="adu", meta=cards)
    >>> len(plot_overscan(raw).lines[0].get_ydata())
    32
    """
    one_of(axis, (0, 1), "axis")
    ccd, data, _ = pixels_of(ccd)
    if not hasattr(ccd, "meta"):
        msg = "ccd is a plain array; where its overscan lies is known of a CCDData with its header, or of a path"
        raise InputError(msg)
    profile = find_profile(profile, ccd.meta)
    geometry = frame_geometry(ccd.meta, data.shape, profile)
    levels = overscan_levels(np.asarray(data, np.float32), geometry, profile, window)
    ax = new_axes(ax, (7, 4))
    for number, (item, found) in enumerate(zip(geometry.amplifiers, levels, strict=True)):
        color = CYCLE[number % len(CYCLE)]
        name = plain(item.amplifier.name) if len(levels) > 1 else "overscan"
        along = 1 - _reading_axis(item)
        if axis == 1:
            _overscan_rows(ax, data, item, found[1][0], along, color, name)
        else:
            _overscan_columns(ax, data, item, along, color, name)
    ax.set_ylabel(plain(unit_of(ccd)))
    ax.legend(fontsize="small")
    return ax


def _reading_axis(item):
    """Axis along which the overscan follows the data: 1 where it lies at the end of the rows."""
    return 1 if item.overscan[1].start >= item.data[1].stop or item.overscan[1].stop <= item.data[1].start else 0


def _overscan_rows(ax, data, item, smooth, along, color, name):
    level = _profile(data, None, item.overscan, 1 - along, "mean")
    start = item.overscan[along].start
    x = np.arange(start, start + len(level))
    ax.plot(x, level, color=GRAY, lw=0.6, alpha=0.7, label=f"{name}, mean of each row")
    smooth = np.ravel(smooth)
    ax.plot(item.data[along].start + np.arange(len(smooth)), smooth, color=color, lw=1.8, label=f"{name}, subtracted")
    ax.set_xlabel(("row [pixel]", "column [pixel]")[along])


def _overscan_columns(ax, data, item, along, color, name):
    used, light = item.overscan[1 - along], item.data[1 - along]
    after = used.start >= light.stop
    # From the last pixels of the data, so that the step is seen, to the end of the overscan.
    start, stop = (light.stop, used.stop) if after else (used.start, light.start)
    whole = [None, None]
    whole[along], whole[1 - along] = item.overscan[along], slice(start, stop)
    level = _profile(data, None, tuple(whole), along, "median" if data.dtype.kind == "f" and along else "mean")
    x = np.arange(start, stop)
    inside = (x >= used.start) & (x < used.stop)
    ax.plot(x, level, color=GRAY, lw=0.8)
    ax.plot(x[~inside], level[~inside], "x", color=GRAY, ms=5, label=f"{name}, left out")
    ax.plot(x[inside], level[inside], "o", color=color, ms=4, label=f"{name}, used")
    ax.set_xlabel(("row [pixel]", "column [pixel]")[1 - along])


def plot_histogram(ccd, *, region=None, bins=None, ax=None):
    """
    Draw how many pixels have which level, with the median.

    Of large frames an even sample of about 250,000 pixels is taken. Outer pixels, a thousandth on each side, are
    not shown: one cosmic ray would make the rest a line.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`, array-like or path-like
        The frame.
    region : str or tuple of slice, optional
        A FITS section ``[x1:x2,y1:y2]``, or slices of rows and columns.
    bins : int, optional
        How many; by default one for each whole number of a raw frame, at most 200.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If no pixel is good.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import plot_histogram
    >>> values = np.random.default_rng(1).normal(1138, 5.5, (200, 200)).round()
    >>> plot_histogram(values).get_ylabel()
    'pixels'
    """
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int) or bins < 1):
        msg = f"bins is {bins!r}; a whole number from 1 is needed"
        raise InputError(msg)
    ccd, data, mask = pixels_of(ccd)
    part = part_of(region, data.shape)
    pixels = np.ravel(sample_pixels(data[part])).astype(np.float64)
    good = np.isfinite(pixels)
    if mask is not None:
        good &= ~np.ravel(sample_pixels(mask[part]))
    if not good.any():
        msg = "no pixel of the frame is good: all are masked or not finite"
        raise InputError(msg)
    pixels = pixels[good]
    low, high = np.percentile(pixels, (0.1, 99.9))
    ax = new_axes(ax, (7, 4))
    ax.hist(pixels, bins=_bins(pixels, low, high, bins), histtype="stepfilled", color=BLUE, log=True)
    middle = np.median(pixels)
    unit = str(getattr(ccd, "unit", "") or "")
    ax.axvline(middle, color=ORANGE, lw=1.5, label=plain(f"median {_rounded(middle, low, high)} {unit}".strip()))
    ax.set(xlabel=plain(unit_of(ccd)), ylabel="pixels")
    ax.legend(fontsize="small")
    return ax


def _rounded(level, low, high):
    """A level to a thousandth of what is drawn; more digits nobody sees."""
    spread = (high - low) / 1000
    return f"{level:.6g}" if not spread > 0 else f"{level:.{max(0, math.ceil(-math.log10(spread)))}f}"


def _bins(pixels, low, high, bins):
    if not low < high:
        low, high = low - 0.5, high + 0.5
    if bins is None and np.array_equal(pixels, np.round(pixels)):
        # Bins that hold different numbers of whole numbers make a comb of a smooth histogram.
        width = max(1, int(np.ceil((high - low) / 200)))
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + width, width)
    return np.linspace(low, high, (bins or 200) + 1)


def plot_before_after(raw, reduced, *, axis=1, ax=None):
    """
    Draw the sky of a frame before and after its reduction, stars clipped, in percent of its median.

    The overscan of the raw frame is subtracted where it is known: the bias level in it would make its departures
    look smaller than those of the light. A plain array is taken as it is.

    Parameters
    ----------
    raw, reduced : `~astropy.nddata.CCDData`, array-like or path-like
        The frame before and after. Where the header of the reduced one tells what was trimmed (LTV1, LTV2) the same
        pixels of both are drawn.
    axis : {0, 1}, optional
        Which axis is collapsed: 1 gives the sky of each row.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw the profiles; by default a new figure, with both pictures above them.

    Returns
    -------
    `~matplotlib.axes.Axes`
        That of the profiles; ``.figure.axes`` has the others.

    Raises
    ------
    InputError
        If one is no image.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import plot_before_after
    >>> flat = np.linspace(0.9, 1.1, 50)[:, None]
    >>> sky = np.random.default_rng(1).normal(1000, 10, (50, 60))
    >>> ax = plot_before_after(sky * flat, sky)
    >>> [line.get_label() for line in ax.lines]
    ['raw', 'reduced']
    """
    one_of(axis, (0, 1), "axis")
    raw, before, raw_mask = pixels_of(raw, "raw")
    reduced, after, mask = pixels_of(reduced, "reduced")
    if ax is None:
        ax = _pictures(raw, reduced, before.shape)
    before = _without_pedestal(raw, before)
    offsets = _trimmed(reduced)
    same = tuple(slice(max(0, off), off + size) for off, size in zip(offsets, after.shape, strict=True))
    for data, bad, part, start, color, name in (
        (before, raw_mask, part_of(same, before.shape), None, ORANGE, "raw"),
        (after, mask, part_of(None, after.shape), offsets[1 - axis], BLUE, "reduced"),
    ):
        level = _profile(data, bad, part, axis)
        start = part[1 - axis].start if start is None else start
        middle = np.nanmedian(level) if np.isfinite(level).any() else np.nan
        percent = 100 * (level / middle - 1) if middle else level * np.nan
        ax.plot(np.arange(start, start + len(level)), percent, color=color, lw=0.9, label=name)
    _limit(ax)
    ax.set(xlabel=f"{_ALONG[axis][:-8]} of the raw frame [pixel]", ylabel="sky against its median [%]")
    ax.legend(fontsize="small")
    return ax


def _pictures(raw, reduced, shape):
    """Both frames in a new figure, wide ones above each other; the axes below them."""
    wide = shape[1] > 1.8 * shape[0]
    figure = new_figure((8, 4 + 15 * shape[0] / shape[1]) if wide else (9, 8))
    grid = figure.add_gridspec(3, 1, height_ratios=(1, 1, 1.6)) if wide else None
    grid = figure.add_gridspec(2, 2, height_ratios=(1.5, 1)) if grid is None else grid
    places = [grid[0, 0], grid[1, 0] if wide else grid[0, 1]]
    for place, frame, name in zip(places, (raw, reduced), ("raw", "reduced"), strict=True):
        show(frame, figure.add_subplot(place), title=name)
    return figure.add_subplot(grid[-1, :])


def _without_pedestal(ccd, data):
    if not isinstance(ccd, CCDData):
        return data
    try:
        return subtract_overscan(ccd).data
    except CcdnightError:
        # It has none, or it is gone already: then the frame is as near to the light as it gets.
        return data


def _limit(ax):
    """Rows without light must not press the rest into a line."""
    values = np.concatenate([line.get_ydata() for line in ax.lines])
    values = values[np.isfinite(values)]
    if values.size:
        low, high = np.percentile(values, (2, 98))
        ax.set_ylim(low - 0.5 * (high - low) - 0.1, high + 0.5 * (high - low) + 0.1)


def _trimmed(ccd):
    """Rows and columns that were cut at the lower edges."""
    header = getattr(ccd, "meta", None) or {}
    offsets = []
    for key in ("LTV2", "LTV1"):
        value = header.get(key, 0)
        known = isinstance(value, (int, float)) and np.isfinite(value)
        offsets.append(max(0, round(-value)) if known else 0)
    return tuple(offsets)
