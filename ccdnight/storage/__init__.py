"""The one door to the disk: bounded, checked FITS reading; atomic writing; the lock of an output folder."""

from ccdnight.storage.extensions import ends_with_image, extension_numbers, further_images
from ccdnight.storage.headers import card_value, clean_header
from ccdnight.storage.locking import OutputLock
from ccdnight.storage.names import FITS_SUFFIXES, find_fits, keep_names, names_again, product_name, safe_name
from ccdnight.storage.pixels import (
    decode_rows,
    decodes,
    packs,
    read_packed,
    read_rows,
    read_stored,
    refuse_shortage,
    wide,
)
from ccdnight.storage.reading import RawHeader, read_header, read_pixels
from ccdnight.storage.scanning import open_plain
from ccdnight.storage.sums import require_all_intact, require_intact
from ccdnight.storage.unpacking import unpacked
from ccdnight.storage.writing import (
    make_folder,
    remove_file,
    remove_partial,
    require_inside,
    require_space,
    text_bytes,
    write_bytes,
    write_fits,
    write_text,
)

__all__ = [
    "FITS_SUFFIXES",
    "OutputLock",
    "RawHeader",
    "card_value",
    "clean_header",
    "decode_rows",
    "decodes",
    "ends_with_image",
    "extension_numbers",
    "find_fits",
    "further_images",
    "keep_names",
    "make_folder",
    "names_again",
    "open_plain",
    "packs",
    "product_name",
    "read_header",
    "read_packed",
    "read_pixels",
    "read_rows",
    "read_stored",
    "refuse_shortage",
    "remove_file",
    "remove_partial",
    "require_all_intact",
    "require_inside",
    "require_intact",
    "require_space",
    "safe_name",
    "text_bytes",
    "unpacked",
    "wide",
    "write_bytes",
    "write_fits",
    "write_text",
]
