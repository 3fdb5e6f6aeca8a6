"""The frames and masters that a master is made from: opened, and refused where they do not belong together."""

import numpy as np

from ccdnight._inputs import frame_list
from ccdnight.exceptions import AlreadyAppliedError, FrameError, InputError
from ccdnight.execution import map_list
from ccdnight.products import read_ccd
from ccdnight.provenance import is_applied
from ccdnight.sources import open_source, require_equal_shapes
from ccdnight.statistics import clipped_moments

__all__ = ["as_master", "check_masters", "level_of", "open_frames", "overscan_like", "refuse_applied"]


def as_master(item):
    """
    A master, read from its file where a path is given.

    Parameters
    ----------
    item : `~astropy.nddata.CCDData`, path-like or None
        The master.

    Returns
    -------
    `~astropy.nddata.CCDData` or None
    """
    return item if item is None or hasattr(item, "uncertainty") else read_ccd(item)


def open_frames(frames, profile, overscan, window):
    """
    Open the frames of one master.

    Parameters
    ----------
    frames : list of path-like or `~astropy.nddata.CCDData`
        The frames.
    profile, overscan, window : optional
        As in `ccdnight.sources.open_source`.

    Returns
    -------
    list of ArraySource or FrameSource

    Raises
    ------
    FrameError
        If a frame cannot be read, has another shape than the first, or was never exposed or read out.
    """
    sources = map_list(lambda frame: open_source(frame, profile, overscan=overscan, window=window), frame_list(frames))
    require_equal_shapes(sources)
    for source in sources:
        _refuse_empty(source)
    return sources


def _refuse_empty(source):
    """A frame that is all NaN or all one value was never exposed or never read out."""
    rows = slice(source.shape[0] // 4, min(source.shape[0], source.shape[0] // 4 + 64))
    values = source.rows(rows)[0]
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise FrameError(source.name, "none of its pixels is finite")
    if finite.size > 1 and finite.min() == finite.max():
        raise FrameError(source.name, f"all of its pixels are {finite[0]:g}; a read-out frame has noise")


def overscan_like(bias, overscan):
    """
    Whether the overscan is subtracted: as it was for the bias, if nobody says otherwise.

    Parameters
    ----------
    bias : `~astropy.nddata.CCDData` or None
        Master bias.
    overscan : bool or None
        What was asked for.

    Returns
    -------
    bool or None
    """
    if overscan is None and bias is not None:
        return bool(is_applied(bias.meta, "overscan"))
    return overscan


def check_masters(sources, bias, dark=None):
    """
    Refuse masters that do not fit the frames.

    Parameters
    ----------
    sources : list of ArraySource or FrameSource
        The frames.
    bias, dark : `~astropy.nddata.CCDData` or None
        Masters.

    Raises
    ------
    InputError
        If shape, unit or overscan differ.
    """
    for role, master, unit in (("bias", bias, "adu"), ("dark", dark, "adu / s")):
        if master is not None and master.data.shape != sources[0].shape:
            reason = f"shape {sources[0].shape} differs from {master.data.shape} of the {role}"
            raise FrameError(sources[0].name, reason)
        if master is not None and str(master.unit) != unit:
            msg = f"the {role} is in {str(master.unit)!r}; a master {role} is in {unit!r}"
            raise InputError(msg)
    for source in sources if bias is not None else ():
        if source.overscan_applied != bool(is_applied(bias.meta, "overscan")):
            reason = "its overscan and that of the bias must both be subtracted, or neither"
            raise FrameError(source.name, reason)


def refuse_applied(sources, **steps):
    """
    Refuse frames that have seen a step which is to be applied now; those given as CCDData may have.

    Parameters
    ----------
    sources : list of ArraySource or FrameSource
        The frames.
    **steps
        Steps, each with what is to be applied; None for nothing.

    Raises
    ------
    AlreadyAppliedError
        If a frame has.
    """
    for source in sources:
        for step, wanted in steps.items():
            evidence = is_applied(source.header, step) if wanted is not None else ""
            if evidence:
                msg = f"{source.name}: the step '{step}' has been applied already ({evidence})"
                raise AlreadyAppliedError(msg)


def level_of(source):
    """
    Typical value of a frame, from a few strips spread over it.

    Parameters
    ----------
    source : ArraySource or FrameSource
        The frame.

    Returns
    -------
    float
        In adu.
    """
    ny = source.shape[0]
    starts = np.linspace(0, max(0, ny - 16), 8).astype(int)
    values = []
    for start in starts:
        data, flags = source.rows(slice(int(start), int(min(ny, start + 16))))
        values.append(data[(flags == 0) & np.isfinite(data)])
    return clipped_moments(np.concatenate(values))[0]
