"""Series of frames: how a bias level drifts, and what averaging gains."""

import numpy as np

from ccdnight.exceptions import FrameError, InputError
from ccdnight.plots._drawing import BLUE, ORANGE, new_axes, part_of, pixels_of, plain, unit_of
from ccdnight.profiles.interpret import read_facts
from ccdnight.readout import find_profile, frame_geometry
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["plot_bias_drift", "plot_stack_noise"]


def plot_bias_drift(biases, *, profile=None, region=None, ax=None):
    """
    Draw the level of each bias against time, beside that of its overscan where it has one.

    Where both move together the overscan follows the drift and may take it off.

    Parameters
    ----------
    biases : list of `~astropy.nddata.CCDData`, array-like or path-like
        Bias frames.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that each header matches. Plain arrays have none.
    region : str or tuple of slice, optional
        Where the level is measured; by default the data of the frame.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Against the time since the first frame, or against the number of the frame where a time is missing.

    Raises
    ------
    InputError
        If no frame is given.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import plot_bias_drift
    >>> ax = plot_bias_drift([np.full((9, 9), 1138.0), np.full((9, 9), 1124.0)])
    >>> ax.lines[0].get_ydata().tolist()
    [1138.0, 1124.0]
    """
    rows, unit = [], "level"
    for frame in _some(biases, "biases", 1):
        ccd, data, mask = pixels_of(frame, "a bias")
        unit = unit_of(ccd)
        rows.append(_levels(ccd, data, mask, profile, region))
    level, error, overscan, times = (list(column) for column in zip(*rows, strict=True))
    dated = all(time is not None for time in times)
    x, name = _hours(times) if dated else (np.arange(1, len(rows) + 1), "frame")
    ax = new_axes(ax, (7, 4))
    ax.errorbar(x, level, error, fmt="o-", color=BLUE, label="image")
    if np.isfinite(overscan).any():
        ax.plot(x, overscan, "s--", color=ORANGE, label="overscan")
    ax.set(xlabel=name, ylabel=plain(unit))
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(fontsize="small")
    return ax


def _hours(times):
    hours = np.array([(time - min(times)).total_seconds() / 3600 for time in times])
    if hours.max() < 2:
        return hours * 60, "time since the first bias [minute]"
    return hours, "time since the first bias [hour]"


def _levels(ccd, data, mask, profile, region):
    """Level of the image, its error, level of the overscan, time."""
    parts, overscan, time = [part_of(region, data.shape)], np.nan, None
    if hasattr(ccd, "meta"):
        found = find_profile(profile, ccd.meta)
        time = read_facts(ccd.meta, found).time
        try:
            geometry = frame_geometry(ccd.meta, data.shape, found)
        except FrameError:
            geometry = None
        if geometry is not None:
            parts = parts if region is not None else [item.data for item in geometry.amplifiers]
            scans = [data[item.overscan] for item in geometry.amplifiers if item.overscan is not None]
            overscan = np.mean([clipped_moments(sample_pixels(scan))[0] for scan in scans]) if scans else np.nan
    values = np.concatenate([_good(data, mask, part) for part in parts])
    if not values.size:
        return np.nan, np.nan, overscan, time
    mean, sigma = clipped_moments(values)[:2]
    return mean, sigma / np.sqrt(len(values)), overscan, time


def _good(data, mask, part):
    values = np.ravel(sample_pixels(data[part])).astype(np.float64)
    good = np.isfinite(values)
    if mask is not None:
        good &= ~np.ravel(sample_pixels(mask[part]))
    return values[good]


def plot_stack_noise(frames, *, region=None, ax=None):
    """
    Draw the noise of the mean of the first n frames against n, beside the root-n line.

    What all frames have in common does not average out: the points leave the line where the shape of the image
    is more than the noise that is left.

    Parameters
    ----------
    frames : list of `~astropy.nddata.CCDData`, array-like or path-like
        Frames of one kind, all of one shape.
    region : str or tuple of slice, optional
        A flat part of the frame; by default the central 500 by 500 pixels.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; by default a new figure.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If fewer than two frames are given, or they differ in shape.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.plots import plot_stack_noise
    >>> rng = np.random.default_rng(1)
    >>> ax = plot_stack_noise([rng.normal(500, 10, (300, 300)) for _ in range(5)])
    >>> ax.lines[0].get_ydata()[-1].round(1)  # 10 / sqrt(5) is 4.47
    np.float64(4.5)
    """
    total = count = shape = None
    noise, unit = [], "level"
    for frame in _some(frames, "frames", 2):
        ccd, data, mask = pixels_of(frame, "a frame")
        if shape is not None and data.shape != shape:
            msg = f"frames have shapes {shape} and {data.shape}; all must have one"
            raise InputError(msg)
        shape, unit = data.shape, unit_of(ccd)
        part = _center(shape) if region is None else part_of(region, shape)
        values = np.array(data[part], dtype=np.float64)
        good = np.isfinite(values) if mask is None else np.isfinite(values) & ~mask[part]
        values[~good] = 0
        total, count = (values, good.astype(int)) if total is None else (total + values, count + good)
        # Only pixels that every frame has: the others are means of fewer.
        whole = total[count == len(noise) + 1] / (len(noise) + 1)
        if whole.size < 2:
            msg = f"frames have {whole.size} pixels in the region that are good in the first {len(noise) + 1} of them"
            raise InputError(msg)
        noise.append(clipped_moments(whole)[1])
    n = np.arange(1, len(noise) + 1)
    ax = new_axes(ax, (7, 4))
    ax.plot(n, noise, "o", color=BLUE, label="measured")
    ax.plot(n, noise[0] / np.sqrt(n), "--", color=ORANGE, label="first frame / root n")
    ax.set(xscale="log", yscale="log", xlabel="number of frames n", ylabel=plain(_of_noise(unit)))
    _plain_ticks(ax, n)
    ax.legend(fontsize="small")
    return ax


def _of_noise(level):
    return level.replace("level", "noise of the mean")


def _plain_ticks(ax, n):
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    ticks = sorted({int(value) for value in np.geomspace(1, n[-1], 6).round()})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(ScalarFormatter())
    ax.tick_params(axis="y", which="minor", labelsize="small")


def _center(shape):
    return tuple(slice(max(0, size // 2 - 250), min(size, size // 2 + 250)) for size in shape)


def _some(frames, name, least):
    from pathlib import Path

    if isinstance(frames, (str, Path)) or not hasattr(frames, "__iter__"):
        msg = f"{name} is {frames!r}; a list of frames is needed"
        raise InputError(msg)
    frames = list(frames)
    if len(frames) < least:
        msg = f"{name} has {len(frames)} frames; at least {least} are needed"
        raise InputError(msg)
    return frames
