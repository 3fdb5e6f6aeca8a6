"""A night for any profile, built from its amplifiers and its dialect."""

from datetime import datetime, timedelta

from ccdnight._sections import format_section, parse_section
from ccdnight.exceptions import InputError, SectionError
from ccdnight.simulate.camera import Camera, Readout
from ccdnight.simulate.script import Exposure, Night

__all__ = ["any_night"]

#: Numbers for what a profile does not know.
_GAIN, _READ_NOISE, _SATURATION, _BIAS = 1.5, 8.0, 60000.0, 1000.0
#: Side of frames whose shape the profile does not know, columns of their overscan, rows of small frames.
_SIDE, _OVERSCAN, _SMALL = {"small": 320, "full": 1024}, 32, 320


def any_night(profile, size="small", *, detector=None):
    """
    Night of an instrument of which only the profile is known.

    Five biases, five darks of the science exposure, three flats in each of two filters and three dithered
    science frames in each. Gain, read noise and saturation are the profile's. A small frame is the full one
    with fewer rows where the profile finds its sections in the header, a small square where there is no
    overscan, and else the full one.

    Parameters
    ----------
    profile : InstrumentProfile
        The instrument.
    size : {'small', 'full'}
        Size of the frames.
    detector : str, optional
        Which detector; by default the first.

    Returns
    -------
    Night

    Raises
    ------
    InputError
        If the profile does not know the detector, or its sections are no sections.

    Examples
    --------
    >>> from ccdnight import get_profile
    >>> from ccdnight.simulate import any_night
    >>> len(any_night(get_profile("generic")).exposures)
    22
    """
    detector = profile.detectors[0] if detector is None else detector
    amplifiers = profile.amplifiers_of(detector)
    if not amplifiers:
        known = ", ".join(profile.detectors)
        msg = f"profile {profile.name!r} has no detector {detector!r}; it knows {known}"
        raise InputError(msg)
    shape, readouts = _geometry(profile, amplifiers, size)
    camera = Camera(name=profile.name, detector=detector, shape=shape, readouts=readouts, unexposed=())
    return Night(
        name=profile.name,
        dialect="profile",
        camera=camera,
        exposures=tuple(_exposures(camera)),
        filters=("V", "R"),
        colors=(1.0, 1.3),
        latitude=33.0 if profile.latitude is None else profile.latitude,
        longitude=-110.0 if profile.longitude is None else profile.longitude,
        fringe_filters=("R",),
    )


def _geometry(profile, amplifiers, size):
    shape = amplifiers[0].shape
    try:
        if (shape is None and len(amplifiers) > 1) or any(item.data in ("", "none") for item in amplifiers):
            return _own_geometry(profile, amplifiers, size)
        sections = [_sections(item, shape) for item in amplifiers]
    except SectionError as error:
        msg = f"profile {profile.name!r}: {error}"
        raise InputError(msg) from error
    if shape is None:
        shape = tuple(max(part[axis].stop for pair in sections for part in pair if part) for axis in (0, 1))
    if size == "small" and len(sections) == 1 and amplifiers[0].shape:
        shape, sections = _cut(profile, shape, sections)
    return shape, tuple(_readout(item, *pair) for item, pair in zip(amplifiers, sections, strict=True))


def _sections(amplifier, shape):
    overscan = amplifier.overscan if amplifier.overscan not in ("", "none") else ""
    return parse_section(amplifier.data, shape), parse_section(overscan, shape) if overscan else None


def _cut(profile, shape, sections):
    """Fewer rows, and without overscan fewer columns, where the reader still finds its way."""
    ((data, overscan),) = sections
    rows, columns = slice(0, min(_SMALL, shape[0])), slice(0, min(_SMALL, shape[1]))
    if overscan is None:
        return (rows.stop, columns.stop), [((rows, columns), None)]
    dialect = profile.dialect
    named = dialect.data_section or dialect.trim_section
    told = dialect.overscan_section or (dialect.overscan_columns and overscan[1].stop == shape[1])
    if not (named and told) or data[0].start or overscan[0] != data[0]:
        return shape, sections
    return (rows.stop, shape[1]), [((rows, data[1]), (rows, overscan[1]))]


def _own_geometry(profile, amplifiers, size):
    """One amplifier, with an overscan at the right if the header can say so."""
    if len(amplifiers) > 1:
        names = ", ".join(repr(item.name) for item in amplifiers)
        msg = f"profile {profile.name!r} does not say where the amplifiers {names} have their data"
        raise InputError(msg)
    side, dialect = _SIDE[size], profile.dialect
    told = bool(dialect.overscan_section or dialect.overscan_columns) and amplifiers[0].overscan != "none"
    nx = side + _OVERSCAN if told else side
    ny, nx = amplifiers[0].shape or (side, nx)
    rows, edge = slice(0, ny), nx - _OVERSCAN if told else nx
    pair = (rows, slice(0, edge)), (rows, slice(edge, nx)) if told else None
    return (ny, nx), (_readout(amplifiers[0], *pair),)


def _readout(amplifier, data, overscan):
    gain = amplifier.gain or _GAIN
    skip = amplifier.overscan_skip
    return Readout(
        name=amplifier.name,
        data=format_section(data),
        overscan=format_section(overscan) if overscan else "",
        gain=gain,
        read_noise=_READ_NOISE if amplifier.read_noise is None else amplifier.read_noise,
        full_well=gain * ((amplifier.saturation or _SATURATION) - _BIAS),
        trailing=(0.005, max(skip / 5, 0.5), skip),
    )


def _exposures(camera):
    gain = max(item.gain for item in camera.readouts)
    well = min(item.full_well for item in camera.readouts)
    moment = datetime(2024, 3, 9, 1, 30)
    plan = [("bias", 0.0, "", 0.0, 0.0, 0.0)] * 5 + [("dark", 120.0, "", 0.0, 0.0, 0.0)] * 5
    for band, seconds in (("V", 12.0), ("R", 8.0)):
        plan += [("flat", seconds, band, min(20000 * gain, 0.4 * well) / seconds, 0.0, 0.0)] * 3
    for band, sky in (("V", 2.0), ("R", 4.0)):
        plan += [("science", 120.0, band, sky, dx, dy) for dx, dy in ((0.0, 0.0), (11.3, 7.6), (-8.4, 13.9))]
    ny, nx = camera.data_shape
    largest = min(1.0, 0.05 * min(ny, nx) / 14)
    for number, (kind, seconds, band, light, dx, dy) in enumerate(plan, 1):
        field = "field" if kind == "science" else ""
        yield Exposure(
            f"{camera.name}_{number:04d}.fits", kind, moment.isoformat(), exposure=seconds, dark_time=seconds,
            filter=band, object=field or kind, bias_level=_BIAS - 0.2 * number, light=light, field=field,
            dx=dx * largest, dy=dy * largest, number=number, temperature=-100.0,
        )  # fmt: skip
        moment += timedelta(seconds=seconds + 40)
