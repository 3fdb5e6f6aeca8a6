"""Smooth light over a frame as a two-dimensional Legendre polynomial, by exact least squares on every pixel."""

import numpy as np
from astropy.modeling.models import Legendre2D
from astropy.nddata import CCDData
from numpy.polynomial.legendre import legvander

from ccdnight.exceptions import InputError
from ccdnight.flags import FLAGS
from ccdnight.products import flags_of, read_ccd
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["fit_illumination", "fit_surface", "illumination_map"]

_HIGHEST = 12
#: Condition number of the normal equations beyond which their solution is rounding.
_SINGULAR = 1e12
#: A pixel made from few frames is still a measurement of the light.
_HARMLESS = FLAGS["LOW_WEIGHT"].value | FLAGS["INTERPOLATED"].value


def fit_illumination(flat, *, degree=3, sigma=3.0, mask=None, maxiters=5):
    """
    Fit a low-order polynomial to a frame.

    The sums of the least squares are separable: with P the polynomials along one axis and w the pixels that are
    used, ``sum w P_i(x) P_j(x) P_k(y) P_l(y)`` is a product of small matrices for each row. The result is that of
    `astropy.modeling.fitting.LinearLSQFitter` on every pixel that was kept, in a small part of its time and
    memory. This is equivalent to::

        y, x = np.mgrid[: flat.shape[0], : flat.shape[1]]
        LinearLSQFitter()(Legendre2D(degree, degree), x, y, flat, weights=kept)

    Parameters
    ----------
    flat : `~astropy.nddata.CCDData`, path-like or `~numpy.ndarray`
        A frame, shape ``(ny, nx)``. Flagged and not finite pixels are left out; those that are flagged LOW_WEIGHT
        or INTERPOLATED alone are used.
    degree : int or tuple of int, optional
        Highest power, of x and of y; cross terms are all there, as in `~astropy.modeling.models.Legendre2D`.
    sigma : float or None, optional
        Pixels that lie further than this many standard deviations of all residuals from the model are left out,
        in rounds; None keeps all.
    mask : `~numpy.ndarray`, optional
        More pixels that are left out (True), shape ``(ny, nx)``.
    maxiters : int, optional
        Most rounds of clipping.

    Returns
    -------
    `~astropy.modeling.models.Legendre2D`
        Of ``(x, y)`` in pixels, 0-based. Its `meta` holds 'kept', the number of pixels, and 'scatter', the standard
        deviation about the model. `illumination_map` evaluates it over a frame.

    Raises
    ------
    InputError
        If there are too few pixels for so many coefficients.
    ValueError
        If degree, sigma or the shape of the mask is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.illumination import fit_illumination
    >>> flat = np.linspace(0.9, 1.1, 32) * np.ones((32, 1))
    >>> model = fit_illumination(flat, degree=1)
    >>> round(float(model(31, 0)), 3)
    1.1
    """
    data, good = _pixels_of(flat)
    degrees = _degrees(degree)
    if sigma is not None and not sigma > 0:
        msg = f"sigma = {sigma!r}; it must be larger than 0, or None"
        raise ValueError(msg)
    if mask is not None:
        if np.shape(mask) != data.shape:
            msg = f"mask has the shape {np.shape(mask)}; that of the frame is {data.shape}"
            raise ValueError(msg)
        good &= ~np.asarray(mask, bool)
    return fit_surface(data, good, degrees, sigma=sigma, maxiters=maxiters)


def illumination_map(model, shape):
    """
    Evaluate a model over a frame, as the product of its parts along the two axes.

    Parameters
    ----------
    model : `~astropy.modeling.models.Legendre2D`
        What `fit_illumination` gave.
    shape : tuple of int
        Shape ``(ny, nx)``.

    Returns
    -------
    `~numpy.ndarray`
        float32; equal to ``model(x, y)`` of every pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.illumination import fit_illumination, illumination_map
    >>> flat = np.linspace(0.9, 1.1, 32) * np.ones((32, 1))
    >>> smooth = illumination_map(fit_illumination(flat, degree=1), flat.shape)
    >>> bool(np.allclose(smooth, flat, atol=1e-5))
    True
    """
    ny, nx = shape
    along_x = _basis(nx, model.x_degree, model.x_domain)
    along_y = _basis(ny, model.y_degree, model.y_domain)
    # Parameters are ordered c0_0, c1_0, ...: the power of x runs fastest.
    coefficients = model.parameters.reshape(model.y_degree + 1, model.x_degree + 1)
    return (along_y @ coefficients).astype(np.float32) @ along_x.T.astype(np.float32)


