"""One frame and the reference: which stars are the same, and where the frame lies."""

from dataclasses import dataclass, replace

import numpy as np

from ccdnight._quiet import quiet_libraries
from ccdnight.alignment.asterisms import fit_linear, match_lists
from ccdnight.alignment.coordinates import Start, fit_coordinates, pixel_scale_of
from ccdnight.alignment.correlation import correlate_frames
from ccdnight.alignment.results import FrameTransform
from ccdnight.alignment.stars import Stars

__all__ = ["Frame", "pair_frames"]

#: Pixel scales are the same within this ratio.
_SAME_SCALE = 1.02
#: Pixels, degrees by which stars may lie elsewhere than the header says without a word about it.
_SILENT = (10.0, 0.5)
#: Error of a position that measuring a bright star leaves, in pixels; pairs with a larger error than the second
#: are used only where there are fewer than `_ENOUGH` better ones.
_FLOOR, _PRECISE, _ENOUGH = 0.01, 0.06, 12


@dataclass(frozen=True)
class Frame:
    """
    What is known of a frame.

    Attributes
    ----------
    name : str
        The frame.
    shape : tuple of int
        Shape ``(ny, nx)``.
    start : Start
        World coordinates to begin with.
    stars : Stars
        Its stars.
    """

    name: str
    shape: tuple
    start: Start
    stars: Stars


@dataclass(frozen=True)
class Pair:
    """What came out of comparing a frame with the reference."""

    transform: FrameTransform
    wcs: object = None


def pair_frames(base, frame, images):
    """
    Bring a frame to the reference.

    Parameters
    ----------
    base, frame : Frame
        The reference and the frame.
    images : tuple of callable
        Give the two images, should there be too few stars.

    Returns
    -------
    Pair
    """
    blank = FrameTransform(frame.name, fwhm=frame.stars.fwhm, source=frame.start.source)
    ratio = _ratio(base, frame)
    if ratio is not None and not 1 / _SAME_SCALE < ratio < _SAME_SCALE:
        scales = [f"{pixel_scale_of(item.start.wcs):.4g}" for item in (frame, base)]
        reason = f"different pixel scale: {scales[0]} arcsec, and {scales[1]} of the reference {base.name}"
        return Pair(replace(blank, reason=reason))
    match, blind = _matched(base, frame)
    if match is None:
        return _correlated(base, frame, images, blank)
    if not 1 / _SAME_SCALE < match.scale < _SAME_SCALE:
        reason = f"different pixel scale: its stars lie as those of {base.name} with {match.scale:.4g} pixels for one"
        return Pair(replace(blank, reason=reason))
    return _placed(base, frame, match, blind, blank)


def _ratio(base, frame):
    """Of the pixel scales; None where one of them is not known."""
    if not (base.start.scale_known and frame.start.scale_known):
        return None
    return pixel_scale_of(frame.start.wcs) / pixel_scale_of(base.start.wcs)


def _to_base(points, wcs, base):
    """Positions in the reference by way of the sky; NaN where there is none."""
    with quiet_libraries():
        sky = wcs.all_pix2world(np.reshape(points, (-1, 2)), 0)
        try:
            return base.start.wcs.all_world2pix(sky, 0, quiet=True)
        except (ValueError, RuntimeError):
            return np.full((len(sky), 2), np.nan)


def _matched(base, frame):
    """Stars in common: near where the world coordinates say, else wherever; and whether it was the latter."""
    one, other = base.stars.positions, frame.stars.positions
    area = float(np.prod(base.shape))
    known = "assumed" not in (base.start.source, frame.start.source)
    if known and len(other):
        near = _to_base(other, frame.start.wcs, base)
        side = max(base.shape) + max(frame.shape)
        if np.isfinite(near).all() and np.abs(near - np.array(base.shape[::-1]) / 2).max() < 3 * side:
            match = match_lists(one, near, area=area, scales=(0.95, 1.05))
            if match is not None and len(match) > 1:
                return match, False
    scales = (0.95, 1.05) if _ratio(base, frame) is not None else (0.2, 5.0)
    return match_lists(one, other, area=area, scales=scales), known


def _placed(base, frame, match, blind, blank):
    """World coordinates of the frame from its stars, and the transformation that they mean."""
    first, second = _alike(base.stars, frame.stars, match)
    one, other = base.stars.positions[first], frame.stars.positions[second]
    variance = base.stars.error[first] ** 2 + frame.stars.error[second] ** 2 + _FLOOR**2
    start = frame.start.wcs
    if blind or frame.start.source == "assumed" or base.start.source == "assumed":
        # What the header says is of no use here: the frame gets the projection of the reference.
        start = base.start.wcs
    if len(one) == 1 or match.mirrored or blind or abs(match.angle) > 5:
        start = _turned(base.start.wcs, start, match, blind or start is base.start.wcs)
    keep = np.ones(len(one), bool)
    wcs = start
    for _ in range(4):
        wcs = fit_coordinates(wcs, other[keep], _sky(base, one[keep]), weights=1 / variance[keep], fit=fit_linear)
        gap = _to_base(other, wcs, base) - one
        keep = _without_outliers(gap, variance)
    return Pair(_told(base, frame, wcs, one, gap, variance, keep, blank, blind, match), wcs)


def _sky(base, points):
    with quiet_libraries():
        return base.start.wcs.all_pix2world(points, 0)


