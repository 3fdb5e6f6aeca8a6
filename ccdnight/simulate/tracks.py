"""Tracks over the detector: charged particles, and satellites."""

import numpy as np

from ccdnight.simulate.streams import generator

__all__ = ["cosmic_rays", "landau", "satellite_trails", "trail_image"]

#: Energy in eV for one electron-hole pair in silicon; Landau's xi in eV per micrometre for a fast particle
#: of unit charge; (2 m_e c^2) / (hbar omega_p)^2 of silicon in 1/eV.
_PAIR, _XI, _DENSITY = 3.65, 17.83, 2 * 510998.95 / 31.05**2


def cosmic_rays(camera, duration, seed, path):
    """
    Charge of cosmic rays and Compton electrons in one frame.

    Particles cross the detector at a constant rate per area, with directions as from an isotropic flux
    through a plane (density of the zenith angle ``cos(theta) sin(theta)``), so a track's length in the plane
    is ``thickness * tan(theta)``. The loss of each step is drawn from Landau's distribution with the most
    probable value for thin silicon, ``xi (ln(2 m c^2 xi / (hbar omega_p)^2) + 0.2)`` (Bichsel 1988, Rev. Mod.
    Phys. 60, 663; Review of Particle Physics, passage of particles through matter), cut at 25 times the most
    probable one, where the knocked-on electron leaves the silicon. A part are electrons from radioactivity
    that wander ("worms": Groom 2002, Exp. Astron. 14, 45; rates: Smith et al. 2002, Proc. SPIE 4669, 172).
    The charge spreads by diffusion.

    Parameters
    ----------
    camera : Camera
        Gives rate, pixel size, thickness, diffusion.
    duration : float
        Seconds.
    seed : int
        Seed of the night.
    path : str
        The frame.

    Returns
    -------
    x, y : numpy.ndarray
        Pixels of the data frame.
    charge : numpy.ndarray
        Electron in them, 1 and more.
    number : int
        Particles that hit the frame.
    """
    ny, nx = camera.data_shape
    rng = generator(seed, "cosmic rays", path)
    area = ny * nx * (camera.pixel_size * 1e-4) ** 2
    number = int(rng.poisson(camera.cosmic_ray_rate * area * duration / 60))
    image = {}
    for _ in range(number):
        worm = rng.random() < camera.worm_fraction
        x, y, charge = (_worm if worm else _straight)(camera, rng)
        _deposit(image, x + rng.uniform(-0.5, nx - 0.5), y + rng.uniform(-0.5, ny - 0.5), charge, camera)
    kept = [(x, y, q) for (x, y), q in sorted(image.items()) if q >= 1 and 0 <= x < nx and 0 <= y < ny]
    x, y, charge = np.array(kept).T if kept else np.empty((3, 0))
    return x.astype(int), y.astype(int), charge, number


def landau(rng, size):
    """
    Random numbers of Landau's distribution (mode -0.22278).

    It is the stable law of index 1 and skewness 1, scaled by pi / 2; stable laws are drawn by the formula of
    Chambers, Mallows & Stuck (1976, JASA 71, 340).

    Parameters
    ----------
    rng : numpy.random.Generator
        Source.
    size : int
        How many.

    Returns
    -------
    numpy.ndarray
    """
    angle = rng.uniform(-np.pi / 2, np.pi / 2, size)
    wait = rng.exponential(size=size)
    half = np.pi / 2
    return (half + angle) * np.tan(angle) - np.log(wait * np.cos(angle) / (half + angle))


def _straight(camera, rng):
    sine2 = rng.random()
    tangent = min(np.sqrt(sine2 / max(1 - sine2, 1e-6)), 60.0)
    length = camera.thickness * tangent / camera.pixel_size
    steps = max(1, int(np.ceil(2 * length)))
    path = camera.thickness * np.hypot(1, tangent) / steps
    xi = _XI * path
    probable = np.log(_DENSITY * xi) + 0.2
    loss = np.clip(probable + landau(rng, steps) + 0.22278, 0, 25 * probable)
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.arange(steps) + 0.5) / steps * length
    return along * np.cos(angle), along * np.sin(angle), xi * loss / _PAIR


def _worm(camera, rng):
    energy = min(rng.exponential(100.0), 500.0) + 5.0  # keV
    reach = 0.0171 * energy**1.75  # micrometre (Everhart & Hoff 1971, J. Appl. Phys. 42, 5837)
    inside = min(reach, rng.exponential(4 * camera.thickness))
    steps = max(1, int(np.ceil(2 * inside / camera.pixel_size)))
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5, steps))
    size = inside / camera.pixel_size / steps
    charge = np.full(steps, 1000 * energy * inside / reach / steps / _PAIR)
    return np.cumsum(size * np.cos(angles)), np.cumsum(size * np.sin(angles)), charge


def _deposit(image, x, y, charge, camera):
    from scipy.special import ndtr

    sigma = max(camera.diffusion / camera.pixel_size, 0.02)
    reach = int(np.ceil(3 * sigma + 0.5))
    cells = np.arange(-reach, reach + 1)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    shares = []
    for place, middle in ((x, column), (y, row)):
        edges = (np.arange(-reach, reach + 2) - 0.5 - (place - middle)[:, np.newaxis]) / sigma
        shares.append(np.diff(ndtr(edges), axis=1))
    for i in range(charge.size):
        part = charge[i] * np.outer(shares[1][i], shares[0][i])
        for j, k in np.argwhere(part > 0.05):
            key = int(column[i] + cells[k]), int(row[i] + cells[j])
            image[key] = image.get(key, 0.0) + part[j, k]


def satellite_trails(camera, mean, seed, path):
    """
    Trails of satellites through one science frame: straight, across the whole frame, smeared by the seeing.

    Parameters
    ----------
    camera : Camera
        The detector.
    mean : float
        Mean number of trails; the number is Poisson.
    seed : int
        Seed of the night.
    path : str
        The frame.

    Returns
    -------
    list of dict
        A point ``x, y``, the ``angle`` in radian, and the ``charge`` in electron per pixel of length.
    """
    ny, nx = camera.data_shape
    rng = generator(seed, "satellites", path)
    return [
        {
            "x": float(rng.uniform(0, nx)),
            "y": float(rng.uniform(0, ny)),
            "angle": float(rng.uniform(0, np.pi)),
            "charge": float(np.exp(rng.uniform(np.log(1e3), np.log(3e4)))),
        }
        for _ in range(rng.poisson(mean))
    ]


def trail_image(shape, trails, fwhm):
    """
    Light of trails, with a Gaussian profile across.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)``.
    trails : list of dict
        As `satellite_trails` gives them.
    fwhm : float
        Seeing in pixels.

    Returns
    -------
    numpy.ndarray
        Electron, float32.
    """
    out = np.zeros(shape, np.float32)
    y, x = np.ogrid[: shape[0], : shape[1]]
    sigma = fwhm / 2.3548
    for trail in trails:
        sine, cosine = np.sin(trail["angle"]), np.cos(trail["angle"])
        across = ((x - trail["x"]) * sine - (y - trail["y"]) * cosine).astype(np.float32)
        near = np.abs(across) < 6 * sigma
        out[near] += trail["charge"] / (np.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * (across[near] / sigma) ** 2)
    return out
