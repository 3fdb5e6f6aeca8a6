"""
The Laplacian signal-to-noise image, and who stands out in it: LA Cosmic without its later iterations.

Everything is done for a tile at once, from the data around it, in planes that stay in the cache (medians.py)::

    data (halo 6) -- median 7 by 7 --> local level --> noise (halo 3)
         |                                               |
         +-- Laplacian, twice as fine, positive part --> / 2 noise = S (halo 3) -- median 7 by 7 --> S' = S - median
         |                                                                                             |
         +-- median 5 by 5, then 9 by 9: fine structure, only in blocks where a pixel is above the threshold

The result is a byte of bits for each pixel, so that growing the candidates and the next iteration need no images.
Operations are float32 in the order that gives the numbers of astroscrappy's own `laplaceconvolve` and `rebin` to the
last bit; found by comparing those numbers.

References
----------
van Dokkum 2001, PASP 113, 1420, section 3.
"""

from collections import namedtuple

import numpy as np

from ccdnight._kernels._jit import kernel
from ccdnight._kernels.medians import (
    COLUMN,
    HALO,
    PLANE,
    ROW,
    WIDTH,
    keep_border,
    median5,
    median7,
    median9,
)

__all__ = ["ABOVE", "ABOVE_LOW", "BAD", "CANDIDATE", "SCRATCH", "Limits", "mark_tiles"]

#: Bits of a pixel: not to be flagged; above the lower threshold; above the threshold; with enough contrast.
BAD, ABOVE_LOW, ABOVE, CANDIDATE = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)

#: Planes of a tile: data, medians along rows, noise, S, S', and room for the fine structure.
DATA, ALONG, NOISE, SIGNAL, PRIME, FINE, COARSE = range(0, 7 * PLANE, PLANE)
#: Values of the room that a thread needs; a filter reads up to a row beyond the last plane.
SCRATCH = 7 * PLANE + 16 * WIDTH

#: Rows and columns of the blocks for which the fine structure is computed.
_BLOCK_ROWS, _BLOCK_COLUMNS = 8, 32
_RING = HALO // 2

#: Thresholds: of S', of the neighbors' S', of the contrast (float32); read noise squared, electron^2.
Limits = namedtuple("Limits", ["high", "low", "contrast", "read"])


@kernel
def _load(image, s, plane, y, x, h, w):
    """A tile with its halo; 0 beyond the frame, which is what the Laplacian takes there."""
    ny, nx = image.shape
    first, last = max(0, HALO - x), min(w + 2 * HALO, nx - x + HALO)
    for j in range(h + 2 * HALO):
        out, row = s[plane + j * WIDTH :], y - HALO + j
        if row < 0 or row >= ny:
            for p in range(w + 2 * HALO):
                out[p] = np.float32(0)
            continue
        source = image[row]
        for p in range(first):
            out[p] = np.float32(0)
        inside, start = source[x - HALO + first :], out[first:]
        for p in range(last - first):
            start[p] = inside[p]
        for p in range(last, w + 2 * HALO):
            out[p] = np.float32(0)


@kernel
def _sky(s, y, x, h, w, shape):
    """Local level: the median of what is in DATA, in NOISE."""
    for j in range(h + 2 * HALO):
        median7(s, DATA + j * WIDTH, ALONG + j * WIDTH + _RING, w + 2 * _RING, ROW)
    for j in range(_RING, h + 2 * HALO - _RING):
        median7(s, ALONG + (j - 3) * WIDTH + _RING, NOISE + j * WIDTH + _RING, w + 2 * _RING, COLUMN)
    corner = _RING * WIDTH + _RING
    keep_border(
        s, DATA + corner, NOISE + corner, 3, y - _RING, x - _RING, h + 2 * _RING, w + 2 * _RING, shape[0], shape[1]
    )


@kernel
def _noise(s, background, read, y, x, h, w):
    """The deviation that belongs to a level; `background` is empty or adds its photons."""
    ny, nx = background.shape
    least = np.float32(1e-5)
    for j in range(_RING, h + 2 * HALO - _RING):
        row = s[NOISE + j * WIDTH + _RING :]
        if ny and 0 <= y - HALO + j < ny:
            light = background[y - HALO + j]
            for p in range(max(0, _RING - x), min(w + 2 * _RING, nx - x + _RING)):
                row[p] += light[x - _RING + p]
        for p in range(w + 2 * _RING):
            variance = row[p] + read
            row[p] = np.sqrt(variance if variance > least else least)


@kernel
def _positive(value):
    return value if value > np.float32(0) else np.float32(0)


@kernel
def _signal(s, h, w):
    """Laplacian of the image with every pixel cut in four, positive part, joined again, in units of noise."""
    four, quarter, two = np.float32(4), np.float32(0.25), np.float32(2)
    for j in range(_RING, h + 2 * HALO - _RING):
        a = s[DATA + (j - 1) * WIDTH + _RING - 1 :]
        for p in range(w + 2 * _RING):
            c, left, right = a[p + WIDTH + 1], a[p + WIDTH], a[p + WIDTH + 2]
            up, down = a[p + 1], a[p + 2 * WIDTH + 1]
            # The four corners have one neighbor of their own color to either side.
            west, east = (four * c - c) - left, (four * c - right) - c
            north, south = up + c, c + down
            cross = _positive(west - north) + _positive(east - south)
            other = _positive(east - north) + _positive(west - south)
            noise = a[p + NOISE - DATA + WIDTH + 1]
            a[p + SIGNAL - DATA + WIDTH + 1] = (cross + other) * quarter / (two * noise)


