"""Bad columns and parts of columns, joined over gaps."""

import numpy as np

from ccdnight._kernels.segments import mark_gaps, mark_segments

__all__ = ["close_gaps", "column_segments"]

#: Deviations beyond which a single pixel does not count for more.
_CLIP = 3.0
#: Mean deviation that a segment must exceed, and the sum of what is beyond it.
_DRIFT, _SCORE = 0.5, 25.0


def column_segments(deviation):
    """
    Segments of columns that deviate as a whole, although their single pixels may not.

    Along each column ``s = max(0, s + min(|z|, 3) sign(z) - 1/2)`` is summed up, for either sign; a segment is bad
    where the sum has grown by 25. It goes from where the sum last was 0 to where it was largest. In Gaussian noise it
    does so by chance once in exp(25) pixels.

    Parameters
    ----------
    deviation : `~numpy.ndarray`
        Deviation from the neighboring columns in units of the noise of a pixel, float32, shape ``(ny, nx)``.

    Returns
    -------
    `~numpy.ndarray`
        bool, shape ``(ny, nx)``.

    References
    ----------
    Page 1954, Biometrika 41, 100 (the cumulative sum test).
    """
    clipped = np.clip(deviation, -_CLIP, _CLIP).astype(np.float32)
    out = np.zeros(clipped.shape, bool)
    for values in (clipped, -clipped):
        mark_segments(values, np.float32(_DRIFT), np.float32(_SCORE), out)
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
