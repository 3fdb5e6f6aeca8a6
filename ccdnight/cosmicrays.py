"""Cosmic rays in single frames, by Laplacian edge detection (van Dokkum 2001, PASP 113, 1420)."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.products import derive, flags_of, read_ccd, sigma_of
from ccdnight.provenance import record_step

__all__ = ["flag_cosmic_rays"]

#: Rows and columns that a frame must have: astroscrappy writes beyond the arrays of narrower ones.
_SMALLEST = 8


def flag_cosmic_rays(
    ccd,
    *,
    engine="astroscrappy",
    gain=None,
    read_noise=None,
    sigclip=4.5,
    sigfrac=0.3,
    objlim=5.0,
    satlevel=None,
    niter=4,
):
    """
    Flag cosmic rays; pixels are not changed.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A calibrated frame. Its flagged pixels are left out, and its own variance is used where it has one.
    engine : {'astroscrappy'}, optional
        What does it.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per data unit; by default 1 for a frame in electron, else the header's GAIN.
    read_noise : float or `~astropy.units.Quantity`, optional
        Electron; by default the header's RDNUSED or RDNOISE.
    sigclip, sigfrac, objlim, niter
        As in `astroscrappy.detect_cosmics`.
    satlevel : float, optional
        Data units; by default the header's SATURATE.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With COSMIC_RAY in the flags, and the number of such pixels in NCOSMIC.

    Raises
    ------
    InputError
        If the read noise or the gain is not known, or the frame is narrower than 8 pixels.
    """
    if not isinstance(ccd, CCDData):
        ccd = read_ccd(ccd)
    if engine != "astroscrappy":
        msg = f"engine = {engine!r} is not known; known are astroscrappy"
        raise ValueError(msg)
    if min(ccd.data.shape) < _SMALLEST:
        msg = f"shape {ccd.data.shape}; cosmic rays are looked for in frames of {_SMALLEST} x {_SMALLEST} and more"
        raise InputError(msg)
    from astroscrappy import detect_cosmics

    if gain is None:
        gain = 1.0 if str(ccd.unit) == "electron" else ccd.meta.get("GAIN")
    if read_noise is None:
        read_noise = ccd.meta.get("RDNUSED", ccd.meta.get("RDNOISE"))
    gain, read_noise = (getattr(value, "value", value) for value in (gain, read_noise))
    if not gain or not read_noise:
        msg = f"gain = {gain!r}, read_noise = {read_noise!r}; both are needed, in the call or in the header"
        raise InputError(msg)
    flags = flags_of(ccd)
    data = np.nan_to_num(ccd.data.astype(np.float32))
    sigma = sigma_of(ccd)
    variance = None if sigma is None else np.nan_to_num(sigma) ** 2
    mask, _ = detect_cosmics(
        data,
        inmask=flags != 0,
        invar=variance,
        gain=float(gain),
        readnoise=float(read_noise),
        # astroscrappy takes the variance in data units, the saturation in electron.
        satlevel=float(satlevel or ccd.meta.get("SATURATE", np.inf)) * float(gain),
        sigclip=sigclip,
        sigfrac=sigfrac,
        objlim=objlim,
        niter=niter,
    )
    flags[mask] |= FLAGS["COSMIC_RAY"].value
    result = derive(ccd, flags=flags)
    count = int(np.count_nonzero(mask))
    result.meta["NCOSMIC"] = (count, "pixels flagged as cosmic rays")
    record_step(result, "cosmic_rays", history=f"{count} pixels flagged", sigclip=sigclip, objlim=objlim)
    return result
