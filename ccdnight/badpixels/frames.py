"""The frames a bad pixel mask is made from, sorted: raw ones by exposure or filter, and masters."""

import os

import numpy as np
from astropy.nddata import CCDData

from ccdnight import storage
from ccdnight._inputs import frame_list
from ccdnight.exceptions import InputError
from ccdnight.execution import map_list
from ccdnight.flags import flag_value
from ccdnight.products import flags_of, read_ccd
from ccdnight.readout import amplifier_regions
from ccdnight.sources import frame_facts, open_source

__all__ = ["Frames", "image_of", "regions_of", "sort_frames"]


class Frames:
    """
    Frames of one kind.

    Parameters
    ----------
    kind : str
        'bias', 'dark' or 'flat'.
    masters : list of `~astropy.nddata.CCDData`
        Those that are masters.
    sets : list of list
        Raw frames as sources, those of one exposure or filter together, the longest exposure first.
    given : list of list
        The same as they were given.
    """

    def __init__(self, kind, masters, sets, given):
        self.kind, self.masters, self.sets, self.given = kind, masters, sets, given

    @property
    def sources(self):
        """All raw frames."""
        return [source for group in self.sets for source in group]


def sort_frames(frames, kind, profile, overscan, window, workers=None):
    """
    Open some frames and sort them.

    Parameters
    ----------
    frames : CCDData, path-like, list of either, or None
        Raw frames, masters of this kind, or both.
    kind : str
        'bias', 'dark' or 'flat'.
    profile, overscan, window, workers
        As in `ccdnight.make_bias`.

    Returns
    -------
    Frames

    Raises
    ------
    InputError
        If a master of another kind is among them.
    """
    masters, raw, groups = [], [], {}
    for frame in [] if frames is None else frame_list(frames):
        header = frame.meta if isinstance(frame, CCDData) else storage.read_header(frame).header
        master = str(header.get("MASTER", "")).strip()
        if master and master != kind:
            msg = f"a master {master} is among the frames of kind {kind}"
            raise InputError(msg)
        if master:
            masters.append(read_ccd(frame) if isinstance(frame, str | os.PathLike) else frame)
        else:
            raw.append(frame)
    opened = map_list(lambda item: open_source(item, profile, overscan=overscan, window=window), raw, workers=workers)
    for source, frame in zip(opened, raw, strict=True):
        groups.setdefault(_key(source, kind), []).append((source, frame))
    pairs = [groups[key] for key in sorted(groups, reverse=True)]
    sets, given = ([[pair[i] for pair in group] for group in pairs] for i in (0, 1))
    return Frames(kind, masters, sets, given)


def _key(source, kind):
    if kind == "bias":
        return ""
    facts = frame_facts(source)
    if kind == "flat":
        return facts.filter or ""
    return float(f"{facts.exposure or 0:.2g}")


def image_of(master, missing):
    """
    Pixels of a master, and where it has none.

    Parameters
    ----------
    master : `~astropy.nddata.CCDData`
        A bias, dark or flat.
    missing : float
        What stands for a pixel that has no value.

    Returns
    -------
    image : `~numpy.ndarray`
        float32.
    lost : `~numpy.ndarray`
        bool.
    """
    lost = (flags_of(master) & flag_value("BAD_PIXEL", "NO_DATA")) != 0
    lost |= ~np.isfinite(master.data)
    return np.where(lost, np.float32(missing), master.data).astype(np.float32, copy=False), lost


def regions_of(item, profile=None):
    """
    Rows and columns of the amplifiers of a frame.

    Parameters
    ----------
    item : source or `~astropy.nddata.CCDData`
        A trimmed frame.
    profile : InstrumentProfile, optional
        The instrument of a CCDData.

    Returns
    -------
    list of tuple of slice
        The whole frame where nothing is known of amplifiers.
    """
    if isinstance(item, CCDData):
        shape, regions = item.data.shape, amplifier_regions(item, profile) if profile is not None else []
    else:
        shape, regions = item.shape, item.regions
    return [part for part, _ in regions] or [(slice(0, shape[0]), slice(0, shape[1]))]
