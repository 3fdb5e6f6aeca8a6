"""
Bleed trails of saturated stars.

Charge beyond the full well runs along the direction in which the detector is read out in parallel, since the barriers
between the rows are the lowest (Janesick 2001, chapter 4). A star is round and its trail is not: a pixel is on a trail
where it is far brighter than the pixels of the same distance across.
"""

import numpy as np

from ccdnight._kernels.groups import number_groups
from ccdnight._kernels.saturation import find_above
from ccdnight.flags import FLAGS
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["CROWDED", "NEARLY", "find_trails"]

#: A pixel is on a trail above so many times the star's light at that distance, and this many sigma more. Stars that
#: are drawn out by a tenth differ by a factor of 2.5 in their steep wings.
_ROUNDNESS, _SIGMA = 3.0, 5.0
#: Pixels from this part of the saturated ones' level on belong to the core: the wells of a frame are not all equal.
_CORE = 0.9
#: A pixel that holds less than this part of a saturated one's charge is the end of a trail, not the middle of it.
_FULL = 0.5
#: By more than this factor a trail does not grow brighter again.
_STEADY = 1.1
#: Pixels that tell the level of the sky well enough.
_SAMPLE = 20_000
#: A core that bleeds is full from this part of the known saturation on: wells are known to a few percent.
NEARLY = 0.95
#: In a frame with a larger part of such pixels there are no single stars.
CROWDED = 0.05
#: Where nothing tells how a detector is read, cores longer than wide by this factor do.
_LONGER = 1.3
_UNKNOWN = np.uint16(FLAGS["BAD_PIXEL"].value | FLAGS["NO_DATA"].value)


def find_trails(data, sigma, flags, seeds, regions):
    """
    Find the trails that start from saturated pixels.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    sigma : `~numpy.ndarray` or None
        The same; None takes the scatter of the frame.
    flags : `~numpy.ndarray`
        uint16.
    seeds : tuple of `~numpy.ndarray`
        Rows and columns of saturated pixels.
    regions : list of tuple
        As `ccdnight.saturation.trail_regions` gives them.

    Returns
    -------
    trails, full : tuple of `~numpy.ndarray`
        Rows and columns of the pixels on trails, and of the full pixels of the cores that they come from.
    """
    found, values, none = [], data[seeds], (np.empty(0, int), np.empty(0, int))
    finite = np.isfinite(values)
    seeds, values = tuple(part[finite] for part in seeds), values[finite]
    sample = sample_pixels(data, _SAMPLE)[sample_pixels(flags, _SAMPLE) == 0]
    sample = sample[np.isfinite(sample)]
    if not values.size or not sample.size:
        return none, none
    sky, scatter, _ = clipped_moments(sample)
    for (rows, columns), axis in regions:
        mine = (seeds[0] >= rows.start) & (seeds[0] < rows.stop)
        mine &= (seeds[1] >= columns.start) & (seeds[1] < columns.stop)
        if not mine.any():
            continue
        top = sky + _CORE * (np.quantile(values[mine], 0.1) - sky)
        if top <= sky + _SIGMA * scatter:
            continue
        cores = _cores(data, top, tuple(part[mine] for part in seeds))
        if cores is None:
            continue
        axis = _learnt_axis(cores) if axis is None else axis
        turned = [item if item is None or axis == 0 else item.T for item in (data, sigma, flags)]
        trail, bled = _walk(*turned, cores if axis == 0 else (cores[1], cores[0], cores[2]), (sky, scatter, top))
        y, x, label = cores
        full = bled[label] & (data[y, x] >= sky + NEARLY * (np.median(values[mine]) - sky))
        found.append((*(trail if axis == 0 else trail[::-1]), y[full], x[full]))
    if not found:
        return none, none
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    return tuple(parts[:2]), tuple(parts[2:])


def _cores(data, top, seeds):
    """Rows, columns and numbers of the groups of adjacent bright pixels that hold a saturated one."""
    nx = data.shape[1]
    places = find_above(np.ascontiguousarray(data), top, int(CROWDED * data.size))
    places = np.union1d(places, seeds[0] * nx + seeds[1]) if places.size else places
    if not places.size:
        return None
    y, x = np.divmod(places, nx)
    code = y * (nx + 2) + x  # the last pixel of a row is no neighbor of the first of the next
    pairs = []
    for step in (1, nx + 1, nx + 2, nx + 3):
        other = np.minimum(np.searchsorted(code, code + step), code.size - 1)
        (first,) = np.nonzero(code[other] == code + step)
        pairs.append((first, other[first]))
    first, other = (np.concatenate(part) for part in zip(*pairs, strict=True))
    label = np.empty(code.size, np.int64)
    with_seed = np.zeros(number_groups(first, other, label), bool)
    with_seed[label[np.searchsorted(places, seeds[0] * nx + seeds[1])]] = True
    kept = with_seed[label]
    return y[kept], x[kept], np.unique(label[kept], return_inverse=True)[1]


