"""The bit mask of a frame: one declarative table of flags."""

from dataclasses import dataclass

import numpy as np

__all__ = ["FLAGS", "Flag", "describe_flags", "flag_value"]


@dataclass(frozen=True)
class Flag:
    """
    One bit of the mask.

    Attributes
    ----------
    name : str
        Name as it stands in the header of the MASK extension.
    value : int
        The bit.
    meaning : str
        In words.

    Examples
    --------
    >>> from ccdnight.flags import FLAGS
    >>> FLAGS["SATURATED"].value, FLAGS["COSMIC_RAY"].meaning
    (2, 'hit by a cosmic ray')
    """

    name: str
    value: int
    meaning: str


#: Every flag, by name.
FLAGS = {
    flag.name: flag
    for flag in (
        Flag("BAD_PIXEL", 1, "a defect of the detector"),
        Flag("SATURATED", 2, "at or above saturation in the raw frame, or next to such a pixel"),
        Flag("COSMIC_RAY", 4, "hit by a cosmic ray"),
        Flag("NO_DATA", 8, "not finite, without a usable flat, or outside the footprint"),
        Flag("INTERPOLATED", 16, "replaced by a value from its neighbors"),
        Flag("BLEED", 32, "on or next to a bleed trail of a saturated star"),
        Flag("LOW_WEIGHT", 64, "made from far fewer frames than its neighbors"),
        Flag("CROSSTALK", 128, "ghost of a bright star in another amplifier"),
    )
}


def flag_value(*names):
    """
    The bits of some flags.

    Parameters
    ----------
    *names : str
        Names of flags.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        For a name that is not known; the known ones are listed.

    Examples
    --------
    >>> from ccdnight.flags import flag_value
    >>> flag_value("SATURATED") | flag_value("BLEED") == flag_value("SATURATED", "BLEED")
    True
    """
    value = 0
    for name in names:
        if name not in FLAGS:
            msg = f"flag {name!r} is not known; known are {', '.join(FLAGS)}"
            raise ValueError(msg)
        value |= FLAGS[name].value
    return value


def describe_flags(flags):
    """
    Count the pixels of each flag.

    Parameters
    ----------
    flags : `~numpy.ndarray`
        Bit mask, shape ``(ny, nx)``.

    Returns
    -------
    dict of str to int
        Flags that occur, in the order of their bits.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.flags import describe_flags, flag_value
    >>> flags = np.zeros((4, 4), np.uint16)
    >>> flags[0] = flag_value("SATURATED")
    >>> flags[0, 0] |= flag_value("BLEED")
    >>> describe_flags(flags)
    {'SATURATED': 4, 'BLEED': 1}
    """
    # Few pixels are flagged: the others are looked at once, not for every flag.
    found = flags[flags != 0]
    counts = {flag.name: int(np.count_nonzero(found & flag.value)) for flag in FLAGS.values()}
    return {name: count for name, count in counts.items() if count}
