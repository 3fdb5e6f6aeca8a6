"""Sky flats: the light of the night sky itself, from dithered science frames."""

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.illumination.dithers import combine_dithered, open_dithered
from ccdnight.products import make_ccd
from ccdnight.provenance import is_applied, record_step
from ccdnight.statistics import median_of

__all__ = ["check_thresholds", "make_sky_flat", "sky_flags"]


def make_sky_flat(science, *, sigma=4.0, source_sigma=3.0, grow=5):
    """
    A flat from the sky in dithered science frames.

    Every frame is divided by its sky level; sources are masked; what is left is clipped and averaged. The frames
    are held in memory.

    Parameters
    ----------
    science : list of `~astropy.nddata.CCDData` or path-like
        At least three frames of one filter, dithered by more than the size of a source, with bias and dark
        subtracted, all in one unit, shape ``(ny, nx)``. Flagged pixels are left out. Of frames that have been
        divided by a flat the result is what that flat left of the illumination.
    sigma : float, optional
        Values further than this many times the noise from the median of their pixel are rejected.
    source_sigma : float, optional
        Threshold above which a smoothed frame, less the median of all, is a source.
    grow : int, optional
        Pixels by which sources are grown.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Dimensionless, median 1. Pixels without sky in any frame are 1 and flagged NO_DATA, those with sky in less
        than half of the frames LOW_WEIGHT.

    Raises
    ------
    InputError
        If there are too few frames, they do not fit together, or one has no sky.
    ValueError
        If sigma, source_sigma or grow is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.illumination import make_sky_flat
    >>> rng = np.random.default_rng(1)
    >>> response = np.linspace(0.9, 1.1, 64) * np.ones((64, 1))
    >>> science = [CCDData(rng.normal(1000 * response, 10), unit="adu") for _ in range(5)]
    >>> flat = make_sky_flat(science)
    >>> [round(float(level), 2) for level in (flat.data[:, 0].mean(), flat.data[:, -1].mean())]
    [0.9, 1.09]
    """
    check_thresholds(sigma=sigma, source_sigma=source_sigma, grow=grow)
    frames = open_dithered(science)
    result = combine_dithered(frames, subtract=False, sigma=sigma, source_sigma=source_sigma, grow=grow)
    flags = sky_flags(result, len(frames))
    lost = (flags & FLAGS["NO_DATA"].value) != 0
    if lost.all():
        msg = "no pixel shows sky in any of the science frames"
        raise InputError(msg)
    norm = np.float32(median_of(result.data[~lost]))
    flat = make_ccd(
        np.where(lost, np.float32(1), result.data / norm),
        unit="",
        meta=frames[0].header,
        sigma=np.where(lost, np.float32(0), result.error / norm),
        flags=flags,
    )
    kind = "illumination" if is_applied(flat.meta, "flat") else "flat"
    flat.meta["MASTER"] = (kind, "kind of master")
    flat.meta["NCOMBINE"] = (len(frames), "frames combined")
    record_step(
        flat,
        "sky_flat",
        inputs=[(frame.name, frame.digest, "science") for frame in frames],
        history=f"sky of {len(frames)} science frames, sources masked",
        sigma=sigma,
        source_sigma=source_sigma,
        grow=grow,
    )
    return flat


def sky_flags(result, count):
    """
    Flags of a stack of sky.

    Parameters
    ----------
    result : Stack
        The stack.
    count : int
        Frames that went into it.

    Returns
    -------
    `~numpy.ndarray`
        uint16.
    """
    flags = np.zeros(result.data.shape, np.uint16)
    empty = (result.count == 0) | ~np.isfinite(result.data)
    flags[empty] = FLAGS["NO_DATA"].value
    flags[(result.count < count / 2) & ~empty] = FLAGS["LOW_WEIGHT"].value
    return flags


def check_thresholds(*, grow=0, **thresholds):
    """
    Refuse thresholds that are not positive.

    Parameters
    ----------
    grow : int, optional
        Pixels.
    **thresholds : float
        By name.

    Raises
    ------
    ValueError
        For the first one that is not allowed.
    """
    for name, value in thresholds.items():
        if isinstance(value, bool | str) or not value > 0:
            msg = f"{name} = {value!r}; it must be larger than 0"
            raise ValueError(msg)
    if isinstance(grow, bool) or not isinstance(grow, int | np.integer) or grow < 0:
        msg = f"grow = {grow!r}; it must be a whole number of 0 or more pixels"
        raise ValueError(msg)
