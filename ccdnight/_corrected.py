"""Frames with masters taken off on the way, for those who stack them."""

import copy

import numpy as np

from ccdnight._steps import significant_flags

__all__ = ["Corrected", "Off"]


class Off:
    """
    A master that is subtracted from frames: its flags are found once, and a dark is scaled strip by strip.

    Parameters
    ----------
    master : `~astropy.nddata.CCDData`
        Bias or dark.
    """

    def __init__(self, master):
        self._data, self._flags = master.data, significant_flags(master)
        self._any, self._factor = bool(self._flags.any()), None

    def scaled(self, factor):
        """
        The same, multiplied.

        Parameters
        ----------
        factor : float
            Such as seconds.

        Returns
        -------
        Off
        """
        other = copy.copy(self)
        other._factor = np.float32(factor)
        return other

    def data(self, rows):
        """
        What is subtracted from some rows.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        `~numpy.ndarray`
        """
        return self._data[rows] if self._factor is None else self._data[rows] * self._factor

    def flags(self, rows):
        """
        Flags of some rows.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        `~numpy.ndarray` or None
            None where the master has none at all.
        """
        return self._flags[rows] if self._any else None


class Corrected:
    """
    A source with bias and dark taken off, strip by strip.

    Parameters
    ----------
    source : ArraySource or FrameSource
        A frame.
    *off : Off or None
        What is subtracted.
    gain : `~numpy.ndarray`, optional
        What the rest is multiplied by.
    response : `ccdnight.linearity.Response`, optional
        By what the linearity of the rest is corrected.
    """

    def __init__(self, source, *off, gain=None, response=None):
        self.name, self.shape, self.dtype, self._source = source.name, source.shape, source.dtype, source
        self._response = response
        self._off, self._gain = [item for item in off if item is not None], gain

    def rows(self, rows):
        """
        As `ccdnight.sources.ArraySource.rows`.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        data, flags : `~numpy.ndarray`
        """
        data, flags = self._source.rows(rows)
        data = np.array(data, dtype=np.float32)
        for item in self._off:
            data -= item.data(rows)
            bits = item.flags(rows)
            flags = flags if bits is None else flags | bits
        if self._response is not None:
            self._response.apply(data, rows)
        if self._gain is not None:
            data *= self._gain[rows]
        return data, flags

    def fill(self, rows, out, exclude):
        """
        As `ccdnight.sources.FrameSource.fill`.

        Parameters
        ----------
        rows, out, exclude
            As there.
        """
        self._source.fill(rows, out, exclude)
        for item in self._off:
            out -= item.data(rows)
            bits = item.flags(rows)
            bad = np.False_ if bits is None else (bits & exclude) != 0
            if bad.any():
                out[bad] = np.nan
        if self._response is not None:
            self._response.apply(out, rows)
        if self._gain is not None:
            out *= self._gain[rows]
