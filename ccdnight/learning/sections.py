"""Which columns and rows carry no light in a flat: overscans, prescans and dead borders."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Axis", "find_axis"]

#: A column with less than this part of the light of its neighborhood is unlit, with less than that it is a border.
_UNLIT, _BORDER = 0.1, 0.5
#: The fewest unlit columns in a row that are taken for an overscan or prescan and not for a defect.
_NARROWEST = 3
#: Light that a map must have, in units of its noise, to tell lit from unlit columns.
_LEAST_SIGNAL = 20.0


@dataclass(frozen=True)
class Axis:
    """
    Lit and unlit stretches along one axis, half-open and 0-based.

    Attributes
    ----------
    size : int
        Length of the axis.
    lit : list of (int, int)
        In order; never empty.
    unlit : list of (int, int)
        Overscans and prescans, in order.
    border : tuple of int
        Dead or vignetted columns inside the first and the last lit stretch's outer ends.
    """

    size: int
    lit: list
    unlit: list = field(default_factory=list)
    border: tuple = (0, 0)


def find_axis(light, noise, axis):
    """
    Divide an axis by what light reaches it.

    Parameters
    ----------
    light : `~numpy.ndarray`
        Light of flats above the dark level, shape ``(ny, nx)``.
    noise : float
        Noise of one of its pixels.
    axis : {0, 1}
        0 divides rows, 1 columns.

    Returns
    -------
    Axis or None
        None where there is not light enough to tell.
    """
    profile = _lit_profile(light, axis)
    size, bright = profile.size, np.percentile(profile, 75)
    if bright < _LEAST_SIGNAL * max(noise, 0.1) / np.sqrt(light.shape[1 - axis]) or bright <= 0:
        return None
    local = _neighborhood(profile)
    unlit = [run for run in _runs(profile < _UNLIT * np.maximum(local, 0.2 * bright)) if _is_section(run, profile)]
    lit = _between(unlit, size)
    if not lit:
        return None
    border = (_border(profile, *lit[0], 1), _border(profile, *lit[-1], -1))
    return Axis(size, lit, unlit, border)


def _lit_profile(light, axis):
    """Median light of each column, over the rows that are lit themselves."""
    across = np.nanmedian(light, axis=axis)
    keep = across > 0.3 * np.nanpercentile(across, 75)
    lit = light[:, keep] if axis == 0 else light[keep]
    along = np.nanmedian(lit, axis=1 - axis)
    keep = along > 0.3 * np.nanpercentile(along, 75)
    # A second time, now that the unlit columns do not count for the rows.
    across = np.nanmedian(light[keep] if axis == 0 else light[:, keep], axis=axis)
    keep = across > 0.3 * np.nanpercentile(across, 75)
    return np.nan_to_num(np.nanmedian(light[:, keep] if axis == 0 else light[keep], axis=1 - axis))


def _neighborhood(profile):
    """The light around each column: the brighter of what lies to either side."""
    width = max(16, profile.size // 16)
    padded = np.pad(profile, width, mode="edge")
    blocks = np.lib.stride_tricks.sliding_window_view(padded, width)
    median = np.median(blocks, axis=1)
    left, right = median[: profile.size], median[-profile.size :]
    return np.maximum(left, right)


def _runs(flags):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _is_section(run, profile):
    """Whether an unlit stretch is a section: wide enough, and with a sharp edge to the light."""
    start, stop = run
    if stop - start < _NARROWEST or stop - start > profile.size // 2:
        return False
    if start > 0 and stop < profile.size and stop - start < 2 * _NARROWEST:
        return False
    inner = profile[start:stop].max()
    sides = [profile[stop : stop + 4]] if stop < profile.size else []
    sides += [profile[max(0, start - 4) : start]] if start > 0 else []
    return all(side.max() > 3 * max(inner, 0) for side in sides)


def _between(unlit, size):
    lit, position = [], 0
    for start, stop in [*unlit, (size, size)]:
        if start > position:
            lit.append((position, start))
        position = stop
    return [run for run in lit if run[1] - run[0] >= max(8, size // 32)]


def _border(profile, start, stop, direction):
    """Columns at one end of a lit stretch that have less than half of the light further in."""
    values = profile[start:stop][::direction]
    reach = max(8, values.size // 16)
    inside = np.median(values[reach : 3 * reach])
    low = values[:reach] < _BORDER * inside
    return int(np.flatnonzero(low)[-1]) + 1 if low.any() and low[0] else 0
