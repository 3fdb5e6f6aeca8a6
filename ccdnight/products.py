"""
CCDData with uncertainty and flags, in memory and on disk.

In memory: float32 data, `~astropy.nddata.StdDevUncertainty` in float32, uint16 flags and ``mask == (flags != 0)``.
On disk: data and header in the primary HDU, then UNCERT, MASK (the flags) and PROVENANCE.
"""

import os
import re
import zlib
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from ccdnight import storage
from ccdnight._quiet import quiet_libraries
from ccdnight.exceptions import FrameError
from ccdnight.flags import FLAGS
from ccdnight.provenance import StepRecord, printable, record_rows, records_of, set_records

__all__ = ["derive", "flags_of", "header_of", "make_ccd", "read_ccd", "sigma_of", "wcs_of", "write_ccd"]

#: Images that a coadd has beside those of every frame: extension to attribute and unit.
MAPS = {"COVERAGE": ("coverage", ""), "EXPOSURE": ("exposure_map", "s")}
#: Cards that describe an array as it lies in a file; astropy writes its own.
_STRUCTURE = ("SIMPLE", "EXTEND", "XTENSION", "BITPIX", "BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT")
_STRUCTURE += ("CHECKSUM", "DATASUM", "EXTNAME", "INHERIT")


def make_ccd(data, *, unit, meta=None, sigma=None, flags=None, records=(), dtype=np.float32):
    """
    A CCDData as every function of ccdnight returns it.

    Parameters
    ----------
    data : array-like
        Shape ``(ny, nx)``; kept as `dtype`.
    unit : str or `~astropy.units.Unit`
        Unit; BUNIT in `meta` is set to it, '' included.
    meta : mapping, optional
        Header cards.
    sigma : array-like, optional
        Standard deviation of each pixel, same shape and unit.
    flags : array-like, optional
        Bit mask; the mask is where it is not 0.
    records : iterable of StepRecord, optional
        Provenance.
    dtype : data-type, optional
        float32; uint16 for a bad pixel mask, whose data are bits.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    data = np.ascontiguousarray(data, dtype=dtype)
    header = _as_header(meta)
    unit = u.Unit(unit)
    header["BUNIT"] = (unit.to_string(), "unit of the data")
    flags = np.zeros(data.shape, np.uint16) if flags is None else np.asarray(flags, dtype=np.uint16)
    ccd = CCDData(
        data,
        unit=unit,
        meta=header,
        mask=flags != 0,
        flags=flags,
        wcs=wcs_of(header),
        uncertainty=None if sigma is None else StdDevUncertainty(np.asarray(sigma, np.float32), copy=False),
    )
    set_records(ccd, records)
    return ccd


def _as_header(meta):
    if isinstance(meta, fits.Header):
        return meta.copy()
    header = fits.Header()
    with quiet_libraries():
        for key, value in (meta or {}).items():
            if isinstance(value, str | int | float | bool | np.generic) or value is None:
                try:
                    header[str(key)] = value
                except ValueError:
                    # NaN and letters beyond ASCII cannot stand in a card as they are.
                    header[printable(str(key))] = printable(str(value))
    return header


def header_of(ccd):
    """
    Header of any CCDData, its world coordinates included.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        `CCDData.read` takes the cards of the world coordinates out of the header; here they are in it again.

    Returns
    -------
    `~astropy.io.fits.Header`
        A copy.
    """
    header = _as_header(ccd.meta)
    if isinstance(ccd.wcs, WCS) and not str(header.get("CTYPE1", "")).strip():
        with quiet_libraries():
            header.update(ccd.wcs.to_header(relax=True))
    return header


def derive(ccd, data=None, *, unit=None, sigma=None, flags=None, meta=None):
    """
    A new CCDData that takes over what it is not given: header, flags, uncertainty, provenance.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        Where it comes from; left as it is.
    data, unit, sigma, flags, meta : optional
        What is new, as in `make_ccd`.

    Returns
    -------
    `~astropy.nddata.CCDData`
    """
    if data is None:
        data = ccd.data
    same_shape = np.shape(data) == ccd.data.shape
    if sigma is None and same_shape:
        sigma = sigma_of(ccd)
        sigma = None if sigma is None else sigma.copy()
    if flags is None and same_shape:
        flags = flags_of(ccd)
    return make_ccd(
        data,
        unit=ccd.unit if unit is None else unit,
        meta=header_of(ccd) if meta is None else meta,
        sigma=sigma,
        flags=flags,
        records=records_of(ccd),
    )


def flags_of(ccd):
    """
    Flags of any CCDData.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        One without flags may have a mask: its masked pixels are given NO_DATA, since why they were masked
        is not known.

    Returns
    -------
    `~numpy.ndarray`
        uint16, shape ``(ny, nx)``, a copy.
    """
    given = isinstance(ccd.flags, np.ndarray)
    flags = ccd.flags.astype(np.uint16) if given else np.zeros(ccd.data.shape, np.uint16)
    if ccd.mask is not None:
        unknown = np.broadcast_to(ccd.mask, flags.shape) & (flags == 0)
        if unknown.any():
            flags[unknown] = FLAGS["NO_DATA"].value
    return flags


def sigma_of(ccd):
    """
    Standard deviation of any CCDData.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        Its uncertainty may be of any kind that can be turned into a standard deviation.

    Returns
    -------
    `~numpy.ndarray` or None
        float32, shape ``(ny, nx)``.
    """
    if ccd.uncertainty is None:
        return None
    # Converted to its own kind astropy squares an array and takes the root again.
    own = isinstance(ccd.uncertainty, StdDevUncertainty)
    uncertainty = ccd.uncertainty if own else ccd.uncertainty.represent_as(StdDevUncertainty)
    return np.asarray(uncertainty.array, dtype=np.float32)


def wcs_of(header):
    """
    World coordinates of a header that has them.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header.

    Returns
    -------
    `~astropy.wcs.WCS` or None
        None without CTYPE1, or where the cards contradict themselves.
    """
    if not str(header.get("CTYPE1", "")).strip():
        return None
    with quiet_libraries():
        try:
            wcs = WCS(header, relax=True)
            # A frame in the first plane of a cube has more axes in its header than in its pixels.
            return wcs.sub(2) if wcs.naxis > 2 else wcs
        except (ValueError, KeyError, MemoryError, AttributeError):
            return None


def read_ccd(path):
    """
    Read a product: data, uncertainty, flags and provenance.

    Parameters
    ----------
    path : path-like
        A FITS file written by `write_ccd`; other files that CCDData can read are taken as far as they go. The
        values of a MASK extension are read as flags only where the extension names them.

    Returns
    -------
    `~astropy.nddata.CCDData`

    Raises
    ------
    FrameError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import read_ccd, write_ccd
    >>> image = CCDData(np.ones((4, 4)), unit="electron", meta={"FILTER": "R"})
    >>> with TemporaryDirectory() as folder:
    ...     write_ccd(image, Path(folder, "image.fits"))
    ...     again = read_ccd(Path(folder, "image.fits"))
    >>> again.meta["FILTER"], int(again.mask.sum())
    ('R', 0)
    """
    path = Path(path)
    raw = storage.read_header(path)
    try:
        with quiet_libraries(), fits.open(path, memmap=False) as hdus:
            _refuse_truncated(hdus, path)
            storage.require_all_intact(path, raw)
            return _from_hdus(hdus, raw)
    except FrameError:
        raise
    except (OSError, TypeError, ValueError, KeyError, IndexError, EOFError, zlib.error, VerifyError) as error:
        storage.refuse_shortage(error)
        raise FrameError(path, f"cannot be read as a product: {error}") from error


def _refuse_truncated(hdus, path):
    """Astropy takes the loss of extensions at the end of a file as a matter for a warning."""
    last = hdus[len(hdus) - 1].fileinfo()
    with storage.open_plain(path) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(last["datLoc"] + last["datSpan"])
        cut = stream.read(9) == b"XTENSION="
    missing = last["datLoc"] + hdus[-1].size - size
    if missing > 0 or cut:
        what = f"{missing} bytes of it are missing" if missing > 0 else "the header of an extension is not whole"
        raise FrameError(path, f"truncated: {what}", "make it again, or copy it again")


def _from_hdus(hdus, raw):
    names = {hdu.name: hdu for hdu in hdus}
    header, _ = storage.clean_header(raw.header)
    _drop_structure(header)
    data = np.asarray(hdus[raw.hdu].data)
    data = data.reshape(data.shape[-2:])
    flags = sigma = None
    if "MASK" in names:
        mask = names["MASK"]
        named = any(key.startswith("FLAG") for key in mask.header)
        bits = np.asarray(mask.data)
        flags = bits if named else np.where(bits != 0, FLAGS["NO_DATA"].value, 0)
    if "UNCERT" in names:
        kind = names["UNCERT"].header.get("UTYPE", "StdDevUncertainty").strip()
        sigma = _as_sigma(np.asarray(names["UNCERT"].data), kind)
    records = ()
    if "PROVENANCE" in names:
        rows = names["PROVENANCE"].data
        records = [StepRecord(*(str(row[name]) for name in StepRecord.names())) for row in rows]
    unit = str(header.get("BUNIT", "adu")).strip()
    dtype = np.uint16 if _is_bits(header, data) else np.float32
    ccd = make_ccd(data, unit=_unit(unit), meta=header, sigma=sigma, flags=flags, records=records, dtype=dtype)
    if "NCOMBINE" in header and any(name in names for name in MAPS):
        native = {key: np.asarray(names[key].data) for key in MAPS if key in names}
        put_maps(ccd, {key: array.astype(array.dtype.newbyteorder("=")) for key, array in native.items()})
    return ccd


def put_maps(ccd, maps):
    """
    Give a coadd its maps, as attributes that `write_ccd` knows of.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        Changed in place.
    maps : dict of str to `~numpy.ndarray`
        Of the names in `MAPS`.
    """
    ccd._ccdnight_maps = dict(maps)
    for name, values in maps.items():
        setattr(ccd, MAPS[name][0], values)


def _is_bits(header, data):
    """Whether the data are the causes of a bad pixel mask, which stay what they are."""
    return header.get("MASTER") == "badpixels" and data.dtype.kind in "ui"


def _drop_structure(header):
    for key in _STRUCTURE + tuple(key for key in header if re.fullmatch(r"NAXIS\d*", key)):
        header.remove(key, ignore_missing=True, remove_all=True)


def _unit(text):
    return {"ADU": "adu", "counts": "adu", "ELECTRONS": "electron", "electrons": "electron", "e-": "electron"}.get(
        text, text
    )


def _as_sigma(array, kind):
    if kind == "VarianceUncertainty":
        return np.sqrt(array)
    if kind == "InverseVariance":
        with np.errstate(divide="ignore"):
            return 1 / np.sqrt(array)
    return array


def write_ccd(ccd, path, *, overwrite=False):
    """
    Write a product as a whole or not at all.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        What to write.
    path : path-like
        Final name.
    overwrite : bool, optional
        Whether a file of this name may be replaced.

    Raises
    ------
    FileExistsError
        If there is one and it may not.
    OutputError
        If the environment does not allow it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdnight import read_ccd, write_ccd
    >>> with TemporaryDirectory() as folder:
    ...     write_ccd(CCDData(np.ones((4, 4)), unit="electron"), Path(folder, "image.fits"))
    ...     again = read_ccd(Path(folder, "image.fits"))
    >>> again.shape, str(again.unit)
    ((4, 4), 'electron')
    """
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{path} exists; give overwrite=True to replace it"
        raise FileExistsError(msg)
    storage.write_fits(path, to_hdus(ccd))


def to_hdus(ccd):
    """
    The HDUs of a product.

    Parameters
    ----------
    ccd : `~astropy.nddata.CCDData`
        What to write.

    Returns
    -------
    `~astropy.io.fits.HDUList`
        Primary, UNCERT (if there is one), MASK, and PROVENANCE (if anything is recorded).
    """
    header, _ = storage.clean_header(header_of(ccd))
    _drop_structure(header)
    header["BUNIT"] = (ccd.unit.to_string(), "unit of the data")
    data = ccd.data if _is_bits(header, ccd.data) else np.asarray(ccd.data, np.float32)
    hdus = fits.HDUList([fits.PrimaryHDU(data, header)])
    sigma = sigma_of(ccd)
    if sigma is not None:
        hdus.append(fits.ImageHDU(sigma, name="UNCERT"))
        hdus[-1].header["UTYPE"] = ("StdDevUncertainty", "kind of uncertainty, as astropy names it")
        hdus[-1].header["BUNIT"] = (header["BUNIT"], "unit")
    mask = fits.ImageHDU(flags_of(ccd), name="MASK")
    for number, flag in enumerate(FLAGS.values()):
        mask.header[f"FLAG{number}"] = (flag.name, f"bit {number}, value {flag.value}: {flag.meaning}"[:45])
    hdus.append(mask)
    for name, values in getattr(ccd, "_ccdnight_maps", {}).items():
        hdus.append(fits.ImageHDU(values, name=name))
        hdus[-1].header["BUNIT"] = (MAPS[name][1], "unit")
    rows = record_rows(ccd)
    if rows:
        hdus.append(_provenance_table(rows))
    return hdus


def _provenance_table(rows):
    columns = []
    for name, values in zip(StepRecord.names(), zip(*rows, strict=True), strict=True):
        texts = [printable(value) for value in values]
        width = max(1, *map(len, texts))
        columns.append(fits.Column(name, f"{width}A", array=np.array(texts, dtype=f"S{width}")))
    return fits.BinTableHDU.from_columns(columns, name="PROVENANCE")