@kernel
def _prime(s, state, limits, y, x, h, w):
    """S' and the bits that follow from it; how many pixels are above the threshold and not bad."""
    ny, nx = state.shape
    for j in range(_RING, h + 2 * HALO - _RING):
        median7(s, SIGNAL + j * WIDTH + _RING, ALONG + j * WIDTH + HALO, w, ROW)
    total = 0
    for j in range(h):
        median7(s, ALONG + (j + _RING) * WIDTH + HALO, PRIME + (j + HALO) * WIDTH + HALO, w, COLUMN)
    corner = HALO * WIDTH + HALO
    keep_border(s, SIGNAL + corner, PRIME + corner, 3, y, x, h, w, ny, nx)
    for j in range(h):
        row, bits = s[SIGNAL + (j + HALO) * WIDTH + HALO :], state[y + j, x : x + w]
        count = np.int32(0)
        for p in range(w):
            value = row[p] - row[p + PRIME - SIGNAL]
            row[p + PRIME - SIGNAL] = value
            bad = bits[p] & BAD
            bit = (ABOVE_LOW if value > limits.low else np.uint8(0)) | (ABOVE if value > limits.high else np.uint8(0))
            bits[p] = bit | bad
            count += np.int32(1) if (value > limits.high) & (bad == 0) else np.int32(0)
        total += count
    return total


@kernel
def _contrast(s, state, limits, y, x, j, i, h, w):
    """Compare S' with the fine structure in a block of a tile; (j, i) is its first pixel in the tile."""
    ny, nx = state.shape
    for k in range(j, j + h + 2 * HALO):
        median5(s, DATA + k * WIDTH + i, ALONG + k * WIDTH + i + 2, w + 8, ROW)
    for k in range(j + 2, j + h + 10):
        median5(s, ALONG + (k - 2) * WIDTH + i + 2, FINE + k * WIDTH + i + 2, w + 8, COLUMN)
    corner = (j + 2) * WIDTH + i + 2
    keep_border(s, DATA + corner, FINE + corner, 2, y + j - 4, x + i - 4, h + 8, w + 8, ny, nx)
    for k in range(j + 2, j + h + 10):
        median9(s, FINE + k * WIDTH + i + 2, ALONG + k * WIDTH + i + HALO, w, ROW)
    for k in range(j + HALO, j + h + HALO):
        median9(s, ALONG + (k - 4) * WIDTH + i + HALO, COARSE + k * WIDTH + i + HALO, w, COLUMN)
    corner = (j + HALO) * WIDTH + i + HALO
    keep_border(s, FINE + corner, COARSE + corner, 4, y + j, x + i, h, w, ny, nx)
    least, count = np.float32(0.01), 0
    for k in range(h):
        row, bits = s[corner + k * WIDTH :], state[y + j + k, x + i : x + i + w]
        for p in range(w):
            if bits[p] & (ABOVE | BAD) == ABOVE:
                fine = (row[p + FINE] - row[p + COARSE]) / row[p + NOISE]
                fine = fine if fine > least else least
                if row[p + PRIME] / fine > limits.contrast:
                    bits[p] |= CANDIDATE
                    count += 1
    return count


@kernel
def _any_above(state, y, x, h, w):
    found = np.uint8(0)
    for j in range(h):
        bits = state[y + j, x : x + w]
        for p in range(w):
            found |= np.uint8(1) if bits[p] & (ABOVE | BAD) == ABOVE else np.uint8(0)
    return found > 0


@kernel
def mark_tiles(image, variance, background, state, limits, tiles, counts, s):
    """
    Set the bits of all pixels of some tiles.

    Parameters
    ----------
    image : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, electron, background subtracted.
    variance : `~numpy.ndarray`
        float32, electron^2, without the background's; of no pixels where it follows from the image.
    background : `~numpy.ndarray`
        float32, electron; of no pixels where there is none.
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``; of the old bits BAD is kept.
    limits : Limits
        Thresholds.
    tiles : `~numpy.ndarray`
        int64, shape ``(n, 4)``: first row and column, rows, columns.
    counts : `~numpy.ndarray`
        int64, shape ``(n,)``; the candidates of each tile, written.
    s : `~numpy.ndarray`
        float32, room of SCRATCH values.
    """
    for t in range(tiles.shape[0]):
        y, x, h, w = tiles[t, 0], tiles[t, 1], tiles[t, 2], tiles[t, 3]
        if variance.shape[0]:
            _load(variance, s, DATA, y, x, h, w)
            _sky(s, y, x, h, w, image.shape)
            _load(image, s, DATA, y, x, h, w)
        else:
            _load(image, s, DATA, y, x, h, w)
            _sky(s, y, x, h, w, image.shape)
        _noise(s, background, limits.read, y, x, h, w)
        _signal(s, h, w)
        counts[t] = 0
        if _prime(s, state, limits, y, x, h, w) == 0:
            continue
        for j in range(0, h, _BLOCK_ROWS):
            for i in range(0, w, _BLOCK_COLUMNS):
                rows, columns = min(_BLOCK_ROWS, h - j), min(_BLOCK_COLUMNS, w - i)
                if _any_above(state, y + j, x + i, rows, columns):
                    counts[t] += _contrast(s, state, limits, y, x, j, i, rows, columns)
