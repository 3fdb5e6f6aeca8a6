"""Small star fields whose stars, world coordinates and noise are known."""

import numpy as np
from astropy.wcs import WCS

from ccdnight.products import make_ccd
from ccdnight.simulate.stars import paint_stars

SCALE = 5e-5


def star_field(count, seed=0, shape=(240, 260), flux=(3000, 2e5), margin=25):
    """Positions and light of stars, inside by a margin."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(margin, shape[1] - margin, count)
    y = rng.uniform(margin, shape[0] - margin, count)
    return x, y, np.exp(rng.uniform(*np.log(flux), count))


def lattice(seed=0):
    """The same for stars that stand apart, at every place between the pixels."""
    rng = np.random.default_rng(seed)
    x, y = (
        item.ravel() + rng.uniform(-3, 3, 25) for item in np.meshgrid(np.linspace(35, 225, 5), np.linspace(35, 205, 5))
    )
    return x, y, np.exp(rng.uniform(np.log(2e4), np.log(3e5), 25))


def moved(x, y, *, shift=(0.0, 0.0), angle=0.0, mirrored=False, scale=1.0, shape=(240, 260)):
    """Where stars are after mirroring, rotation about the middle, and a shift."""
    u, v = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    u = -u if mirrored else u
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    middle = (shape[1] - 1) / 2 + shift[0], (shape[0] - 1) / 2 + shift[1]
    return scale * (c * u - s * v) + middle[0], scale * (s * u + c * v) + middle[1]


def coordinates(shift=(0.0, 0.0), shape=(240, 260), scale=SCALE):
    """World coordinates of a frame whose stars are shifted."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [120.0, 30.0]
    wcs.wcs.cd = np.diag([-scale, scale])
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + shift[0], (shape[0] + 1) / 2 + shift[1]]
    return wcs


def make_image(
    x, y, flux, *, seed=1, shape=(240, 260), fwhm=3.2, sky=100.0, read_noise=5.0, wcs=None, unit="electron",
    sigma=True, noise=True, **cards,
):  # fmt: skip
    """A frame in electron with its error."""
    light = np.full(shape, sky, np.float32)
    paint_stars(light, x, y, flux, fwhm=fwhm, beta=4.765)
    rng = np.random.default_rng(seed)
    data = rng.poisson(light) + rng.normal(0, read_noise, shape) if noise else light
    meta = wcs.to_header() if wcs is not None else None
    ccd = make_ccd(data, unit=unit, meta=meta, sigma=np.sqrt(light + read_noise**2) if sigma else None)
    ccd.meta["EXPTIME"] = 60.0
    for key, value in cards.items():
        ccd.meta[key.replace("_", "-")] = value
    return ccd


def dithered(shifts, *, count=40, seed=0, with_wcs=True, stars=None, **more):
    """Frames of one field; stars of the first, where its shift is 0."""
    x, y, flux = star_field(count, seed) if stars is None else stars
    frames = []
    for number, shift in enumerate(shifts):
        wcs = coordinates(shift) if with_wcs else None
        frames.append(make_image(x + shift[0], y + shift[1], flux, seed=seed + 10 * number + 1, wcs=wcs, **more))
        frames[-1].meta["FILENAME"] = f"frame{number}.fits"
    return frames, (x, y, flux)
