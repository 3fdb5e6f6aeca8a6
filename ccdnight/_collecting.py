"""The files of a night as a collection: a folder, a list, or a collection of ccdproc."""

import os
from pathlib import Path

from ccdnight.exceptions import InputError
from ccdnight.frames import FrameCollection

__all__ = ["collect"]


def collect(source, profile):
    """
    A night's files as a collection, however they are given.

    Parameters
    ----------
    source : path-like, list of path-like or `ccdproc.ImageFileCollection`
        A folder, files, or a collection.
    profile : str, path-like, InstrumentProfile or None
        The instrument.

    Returns
    -------
    FrameCollection

    Raises
    ------
    InputError
        If the list is empty.
    TypeError
        If it is anything else.
    """
    from ccdproc import ImageFileCollection

    if isinstance(source, FrameCollection) and profile is None:
        return source
    if isinstance(source, ImageFileCollection):
        names = [os.path.join(source.location or "", str(name)) for name in source.files]
        ext = None if isinstance(source, FrameCollection) or source.ext == 0 else source.ext
        return _collect_files([Path(name) for name in names], profile, folder=source.location, ext=ext)
    if isinstance(source, str | Path):
        return FrameCollection(source, profile=profile)
    if isinstance(source, list | tuple):
        return _collect_files([Path(item) for item in source], profile)
    msg = f"source is a {type(source).__name__}; a folder, a list of files or an ImageFileCollection is needed"
    raise TypeError(msg)


def _collect_files(paths, profile, *, folder=None, ext=None):
    """Files given one by one keep their paths below the folder that they share."""
    if not paths and folder is None:
        msg = "source is an empty list; at least one file is needed"
        raise InputError(msg)
    absolute = [Path(os.path.abspath(path)) for path in paths]
    folder = os.path.abspath(folder) if folder else os.path.commonpath([path.parent for path in absolute])
    names = [Path(os.path.relpath(path, folder)).as_posix() for path in absolute]
    return FrameCollection(folder, filenames=list(dict.fromkeys(names)), ext=ext, profile=profile)
