"""
The calibration kernel: rows of a raw frame in, rows of electrons, their sigma and flags out.

A row is worked on as long as it is in the innermost cache: every step does the same thing to all of its pixels, so
that the compiler can make SIMD of it, and nothing goes to memory and back in between. In a row it is float64, so that
the result is that of `ccdnight._steps` to the last digit of float32.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room

__all__ = ["Dark", "Masters", "Pixels", "Place", "Result", "calibrate_strip", "merge_flags"]

#: Values of a strip as they were read, shape ``(k, nx)``; the level that is taken off each row and each column,
#: float32; from which value on a pixel is saturated (NaN: none); whether values are made float32 before all else; the
#: coefficients of `ccdnight.linearity.linearized`, float64, empty where the response is not corrected.
Pixels = namedtuple("Pixels", ["values", "rows", "columns", "saturation", "narrow", "linearity"])
#: First column in the strip, first row and column in the result, and number of columns.
Place = namedtuple("Place", ["source", "row", "column", "width"])
#: Masters and their sigma, float32, shape of the result, empty where there is none.
Masters = namedtuple("Masters", ["bias", "bias_sigma", "dark", "dark_sigma", "flat", "flat_sigma"])
#: What the dark is multiplied by, whether it shares the master bias, and the ratio of the exposures.
Dark = namedtuple("Dark", ["factor", "shared", "ratio"])
#: float32, float32 and uint16, shape of the result; flags are added to those that are there.
Result = namedtuple("Result", ["data", "sigma", "flags"])

#: Bits of `ccdnight.flags.FLAGS`.
_SATURATED, _NO_DATA = np.uint16(2), np.uint16(8)


@kernel
def merge_flags(flags, mask, keep, rows, out):
    """
    Add a master's flags to those of some rows.

    This is equivalent to ``out[rows] |= flags_of(master)[rows] & keep``.

    Parameters
    ----------
    flags, mask : `~numpy.ndarray`
        uint16 and bool; either may be empty. A pixel that is masked without a flag has no data.
    keep : uint16
        Bits that count.
    rows : tuple of int
        First and last but one.
    out : `~numpy.ndarray`
        uint16, changed.
    """
    for y in range(rows[0], rows[1]):
        target = out[y]
        if flags.size and mask.size:
            bits, bad = flags[y], mask[y]
            for x in range(target.size):
                target[x] |= (_NO_DATA if bad[x] & (bits[x] == 0) else bits[x]) & keep
        elif flags.size:
            bits = flags[y]
            for x in range(target.size):
                target[x] |= bits[x] & keep
        elif mask.size:
            bad = mask[y]
            for x in range(target.size):
                target[x] |= (_NO_DATA if bad[x] else np.uint16(0)) & keep


@kernel_with_room
def calibrate_strip(pixels, place, gain, floor, level_variance, masters, dark, out):
    """
    Calibrate some rows of one amplifier.

    Parameters
    ----------
    pixels : Pixels
        The raw frame.
    place : Place
        Where it lies.
    gain : `~numpy.ndarray`
        float64, electron/adu, shape of the result, or one row for all.
    floor : `~numpy.ndarray`
        The same of the variance that every pixel has, in adu^2.
    level_variance : float
        Variance of the level that was taken off.
    masters : Masters
        What is applied.
    dark : Dark
        How the dark is.
    out : Result
        Written.
    """
    width = place.width
    value, variance, slope = np.empty(width), np.empty(width), np.empty(width)
    for i in range(pixels.values.shape[0]):
        y, left, right = place.row + i, place.column, place.column + width
        flags = out.flags[y, left:right]
        _take_off_level(pixels, i, place.source, value, flags)
        if masters.bias.size:
            bias = masters.bias[y, left:right]
            for x in range(width):
                value[x] -= np.float64(bias[x])
        own = gain[y if gain.shape[0] > 1 else 0, left:right]
        least = floor[y if floor.shape[0] > 1 else 0, left:right]
        if pixels.linearity.size:
            _correct_response(pixels.linearity, value, slope)
            for x in range(width):
                charge = (0.0 if value[x] < 0.0 else value[x]) / own[x]
                variance[x] = charge + least[x] * slope[x] + level_variance * slope[x]
        else:
            for x in range(width):
                variance[x] = (0.0 if value[x] < 0.0 else value[x]) / own[x] + least[x] + level_variance
        if masters.dark.size:
            current = masters.dark[y, left:right]
            for x in range(width):
                value[x] -= np.float64(current[x] * dark.factor)
        _add_master_variance(masters, dark, y, left, right, variance)
        if masters.flat.size:
            _divide(masters, y, left, right, value, variance, flags)
        data, sigma = out.data[y, left:right], out.sigma[y, left:right]
        for x in range(width):
            # Infinite less itself is not 0 either.
            finite = (value[x] - value[x] == 0.0) & (variance[x] - variance[x] == 0.0)
            flags[x] |= np.uint16(0) if finite else _NO_DATA
            data[x] = np.float32(value[x] * own[x])
            sigma[x] = np.float32(np.sqrt(variance[x]) * own[x])


@kernel
def _take_off_level(pixels, i, source, value, flags):
    """Values of a row, float32 as a frame in memory is, without the level; saturated ones are flagged."""
    raw, limit = pixels.values[i, source : source + value.size], pixels.saturation
    if not np.isnan(limit):
        for x in range(value.size):
            flags[x] |= _SATURATED if np.float64(raw[x]) >= limit else np.uint16(0)
    if pixels.narrow:
        level = pixels.rows[i]
        for x in range(value.size):
            value[x] = np.float64(np.float32(raw[x]) - level - pixels.columns[x])
    else:
        for x in range(value.size):
            value[x] = raw[x]


@kernel
def _correct_response(coefficients, value, slope):
    """Corrected signals in the place of the signals, and the square of the derivative."""
    for x in range(value.size):
        signal, factor, growth = value[x], 0.0, 0.0
        for power in range(coefficients.size, 0, -1):
            factor = (factor + coefficients[power - 1]) * signal
            growth = (growth + (power + 1) * coefficients[power - 1]) * signal
        value[x] = signal * (1.0 + factor)
        slope[x] = (1.0 + growth) * (1.0 + growth)


@kernel
def _square(sigma):
    """Variance of an entry of a master; what is not known adds none."""
    wide = np.float64(sigma)
    return 0.0 if np.isnan(wide) else wide * wide


@kernel
def _add_master_variance(masters, dark, y, left, right, variance):
    """Variance that bias and dark bring, the master bias that they share counted once."""
    if masters.dark_sigma.size and masters.bias_sigma.size and dark.shared:
        own, common, k = masters.dark_sigma[y, left:right], masters.bias_sigma[y, left:right], dark.ratio
        for x in range(variance.size):
            scaled, shared = _square(own[x] * dark.factor), _square(common[x])
            rest = scaled - k**2 * shared
            both = (1.0 - k) ** 2 * shared + (0.0 if rest < 0.0 else rest)
            variance[x] += both if scaled > 0.0 else shared
    elif masters.dark_sigma.size and masters.bias_sigma.size:
        own, common = masters.dark_sigma[y, left:right], masters.bias_sigma[y, left:right]
        for x in range(variance.size):
            variance[x] += _square(own[x] * dark.factor) + _square(common[x])
    elif masters.dark_sigma.size:
        own = masters.dark_sigma[y, left:right]
        for x in range(variance.size):
            variance[x] += _square(own[x] * dark.factor)
    elif masters.bias_sigma.size:
        common = masters.bias_sigma[y, left:right]
        for x in range(variance.size):
            variance[x] += _square(common[x])


@kernel
def _divide(masters, y, left, right, value, variance, flags):
    """Divide by the flat; where it is of no use it is 1 and the pixel has no data."""
    flat, none = masters.flat[y, left:right], np.float32(0)
    if masters.flat_sigma.size:
        sigma = masters.flat_sigma[y, left:right]
        for x in range(value.size):
            usable = (flat[x] > none) & (flat[x] - flat[x] == none)
            # One division in place of three: they are what takes the time of a pixel.
            inverse = 1.0 / (np.float64(flat[x]) if usable else 1.0)
            value[x] *= inverse
            variance[x] = (variance[x] + value[x] * value[x] * _square(sigma[x])) * (inverse * inverse)
            flags[x] |= np.uint16(0) if usable else _NO_DATA
    else:
        for x in range(value.size):
            usable = (flat[x] > none) & (flat[x] - flat[x] == none)
            inverse = 1.0 / (np.float64(flat[x]) if usable else 1.0)
            value[x] *= inverse
            variance[x] *= inverse * inverse
            flags[x] |= np.uint16(0) if usable else _NO_DATA
