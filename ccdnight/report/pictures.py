"""Pictures for a report: those made while the pixels were in memory, the others from the files."""

from pathlib import Path, PurePosixPath

from ccdnight.exceptions import ProfileError
from ccdnight.execution import map_list
from ccdnight.profiles import get_profile
from ccdnight.thumbnails import LARGEST, picture_of_file, pixels_of_pictures

__all__ = ["pictures_of"]


def pictures_of(reduction):
    """
    Pictures of all products of a night.

    Parameters
    ----------
    reduction : Reduction
        What came out.

    Returns
    -------
    dict of str to dict
        File of the product, relative to the output folder, to its pictures ``before`` and ``after``; each as
        `ccdnight.thumbnails.draw` gives it, or None where there is none.
    """
    wanted, found = [], dict(reduction.pictures)
    kinds = {master.name: master.kind for master in reduction.plan.masters}
    for name in reduction.masters:
        file = f"masters/{reduction.masters.path(name).name}"
        wanted.append((file, "after", reduction.masters.path(name), None, kinds.get(name, "flat"), LARGEST))
    pixels, hdu = pixels_of_pictures(len(reduction.science)), _hdu(reduction)
    for name in reduction.science:
        path = reduction.science.path(name)
        file = path.relative_to(reduction.output).as_posix()
        wanted.append((file, "after", path, None, "science", pixels))
        raw = _raw_file(reduction, name)
        if raw is not None:
            wanted.append((file, "before", raw, hdu, "raw", pixels))
    missing = [item for item in wanted if item[0] not in reduction.pictures]
    drawn = map_list(_draw, missing)
    for (file, when, *_), picture in zip(missing, drawn, strict=True):
        found.setdefault(file, {})[when] = picture
    return found


def _draw(item):
    _, _, path, hdu, kind, pixels = item
    unit = {"raw": "adu", "science": "electron", "bias": "adu", "dark": "adu / s"}.get(kind, "")
    return picture_of_file(path, hdu=hdu, pixels=pixels, kind=kind, unit=unit)


def _raw_file(reduction, name):
    """The raw file of a science frame, where it still is; never one outside the raw folder."""
    folder, path = reduction.run.get("raw"), PurePosixPath(name)
    if not folder or path.is_absolute() or ".." in path.parts:
        return None
    raw = Path(folder, name)
    try:
        return raw if raw.is_file() else None
    except (OSError, ValueError):
        return None


def _hdu(reduction):
    try:
        return get_profile(reduction.plan.profile).hdu
    except ProfileError:
        return None
