"""A look at the pixels of every frame: level, scatter, overscan and saturation, from a few strips of rows."""

import numpy as np
from astropy.table import Table

from ccdnight import storage
from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError
from ccdnight.execution import default_workers, map_list
from ccdnight.geometry import resolve_geometry
from ccdnight.profiles.interpret import read_facts
from ccdnight.readout import saturation_level
from ccdnight.statistics import clipped_moments, median_of, medians_of_rows, sample_pixels

__all__ = ["SAMPLE_COLUMNS", "overscan_moves_with_rows", "sample_frames"]

#: Strips of a frame that are looked at, and rows of each.
_STRIPS, _ROWS = 8, 16
SAMPLE_COLUMNS = ("path", "level", "scatter", "overscan", "saturated", "span", "problem", "note")
_DTYPES = (str, *[float] * 5, str, str)


def sample_frames(collection):
    """
    Sample every frame of a collection.

    Parameters
    ----------
    collection : FrameCollection
        The frames.

    Returns
    -------
    `~astropy.table.Table`
        One row for each file: path, level (median of the data), scatter (of single pixels, from neighbors),
        overscan (mean level), all in adu and the mean over the amplifiers; saturated (fraction of the sample);
        span (largest less smallest value); problem (why it could not be sampled) and note (what was put right
        in its sections). NaN where there is nothing to measure.
    """
    from concurrent.futures import ThreadPoolExecutor

    # The frame table reads every header (once, which threads would not) and says how each file is called.
    paths = [str(path) for path in collection.frames["path"]]
    with quiet_libraries(), ThreadPoolExecutor(default_workers()) as pool:
        rows = list(pool.map(lambda name, path: _sample(collection, name, path), collection.files, paths))
    return Table(rows=rows or None, names=SAMPLE_COLUMNS, dtype=None if rows else _DTYPES)


def _sample(collection, name, path):
    raw = collection.raw_header(name)
    nan = float("nan")
    if isinstance(raw, FrameError):
        return (path, nan, nan, nan, nan, nan, raw.reason, "")
    try:
        facts = read_facts(raw.header, collection.profile)
        geometry = resolve_geometry(raw.header, raw.shape, collection.profile, detector=facts.detector, path=path)
        strips = _strips(collection.full_path(name), raw, geometry)
    except FrameError as error:
        return (path, nan, nan, nan, nan, nan, error.reason, "")
    level, scatter, saturated, span = _data_sample(strips, geometry, raw, collection.profile)
    overscan = _overscan_sample(strips, geometry)
    notes = [*geometry.notes, *_others(collection.full_path(name), raw, collection.profile)]
    return (path, level, scatter, overscan, saturated, span, "", "; ".join(notes))


def _others(path, raw, profile):
    """What is told of a file that holds more images than the one that is reduced."""
    others = storage.further_images(path, raw) if profile.hdu is None else []
    if not others:
        return []
    listed = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    return [f"only the first image of the file is reduced, not {listed}: a profile's hdu says which one"]


def _strips(path, raw, geometry):
    """Strips of rows, spread over the frame: a list of (first row, pixels)."""
    ny = raw.shape[0]
    lowest = min(item.data[0].stop - item.data[0].start for item in geometry.amplifiers)
    # Strips would miss a window of a few rows.
    if raw.compressed or ny <= _STRIPS * _ROWS or lowest < ny // (_STRIPS - 1):
        return [(0, storage.read_pixels(path, raw=raw))]
    starts = np.linspace(0, ny - _ROWS, _STRIPS).astype(int)
    return [
        (int(start), storage.read_pixels(path, raw=raw, rows=slice(int(start), int(start) + _ROWS))) for start in starts
    ]


def _part(strips, section):
    rows, columns = section
    parts = []
    for start, pixels in strips:
        low, high = max(rows.start, start), min(rows.stop, start + len(pixels))
        if high > low:
            parts.append(pixels[low - start : high - start, columns])
    return parts


