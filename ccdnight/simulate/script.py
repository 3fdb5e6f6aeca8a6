"""What is exposed in a simulated night: the script that the simulator plays."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import get_args, get_origin, get_type_hints

from ccdnight.simulate.camera import Camera
from ccdnight.simulate.physics import Physics

__all__ = ["Exposure", "Night", "flat_series", "from_mapping", "ticker"]


@dataclass(frozen=True)
class Exposure:
    """
    One raw frame.

    Attributes
    ----------
    path : str
        File under OUT/raw, with ``/``.
    kind : {'bias', 'dark', 'flat', 'twilight', 'science'}
        What it is.
    time : str
        Start in UTC, ISO form.
    exposure, dark_time : float
        Seconds.
    filter, object : str
        As in the header.
    bias_level : float
        Level of the overscan in adu.
    light : float
        Mean rate of lamp, twilight or sky in electron/s/pixel.
    field : str
        Star field; '' has no stars.
    dx, dy, rotation : float
        Shift of the field in pixels and its rotation about the center in degrees.
    transparency : float
        Factor on the stars' light.
    fwhm : float
        Seeing in pixels.
    temperature : float
        Of the detector, in degree Celsius.
    number : int
        Running number of the camera.
    header_kind, header_filter : str
        What the header says instead, where it is wrong.
    clock_error : float
        Seconds that the header's clock is ahead.
    damage : {'', 'truncated', 'nan', 'duplicate'}
        What happens to the file; `source` is the file of which it is the duplicate.
    source : str
        See `damage`.
    fault : str
        The fault that was asked for, '' for none.

    Examples
    --------
    >>> from ccdnight.simulate import Exposure
    >>> exposure = Exposure("m13.fits", "science", "2024-05-13T05:30:00", exposure=60.0, light=5.0, field="m13")
    >>> exposure.kind, exposure.fwhm
    ('science', 3.0)
    """

    path: str
    kind: str
    time: str
    exposure: float = 0.0
    dark_time: float = 0.0
    filter: str = ""
    object: str = ""
    bias_level: float = 1000.0
    light: float = 0.0
    field: str = ""
    dx: float = 0.0
    dy: float = 0.0
    rotation: float = 0.0
    transparency: float = 1.0
    fwhm: float = 3.0
    temperature: float = -100.0
    number: int = 0
    header_kind: str = ""
    header_filter: str = ""
    clock_error: float = 0.0
    damage: str = ""
    source: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Night:
    """
    A camera, what it looks at, and its exposures.

    Attributes
    ----------
    name : str
        Name of the night.
    dialect : str
        Which writer makes the headers.
    camera : Camera
        The detector.
    exposures : tuple of Exposure
        In the order of time.
    physics : Physics
        The terms it has unless others are asked for.
    filters : tuple of str
        Filters of the flats and science frames.
    colors : tuple of float
        Mean factor on the stars' rates in each of the filters.
    star_density : float
        Field stars per megapixel.
    cluster : tuple of (int, float)
        Stars of the cluster and its Plummer radius in pixels.
    star_rates : tuple of (float, float, float)
        Faintest and brightest rate in electron/s, and slope a of ``N(>rate) ~ rate^-a``.
    moffat_beta : float
        Exponent of the stars' profile.
    margin : float
        Pixels beyond the frame in which the catalog has stars.
    fringe_filters : tuple of str
        Filters that show fringes.
    fringe_amplitude : float
        Relative to the sky.
    gradient_twilight, gradient_screen : float
        Relative change of the light from edge to edge.
    right_ascension, declination : float
        Pointing in degrees.
    latitude, longitude : float
        Degrees, north and east positive.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from ccdnight.simulate import night_for
    >>> night = night_for("nickel")
    >>> darker = replace(night, exposures=tuple(item for item in night.exposures if item.kind != "twilight"))
    >>> len(night.exposures) - len(darker.exposures)  # given to `simulate_night` as `night`
    3
    """

    name: str
    dialect: str
    camera: Camera
    exposures: tuple[Exposure, ...]
    physics: Physics = field(default_factory=Physics)
    filters: tuple[str, ...] = ()
    colors: tuple[float, ...] = ()
    star_density: float = 180.0
    cluster: tuple[int, float] = (0, 100.0)
    star_rates: tuple[float, float, float] = (15.0, 25000.0, 0.75)
    moffat_beta: float = 4.765
    margin: float = 80.0
    fringe_filters: tuple[str, ...] = ()
    fringe_amplitude: float = 0.03
    gradient_twilight: float = 0.002
    gradient_screen: float = 0.03
    right_ascension: float = 139.0
    declination: float = 52.84
    latitude: float = 33.4
    longitude: float = -116.9


def from_mapping(cls, mapping):
    """
    Dataclass of what `dataclasses.asdict` and JSON made of it.

    Parameters
    ----------
    cls : type
        A frozen dataclass of this package.
    mapping : mapping
        Its fields.

    Returns
    -------
    object
    """
    hints = get_type_hints(cls)
    known = {item.name for item in fields(cls)}
    return cls(**{name: _value(hints[name], value) for name, value in mapping.items() if name in known})


def _value(hint, value):
    if is_dataclass(hint):
        return from_mapping(hint, value)
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        return tuple(_value(kind, item) for kind, item in zip(kinds, value, strict=True))
    return hint(value)


def ticker(start):
    """
    Times of exposures that follow one another.

    Parameters
    ----------
    start : str
        Start of the first one, ISO form.

    Returns
    -------
    callable
        Takes an exposure and the gap after it in seconds, and gives the start of the exposure.
    """
    moment = datetime.fromisoformat(start)

    def tick(exposure, gap=60.0):
        nonlocal moment
        now = moment.isoformat(timespec="milliseconds")
        moment += timedelta(seconds=exposure + gap)
        return now

    return tick


def flat_series(night, levels, *, biases=4, seconds=10.0):
    """
    The same camera with pairs of flats of many levels: a photon transfer series.

    Parameters
    ----------
    night : Night
        The night.
    levels : sequence of float
        Mean charge of each pair, electron.
    biases : int, optional
        Bias frames before the flats.
    seconds : float, optional
        Exposure of the flats.

    Returns
    -------
    Night
        Its frames are bias_001.fits, ... and flat_01_1.fits, flat_01_2.fits, ...

    Examples
    --------
    >>> from ccdnight.simulate import flat_series, night_for
    >>> series = flat_series(night_for("lfc"), [1000, 10000, 50000])
    >>> len(series.exposures)  # four biases and three pairs
    10
    """
    first = next(item for item in night.exposures if item.kind == "bias")
    band = night.filters[0]
    tick = ticker(first.time)
    out = [
        replace(first, path=f"bias_{i:03d}.fits", time=tick(0.0), bias_level=first.bias_level, number=i)
        for i in range(1, biases + 1)
    ]
    for i, level in enumerate(levels, 1):
        for j in (1, 2):
            more = {"light": level / seconds, "filter": band, "exposure": seconds, "dark_time": seconds}
            path, time = f"flat_{i:02d}_{j}.fits", tick(seconds)
            out.append(replace(first, path=path, kind="flat", time=time, object="flat", number=len(out) + 1, **more))
    return replace(night, exposures=tuple(out))
