"""Rejection by the noise of the detector, and of the lowest and highest values."""

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.blocks import CENTER, COUNT, HIGH, LEFT, LOW, SOURCE
from ccdnight._kernels.order import FIRST, MAXIMUM, MINIMUM, SECOND, WIDTH, middle_values, values_of_rank

__all__ = ["by_extremes", "by_noise"]


@kernel
def by_noise(b, w, rule, table, noise, start, scales, zeros):
    """
    IRAF's ccdclip: about the median, in units of the noise that the detector has at this signal.

    Parameters
    ----------
    b : Block
        The block.
    w : int
        Pixels that are used.
    rule, table, noise, start, scales, zeros
        As in `ccdnight._kernels.clip.reject`.
    """
    own, wide, whole = b.own, b.wide, b.whole
    kind = b.x.dtype.type
    half, smallest = kind(0.5), kind(np.inf)
    for f in range(b.x.shape[0]):
        smallest = min(smallest, kind(scales[f]))
    rounds, lost = 0, True
    while lost and rounds != rule.maxiters:
        for f in range(b.x.shape[0]):
            row, target, zero = b.x[f], b.y[f], kind(zeros[f])
            for p in range(w):
                target[p] = row[p] - zero
        for p in range(w):
            whole[LEFT + p] = whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p]
        middle_values(b.y, w, LEFT, table, b.rows, b.own, b.whole)
        for p in range(w):
            own[FIRST + p] = half * own[FIRST + p] + half * own[SECOND + p]
            wide[CENTER + p] = own[FIRST + p]
        lost = False
        if _may_be_noisy(b, w, rule, noise, start, smallest):
            for f in range(b.x.shape[0]):
                _mark_noisy(b, f, w, rule, noise, start, kind(scales[f]))
            lost = _are_fewer(whole, w)
        rounds += 1


@kernel
def _are_fewer(whole, w):
    """Whether a pixel has fewer values left than the row LEFT says."""
    found = np.int32(0)
    for p in range(w):
        left = whole[COUNT + p] - whole[LOW + p] - whole[HIGH + p]
        found |= np.int32(1) if left != whole[LEFT + p] else np.int32(0)
    return found > 0


@kernel
def _may_be_noisy(b, w, rule, noise, start, smallest):
    """Whether the lowest or highest value of a pixel is beyond the noise of the frame that has least of it."""
    own, kind = b.own, b.x.dtype.type
    none, low_limit, high_limit = kind(0), kind(rule.low**2), kind(rule.high**2)
    sensitivity, pedestal = kind(noise.sensitivity), kind(noise.pedestal)
    read, photon = noise.read_variance[start : start + w], noise.inverse_gain[start : start + w]
    found = np.int32(0)
    for p in range(w):
        signal = own[FIRST + p] - pedestal
        signal = signal if signal > none else none
        variance = smallest * smallest * kind(read[p]) + smallest * signal * kind(photon[p])
        variance += (sensitivity * signal) * (sensitivity * signal)
        low, high = own[MINIMUM + p] - own[FIRST + p], own[MAXIMUM + p] - own[FIRST + p]
        beyond = (low * low > low_limit * variance) | (high * high > high_limit * variance)
        found |= np.int32(1) if beyond else np.int32(0)
    return found > 0 or smallest < none


@kernel
def _mark_noisy(b, f, w, rule, noise, start, scale):
    own, whole = b.own, b.whole
    kind = b.x.dtype.type
    inf, none, low_limit, high_limit = kind(np.inf), kind(0), kind(rule.low**2), kind(rule.high**2)
    sensitivity, pedestal = kind(noise.sensitivity), kind(noise.pedestal)
    row, shifted = b.x[f], b.y[f]
    read, photon = noise.read_variance[start : start + w], noise.inverse_gain[start : start + w]
    for p in range(w):
        signal = own[FIRST + p] - pedestal
        signal = signal if signal > none else none
        variance = scale * scale * kind(read[p]) + scale * signal * kind(photon[p])
        variance += (sensitivity * signal) * (sensitivity * signal)
        d = shifted[p] - own[FIRST + p]
        usable, square = row[p] < inf, d * d
        below = usable & (d < none) & (square > low_limit * variance)
        above = usable & (d > none) & (square > high_limit * variance)
        whole[LOW + p] += np.int32(1) if below else np.int32(0)
        whole[HIGH + p] += np.int32(1) if above else np.int32(0)
        row[p] = inf if below | above else row[p]


@kernel
def by_extremes(b, w, rule, table):
    """
    So many of the lowest and highest values, where more are left; of equal ones the first frames'.

    Parameters
    ----------
    b : Block
        The block.
    w : int
        Pixels that are used.
    rule, table
        As in `ccdnight._kernels.clip.reject`.
    """
    own, wide, whole = b.own, b.wide, b.whole
    inf = b.x.dtype.type(np.inf)
    for p in range(w):
        whole[LEFT + p] = rule.nlow if whole[COUNT + p] > rule.nlow + rule.nhigh else 0
        whole[SOURCE + p] = whole[COUNT + p] - 1 - rule.nhigh if whole[COUNT + p] > rule.nlow + rule.nhigh else 0
    values_of_rank(b.x, w, b.whole[LEFT : LEFT + WIDTH], table, b.rows, b.own, b.whole, FIRST)
    values_of_rank(b.x, w, b.whole[SOURCE : SOURCE + WIDTH], table, b.rows, b.own, b.whole, SECOND)
    for p in range(w):
        enough = whole[COUNT + p] > rule.nlow + rule.nhigh
        wide[CENTER + p] = 0.5 * (np.float64(own[FIRST + p]) + np.float64(own[SECOND + p]))
        own[FIRST + p], own[SECOND + p] = own[FIRST + p] if enough else -inf, own[SECOND + p] if enough else inf
        whole[LEFT + p], whole[SOURCE + p] = rule.nlow if enough else 0, rule.nhigh if enough else 0
    for f in range(b.x.shape[0]):
        row = b.x[f]
        for p in range(w):
            whole[LEFT + p] -= np.int32(1) if row[p] < own[FIRST + p] else np.int32(0)
            whole[SOURCE + p] -= np.int32(1) if (row[p] > own[SECOND + p]) & (row[p] < inf) else np.int32(0)
    for f in range(b.x.shape[0]):
        row = b.x[f]
        for p in range(w):
            value = row[p]
            tie_low = (value == own[FIRST + p]) & (whole[LEFT + p] > 0)
            tie_high = (value == own[SECOND + p]) & (whole[SOURCE + p] > 0) & (value < inf) & (not tie_low)
            whole[LEFT + p] -= np.int32(1) if tie_low else np.int32(0)
            whole[SOURCE + p] -= np.int32(1) if tie_high else np.int32(0)
            below, above = (value < own[FIRST + p]) | tie_low, ((value > own[SECOND + p]) & (value < inf)) | tie_high
            whole[LOW + p] += np.int32(1) if below else np.int32(0)
            whole[HIGH + p] += np.int32(1) if above else np.int32(0)
            row[p] = inf if below | above else value
