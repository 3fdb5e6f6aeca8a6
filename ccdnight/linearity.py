"""
Signals of an amplifier that answers less and less, made proportional to the light.

The correction is that of the profile: a signal s in adu above the bias becomes ``s * (1 + c1 * s + c2 * s**2 + ...)``
with the amplifier's coefficients c1 in 1/adu, c2 in 1/adu^2, and so on. It is applied to what overscan and bias leave
of darks, flats and science frames, before anything else; a bias has no signal to be corrected.
"""

import numpy as np
from astropy.nddata import CCDData

from ccdnight.exceptions import InputError
from ccdnight.products import derive, read_ccd, sigma_of
from ccdnight.profiles import get_profile
from ccdnight.provenance import is_applied, mark_applied, record_step, refuse_twice
from ccdnight.readout import amplifier_regions

__all__ = ["correct_linearity", "linearized"]


def linearized(signal, coefficients):
    """
    A corrected signal, and how fast it grows with the signal.

    Parameters
    ----------
    signal : float or `~numpy.ndarray`
        Adu above the bias.
    coefficients : sequence of float
        c1, c2, ...

    Returns
    -------
    corrected, slope
        ``s * (1 + c1 * s + ...)`` and its derivative ``1 + 2 * c1 * s + ...``; as `signal`.

    Examples
    --------
    >>> from ccdnight.linearity import linearized
    >>> corrected, slope = linearized(10000.0, [1e-6])
    >>> round(corrected, 3), round(slope, 3)
    (10100.0, 1.02)
    """
    factor, slope, count = 0.0, 0.0, len(coefficients)
    for power in range(count, 0, -1):
        factor = (factor + coefficients[power - 1]) * signal
        slope = (slope + (power + 1) * coefficients[power - 1]) * signal
    return signal * (1.0 + factor), 1.0 + slope


class Response:
    """
    The corrections of the amplifiers of a frame.

    Parameters
    ----------
    regions : list of tuple
        ``((rows, columns), Amplifier)``.
    """

    def __init__(self, regions):
        self.parts = [(region, amplifier.linearity) for region, amplifier in regions]

    @property
    def words(self):
        """The coefficients, in words."""
        spelt = dict.fromkeys(", ".join(f"{item:.4g}" for item in part) or "none" for _, part in self.parts)
        return "coefficients " + "; ".join(spelt)

    def apply(self, data, rows):
        """
        Correct some rows.

        Parameters
        ----------
        data : `~numpy.ndarray`
            Adu above the bias, shape ``(k, nx)``; changed in place.
        rows : slice
            Which they are.
        """
        for (lines, columns), coefficients in self.parts:
            low, high = max(rows.start, lines.start), min(rows.stop, lines.stop)
            if low < high and coefficients:
                part = data[low - rows.start : high - rows.start, columns]
                part[...] = linearized(part, [part.dtype.type(item) for item in coefficients])[0]


class Straightened:
    """
    A source of rows whose response is corrected, and which is in all else what it was.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame.
    response : Response
        By what.
    level : float
        What the signal stands on, in adu; it is there afterwards as well.
    """

    def __init__(self, source, response, level):
        self._source, self._response, self._level = source, response, np.float32(level)

    def __getattr__(self, name):
        return getattr(self._source, name)

    def rows(self, rows):
        """
        As `ccdnight.sources.ArraySource.rows`.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        data, flags : `~numpy.ndarray`
        """
        data, flags = self._source.rows(rows)
        data = np.array(data, data.dtype if data.dtype.kind == "f" else np.float32)
        self._correct(data, rows)
        return data, flags

    def fill(self, rows, out, exclude):
        """
        As `ccdnight.sources.FrameSource.fill`.

        Parameters
        ----------
        rows, out, exclude
            As there.
        """
        self._source.fill(rows, out, exclude)
        self._correct(out, rows)

    def _correct(self, data, rows):
        data -= self._level
        self._response.apply(data, rows)
        data += self._level


def response_of(regions):
    """
    The corrections of the amplifiers of a frame, where there are any.

    Parameters
    ----------
    regions : list of tuple
        ``((rows, columns), Amplifier)``.

    Returns
    -------
    Response or None
    """
    return Response(regions) if any(amplifier.linearity for _, amplifier in regions if amplifier) else None


def note_linearity(ccd, response):
    """
    Write into a frame's header and records that it has been corrected.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame, changed in place.
    response : Response
        By what.
    """
    mark_applied(ccd, "linearity", response.words)
    coefficients = [list(part) for _, part in response.parts]
    record_step(ccd, "linearity", history=response.words, coefficients=coefficients)


def correct_linearity(ccd, *, profile):
    """
    Correct the response of the amplifiers of a frame.

    `ccdnight.calibrate`, `ccdnight.make_dark` and `ccdnight.make_flat` do this by themselves where the profile has
    coefficients.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData` or path-like
        A frame in adu whose bias level has been taken off, trimmed or not, shape ``(ny, nx)``.
    profile : str, path-like or InstrumentProfile
        The instrument, with ``linearity`` of its amplifiers.

    Returns
    -------
    `~astropy.nddata.CCDData`
        ``s * (1 + c1 * s + c2 * s**2 + ...)``, its uncertainty multiplied by the derivative; LINCOR says by what.

    Raises
    ------
    InputError
        If the profile has no coefficients, the frame is not in adu, or still has its bias level.
    AlreadyAppliedError
        If it has been corrected before.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import get_profile
    >>> from ccdnight.linearity import correct_linearity
    >>> profile = get_profile("generic")
    >>> profile = replace(profile, amplifiers=tuple(replace(item, linearity=(1e-6,)) for item in profile.amplifiers))
    >>> frame = CCDData(np.full((8, 8), 10000.0), unit="adu", meta={"ZEROCOR": "by a master bias"})
    >>> float(correct_linearity(frame, profile=profile).data[0, 0])
    10100.0
    """
    ccd, profile = ccd if isinstance(ccd, CCDData) else read_ccd(ccd), get_profile(profile)
    refuse_twice(ccd, "linearity")
    response = response_of(amplifier_regions(ccd, profile))
    if response is None:
        msg = f"profile {profile.name!r}: no amplifier has linearity; coefficients such as [4e-7] are needed"
        raise InputError(msg)
    if str(ccd.unit) != "adu":
        msg = f"the frame is in {str(ccd.unit)!r}; linearity is corrected in 'adu', before anything else"
        raise InputError(msg)
    if not is_applied(ccd.meta, "overscan") and not is_applied(ccd.meta, "bias"):
        msg = "neither overscan nor bias has been subtracted from the frame; linearity is that of the signal above them"
        raise InputError(msg)
    data, sigma = np.array(ccd.data, np.float64), sigma_of(ccd)
    slope = np.ones_like(data)
    for region, coefficients in response.parts:
        data[region], slope[region] = linearized(data[region], coefficients)
    result = derive(ccd, data, sigma=None if sigma is None else sigma * np.abs(slope))
    note_linearity(result, response)
    return result
