"""Large images made small: block means in strips, so that no copy of the whole is made."""

import numpy as np

__all__ = ["block_any", "block_mean", "block_size"]

#: An image is drawn with at most about this many pixels along its longer axis; a screen has no more.
_DRAWN = 1200


def block_size(shape):
    """
    How many pixels of an axis become one that is drawn.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.

    Returns
    -------
    int
    """
    return max(1, -(-max(shape) // _DRAWN))


def block_mean(data, mask, size):
    """
    Mean of each block, not finite and masked pixels left out.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    mask : `~numpy.ndarray` or None
        True where a pixel is left out.
    size : int
        Pixels along each side of a block; those at the upper edges may be smaller.

    Returns
    -------
    `~numpy.ndarray`
        float32, shape ``(ceil(ny / size), ceil(nx / size))``; NaN where a block has no pixel.
    """
    ny, nx = data.shape
    starts = np.arange(0, nx, size)
    widths = np.diff(np.append(starts, nx))
    out = np.empty((-(-ny // size), len(starts)), np.float32)
    for row in range(len(out)):
        strip = data[row * size : (row + 1) * size]
        # float32 holds the sum of some hundred 16-bit numbers better than a screen can show.
        columns = strip.sum(axis=0, dtype=np.float64 if strip.dtype.itemsize > 4 else np.float32)
        part = None if mask is None else mask[row * size : (row + 1) * size]
        if np.isfinite(columns).all() and (part is None or not part.any()):
            out[row] = np.add.reduceat(columns, starts) / (widths * len(strip))
            continue
        good = np.isfinite(strip) if part is None else np.isfinite(strip) & ~part
        count = np.add.reduceat(good.sum(axis=0), starts)
        total = np.add.reduceat(np.where(good, strip, 0).sum(axis=0, dtype=np.float64), starts)
        out[row] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def block_any(flagged, size):
    """
    Whether any pixel of a block is set, so that a single one is still seen.

    Parameters
    ----------
    flagged : callable
        Gives the rows of a bool image for a slice.
    size : int
        Pixels along each side of a block.

    Returns
    -------
    `~numpy.ndarray`
        bool.
    """
    rows, row = [], 0
    while (strip := flagged(slice(row, row + size))).size:
        line = strip.any(axis=0)
        rows.append(np.logical_or.reduceat(line, np.arange(0, len(line), size)))
        row += size
    return np.array(rows)
