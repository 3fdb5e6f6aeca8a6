"""CCDData as sources of rows for the stacking engine, and its stacks as CCDData."""

import errno
import io
import os

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty, fits_ccddata_reader

from ccdnight._quiet import quiet_libraries
from ccdnight._sections import parse_section
from ccdnight.fitsrows import FitsRows, list_inputs, plain_header
from ccdnight.flags import FLAGS
from ccdnight.products import header_of

__all__ = ["ArrayRows", "as_ccd", "like_first", "require_equal_units", "sources_of", "variance_of"]

#: Keywords of the reader of CCDData that files can be read by rows with.
_READ_BY_ROWS = {"unit", "hdu", "hdu_mask", "hdu_uncertainty", "format"}


class ArrayRows:
    """A frame that lies in memory, of any number of dimensions, as rows."""

    def __init__(self, data, mask=None, variance=None, name="CCDData"):
        self.name, shape = name, (data.shape[0], int(np.prod(data.shape[1:])))
        self.shape, self._data = shape, data.reshape(shape)
        self.dtype = np.dtype(np.float32 if data.dtype.itemsize <= (4 if data.dtype.kind == "f" else 2) else np.float64)
        self._mask = None if mask is None else np.broadcast_to(mask, data.shape).reshape(shape)
        self._variance = None if variance is None else np.broadcast_to(variance, data.shape).reshape(shape)

    @property
    def has_mask(self):
        return self._mask is not None and bool(self._mask.any())

    @property
    def has_variance(self):
        return self._variance is not None

    def fill(self, rows, out, _exclude):
        out[...] = self._data[rows]
        if self._mask is not None and self._mask[rows].any():
            out[self._mask[rows]] = np.nan

    def variance(self, rows):
        return self._variance[rows]

    def pixels(self, section=None):
        part = (slice(None), slice(None)) if section is None else parse_section(section, self.shape)
        values = self._data[part]
        return values if self._mask is None else np.where(self._mask[part], np.nan, values)


def variance_of(uncertainty):
    """Variance of any uncertainty, as an array; None where it does not say."""
    try:
        return uncertainty.represent_as(VarianceUncertainty).array
    except (AttributeError, TypeError, ValueError):
        return None


def sources_of(frames, ccdkwargs):
    """
    Frames as sources of rows.

    Parameters
    ----------
    frames : list of `~astropy.nddata.CCDData` or path-like
        Frames in memory and files.
    ccdkwargs : dict
        Keywords of the reader of CCDData.

    Returns
    -------
    list or None
        None where one of them cannot be read so.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    """
    if set(ccdkwargs) - _READ_BY_ROWS or ccdkwargs.get("format", "fits") != "fits":
        return None
    sources = []
    for number, frame in enumerate(frames):
        source = _in_memory(frame, number) if isinstance(frame, CCDData) else _in_file(frame, ccdkwargs)
        if source is None:
            return None
        sources.append(source)
    return sources


def _in_memory(frame, number):
    if not isinstance(frame.data, np.ndarray) or frame.data.ndim != 2 or frame.data.dtype.kind not in "fiu":
        return None
    return ArrayRows(frame.data, frame.mask, variance_of(frame.uncertainty), name=f"frame {number}")


def _in_file(path, ccdkwargs):
    hdu = ccdkwargs.get("hdu")
    if isinstance(hdu, str):
        return None
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    names = {"mask": ccdkwargs.get("hdu_mask", "MASK"), "uncertainty": ccdkwargs.get("hdu_uncertainty", "UNCERT")}
    return FitsRows(path, hdu=hdu, **names)


def require_equal_units(frames, sources, ccdkwargs):
    """
    Refuse frames of different units, where they say; for files a unit that is given holds for all.

    Parameters
    ----------
    frames, sources : list
        Frames and files, and what `sources_of` made of them.
    ccdkwargs : dict
        Keywords of the reader of CCDData.

    Raises
    ------
    TypeError
        Naming the first frame that differs.
    """
    units = []
    for frame, source in zip(frames, sources, strict=True):
        if isinstance(frame, CCDData):
            units.append((str(frame.unit), source.name))
        elif "BUNIT" in source.header and "unit" not in ccdkwargs:
            units.append((str(source.header["BUNIT"]).strip().lower(), source.name))
    for unit, name in units:
        if unit != units[0][0]:
            msg = f"{name}: unit {unit!r} differs from {units[0][0]!r} of {units[0][1]}"
            raise TypeError(msg)


def as_ccd(result, unit, header, dtype, shape):
    """
    A stack as CCDData; where no value was left it is masked, with the flag NO_DATA.

    Parameters
    ----------
    result : Stack
        What the engine returned.
    unit : `~astropy.units.Unit` or str
        Of the frames.
    header : `~astropy.io.fits.Header`
        It gets BUNIT and becomes `meta`.
    dtype : `~numpy.dtype`
        Of the data.
    shape : tuple of int
        Of the frames.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    left_out = (result.count == 0).reshape(shape)
    # Zeros that nobody writes cost nothing; a product of 8 million zeros takes a third as long as the stack.
    flags = np.zeros(shape, np.uint16)
    if left_out.any():
        flags[left_out] = FLAGS["NO_DATA"].value
    header["BUNIT"] = u.Unit(unit).to_string()
    return CCDData(
        np.asarray(result.data.reshape(shape), dtype=dtype),
        unit=unit,
        mask=left_out,
        flags=flags,
        uncertainty=StdDevUncertainty(result.error.reshape(shape), copy=False),
        meta=header,
    )


def like_first(result, frames, sources, ccdkwargs):
    """
    A stack as CCDData with the header, unit and world coordinates of the first frame, and the names of all.

    Parameters
    ----------
    result : Stack
        What the engine returned.
    frames, sources : list
        Frames and files, and what `sources_of` made of them.
    ccdkwargs : dict
        Keywords of the reader of CCDData.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    first = frames[0] if isinstance(frames[0], CCDData) else _without_pixels(sources[0].header, ccdkwargs)
    header = header_of(first)
    names = [str(frame.meta.get("FILENAME", "")) if isinstance(frame, CCDData) else str(frame) for frame in frames]
    list_inputs(header, names)
    ccd = as_ccd(result, first.unit, header, result.data.dtype, result.data.shape)
    ccd.wcs = first.wcs
    return ccd


def _without_pixels(header, ccdkwargs):
    """What CCDData.read makes of the header of a file: a frame of one pixel."""
    stream = io.BytesIO()
    with quiet_libraries():
        fits.PrimaryHDU(np.zeros((1, 1), np.uint8), plain_header(header)).writeto(stream, output_verify="silentfix")
        stream.seek(0)
        return fits_ccddata_reader(stream, unit=ccdkwargs.get("unit"))
