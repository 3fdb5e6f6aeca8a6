"""
Raw frames and whole nights, written exactly as the instruments write them, with their truth known.

Everything is seeded: the noise of a frame depends on its seed and its file name alone, the detector
(bias structure, dark current, response) on the sensor's seed alone, so frames written one by one into a
folder belong together. Sections, headers and folder layout follow the real nights; shapes are small
unless asked for in full.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from zlib import crc32

import numpy as np
from raw_files import (
    all_nan,
    all_zero,
    delete_card,
    garble_card,
    header_bytes,
    replace_pixels,
    text_file,
    truncate,
    write_raw,
)
from raw_headers import Exposure, as_type, header_cards, override, put_raw
from raw_pixels import CAMERAS, Sensor, expose, get_sensor, hits, scene

__all__ = [
    "Exposure",
    "Truth",
    "all_nan",
    "all_zero",
    "arcsat_night",
    "aspen_night",
    "delete_card",
    "garble_card",
    "get_sensor",
    "header_bytes",
    "lfc_night",
    "make_frame",
    "nickel_night",
    "plain_night",
    "replace_pixels",
    "text_file",
    "truncate",
    "two_amp_night",
]

#: Light in adu of the first amplifier that a frame shows where nothing else is asked for.
LEVELS = {"flat": 20000.0, "twilight": 20000.0, "science": 200.0}

#: Exposures in seconds where nothing else is asked for.
EXPOSURES = {"dark": 60.0, "flat": 5.0, "twilight": 5.0, "science": 60.0}

#: What a frame's OBJECT says where nothing else is asked for.
OBJECTS = {"twilight": "sky flat", "science": "field"}


@dataclass(frozen=True)
class Truth:
    """
    What a night was made of.

    Attributes
    ----------
    folder : Path
    instrument : str
    seed : int
    frames : tuple of Exposure
        In the order in which they were taken.
    sensors : dict of int to Sensor
        Bias structure, dark current, hot pixels, gain and read noise of each detector.
    """

    folder: Path
    instrument: str
    seed: int
    frames: tuple[Exposure, ...]
    sensors: dict[int, Sensor] = field(repr=False)

    @property
    def sensor(self):
        """The first detector."""
        return next(iter(self.sensors.values()))

    @property
    def gain(self):
        """Gain of the first amplifier, electron/adu."""
        return self.sensor.amplifiers[0].gain

    @property
    def read_noise(self):
        """Read noise of the first amplifier, electron."""
        return self.sensor.amplifiers[0].read_noise

    @property
    def dark(self):
        """Dark current of the first detector in adu/s, shape of the raw frame."""
        return self.sensor.dark

    @property
    def data(self):
        """Slices ``(y, x)`` of the data columns."""
        return self.sensor.data

    def flat(self, filter, *, detector=0):
        """Response of the pixels, with median 1 where light falls, shape of the raw frame."""
        return self.sensors[detector].flat(filter)

    def paths(self, kind=None, *, filter=None):
        """Relative paths of the frames of one kind (and one filter)."""
        return [f.path for f in self.frames if kind in {None, f.kind} and filter in {None, f.filter}]

    def frame(self, path):
        """The frame of a relative path."""
        return {item.path: item for item in self.frames}[str(path)]

    def bias(self, path=None):
        """Bias of one frame (or at the camera's usual level) in adu, shape of the raw frame."""
        if path is None:
            return self.sensor.bias + self.sensor.camera.bias
        frame = self.frame(path)
        return self.sensors[frame.detector].bias + np.float32(frame.pedestal)

    def scene(self, path):
        """What a perfect reduction of a frame finds: electron, shape of the raw frame."""
        frame = self.frame(path)
        return _light(frame, self.sensors[frame.detector])

    def hits(self, path):
        """Which pixels of a frame were hit by cosmic rays: bool, shape of the raw frame."""
        frame = self.frame(path)
        return hits(self.sensors[frame.detector], frame.hits, (*frame.seed, 1)) > 0


def make_frame(
    path,
    *,
    kind="bias",
    instrument="plain",
    shape=None,
    rows=None,
    level=None,
    exposure=None,
    filter=None,
    object=None,
    time=None,
    seed=0,
    sensor_seed=0,
    number=None,
    detector=0,
    binning=1,
    pedestal=None,
    stars=None,
    hits=0,
    header=None,
    raw_cards=(),
    dtype="uint16",
):
    """
    Write one raw frame.

    Parameters
    ----------
    path : path-like
        ``.gz`` and ``.fz`` compress.
    kind : {'bias', 'dark', 'flat', 'twilight', 'science'} or str
        What the pixels show; another word gives a header that names no known kind.
    instrument : {'plain', 'lfc', 'aspen', 'arcsat', 'nickel', 'twoamp'}, optional
        Whose header and detector.
    shape : tuple of int, optional
        ``(ny, nx)`` of the raw frame; by default a small one (LFC: 256 rows of the full 2080 columns).
    rows : int, optional
        Only the number of rows.
    level : float, optional
        Smooth light in adu of the first amplifier, beyond bias and dark, where the response is 1.
    exposure : float, optional
        Seconds.
    filter, object : str, optional
        As the header has them; without filter the card is left out (blank for the LFC).
    time : str or datetime, optional
        Start, UTC.
    seed : int, optional
        Of the noise, together with the file name.
    sensor_seed : int, optional
        Of the detector.
    number : int, optional
        Number of the frame; by default the first number in the file name.
    detector : int, optional
        Of the LFC: 0, 1 or 2.
    binning : int, optional
        Divides the default shape, and is in the header.
    pedestal : float, optional
        Bias level in adu.
    stars, hits : int, optional
        Numbers of stars (by default 8 in science frames) and of cosmic rays.
    header : mapping, optional
        Cards to set, ``keyword: value`` or ``keyword: (value, comment)``; None deletes the card.
    raw_cards : sequence of str, optional
        Card images that are put in byte for byte.
    dtype : {'uint16', 'int16', 'int32', 'float32', 'float64'}, optional
        Pixel type of the file.

    Returns
    -------
    Path
    """
    path = Path(path)
    camera = _camera(instrument, detector)
    if shape is None:
        ny, nx = camera.small
        shape = (rows or ny // binning, nx // binning)
    found = re.search(r"\d+", path.name)
    time = datetime.fromisoformat(time) if isinstance(time, str) else time or datetime(2024, 1, 1)
    frame = Exposure(
        path=path.name,
        kind=kind,
        instrument=instrument,
        shape=tuple(shape),
        exposure=EXPOSURES.get(kind, 0.0) if exposure is None else exposure,
        filter=filter,
        object=OBJECTS.get(kind, "") if object is None else object,
        time=time,
        number=number or int(found.group() if found else 1),
        detector=detector,
        binning=binning,
        level=LEVELS.get(kind, 0.0) if level is None else level,
        pedestal=camera.bias if pedestal is None else pedestal,
        stars=(8 if kind == "science" else 0) if stars is None else stars,
        hits=hits,
        seed=_seed(seed, path.name),
    )
    sensor = get_sensor(instrument, detector, tuple(shape), binning, sensor_seed)
    return _write_frame(path, _timed(frame), sensor, header or {}, raw_cards, dtype)


def _camera(instrument, detector):
    if (instrument, detector) not in CAMERAS:
        msg = f"instrument={instrument!r}, detector={detector!r} is not one of {sorted(CAMERAS)}"
        raise ValueError(msg)
    return CAMERAS[instrument, detector]


def _seed(seed, name):
    return (seed, crc32(str(name).encode()))


def _timed(frame):
    """The frame with the seconds during which it gathered dark current."""
    idle = CAMERAS[frame.instrument, frame.detector].idle
    return replace(frame, dark_time=frame.exposure + idle[frame.kind != "bias"])


def _light(frame, sensor):
    return scene(sensor, level=frame.level, exposure=frame.exposure, object=frame.object, stars=frame.stars)


def _write_frame(path, frame, sensor, header=(), raw_cards=(), dtype="uint16"):
    dark = not frame.level and not frame.stars
    pixels = expose(
        sensor,
        np.random.default_rng(frame.seed),
        light=None if dark else _light(frame, sensor),
        filter=frame.filter,
        dark_time=frame.dark_time,
        pedestal=frame.pedestal,
        charge=hits(sensor, frame.hits, (*frame.seed, 1)) if frame.hits else None,
    )
    pixels = np.clip(np.rint(pixels), 0, 65535 if dtype != "int16" else 32767)
    cards = override(as_type(header_cards(frame, sensor), dtype), dict(header))
    for image in raw_cards:
        cards = put_raw(cards, image)
    return write_raw(path, cards, pixels.astype(dtype))


def _write_night(folder, instrument, frames, seed):
    """Write the frames of a night; each of them starts where the one before left off unless timed."""
    folder = Path(folder)
    sensors = {}
    done = []
    for frame in frames:
        key = frame.detector
        if key not in sensors:
            sensors[key] = get_sensor(instrument, key, frame.shape, frame.binning, seed)
        frame = _timed(replace(frame, seed=_seed(seed, frame.path)))
        _write_frame(folder / frame.path, frame, sensors[key])
        done.append(frame)
    return Truth(folder, instrument, seed, tuple(done), sensors)


class _Log:
    """Frames as an observer takes them, the clock running on by the exposure and the readout."""

    def __init__(self, instrument, shape, start, *, readout=20.0, detector=0):
        self.common = {"instrument": instrument, "shape": tuple(shape), "detector": detector}
        self.pedestal = _camera(instrument, detector).bias
        self.time = datetime.fromisoformat(start)
        self.readout = readout
        self.frames = []

    def take(self, path, kind, exposure=0.0, **facts):
        facts = {"pedestal": self.pedestal, "number": len(self.frames) + 1, **facts}
        self.frames.append(Exposure(path, kind, exposure=exposure, time=self.time, **self.common, **facts))
        self.time += timedelta(seconds=exposure + self.readout)

    def clock(self, start):
        self.time = datetime.fromisoformat(start)


def plain_night(
    folder,
    *,
    shape=(64, 80),
    n_bias=5,
    n_dark=3,
    n_flat=3,
    n_science=2,
    filters=("V",),
    exposure=60.0,
    dark_exposure=None,
    hits=0,
    seed=1,
    suffix=".fits",
):
    """
    A night of the plain camera, which has no overscan: the quick one for most tests.

    Files are ``bias_001.fits``, ``dark_001.fits``, ``flat_V_001.fits``, ``science_V_001.fits`` and so on.

    Parameters
    ----------
    folder : path-like
    shape : tuple of int, optional
    n_bias, n_dark, n_flat, n_science : int, optional
        Numbers of frames; of flats and science frames in each filter.
    filters : sequence of str, optional
    exposure, dark_exposure : float, optional
        Of the science frames and of the darks (by default the same); flats are of 5 s.
    hits : int, optional
        Cosmic rays on each dark and science frame.
    seed : int, optional
    suffix : str, optional
        Of the file names.

    Returns
    -------
    Truth
    """
    log = _Log("plain", shape, "2024-01-01T18:00:00", readout=5.0)
    dark_exposure = exposure if dark_exposure is None else dark_exposure
    for number in range(1, n_bias + 1):
        log.take(f"bias_{number:03d}{suffix}", "bias")
    for number in range(1, n_dark + 1):
        log.take(f"dark_{number:03d}{suffix}", "dark", dark_exposure, hits=hits)
    for name in filters:
        for number in range(1, n_flat + 1):
            log.take(f"flat_{name}_{number:03d}{suffix}", "flat", 5.0, filter=name, level=20000.0)
    for name in filters:
        for number in range(1, n_science + 1):
            path = f"science_{name}_{number:03d}{suffix}"
            facts = {"filter": name, "object": "field", "level": 200.0, "stars": 8, "hits": hits}
            log.take(path, "science", exposure, **facts)
    return _write_night(folder, "plain", log.frames, seed)


def two_amp_night(folder, *, shape=(64, 168), n_bias=5, n_flat=3, n_science=2, drift=3.0, seed=1):
    """
    A night of a camera with two amplifiers of different gain, side by side.

    A row holds 4 + 4 prescan columns, the data columns of both, and 16 + 16 overscan columns. The bias
    level falls by `drift` from frame to frame; the first overscan columns carry trailing charge. The
    sections, gains and read noises are in DATASEC1, BIASSEC1, GAIN1, RDNOISE1 and DATASEC2 and so on.

    Returns
    -------
    Truth
    """
    log = _Log("twoamp", shape, "2024-02-01T18:00:00", readout=5.0)
    for number in range(1, n_bias + 1):
        log.take(f"bias_{number:03d}.fits", "bias")
    for number in range(1, n_flat + 1):
        log.take(f"flat_V_{number:03d}.fits", "flat", 5.0, filter="V", level=15000.0)
    for number in range(1, n_science + 1):
        path = f"science_V_{number:03d}.fits"
        log.take(path, "science", 60.0, filter="V", object="field", level=300.0, stars=8)
    frames = [replace(f, pedestal=f.pedestal - drift * n) for n, f in enumerate(log.frames)]
    return _write_night(folder, "twoamp", frames, seed)


#: Bias levels of the LFC's biases, of its flats, and of its darks, which another night gave.
LFC_BIASES = (1138.0, 1124.0, 1122.5, 1122.0, 1121.5, 1121.0)
LFC_FLATS = 1141.0
LFC_DARKS = 1176.0


def lfc_night(folder, *, rows=256, seed=1, full=False, science=2, drift=-20.0, hits=5, detectors=(0,)):
    """
    The Palomar night of 2016-01-15: biases 1-6, flats 14-19, science 37 on and 41 on, and ``darks/``.

    The darks are of 2016-03-13, behind another filter, at another bias level, and their names collide with
    those of the night's flats.

    Parameters
    ----------
    folder : path-like
    rows : int, optional
        Rows of each frame; the 2080 columns stay.
    seed : int, optional
    full : bool, optional
        Write all 4128 rows.
    science : int, optional
        Science frames per filter, at most 4.
    drift : float, optional
        Bias level of the science frames relative to the biases, adu.
    hits : int, optional
        Cosmic rays on each frame of 300 s.
    detectors : sequence of int, optional
        Out of 0, 1 and 2.

    Returns
    -------
    Truth
    """
    shape = (4128 if full else rows, 2080)
    frames = []
    for chip in detectors:
        log = _Log("lfc", shape, "2016-01-15T23:53:30", readout=60.0, detector=chip)
        _lfc_calibrations(log, chip)
        log.clock("2016-01-16T08:12:00")
        for first, name, level in ((37, "g'", 600.0), (41, "i'", 1500.0)):
            facts = {"filter": name, "object": "VV124", "level": level, "stars": 25, "hits": hits}
            for number in range(first, first + min(science, 4)):
                facts |= {"number": number, "pedestal": 1125.0 + drift}
                log.take(f"ccd.{number:03d}.{chip}.fits", "science", 300.0, **facts)
        _lfc_darks(log, chip, hits)
        frames += log.frames
    return _write_night(folder, "lfc", frames, seed)


def _lfc_calibrations(log, chip):
    for number, pedestal in enumerate(LFC_BIASES, start=1):
        facts = {"filter": "i'", "object": "bias", "number": number, "pedestal": pedestal}
        log.take(f"ccd.{number:03d}.{chip}.fits", "bias", **facts)
    log.clock("2016-01-16T04:17:28")
    flats = [("g'", "flat_g", t, 20418.0) for t in (70.001, 70.011, 70.001)]
    flats += [("i'", "flat_i", 7.0, 21100.0)] * 3
    for number, (name, title, seconds, level) in enumerate(flats, start=14):
        facts = {"filter": name, "object": title, "number": number, "pedestal": LFC_FLATS, "level": level}
        log.take(f"ccd.{number:03d}.{chip}.fits", "flat", seconds, **facts)


def _lfc_darks(log, chip, hits):
    log.clock("2016-03-13T01:10:00")
    facts = {"filter": "r'", "object": "bias", "number": 2, "pedestal": LFC_DARKS}
    log.take(f"darks/ccd.002.{chip}.fits", "bias", **facts)
    for first, seconds in ((13, 300.0), (17, 70.0), (23, 7.0)):
        for number in range(first, first + 3):
            facts = {"filter": "r'", "object": "dark", "number": number, "pedestal": LFC_DARKS}
            count = hits if seconds == 300.0 else 0
            log.take(f"darks/ccd.{number:03d}.{chip}.fits", "dark", seconds, hits=count, **facts)


def aspen_night(folder, *, shape=None, seed=1, full=False, n_bias=10, n_dark=10, n_flat=10, science=2):
    """
    The Aspen's night of 2018-08-23: biases, darks of 90 s, twilight flats whose level falls, science in r.

    Parameters
    ----------
    folder : path-like
    shape : tuple of int, optional
        ``(ny, nx)``, of which 13 columns are overscan; by default (128, 141), or (4096, 4109) with `full`.
    seed : int, optional
    full : bool, optional
    n_bias, n_dark, n_flat, science : int, optional

    Returns
    -------
    Truth
    """
    camera = _camera("aspen", 0)
    log = _Log("aspen", shape or (camera.full if full else camera.small), "2018-08-23T22:10:00")
    for number in range(1, n_bias + 1):
        log.take(f"Bias-S001-R001-C{number:03d}-NoFilt.fit", "bias", object="bias")
    for number in range(1, n_dark + 1):
        log.take(f"Dark-S001-R001-C{number:03d}-NoFilt.fit", "dark", 90.0, object="dark")
    log.clock("2018-08-24T01:35:00")
    for number in range(1, n_flat + 1):
        part = (number - 1) / max(n_flat - 1, 1)
        facts = {"filter": "r", "object": "twilight", "level": 44692.0 - 7230.0 * part}
        log.take(f"AutoFlat-PANoRot-r-Bin1-{number:03d}.fit", "flat", round(1 + 0.21 * part, 2), **facts)
    log.clock("2018-08-24T05:20:00")
    for number in (84, 125, 126, 127)[:science]:
        facts = {"filter": "r", "object": "kelt-16-b", "level": 400.0, "stars": 12, "number": number}
        log.take(f"kelt-16-b-S001-R001-C{number:03d}-r.fit", "science", 90.0, **facts)
    return _write_night(folder, "aspen", log.frames, seed)


def arcsat_night(folder, *, size=128, seed=1, full=False):
    """
    The 43 frames of ARCSAT's night of 2025-06-01, the flats in z, i and H-Alpha of four nights later.

    Parameters
    ----------
    folder : path-like
    size : int, optional
        Rows and columns; 1024 with `full`.
    seed : int, optional
    full : bool, optional

    Returns
    -------
    Truth
    """
    size = 1024 if full else size
    log = _Log("arcsat", (size, size), "2025-06-01T02:53:10", readout=12.0)
    for _ in range(9):
        log.take(f"Bias_BIN1_{log.time:%Y%m%d_%H%M%S}.fits", "bias")
    for _ in range(9):
        log.take(f"Dark_BIN1_{log.time:%Y%m%d_%H%M%S}.fits", "dark", 10.0)
    log.clock("2025-06-01T02:59:00")
    flats = {"g": (31.72, 7), "r": (13.94, 7), "z": (81.96, 3), "H-Alpha": (355.0, 3), "i": (28.12, 1)}
    for name, (seconds, count) in flats.items():
        if name == "z":
            log.clock("2025-06-05T03:27:38")
        for number in range(1, count + 1):
            # The lamp is still warming up in the first frame.
            level = 18650.0 * (0.98 if number == 1 else 1.0)
            path = f"domeflat_{name}_{number:03d}.fits"
            log.take(path, "flat", seconds, filter=name, level=level, number=number)
    log.clock("2025-06-01T06:58:44")
    for name, level in {"r": 31.0, "g": 24.0, "z": 27.0, "H-Alpha": 13.0}.items():
        facts = {"filter": name, "object": "Cat's Eye Nebula", "level": level, "stars": 8}
        log.take(f"Cats_Eye_Nebula_{name}_{log.time:%Y%m%d_%H%M%S}.fits", "science", 10.0, **facts)
    return _write_night(folder, "arcsat", log.frames, seed)


def nickel_night(folder, *, size=128, seed=1, full=False):
    """
    The Nickel's night of 2024-05-13: biases at its start, while the overscan falls from 1001 to 960 adu.

    Parameters
    ----------
    folder : path-like
    size : int, optional
        Rows and data columns, beside which 32 overscan columns lie; 1024 with `full`.
    seed : int, optional
    full : bool, optional

    Returns
    -------
    Truth
    """
    size = 1024 if full else size
    log = _Log("nickel", (size, size + 32), "2024-05-13T01:59:58", readout=15.0)
    levels = (1001.0, 1001.0, 1001.0, 998.0, 997.0, 995.0, 996.0, 994.0, 995.0, 995.0)
    for number, level in enumerate(levels, start=1001):
        log.take(f"d{number}.fits", "bias", filter="B", object="bias", number=number, pedestal=level)
    log.clock("2024-05-13T03:27:00")
    flats = ((1035, 4, 1019.0, 30740.0), (1036, 6, 1027.0, 38100.0), (1037, 7, 1026.0, 38050.0))
    for number, seconds, level, light in flats:
        facts = {"object": "sky flat", "number": number, "pedestal": level, "level": light}
        log.take(f"d{number}.fits", "twilight", seconds, filter="V", **facts)
    fields = (
        (1047, "PG1323-085", 60, 982.0, 217.0, "04:10"),
        (1048, "NGC_4147", 60, 982.0, 161.0, "04:20"),
        (1052, "NGC_3982", 120, 971.0, 315.0, "04:45"),
        (1059, "NGC_6205", 60, 960.0, 261.0, "05:30"),
        (1074, "UGC_9837", 600, 995.0, 1527.0, "06:25"),
        (1083, "PG1530+057", 60, 973.0, 163.0, "07:40"),
    )
    for number, target, seconds, level, light, start in fields:
        log.clock(f"2024-05-13T{start}:36")
        facts = {"object": target, "number": number, "pedestal": level, "level": light, "stars": 8}
        log.take(f"d{number}.fits", "science", seconds, filter="V", **facts)
    return _write_night(folder, "nickel", log.frames, seed)
