"""A whole frame looked at once, tile by tile: mean of the good pixels, and the brightest of them."""

import numpy as np

from ccdnight._kernels._jit import kernel_with_room

__all__ = ["look_over"]


@kernel_with_room
def look_over(data, flags, step, first, mean, peak):
    """
    Mean and maximum of every tile of an image.

    This is equivalent to ``np.nanmean`` and ``np.nanmax`` of ``np.where(flags == 0, data, nan)`` in every tile. Columns
    are summed first: what is done to each of them by itself is done to many at once.

    Parameters
    ----------
    data : `~numpy.ndarray`
        float32 or float64, shape ``(ny, nx)``; values that are not finite are left out.
    flags : `~numpy.ndarray`
        uint16, same shape; flagged pixels are left out. Of shape ``(0, 0)`` where nothing is flagged.
    step : int
        Rows and columns of a tile; the last ones may have fewer.
    first : int
        Row of tiles where the image begins, in the arrays that are written.
    mean : `~numpy.ndarray`
        float32; written, NaN without a good pixel.
    peak : `~numpy.ndarray`
        float32, of the same shape; written, -inf without a good pixel.
    """
    ny, nx = data.shape
    across, flagged = mean.shape[1], flags.size > 0
    total, count, most = np.empty(nx, np.float32), np.empty(nx, np.int32), np.empty(nx, np.float32)
    low, nothing = np.float32(-np.inf), np.float32(0)
    for ty in range((ny + step - 1) // step):
        total[:], count[:], most[:] = nothing, 0, low
        for y in range(ty * step, min(ny, (ty + 1) * step)):
            if flagged:
                for x in range(nx):
                    value = np.float32(data[y, x])
                    good = (flags[y, x] == 0) & (value - value == nothing)
                    total[x] += value if good else nothing
                    count[x] += 1 if good else 0
                    most[x] = value if good and value > most[x] else most[x]
            else:
                for x in range(nx):
                    value = np.float32(data[y, x])
                    good = value - value == nothing
                    total[x] += value if good else nothing
                    count[x] += 1 if good else 0
                    most[x] = value if good and value > most[x] else most[x]
        for tx in range(across):
            summed, number, best = 0.0, 0, low
            for x in range(tx * step, min(nx, (tx + 1) * step)):
                summed += total[x]
                number += count[x]
                best = max(best, most[x])
            mean[first + ty, tx] = summed / number if number > 0 else np.nan
            peak[first + ty, tx] = best
