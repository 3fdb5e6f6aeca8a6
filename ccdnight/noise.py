"""Noise of the frames of a detector: from the profile, the header, or the frames themselves."""

import numpy as np

from ccdnight._inputs import positive
from ccdnight.profiles.interpret import first_number
from ccdnight.readout import find_profile
from ccdnight.stacking import NoiseModel
from ccdnight.statistics import clipped_moments

__all__ = ["noise_model"]


def noise_model(sources, *, gain=None, read_noise=None, sensitivity=0.0, shot=True):
    """
    Noise model of some frames of one detector.

    Parameters
    ----------
    sources : list
        The frames.
    gain, read_noise : float, optional
        Electron/adu and electron; by default the amplifiers', else the header's; a read noise that nobody
        knows is measured from the first two frames.
    sensitivity : float, optional
        Relative noise.
    shot : bool, optional
        Whether the frames hold light or dark charge.

    Returns
    -------
    NoiseModel
    """
    source = sources[0]
    sensitivity = positive(sensitivity, "1", "sensitivity_noise", zero=True)
    gain, noise = (_known(source, name, value) for name, value in (("gain", gain), ("read_noise", read_noise)))
    if noise is None:
        read = _read_noise_adu(sources)
    else:
        read = noise / gain if gain is not None else noise
    error = np.mean([item.level_error for item in sources])
    return NoiseModel(np.hypot(read, error), gain if shot else None, sensitivity)


def _known(source, attribute, given):
    if given is not None:
        return positive(given, "electron / adu" if attribute == "gain" else "electron", attribute)
    values = [getattr(amplifier, attribute) for _, amplifier in source.regions]
    if values and all(values):
        if len(set(values)) == 1:
            return values[0]
        result = np.ones(source.shape, np.float32)
        for (region, _), value in zip(source.regions, values, strict=True):
            result[region] = value
        return result
    profile = find_profile(source.profile, source.header)
    value, _ = first_number(source.header, getattr(profile.dialect, attribute))
    return value if value and value > 0 else None


def _read_noise_adu(sources):
    """Read noise from the difference of two strips; of a single frame from its neighboring columns."""
    ny = sources[0].shape[0]
    rows = slice(ny // 4, min(ny, ny // 4 + 128))
    first = sources[0].rows(rows)[0]
    other = sources[1].rows(rows)[0] if len(sources) > 1 else np.roll(first, 1, axis=1)
    std = clipped_moments(first - other)[1] / np.sqrt(2)
    return max(std, 0.3)  # quantisation alone gives 0.29 adu
