"""A small simulated night with a sloping dome screen, a sloping twilight, fringes, and an iris shutter if asked for."""

from dataclasses import replace

from astropy.io import fits

from ccdnight.simulate import Exposure, Physics, night_for, simulate_night

__all__ = ["DITHERS", "shutter_series", "uneven_night"]

BAND = "z"
GAIN = 1.34
DITHERS = ((0.0, 0.0), (31.4, 18.7), (-24.6, 27.3), (-19.2, -33.8), (28.9, -21.5), (4.3, 44.1), (-47.7, 2.6))


def _exposure(path, kind, number, seconds=0.0, **more):
    time = f"2025-06-01T02:{number:02d}:00.000"
    return Exposure(path, kind, time, exposure=seconds, dark_time=seconds, number=number, filter=BAND, **more)


def _biases(count):
    return [_exposure(f"bias_{n}.fits", "bias", n) for n in range(count)]


def uneven_night(folder, *, seed=1, **switches):
    """
    Five biases, five dome flats, five dithered twilight flats with stars, seven dithered science frames.

    Returns
    -------
    Truth
    """
    out = _biases(5)
    out += [_exposure(f"dome_{n}.fits", "flat", 10 + n, 5.0, light=GAIN * 20000 / 5) for n in range(5)]
    for n, (dx, dy) in enumerate(DITHERS[:5]):
        # Stars of a three-second exposure are brightened so that they would matter.
        place = {"field": "blank", "dx": 2 * dx, "dy": 2 * dy, "fwhm": 3.4, "transparency": 20.0}
        out.append(_exposure(f"twilight_{n}.fits", "twilight", 20 + n, 3.0, light=GAIN * 20000 / 3, **place))
    for n, (dx, dy) in enumerate(DITHERS):
        place = {"field": "cluster", "dx": dx, "dy": dy, "fwhm": 3.2 + 0.1 * (n % 3)}
        sky = 10.0 * (1 + 0.05 * n)
        out.append(_exposure(f"science_{n}.fits", "science", 30 + n, 300.0, light=sky, **place))
    night = replace(night_for("arcsat"), exposures=tuple(out))
    on = {"screen_gradient": True, "twilight_gradient": True, "fringes": True}
    physics = Physics(**(on | {"dark": False, "hot_pixels": False, "glow": False} | switches))
    truth = simulate_night(folder, "arcsat", seed=seed, night=night, physics=physics)
    for path in truth.raw_folder.glob("twilight_*"):
        # The camera's own headers do not tell a twilight flat from one of the dome.
        fits.setval(path, "IMAGETYP", value="Flat (twilight)")
    return truth


def shutter_series(folder, *, seed=1):
    """
    Five biases and three flats each of 0.5, 2 and 20 s, of one lamp behind an iris shutter with a delay of 0.02 s.

    Returns
    -------
    Truth
    """
    out = _biases(5)
    number = 10
    for seconds in (0.5, 2.0, 20.0):
        for _ in range(3):
            out.append(_exposure(f"flat_{number}.fits", "flat", number, seconds, light=GAIN * 2000))
            number += 1
    night = replace(night_for("arcsat"), exposures=tuple(out))
    physics = Physics(shutter=True, dark=False, cosmic_rays=False)
    return simulate_night(folder, "arcsat", seed=seed, night=night, physics=physics)
