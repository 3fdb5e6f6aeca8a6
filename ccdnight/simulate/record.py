"""The files of a truth, read when they are first asked for."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.simulate.frame import Maps
from ccdnight.simulate.physics import Physics
from ccdnight.simulate.script import Night, from_mapping
from ccdnight.storage import safe_name

__all__ = ["Record"]


class Record:
    """
    What is in the folder of a truth.

    Parameters
    ----------
    folder : path-like
        OUT/truth.
    values : dict
        Content of truth.json.

    Attributes
    ----------
    night : Night
        Camera and exposures.
    physics : Physics
        The terms that were on.
    seed : int
        The seed.
    particles : dict
        Number of cosmic rays of each frame that has any.
    trails : dict
        Satellites of each frame that has any.
    """

    def __init__(self, folder, values):
        self.folder = Path(folder)
        self.seed = values["seed"]
        self.physics = from_mapping(Physics, values["physics"])
        self.night = from_mapping(Night, values["night"])
        self.particles = values["particles"]
        self.trails = values["trails"]

    @property
    def raw_folder(self):
        """Folder of the raw frames."""
        return self.folder.parent / "raw"

    @property
    def gain(self):
        """Gain of each amplifier, electron/adu."""
        return {item.name: item.gain for item in self.night.camera.readouts}

    @property
    def read_noise(self):
        """Read noise of each amplifier, electron."""
        return {item.name: item.read_noise for item in self.night.camera.readouts}

    @property
    def sky(self):
        """Mean rate of the sky in the science frames of each filter, electron/s/pixel."""
        science = [item for item in self.night.exposures if item.kind == "science"]
        rates = {band: [item.light for item in science if item.filter == band] for band in self.night.filters}
        return {band: sum(values) / len(values) for band, values in rates.items() if values}

    @cached_property
    def exposures(self):
        """`Exposure` of each path."""
        return {item.path: item for item in self.night.exposures}

    def exposure(self, frame):
        """
        What was exposed.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        Exposure

        Raises
        ------
        InputError
            If there is no such frame, or several of that basename.
        """
        name = Path(frame).as_posix()
        if name in self.exposures:
            return self.exposures[name]
        found = [path for path in self.exposures if path.rpartition("/")[2] == name]
        if len(found) != 1:
            msg = f"frame {name!r}: {len(found)} of that name; the frames are {', '.join(self.exposures)}"
            raise InputError(msg)
        return self.exposures[found[0]]

    @cached_property
    def frames(self):
        """Table of the frames: the fields of `Exposure`."""
        from astropy.table import Table

        rows = [asdict(item) for item in self.night.exposures]
        return Table({name: [row[name] for row in rows] for name in rows[0]}) if rows else Table()

    def select(self, kind, band=None):
        """
        Paths of the frames of one kind.

        Parameters
        ----------
        kind : str
            What was really exposed.
        band : str, optional
            The filter.

        Returns
        -------
        list of str
        """
        return [p for p, item in self.exposures.items() if item.kind == kind and band in (None, item.filter)]

    def flat(self, band):
        """
        Flat field: relative response, median 1 over the exposed pixels.

        Parameters
        ----------
        band : str
            The filter.

        Returns
        -------
        numpy.ndarray
            float32.
        """
        return self.maps.flats[band]

    @property
    def dark(self):
        """Dark rate with hot pixels and glow, electron/s, float32."""
        return self.maps.dark

    @property
    def bias_shape(self):
        """Bias of the image over that of the overscan, adu, float32."""
        return self.maps.bias

    @property
    def bad_pixels(self):
        """Table of bad pixels: x, y, kind, sensitivity, rate, capacity, noise."""
        return self.maps.defects

    @property
    def catalog(self):
        """All stars: id, field, x, y (0-based, of an exposure without shift), and rates in electron/s."""
        return self.maps.catalog

    @cached_property
    def maps(self):
        """The maps that all frames share."""
        bands = dict.fromkeys(item.filter for item in self.night.exposures if item.light or item.field)
        flats = {band: self._array(f"flat_{safe_name(band)}.fits") for band in bands}
        dark, bias = self._array("dark.fits"), self._array("bias.fits")
        return Maps(flats, dark, bias, self._table("bad_pixels.ecsv"), self._table("stars.ecsv"))

    @cached_property
    def cosmic_ray_table(self):
        """Pixels hit by cosmic rays: file, x, y, electron."""
        return self._table("cosmic_rays.ecsv")

    @cached_property
    def saturated_runs(self):
        """Saturated pixels as runs along the columns: file, x, y_first, y_last."""
        return self._table("saturated.ecsv")

    def _array(self, name):
        from astropy.io import fits

        return fits.getdata(self.folder / name).astype(np.float32)

    def _table(self, name):
        from astropy.table import Table

        return Table.read(self.folder / name, format="ascii.ecsv")
