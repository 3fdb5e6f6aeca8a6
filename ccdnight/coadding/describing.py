"""The header of a coadd: what it was made of, and what its values and errors mean."""

import numpy as np

from ccdnight.alignment.align import describe, short_name
from ccdnight.alignment.coordinates import put_coordinates
from ccdnight.coadding.correlated import interpolated_part, measured_factor
from ccdnight.products import make_ccd, put_maps, sigma_of
from ccdnight.provenance import printable, record_step

__all__ = ["describe_coadd"]

#: Cards that describe one frame alone: its time of day, its place on the detector, its own levels.
_OF_ONE_FRAME = (
    *("FILENAME", "DATE-AVG", "JD-MID", "MJD-AVG", "AIRMASS", "SKYLEVEL", "SKYSIGMA", "GAINUSED", "RDNUSED", "EGAIN"),
    *("OVSCMEAN", "OVSCERR", "DATASEC", "TRIMSEC", "BIASSEC", "CCDSEC", "AMPSEC1", "LTV1", "LTV2", "LTM1_1", "LTM2_2"),
    *("DARKTIME", "ASTRNUM", "ASTRRES", "MASTVAR", "FLATERR", "NAXIS1", "NAXIS2", "SATURATE", "RDNOISE", "GAIN"),
)


def describe_coadd(result, parts, options):
    """
    Give a coadd its header, its maps and its provenance.

    Parameters
    ----------
    result : `~astropy.nddata.CCDData`
        The coadd with the header of the first frame.
    parts : Parts
        What went into it.
    options : dict
        What was asked for.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    meta, maps = result.meta, parts.maps
    for key in _OF_ONE_FRAME:
        meta.remove(key, ignore_missing=True, remove_all=True)
    while "HISTORY" in meta:
        meta.remove("HISTORY")
    put_coordinates(meta, parts.grid.wcs)
    describe(meta, parts.alignment.reference, parts.alignment.absolute)
    gain, noise = _effective(parts)
    meta["NCOMBINE"] = (len(parts.layers), "number of frames in the coadd")
    if parts.exposure:
        meta["EXPTIME"] = (round(parts.exposure, 6), "[s] exposure to which the values belong")
        meta["TEXPTIME"] = (round(float(sum(item.seconds for item in parts.layers)), 3), "[s] of all frames together")
        if "EXPOSURE" in meta:
            meta["EXPOSURE"] = meta["EXPTIME"]
    if gain:
        meta["GAIN"] = (round(gain, 6), "[electron per data unit] effective, where all are in")
    if noise:
        meta["RDNOISE"] = (round(noise, 4), "[electron] effective read noise, with GAIN")
    factor, measured = interpolated_part(parts.layers), measured_factor(maps.data, maps.error, maps.flags)
    meta["NOISCORR"] = (round(factor, 4), "noise of apertures over that of their pixels")
    if np.isfinite(measured):
        meta["NOISMEAS"] = (round(measured, 4), "the same as measured on the sky, blocks of 8 x 8")
    meta["SKYLEVEL"] = (round(parts.common, 4), "common sky of the frames, in the data unless subtracted")
    meta["RESAMPLE"] = (options["resample"], "interpolation")
    if np.isfinite(parts.fwhm):
        meta["FWHM"] = (round(parts.fwhm, 4), "[pixel] of the stars, Gaussian")
    before = _fwhm_before(parts)
    if np.isfinite(before):
        meta["FWHMIN"] = (round(before, 4), "[pixel] median of the frames, in their own pixels")
    out = make_ccd(result.data, unit=result.unit, meta=meta, sigma=sigma_of(result), flags=maps.flags)
    _record(out, parts, options)
    put_maps(out, {"COVERAGE": maps.count, "EXPOSURE": maps.seconds})
    out.alignment = parts.alignment
    return out


def _fwhm_before(parts):
    values = [item.fwhm for item in parts.alignment.transforms if item.aligned and np.isfinite(item.fwhm)]
    return float(np.median(values)) if values else np.nan


def weights_of(layers):
    """
    Share of each frame in the coadd where all of them see.

    Parameters
    ----------
    layers : list of Layer
        The frames.

    Returns
    -------
    `~numpy.ndarray`
        Adds up to 1.
    """
    values = np.array([1 / (np.nanmedian(item.mesh.quiet) * item.factor**2) for item in layers])
    return values / values.sum()


def _effective(parts):
    """Gain and read noise of a single exposure that would be as noisy."""
    weights = weights_of(parts.layers)
    gains, noises = [item.gain for item in parts.facts], [item.read_noise for item in parts.facts]
    if not all(gains):
        return None, None
    gain = 1 / float((weights**2 * parts.factors / np.array(gains)).sum())
    if not all(noises):
        return gain, None
    variance = (weights * parts.factors * np.array(noises) / np.array(gains)) ** 2
    return gain, gain * float(np.sqrt(variance.sum()))


def _record(out, parts, options):
    shares = weights_of(parts.layers)
    for number, (layer, share) in enumerate(zip(parts.layers, shares, strict=True), 1):
        if number < 1000:
            out.meta[f"IMG{number:03d}"] = short_name(layer.item.name)
        told = {"weight": round(float(share), 6), "scale": layer.factor, "offset": round(layer.offset, 5)}
        told["rejected"] = parts.maps.rejected[number - 1]
        record_step(
            out, "coadd", inputs=[(short_name(layer.item.name), layer.item.digest, "frame")], **(options | told)
        )
    left = "; ".join(f"{short_name(name)} left out: {why}" for name, why in parts.alignment.failures.items())
    words = f"{len(parts.layers)} frames, {options['method']}, {options['resample']}"
    out.meta["HISTORY"] = printable(f"coadd: {words}")
    if left:
        out.meta["HISTORY"] = printable(f"coadd: {left}")