def _turned(base_wcs, start, match, plain):
    """World coordinates of a frame that is turned or mirrored as its stars say, for a fit that begins there."""
    if not plain:
        return start
    new = base_wcs.deepcopy()
    crpix = np.linalg.solve(match.matrix, np.asarray(base_wcs.wcs.crpix) - 1 - match.offset) + 1
    new.wcs.cd, new.wcs.crpix = base_wcs.pixel_scale_matrix @ match.matrix, crpix
    new.sip = None
    with quiet_libraries():
        new.wcs.ctype = [text.replace("-SIP", "") for text in new.wcs.ctype]
        new.wcs.set()
    return new


def _brightness(base, frame, match):
    """Light of a frame's stars over that of the reference's: the median of those that are bright in both."""
    first, second = match.first, match.second
    snr = np.minimum(base.stars.snr[first], frame.stars.snr[second])
    good = snr >= min(50.0, np.median(snr))
    return float(np.median(frame.stars.flux[second[good]] / base.stars.flux[first[good]]))


def _alike(base, other, match):
    """Pairs whose brightness agrees, and of those the ones that are measured well."""
    first, second = match.first, match.second
    if len(first) > 3:
        ratio = np.log(base.flux[first] / other.flux[second])
        keep = np.abs(ratio - np.median(ratio)) < 0.9
        first, second = first[keep], second[keep]
    error = np.hypot(base.error[first], other.error[second])
    order = np.argsort(error, kind="stable")
    number = max(int((error < _PRECISE).sum()), min(_ENOUGH, len(first)))
    chosen = np.sort(order[:number])
    return first[chosen], second[chosen]


def _without_outliers(gap, variance):
    """Stars that lie where the others say: not the ones that a cosmic ray or a neighbor moved."""
    distance = np.hypot(*gap.T) / np.sqrt(variance)
    if len(gap) < 4:
        return np.ones(len(gap), bool)
    return distance <= max(4.0, 4 * np.median(distance))


def _told(base, frame, wcs, one, gap, variance, keep, blank, blind, match):
    """The transformation in numbers, and in words what is to be known of it."""
    ny, nx = frame.shape
    grid = np.array([(x, y) for x in np.linspace(0, nx - 1, 5) for y in np.linspace(0, ny - 1, 5)])
    matrix, offset = fit_linear(_to_base(grid, wcs, base), grid)
    middle = np.array([(nx - 1) / 2, (ny - 1) / 2])
    moved = matrix @ middle + offset - middle
    mirrored = np.linalg.det(matrix) < 0
    count, free = int(keep.sum()), 1 if len(one) == 1 else 2 if len(one) < 8 else 3
    residual = np.nan
    if count > free:
        weight = 1 / variance[keep]
        residual = np.sqrt((weight * (gap[keep] ** 2).sum(1)).sum() / weight.sum() * count / (count - free))
    elif count > 1:
        residual = float(np.sqrt((gap[keep] ** 2).sum(1).mean()))
    correction = np.nan
    if frame.start.source != "assumed":
        correction = float(np.hypot(*(_to_base(middle, frame.start.wcs, base)[0] - middle - moved)))
    turned = np.degrees(np.arctan2(matrix[1, 0], (-1 if mirrored else 1) * matrix[1, 1]))
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    return replace(
        blank,
        aligned=True,
        reason=_words(frame, count, correction, blind, match, base),
        dx=float(moved[0]),
        dy=float(moved[1]),
        rotation=float(turned),
        scale=scale,
        mirrored=bool(mirrored),
        stars=count,
        residual=float(residual),
        correction=correction,
        brightness=_brightness(base, frame, match),
        matrix=matrix,
        offset=offset,
        vectors=np.column_stack([one[keep], gap[keep]]),
    )


def _words(frame, count, correction, blind, match, base):
    words = list(frame.start.notes)
    if count == 1:
        words.append("one star in common: a shift, which nothing else confirms")
    header = frame.start.source == "header" and base.start.source == "header"
    if header and (blind or correction > _SILENT[0] or abs(match.angle) > _SILENT[1] or match.mirrored):
        words.append(f"its world coordinates contradict its stars by {correction:.1f} pixels and were put right")
    return "; ".join(words)


def _correlated(base, frame, images, blank):
    """The shift of the pixels where stars do not tell; refused with the reason where they do not tell either."""
    counts = f"{len(frame.stars)} stars, and {len(base.stars)} of the reference {base.name}"
    few = min(len(base.stars), len(frame.stars)) < _ENOUGH
    shift = correlate_frames(*(load() for load in images)) if few else None
    if shift is None:
        few = "no stars" if not len(frame.stars) else "no common stars"
        return Pair(replace(blank, reason=f"{few}: {counts}; none of them fall together better than by chance"))
    wcs = base.start.wcs.deepcopy()
    wcs.wcs.crpix = np.asarray(base.start.wcs.wcs.crpix) - shift[:2]
    with quiet_libraries():
        wcs.wcs.set()
    reason = f"shifted by the correlation of the pixels ({shift[2]:.0f} sigma): {counts}"
    transform = replace(
        blank, aligned=True, reason=reason, dx=shift[0], dy=shift[1], rotation=0.0, scale=1.0, matrix=np.eye(2),
        offset=np.array(shift[:2]),
    )  # fmt: skip
    return Pair(transform, wcs)