def fit_surface(data, good, degrees, *, sigma, maxiters):
    """
    The fit itself; what it is given was checked.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``.
    good : `~numpy.ndarray`
        Pixels that may be used.
    degrees : tuple of int
        Of x and y.
    sigma, maxiters
        As in `fit_illumination`.

    Returns
    -------
    `~astropy.modeling.models.Legendre2D`
    """
    ny, nx = data.shape
    domains = {"x_domain": (0, max(nx - 1, 1)), "y_domain": (0, max(ny - 1, 1))}
    along_x, along_y = _basis(nx, degrees[0], domains["x_domain"]), _basis(ny, degrees[1], domains["y_domain"])
    sample, sampled = sample_pixels(data), sample_pixels(good)
    # Values far from 0 would lose digits in the sums of products; the shift is put back into the constant term.
    shift = float(np.median(sample[sampled])) if sampled.any() else 0.0
    steps = [-(-length // short) for length, short in zip(data.shape, sample.shape, strict=True)]
    thin_y, thin_x = along_y[:: steps[0]], along_x[:: steps[1]]
    coefficients, limit, count = np.zeros((degrees[1] + 1, degrees[0] + 1)), np.inf, -1
    for _ in range(1 if sigma is None else maxiters + 1):
        before = count
        coefficients, count = _solve(data, good, shift, along_x, along_y, coefficients, limit)
        rest = (sample - shift - thin_y @ coefficients @ thin_x.T)[sampled]
        _, scatter, _ = clipped_moments(rest, sigma=5.0)
        # A hundred-thousandth of the pixels moves the surface by far less than its error.
        if sigma is None or abs(count - before) <= 1e-5 * count:
            break
        # Residuals of a frame that the model fits exactly are rounding, which is nothing to reject.
        limit = sigma * max(scatter, 1e-6 * abs(shift)) if np.isfinite(scatter) else np.inf
    model = Legendre2D(*degrees, **domains)
    coefficients[0, 0] += shift
    model.parameters = coefficients.ravel()
    model.meta.update(kept=count, scatter=float(scatter))
    return model


def _pixels_of(flat):
    if not isinstance(flat, CCDData | np.ndarray):
        flat = read_ccd(flat)
    if isinstance(flat, CCDData):
        data, good = flat.data, (flags_of(flat) & np.uint16(~_HARMLESS & 0xFFFF)) == 0
    else:
        data, good = flat, np.ones(flat.shape, bool)
    if data.ndim != 2 or 0 in data.shape:
        msg = f"shape {data.shape}; a frame has two axes, none of length 0"
        raise InputError(msg)
    data = np.ascontiguousarray(data, np.float32 if data.dtype.itemsize <= 4 else np.float64)
    return data, good & np.isfinite(data)


def _degrees(degree):
    pair = degree if isinstance(degree, tuple | list) else (degree, degree)
    whole = all(isinstance(item, int | np.integer) and not isinstance(item, bool) for item in pair)
    if len(pair) != 2 or not whole or not all(0 <= item <= _HIGHEST for item in pair):
        msg = f"degree = {degree!r}; it must be a whole number from 0 to {_HIGHEST}, or two of them, of x and of y"
        raise ValueError(msg)
    return tuple(int(item) for item in pair)


def _basis(count, degree, domain):
    """Legendre polynomials at the pixels of an axis, shape ``(count, degree + 1)``."""
    low, high = domain
    return legvander((2 * np.arange(count) - low - high) / (high - low), degree)


def _solve(data, good, shift, along_x, along_y, coefficients, limit):
    """Coefficients by powers of y and x from what lies within a limit of others, and of how many pixels."""
    from ccdnight._kernels.surface import surface_sums

    nx, p, q = data.shape[1], along_x.shape[1], along_y.shape[1]
    weights, values = np.zeros((q * (q + 1) // 2, nx)), np.zeros((q, nx))
    basis_x, basis_y = np.ascontiguousarray(along_x.T), np.ascontiguousarray(along_y.T)
    count = surface_sums(data, good, shift, basis_x, basis_y, coefficients, limit, weights, values)
    if count < p * q:
        msg = f"{count} usable pixels; degree ({p - 1}, {q - 1}) has {p * q} coefficients"
        raise InputError(msg)
    matrix = np.empty((q, p, q, p))
    for m, (k, other) in enumerate(zip(*np.tril_indices(q), strict=True)):
        matrix[k, :, other] = matrix[other, :, k] = (basis_x * weights[m]) @ along_x
    matrix = matrix.reshape(q * p, q * p)
    if np.linalg.cond(matrix) > _SINGULAR:
        msg = f"the {count} usable pixels do not determine degree ({p - 1}, {q - 1}); lower the degree"
        raise InputError(msg)
    return np.linalg.solve(matrix, (values @ along_x).ravel()).reshape(q, p), count
