"""Bad columns and parts of columns, joined over gaps."""

import numpy as np

from ccdnight._kernels.segments import mark_gaps, mark_segments
from ccdnight.execution import map_strips

__all__ = ["close_gaps", "column_segments"]

#: Deviations beyond which a single pixel does not count for more.
_CLIP = 3.0
#: Mean deviation that a segment must exceed, and the sum of what is beyond it.
_DRIFT, _SCORE = 0.5, 25.0
#: Columns that a thread looks at.
_SIDE_BY_SIDE = 256


def column_segments(deviation, *, workers=None):
    """
    Segments of columns that deviate as a whole, although their single pixels may not.

    Along each column ``s = max(0, s + min(|z|, 3) sign(z) - 1/2)`` is summed up, for either sign; a segment is bad
    where the sum has grown by 25. It goes from where the sum last was 0 to where it was largest. In Gaussian noise it
    does so by chance once in exp(25) pixels.

    Parameters
    ----------
    deviation : `~numpy.ndarray`
        Deviation from the neighboring columns in units of the noise of a pixel, float32, shape ``(ny, nx)``.
    workers : int, optional
        Threads.

    Returns
    -------
    `~numpy.ndarray`
        bool, shape ``(ny, nx)``.

    References
    ----------
    Page 1954, Biometrika 41, 100 (the cumulative sum test).
    """
    limits, out = [np.float32(value) for value in (_CLIP, _DRIFT, _SCORE)], np.zeros(deviation.shape, bool)

    def do(columns):
        for sign in (1, -1):
            mark_segments(deviation, (columns.start, columns.stop), np.float32(sign), *limits, out)

    nx = deviation.shape[1]
    map_strips(do, [slice(x, min(x + _SIDE_BY_SIDE, nx)) for x in range(0, nx, _SIDE_BY_SIDE)], workers=workers)
    return out


def close_gaps(bad, most):
    """
    Short gaps between bad pixels of a column.

    Parameters
    ----------
    bad : `~numpy.ndarray`
        bool, shape ``(ny, nx)``.
    most : int
        Pixels that a gap may have.

    Returns
    -------
    `~numpy.ndarray`
        bool, the pixels of the gaps.
    """
    out = np.zeros(bad.shape, bool)
    mark_gaps(bad, most, out)
    return out
