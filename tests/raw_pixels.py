"""Cameras whose truth is known, and what their pixels read: the physics behind `builders`."""

from dataclasses import dataclass, field
from functools import lru_cache
from zlib import crc32

import numpy as np

__all__ = ["CAMERAS", "Amplifier", "Camera", "Sensor", "expose", "get_sensor", "hits", "layout", "scene"]


@dataclass(frozen=True)
class Camera:
    """
    Facts of one camera; levels in adu, gain in electron/adu, read noise in electron, dark in adu/s.

    Attributes
    ----------
    full, small : tuple of int
        Shape ``(ny, nx)`` of its real frames, and of the frames that are written by default.
    gains, read_noises, offsets : tuple of float
        One value per amplifier; `offsets` are added to the bias level.
    overscan, prescan : int
        Columns per amplifier, unbinned.
    data_offset : float
        The bias of the image columns beyond that of the overscan.
    edge : float
        Height of the gradient in the bias at the left edge; it falls by e in 90 columns.
    row_wave : float
        Amplitude of the slow wave of the bias along the rows, image and overscan alike.
    overscan_row_noise : float
        Scatter of whole overscan rows, not shared by the image rows.
    overscan_offset, overscan_leak : float
        What an unusable overscan reads beyond the bias: a constant, and this part of the light.
    trailing : float
        Part of the last lit column that the first overscan column shows; it falls by e per column.
    dark, hot_fraction, hot_rate, glow : float
        Dark current, part of hot pixels and their typical rate, rate of the glow in the lower left corner.
    idle : tuple of float
        Seconds that dark current gathers beyond the exposure: in a bias, and in other frames.
    unlit_rows, unlit_columns : int
        Rows at the top (of a full frame) and columns at the left that see no light.
    vignetting, pixel_scatter : float
        Loss of light in the corners and scatter of the pixels' response.
    flaws : bool
        Whether there are a partial bad column and a bad patch.
    """

    full: tuple[int, int]
    small: tuple[int, int]
    bias: float
    gains: tuple[float, ...] = (1.5,)
    read_noises: tuple[float, ...] = (7.5,)
    offsets: tuple[float, ...] = (0.0,)
    overscan: int = 0
    prescan: int = 0
    data_offset: float = 0.0
    edge: float = 0.0
    row_wave: float = 0.0
    overscan_row_noise: float = 0.0
    overscan_offset: float = 0.0
    overscan_leak: float = 0.0
    trailing: float = 0.0
    dark: float = 0.05
    hot_fraction: float = 0.001
    hot_rate: float = 10.0
    glow: float = 0.0
    idle: tuple[float, float] = (0.0, 0.0)
    unlit_rows: int = 0
    unlit_columns: int = 0
    vignetting: float = 0.1
    pixel_scatter: float = 0.01
    flaws: bool = False


def _lfc(gain, read_noise):
    return Camera(
        full=(4128, 2080),
        small=(256, 2080),
        bias=1125.0,
        gains=(gain,),
        read_noises=(read_noise,),
        overscan=32,
        edge=215.0,
        row_wave=0.8,
        trailing=0.005,
        dark=22 / 300,
        hot_fraction=2e-4,
        glow=12.0,
        idle=(0.12, 0.672),
        unlit_rows=32,
        flaws=True,
    )


#: Camera by instrument and detector; only the LFC has more than one detector.
CAMERAS = {
    ("lfc", 0): _lfc(2.0, 11.0),
    ("lfc", 1): _lfc(1.9, 9.0),
    ("lfc", 2): _lfc(2.1, 9.0),
    ("aspen", 0): Camera(
        full=(4096, 4109),
        small=(128, 141),
        bias=1200.0,
        gains=(1.5,),
        read_noises=(10.0,),
        overscan=13,
        overscan_offset=50.0,
        overscan_leak=0.01,
        dark=0.01 / 1.5,
        hot_fraction=2.6e-4,
        unlit_columns=1,
    ),
    ("arcsat", 0): Camera(
        full=(1024, 1024),
        small=(128, 128),
        bias=1355.0,
        gains=(1.34,),
        read_noises=(16.3,),
        dark=0.13,
    ),
    ("nickel", 0): Camera(
        full=(1024, 1056),
        small=(128, 160),
        bias=1001.0,
        gains=(1.78,),
        read_noises=(10.0,),
        overscan=32,
        data_offset=14.0,
        row_wave=0.3,
        overscan_row_noise=2.0,
        dark=0.005,
    ),
    ("twoamp", 0): Camera(
        full=(64, 168),
        small=(64, 168),
        bias=1000.0,
        gains=(1.2, 1.9),
        read_noises=(6.0, 9.0),
        offsets=(0.0, 80.0),
        overscan=16,
        prescan=4,
        trailing=0.004,
        row_wave=0.5,
    ),
    ("plain", 0): Camera(full=(64, 80), small=(64, 80), bias=1000.0),
}


@dataclass(frozen=True)
class Amplifier:
    """Columns of one amplifier in the raw frame, its gain (electron/adu) and read noise (electron)."""

    prescan: slice
    data: slice
    overscan: slice
    gain: float
    read_noise: float
    offset: float


