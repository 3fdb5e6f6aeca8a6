"""
What is in a folder: a collection of frames with a typed table.

`FrameCollection` is an `ccdproc.ImageFileCollection`: existing code that takes one goes on working with it.
It looks into subfolders, reads each header once, and a file that cannot be read is a row with its problem, not
the end of the collection.
"""

import os
from pathlib import Path, PurePosixPath

import ccdproc
import numpy as np
from astropy.table import MaskedColumn, Table

from ccdnight import storage
from ccdnight._html import table_html
from ccdnight.exceptions import FrameError, InputError
from ccdnight.observation import iso_utc
from ccdnight.profiles import get_profile, match_profile
from ccdnight.profiles.interpret import read_facts
from ccdnight.provenance import is_applied

__all__ = ["COLUMNS", "FrameCollection"]

#: Columns of the frame table.
COLUMNS = (
    *("path", "kind", "exposure", "filter", "object", "time", "temperature", "detector", "binning"),
    *("read_mode", "shape", "problem", "evidence"),
)


class FrameCollection(ccdproc.ImageFileCollection):
    """
    The FITS files of a folder and of the folders below it.

    Parameters
    ----------
    location : path-like, optional
        The folder.
    keywords, find_fits_by_reading, filenames, glob_include, glob_exclude, ext
        As in `ccdproc.ImageFileCollection`; `ext` None takes each file's first two-dimensional image.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that most of the headers match.
    recursive : bool, optional
        Whether to look into subfolders.

    Raises
    ------
    InputError
        If the folder does not exist.
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
        self._recursive, self._pending = recursive, None
        self._table, self._headers, self._frames, self._samples = {}, {}, None, None
        self._asked_profile, self._profile = profile, None
        location = None if location is None else os.fspath(location)
        if filenames is not None and not isinstance(filenames, str):
            filenames = [os.fspath(name) for name in filenames]
        # The base class builds its summary at once, which parses every card of every file; here it is built
        # when somebody looks at it.
        super().__init__(
            location, (), find_fits_by_reading, filenames, glob_include, glob_exclude, 0 if ext is None else ext
        )
        self._pick_hdu = ext is None
        self._pending = "*" if keywords is None else keywords
        self._all_keywords = self._pending == "*"

    # -- the table of the base class ------------------------------------------------------------------

    @property
    def _summary(self):
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._table = self._fits_summary([pending] if isinstance(pending, str) else list(pending))
        return self._table

    @_summary.setter
    def _summary(self, table):
        self._table = table

    def _fits_files_in_directory(self, extensions=None, compressed=True):
        if self._find_fits_by_reading:
            return super()._fits_files_in_directory(extensions, compressed)
        found = storage.find_fits(self.location)
        return [name for name in found if self._recursive or "/" not in name]

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
        if name not in self._headers:
            try:
                hdu = None if getattr(self, "_pick_hdu", True) else self._ext
                self._headers[name] = storage.read_header(self.full_path(name), hdu=hdu)
            except FrameError as error:
                self._headers[name] = FrameError(name, error.reason, error.remedy)
        return self._headers[name]

    def _fits_summary(self, header_keywords):
        if not self.files:
            return None
        wanted = [key for key in dict.fromkeys(header_keywords) if key != "file"]
        readable = [name for name in self.files if not isinstance(self.raw_header(name), FrameError)]
        rows = [_row(self.raw_header(name).header, None if "*" in wanted else wanted) for name in readable]
        names = list(dict.fromkeys(key for row in rows for key in row)) if "*" in wanted else wanted
        table = Table(masked=True)
        table["file"] = MaskedColumn(readable, dtype=object if not readable else None)
        for key in names:
            values = [row.get(key) for row in rows]
            missing = [value is None for value in values]
            table[key] = MaskedColumn(_column(values), mask=missing)
        return table

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
        """
        names = [str(name) for name in self.files_filtered(**kwd)]
        return self._subset(names)

    def _subset(self, names):
        new = FrameCollection(
            self.location or None,
            keywords="*" if self._all_keywords else list(self.keywords),
            filenames=names or ["no file"],  # an empty list would mean every file of the folder
            ext=None if self._pick_hdu else self._ext,
            profile=self._asked_profile,
        )
        new._files, new._filenames = list(names), list(names)
        new._headers = {name: self._headers[name] for name in names if name in self._headers}
        return new

    def refresh(self):
        """Look into the folder again."""
        self._headers, self._frames, self._samples, self._profile = {}, None, None, None
        super().refresh()

    def _generator(self, return_type, save_with_name="", save_location="", return_fname=False, **kwd):
        """
        The base class's generator, file by file: its own takes one folder and one HDU number for granted.

        With `save_location` files of subfolders are saved in the same subfolders, and names are relative to
        the collection's folder.
        """
        options = {key: kwd.pop(key) for key in _OPTIONS if key in kwd}
        if not self.summary:
            return
        names = self.files_filtered(**kwd) if kwd else self.summary["file"].compressed()
        for name in [str(item) for item in names]:
            full = Path(self.full_path(name))
            target = save_location
            if save_location:
                target = os.path.join(save_location, os.path.dirname(name))
                storage.make_folder(target)
            hdu = self.raw_header(name).hdu if self._pick_hdu else self._ext
            single = ccdproc.ImageFileCollection(str(full.parent), ["file"], filenames=[full.name], ext=hdu)
            for thing in single._generator(
                return_type, save_with_name=save_with_name, save_location=target, **options
            ):
                yield (thing, name) if return_fname else thing

    # -- the table of frames ---------------------------------------------------------------------------

    @property
    def profile(self):
        """The instrument: the one that was asked for, else the one that most of the headers match."""
        if self._profile is None:
            if self._asked_profile is not None:
                self._profile = get_profile(self._asked_profile)
            else:
                self._profile = _vote([self.raw_header(name) for name in self.files])
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
            self._frames = _table([self._facts(name) for name in self.files])
        return self._frames

    def _facts(self, name):
        raw = self.raw_header(name)
        path = PurePosixPath(name.replace(os.sep, "/")).as_posix()
        if isinstance(raw, FrameError):
            problem = raw.reason + (f" ({raw.remedy})" if raw.remedy else "")
            return {"path": path, "kind": "unknown", "problem": problem}
        facts = read_facts(raw.header, self.profile)
        problems = list(facts.problems) + _already_reduced(raw.header)
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
            path, level (median), scatter (robust, of single pixels), overscan (mean level), saturated
            (fraction of the sample), overscan_slope, all in adu; see `ccdnight.sampling`.
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


