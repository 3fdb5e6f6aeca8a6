"""Frames of one field brought to one system of coordinates by the stars that they share."""

from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from ccdnight.alignment.absolute import absolute_coordinates
from ccdnight.alignment.coordinates import Start, put_coordinates, start_coordinates
from ccdnight.alignment.opening import open_frames, threads_for
from ccdnight.alignment.pairing import Frame, pair_frames
from ccdnight.alignment.results import Alignment, FrameTransform
from ccdnight.alignment.stars import detect_stars
from ccdnight.exceptions import InputError
from ccdnight.execution import map_list
from ccdnight.products import derive, header_of
from ccdnight.provenance import printable, record_step

__all__ = ["align"]


def align(frames, *, reference=None, catalog=None, solve=False, threshold=5.0, workers=None):
    """
    Align frames of one field: world coordinates that agree with the stars.

    Each frame begins with the world coordinates of its header or, where it has none, with those that pointing, pixel
    scale and rotation in header or profile give. The stars that it has in common with the reference then move it
    to its place: a shift where there is one star, with rotation and scale from two on, all six numbers of a linear
    transformation from eight on. Projection and distortion of the header are kept. Frames that are turned, mirrored
    or far from where their header says are found by triangles of stars; where there are not stars enough, the pixels
    themselves are correlated, which finds shifts alone.

    Parameters
    ----------
    frames : list of `~astropy.nddata.CCDData` or of path-like
        At least two, raw or calibrated. Of raw files the overscan is cut off.
    reference : int, `~astropy.nddata.CCDData` or path-like, optional
        Number of the frame that stays where it is, or the frame itself, which need not be one of the list; by default
        the one with the best world coordinates and most stars.
    catalog : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or path-like, optional
        Stars with columns ra and dec in degrees (and mag, if they are not sorted by brightness), to which the
        reference is brought first.
    solve : bool, optional
        Whether ``solve-field`` of astrometry.net, which has to be installed with its index files, solves the reference
        first.
    threshold : float, optional
        Of the detection of stars, see `detect_stars`.
    workers : int, optional
        Threads.

    Returns
    -------
    Alignment
        A sequence of the aligned frames as CCDData, their world coordinates in the header, with a `FrameTransform` for
        every frame that was given. Pixels are as they were. Relative positions are as exact as the residuals say,
        absolute ones as good as the header of the reference, which card ASTRABS says.

    Raises
    ------
    InputError
        If there is one frame only, no frame can be aligned to the reference, or the catalog or ``solve-field`` give
        no solution.

    Examples
    --------
    Of six simulated frames in :doc:`/user_guide/coadd`; two frames of the same stars:

    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import align
    >>> rng = np.random.default_rng(1)
    >>> x, y, row, column = *rng.uniform(10, 118, (2, 12)), *np.mgrid[:128, :128]
    >>> def field(dx):
    ...     light = [3000 * np.exp(-((column - i - dx) ** 2 + (row - j) ** 2) / 8) for i, j in zip(x, y)]
    ...     return CCDData(rng.normal(200, 10, (128, 128)) + sum(light), unit="electron")
    >>> found = align([field(0), field(3)], reference=0)
    >>> [item.aligned for item in found.transforms]
    [True, True]
    """
    opened = open_frames(frames, least=2 if reference is None or isinstance(reference, int | np.integer) else 1)
    place, outside = _find_reference(frames, opened, reference)
    every = [*opened, *outside]
    parts = map_list(lambda item: _look(item, threshold), every, workers=threads_for(every, workers))
    place = _best(parts) if place is None else place
    base, absolute = parts[place], ""
    if catalog is not None or solve:
        wcs, absolute = absolute_coordinates(every[place], base.start.wcs, base.stars, catalog=catalog)
        base = replace(base, start=Start(wcs, "header"))
    found = []
    for number, part in enumerate(parts[: len(opened)]):
        images = (every[place].load, opened[number].load)
        found.append(_itself(base) if number == place else pair_frames(base, part, images))
    _refuse_nothing(found, place, base)
    return _gathered(opened, found, every[place].name, base, absolute)


def _look(item, threshold):
    stars = detect_stars(item.load(), threshold=threshold)
    return Frame(item.name, item.shape, start_coordinates(item.header, item.shape), stars)