def layout(camera, shape, binning=1):
    """
    Amplifiers of a raw frame, which lies as prescans, then data, then overscans of one after the other.

    Parameters
    ----------
    camera : Camera
    shape : tuple of int
        ``(ny, nx)`` of the raw frame.
    binning : int, optional
        Divides the numbers of prescan and overscan columns.

    Returns
    -------
    list of Amplifier

    Raises
    ------
    ValueError
        If no data column is left.
    """
    count, pre, over = len(camera.gains), camera.prescan // binning, camera.overscan // binning
    width = (shape[1] - count * (pre + over)) // count
    if width < 1:
        msg = f"shape={shape} leaves no data columns beside {count * (pre + over)} of prescan and overscan"
        raise ValueError(msg)

    def columns(start, size, number):
        return slice(start + number * size, start + (number + 1) * size)

    values = zip(camera.gains, camera.read_noises, camera.offsets, strict=True)
    return [
        Amplifier(
            columns(0, pre, number),
            columns(count * pre, width, number),
            columns(count * (pre + width), over, number),
            *value,
        )
        for number, value in enumerate(values)
    ]


@dataclass(frozen=True)
class Sensor:
    """
    The truth of one detector; arrays have the shape ``(ny, nx)`` of the raw frame.

    Attributes
    ----------
    bias : ndarray
        Structure of the bias beyond its level, adu.
    dark : ndarray
        Dark current, adu/s; 0 outside the data columns.
    entropy : tuple of int
        Seed and number of the detector, from which all of it follows.
    hot, flawed : ndarray of bool
        Hot pixels, and pixels whose response is bad (the unlit ones not among them).
    gain, read_noise : ndarray
        One value per column, electron/adu and electron.
    """

    camera: Camera
    shape: tuple[int, int]
    entropy: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    bias: np.ndarray = field(repr=False)
    dark: np.ndarray = field(repr=False)
    hot: np.ndarray = field(repr=False)
    flawed: np.ndarray = field(repr=False)
    gain: np.ndarray = field(repr=False)
    read_noise: np.ndarray = field(repr=False)

    @property
    def data(self):
        """Slices ``(y, x)`` of the data columns of all amplifiers."""
        return slice(None), slice(self.amplifiers[0].data.start, self.amplifiers[-1].data.stop)

    def flat(self, filter):
        """
        Response of the pixels in one filter: median 1 where light falls, 0 elsewhere.

        Returns
        -------
        ndarray
        """
        columns = self.data[1]
        return _response(self.camera, self.shape, self.entropy, columns.start, columns.stop, filter)


@lru_cache(maxsize=16)
def get_sensor(instrument, detector, shape, binning, seed):
    """
    The detector which `seed` gives; the same arguments give the same (shared, read-only) one.

    Returns
    -------
    Sensor

    Raises
    ------
    KeyError
        If there is no such camera.
    """
    camera = CAMERAS[instrument, detector]
    amplifiers = tuple(layout(camera, shape, binning))
    rng = np.random.default_rng((seed, detector, 0))
    ny, nx = shape
    x, y = np.arange(nx, dtype="f4"), np.arange(ny, dtype="f4")[:, np.newaxis]
    bias = camera.edge * np.exp(-x / 90) + camera.row_wave * np.sin(6 * np.pi * y / ny)
    lit = np.zeros(shape, dtype=bool)
    gain, read_noise = np.empty(nx, dtype="f4"), np.empty(nx, dtype="f4")
    for item in amplifiers:
        for columns in (item.prescan, item.data, item.overscan):
            gain[columns], read_noise[columns] = item.gain, item.read_noise
            bias[:, columns] += item.offset
        bias[:, item.data] += camera.data_offset
        lit[:, item.data] = True
    hot = lit & (rng.random(shape, dtype="f4") < camera.hot_fraction)
    dark = camera.dark + camera.glow * (np.exp(-(x + y) / 60) + 0.04 * np.exp(-x / 40))
    dark = np.where(hot, camera.hot_rate * rng.uniform(0.5, 3.0, shape), dark) * lit
    arrays = (bias.astype("f4"), dark.astype("f4"), hot, _flaws(camera, shape), gain, read_noise)
    for array in arrays:
        array.flags.writeable = False
    return Sensor(camera, shape, (seed, detector), amplifiers, *arrays)


def _flaws(camera, shape):
    """Where the partial bad column and the bad patch are."""
    flawed = np.zeros(shape, dtype=bool)
    if camera.flaws:
        ny = shape[0]
        flawed[int(0.9 * ny) :, 512] = True
        flawed[int(0.78 * ny) : int(0.78 * ny) + 10, 415:425] = True
    return flawed


