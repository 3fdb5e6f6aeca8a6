"""Small raw nights of cameras that no profile knows: overscans anywhere, any number of amplifiers, any header."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from astropy.io import fits

__all__ = [
    "Amp",
    "coded_header",
    "maxim_header",
    "observatory_header",
    "plain_header",
    "shutter_header",
    "wheels_header",
    "write_night",
]


@dataclass(frozen=True)
class Amp:
    """
    An amplifier; boxes are (x1, x2, y1, y2), 0-based and half-open.

    `overscans` hold the boxes and the axis (1 beside, 0 above or below) along which charge trails into them.
    """

    data: tuple
    overscans: tuple = ()
    gain: float = 1.5
    read_noise: float = 6.0
    level: float = 1000.0
    trail: int = 3
    pattern: tuple = field(default=(0.006, 1.0))


def plain_header(kind, exposure, band, target, moment):
    words = {"bias": "zero", "dark": "dark", "flat": "flat", "science": "object"}
    return {
        "INSTRUME": "PlainCam",
        "IMAGETYP": words[kind],
        "EXPTIME": exposure,
        "FILTER": band,
        "OBJECT": target,
        "DATE-OBS": moment.isoformat(),
    }


def maxim_header(kind, exposure, band, target, moment):
    words = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "science": "Light Frame"}
    return {
        "INSTRUME": "Astro [A1]",
        "IMAGETYP": words[kind],
        "EXPOSURE": exposure,
        "FILTER": band if kind in ("flat", "science") else None,
        "OBJECT": target if kind == "science" else "",
        "DATE-OBS": moment.isoformat(),
        "CCD-TEMP": -20.02,
        "SET-TEMP": -20.0,
        "XBINNING": 2,
        "YBINNING": 2,
        "READOUTM": "Fast",
    }


def observatory_header(kind, exposure, band, target, moment):
    """Long keywords, words of its own for the kinds."""
    words = {"bias": "ZERO", "dark": "DARK", "flat": "DOMEFLAT", "science": "OBJECT"}
    return {
        "INSTRUME": "BigCam",
        "HIERARCH OBS FRAME TYPE": (words[kind], "kind of frame"),
        "HIERARCH OBS EXPOSURE TIME": (exposure, "Exposure time in seconds"),
        "HIERARCH OBS FILTER NAME": (band, "name of the filter"),
        "HIERARCH OBS TARGET NAME": (target, "name of the target"),
        "HIERARCH OBS START UTC": (moment.isoformat(), "start of the exposure"),
        "HIERARCH OBS CCD TEMP": (-110.4 + 0.1 * (moment.minute % 3), "temperature of the detector"),
        "HIERARCH OBS CCD XBIN": 1,
        "HIERARCH OBS CCD YBIN": 1,
    }


def shutter_header(kind, exposure, band, target, moment):
    """Words that tell nothing but whether the shutter opened; the observer typed the rest."""
    return {
        "DETECTOR": "Loaner 7",
        "EXPTYPE": "SHUT" if kind in ("bias", "dark") else "OPEN",
        "EXPTIME": exposure,
        "FILTER": band,
        "OBJECT": {"bias": "zero", "flat": f"dome flat {band}"}.get(kind, target),
        "DATE-OBS": moment.strftime("%Y-%m-%d"),
        "UT": moment.strftime("%H:%M:%S"),
    }


def coded_header(kind, exposure, band, _, moment):
    """Letters for the kinds that mean nothing to anybody else."""
    cards = plain_header(kind, exposure, band, None, moment)
    return cards | {"IMAGETYP": {"bias": "1a", "dark": "2b", "flat": "3c", "science": "4d"}[kind]}


def wheels_header(kind, exposure, band, target, moment):
    """Two filter wheels, of which one is open."""
    cards = plain_header(kind, exposure, None, target, moment)
    wheels = {"V": ("V", "Open"), "R": ("Clear", "R"), "I": ("I", "Open"), "W": ("V", "R")}
    return cards | dict(zip(("FILTER1", "FILTER2"), wheels[band], strict=True))


#: Kind, number, exposure, filter, light in electron.
PLAN = (
    ("bias", 5, 0.0, "V", 0.0),
    ("dark", 3, 60.0, "V", 3.0),
    ("flat", 4, 4.0, "V", 40000.0),
    ("flat", 4, 7.0, "R", 36000.0),
    ("science", 3, 60.0, "V", 250.0),
    ("science", 3, 60.0, "R", 400.0),
)


def write_night(folder, shape, amps, header, *, dtype="uint16", plan=PLAN, seed=5, cards=None, dead=()):
    """
    Write a night.

    Parameters
    ----------
    folder : Path
    shape : tuple of int
        Of the raw frames.
    amps : list of Amp
    header : callable
        One of the headers above.
    dtype : str
        'uint16', 'int16' or 'float32'.
    plan : tuple
        As `PLAN`.
    seed : int
    cards : dict
        More cards of every frame.
    dead : tuple of (x1, x2, y1, y2)
        Boxes of the raw frame that see no light.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, moment, number = np.random.default_rng(seed), datetime(2024, 5, 6, 1, 2, 3), 0
    response = _response(shape, rng)
    for x1, x2, y1, y2 in dead:
        response[y1:y2, x1:x2] = 0
    for kind, count, exposure, band, light in plan:
        for _ in range(count):
            number += 1
            scene = light * (response if kind in ("flat", "science") else 1.0) + np.zeros(shape)
            if kind == "science":
                scene += _stars(shape, np.random.default_rng(seed + 1)) * response
            pixels = sum(_read_out(scene, amp, rng) for amp in amps)
            hdu = fits.PrimaryHDU(_digitize(pixels, dtype))
            for key, value in (header(kind, exposure, band, "M 31", moment) | (cards or {})).items():
                if value is not None:
                    hdu.header[key] = value
            hdu.writeto(folder / f"frame{number:03d}.fits")
            moment += timedelta(seconds=exposure + 31)
    return folder


