"""Any FITS image as a source of rows, with its mask and uncertainty: for stacking files that need no profile."""

from pathlib import Path

import numpy as np

from ccdnight import storage
from ccdnight._sections import parse_section
from ccdnight.exceptions import FrameError, InputError

__all__ = ["FitsRows", "levels_of", "list_inputs", "plain_header", "require_equal_shapes", "scales_and_offsets"]

#: Cards that tell how one file holds its pixels, and nothing of a file made from it.
_LAYOUT = ("BSCALE", "BZERO", "BLANK", "CHECKSUM", "DATASUM", "XTENSION", "PCOUNT", "GCOUNT", "EXTNAME")
_STATISTICS = {"median": np.nanmedian, "mean": lambda values: np.nanmean(values, dtype=np.float64)}


class FitsRows:
    """
    A FITS image that is read by rows.

    Parameters
    ----------
    path : path-like
        The file.
    hdu : int, optional
        Number of the HDU; by default the first image.
    mask, uncertainty : str or None, optional
        Names of the extensions with mask (not 0 is bad) and uncertainty, as `astropy.nddata.CCDData` writes them;
        None does without.

    Raises
    ------
    FrameError
        If it cannot be read, or its mask or uncertainty has another shape.
    """

    def __init__(self, path, *, hdu=None, mask="MASK", uncertainty="UNCERT"):
        self.name = str(path)
        raw = storage.read_header(path, hdu=hdu)
        self.header, self.shape = raw.header, raw.shape
        self.dtype = np.dtype(np.float64 if storage.wide(raw) else np.float32)
        alone = raw.hdu == 0 and not raw.compressed and storage.ends_with_image(path, raw)
        numbers = storage.extension_numbers(path) if (mask or uncertainty) and not alone else {}
        self._image = _image(path, raw)
        self._mask = self._extension(path, numbers.get(str(mask).upper()))
        self._uncertainty = self._extension(path, numbers.get(str(uncertainty).upper()))

    def _extension(self, path, number):
        if number is None:
            return None
        raw = storage.read_header(path, hdu=number)
        if raw.shape != self.shape:
            raise FrameError(path, f"HDU {number} has the shape {raw.shape}, its image {self.shape}")
        return _image(path, raw)

    @property
    def has_mask(self):
        """Whether there is a mask."""
        return self._mask is not None

    @property
    def has_variance(self):
        """Whether the uncertainty is known."""
        return self._uncertainty is not None

    def fill(self, rows, out, exclude=0):  # noqa: ARG002 - a source's signature
        """
        Some rows, NaN where the mask is set.

        Parameters
        ----------
        rows : slice
            Which.
        out : `~numpy.ndarray`
            Written, shape ``(k, nx)``.
        exclude : int, optional
            Of sources with flags; a plain mask has none.
        """
        _read(self._image, rows, out)
        if self._mask is not None:
            bad = _read(self._mask, rows) != 0
            if bad.any():
                out[bad] = np.nan

    @property
    def packed_zero(self):
        """BZERO, if the pixels are 16-bit integers that are all valid; else None."""
        plain = self._mask is None and storage.packs(self._image[1])
        return self._image[1].header.get("BZERO", 0) if plain else None

    def fill_packed(self, rows, out):
        """
        Some rows as the bytes lie in the file.

        Parameters
        ----------
        rows : slice
            Which.
        out : `~numpy.ndarray`
            Written, uint16.
        """
        storage.read_packed(*self._image, rows, out)

    def variance(self, rows):
        """
        Variances of some rows.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        `~numpy.ndarray`
            Shape ``(k, nx)``.
        """
        values, kind = _read(self._uncertainty, rows), self._uncertainty[1].header.get("UTYPE", "StdDevUncertainty")
        if str(kind).strip() == "VarianceUncertainty":
            return values
        with np.errstate(divide="ignore"):
            return 1 / values if str(kind).strip() == "InverseVariance" else values**2

    def pixels(self, section=None):
        """
        Pixels of a part of the image, NaN where the mask is set.

        Parameters
        ----------
        section : str, optional
            ``[x1:x2,y1:y2]``.

        Returns
        -------
        `~numpy.ndarray`
        """
        rows, columns = (slice(None), slice(None)) if section is None else parse_section(section, self.shape)
        begin, end, _ = rows.indices(self.shape[0])
        out = np.empty((end - begin, self.shape[1]), self.dtype)
        self.fill(slice(begin, end), out)
        return out[:, columns]


