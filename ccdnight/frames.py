"""
What is in a folder: a collection of frames with a typed table.

`FrameCollection` is an `ccdproc.ImageFileCollection`: existing code that takes one goes on working with it.
It looks into subfolders, reads each header once, and a file that cannot be read is a row with its problem, not
the end of the collection.
"""

import copy
import logging
import os
import warnings
from pathlib import Path

import ccdproc
import numpy as np
from astropy.table import MaskedColumn, Table
from astropy.utils.exceptions import AstropyUserWarning

from ccdnight import storage
from ccdnight._files import (
    fits_by_reading,
    hdu_number,
    make_subfolder,
    name_matches,
    plain_name,
    read_as,
    save_as,
    summary_column,
    summary_row,
    warn_of_duplicates,
    whole_header,
)
from ccdnight._frametable import COLUMNS, already_reduced, frame_table, vote
from ccdnight._html import table_html
from ccdnight.exceptions import FrameError, InputError
from ccdnight.observation import iso_utc
from ccdnight.profiles import get_profile
from ccdnight.profiles.interpret import read_facts

__all__ = ["COLUMNS", "FrameCollection"]

_logger = logging.getLogger(__name__)


class FrameCollection(ccdproc.ImageFileCollection):
    """
    The FITS files of a folder and of the folders below it.

    Parameters
    ----------
    location : path-like, optional
        The folder.
    keywords, find_fits_by_reading, filenames, glob_include, glob_exclude, ext
        As in `ccdproc.ImageFileCollection`; `ext` None takes each file's first two-dimensional image. Patterns
        are held against the names of files, or against their relative paths where they have a ``/`` in them.
        An empty list of `filenames` means no file.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that most of the headers match.
    recursive : bool, optional
        Whether to look into subfolders.

    Raises
    ------
    InputError
        If the folder does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight import FrameCollection
    >>> folder, rng = TemporaryDirectory(), np.random.default_rng(1)
    >>> for number in range(3):
    ...     header = fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0, "DATE-OBS": f"2024-01-01T18:0{number}:00"})
    ...     pixels = rng.normal(1000, 5, (64, 80)).astype(np.int16)
    ...     fits.PrimaryHDU(pixels, header).writeto(f"{folder.name}/bias_{number}.fits")
    >>> collection = FrameCollection(folder.name)
    >>> collection.frames["kind"].tolist()
    ['bias', 'bias', 'bias']
    >>> [round(level, -1) for level in collection.measure()["level"].tolist()]  # adu; the pixels are looked at now
    [1000.0, 1000.0, 1000.0]
    >>> folder.cleanup()
    """

    def __init__(
        self,
        location=None,
        keywords=None,
        find_fits_by_reading=False,
        filenames=None,
        glob_include=None,
        glob_exclude=None,
        ext=None,
        *,
        profile=None,
        recursive=True,
    ):
        if location is not None and not Path(location).is_dir():
            what = "is not a folder" if Path(location).exists() else "does not exist"
            msg = f"{location}: {what}; a folder of FITS files is needed"
            raise InputError(msg)
        location = None if location is None else os.fspath(location)
        if filenames is not None and not isinstance(filenames, str):
            filenames = [os.fspath(name) for name in filenames]
        self._recursive, self._pick_hdu = recursive, ext is None
        self._asked_profile, self._profile = profile, None
        self._pending, self._table = None, {}
        self._headers, self._others, self._frames, self._samples = {}, {}, None, None
        # The base class builds its summary at once, which parses every card of every file; here it is built
        # when somebody looks at it.
        super().__init__(
            location, (), find_fits_by_reading, filenames, glob_include, glob_exclude, 0 if ext is None else ext
        )
        keywords = "*" if keywords is None else keywords
        self._all_keywords = keywords == "*"
        self._pending = keywords or None

    # -- the files ---------------------------------------------------------------------------------------

    def _get_files(self):
        if self._filenames is not None:
            return [self._filenames] if isinstance(self._filenames, str) else list(self._filenames)
        found = self._fits_files_in_directory() if self.location else []
        include, exclude = self.glob_include, self.glob_exclude
        return [
            name
            for name in found
            if (include is None or name_matches(name, include)) and (exclude is None or not name_matches(name, exclude))
        ]

    def _fits_files_in_directory(self, extensions=None, compressed=True):
        found = fits_by_reading(self.location) if self._find_fits_by_reading else storage.find_fits(self.location)
        names = [name for name in found if self._recursive or "/" not in name]
        if extensions is not None:
            names = [name for name in names if plain_name(name).endswith(tuple(extensions))]
        return [name for name in names if compressed or plain_name(name) == name.lower()]

    def full_path(self, name):
        """
        Path of a file.

        Parameters
        ----------
        name : str
            One of `files`.

        Returns
        -------
        str
        """
        return os.path.join(self.location or "", name)

    def _path(self, name):
        """A file as the frame table names it: relative to the folder, if it lies below it."""
        if self.location and os.path.isabs(name):
            inside = os.path.relpath(name, self.location)
            name = name if inside.startswith(os.pardir) else inside
        return name.replace(os.sep, "/")

    def raw_header(self, name):
        """
        Header of a file, read once.

        Parameters
        ----------
        name : str
            One of `files`.

        Returns
        -------
        `ccdnight.storage.RawHeader` or FrameError
            The error, not raised, of a file that cannot be read.
        """
        return self._read(name, self.profile.hdu if self._pick_hdu else self._ext)

    def _read(self, name, ext):
        path = os.path.abspath(self.full_path(name))
        if (path, ext) not in self._headers:
            try:
                hdu = hdu_number(path, ext) if isinstance(ext, str | tuple) else ext
                self._headers[path, ext] = storage.read_header(path, hdu=hdu)
            except FrameError as error:
                self._headers[path, ext] = FrameError(name, error.reason, error.remedy)
        return self._headers[path, ext]

    # -- the table of the base class ---------------------------------------------------------------------

    @property
    def _summary(self):
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._table = self._fits_summary([pending] if isinstance(pending, str) else list(pending))
        return self._table

    @_summary.setter
    def _summary(self, table):
        self._table, self._pending = table, None

    def _cards(self, name):
        """
        The header of a file for the summary; None for one that cannot be read.

        Of a frame that is its raw header. Of what is no frame, a spectrum or a table, and where an HDU was asked
        for, it is what the base class reads.
        """
        raw = self.raw_header(name) if self._pick_hdu else None
        if isinstance(raw, storage.RawHeader):
            return raw.header
        path = os.path.abspath(self.full_path(name))
        if path not in self._others:
            self._others[path] = whole_header(path, self._ext)
        return self._others[path]

    def _fits_summary(self, header_keywords):
        if not self.files:
            return None
        keys = [key for key in dict.fromkeys(header_keywords) if key != "file"]
        headers = {name: header for name in self.files if (header := self._cards(name)) is not None}
        if len(headers) < len(self.files):
            missing = [name for name in self.files if name not in headers]
            _logger.warning("files that cannot be read are left out of the summary: %s", ", ".join(missing))
        wanted = None if "*" in keys else {key.lower() for key in keys}
        rows = [summary_row(header, wanted) for header in headers.values()]
        if "*" in keys:
            spelt = {key.lower(): key for key in keys if key != "*"}
            found = dict.fromkeys(key for row in rows for key in row)
            keys = [spelt.pop(key, key) for key in found] + list(spelt.values())
        warn_of_duplicates(headers, wanted)
        # All at once: a table that grows column by column takes minutes for a header of 36,000 cards.
        columns = {"file": MaskedColumn(list(headers), dtype=None if headers else str)}
        for key in keys:
            values = [row.get(key.lower()) for row in rows]
            columns[key] = MaskedColumn(summary_column(values), mask=[value is None for value in values])
        return Table(columns, masked=True, copy=False)

    def filter(self, **kwd):
        """
        A new collection of the files whose headers hold some values, as in the base class.

        Parameters
        ----------
        **kwd
            Keywords and values; ``regex_match=True`` reads the values as patterns.

        Returns
        -------
        FrameCollection
            Its files are named by their whole paths, as those of the base class are; its frame table names them
            as this one does.
        """
        names = [os.path.abspath(name) for name in self.files_filtered(include_path=True, **kwd)]
        if not names:
            warnings.warn("no FITS files in the collection.", AstropyUserWarning, stacklevel=2)
        new = copy.copy(self)
        # A few frames cannot tell the instrument as well as all can.
        new._asked_profile = self.profile
        new._files, new._filenames = names, list(names)
        new._headers, new._others, new._frames, new._samples = dict(self._headers), dict(self._others), None, None
        new._pending, new._all_keywords = list(self.keywords), False
        return new

    def refresh(self):
        """Look into the folder again."""
        self._headers, self._others, self._frames, self._samples, self._profile = {}, {}, None, None, None
        if self._pending is None:
            super().refresh()
        else:
            self._files = self._get_files()

    def sort(self, keys):
        """
        Sort the files.

        Parameters
        ----------
        keys : str or list of str
            Columns of the summary. Files that cannot be read come last.
        """
        before = list(self.files)
        if not self.summary:
            return
        super().sort(keys)
        place = {name: number for number, name in enumerate(before)}
        readable = dict.fromkeys(self._files)
        self._files += [name for name in before if name not in readable]
        order = [place[name] for name in self._files]
        self._frames, self._samples = (
            None if table is None else table[order] for table in (self._frames, self._samples)
        )

    def _generator(
        self,
        return_type,
        save_with_name="",
        save_location="",
        overwrite=False,
        do_not_scale_image_data=True,
        return_fname=False,
        ccd_kwargs=None,
        **kwd,
    ):
        """
        The base class's generator, for files in several folders, of several HDU numbers, with bad cards.

        Names are relative to the collection's folder, and below `save_location` files lie in the same
        subfolders. Cards that cannot be read are put right in what is yielded and what is saved.
        """
        if return_type not in _RETURN_TYPES:
            msg = f"no generator for {return_type!r}; allowed are {', '.join(_RETURN_TYPES)}"
            raise ValueError(msg)
        if not self.summary:
            return
        names = self.files_filtered(**kwd) if kwd else self.summary["file"].compressed()
        root = self._root() if len(names) else ""
        for name in [str(item) for item in names]:
            path = os.path.abspath(self.full_path(name))
            inner = os.path.relpath(path, root)
            raw = self.raw_header(name) if self._pick_hdu else None
            ext = raw.hdu if isinstance(raw, storage.RawHeader) else self._ext
            thing = read_as(return_type, path, ext, do_not_scale_image_data, ccd_kwargs or {})
            yield (thing, inner.replace(os.sep, "/")) if return_fname else thing
            base, suffix = os.path.splitext(os.path.join(save_location, inner) if save_location else path)
            target = os.path.abspath(base + save_with_name + suffix)
            if return_type != "ccd" and (target != path or overwrite):
                if save_location:
                    make_subfolder(save_location, os.path.dirname(target))
                save_as(return_type, thing, path, ext, target, overwrite, do_not_scale_image_data)

    def _root(self):
        """The folder that the names of saved files are relative to: the location, or what all files share."""
        folders = {os.path.dirname(os.path.abspath(self.full_path(name))) for name in self.files}
        return os.path.commonpath(folders | ({os.path.abspath(self.location)} if self.location else set()))

    # -- the table of frames ---------------------------------------------------------------------------

    @property
    def profile(self):
        """The instrument: the one that was asked for, else the one that most of the headers match."""
        if self._profile is None:
            if self._asked_profile is not None:
                self._profile = get_profile(self._asked_profile)
            else:
                ext = None if self._pick_hdu else self._ext
                self._profile = vote([self._read(name, ext) for name in self.files])
        return self._profile

    @property
    def frames(self):
        """
        One row for every file, good or not.

        Returns
        -------
        `~astropy.table.Table`
            path (relative, POSIX), kind, exposure [s], filter, object, time (UTC begin of the exposure, ISO),
            temperature [Celsius], detector, binning, read_mode, shape ('nx x ny' order of FITS is not used:
            it is ``ny x nx``), problem, evidence. A missing number is masked.
        """
        if self._frames is None:
            self._frames = frame_table([self._facts(name) for name in self.files])
        return self._frames

    def _facts(self, name):
        raw = self.raw_header(name)
        path = self._path(name)
        if isinstance(raw, FrameError):
            problem = raw.reason + (f" ({raw.remedy})" if raw.remedy else "")
            return {"path": path, "kind": "unknown", "problem": problem}
        facts = read_facts(raw.header, self.profile)
        problems = list(facts.problems) + already_reduced(raw.header)
        return {
            "path": path,
            "kind": facts.kind,
            "exposure": facts.exposure,
            "filter": facts.filter,
            "object": facts.object,
            "time": iso_utc(facts.time),
            "temperature": facts.temperature,
            "detector": facts.detector,
            "binning": facts.binning,
            "read_mode": facts.read_mode,
            "shape": f"{raw.shape[0]}x{raw.shape[1]}",
            "problem": "; ".join(problems),
            "evidence": ("ignored: " if facts.ignored else "") + facts.evidence,
        }

    def measure(self):
        """
        Sample the pixels of every frame once.

        Returns
        -------
        `~astropy.table.Table`
            One row for every file, see `ccdnight.sampling.sample_frames`.
        """
        if self._samples is None:
            from ccdnight.sampling import sample_frames

            self._samples = sample_frames(self)
        return self._samples

    def __len__(self):
        return len(self.files)

    def _repr_html_(self):
        table = self.frames
        rows = [["" if value is np.ma.masked else value for value in row] for row in table]
        caption = f"{len(table)} files, profile {self.profile.name}"
        return table_html("Frames", table.colnames, rows, caption=caption)


#: What the generators yield.
_RETURN_TYPES = ("header", "data", "ccd", "hdu")