def _response(shape, rng):
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (1 - 0.12 * (x**2 + y**2)) * (1 + 0.008 * rng.standard_normal(shape))


def _stars(shape, rng):
    y, x = np.mgrid[: shape[0], : shape[1]]
    stars = np.zeros(shape)
    for _ in range(25):
        cy, cx, flux = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), 10 ** rng.uniform(3.5, 5.5)
        stars += flux / (2 * np.pi * 2.25) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 4.5)
    return stars


def _read_out(scene, amp, rng):
    """Adu of one amplifier, in a frame that is empty elsewhere."""
    out, noise = np.zeros(scene.shape), amp.read_noise / amp.gain
    x1, x2, y1, y2 = amp.data
    charge = rng.poisson(scene[y1:y2, x1:x2]).astype(float)
    out[y1:y2, x1:x2] = amp.level + charge / amp.gain + noise * rng.standard_normal(charge.shape)
    fraction, decay = amp.pattern
    for (a1, a2, b1, b2), axis in amp.overscans:
        strip = np.full((b2 - b1, a2 - a1), amp.level) + noise * rng.standard_normal((b2 - b1, a2 - a1))
        share = fraction * np.exp(-np.arange(amp.trail) / decay)
        if not amp.trail:
            pass
        elif axis == 1 and a1 >= x2:
            strip[:, : amp.trail] += np.outer(_last(charge[:, -1], b2 - b1), share) / amp.gain
        elif axis == 1:
            strip[:, -amp.trail :] += np.outer(_last(charge[:, 0], b2 - b1), share[::-1]) / amp.gain
        elif b1 >= y2:
            strip[: amp.trail] += np.outer(share, _last(charge[-1], a2 - a1)) / amp.gain
        else:
            strip[-amp.trail :] += np.outer(share[::-1], _last(charge[0], a2 - a1)) / amp.gain
        out[b1:b2, a1:a2] = strip
    return out


def _last(line, size):
    return np.resize(line, size)


def _digitize(pixels, dtype):
    if dtype == "float32":
        return pixels.astype("f4")
    low, high = (0, 65535) if dtype == "uint16" else (-32768, 32767)
    return np.clip(np.rint(pixels), low, high).astype(dtype)