def _find_reference(frames, opened, reference):
    """Number of the reference in the list, or the frame that is opened beside it."""
    if reference is None:
        return None, []
    if isinstance(reference, int | np.integer) and not isinstance(reference, bool):
        if not -len(opened) <= reference < len(opened):
            msg = f"reference = {reference}; there are {len(opened)} frames, so 0 to {len(opened) - 1} are allowed"
            raise InputError(msg)
        return int(reference) % len(opened), []
    for number, item in enumerate(frames if isinstance(frames, list | tuple) else []):
        if item is reference or (isinstance(reference, str) and str(item) == reference):
            return number, []
    outside = open_frames([reference], least=1)
    same = [number for number, item in enumerate(opened) if item.name == outside[0].name and item._path is not None]
    return (same[0], []) if same else (len(opened), outside)


def _best(parts):
    """The frame whose world coordinates are the header's, and of those the one with most good stars."""
    trust = {"header": 2, "pointing": 1, "assumed": 0}
    keys = [(trust[part.start.source], int((part.stars.snr > 10).sum()), -number) for number, part in enumerate(parts)]
    return -max(keys)[2]


@dataclass(frozen=True)
class _Found:
    transform: FrameTransform
    wcs: object


def _itself(base):
    start = FrameTransform(
        base.name, True, "the reference", 0.0, 0.0, 0.0, 1.0, False, len(base.stars), 0.0, 0.0, base.stars.fwhm,
        1.0, base.start.source, np.eye(2), np.zeros(2),
    )  # fmt: skip
    return _Found(start, base.start.wcs)


def _refuse_nothing(found, place, base):
    """An alignment that aligned nothing is an error, with the reason of every frame."""
    others = [item.transform for number, item in enumerate(found) if number != place]
    if others and not any(item.aligned for item in others):
        reasons = "".join(f"\n- {item.name}: {item.reason}".replace(f" {base.name}", "") for item in others[:5])
        more = f"\n- and {len(others) - 5} more" if len(others) > 5 else ""
        msg = f"no frame could be aligned to {base.name}; are they all of one field?{reasons}{more}"
        raise InputError(msg)


def _gathered(opened, found, reference, base, absolute):
    good = [number for number, item in enumerate(found) if item.transform.aligned]
    words = (
        absolute
        or {
            "header": "absolute positions are as good as the header of the reference",
            "pointing": "absolute positions are as good as the pointing in the header",
            "assumed": "absolute positions are not known: an arbitrary origin",
        }[base.start.source]
    )

    def make(number):
        item = found[number]
        return lambda: _written(opened[number].load(), item.transform, item.wcs, reference, words)

    notes = [f"{base.name}: {text}" for text in base.start.notes]
    notes += [f"{item.transform.name}: {item.transform.reason}" for item in found if item.transform.reason and
              item.transform.reason != "the reference"]  # fmt: skip
    return Alignment(
        [make(number) for number in good],
        [item.transform for item in found],
        reference,
        coordinates=[found[number].wcs for number in good],
        opened=[opened[number] for number in good],
        notes=notes,
        absolute=words,
    )


def _written(ccd, transform, wcs, reference, words):
    """A frame with its new world coordinates."""
    meta = header_of(ccd)
    put_coordinates(meta, wcs)
    describe(meta, reference, words)
    meta["ASTRNUM"] = (transform.stars, "stars in common with the reference")
    if np.isfinite(transform.residual):
        meta["ASTRRES"] = (round(transform.residual, 4), "[pixel] rms distance of the stars in common")
    out = derive(ccd, meta=meta)
    told = {"reference": short_name(reference), "stars": transform.stars, "residual": transform.plain()["residual"]}
    record_step(out, "align", history=f"to {short_name(reference)}", **told)
    return out


def short_name(name):
    """
    A frame's name without its folders, for a card: products do not depend on where they were made.

    Parameters
    ----------
    name : str
        Name or path.

    Returns
    -------
    str
    """
    return printable(PurePath(name).name)[-60:]


def describe(meta, reference, words):
    """
    Cards that say what the world coordinates are worth.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header`
        Changed in place.
    reference : str
        Name of the reference.
    words : str
        How good absolute positions are.
    """
    meta["ASTRREF"] = (short_name(reference), "frame that relative positions refer to")
    meta["ASTRABS"] = printable(words)[:68]
