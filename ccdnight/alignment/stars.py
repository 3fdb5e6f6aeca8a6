"""Stars of a frame: found on a smoothed image, measured in windows of their own width."""

from dataclasses import dataclass

import numpy as np

from ccdnight._quiet import quiet_libraries
from ccdnight.alignment.mesh import cell_medians, spread_cells
from ccdnight.exceptions import InputError
from ccdnight.flags import flag_value
from ccdnight.products import flags_of
from ccdnight.statistics import sample_pixels

__all__ = ["Stars", "detect_stars"]

#: Sigma of a Gaussian to its full width at half maximum.
_FWHM = 2.354820045
#: Peaks that are measured at most, and rounds of the windows.
_MOST, _ROUNDS = 4000, 12
#: Full width from which on a pixel that stands alone cannot be a star.
_DESPIKED = 2.5
#: Full width that is looked for at most.
_WIDEST = 12.0
#: Light of the four neighbors over that of the peak below which it is a hot pixel or a cosmic ray: a star of a full
#: width of 1.2 pixels has 0.13 and more, wherever in its pixel it stands.
_SHARPEST = 0.1
#: Width over the median of the frame at which something is no star.
_WIDTHS = (0.65, 1.8)


@dataclass(frozen=True)
class Stars:
    """
    Stars of one frame, the brightest first.

    Attributes
    ----------
    x, y : `~numpy.ndarray`
        Positions in pixels; the center of the first pixel is (0, 0).
    flux : `~numpy.ndarray`
        Light in a Gaussian window, in the unit of the frame; good for comparing stars of one frame.
    snr : `~numpy.ndarray`
        Signal to noise of `flux`.
    fwhm : float
        Median full width at half maximum in pixels, of the Gaussian that fits; NaN without stars.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.alignment import detect_stars
    >>> from ccdnight.products import make_ccd
    >>> y, x = np.mgrid[:128, :128]
    >>> image = np.random.default_rng(1).normal(200, 10, (128, 128))
    >>> for column, light in ((30, 3000), (60, 9000)):
    ...     image += light * np.exp(-((x - column) ** 2 + (y - 50) ** 2) / 8)
    >>> stars = detect_stars(make_ccd(image, unit="electron"))
    >>> len(stars.x), round(float(stars.x[0]))  # the brightest first
    (2, 60)
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    snr: np.ndarray
    fwhm: float

    def __len__(self):
        return len(self.x)

    @property
    def error(self):
        """Error of a position in pixels, from the width and the signal to noise."""
        return 1.5 * self.fwhm / _FWHM / np.maximum(self.snr, 1e-3)

    @property
    def positions(self):
        """Positions, shape ``(n, 2)``."""
        return np.column_stack([self.x, self.y])

    def brightest(self, number):
        """
        The first stars.

        Parameters
        ----------
        number : int
            How many.

        Returns
        -------
        Stars
        """
        return self._chosen(slice(0, number))

    def _chosen(self, rows):
        return Stars(self.x[rows], self.y[rows], self.flux[rows], self.snr[rows], self.fwhm)


def detect_stars(ccd, *, threshold=5.0, limit=1000):
    """
    Find the stars of a frame and measure their positions.

    The background is the median of a mesh. Peaks are looked for on the smoothed frame (`photutils.detection`); each
    is then measured in a Gaussian window that moves to the star and takes its width, as in the windowed positions
    of SExtractor (Bertin & Arnouts 1996, A&AS 117, 393) and the adaptive moments of Bernstein & Jarvis (2002, AJ 123,
    583). Hot pixels and cosmic rays are sharper than the stars of the frame and are left out, as is what has a
    flagged pixel in its core.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, raw or calibrated.
    threshold : float, optional
        Lowest peak, in standard deviations of the smoothed background.
    limit : int, optional
        Most stars, the brightest.

    Returns
    -------
    Stars

    Raises
    ------
    InputError
        If the frame is not two-dimensional, or `threshold` or `limit` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.alignment import detect_stars
    >>> y, x = np.mgrid[:128, :128]
    >>> image = np.random.default_rng(1).normal(200, 10, (128, 128))
    >>> for column in (30.25, 60, 90):
    ...     image += 3000 * np.exp(-((x - column) ** 2 + (y - 50) ** 2) / 8)
    >>> stars = detect_stars(CCDData(image, unit="electron"))
    >>> sorted(stars.x.round(1).tolist())
    [30.2, 60.0, 90.0]
    """
    if np.ndim(ccd.data) != 2 or not threshold > 0 or not limit > 0:
        msg = f"shape {np.shape(ccd.data)}, threshold = {threshold!r}, limit = {limit!r}; a frame with two axes and "
        msg += "positive numbers are needed"
        raise InputError(msg)
    data, bad = _without_background(ccd)
    fwhm, flagged = 3.0, _knows_outliers(ccd)
    for _ in range(5):
        stars, measured = _round(data, bad, fwhm, threshold)
        if not flagged and measured > _DESPIKED:
            flagged = True
            _take_spikes_off(data)
            stars, measured = _round(data, bad, fwhm, threshold)
        if not np.isfinite(measured) or 0.7 < measured / fwhm < 1.4:
            break
        fwhm = float(np.clip(measured, 1.2, _WIDEST))
    return stars.brightest(limit)


def _without_background(ccd):
    """The frame above its background, flagged pixels 0, and which those are."""
    data = np.array(ccd.data, dtype=np.float32)
    bad = (flags_of(ccd) != 0) | ~np.isfinite(data)
    data[bad] = np.nan
    data -= spread_cells(cell_medians(data, 64), data.shape, 64)
    data[bad | ~np.isfinite(data)] = 0
    return data, bad


def _knows_outliers(ccd):
    """Whether bad pixels or cosmic rays have been flagged before."""
    return bool((flags_of(ccd) & flag_value("BAD_PIXEL", "COSMIC_RAY")).any())


def _take_spikes_off(data):
    """
    Replace pixels that stand alone by their neighbors, in place: hot pixels within a star move it.

    Of stars as wide as 2.5 pixels the neighbors have half of the brightest pixel and more.
    """
    noise = _scatter(data)
    rows, columns = np.nonzero(data[1:-1, 1:-1] > 8 * noise)
    rows, columns = rows + 1, columns + 1
    near = np.sort([data[rows + dy, columns + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))], axis=0)
    alone = near[-2] < 0.35 * data[rows, columns] if rows.size else np.empty(0, bool)
    data[rows[alone], columns[alone]] = (0.5 * (near[1] + near[2]))[alone]


def _round(data, bad, fwhm, threshold):
    """Stars with windows that begin at some width, and the median width that comes out."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(data, fwhm / _FWHM, mode="constant")
    noise = _scatter(smooth)
    rows, columns = _peaks(smooth, threshold * noise, fwhm)
    found = _not_sharp(data, bad, rows, columns)
    rows, columns = rows[found], columns[found]
    nobody = Stars(*(np.empty(0) for _ in range(4)), np.nan)
    if not rows.size:
        return nobody, np.nan
    x, y, sigma, flux = _measure(data, rows, columns, fwhm / _FWHM)
    pixel_noise = _scatter(data)
    # Noise of the light in a window whose weight is the profile itself.
    snr = flux / (pixel_noise * 2 * np.sqrt(np.pi) * np.maximum(sigma, 0.3))
    good = np.isfinite(x) & (flux > 0) & (np.hypot(x - columns, y - rows) < max(2.0, fwhm)) & (sigma > 0.35)
    good &= _inside(x, y, data.shape)
    full = good & (sigma >= 1.9 * fwhm / _FWHM)
    # What fills its window is no star, unless most of them do: then the window is too small.
    solid = good & ~full & (sigma > 0.7 * fwhm / _FWHM) & (snr > 8)
    if full.sum() > (good & ~full & (snr > 10)).sum() and solid.sum() < 3 and fwhm < _WIDEST:
        return nobody, 2 * fwhm
    good &= ~full
    width = _typical(sigma[good], snr[good])
    good &= (sigma > _WIDTHS[0] * width) & (sigma < _WIDTHS[1] * width)
    good &= ~_flagged_core(bad, x, y)
    order = np.flatnonzero(good)[np.argsort(-flux[good], kind="stable")]
    order = _one_each(x, y, order, fwhm)
    return Stars(x[order], y[order], flux[order], snr[order], float(width * _FWHM)), float(width * _FWHM)


