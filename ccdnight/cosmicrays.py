"""Cosmic rays in single frames, by Laplacian edge detection (van Dokkum 2001, PASP 113, 1420)."""

import numpy as np
from astropy.nddata import CCDData

from ccdnight._lacosmic import CLEANING, Options, find_cosmic_rays
from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.products import derive, flags_of, read_ccd, sigma_of
from ccdnight.provenance import record_step
from ccdnight.starwidth import star_width

__all__ = ["flag_cosmic_rays"]

#: Rows and columns that a frame must have: astroscrappy writes beyond the arrays of narrower ones.
_SMALLEST = 8

#: Width of stars in pixels from which on they are well told from cosmic rays, and how the threshold grows below it.
_SAMPLED, _STEEPNESS, _MOST_RAISED = 2.6, 1.75, 4.0

#: What may be asked for by name.
_NAMES = {
    "engine": ("fast", "astroscrappy"),
    "cleantype": ("meanmask", "medmask", "median", "idw"),
    "fsmode": ("median", "convolve"),
    "psfmodel": ("gauss", "gaussx", "gaussy", "moffat"),
}


def flag_cosmic_rays(
    ccd,
    *,
    engine="fast",
    gain=None,
    read_noise=None,
    sigclip=4.5,
    sigfrac=0.3,
    objlim=5.0,
    satlevel=None,
    niter=4,
    sepmed=True,
    cleantype="meanmask",
    fsmode="median",
    psfmodel="gauss",
    psffwhm=2.5,
    psfsize=7,
    psfk=None,
    psfbeta=4.765,
    background=None,
    variance=None,
    clean=False,
    workers=None,
):
    """
    Flag cosmic rays by LA Cosmic; pixels are changed only where cleaning is asked for.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A calibrated frame with its sky, shape ``(ny, nx)``. Flagged pixels are left out, with one pixel around each;
        so are values that are not finite.
    engine : {'fast', 'astroscrappy'}, optional
        Both flag the same pixels. `fast` does what takes the separable median: where `sepmed` is False, `fsmode` is
        'convolve' or `cleantype` is 'idw', it hands the frame to astroscrappy.
    gain : float or `~astropy.units.Quantity`, optional
        Electron per data unit; by default 1 for a frame in electron, else the header's GAIN.
    read_noise : float or `~astropy.units.Quantity`, optional
        Electron; by default the header's RDNUSED or RDNOISE.
    sigclip, sigfrac, objlim, niter, sepmed, fsmode, psfmodel, psffwhm, psfsize, psfk, psfbeta
        As in `astroscrappy.detect_cosmics`; the first four are above 0.
    satlevel : float, optional
        Data units; by default the header's SATURATE.
    cleantype : {'meanmask', 'medmask', 'median', 'idw'}, optional
        What pixels are replaced by between iterations, and in the result if `clean`: mean or median of the good ones
        of the 25 around, median of all 25, or a mean weighted by distance. In astroscrappy 1.3.0 'median' puts what
        happens to lie in memory, so it is only done by the fast engine, as documented.
    background : `~numpy.ndarray`, optional
        Data units, shape ``(ny, nx)``; astroscrappy's `inbkg`. Subtracted for the search only.
    variance : `~numpy.ndarray` or 'model', optional
        Data units squared, shape ``(ny, nx)``; astroscrappy's `invar`. By default that of the frame, where it has an
        uncertainty; 'model' takes it from local level and read noise instead.
    clean : bool, optional
        Replace the flagged pixels and flag them INTERPOLATED as well. Their uncertainty stays.
    workers : int, optional
        Threads of the fast engine; by default as many as this process may use.

    Returns
    -------
    `~astropy.nddata.CCDData`
        With COSMIC_RAY in the flags, and the number of such pixels in NCOSMIC.

    Raises
    ------
    InputError
        If the read noise or the gain is not known, or the frame is narrower than 8 pixels.
    ValueError
        For a name that is not known, a threshold that is not above 0, an array of another shape.

    Notes
    -----
    The fast engine is equivalent to::

        astroscrappy.detect_cosmics(data, inmask=flags != 0, inbkg=background, invar=variance, sepmed=True, ...)

    down to the last bit of the replaced values.

    References
    ----------
    van Dokkum 2001, PASP 113, 1420; McCully et al., astroscrappy, https://doi.org/10.5281/zenodo.1482019.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import flag_cosmic_rays
    >>> sky = np.random.default_rng(1).normal(200, 15, (64, 64))
    >>> sky[20, 30:33] += 2000
    >>> done = flag_cosmic_rays(CCDData(sky, unit="electron"), read_noise=5)
    >>> bool(done.mask[20, 30:33].all()), int(done.mask.sum())
    (True, 3)
    """
    if not isinstance(ccd, CCDData):
        ccd = read_ccd(ccd)
    _check_names(engine=engine, cleantype=cleantype, fsmode=fsmode, psfmodel=psfmodel)
    _check_numbers(sigclip=sigclip, sigfrac=sigfrac, objlim=objlim)
    _check_shape(ccd.data.shape)
    if isinstance(niter, bool) or not isinstance(niter, int | np.integer) or niter < 1:
        msg = f"niter = {niter!r}; it must be a whole number of 1 or more"
        raise ValueError(msg)
    gain, read_noise, satlevel = _detector(ccd, gain, read_noise, satlevel)
    options = Options(sigclip, sigfrac, objlim, gain, read_noise, satlevel, int(niter), cleantype)
    psf = {"psfmodel": psfmodel, "psffwhm": psffwhm, "psfsize": psfsize, "psfk": psfk, "psfbeta": psfbeta}
    arrays = _arrays(ccd, background, variance)
    if engine == "fast" and sepmed and fsmode == "median" and cleantype in CLEANING:
        found = find_cosmic_rays(**arrays, options=options, workers=workers)
    else:
        found = _by_astroscrappy(arrays, options, {"sepmed": bool(sepmed), "fsmode": fsmode} | psf)
    return _flagged(ccd, *found, clean=clean, engine=engine, sigclip=sigclip, objlim=objlim)