@lru_cache(maxsize=16)
def _response(camera, shape, entropy, left, right, filter):
    ny = shape[0]
    x = np.linspace(-1, 1, right - left, dtype="f4")
    y = np.linspace(-1, 1, ny, dtype="f4")[:, np.newaxis]
    pixels = np.random.default_rng((*entropy, 1)).standard_normal((ny, right - left), dtype="f4")
    color = np.random.default_rng((*entropy, 2, crc32((filter or "").encode())))
    tilt = color.uniform(-0.02, 0.02, 2)
    response = (1 - camera.vignetting * (x**2 + y**2) / 2 + tilt[0] * x + tilt[1] * y) * (
        1 + camera.pixel_scatter * pixels
    )
    frame = np.zeros(shape, dtype="f4")
    frame[:, left:right] = response
    frame[_flaws(camera, shape)] *= 0.4
    frame[ny - round(camera.unlit_rows * ny / camera.full[0]) :] = 0
    frame[:, left : left + camera.unlit_columns] = 0
    frame /= np.median(frame[frame > 0])
    frame.flags.writeable = False
    return frame


def scene(sensor, *, level, exposure, object, stars):
    """
    What the sky (or the lamp) sends, before the response of the pixels.

    Parameters
    ----------
    sensor : Sensor
    level : float
        Smooth light in adu of the first amplifier.
    exposure : float
        Seconds; the stars scale with it.
    object : str
        The field: the same object shows the same stars.
    stars : int
        Number of Gaussian stars (FWHM 3.5 pixels).

    Returns
    -------
    ndarray
        Electron per pixel, shape ``(ny, nx)`` of the raw frame, 0 outside the data columns.
    """
    light = np.zeros(sensor.shape)
    field = light[sensor.data]
    field += level * sensor.amplifiers[0].gain
    rng = np.random.default_rng((*sensor.entropy, 3, crc32(object.encode())))
    ny, nx = field.shape
    sigma = 3.5 / 2.3548
    for _ in range(stars):
        y0, x0 = rng.uniform(0, ny), rng.uniform(0, nx)
        flux = exposure * 10 ** rng.uniform(2.0, 3.3)
        cut = tuple(slice(max(0, int(c) - 12), int(c) + 13) for c in (y0, x0))
        y, x = (np.arange(n)[s] for n, s in zip((ny, nx), cut, strict=True))
        shape = np.exp(-((y[:, np.newaxis] - y0) ** 2 + (x - x0) ** 2) / (2 * sigma**2))
        field[cut] += flux / (2 * np.pi * sigma**2) * shape
    return light


def hits(sensor, count, seed):
    """
    Electrons of cosmic rays: short tracks of 1 to 4 pixels in the data columns.

    Returns
    -------
    ndarray
        Electron, shape ``(ny, nx)`` of the raw frame; 0 where none hit.
    """
    charge = np.zeros(sensor.shape)
    field = charge[sensor.data]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        y, x = (int(rng.integers(n)) for n in field.shape)
        dy, dx = rng.integers(-1, 2, 2)
        for step in range(int(rng.integers(1, 5))):
            row, column = y + step * dy, x + step * dx
            if 0 <= row < field.shape[0] and 0 <= column < field.shape[1]:
                field[row, column] += rng.uniform(500, 8000)
    return charge


def expose(sensor, rng, *, light=None, filter=None, dark_time=0.0, pedestal=None, charge=None):
    """
    One readout in adu, before it is quantized.

    Parameters
    ----------
    sensor : Sensor
    rng : numpy.random.Generator
        Source of photon and read noise.
    light : ndarray, optional
        Electron per pixel before the response of the pixels.
    filter : str, optional
        Whose response the light meets.
    dark_time : float, optional
        Seconds of dark current.
    pedestal : float, optional
        Bias level in adu; by default that of the camera.
    charge : ndarray, optional
        Further electrons, free of noise.

    Returns
    -------
    ndarray
        float32, shape ``(ny, nx)``.
    """
    camera = sensor.camera
    electrons = rng.standard_normal(sensor.shape, dtype="f4") * sensor.read_noise
    seen = None if light is None else light * sensor.flat(filter)
    expected = np.zeros(sensor.shape)[sensor.data] + dark_time * (sensor.dark * sensor.gain)[sensor.data]
    if seen is not None:
        expected += seen[sensor.data]
    if expected.any():
        electrons[sensor.data] += rng.poisson(expected)
    if charge is not None:
        electrons += charge
    frame = electrons / sensor.gain + sensor.bias
    frame += camera.bias if pedestal is None else pedestal
    for item in sensor.amplifiers:
        _spoil_overscan(frame[:, item.overscan], camera, item, seen, dark_time, rng)
    return frame


def _spoil_overscan(overscan, camera, amplifier, seen, dark_time, rng):
    """Add to the overscan what real ones have beyond the bias."""
    if camera.overscan_row_noise:
        overscan += rng.normal(0, camera.overscan_row_noise, (overscan.shape[0], 1))
    if camera.overscan_offset:
        overscan += camera.overscan_offset + camera.dark * dark_time
    if seen is not None:
        last = seen[:, amplifier.data.stop - 1, np.newaxis] / amplifier.gain
        overscan += last * camera.overscan_leak
        overscan += last * camera.trailing * np.exp(-np.arange(overscan.shape[1]))