_OPTIONS = ("overwrite", "do_not_scale_image_data", "ccd_kwargs", "clobber")


def _row(header, wanted):
    """Cards of a header as the base class's summary has them: lower case, first of equal keywords."""
    row = {}
    keys = dict.fromkeys(header.keys()) if wanted is None else wanted
    for key in keys:
        name = key.lower() if wanted is None else key
        if not key or key.upper() not in header:
            continue
        if key.upper() in ("COMMENT", "HISTORY"):
            row[name] = ",".join(str(item) for item in header[key.upper()])
        else:
            row[name] = storage.card_value(header, key.upper())
    return row


def _column(values):
    """Values of one type stay what they are; a mixture becomes a column of objects."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1 and kinds <= {int, float, str, bool}:
        blank = next(iter(kinds))()
        return [blank if value is None else value for value in values]
    if kinds == {int, float}:
        return [0.0 if value is None else float(value) for value in values]
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _vote(headers):
    votes = {}
    for raw in headers:
        if not isinstance(raw, FrameError):
            profile = match_profile(raw.header)
            votes.setdefault(profile.name, [profile, 0])[1] += 1
    # A few frames of another instrument must not decide, and 'generic' only where nothing else was found.
    named = {name: item for name, item in votes.items() if name != "generic"} or votes
    if not named:
        return get_profile("generic")
    return max(named.values(), key=lambda item: (item[1], item[0].name))[0]


def _already_reduced(header):
    steps = [evidence for step in ("bias", "dark", "flat", "trim", "overscan") if (evidence := is_applied(header, step))]
    if not steps:
        return []
    return [f"is not raw: {', '.join(steps)}; raw frames are needed"]


def _table(rows):
    table = Table()
    for name in COLUMNS:
        values = [row.get(name) for row in rows]
        if name in ("exposure", "temperature"):
            column = MaskedColumn(
                [np.nan if value is None else value for value in values],
                mask=[value is None for value in values],
                dtype=float,
                unit="s" if name == "exposure" else "deg_C",
            )
        else:
            column = np.array(["" if value is None else str(value) for value in values], dtype=str)
        table[name] = column
    return table