def _data_sample(strips, geometry, raw, profile):
    levels, scatters, saturated, lowest, highest = [], [], [], np.inf, -np.inf
    for item in geometry.amplifiers:
        parts = _part(strips, item.data)
        pixels = np.concatenate([part.ravel() for part in parts])
        finite = pixels[np.isfinite(pixels)]
        if finite.size == 0:
            return (float("nan"),) * 4
        pairs = np.concatenate([(part[:, 1:] - part[:, :-1]).ravel() for part in parts])
        # The median of two amplifiers together would jump from the level of the one to that of the other.
        levels.append(median_of(finite))
        scatters.append(clipped_moments(pairs)[1] / np.sqrt(2))
        saturated.append(np.mean(pixels >= saturation_level(item.amplifier, raw.header, profile)))
        lowest, highest = min(lowest, finite.min()), max(highest, finite.max())
    level, scatter, part = (float(np.mean(values)) for values in (levels, scatters, saturated))
    return level, scatter, part, float(highest - lowest)


def _overscan_sample(strips, geometry):
    if not geometry.has_overscan:
        return float("nan")
    means = []
    for item in geometry.amplifiers:
        parts = _part(strips, item.overscan)
        if parts:
            means.append(clipped_moments(np.concatenate([part.ravel() for part in parts]), sigma=4)[0])
    return float(np.mean(means)) if means else float("nan")


def overscan_moves_with_rows(collection, names):
    """
    Whether the overscan of single rows moves together with the rows of the image.

    If it does, subtracting it row by row takes stripes away; if not, it adds them.

    Parameters
    ----------
    collection : FrameCollection
        The frames.
    names : list of str
        Biases, of which up to four are read.

    Returns
    -------
    correlation : float
        Of overscan and image rows, both freed from what is smooth or common to all biases; NaN where there is
        nothing to tell it from.
    overscan_scatter, image_scatter : float
        Scatter from row to row in adu.
    """
    found = []
    for rows in map_list(lambda name: _row_means(collection, name), list(names[:4])):
        if rows is not None and (not found or rows[0].shape == found[0][0].shape):
            found.append(rows)
    if len(found) < 2:
        return float("nan"), float("nan"), float("nan")
    # What every bias has alike is a pattern that the master bias takes away; only what is left can move.
    overscan, image = (np.array([item[i] for item in found]) for i in (0, 1))
    overscan, image = (_high_pass(rows - rows.mean(axis=0)) for rows in (overscan, image))
    if overscan.std() == 0 or image.std() == 0:
        return float("nan"), float(overscan.std()), float(image.std())
    correlation = float(np.corrcoef(overscan.ravel(), image.ravel())[0, 1])
    return correlation, float(overscan.std()), float(image.std())


def _row_means(collection, name):
    raw = collection.raw_header(name)
    if isinstance(raw, FrameError):
        return None
    try:
        facts = read_facts(raw.header, collection.profile)
        geometry = resolve_geometry(raw.header, raw.shape, collection.profile, detector=facts.detector)
    except FrameError:
        return None
    item = geometry.amplifiers[0]
    if item.overscan is None or item.overscan[0] != item.data[0]:
        return None
    middle = (item.data[1].start + item.data[1].stop) // 2
    half = min(256, (item.data[1].stop - item.data[1].start) // 4)
    inner = (item.data[0], slice(middle - half, middle + half))
    try:
        parts = _parts(collection.full_path(name), raw, item.overscan, inner)
    except FrameError:
        return None
    return tuple(_clean_means(part) for part in parts)


def _parts(path, raw, *sections):
    """Some sections of a frame; what cannot be read in parts is read once."""
    if storage.decodes(raw):
        return [storage.read_pixels(path, raw=raw, rows=rows, columns=columns) for rows, columns in sections]
    whole = storage.read_pixels(path, raw=raw)
    return [whole[section] for section in sections]


def _clean_means(pixels):
    center = medians_of_rows(pixels)[:, None]
    limit = 5 * clipped_moments(sample_pixels(pixels - center))[1]
    good = np.abs(pixels - center) <= limit
    return np.where(good, pixels, center).mean(axis=1)


def _high_pass(rows):
    from scipy.ndimage import uniform_filter1d

    return rows - uniform_filter1d(rows, min(51, rows.shape[1]), axis=1, mode="nearest")