def _image(path, raw):
    return storage.unpacked(path, raw) if raw.compressed else (path, raw)


def _read(image, rows, out=None):
    path, raw = image
    if storage.decodes(raw):
        return storage.read_rows(path, raw, rows, out)
    values = storage.read_pixels(path, raw=raw, rows=rows)
    if out is not None:
        out[...] = values
    return values


def levels_of(sources, statistic, section=None):
    """
    A statistic of each frame.

    Parameters
    ----------
    sources : list
        Frames with `pixels`.
    statistic : {'median', 'mean'} or callable
        Of the pixels that are not masked; a callable gets them all.
    section : str, optional
        ``[x1:x2,y1:y2]``; by default the whole frame.

    Returns
    -------
    `~numpy.ndarray`

    Raises
    ------
    ValueError
        If the statistic is not known.
    FrameError
        If the statistic of a frame is not finite.
    """
    if isinstance(statistic, str) and statistic not in _STATISTICS:
        msg = f"statistic = {statistic!r} is not known; known are {', '.join(_STATISTICS)}"
        raise ValueError(msg)
    function = _STATISTICS.get(statistic, statistic) if isinstance(statistic, str) else statistic
    levels = []
    for source in sources:
        level = float(function(source.pixels(section)))
        if not np.isfinite(level):
            raise FrameError(source.name, f"its {statistic} is {level}; no pixel of the section is usable")
        levels.append(level)
    return np.array(levels)


def scales_and_offsets(sources, scale, zero, section=None):
    """
    What each frame is multiplied by, and what is subtracted from it before.

    Parameters
    ----------
    sources : list
        Frames with `pixels`.
    scale : {'median', 'mean'}, callable, sequence of float or None
        By name: what brings the statistic of each frame to that of the first. A callable gives the factor of the
        pixels it is called with.
    zero : {'median', 'mean'}, sequence of float or None
        By name: what each frame lies above the first. Numbers, such as overscan levels, are subtracted as they are.
    section : str, optional
        Where the statistics are taken.

    Returns
    -------
    scales, offsets : `~numpy.ndarray` or None

    Raises
    ------
    FrameError
        If a frame cannot be scaled since its level is not above 0.
    """
    offsets = zero
    if isinstance(zero, str):
        levels = levels_of(sources, zero, section)
        offsets = levels - levels[0]
    if callable(scale):
        return levels_of(sources, scale, section), offsets
    if not isinstance(scale, str):
        return scale, offsets
    levels = levels_of(sources, scale, section) - (0 if offsets is None else np.asarray(offsets, float))
    for source, level in zip(sources, levels, strict=True):
        if level <= 0:
            raise FrameError(source.name, f"its {scale} is {level:g}; only a level above 0 can be scaled")
    return levels[0] / levels, offsets


def plain_header(header):
    """
    Header of an image, for another image that is made from it.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header, left as it is.

    Returns
    -------
    `~astropy.io.fits.Header`
        Every card can be written, and none tells how the pixels lay in the file.
    """
    header, _ = storage.clean_header(header)
    for key in _LAYOUT:
        header.remove(key, ignore_missing=True, remove_all=True)
    return header


def list_inputs(header, names):
    """
    Write NCOMBINE and the names of the inputs into a header, as IRAF's imcombine does.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Changed.
    names : list of str
        In the order in which they were combined.
    """
    for key in [key for key in header if key.startswith("IMCMB")]:
        header.remove(key, remove_all=True)
    header["NCOMBINE"] = (len(names), "frames combined")
    if len(names) > 999:
        header.add_history(f"the first 999 of {len(names)} inputs are listed in IMCMB001 to IMCMB999")
    for number, name in enumerate(names[:999], 1):
        header[f"IMCMB{number:03d}"] = Path(name).name[-68:]


def require_equal_shapes(sources):
    """
    Refuse frames of different shapes.

    Parameters
    ----------
    sources : list
        At least one.

    Raises
    ------
    InputError
        Naming the first frame that differs.
    """
    if not sources:
        msg = "no frames given; at least one is needed"
        raise InputError(msg)
    for source in sources[1:]:
        if source.shape != sources[0].shape:
            reason = f"shape {source.shape} differs from {sources[0].shape} of {sources[0].name}"
            raise FrameError(source.name, reason)
