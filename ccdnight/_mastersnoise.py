"""What the noise of the masters is in a calibrated frame, typically: a coadd has to count it once."""

import numpy as np

from ccdnight.darks import dark_seconds
from ccdnight.products import sigma_of
from ccdnight.statistics import sample_pixels

__all__ = ["masters_noise"]

#: Pixels that medians are taken of.
_SAMPLE = 20_000


def masters_noise(used, *, shared, seconds, gain):
    """
    Cards with the typical noise that the masters bring to each pixel of a frame.

    Parameters
    ----------
    used : dict of str to `~astropy.nddata.CCDData` or None
        Masters by their role.
    shared : bool
        Whether the dark was made with the bias.
    seconds : float or None
        Exposure to which the dark is scaled.
    gain : float
        Electron/adu.

    Returns
    -------
    list of tuple
        Keyword, value and comment of MASTVAR and FLATERR, where there is something to tell.
    """
    cards = []
    bias, dark = (_median_variance(used[role]) for role in ("bias", "dark"))
    variance = bias
    if used["dark"] is not None and seconds is not None:
        dark *= seconds**2
        known = dark_seconds(used["dark"])
        ratio = seconds / known if shared and known else None
        # The bias that both share is in the frame with one minus the ratio of the exposures.
        variance = bias + dark if ratio is None else (1 - ratio) ** 2 * bias + max(dark - ratio**2 * bias, 0.0)
    if variance > 0:
        cards.append(("MASTVAR", round(variance * gain**2, 5), "[electron2] typical variance of bias and dark"))
    flat = used["flat"]
    sigma = None if flat is None else sigma_of(flat)
    if sigma is not None:
        response = sample_pixels(flat.data, _SAMPLE)
        part = sample_pixels(sigma, _SAMPLE) / np.where(response > 0, response, np.nan)
        part = part[np.isfinite(part)]
        if part.size:
            cards.append(("FLATERR", float(f"{np.median(part):.4g}"), "typical relative error of the flat"))
    return cards


def _median_variance(master):
    sigma = None if master is None else sigma_of(master)
    if sigma is None:
        return 0.0
    sample = sample_pixels(sigma, _SAMPLE)
    sample = sample[np.isfinite(sample)]
    return float(np.median(sample)) ** 2 if sample.size else 0.0