def _scatter(image):
    """Standard deviation of the background, from the median absolute deviation of a sample."""
    sample = sample_pixels(image)
    sample = sample[sample != 0]
    if sample.size < 10:
        return np.inf
    return max(1.4826 * float(np.median(np.abs(sample - np.median(sample)))), 1e-12)


def _peaks(smooth, threshold, fwhm):
    """Pixels of the highest peaks."""
    from photutils.detection import find_peaks

    size = 2 * int(max(1, round(fwhm / 2))) + 1
    if not np.isfinite(threshold) or min(smooth.shape) < 8 or not (smooth > threshold).any():
        return np.empty(0, int), np.empty(0, int)
    with quiet_libraries():
        # That there is no peak is an answer, not a matter for a warning.
        table = find_peaks(smooth, threshold, box_size=size, border_width=2)
    if table is None or not len(table):
        return np.empty(0, int), np.empty(0, int)
    order = np.argsort(-np.asarray(table["peak_value"]), kind="stable")[:_MOST]
    return np.asarray(table["y_peak"], int)[order], np.asarray(table["x_peak"], int)[order]


def _not_sharp(data, bad, rows, columns):
    """Whether the light of a peak reaches into the neighbors of its brightest pixel, and that is not flagged."""
    ny, nx = data.shape
    best = np.full(rows.size, -np.inf)
    row, column = rows.copy(), columns.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            r, c = np.clip(rows + dy, 1, ny - 2), np.clip(columns + dx, 1, nx - 2)
            higher = data[r, c] > best
            best = np.where(higher, data[r, c], best)
            row, column = np.where(higher, r, row), np.where(higher, c, column)
    near = [data[row + dy, column + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    # Noise makes dark neighbors of faint stars; the second brightest of the four tells a row of a charged particle.
    second = np.sort(near, axis=0)[-2] if rows.size else best
    return (second > _SHARPEST * best) & (best > 0) & ~bad[row, column]


def _measure(data, rows, columns, sigma):
    """Windowed positions, widths and light of all peaks at once."""
    half = int(np.ceil(3.0 * sigma)) + 1
    steps = np.arange(-half, half + 1)
    ny, nx = data.shape
    r = np.clip(rows[:, None, None] + steps[None, :, None], 0, ny - 1)
    c = np.clip(columns[:, None, None] + steps[None, None, :], 0, nx - 1)
    stamps = data[r, c].astype(np.float64)
    dx, dy, width = (np.zeros(rows.size) for _ in range(3))
    width += sigma
    with np.errstate(all="ignore"):
        for turn in range(_ROUNDS):
            ex, ey = steps[None, None, :] - dx[:, None, None], steps[None, :, None] - dy[:, None, None]
            weight = np.exp(-0.5 * (ex**2 + ey**2) / width[:, None, None] ** 2)
            light = stamps * weight
            total = light.sum((1, 2))
            dx += np.clip(2 * (light * ex).sum((1, 2)) / total, -1, 1)
            dy += np.clip(2 * (light * ey).sum((1, 2)) / total, -1, 1)
            if turn > 2:
                # A window of the star's own width halves its variance.
                square = (light * (ex**2 + ey**2)).sum((1, 2)) / total
                width = np.clip(np.sqrt(np.maximum(square, 0.01)), 0.3, 2 * sigma)
    return columns + dx, rows + dy, width, 2 * total


def _typical(sigma, snr):
    """The commonest width: stars have one in common, galaxies, nebulae and ripples of the background have not."""
    good = np.sort(sigma[snr > 10] if (snr > 10).sum() >= 3 else sigma)
    if good.size < 4:
        return float(good[0]) if good.size else np.nan
    # The narrowest interval that holds so many of them.
    number = max(3, int(np.ceil(0.4 * good.size)))
    spans = np.log(good[number - 1 :] / good[: good.size - number + 1])
    first = int(np.argmin(spans))
    return float(np.median(good[first : first + number]))


def _inside(x, y, shape):
    return (x > 0.5) & (y > 0.5) & (x < shape[1] - 1.5) & (y < shape[0] - 1.5)


def _flagged_core(bad, x, y):
    """Whether one of the nine pixels about a position is flagged; of something out of the frame, yes."""
    ny, nx = bad.shape
    finite = np.isfinite(x) & np.isfinite(y)
    row = np.clip(np.rint(np.where(finite, y, 0)).astype(int), 1, ny - 2)
    column = np.clip(np.rint(np.where(finite, x, 0)).astype(int), 1, nx - 2)
    return np.any([bad[row + dy, column + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0) | ~finite


def _one_each(x, y, order, fwhm):
    """Peaks whose windows moved to one and the same star count once."""
    from scipy.spatial import cKDTree

    if order.size < 2:
        return order
    pairs = cKDTree(np.column_stack([x[order], y[order]])).query_pairs(0.5 * fwhm)
    doubled = {max(pair) for pair in pairs}
    return order[[number not in doubled for number in range(order.size)]]
