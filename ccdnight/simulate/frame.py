"""One raw frame: the terms put together in the order in which they happen."""

from dataclasses import dataclass

import numpy as np

from ccdnight.simulate.charge import collect, saturate
from ccdnight.simulate.darkcurrent import make_dark_rate
from ccdnight.simulate.defects import apply_traps, make_defects
from ccdnight.simulate.electronics import bias_shape, digitize, read_out
from ccdnight.simulate.flatfield import make_flat
from ccdnight.simulate.sky import even_light, exposure_map
from ccdnight.simulate.stars import make_catalog, paint_stars, star_positions
from ccdnight.simulate.tracks import cosmic_rays, satellite_trails, trail_image
from ccdnight.storage import safe_name

__all__ = ["Frame", "Maps", "expected_charge", "incident_light", "make_frame", "make_maps"]


@dataclass(frozen=True)
class Maps:
    """
    What all frames of a night share: flats by filter, dark rate, bias shape, bad pixels, stars.

    Examples
    --------
    >>> from ccdnight.simulate import make_maps, night_for
    >>> night = night_for("nickel")
    >>> maps = make_maps(night, night.physics, seed=1)
    >>> sorted(maps.flats), maps.dark.shape == maps.bias.shape
    (['V'], True)
    """

    flats: dict
    dark: np.ndarray
    bias: np.ndarray
    defects: object
    catalog: object


@dataclass(frozen=True)
class Frame:
    """
    A raw frame and what was put into it.

    Attributes
    ----------
    raw : numpy.ndarray
        The raw frame, uint16 (float32 without quantization).
    cosmic_x, cosmic_y, cosmic_charge : numpy.ndarray
        Pixels of the data frame hit by cosmic rays, and the electron in them.
    particles : int
        Cosmic rays.
    saturated : numpy.ndarray
        Pixels of the data frame at full well, bled into, or at the end of the converter, bool.
    trails : list of dict
        Satellites.
    """

    raw: np.ndarray
    cosmic_x: np.ndarray
    cosmic_y: np.ndarray
    cosmic_charge: np.ndarray
    particles: int
    saturated: np.ndarray
    trails: list


def make_maps(night, physics, seed):
    """
    What all frames of a night share.

    Parameters
    ----------
    night : Night
        The night.
    physics : Physics
        Terms.
    seed : int
        Seed.

    Returns
    -------
    Maps

    Examples
    --------
    >>> from ccdnight.simulate import make_maps, night_for
    >>> night = night_for("lfc")
    >>> maps = make_maps(night, night.physics, 1)
    >>> sorted(maps.flats) == sorted(night.filters)
    True
    """
    defects = make_defects(night.camera, physics, seed)
    used = dict.fromkeys(item.filter for item in night.exposures if item.light or item.field)
    flats = {band: make_flat(night.camera, physics, seed, band, defects) for band in used}
    dark = make_dark_rate(night.camera, physics, seed, defects)
    return Maps(flats, dark, bias_shape(night.camera, physics), defects, make_catalog(night, seed))


def incident_light(night, exposure, physics, seed, catalog, trails=()):
    """
    Electrons that a perfect, even detector would hold: lamp or sky, stars, trails.

    This is what a reduced frame should show.

    Parameters
    ----------
    night, exposure, physics, seed
        The night, the exposure, the terms, the seed.
    catalog : `~astropy.table.Table`
        Stars.
    trails : list of dict, optional
        Satellites of this frame.

    Returns
    -------
    numpy.ndarray
        Electron, data frame, float32.
    """
    seconds = exposure_map(night, exposure, physics)
    image = np.zeros(night.camera.data_shape, np.float32)
    if exposure.field and physics.stars and exposure.exposure:
        selected, x, y = star_positions(night, exposure, catalog)
        rate = np.asarray(catalog[f"flux_{safe_name(exposure.filter)}"][selected], float)
        flux = rate * exposure.transparency * exposure.exposure
        paint_stars(image, x, y, flux, fwhm=exposure.fwhm, beta=night.moffat_beta)
        image *= np.float32(1 / exposure.exposure) * seconds
    image += even_light(night, exposure, physics, seed) * seconds
    if trails:
        image += trail_image(image.shape, trails, exposure.fwhm)
    return image


def expected_charge(exposure, maps, light):
    """
    Mean charge of each pixel: light through the flat field, and dark current.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    maps : Maps
        Flats and dark rate.
    light : numpy.ndarray
        `incident_light`.

    Returns
    -------
    numpy.ndarray
        Electron, data frame, float32.
    """
    charge = np.float32(exposure.dark_time) * maps.dark
    if exposure.filter in maps.flats:
        charge += maps.flats[exposure.filter] * light
    return charge


def make_frame(night, exposure, physics, seed, maps):
    """
    Expose and read one frame.

    Parameters
    ----------
    night : Night
        The night.
    exposure : Exposure
        Which frame.
    physics : Physics
        Terms.
    seed : int
        Seed of the night.
    maps : Maps
        What all frames share.

    Returns
    -------
    Frame

    Examples
    --------
    >>> from ccdnight.simulate import make_frame, make_maps, night_for
    >>> night = night_for("lfc")
    >>> maps = make_maps(night, night.physics, 1)
    >>> frame = make_frame(night, night.exposures[0], night.physics, 1, maps)
    >>> frame.raw.shape, str(frame.raw.dtype)
    ((512, 2080), 'uint16')
    """
    camera, path = night.camera, exposure.path
    trails = []
    if exposure.kind == "science" and physics.satellites:
        trails = satellite_trails(camera, physics.satellites, seed, path)
    light = incident_light(night, exposure, physics, seed, maps.catalog, trails)
    charge = collect(expected_charge(exposure, maps, light), seed, path, physics, camera)
    x, y, hit, particles = np.empty(0, int), np.empty(0, int), np.empty(0), 0
    if physics.cosmic_rays:
        duration = exposure.exposure + 0.5 * camera.readout_time
        x, y, hit, particles = cosmic_rays(camera, duration, seed, path)
        charge[y, x] += hit.astype(np.float32)
    if physics.traps:
        apply_traps(charge, maps.defects)
    saturated = saturate(charge, camera) if physics.saturation else np.zeros(charge.shape, bool)
    raw = read_out(charge, exposure, camera, physics, seed, maps.bias, maps.defects)
    if physics.quantization:
        raw = digitize(raw)
        saturated |= camera.to_data(raw) == 65535
    return Frame(raw, x, y, hit, particles, saturated, trails)
