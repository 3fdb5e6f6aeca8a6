"""What dithered science frames have in common: the sky stays on its pixels while the sources move."""

from dataclasses import dataclass, field

import numpy as np
from astropy.nddata import CCDData

from ccdnight._inputs import frame_list
from ccdnight.calibration import identity_of
from ccdnight.exceptions import FrameError, InputError
from ccdnight.execution import map_list
from ccdnight.flags import FLAGS
from ccdnight.products import flags_of, header_of, read_ccd
from ccdnight.provenance import is_applied
from ccdnight.smoothing import gaussian_smooth
from ccdnight.stacking import NoiseModel, stack
from ccdnight.statistics import clipped_moments, sample_pixels

__all__ = ["DitheredFrame", "combine_dithered", "count_positions", "mask_sources", "open_dithered", "sky_level"]

#: A source is looked for after smoothing by Gaussians of this standard deviation in pixels: its core, and in means of
#: so many pixels a side (which is faster) its faint wings.
_CORE, _WINGS, _BLOCK = 1.5, 5.0, 4
_LEAST = 3
#: Bright pixels by which a position is known, and the part of them that two frames of one position share.
_BRIGHT_PIXELS, _SAME = 20, 0.33


@dataclass
class DitheredFrame:
    """
    One science frame of a dithered series, as a source of rows for `ccdnight.stacking.stack`.

    Attributes
    ----------
    name, digest : str
        How it is known in PROVENANCE.
    header : `~astropy.io.fits.Header`
        Its header.
    data : `~numpy.ndarray`
        float32, shape ``(ny, nx)``.
    bad : `~numpy.ndarray`
        Flagged and not finite pixels.
    sources : `~numpy.ndarray`
        Pixels of stars and galaxies.
    level : float
        Sky in the unit of the data.
    """

    name: str
    digest: str
    header: object
    data: np.ndarray
    bad: np.ndarray
    sources: np.ndarray
    level: float = 0.0
    dtype: np.dtype = field(default=np.dtype(np.float32))

    @property
    def shape(self):
        """Shape ``(ny, nx)``."""
        return self.data.shape

    @property
    def good(self):
        """Pixels of sky."""
        return ~(self.bad | self.sources)

    def fill(self, rows, out, exclude):
        """
        Some rows, NaN where there is no sky.

        Parameters
        ----------
        rows : slice
            Which.
        out : `~numpy.ndarray`
            Written.
        exclude : int
            Not needed: what is flagged is left out.
        """
        del exclude
        out[...] = self.data[rows]
        out[self.bad[rows] | self.sources[rows]] = np.nan


def open_dithered(science):
    """
    Science frames, checked.

    Parameters
    ----------
    science : list of `~astropy.nddata.CCDData` or path-like
        Calibrated frames.

    Returns
    -------
    list of DitheredFrame

    Raises
    ------
    InputError
        If there are fewer than three, shapes or units differ, or a frame has no sky.
    """
    frames, unit = [], None
    for number, item in enumerate(frame_list(science), 1):
        ccd = item if isinstance(item, CCDData) else read_ccd(item)
        name = str(ccd.meta.get("FILENAME", f"frame {number}")) if ccd is item else str(item)
        if ccd is not item and not (is_applied(ccd.meta, "bias") or is_applied(ccd.meta, "overscan")):
            raise FrameError(item, "neither bias nor overscan has been subtracted", "calibrate it first")
        unit = ccd.unit if unit is None else unit
        if ccd.unit != unit:
            raise FrameError(name, f"its unit is {str(ccd.unit)!r}, that of the first frame {str(unit)!r}")
        if frames and ccd.data.shape != frames[0].shape:
            raise FrameError(name, f"shape {ccd.data.shape} differs from {frames[0].shape} of the first frame")
        frames.append(_dithered(ccd, name))
    if len(frames) < _LEAST:
        msg = f"{len(frames)} science frames; at least {_LEAST} dithered ones are needed to tell sky from sources"
        raise InputError(msg)
    return frames


def _dithered(ccd, name):
    data = np.asarray(ccd.data, np.float32)
    bad = ((flags_of(ccd) & np.uint16(~FLAGS["LOW_WEIGHT"].value & 0xFFFF)) != 0) | ~np.isfinite(data)
    frame = DitheredFrame(name, identity_of(ccd), header_of(ccd), data, bad, np.zeros(data.shape, bool))
    frame.level = sky_level(frame)
    return frame


def count_positions(frames):
    """
    How many different pointings frames have, as far as their bright sources tell.

    Two frames lie on the same position where more than a third of the bright pixels of one are bright in the other;
    what a dither does not move is neither told from fringes nor from illumination.

    Parameters
    ----------
    frames : list of DitheredFrame
        The frames.

    Returns
    -------
    int
        A frame without bright sources counts as one of its own: it has nothing that could be taken for the sky.
    """
    kept, count = [], 0
    for bright in map_list(_bright, frames):
        total = np.count_nonzero(bright)
        if total < _BRIGHT_PIXELS:
            count += 1
        elif not any(np.count_nonzero(bright & other) > _SAME * min(total, size) for other, size in kept):
            kept.append((bright, total))
            count += 1
    return count


