"""What a file holds beside the image that is read."""

import gzip
import os
import zlib
from pathlib import Path

from astropy.io.fits.verify import VerifyError

from ccdnight.exceptions import FrameError
from ccdnight.storage.headers import card_value
from ccdnight.storage.pixels import refuse_shortage
from ccdnight.storage.scanning import BLOCK, data_size, open_plain, read_block_header, shape_of, skip_data

__all__ = ["data_parts", "ends_with_image", "extension_numbers", "further_images"]


def extension_numbers(path):
    """
    Numbers of the extensions of a FITS file by their names; the first of equal names counts.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import extension_numbers
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 6)), name="IM1")]).writeto(path)
    ...     numbers = extension_numbers(path)
    >>> numbers["IM1"]
    1
    """
    names = {}
    for number, (header, _, _) in enumerate(data_parts(path)):
        names.setdefault(str(card_value(header, "EXTNAME", "")).strip().upper(), number)
    names.pop("", None)
    return names


def further_images(path, raw):
    """
    Images behind the one that is read, of a file that is not packed by gzip.

    Parameters
    ----------
    path : path-like
        The file.
    raw : RawHeader
        Header of the image that is read.

    Returns
    -------
    list of str
        Names of their extensions, 'HDU 2' and so on without one.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import further_images, read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     images = [fits.ImageHDU(np.ones((4, 6)), name=name) for name in ("CCD1", "CCD2")]
    ...     fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    ...     found = further_images(path, read_header(path))
    >>> found
    ['CCD2']
    """
    if ends_with_image(path, raw):
        return []
    found = []
    for number, (header, _, _) in enumerate(data_parts(path)):
        if number > raw.hdu and _is_image(header, Path(path)):
            found.append(str(card_value(header, "EXTNAME", "")).strip() or f"HDU {number}")
    return found


def ends_with_image(path, raw):
    """
    Whether a file holds nothing behind the image that is read, as most do: then nothing need be looked for.

    Parameters
    ----------
    path : path-like
        The file; not packed by gzip.
    raw : RawHeader
        Header of the image.

    Returns
    -------
    bool

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight.storage import ends_with_image, read_header
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.fits")
    ...     fits.PrimaryHDU(np.ones((4, 6), np.int16)).writeto(path)
    ...     ends = ends_with_image(path, read_header(path))
    >>> ends
    True
    """
    return os.stat(path).st_size < raw.offset + -(-raw.size // BLOCK) * BLOCK + BLOCK


def _is_image(header, path):
    try:
        return len(shape_of(header, path, bool(header.get("ZIMAGE", False)))) == 2
    except (FrameError, VerifyError, ValueError, TypeError, AttributeError):
        return False


def data_parts(path):
    """
    Where the data of every HDU of a FITS file lie.

    Parameters
    ----------
    path : path-like
        The file.

    Yields
    ------
    header : `~astropy.io.fits.Header`
        Of the HDU.
    offset, size : int
        First byte of its data, and their number. After what is no HDU nothing comes: rubbish behind an image is not
        unusual.
    """
    try:
        with open_plain(path) as stream:
            while (header := read_block_header(stream, Path(path))) is not None:
                offset, size = stream.tell(), data_size(header, Path(path))
                yield header, offset, size
                stream.seek(offset)
                skip_data(stream, size)
    except (FrameError, VerifyError, TypeError, ValueError, AttributeError):
        return
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        refuse_shortage(error)
        raise FrameError(path, f"cannot be read: {error}") from error