def thresholds_for(ccd, policy):
    """
    Thresholds for a frame, as a policy asks for them.

    In undersampled frames stars are as sharp as cosmic rays. Where stars are narrower than 2.6 pixels (a seeing of 2.5
    pixels, and the pixels themselves) `objlim` and `sigclip` are multiplied by ``(2.6 / width)**1.75``, the one at most
    by 4, the other at most by 4/3: see the table in docs/validation.rst.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A calibrated frame.
    policy : Policy
        Its cosmic_sigclip, cosmic_objlim and cosmic_seeing.

    Returns
    -------
    thresholds : dict
        sigclip and objlim, for `flag_cosmic_rays`.
    width : float or None
        Of the stars in pixels, where it was measured.
    """
    sigclip, objlim = policy.cosmic_sigclip, policy.cosmic_objlim
    width = star_width(ccd) if policy.cosmic_seeing else None
    if width is not None and width < _SAMPLED:
        factor = (_SAMPLED / width) ** _STEEPNESS
        sigclip, objlim = round(sigclip * min(factor, 4 / 3), 2), round(objlim * min(factor, _MOST_RAISED), 2)
    return {"sigclip": sigclip, "objlim": objlim}, width


def _check_names(**names):
    for parameter, value in names.items():
        if value not in _NAMES[parameter]:
            msg = f"{parameter} = {value!r} is not known; known are {', '.join(_NAMES[parameter])}"
            raise ValueError(msg)


def _check_numbers(**numbers):
    for parameter, value in numbers.items():
        if not value > 0:
            msg = f"{parameter} = {value!r}; it must be above 0"
            raise ValueError(msg)


def _check_shape(shape):
    if len(shape) != 2 or min(shape) < _SMALLEST:
        msg = f"shape {shape}; cosmic rays are looked for in frames of {_SMALLEST} x {_SMALLEST} and more"
        raise InputError(msg)


def _detector(ccd, gain, read_noise, satlevel):
    """Gain, read noise and saturation, the last in electron; from the header where they are not given."""
    if gain is None:
        gain = 1.0 if str(ccd.unit) == "electron" else ccd.meta.get("GAIN")
    if read_noise is None:
        read_noise = ccd.meta.get("RDNUSED", ccd.meta.get("RDNOISE"))
    gain, read_noise = (getattr(value, "value", value) for value in (gain, read_noise))
    if not gain or not read_noise:
        msg = f"gain = {gain!r}, read_noise = {read_noise!r}; both are needed, in the call or in the header"
        raise InputError(msg)
    # Of astroscrappy's arguments the variance is in data units, the saturation in electron.
    return float(gain), float(read_noise), float(satlevel or ccd.meta.get("SATURATE", np.inf)) * float(gain)


def _arrays(ccd, background, variance):
    """What both engines get: float32 arrays of finite values, and the mask."""
    data = np.array(ccd.data, np.float32, order="C")
    bad = ~np.isfinite(data)
    data[bad] = 0
    if isinstance(variance, str) and variance != "model":
        msg = f"variance = {variance!r}; it must be an array, or 'model'"
        raise ValueError(msg)
    if variance is None:
        sigma = sigma_of(ccd)
        variance = None if sigma is None else sigma**2
    arrays = {"background": background, "variance": None if isinstance(variance, str) else variance}
    for name, array in arrays.items():
        if array is None:
            continue
        if np.shape(array) != data.shape:
            msg = f"{name} has shape {np.shape(array)}; it must be that of the frame, {data.shape}"
            raise ValueError(msg)
        array = np.array(array, np.float32, order="C")
        array[~np.isfinite(array)] = 0
        arrays[name] = array
    bad |= flags_of(ccd) != 0
    return {"data": data, "mask": bad} | arrays


def _by_astroscrappy(arrays, options, others):
    """The same as `find_cosmic_rays`, by astroscrappy."""
    if options.cleantype == "median":
        msg = (
            "cleantype = 'median' is not done by astroscrappy: version 1.3.0 replaces pixels by what lies in memory; "
            "take engine='fast' with sepmed=True and fsmode='median', or another of meanmask, medmask, idw"
        )
        raise ValueError(msg)
    from astroscrappy import detect_cosmics

    if others["psfk"] is not None:
        others = others | {"psfk": np.ascontiguousarray(others["psfk"], np.float32)}
    mask, cleaned = detect_cosmics(
        arrays["data"],
        inmask=arrays["mask"],
        inbkg=arrays["background"],
        invar=arrays["variance"],
        **options._asdict(),
        **others,
    )
    pixels = np.flatnonzero(mask)
    return mask, pixels, cleaned.reshape(-1)[pixels]


def _flagged(ccd, mask, pixels, values, *, clean, **parameters):
    """The frame with what was found."""
    flags, data, count = flags_of(ccd), None, int(pixels.size)
    flags[mask] |= FLAGS["COSMIC_RAY"].value
    if clean:
        flags[mask] |= FLAGS["INTERPOLATED"].value
        data = np.array(ccd.data, np.float32, order="C")
        data.reshape(-1)[pixels] = values
    result = derive(ccd, data, flags=flags)
    result.meta["NCOSMIC"] = (count, "pixels flagged as cosmic rays")
    done = f"{count} pixels {'replaced' if clean else 'flagged'}"
    record_step(result, "cosmic_rays", history=done, clean=clean, **parameters)
    return result
