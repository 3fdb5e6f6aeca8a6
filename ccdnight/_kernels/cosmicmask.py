"""
What LA Cosmic leaves out, and the image it starts from: electron, bad pixels, saturated stars.

References
----------
The docstrings of `astroscrappy.detect_cosmics`, `astroscrappy.utils.dilate3` and `dilate5`.
"""

import numpy as np

from ccdnight._kernels._jit import kernel, kernel_with_room
from ccdnight._kernels.lacosmic import BAD

__all__ = ["LISTED", "mark_bad", "mark_saturated", "middle_value", "prepare"]

#: Bit of a pixel that is in the list being made.
LISTED = np.uint8(16)


@kernel
def prepare(data, gain, background, image, saturation):
    """
    Turn some rows into electron above the background.

    Parameters
    ----------
    data, background : `~numpy.ndarray`
        float32, data units; the background of no pixels where there is none.
    gain : float
        Electron per data unit, float32 (squared for a variance).
    image : `~numpy.ndarray`
        float32, electron; written.
    saturation : float
        Electron, float32.

    Returns
    -------
    int
        Pixels at or above saturation.
    """
    total = 0
    for y in range(data.shape[0]):
        source, out, count = data[y], image[y], np.int32(0)
        for x in range(source.shape[0]):
            value = source[x] * gain
            count += np.int32(1) if value >= saturation else np.int32(0)
            out[x] = value
        if background.shape[0]:
            light = background[y]
            for x in range(source.shape[0]):
                out[x] -= light[x]
        total += count
    return total


@kernel
def mark_bad(mask, state, first, last):
    """
    Set BAD where the mask is set and around it; pixels on the frame's edge are not reached by their neighbors.

    Parameters
    ----------
    mask : `~numpy.ndarray`
        bool, shape ``(ny, nx)``.
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``.
    first, last : int
        Rows; the last is not in it.
    """
    ny, nx = mask.shape
    for y in range(first, last):
        bits, own = state[y], mask[y]
        for x in range(nx):
            bits[x] |= np.uint8(own[x])
        if 0 < y < ny - 1:
            up, down, inner = mask[y - 1], mask[y + 1], bits[1:]
            for x in range(nx - 2):
                above, below = up[x] | up[x + 1] | up[x + 2], down[x] | down[x + 1] | down[x + 2]
                inner[x] |= np.uint8(above | below | own[x] | own[x + 2])


@kernel
def middle_value(values, n):
    """
    The value in the middle, of two the lower one.

    Parameters
    ----------
    values : `~numpy.ndarray`
        The first of them are put in order.
    n : int
        How many count.

    Returns
    -------
    float
        Of the type of the values.
    """
    for i in range(1, n):
        value, k = values[i], i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    return values[(n - 1) // 2]


@kernel
def _surroundings(data, gain, y, x, along, window):
    """Separable median of 7 pixels; near the frame's edge the pixel itself."""
    ny, nx = data.shape
    if not (3 <= y < ny - 3 and 3 <= x < nx - 3):
        return data[y, x] * gain
    for j in range(7):
        for i in range(7):
            window[i] = data[y + j - 3, x + i - 3] * gain
        along[j] = middle_value(window, 7)
    return middle_value(along, 7)


@kernel
def _spread(state, pixels, n, room):
    """List the squares of 5 pixels without corners around some pixels."""
    ny, nx = state.shape
    m = 0
    for k in range(n):
        y, x = pixels[k] // nx, pixels[k] % nx
        for j in range(y - 2, y + 3):
            reach = 1 if abs(j - y) == 2 else 2
            for i in range(x - reach, x + reach + 1):
                # Within two pixels of the frame's edge nothing arrives, as in astroscrappy.utils.dilate5.
                inside = 2 <= j < ny - 2 and 2 <= i < nx - 2
                if (inside or (j == y and i == x)) and state[j, i] & LISTED == 0:
                    state[j, i] |= LISTED
                    room[m] = j * nx + i
                    m += 1
    return m


@kernel_with_room
def mark_saturated(data, gain, state, saturation, pixels, room):
    """
    Set BAD around saturated stars: pixels at saturation whose surroundings are above a tenth of it.

    They are grown twice by a square of 5 pixels without its corners.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``, data units.
    gain, saturation : float
        Electron per data unit, and electron, float32.
    state : `~numpy.ndarray`
        uint8, shape ``(ny, nx)``.
    pixels, room : `~numpy.ndarray`
        int64, room for all pixels at saturation, and for 21 times as many or the whole frame.
    """
    ny, nx = data.shape
    along, window = np.empty(7, np.float32), np.empty(7, np.float32)
    n = 0
    for y in range(ny):
        for x in range(nx):
            if data[y, x] * gain >= saturation:
                level = _surroundings(data, gain, y, x, along, window)
                if level > saturation / np.float32(10):
                    pixels[n] = y * nx + x
                    n += 1
    m = _spread(state, pixels, n, room)
    for k in range(m):
        y, x = room[k] // nx, room[k] % nx
        state[y, x] = (state[y, x] & ~LISTED) | BAD
        for j in range(max(2, y - 2), min(ny - 2, y + 3)):
            reach = 1 if abs(j - y) == 2 else 2
            for i in range(max(2, x - reach), min(nx - 2, x + reach + 1)):
                state[j, i] |= BAD
