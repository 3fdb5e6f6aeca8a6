"""The reference brought to the sky itself: by a catalog that is given, or by astrometry.net where it is installed."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdnight._quiet import quiet_libraries
from ccdnight.alignment.asterisms import fit_linear, match_lists
from ccdnight.alignment.coordinates import fit_coordinates, pixel_scale_of, start_coordinates
from ccdnight.exceptions import InputError

__all__ = ["absolute_coordinates"]

_SECONDS = 300


def absolute_coordinates(item, wcs, stars, *, catalog=None):
    """
    World coordinates of a frame by a catalog, or by ``solve-field`` where none is given.

    Parameters
    ----------
    item : Opened
        The frame.
    wcs : `~astropy.wcs.WCS`
        What to begin with.
    stars : Stars
        Its stars.
    catalog : `~astropy.table.Table`, `~astropy.coordinates.SkyCoord` or path-like, optional
        Positions in degrees.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
    words : str
        How good absolute positions are.

    Raises
    ------
    InputError
        If there is no solution.
    """
    return _by_catalog(item, wcs, stars, catalog) if catalog is not None else _by_program(item, wcs)


def _by_catalog(item, wcs, stars, catalog):
    sky = _positions(catalog)
    with quiet_libraries():
        places = wcs.all_world2pix(sky, 0, quiet=True)
    ny, nx = item.shape
    side = max(ny, nx)
    near = np.isfinite(places).all(1) & (np.abs(places - np.array([nx, ny]) / 2) < 1.5 * side).all(1)
    match = match_lists(places[near], stars.positions, area=float(4 * side**2), scales=(0.9, 1.1))
    if match is None:
        msg = f"catalog: none of its {int(near.sum())} stars near {item.name} fall on one of the frame's {len(stars)}"
        raise InputError(msg)
    at, sky = stars.positions[match.second], sky[near][match.first]
    weights = 1 / (stars.error[match.second] ** 2 + 0.05**2)
    for _ in range(3):
        wcs = fit_coordinates(wcs, at, sky, weights=weights, fit=fit_linear)
    with quiet_libraries():
        gap = wcs.all_world2pix(sky, 0, quiet=True) - at
    residual = float(np.sqrt((weights * (gap**2).sum(1)).sum() / weights.sum())) * pixel_scale_of(wcs)
    return wcs, f"absolute positions by {len(at)} stars of a catalog, {residual:.3f} arcsec rms"


def _positions(catalog):
    """Right ascension and declination in degrees, the brightest first."""
    if isinstance(catalog, str | Path):
        from astropy.table import Table

        try:
            catalog = Table.read(catalog)
        except (OSError, ValueError) as error:
            msg = f"catalog {catalog}: cannot be read: {error}"
            raise InputError(msg) from error
    if hasattr(catalog, "icrs"):
        return np.column_stack([np.ravel(catalog.icrs.ra.deg), np.ravel(catalog.icrs.dec.deg)])
    names = {str(name).lower(): name for name in getattr(catalog, "colnames", ())}
    if "ra" not in names or "dec" not in names:
        msg = f"catalog: columns ra and dec in degrees are needed; it has {', '.join(names.values()) or 'none'}"
        raise InputError(msg)
    order = np.argsort(catalog[names["mag"]], kind="stable") if "mag" in names else slice(None)
    return np.column_stack([np.asarray(catalog[names[name]], float) for name in ("ra", "dec")])[order]


def _by_program(item, wcs):
    program = shutil.which("solve-field")
    if program is None:
        msg = "solve = True: solve-field of astrometry.net is not installed; leave solve out, or give a catalog"
        raise InputError(msg)
    scale, (ra, dec) = pixel_scale_of(wcs), wcs.wcs.crval
    with tempfile.TemporaryDirectory(prefix="ccdnight-") as folder:
        path = Path(folder, "frame.fits")
        fits.writeto(path, np.nan_to_num(np.asarray(item.load().data, np.float32)))
        known = ["--ra", f"{ra:.5f}", "--dec", f"{dec:.5f}", "--radius", "2", "--scale-units", "arcsecperpix"]
        known += ["--scale-low", f"{0.9 * scale:.4f}", "--scale-high", f"{1.1 * scale:.4f}"]
        start = start_coordinates(item.header, item.shape)
        command = [program, "--no-plots", "--overwrite", "--dir", folder, "--cpulimit", str(_SECONDS)]
        command += known if start.source != "assumed" else []
        try:
            done = subprocess.run([*command, str(path)], capture_output=True, timeout=2 * _SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"solve-field failed on {item.name}: {error}"
            raise InputError(msg) from error
        solved = path.with_suffix(".wcs")
        if done.returncode or not solved.is_file():
            msg = f"solve-field found no solution for {item.name}"
            raise InputError(msg)
        start = start_coordinates(fits.getheader(solved), item.shape)
    return start.wcs, "absolute positions by solve-field of astrometry.net"
