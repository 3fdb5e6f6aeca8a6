"""What was put into a simulated night: written beside it, and opened again."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from ccdnight.exceptions import InputError
from ccdnight.simulate.charge import area_kernel
from ccdnight.simulate.electronics import row_level
from ccdnight.simulate.frame import expected_charge, incident_light
from ccdnight.simulate.record import Record
from ccdnight.simulate.stars import star_positions
from ccdnight.storage import safe_name

__all__ = ["FORMAT", "Truth", "open_truth"]

#: Format of truth.json.
FORMAT = 1


def open_truth(path):
    """
    Open what was put into a simulated night.

    Parameters
    ----------
    path : path-like
        The folder of the night (with raw and truth in it), or its folder truth.

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        If there is no truth, or it is of a newer format.

    Examples
    --------
    What it holds, and how a reduction is held against it, is in :doc:`/user_guide/simulate`.
    """
    folder = Path(path)
    folder = folder / "truth" if (folder / "truth").is_dir() else folder
    try:
        values = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        msg = f"{folder}: no truth of a simulated night: {error}"
        raise InputError(msg) from error
    if values.get("format") != FORMAT:
        msg = f"{folder}: truth of format {values.get('format')!r}; this version reads {FORMAT}"
        raise InputError(msg)
    return Truth(folder, values)


class Truth(Record):
    """
    The truth of a simulated night; arrays and tables are read when they are first asked for.

    Frames are named by their path under OUT/raw, or by a basename that occurs once. Arrays have the shape of
    the *data frame* ``(ny, nx)``: the raw frame without overscan, before edges are trimmed.

    Examples
    --------
    What `simulate_night` and `open_truth` return; a reduction is held against one in :doc:`/user_guide/simulate`.
    """

    def __repr__(self):
        frames = len(self.night.exposures)
        return f"<Truth of night {self.night.name!r}: {frames} frames, seed {self.seed}, {self.folder}>"

    def bias(self, frame):
        """
        Bias of a frame: level, drift along the rows, and shape.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            Adu.
        """
        camera = self.night.camera
        rows = row_level(self.exposure(frame), camera, self.physics, self.seed)
        raw = np.broadcast_to(rows[:, np.newaxis], camera.shape)
        return camera.to_data(raw) + self.bias_shape + camera.per_pixel("bias_offset")

    def light(self, frame):
        """
        Electrons that a perfect, even detector would hold: what the reduced frame should show.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            Electron, float32, without noise, cosmic rays, full well.
        """
        exposure = self.exposure(frame)
        trails = self.trails.get(exposure.path, [])
        return incident_light(self.night, exposure, self.physics, self.seed, self.catalog, trails)

    def expected(self, frame):
        """
        Mean charge of each pixel: light through the flat field, and dark current.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            Electron, float32, without noise, cosmic rays, full well.
        """
        return expected_charge(self.exposure(frame), self.maps, self.light(frame))

    def variance(self, frame):
        """
        Variance of the raw charge: photons and dark current, read noise, rounding.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            Electron^2, float32. Brighter-fatter correlation is not in it.
        """
        camera, physics = self.night.camera, self.physics
        out = self.expected(frame) if physics.photon_noise else np.zeros(camera.data_shape, np.float32)
        if physics.read_noise:
            noise = np.ones(camera.data_shape, np.float32)
            noise[self.bad_pixels["y"], self.bad_pixels["x"]] = self.bad_pixels["noise"]
            out = out + (camera.per_pixel("read_noise") * noise) ** 2
        if physics.quantization:
            out = out + np.float32(1 / 12) * camera.per_pixel("gain") ** 2
        return out

    def stars(self, frame):
        """
        Stars in one frame.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        `~astropy.table.Table`
            id, x and y (0-based, data frame; also those a little outside), flux in electron/s, and electron
            in this exposure.
        """
        from astropy.table import Table

        exposure = self.exposure(frame)
        selected, x, y = star_positions(self.night, exposure, self.catalog)
        band = f"flux_{safe_name(exposure.filter)}"
        flux = self.catalog[band][selected] if band in self.catalog.colnames else np.zeros(selected.size)
        flux = np.asarray(flux, float) * exposure.transparency
        columns = [self.catalog["id"][selected], x, y, flux, flux * exposure.exposure]
        return Table(columns, names=("id", "x", "y", "flux", "electron"))

    def cosmic_rays(self, frame):
        """
        Charge of cosmic rays.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            Electron, float32; 0 where none passed.
        """
        out = np.zeros(self.night.camera.data_shape, np.float32)
        table = self.cosmic_ray_table
        rows = table[table["file"] == self.exposure(frame).path] if len(table) else table
        out[rows["y"], rows["x"]] = rows["electron"]
        return out

    def saturated(self, frame):
        """
        Pixels at full well (bled ones included) or at the end of the converter.

        Parameters
        ----------
        frame : str
            The frame.

        Returns
        -------
        numpy.ndarray
            bool.
        """
        out = np.zeros(self.night.camera.data_shape, bool)
        table = self.saturated_runs
        for row in table[table["file"] == self.exposure(frame).path] if len(table) else ():
            out[row["y_first"] : row["y_last"] + 1, row["x"]] = True
        return out

    @cached_property
    def bad(self):
        """Bad pixels, bool."""
        out = np.zeros(self.night.camera.data_shape, bool)
        out[self.bad_pixels["y"], self.bad_pixels["x"]] = True
        return out

    def usable(self, frame, *, charge=1.0):
        """
        Pixels to be held against the truth: not bad, not saturated, not hit by a cosmic ray.

        Parameters
        ----------
        frame : str
            The frame.
        charge : float, optional
            Electron of a cosmic ray from which on a pixel counts as hit.

        Returns
        -------
        numpy.ndarray
            bool.
        """
        return ~(self.bad | self.saturated(frame) | (self.cosmic_rays(frame) >= charge))

    @property
    def area_kernel(self):
        """Brighter-fatter kernel a_ij, shape (9, 9), 1/electron; zero where the term is off."""
        a00 = self.night.camera.brighter_fatter_a00 if self.physics.brighter_fatter else 0.0
        return area_kernel(a00)