def _learnt_axis(cores):
    y, x, label = cores
    length, width = (np.sum(_extent(part, label)) for part in (y, x))
    return 1 if width > _LONGER * length else 0


def _extent(values, label):
    low, high = np.full(label.max() + 1, np.inf), np.full(label.max() + 1, -np.inf)
    np.minimum.at(low, label, values)
    np.maximum.at(high, label, values)
    return high - low + 1


def _centers(cores, ny):
    """Row and column of the middle of each core: where it is widest."""
    y, x, label = cores
    lines, inverse, width = np.unique(label * ny + y, return_inverse=True, return_counts=True)
    middle = np.bincount(inverse, x) / width
    number, line = np.divmod(lines, ny)
    widest = np.zeros(label.max() + 1, int)
    np.maximum.at(widest, number, width)
    best = width == widest[number]
    count = np.bincount(number[best])
    return (np.bincount(number[best], weights=part[best]) / count for part in (line, middle))


def _walk(data, sigma, flags, cores, levels):
    """
    Walk up and down every column of every core as long as it is brighter than a round star.

    Stars are compared with the light of the same distance across: near the core with the brighter side, further out,
    where another star may lie there, with the fainter one. A trail is full up to its end, or falls off from there on:
    light behind a gap is that of another star.
    """
    ny, nx = data.shape
    _, x, label = cores
    middle_y, middle_x = _centers(cores, ny)
    label, column = np.divmod(np.unique(label * nx + x), nx)
    label, column = np.tile(label, 2), np.tile(column, 2)
    way = np.repeat([-1, 1], label.size // 2)
    start, center = np.rint(middle_y[label]).astype(int), middle_x[label]
    near = 2 * np.bincount(label)[label]
    last, misses = np.zeros(label.size, int), np.zeros(label.size, int)
    alive, k, passed = np.arange(label.size), 0, []
    before = np.full(label.size, np.inf)  # value of the last pixel of the trail, -inf where it has ended
    while alive.size:
        row = start[alive] + way[alive] * k
        inside = (row >= 0) & (row < ny)
        alive, row = alive[inside], row[inside]
        place = row, column[alive]
        hit, decided = _brighter(data, sigma, flags, place, [part[alive] for part in (start, center, near)], k, levels)
        full = data[place] >= levels[0] + _FULL * (levels[2] - levels[0])
        unknown = ~np.isfinite(data[place]) | ((flags[place] & _UNKNOWN) != 0)
        hit &= full | (data[place] <= levels[0] + _STEADY * (before[alive] - levels[0]))
        goes_on = np.where(hit | (~decided & full), data[place], -np.inf)
        before[alive] = np.where(unknown, before[alive], goes_on)
        passed.append((alive[hit | full | unknown], k))
        last[alive[hit]] = k
        misses[alive[hit]] = 0
        misses[alive[decided & ~hit]] += 1
        alive, k = alive[misses[alive] < 2], k + 1
    # What is neither full nor brighter than a star on the way to a trail's end is a star's.
    walker = np.concatenate([which for which, _ in passed])
    step = np.concatenate([np.full(which.size, k) for which, k in passed])
    on = (step <= last[walker]) & (last[walker] > 0)
    walker, step = walker[on], step[on]
    bled = np.zeros(len(middle_y), bool)
    bled[label[last > 0]] = True
    return (start[walker] + way[walker] * step, column[walker]), bled


def _brighter(data, sigma, flags, place, stars, k, levels):
    """Whether pixels are brighter than a round star could make them, and whether that can be said."""
    (sky, scatter, top), (start, center, near) = levels, stars
    distance = np.hypot(k, place[1] - center)
    sides = []
    for sign in (-1, 1):
        across = np.rint(center + sign * distance).astype(int)
        outside = (across < 0) | (across >= data.shape[1])
        across = np.clip(across, 0, data.shape[1] - 1)
        outside |= (flags[start, across] & _UNKNOWN) != 0
        sides.append(np.where(outside, np.nan, data[start, across]))
    star = np.where(distance < near, np.fmax(*sides), np.fmin(*sides))
    star = np.where(np.isfinite(star), star, sky)
    value = data[place]
    noise = np.float32(scatter) if sigma is None else np.nan_to_num(sigma[place], nan=scatter, posinf=scatter)
    limit = sky + _ROUNDNESS * np.maximum(star - sky, 0) + _SIGMA * np.maximum(noise, scatter)
    decided = (limit < top) & np.isfinite(value) & ((flags[place] & _UNKNOWN) == 0)
    return decided & (value > limit), decided
