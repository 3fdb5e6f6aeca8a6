"""Frames to be aligned and coadded, opened so that some rows of one can be read: CCDData, products, raw files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

from ccdnight import storage
from ccdnight._inputs import frame_list
from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError, InputError
from ccdnight.execution import default_workers
from ccdnight.flags import FLAGS
from ccdnight.products import flags_of, header_of, make_ccd, read_ccd, sigma_of
from ccdnight.provenance import digest_bytes, digest_file, records_of
from ccdnight.readout import find_profile, read_frame
from ccdnight.readout import trim as trim_frame

__all__ = ["Opened", "open_frames", "threads_for"]

#: Bytes for frames that are held whole, and for a pixel of one that is looked at.
_WHOLE_FRAMES, _BYTES = 8e8, 24


@dataclass
class Opened:
    """
    A frame whose pixels are read when they are asked for.

    Attributes
    ----------
    name : str
        How it is called in words and records.
    header : `~astropy.io.fits.Header`
        Of the frame as its rows are: trimmed.
    shape : tuple of int
        Shape ``(ny, nx)``.
    unit : str
        Unit of the data.
    has_sigma : bool
        Whether it brings an uncertainty.
    """

    name: str
    header: fits.Header
    shape: tuple
    unit: str
    has_sigma: bool
    _ccd: object = None
    _path: object = None
    _parts: object = None

    def rows(self, rows):
        """
        Some rows.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        data : `~numpy.ndarray`
            float32, shape ``(k, nx)``.
        variance : `~numpy.ndarray` or None
            float32.
        flags : `~numpy.ndarray`
            uint16.
        """
        if self._ccd is not None:
            sigma = sigma_of(self._ccd)
            flags = self._flags[rows]
            data = np.asarray(self._ccd.data[rows], np.float32)
            return data, None if sigma is None else np.square(sigma[rows]), flags
        data, sigma, flags = (None if raw is None else self._read(raw, rows) for raw in self._parts[:3])
        bits = np.zeros(data.shape, np.uint16) if flags is None else flags.astype(np.uint16)
        if flags is not None and not self._parts[3]:
            bits = np.where(bits != 0, np.uint16(FLAGS["NO_DATA"].value), np.uint16(0))
        return data.astype(np.float32, copy=False), None if sigma is None else _variance(sigma, self._parts[4]), bits

    def _read(self, raw, rows):
        path = self._path if not isinstance(raw, tuple) else raw[0]
        return storage.read_pixels(path, raw=raw[1] if isinstance(raw, tuple) else raw, rows=rows)

    def load(self):
        """
        The whole frame.

        Returns
        -------
        `~astropy.nddata.CCDData`
        """
        return self._ccd if self._ccd is not None else read_ccd(self._path)

    @property
    def records(self):
        """Provenance that the frame brings."""
        return records_of(self._ccd) if self._ccd is not None else ()

    @property
    def digest(self):
        """SHA-256 of the file, or of the pixels."""
        if self._path is not None:
            return digest_file(self._path)
        return digest_bytes(np.ascontiguousarray(self._ccd.data).tobytes())

    def __post_init__(self):
        self._flags = None if self._ccd is None else flags_of(self._ccd)


def threads_for(opened, workers, limit=_WHOLE_FRAMES):
    """
    Threads that may hold a whole frame each.

    Parameters
    ----------
    opened : list of Opened
        The frames.
    workers : int or None
        Threads that were asked for.
    limit : float, optional
        Bytes for the frames of all threads.

    Returns
    -------
    int
    """
    largest = max(float(np.prod(item.shape)) for item in opened) * _BYTES
    return max(1, min(default_workers() if workers is None else workers, int(limit / largest)))


def _variance(array, kind):
    if kind == "VarianceUncertainty":
        return array
    with np.errstate(divide="ignore"):
        return 1 / array if kind == "InverseVariance" else np.square(array)


def open_frames(frames, *, least=2):
    """
    Open frames for reading.

    Parameters
    ----------
    frames : `~astropy.nddata.CCDData`, path-like, or a list of either
        What was given; of raw files the overscan is cut off, not subtracted.
    least : int, optional
        Frames that are needed.

    Returns
    -------
    list of Opened

    Raises
    ------
    InputError
        If there are fewer, or one of them cannot be used.
    TypeError
        If one of them is neither.
    """
    items = frame_list(frames)
    if len(items) < least:
        have = "no frames" if not items else "one frame only" if len(items) == 1 else f"{len(items)} frames"
        msg = f"frames: {have}; at least {least} of the same field are needed"
        raise InputError(msg)
    return [_open(item, number) for number, item in enumerate(items)]


def _open(item, number):
    if isinstance(item, CCDData):
        name = str(item.meta.get("FILENAME", "") or f"frame {number}")
        if np.ndim(item.data) != 2 or 0 in np.shape(item.data):
            msg = f"{name}: shape {np.shape(item.data)}; a frame has two axes, none of length 0"
            raise InputError(msg)
        return _in_memory(item, name)
    if not isinstance(item, str | Path):
        msg = f"frame {number} is a {type(item).__name__}; a CCDData or a path is needed"
        raise TypeError(msg)
    path = Path(item)
    raw = storage.read_header(path)
    parts = _extensions(path)
    if "MASK" not in parts and "UNCERT" not in parts and "PROVENANCE" not in parts:
        # Cameras write whole numbers; fractions are somebody's product.
        return _in_memory(_trimmed(path) if raw.header["BITPIX"] > 0 else read_ccd(path), str(path))
    return _product(path, raw, parts)


def _in_memory(ccd, name):
    return Opened(name, header_of(ccd), ccd.data.shape, str(ccd.unit), ccd.uncertainty is not None, _ccd=ccd)


def _trimmed(path):
    """A raw frame without its overscan."""
    ccd = read_frame(path)
    profile = find_profile(None, ccd.meta)
    if profile.name == "generic" and not any(key in ccd.meta for key in ("BIASSEC", "TRIMSEC", "DATASEC")):
        return ccd
    try:
        return trim_frame(ccd, profile=profile)
    except InputError:
        return ccd


def _extensions(path):
    """Names of the HDUs of a file, and where they stand."""
    try:
        with quiet_libraries(), fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
            return {hdu.name: (number, hdu.header.copy()) for number, hdu in enumerate(hdus) if hdu.name}
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise FrameError(path, f"cannot be read: {error}") from error


def _product(path, raw, parts):
    def part(name):
        if name not in parts:
            return None
        item = storage.read_header(path, hdu=parts[name][0])
        return storage.unpacked(path, item) if item.compressed else item

    storage.require_all_intact(path, raw)
    header, _ = storage.clean_header(raw.header)
    image = storage.unpacked(path, raw) if raw.compressed else raw
    kind = str(parts.get("UNCERT", (0, {}))[1].get("UTYPE", "StdDevUncertainty")).strip()
    named = any(key.startswith("FLAG") for key in parts.get("MASK", (0, {}))[1])
    header = make_ccd(np.zeros((1, 1)), unit="", meta=header).meta
    unit = str(raw.header.get("BUNIT", "adu")).strip()
    header["BUNIT"] = unit
    for key in ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True, remove_all=True)
    uncertain = part("UNCERT")
    return Opened(
        str(path), header, tuple(raw.shape), unit, uncertain is not None,
        _path=path, _parts=(image, uncertain, part("MASK"), named, kind),
    )  # fmt: skip
