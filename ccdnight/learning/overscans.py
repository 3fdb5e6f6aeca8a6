"""How many overscan columns carry trailing charge, and whether what is left is of use."""

from dataclasses import dataclass

import numpy as np

from ccdnight.statistics import clipped_moments

__all__ = ["Usable", "check_overscan"]

#: Columns an overscan has at least.
_FEWEST = 4
#: Trailing charge that does no harm: this part of the light, or so many adu, or so many standard errors.
_PART, _ADU, _ERRORS = 7e-5, 0.3, 4.0
#: Part of the light that an overscan must gather to be held against the light of its rows.
_LEAK = 2e-3
#: A step in the bias itself that does no harm, in adu and in deviations of the overscan columns.
_BIAS_ADU, _BIAS_DEVIATIONS = 1.0, 6.0


@dataclass(frozen=True)
class Usable:
    """
    What is usable of an overscan.

    Attributes
    ----------
    skip : int or None
        Columns next to the data that are not used; None if no column can be.
    evidence : str
        What was seen.
    cut : int
        Columns at the far end that are not used either.
    """

    skip: int | None
    evidence: str
    cut: int = 0


def check_overscan(dark, lit, beside):
    """
    Look at an overscan from the data side on.

    Parameters
    ----------
    dark : `~numpy.ndarray` or None
        Dark frame in the overscan: shape ``(rows, columns)``, the column nearest to the data first.
    lit : `~numpy.ndarray`
        Light of flats above it.
    beside : `~numpy.ndarray`
        Light of each row in the data next to it, in adu.

    Returns
    -------
    Usable
    """
    signal = float(np.median(beside))
    excess, error = _columns(lit)
    harmless = max(_ERRORS * error, _PART * abs(signal), _ADU)
    cut = _far_end(excess, harmless)
    excess, width = excess[: excess.size - cut], excess.size - cut
    dark = None if dark is None else dark[:, :width]
    if width < _FEWEST:
        return Usable(None, f"{width} columns are too few")
    skip = _decay(excess, harmless)
    if skip is None:
        inner, outer = excess[0] - excess[-1], excess[len(excess) // 2] - excess[-1]
        told = f"light reaches all {width} columns: {inner:.1f} adu from first to last, {outer:.1f} adu in the middle"
        return Usable(None, f"{told}, at {signal:.0f} adu in the data")
    leak = _leak(lit[:, skip:width], beside)
    if leak:
        return Usable(None, f"all its columns gather {100 * leak:.2f} % of the light beside them, row by row")
    settle = _settling(_columns(dark)[0], _columns(dark)[1], skip) if dark is not None else skip
    if width - settle < _FEWEST:
        return Usable(None, f"the bias level has not settled within its {width} columns")
    far = f"; {cut} columns at the far end are off by up to {harmless:.1f} adu and more" if cut else ""
    return Usable(settle, _words(excess, skip, settle, signal, harmless) + far, cut)


def _columns(pixels):
    """Level of each column, freed from what its rows share, and the typical error of one."""
    rows = pixels - np.median(pixels, axis=1, keepdims=True)
    level = np.array([clipped_moments(column, sigma=4)[0] for column in rows.T])
    scatter = np.median([clipped_moments(column, sigma=4)[1] for column in rows.T])
    return level, float(scatter) / np.sqrt(pixels.shape[0])


def _decay(excess, harmless):
    """First column from which on all that follow agree; None where the level goes on falling to the end."""
    width = excess.size
    for skip in range(width - _FEWEST + 1):
        rest = excess[skip:]
        tail = np.median(rest[rest.size // 2 :])
        near = np.abs(rest[: max(3, rest.size // 3)] - tail) <= harmless
        if near.all() and abs(np.median(rest[: max(2, rest.size // 2)]) - tail) <= harmless:
            return skip
    return None


def _leak(lit, beside):
    """Part of the light beside it that an overscan gathers in all its columns; 0 where it follows nothing."""
    rows = np.median(lit, axis=1)
    part = np.median(rows) / np.median(beside)
    keep = beside > 0.3 * np.median(beside)
    if part < _LEAK or keep.sum() < 16:
        return 0.0
    blocks = np.array_split(np.flatnonzero(keep), min(64, keep.sum() // 4))
    x, y = (np.array([np.mean(values[block]) for block in blocks]) for values in (beside, rows))
    (slope, _), spread = np.polyfit(x, y, 1, cov=True)
    follows = slope > _ERRORS * np.sqrt(spread[0, 0]) and 0.4 < slope / part < 2.5
    # A bias that drifts from frame to frame lifts all rows alike.
    return float(part) if follows else 0.0


def _far_end(excess, harmless):
    """Columns at the far end that stand out, where the columns before them agree."""
    width = excess.size
    inner = excess[width // 2 : -max(2, width // 6)]
    if inner.size < 3 or np.ptp(inner) > 2 * harmless:
        return 0
    off = np.abs(excess[width // 2 :] - np.median(inner)) > 2 * harmless
    return int(np.argmin(off[::-1])) if off[-1] and not off.all() else 0


def _settling(level, error, skip):
    """Columns that the bias itself needs to settle."""
    rest = level[level.size // 2 :]
    spread = 1.4826 * np.median(np.abs(rest - np.median(rest)))
    limit = max(_BIAS_ADU, _BIAS_DEVIATIONS * spread, _ERRORS * error)
    while skip < level.size and abs(level[skip] - np.median(rest)) > limit:
        skip += 1
    return skip


def _words(excess, skip, settle, signal, harmless):
    tail = np.median(excess[settle:])
    if settle == 0:
        return f"no trailing charge above {harmless:.2f} adu at {signal:.0f} adu in the data"
    values = ", ".join(f"{value - tail:.1f}" for value in excess[: min(settle, 8)])
    told = f"after {signal:.0f} adu in the data the first columns carry {values} adu"
    return told + (f", and the bias settles within {settle} columns" if settle > skip else "")
