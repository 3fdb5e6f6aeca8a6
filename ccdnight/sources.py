"""
A frame that is read by rows, its overscan subtracted and its amplifiers put together on the way.

Many frames can be stacked so without holding more than a strip of each in memory.
"""

import functools
import os

import numpy as np
from astropy.nddata import CCDData

from ccdnight import storage
from ccdnight._inputs import check_frame, check_window
from ccdnight._unchanged import Unchanged
from ccdnight.exceptions import FrameError
from ccdnight.fitsrows import require_equal_shapes
from ccdnight.flags import FLAGS
from ccdnight.overscan import DEFAULT_WINDOW, overscan_of
from ccdnight.products import flags_of
from ccdnight.profiles import get_profile
from ccdnight.profiles.interpret import read_facts
from ccdnight.provenance import digest_input, is_applied
from ccdnight.readout import (
    amplifier_regions,
    find_profile,
    frame_geometry,
    saturation_level,
    subtract_overscan,
    trim,
)
from ccdnight.trimming import trim_cards

__all__ = ["ArraySource", "FrameSource", "open_source", "require_equal_shapes"]

#: Overscan of raw files: the detector's measurement, masters and the bad pixel mask open the same ones.
_overscans = Unchanged(500)


class ArraySource:
    """
    A CCDData as a source of rows.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        The frame.
    profile : InstrumentProfile, optional
        The instrument.
    name : str, optional
        How to call it.
    """

    def __init__(self, ccd, profile=None, *, name="CCDData"):
        self.name, self.header, self.profile = name, ccd.meta, profile
        self.shape, self._data, self._flags = ccd.data.shape, ccd.data, flags_of(ccd)
        self.dtype = np.dtype(np.float32 if _fits_float32(ccd.data.dtype) else np.float64)
        self.level_error = float(ccd.meta.get("OVSCERR", 0.0))
        self.overscan_level = ccd.meta.get("OVSCMEAN")
        self.digest = ""
        self.regions = amplifier_regions(ccd, profile) if profile else []

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
            float32 (float64 where the frame has it), shape ``(k, nx)``.
        flags : `~numpy.ndarray`
            uint16.
        """
        return np.asarray(self._data[rows], dtype=self._data.dtype.newbyteorder("=")), self._flags[rows]

    def fill(self, rows, out, exclude):
        """
        Some rows, NaN where they are not to be used.

        Parameters
        ----------
        rows, out, exclude
            As in `FrameSource.fill`.
        """
        out[...] = self._data[rows]
        bad = (self._flags[rows] & exclude) != 0
        if bad.any():
            out[bad] = np.nan

    @property
    def step(self):
        """Step of the digitization in adu; 0 where the values are not whole numbers."""
        some = self._data[:: max(1, self.shape[0] // 64)]
        some = some[np.isfinite(some)]
        return 1.0 if np.array_equal(some, np.rint(some)) else 0.0

    @property
    def overscan_applied(self):
        """Whether the overscan has been subtracted."""
        return bool(is_applied(self.header, "overscan"))

    @property
    def trimmed(self):
        """Whether the frame has been trimmed."""
        return bool(is_applied(self.header, "trim"))


class FrameSource:
    """
    A raw file as a source of trimmed rows.

    Parameters
    ----------
    path : path-like
        The file.
    profile : InstrumentProfile
        The instrument.
    overscan : bool, optional
        Whether the overscan is subtracted.
    window : int, optional
        Rows over which its level is smoothed.
    raw : RawHeader, optional
        Its header, where it has been read before.

    Raises
    ------
    FrameError
        If the file cannot be read or has no usable overscan although it is asked for.
    """

    def __init__(self, path, profile, *, overscan=False, window=DEFAULT_WINDOW, raw=None):
        self.path, self.profile, self.name = path, profile, str(path)
        self._raw = raw or storage.read_header(path, hdu=profile.hdu)
        if profile.policy.datasum == "refuse":
            storage.require_intact(path, self._raw)
        header, _ = storage.clean_header(self._raw.header)
        self._geometry = frame_geometry(header, self._raw.shape, profile, path=path)
        self.shape = self._geometry.trimmed_shape
        self.dtype = np.dtype(np.float64 if storage.wide(self._raw) else np.float32)
        # A compressed file cannot be read by rows; it is unpacked once.
        self._plain = storage.unpacked(path, self._raw) if self._raw.compressed else (path, self._raw)
        self._levels, self.level_error, self.overscan_level = {}, 0.0, None
        if overscan:
            sections = repr([(item.data, item.overscan, item.parallel) for item in self._geometry.amplifiers])
            found = _overscans.get(path, lambda *_: self._measure_overscan(window), self._raw.hdu, sections, window)
            self._levels, self.level_error, self.overscan_level = found
        self._pieces = [
            (item, *self._geometry.pieces(item), saturation_level(item.amplifier, self._raw.header, profile))
            for item in self._geometry.amplifiers
        ]
        self.regions = [(trimmed, item.amplifier) for item, _, trimmed, _ in self._pieces]
        trim_cards(header, self._geometry, profile)
        for key in ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"):
            header.remove(key, ignore_missing=True, remove_all=True)
        self.header, self.overscan_applied, self.trimmed = header, overscan, True

    @functools.cached_property
    def digest(self):
        """SHA-256 of the file."""
        return digest_input(self.path)

    @property
    def raw_shape(self):
        """Shape of the file as it is."""
        return tuple(self._raw.shape)

    def trimmed_part(self, array):
        """
        What belongs to the trimmed frame of an array of the file's own shape.

        Parameters
        ----------
        array : `~numpy.ndarray`
            Shape `raw_shape`.

        Returns
        -------
        `~numpy.ndarray`
            Shape of the trimmed frame.
        """
        out = np.zeros(self.shape, array.dtype)
        for _, raw, trimmed, _ in self._pieces:
            out[trimmed] = array[raw]
        return out

    def _measure_overscan(self, window):
        """The level of each amplifier, and error and mean of all."""
        if not self._geometry.has_overscan:
            reasons = "; ".join(self._geometry.notes) or "neither the profile nor its header names one"
            raise FrameError(self.path, f"has no usable overscan: {reasons}")
        found, levels = [], {}
        for number, item in enumerate(self._geometry.amplifiers):
            overscan = overscan_of(self._read, item, window)
            if not np.isfinite(overscan.level).all():
                raise FrameError(self.path, "its overscan holds values that are not finite")
            levels[number] = overscan.level
            if item.parallel is not None:
                levels[number] = overscan.level + self._parallel_level(item, overscan, window)
            found.append(overscan)
        error, mean = (float(np.mean(values)) for values in zip(*((one.error, one.mean) for one in found), strict=True))
        return levels, error, mean

    def _parallel_level(self, item, overscan, window):
        from dataclasses import replace

        second = overscan_of(self._read, replace(item, overscan=item.parallel), window)
        return second.level - np.float32(overscan.mean)

    @property
    def step(self):
        """Step of the digitization in adu; 0 where the file holds fractions."""
        return float(self._raw.header.get("BSCALE", 1)) if self._raw.header["BITPIX"] > 0 else 0.0

    def _read(self, part):
        path, raw = self._plain
        return storage.read_pixels(path, raw=raw, rows=part[0], columns=part[1])

    def rows(self, rows):
        """
        Some rows of the trimmed frame, as in `ArraySource.rows`.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        data, flags : `~numpy.ndarray`
        """
        data = flags = None
        for number, (item, raw, trimmed, level) in enumerate(self._pieces):
            low, high = max(rows.start, trimmed[0].start), min(rows.stop, trimmed[0].stop)
            if low >= high:
                continue
            first = raw[0].start + low - trimmed[0].start
            pixels = self._read((slice(first, first + high - low), raw[1]))
            if data is None:
                shape = (rows.stop - rows.start, self.shape[1])
                data, flags = np.zeros(shape, pixels.dtype), np.zeros(shape, np.uint16)
            target = (slice(low - rows.start, high - rows.start), trimmed[1])
            bits = flags[target]
            for bad, name in ((pixels >= level, "SATURATED"), (~np.isfinite(pixels), "NO_DATA")):
                if bad.any():
                    bits[bad] |= FLAGS[name].value
            if number in self._levels:
                pixels = pixels - _part_of(self._levels[number], item, first, high - low, raw[1])
            data[target] = pixels
        return data, flags

    def fill(self, rows, out, exclude):
        """
        Some rows of the trimmed frame, NaN where they are not to be used: `rows` for those who stack.

        Parameters
        ----------
        rows : slice
            Which.
        out : `~numpy.ndarray`
            Written, shape ``(k, nx)``.
        exclude : int
            Pixels with one of these flags are NaN.
        """
        if len(self._pieces) > 1:
            out[...] = 0
        for number, (item, raw, trimmed, level) in enumerate(self._pieces):
            low, high = max(rows.start, trimmed[0].start), min(rows.stop, trimmed[0].stop)
            if low >= high:
                continue
            first = raw[0].start + low - trimmed[0].start
            pixels = self._read((slice(first, first + high - low), raw[1]))
            if exclude & FLAGS["SATURATED"].value and level < np.inf:
                pixels[pixels >= level] = np.nan
            target = out[low - rows.start : high - rows.start, trimmed[1]]
            if number in self._levels:
                np.subtract(pixels, _part_of(self._levels[number], item, first, high - low, raw[1]), out=target)
            else:
                target[...] = pixels


def _fits_float32(dtype):
    return dtype.itemsize <= (4 if dtype.kind == "f" else 2)


def _part_of(level, item, first, count, columns):
    """The entries of an overscan level that belong to some rows and columns of the raw frame."""
    row, column = first - item.data[0].start, columns.start - item.data[1].start
    if level.shape[0] > 1:
        level = level[row : row + count]
    if level.shape[1] > 1:
        level = level[:, column : column + columns.stop - columns.start]
    return level


def open_source(frame, profile=None, *, overscan=None, window=None):
    """
    A frame, given as path or CCDData, as a source of trimmed rows.

    Parameters
    ----------
    frame : path-like or `~astropy.nddata.CCDData`
        A path is read, its overscan subtracted as asked for, and trimmed. A CCDData is taken as it is where
        no profile is given; else the steps it has not seen are done.
    profile : str, path-like or InstrumentProfile, optional
        The instrument.
    overscan : bool, optional
        Whether the overscan is subtracted; by default where the frame has a usable one and the profile's policy
        does not speak against it.
    window : int, optional
        Rows over which the overscan is smoothed.

    Returns
    -------
    ArraySource or FrameSource
    """
    window = DEFAULT_WINDOW if window is None else window
    check_window(window)
    if isinstance(frame, CCDData):
        check_frame(frame, "CCDData")
        return _open_array(frame, profile, overscan, window)
    if not isinstance(frame, str | os.PathLike):
        msg = f"a frame is a CCDData or a path, not {type(frame).__name__}"
        raise TypeError(msg)
    raw = storage.read_header(frame)
    profile = find_profile(profile, raw.header)
    for step in ("overscan", "trim", "bias", "dark", "flat"):
        evidence = is_applied(raw.header, step)
        if evidence:
            raise FrameError(frame, f"is not raw: the step '{step}' has been applied ({evidence})")
    if overscan is None:
        overscan = wants_overscan(frame, profile)
    known = raw if profile.hdu in (None, raw.hdu) else None
    return FrameSource(frame, profile, overscan=overscan, window=window, raw=known)


def wants_overscan(path, profile):
    """
    Whether a raw file's overscan is subtracted if nobody says otherwise.

    Parameters
    ----------
    path : path-like
        The file.
    profile : InstrumentProfile
        Its policy is followed; 'auto' takes a usable overscan.

    Returns
    -------
    bool
    """
    if profile.policy.bias == "frames":
        return False
    raw = storage.read_header(path, hdu=profile.hdu)
    usable = frame_geometry(raw.header, raw.shape, profile, path=path).has_overscan
    return usable or profile.policy.bias in ("overscan", "both")


def _open_array(ccd, profile, overscan, window):
    if profile is None:
        return ArraySource(ccd)
    profile = get_profile(profile)
    if not is_applied(ccd.meta, "trim"):
        geometry = frame_geometry(ccd.meta, ccd.data.shape, profile)
        if overscan is None:
            overscan = geometry.has_overscan and profile.policy.bias != "frames"
        if overscan and not is_applied(ccd.meta, "overscan"):
            ccd = subtract_overscan(ccd, profile=profile, window=window)
        ccd = trim(ccd, profile=profile)
    return ArraySource(ccd, profile)


def frame_facts(source):
    """
    What a source's header says.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame.

    Returns
    -------
    HeaderFacts
    """
    return read_facts(source.header, find_profile(source.profile, source.header))