def _bright(frame):
    """Pixels of bright sources; single ones are rather cosmic rays or hot pixels."""
    _, scatter, _ = clipped_moments(sample_pixels(frame.data)[sample_pixels(frame.good)])
    bright = (frame.data > frame.level + max(10 * scatter, 0.5 * frame.level)) & ~frame.bad
    pairs = np.zeros(bright.shape, np.uint8)
    pairs[1:] += bright[:-1]
    pairs[:-1] += bright[1:]
    pairs[:, 1:] += bright[:, :-1]
    pairs[:, :-1] += bright[:, 1:]
    return bright & (pairs >= 2)


def sky_level(frame):
    """
    Median of the sky of a frame.

    Parameters
    ----------
    frame : DitheredFrame
        The frame.

    Returns
    -------
    float

    Raises
    ------
    FrameError
        If there is none, or it is not positive.
    """
    values = sample_pixels(frame.data, 1_000_000)[sample_pixels(frame.good, 1_000_000)]
    level = float(np.median(values)) if values.size else 0.0
    if not level > 0:
        what = f"its sky is {level:.3g}" if values.size else "no pixel of it is unflagged sky"
        raise FrameError(frame.name, f"{what}; light of the sky is needed")
    return level


def combine_dithered(frames, *, subtract, sigma, source_sigma, grow):
    """
    Combine the sky of dithered frames.

    The median of all frames holds what stays in place: illumination and fringes. What a frame has beyond it are its
    sources, which are looked for and left out; that is done twice, since the first median still holds some of them.
    The rest is clipped and averaged.

    Parameters
    ----------
    frames : list of DitheredFrame
        Changed: level and sources are those of the last round.
    subtract : bool
        Whether the sky level is subtracted before the frame is divided by it.
    sigma : float
        Values further from the median than this many times the noise are rejected.
    source_sigma, grow
        As in `mask_sources`.

    Returns
    -------
    Stack
        Of ``data / level``, or of ``data / level - 1``.
    """
    for _ in range(2):
        scales, offsets = _scaling(frames, subtract)
        common = stack(frames, method="median", reject="none", scales=scales, offsets=offsets, uncertainty="none").data

        def look(item, common=common):
            frame, scale, offset = item
            rest = (frame.data - np.float32(offset)) * np.float32(scale) - common
            usable = ~frame.bad & np.isfinite(rest)
            frame.sources = mask_sources(rest, usable, sigma=source_sigma, grow=grow)
            frame.level = sky_level(frame)
            return clipped_moments(sample_pixels(rest)[sample_pixels(usable & ~frame.sources)])[1] / scale

        noises = map_list(look, list(zip(frames, scales, offsets, strict=True)))
    scales, offsets = _scaling(frames, subtract)
    noise = NoiseModel(float(np.nanmedian(noises)))
    return stack(frames, reject="noise", sigma=sigma, noise=noise, scales=scales, offsets=offsets)


def _scaling(frames, subtract):
    levels = np.array([frame.level for frame in frames])
    return 1 / levels, levels if subtract else np.zeros(len(levels))


def mask_sources(data, good, *, sigma=3.0, grow=5):
    """
    Pixels of stars and galaxies in a frame of no other structure.

    Parameters
    ----------
    data : `~numpy.ndarray`
        Shape ``(ny, nx)``, its background taken off.
    good : `~numpy.ndarray`
        Pixels that may be looked at.
    sigma : float, optional
        Threshold in standard deviations of the smoothed frame.
    grow : int, optional
        Pixels by which what is found is grown.

    Returns
    -------
    `~numpy.ndarray`
        bool.
    """
    from scipy import ndimage

    values = np.where(good, data - np.median(sample_pixels(data)[sample_pixels(good)]), 0).astype(np.float32)
    weight = good.astype(np.float32)
    found = _stands_out(values, weight, _CORE, sigma)
    wide = _stands_out(_block_means(values), _block_means(weight), _WINGS / _BLOCK, sigma)
    ny, nx = data.shape
    found |= wide.repeat(_BLOCK, axis=0)[:ny].repeat(_BLOCK, axis=1)[:, :nx]
    return ndimage.binary_dilation(found, iterations=grow) if grow else found


def _stands_out(values, weight, scale, sigma):
    share = gaussian_smooth(weight, scale, truncate=3)
    smooth = gaussian_smooth(values, scale, truncate=3)
    smooth /= np.maximum(share, np.float32(0.1))
    center, std, _ = clipped_moments(sample_pixels(smooth)[sample_pixels(share) > 0.5], sigma=3.0)
    return smooth > center + sigma * std


def _block_means(values):
    """Means of blocks; those at the far edges are filled up with zeros, of which nothing is known either."""
    ny, nx = (-(-length // _BLOCK) for length in values.shape)
    room = np.zeros((ny * _BLOCK, nx * _BLOCK), np.float32)
    room[: values.shape[0], : values.shape[1]] = values
    # Rows first, many columns at once.
    rows = room.reshape(ny, _BLOCK, -1).mean(axis=1)
    return rows.reshape(ny, nx, _BLOCK).mean(axis=2)
