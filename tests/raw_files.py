"""Raw files byte for byte: written as they are, read back as they stand, and broken on purpose."""

import gzip
import io
from pathlib import Path

import numpy as np
from astropy.io import fits
from raw_headers import as_type, card, keyword_of, override, put_raw

__all__ = [
    "all_nan",
    "all_zero",
    "delete_card",
    "garble_card",
    "header_bytes",
    "replace_pixels",
    "text_file",
    "truncate",
    "write_raw",
]


def _header_block(cards):
    text = "".join(image.ljust(80) for image in [*cards, "END"])
    return text.ljust(-(-len(text) // 2880) * 2880).encode("latin-1")


def _pixel_block(pixels):
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype("i4") - 32768).astype("i2")
    data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    return data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def write_raw(path, cards, pixels):
    """Write cards and pixels byte for byte, which no FITS library would do with invalid cards."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _header_block(cards) + _pixel_block(pixels)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=1, mtime=0)
    if path.suffix == ".fz":
        with fits.open(io.BytesIO(content)) as plain:
            fits.CompImageHDU(plain[0].data, plain[0].header).writeto(path, overwrite=True)
    else:
        path.write_bytes(content)
    return path


def header_bytes(path):
    """
    Card images of an uncompressed file's first header, without END, as they stand on the disk.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If the header has no end.
    """
    return _split(path)[0]


def _split(path):
    content = Path(path).read_bytes()
    cards = []
    for start in range(0, len(content) - 79, 80):
        image = content[start : start + 80].decode("latin-1")
        if image == "END".ljust(80):
            return cards, content[-(-(start + 80) // 2880) * 2880 :]
        cards.append(image)
    msg = f"{path} has no END card"
    raise ValueError(msg)


def garble_card(path, keyword, card_image):
    """
    Put a card image in the place of a card, byte for byte, for instance ``EXPTIME = 1O.0``.

    Returns
    -------
    Path

    Raises
    ------
    KeyError
        If the header has no such keyword.
    """
    cards, rest = _split(path)
    place = [keyword_of(image) for image in cards].index(keyword) if _has(cards, keyword) else None
    if place is None:
        msg = f"{path} has no card {keyword}"
        raise KeyError(msg)
    if len(card_image) > 80:
        msg = f"card image of {len(card_image)} characters, at most 80 are allowed: {card_image!r}"
        raise ValueError(msg)
    cards[place] = card_image.ljust(80)
    Path(path).write_bytes(_header_block(cards) + rest)
    return Path(path)


def _has(cards, keyword):
    return any(keyword_of(image) == keyword for image in cards)


def delete_card(path, keyword):
    """
    Delete a card.

    Returns
    -------
    Path

    Raises
    ------
    KeyError
        If the header has no such keyword.
    """
    cards, rest = _split(path)
    if not _has(cards, keyword):
        msg = f"{path} has no card {keyword}"
        raise KeyError(msg)
    Path(path).write_bytes(_header_block(override(cards, {keyword: None})) + rest)
    return Path(path)


def replace_pixels(path, pixels):
    """
    Give a file other pixels (uint16, int16, int32, float32 or float64), the header staying as it is.

    Only the cards on pixel type and shape follow the new pixels.

    Returns
    -------
    Path
    """
    cards, _ = _split(path)
    pixels = np.asarray(pixels)
    for axis, size in enumerate(reversed(pixels.shape), start=1):
        if f"NAXIS{axis}" in map(keyword_of, cards):
            old = next(int(c[10:30]) for c in cards if keyword_of(c) == f"NAXIS{axis}")
            if old != size:
                cards = put_raw(cards, card(f"NAXIS{axis}", size))
    return write_raw(path, as_type(cards, pixels.dtype.name), pixels)


def all_zero(path):
    """Make every pixel 0."""
    return replace_pixels(path, np.zeros(_shape(path), dtype="u2"))


def all_nan(path):
    """Make every pixel NaN, which makes the frame one of float32."""
    return replace_pixels(path, np.full(_shape(path), np.nan, dtype="f4"))


def _shape(path):
    cards, _ = _split(path)
    return tuple(int(c[10:30]) for name in ("NAXIS2", "NAXIS1") for c in cards if keyword_of(c) == name)


def truncate(path, nbytes):
    """
    Keep the first `nbytes` bytes of a file; a negative number cuts so many off its end.

    Returns
    -------
    Path
    """
    path = Path(path)
    path.write_bytes(path.read_bytes()[:nbytes])
    return path


def text_file(path, text="This is not a FITS file.\n"):
    """
    Write a file of plain text.

    Returns
    -------
    Path
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
