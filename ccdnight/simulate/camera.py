"""The simulated camera: where its amplifiers are in the raw frame, and its numbers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ccdnight._sections import parse_section

__all__ = ["Block", "Camera", "Readout"]


@dataclass(frozen=True)
class Readout:
    """
    One amplifier.

    Attributes
    ----------
    name : str
        Its name.
    data, overscan : str
        FITS sections in the raw frame; an empty overscan is none. The overscan lies beside the data
        (columns) or above it (rows).
    gain : float
        Electron per adu.
    read_noise : float
        Electron.
    full_well : float
        Electron.
    bias_offset : float
        Level beyond that of the frame, in adu.
    overscan_offset : float
        Level of the overscan beyond that of the image, in adu.
    overscan_scatter : float
        Standard deviation of the overscan rows, not shared by the image, in adu.
    overscan_start : tuple of float
        Offsets of the first overscan columns that do not depend on the light, in adu.
    trailing : tuple of (float, float, int)
        Fraction of the last pixel's charge in the first overscan column, columns over which it falls by
        e, and number of columns it reaches.

    Examples
    --------
    >>> from ccdnight.simulate import Readout
    >>> left = Readout("left", data="[1:512,1:512]", overscan="[1025:1040,1:512]", gain=1.3, read_noise=7.0)
    >>> left.full_well
    90000.0
    """

    name: str = ""
    data: str = ""
    overscan: str = ""
    gain: float = 1.5
    read_noise: float = 8.0
    full_well: float = 90000.0
    bias_offset: float = 0.0
    overscan_offset: float = 0.0
    overscan_scatter: float = 0.0
    overscan_start: tuple[float, ...] = ()
    trailing: tuple[float, float, int] = (0.0, 1.0, 0)


@dataclass(frozen=True)
class Block:
    """An amplifier with its slices: `raw` and `overscan` in the raw frame, `data` in the data frame."""

    readout: Readout
    raw: tuple[slice, slice]
    data: tuple[slice, slice]
    overscan: tuple[slice, slice] | None


@dataclass(frozen=True)
class Camera:
    """
    A detector and its electronics.

    Positions are those of the *data frame*: what is left when the columns and rows that belong to no
    data section are taken out of the raw frame, before any edge is trimmed.

    Attributes
    ----------
    name, detector : str
        Names.
    shape : tuple of int
        Shape ``(ny, nx)`` of the raw frame.
    readouts : tuple of Readout
        The amplifiers.
    pixel_size, thickness, diffusion : float
        Side of a pixel, thickness of the sensitive silicon and rms spread of the charge on its way, in
        micrometre.
    pixel_scale : float
        Arcsecond per pixel.
    unexposed : tuple of (int, int, int, int)
        Boxes ``(x1, x2, y1, y2)`` of the data frame, half-open, that see no light; a negative number
        counts from the end, and 0 as an upper end is the end.
    prnu, prnu_filter : float
        Rms of the pixels' sensitivities: a part common to all filters, a part of each filter.
    vignetting : float
        Loss of light in the corners; negative for corners that are brighter than the center.
    dust : int
        Number of shadows of dust.
    dark_rate, dark_scatter : float
        Dark current in electron/s, and its relative scatter from pixel to pixel.
    hot_fraction : float
        Fraction of pixels that are hot; their rates are spread evenly in the logarithm over `hot_rates`.
    hot_rates : tuple of float
        Lowest and highest rate of hot pixels, electron/s.
    glow : tuple of float
        Peak in electron/s and scale in pixels of the glow in the corner at the origin.
    edge_glow : tuple of float
        The same along the left edge.
    dead_fraction, trap_fraction, noisy_fraction : float
        Fractions of pixels with little sensitivity, with a charge trap, with more read noise.
    trap_capacity : tuple of float
        Smallest and largest charge a trap holds back, in electron.
    noisy_factor : tuple of float
        Smallest and largest factor on the read noise of noisy pixels.
    bad_columns : tuple of (int, int, int, float, float)
        ``(x, y1, y2, sensitivity, dark rate)``; rows half-open, 0 as an upper end is the end.
    bad_patch : tuple of (int, int, int, float)
        ``(x, y, radius, sensitivity)`` of a bad patch; a radius of 0 is none.
    bias_gradient : tuple of float
        Rise of the bias at the left edge in adu and the columns over which it falls by e.
    bias_wave : tuple of float
        Amplitude in adu and number of periods of a wave in the bias along the columns.
    bias_ramp : tuple of float
        Level of the image over the overscan at the left edge, and its rise to the right edge, in adu.
    row_drift : float
        Amplitude in adu of the slow change of the level while a frame is read.
    non_linearity : float
        Relative loss of signal at full well.
    brighter_fatter_a00 : float
        Relative change of a pixel's area per electron in it (negative).
    brighter_fatter_steps : int
        Steps in which the charge grows.
    shutter_delay : float
        Seconds by which the exposure in the center is longer than in the corners.
    cosmic_ray_rate : float
        Particles per square centimeter and minute.
    worm_fraction : float
        Fraction of them that are electrons on crooked ways.
    readout_time : float
        Seconds; cosmic rays go on while the frame is read.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from ccdnight.simulate import night_for
    >>> camera = night_for("nickel").camera
    >>> camera.readouts[0].gain
    1.78
    >>> replace(camera, dust=0, hot_fraction=1e-3).dust  # a cleaner window over a worse detector
    0
    """

    name: str
    shape: tuple[int, int]
    readouts: tuple[Readout, ...]
    detector: str = ""
    pixel_size: float = 15.0
    thickness: float = 15.0
    diffusion: float = 4.0
    pixel_scale: float = 0.4
    unexposed: tuple[tuple[int, int, int, int], ...] = ()
    prnu: float = 0.008
    prnu_filter: float = 0.003
    vignetting: float = 0.06
    dust: int = 12
    dark_rate: float = 0.02
    dark_scatter: float = 0.05
    hot_fraction: float = 2e-4
    hot_rates: tuple[float, float] = (2.0, 200.0)
    glow: tuple[float, float] = (0.0, 1.0)
    edge_glow: tuple[float, float] = (0.0, 1.0)
    dead_fraction: float = 5e-5
    trap_fraction: float = 2e-5
    trap_capacity: tuple[float, float] = (200.0, 2000.0)
    noisy_fraction: float = 3e-5
    noisy_factor: tuple[float, float] = (4.0, 20.0)
    bad_columns: tuple[tuple[int, int, int, float, float], ...] = ()
    bad_patch: tuple[int, int, int, float] = (0, 0, 0, 1.0)
    bias_gradient: tuple[float, float] = (0.0, 1.0)
    bias_wave: tuple[float, float] = (0.0, 1.0)
    bias_ramp: tuple[float, float] = (0.0, 0.0)
    row_drift: float = 0.5
    non_linearity: float = 0.02
    brighter_fatter_a00: float = -2.5e-6
    brighter_fatter_steps: int = 50
    shutter_delay: float = 0.02
    cosmic_ray_rate: float = 2.0
    worm_fraction: float = 0.25
    readout_time: float = 20.0

    @cached_property
    def blocks(self):
        """The amplifiers with their slices."""
        raw = [parse_section(item.data, self.shape) for item in self.readouts]
        rows, columns = (np.zeros(size, bool) for size in self.shape)
        for y, x in raw:
            rows[y] = True
            columns[x] = True
        blocks = []
        for readout, (y, x) in zip(self.readouts, raw, strict=True):
            data = _compressed(y, rows), _compressed(x, columns)
            overscan = parse_section(readout.overscan, self.shape) if readout.overscan else None
            blocks.append(Block(readout, (y, x), data, overscan))
        return tuple(blocks)

    @cached_property
    def data_shape(self):
        """Shape ``(ny, nx)`` of the data frame."""
        return tuple(max(block.data[axis].stop for block in self.blocks) for axis in (0, 1))

    def per_pixel(self, name):
        """
        A number of the amplifiers on the data frame.

        Parameters
        ----------
        name : str
            Attribute of `Readout`.

        Returns
        -------
        numpy.ndarray or float
            Shape ``(ny, nx)``, float32; a float where all amplifiers have the same.
        """
        values = {getattr(item, name) for item in self.readouts}
        if len(values) == 1:
            return float(values.pop())
        out = np.zeros(self.data_shape, np.float32)
        for block in self.blocks:
            out[block.data] = getattr(block.readout, name)
        return out

    def to_data(self, raw):
        """
        The data frame of a raw array.

        Parameters
        ----------
        raw : array_like
            Shape ``(ny, nx)`` of the raw frame.

        Returns
        -------
        numpy.ndarray
        """
        out = np.zeros(self.data_shape, np.asarray(raw).dtype)
        for block in self.blocks:
            out[block.data] = raw[block.raw]
        return out


def _compressed(part, used):
    first = int(np.count_nonzero(used[: part.start]))
    return slice(first, first + part.stop - part.start)
