"""Dome and twilight flats together: the pixels of the one, the light of the other."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight.calibration import identity_of
from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.illumination.polynomial import fit_illumination, illumination_map
from ccdnight.products import derive, flags_of, read_ccd, sigma_of
from ccdnight.provenance import mark_applied, record_step, records_of, refuse_twice, set_records
from ccdnight.statistics import median_of

__all__ = ["combine_flats"]


def combine_flats(dome, twilight, *, degree=3, sigma=3.0, mask=None):
    """
    A flat with the pixel-to-pixel structure of a dome flat and the large scales of a twilight flat.

    ``flat = dome / P(dome / twilight)``, with P a low-order polynomial. It is fitted to the ratio, in which the
    response of the detector, vignetting and dust cancel, so that it holds nothing but the uneven light of the dome
    screen. (A polynomial fitted to the dome flat alone holds the vignetting too, and dividing by it would take
    that out of the flat.)

    Parameters
    ----------
    dome, twilight : `~astropy.nddata.CCDData` or path-like
        Master flats of one filter, dimensionless, shape ``(ny, nx)``. Stars left in the twilight flat are clipped
        by the fit.
    degree, sigma, mask
        As in `fit_illumination`.

    Returns
    -------
    `~astropy.nddata.CCDData`
        Dimensionless, median 1. Pixels without a usable dome flat are 1 and flagged NO_DATA; flags of the twilight
        flat only keep pixels out of the fit. The uncertainty is that of the dome flat: the polynomial, made of
        all pixels, adds ``sqrt(coefficients / pixels)`` of the ratio's scatter, which is in the card ILLUMERR.

    Raises
    ------
    InputError
        If one of them is no flat, the shapes differ, or the fitted light is not positive everywhere.
    AlreadyAppliedError
        If `dome` is such a flat already.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.illumination import combine_flats
    >>> pixels = np.random.default_rng(1).normal(1, 0.01, (32, 32))
    >>> lamp = np.linspace(0.9, 1.1, 32) * np.ones((32, 1))  # the screen is lit unevenly, the sky is not
    >>> flat = combine_flats(CCDData(pixels * lamp, unit=""), CCDData(pixels, unit=""), degree=1)
    >>> bool(np.allclose(flat.data, pixels / np.median(pixels), atol=1e-4))
    True
    """
    dome, twilight = _as_flat(dome, "dome"), _as_flat(twilight, "twilight")
    if dome.data.shape != twilight.data.shape:
        msg = f"shape {dome.data.shape} of the dome flat differs from {twilight.data.shape} of the twilight flat"
        raise InputError(msg)
    refuse_twice(dome, "illumination", "dome flat")
    usable = _usable(dome)
    both = usable & _usable(twilight)
    ratio = np.ones(dome.data.shape, np.float32)
    np.divide(dome.data, twilight.data, out=ratio, where=both, casting="same_kind")
    model = fit_illumination(ratio, degree=degree, sigma=sigma, mask=~both if mask is None else ~both | mask)
    light = illumination_map(model, ratio.shape)
    if not light.min() > 0:
        msg = f"degree = {degree!r}: the fitted light falls to {light.min():.3g} in the frame; lower the degree"
        raise InputError(msg)
    data = dome.data / light
    norm = np.float32(median_of(data[usable]))
    flat = _new_flat(dome, data / norm, light * norm, usable)
    count = (model.x_degree + 1) * (model.y_degree + 1)
    error = model.meta["scatter"] * np.sqrt(count / model.meta["kept"])
    _tell(flat, dome, twilight, light, model, error, sigma)
    return flat


def _as_flat(item, role):
    ccd = item if isinstance(item, CCDData) else read_ccd(item)
    if str(ccd.unit) != "":
        msg = f"{role}: its unit is {str(ccd.unit)!r}; a master flat is dimensionless"
        raise InputError(msg)
    return ccd


def _usable(flat):
    lacking = flags_of(flat) & (FLAGS["NO_DATA"].value | FLAGS["BAD_PIXEL"].value | FLAGS["SATURATED"].value)
    usable = (lacking == 0) & np.isfinite(flat.data) & (flat.data > 0)
    if not usable.any():
        msg = "no pixel of a flat is usable"
        raise InputError(msg)
    return usable


def _new_flat(dome, data, divisor, usable):
    """Data, uncertainty and flags; what cannot be used stays 1."""
    sigma, flags = sigma_of(dome), flags_of(dome)
    lost = ~usable & ((flags & FLAGS["NO_DATA"].value) != 0)
    broken = ~(np.isfinite(data) & (data > 0))
    flags[broken] |= FLAGS["NO_DATA"].value
    data = np.where(lost | broken, np.float32(1), data)
    sigma = None if sigma is None else np.where(lost | broken, np.float32(0), sigma / divisor)
    return derive(dome, data, sigma=sigma, flags=flags)


def _tell(flat, dome, twilight, light, model, error, sigma):
    names = [str(item.meta.get("FILENAME", role)) for item, role in ((dome, "dome"), (twilight, "twilight"))]
    span = float(light.max() / light.min() - 1)
    mark_applied(flat, "illumination", f"low orders of {names[1]}")
    flat.meta["ILLMFILE"] = (names[1][-60:], "twilight flat that gave the low orders")
    flat.meta["ILLUMDEG"] = (f"{model.x_degree},{model.y_degree}", "degree of the polynomial in x and y")
    flat.meta["ILLUMSPN"] = (round(span, 6), "dome light, largest over smallest less 1")
    flat.meta["ILLUMERR"] = (float(f"{error:.2e}"), "relative error of the polynomial")
    set_records(flat, [*records_of(dome), *records_of(twilight)])
    record_step(
        flat,
        "illumination",
        inputs=[(names[0], identity_of(dome), "dome"), (names[1], identity_of(twilight), "twilight")],
        history=f"divided by a polynomial fitted to {names[0]} / {names[1]}, which varies by {100 * span:.2f} %",
        degree=[model.x_degree, model.y_degree],
        sigma=sigma,
    )
