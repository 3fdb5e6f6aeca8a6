"""FITS files into one FITS file, without the classes that a notebook needs: what the command line stacks with."""

import numpy as np
from astropy.io import fits

from ccdnight import storage
from ccdnight.exceptions import InputError
from ccdnight.fitsrows import FitsRows, list_inputs, plain_header, require_equal_shapes, scales_and_offsets
from ccdnight.flags import FLAGS
from ccdnight.stacking import NoiseModel, stack

__all__ = ["combine_files"]


def combine_files(
    paths,
    output,
    *,
    method="average",
    reject="sigma",
    sigma=None,
    center="median",
    maxiters=None,
    nlow=1,
    nhigh=1,
    minimum=1,
    read_noise=None,
    gain=None,
    pedestal=0.0,
    scale=None,
    zero=None,
    section=None,
    low=None,
    high=None,
    uncertainty=None,
    maps=False,
    hdu=None,
    mem_limit=None,
    workers=None,
):
    """
    Stack FITS images into a file with UNCERT and MASK.

    Parameters
    ----------
    paths : list of path-like
        Images of one shape; their extensions MASK and UNCERT are honored.
    output : path-like
        Where to write; it is replaced if it is there.
    method, reject, sigma, center, maxiters, nlow, nhigh, minimum, uncertainty, mem_limit, workers
        See `ccdnight.stacking.stack`; `sigma` is 4 for 'noise' and 3 else if it is not given.
    read_noise, gain, pedestal : float, optional
        Electron, electron/adu and adu: noise and bias level of the frames, for reject='noise'.
    scale, zero : {'median', 'mean'}, optional
        Statistic that is brought to that of the first frame, by a factor or by an offset.
    section : str, optional
        Where it is measured, ``[x1:x2,y1:y2]``.
    low, high : float, optional
        Lowest and highest value that is used.
    maps : bool, optional
        Whether to write the numbers of values used, rejected low and rejected high as NUSED, NLOW and NHIGH.
    hdu : int, optional
        Number of the HDU of the image.

    Returns
    -------
    dict
        frames, rejected_low, rejected_high, output.

    Raises
    ------
    InputError
        If a file cannot be read, shapes differ, or the noise model lacks its read noise.
    """
    sources = [FitsRows(path, hdu=hdu) for path in paths]
    require_equal_shapes(sources)
    scale, zero = (None if name == "none" else name for name in (scale, zero))
    scales, offsets = scales_and_offsets(sources, scale, zero, section)
    noise = None
    if read_noise is not None:
        noise = NoiseModel(read_noise / (gain or 1.0), gain, pedestal=pedestal)
    elif reject == "noise":
        msg = "reject = 'noise' needs the read noise in electron and the gain in electron/adu"
        raise InputError(msg)
    sigma = (4.0 if reject == "noise" else 3.0) if sigma is None else sigma
    options = {"method": method, "reject": reject, "sigma": sigma, "center": center, "maxiters": maxiters}
    options |= {"nlow": nlow, "nhigh": nhigh, "minimum": minimum, "thresholds": (low, high), "noise": noise}
    options |= {"scales": scales, "offsets": offsets, "uncertainty": uncertainty, "maps": maps}
    result = stack(sources, **options, mem_limit=mem_limit, workers=workers)
    header = _header(sources[0].header, paths)
    words = f"{len(paths)} frames, {method}, rejection {reject}: {result.low} low and {result.high} high values"
    header.add_history(words)
    storage.write_fits(output, _hdus(result, header), digest=False)
    told = {"frames": len(paths), "rejected_low": int(result.low), "rejected_high": int(result.high)}
    return told | {"output": str(output)}


def _header(first, paths):
    header = plain_header(first)
    list_inputs(header, paths)
    header.setdefault("BUNIT", "adu")
    return header


def _hdus(result, header):
    hdus = fits.HDUList([fits.PrimaryHDU(result.data, header), fits.ImageHDU(result.error, name="UNCERT")])
    hdus[1].header["UTYPE"] = ("StdDevUncertainty", "kind of uncertainty, as astropy names it")
    hdus[1].header["BUNIT"] = header["BUNIT"]
    flag = FLAGS["NO_DATA"]
    mask = (result.count == 0).astype(np.uint8) * np.uint8(flag.value)
    hdus.append(fits.ImageHDU(mask, name="MASK"))
    hdus[2].header["FLAG3"] = (flag.name, f"bit 3, value {flag.value}")
    if result.low_map is not None:
        maps = (("NUSED", result.count), ("NLOW", result.low_map), ("NHIGH", result.high_map))
        hdus += [fits.ImageHDU(array, name=name) for name, array in maps]
    return hdus
