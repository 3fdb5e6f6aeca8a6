"""Why a pixel is bad: one declarative table, whose bits are the values of the master ``badpixels.fits``."""

from dataclasses import dataclass

import numpy as np

from ccdnight.flags import flag_value

__all__ = ["CAUSES", "Cause", "cause_flags", "describe_causes"]


@dataclass(frozen=True)
class Cause:
    """
    One bit of a bad pixel mask.

    Attributes
    ----------
    name : str
        Name as it stands in the header.
    value : int
        The bit.
    meaning : str
        In words.
    flags : tuple of str
        Flags that such a pixel gives the frame, see `ccdnight.flags.FLAGS`.

    Examples
    --------
    >>> from ccdnight.badpixels import CAUSES
    >>> CAUSES["NOISY"].value, CAUSES["NOISY"].flags
    (1, ('BAD_PIXEL',))
    """

    name: str
    value: int
    meaning: str
    flags: tuple = ("BAD_PIXEL",)


#: Every cause, by name.
CAUSES = {
    cause.name: cause
    for cause in (
        Cause("NOISY", 1, "scatters in the biases more than the read noise"),
        Cause("UNSTABLE", 2, "scatters in the darks more than their noise"),
        Cause("HOT", 4, "collects charge in the dark"),
        Cause("LEVEL", 8, "off its neighbors, or saturated, in the biases"),
        Cause("DEAD", 16, "less than half as sensitive as its neighbors"),
        Cause("RESPONSE", 32, "an outlier in the flats"),
        Cause("NONLINEAR", 64, "an outlier in the ratio of flats of two levels"),
        Cause("COLUMN", 128, "in a bad column or a part of one"),
        Cause("UNEXPOSED", 256, "sees no light", ("BAD_PIXEL", "NO_DATA")),
        Cause("USER", 512, "in the mask that was given"),
    )
}


def cause_flags(causes):
    """
    Flags of frames from the causes of a bad pixel mask.

    Parameters
    ----------
    causes : `~numpy.ndarray`
        Bits of `CAUSES`, shape ``(ny, nx)``.

    Returns
    -------
    `~numpy.ndarray`
        uint16, bits of `ccdnight.flags.FLAGS`.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.badpixels import cause_flags
    >>> from ccdnight.flags import describe_flags
    >>> causes = np.zeros((4, 4), np.uint16)
    >>> causes[0, :2] = 1
    >>> describe_flags(cause_flags(causes))
    {'BAD_PIXEL': 2}
    """
    flags = np.zeros(causes.shape, np.uint16)
    for names in {cause.flags for cause in CAUSES.values()}:
        bits = sum(cause.value for cause in CAUSES.values() if cause.flags == names)
        flags[(causes & bits) != 0] |= flag_value(*names)
    return flags


def describe_causes(causes):
    """
    Count the pixels of each cause.

    Parameters
    ----------
    causes : `~numpy.ndarray`
        Bits of `CAUSES`, shape ``(ny, nx)``: the data of a bad pixel mask.

    Returns
    -------
    dict of str to int
        Causes that occur, in the order of their bits.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.badpixels import describe_causes
    >>> causes = np.zeros((4, 4), np.uint16)
    >>> causes[0, :2] = 1
    >>> describe_causes(causes)
    {'NOISY': 2}
    """
    # Few pixels are bad: the others are looked at once, not for every cause.
    found = causes[causes != 0]
    counts = {cause.name: int(np.count_nonzero(found & cause.value)) for cause in CAUSES.values()}
    return {name: count for name, count in counts.items() if count}
