"""How wide stars are, in a frame in which cosmic rays have not been flagged yet."""

import numpy as np

from ccdnight.products import flags_of
from ccdnight.statistics import clipped_moments, half_sample_mode, sample_pixels

__all__ = ["star_width"]

#: Side of the blocks of which each gives one candidate, and how many of the brightest ones are looked at.
_BLOCK, _MOST = 16, 1500
#: A peak and the pixels beside it stand out by so many sigma.
_PEAK, _BESIDE = 20.0, 3.0
#: Stars are round: their widths in x and in y differ by less than this factor.
_ROUND = 1.35
#: Pixels that tell the level of the sky well enough.
_SAMPLE = 20_000
#: Fewer stars than this tell nothing, and so does a width that is shared to a factor by less than this part of the
#: candidates: by nine tenths of narrow stars, and by half of cosmic rays alone.
_FEWEST, _SHARE, _ALIKE = 8, 0.65, 1.08
_FWHM = 2 * np.sqrt(2 * np.log(2))


def star_width(ccd):
    """
    Full width at half maximum of the stars of a frame.

    The logarithm of a Gaussian is a parabola, whose curvature follows from the brightest pixel and the two beside it,
    wherever in the pixel the star is: ``1 / sigma**2 = 2 ln p0 - ln p- - ln p+``. Cosmic rays have all kinds of widths
    and hot pixels none, while stars have one: the half-sample mode finds it.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A calibrated frame with its sky, shape ``(ny, nx)``. Flagged pixels are left out.

    Returns
    -------
    float or None
        Pixels, that of the pixels included, to a few percent. None where there are fewer than 8 stars, or what is there
        has no width in common: cosmic rays, or stars of a seeing above 4 pixels or so, which nobody takes for them.
    """
    data, flags = np.asarray(ccd.data), flags_of(ccd)
    sample = sample_pixels(data, _SAMPLE)[sample_pixels(flags, _SAMPLE) == 0]
    sky, scatter, _ = clipped_moments(sample[np.isfinite(sample)])
    if min(data.shape) < 3 * _BLOCK or not scatter > 0:
        return None
    y, x = _peaks(data)
    near = np.arange(-1, 2)
    rows, columns = y[:, None, None] + near[:, None], x[:, None, None] + near
    stamps = data[rows, columns].astype(np.float64) - sky
    good = ((flags[rows, columns] == 0) & np.isfinite(stamps)).all(axis=(1, 2))
    good &= (stamps[:, 1, 1] > _PEAK * scatter) & (stamps[:, 1, 1] >= stamps.max(axis=(1, 2)))
    good &= (stamps[:, [0, 1, 1, 2], [1, 0, 2, 1]] > _BESIDE * scatter).all(axis=1)
    stamps = np.log(stamps[good][:, [1, 0, 2, 1, 1], [1, 1, 1, 0, 2]])
    in_y = 2 * stamps[:, 0] - stamps[:, 1] - stamps[:, 2]
    in_x = 2 * stamps[:, 0] - stamps[:, 3] - stamps[:, 4]
    stars = (in_y > 0) & (in_x > 0) & (in_y < _ROUND**2 * in_x) & (in_x < _ROUND**2 * in_y)
    if np.count_nonzero(stars) < _FEWEST:
        return None
    widths = -0.25 * np.log(in_y[stars] * in_x[stars])
    middle = half_sample_mode(widths)
    alike = np.count_nonzero(np.abs(widths - middle) < np.log(_ALIKE))
    return float(_FWHM * np.exp(middle)) if alike >= max(_FEWEST, _SHARE * widths.size) else None


def _peaks(data):
    """Brightest pixel of each block, the brightest blocks first; the edges of the frame are left out."""
    down, across = ((length - 2) // _BLOCK for length in data.shape)
    inner = data[1 : 1 + down * _BLOCK, 1 : 1 + across * _BLOCK]
    blocks = inner.reshape(down, _BLOCK, across, _BLOCK).max(axis=(1, 3))
    row, column = np.divmod(np.argsort(-blocks, axis=None, kind="stable")[:_MOST], across)
    offsets = np.arange(_BLOCK)
    parts = inner[row[:, None, None] * _BLOCK + offsets[:, None], column[:, None, None] * _BLOCK + offsets]
    y, x = np.divmod(parts.reshape(len(parts), -1).argmax(axis=1), _BLOCK)
    return row * _BLOCK + y + 1, column * _BLOCK + x + 1
