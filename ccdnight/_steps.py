"""One frame calibrated step by step with numpy, whole frames in float64: the slow equivalent of `ccdnight._fused`."""

from dataclasses import dataclass

import numpy as np

from ccdnight.darks import dark_for, dark_seconds
from ccdnight.flags import FLAGS
from ccdnight.linearity import linearized
from ccdnight.products import derive, flags_of, sigma_of
from ccdnight.readout import amplifier_regions, as_frame, subtract_overscan, trim

__all__ = ["Applied", "Steps", "detector_maps", "significant_flags"]


@dataclass(frozen=True)
class Applied:
    """
    What is applied to a frame.

    Attributes
    ----------
    bias, dark, flat, bad_pixels : `~astropy.nddata.CCDData` or None
        Masters.
    shared : bool
        Whether the dark was made with this bias.
    seconds : float or None
        Exposure.
    scale_up : float
        See `ccdnight.darks.dark_for`.
    gain, read_noise : float, `~numpy.ndarray` or list of float
        A list has a value for each amplifier.
    response : `ccdnight.linearity.Response` or None
        By what the linearity is corrected.
    """

    bias: object
    dark: object
    flat: object
    bad_pixels: object
    shared: bool
    seconds: float | None
    scale_up: float
    gain: object
    read_noise: object
    response: object = None


class Steps:
    """
    A frame to which one step after the other is applied.

    Parameters
    ----------
    frame, profile
        As in `ccdnight.readout.as_frame`.
    """

    def __init__(self, frame, profile):
        self.ccd, self.profile, self.name = as_frame(frame, profile)

    def flag_saturated(self, level):
        """
        Flag the pixels of a CCDData that are saturated.

        Parameters
        ----------
        level : float
            Raw value in adu.
        """
        flags = flags_of(self.ccd)
        flags[self.ccd.data >= level] |= FLAGS["SATURATED"].value
        self.ccd = derive(self.ccd, flags=flags)

    def subtract_overscan(self, window):
        """
        Subtract the overscan.

        Parameters
        ----------
        window : int
            Rows over which it is smoothed.
        """
        self.ccd = subtract_overscan(self.ccd, profile=self.profile, window=window)

    def trim(self):
        """Trim the frame."""
        self.ccd = trim(self.ccd, profile=self.profile)

    def apply(self, what):
        """
        Apply masters and gain.

        Parameters
        ----------
        what : Applied
            Which.

        Returns
        -------
        data, sigma, flags : `~numpy.ndarray`
            Electron, float64, and uint16.
        """
        data, flags = np.array(self.ccd.data, dtype=np.float64), flags_of(self.ccd)
        gain, noise = (self._map(value) for value in (what.gain, what.read_noise))
        if what.bias is not None:
            data -= what.bias.data
            flags |= significant_flags(what.bias)
        slope = self._correct_response(data, what.response)
        # The charge has the noise of photons; what is added when it is read is stretched with the response.
        variance = np.maximum(data, 0) / gain + (noise / gain) ** 2 * slope
        variance += float(self.ccd.meta.get("OVSCERR", 0.0)) ** 2 * slope
        if what.dark is not None:
            current = dark_for(what.dark, what.seconds, scale_up=what.scale_up)
            data -= current.data
            flags |= significant_flags(what.dark)
            variance += _dark_variance(what, current)
        elif what.bias is not None:
            variance += _variance(what.bias)
        if what.flat is not None:
            data, variance, unusable = _divide(data, variance, what.flat)
            flags |= flags_of(what.flat)
            flags[unusable] |= FLAGS["NO_DATA"].value
        if what.bad_pixels is not None:
            flags |= flags_of(what.bad_pixels)
        flags[~np.isfinite(data) | ~np.isfinite(variance)] |= FLAGS["NO_DATA"].value
        return data * gain, np.sqrt(variance) * gain, flags

    @staticmethod
    def _correct_response(data, response):
        """Correct the signals in their place; the square of the derivative."""
        if response is None:
            return 1.0
        slope = np.ones_like(data)
        for region, coefficients in response.parts:
            data[region], slope[region] = linearized(data[region], coefficients)
        return slope * slope

    def _map(self, value):
        return detector_maps(self.ccd, self.profile, value) if isinstance(value, list) else value


def detector_maps(ccd, profile, values):
    """
    A map of a quantity that every amplifier has a value of.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        A frame, trimmed or not.
    profile : InstrumentProfile
        The instrument.
    values : list of float
        One for each amplifier.

    Returns
    -------
    `~numpy.ndarray`
        float32, shape of the frame.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import get_profile
    >>> from ccdnight.calibration import detector_maps
    >>> detector_maps(CCDData(np.zeros((4, 4)), unit="adu"), get_profile("generic"), [1.5])[0, 0]
    np.float32(1.5)
    """
    result = np.ones(ccd.data.shape, np.float32)
    for (region, _), value in zip(amplifier_regions(ccd, profile), values, strict=True):
        result[region] = value
    return result


def significant_flags(master):
    """
    Flags of a bias or dark that spoil the frame; a master's own lack of a few frames does not.

    Parameters
    ----------
    master : `~astropy.nddata.CCDData`
        Bias or dark.

    Returns
    -------
    `~numpy.ndarray`
        uint16.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight.calibration import significant_flags
    >>> from ccdnight.flags import describe_flags, flag_value
    >>> flags = np.zeros((4, 4), np.uint16)
    >>> flags[0, 0], flags[0, 1] = flag_value("NO_DATA"), flag_value("LOW_WEIGHT")
    >>> describe_flags(significant_flags(CCDData(np.ones((4, 4)), unit="adu", flags=flags)))
    {'NO_DATA': 1}
    """
    return flags_of(master) & np.uint16(~FLAGS["LOW_WEIGHT"].value & 0xFFFF)


def _variance(master):
    sigma = sigma_of(master)
    if sigma is None:
        return 0.0
    return np.nan_to_num(sigma.astype(np.float64)) ** 2


def _dark_variance(what, current):
    """Variance that bias and dark bring, with the master bias that they share counted once."""
    scaled = _variance(current)
    if what.bias is None:
        return scaled
    shared = _variance(what.bias)
    if not what.shared:
        return scaled + shared
    k = what.seconds / dark_seconds(what.dark)
    # Where only the smooth part of the dark was taken its own noise is gone, and the shared bias with it.
    taken = scaled > 0
    raw = np.maximum(scaled - k**2 * shared, 0)
    return np.where(taken, (1 - k) ** 2 * shared + raw, shared)


def _divide(data, variance, flat):
    response = flat.data.astype(np.float64)
    unusable = ~(np.isfinite(response) & (response > 0))
    response[unusable] = 1
    # Relative errors add up; the variance of the result is that of the frame and of the flat over the response squared.
    inverse = 1 / response
    result = data * inverse
    if flat.uncertainty is not None:
        variance = variance + result**2 * _variance(flat)
    return result, variance * inverse**2, unusable
