"""A whole night: from a folder of raw frames to masters and calibrated science frames."""

import contextlib
import os
import threading
import traceback
from dataclasses import replace
from pathlib import Path

from ccdnight import storage
from ccdnight._cluster import check_client, check_workers
from ccdnight._collecting import collect
from ccdnight._html import table_html
from ccdnight.association import associate, frame_rows
from ccdnight.exceptions import InputError, OutputError, PlanError, ProfileError
from ccdnight.execution import run_graph
from ccdnight.journal import Journal
from ccdnight.masking import read_mask
from ccdnight.plans import Plan, served
from ccdnight.profiles import get_profile
from ccdnight.profiles.interpret import site_of
from ccdnight.profiles.model import NAMED_POLICIES, POLICY_CHOICES
from ccdnight.sampling import overscan_moves_with_rows
from ccdnight.storage import OutputLock
from ccdnight.tasks import build_graph
from ccdnight.vetting import contradictions, copies

__all__ = ["Night"]


class Night:
    """
    The frames of one observing night.

    Parameters
    ----------
    source : path-like, list of path-like, or `ccdproc.ImageFileCollection`
        The raw folder, or the files.
    profile : str, path-like or InstrumentProfile, optional
        The instrument; by default the one that most of the headers match.

    Raises
    ------
    InputError
        If the folder does not exist.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight import Night
    >>> folder, rng = TemporaryDirectory(), np.random.default_rng(1)
    >>> for number in range(3):
    ...     header = fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0, "DATE-OBS": f"2024-01-01T18:0{number}:00"})
    ...     pixels = rng.normal(1000, 5, (64, 80)).astype(np.int16)
    ...     fits.PrimaryHDU(pixels, header).writeto(f"{folder.name}/bias_{number}.fits")
    >>> night = Night(folder.name)
    >>> len(night.frames), [master.name for master in night.plan().masters]
    (3, ['bias', 'badpixels'])
    >>> result = night.reduce(folder.name + "/reduced", progress=False)
    >>> result.masters["bias"].meta["NCOMBINE"]
    3
    >>> folder.cleanup()
    """

    def __init__(self, source, *, profile=None):
        self._collection = collect(source, profile)
        if profile is not None:
            get_profile(profile)

    @property
    def collection(self):
        """The files, as a `FrameCollection`."""
        return self._collection

    @property
    def frames(self):
        """One row for every file, see `FrameCollection.frames`."""
        return self._collection.frames

    @property
    def profile(self):
        """The instrument."""
        return self._collection.profile

    @property
    def folder(self):
        """The raw folder, '' where files were given one by one."""
        return self._collection.location or ""

    def policy(self, name=None, **changes):
        """
        The profile's policy, a named one over it, and single changes over that.

        Parameters
        ----------
        name : str, optional
            A named policy, such as 'lecture'.
        **changes
            Entries of `ccdnight.Policy`; None leaves an entry as it is.

        Returns
        -------
        Policy
        """
        policy = self.profile.policy
        if name is not None:
            if name not in NAMED_POLICIES:
                msg = f"policy = {name!r} is not known; known are {', '.join(NAMED_POLICIES)}"
                raise InputError(msg)
            policy = policy.updated(**NAMED_POLICIES[name])
        for key, value in changes.items():
            allowed = POLICY_CHOICES.get(key)
            if value is not None and allowed and value not in allowed:
                msg = f"{key} = {value!r}; allowed are {', '.join(allowed)}"
                raise InputError(msg)
        return policy.updated(**changes)

    def plan(self, *, bias=None, dark=None, flat=None, bad_pixels=None, policy=None, mask=None):
        """
        Which frame is calibrated by what, and why; nothing is reduced.

        Parameters
        ----------
        bias : {'auto', 'frames', 'overscan', 'both'}, optional
            Where the bias comes from; by default what the profile's policy says.
        dark : {'auto', 'exact', 'none'}, optional
            Which darks may be used.
        flat : {'auto', 'none'}, optional
            Whether flats are used.
        bad_pixels : {'auto', 'none'}, optional
            Whether a bad pixel mask is made and used.
        policy : str, optional
            A named policy, such as 'lecture', that the entries above change further.
        mask : path-like, optional
            A file with a bad pixel mask of one's own, of the trimmed frame or of the raw one: pixels that are not 0
            are bad. They are added to those that the night's own frames tell of.

        Returns
        -------
        Plan

        Raises
        ------
        InputError
            If the mask cannot be read, or there is not one detector and binning that it belongs to.
        """
        chosen = self.policy(policy, bias=bias, dark=dark, flat=flat, bad_pixels=bad_pixels)
        mask = "" if mask is None else _readable_mask(mask, self.folder)
        if not len(self._collection):
            suffixes = ", ".join(storage.FITS_SUFFIXES)
            note = f"no FITS files in {self.folder or 'the list'}: files ending in {suffixes} are looked at"
            return Plan(profile=self.profile.name, policy=chosen, notes=(note,))
        frames, samples = self.frames, self._collection.measure()
        found = contradictions(frames, samples, flat_level=chosen.flat_level, flat_saturated=chosen.flat_saturated)
        twice, longitudes = copies(frames, samples, found), self._longitudes()
        rows, aside = frame_rows(frames, samples, found, policy=chosen, longitudes=longitudes, twice=twice)
        notes = _section_notes(samples)
        moves = self._moves(rows, chosen)
        plan = associate(rows, aside, profile=self.profile, policy=chosen, row_by_row=moves, mask=mask)
        source = self.profile.source
        by_file = source and source.endswith(".toml") and os.path.sep in source and not _is_shipped(self.profile)
        return Plan(
            profile=source if by_file else plan.profile,
            policy=plan.policy,
            masters=plan.masters,
            science=plan.science,
            unused=plan.unused,
            notes=(*plan.notes, *notes),
        )

    def _longitudes(self):
        headers = (self._collection.raw_header(str(path)) for path in self._collection.files)
        return [None if isinstance(raw, Exception) else site_of(raw.header, self.profile)[1] for raw in headers]

    def _moves(self, rows, policy):
        """Whether overscan rows move with image rows, for each set of frames that has biases and an overscan."""
        if policy.overscan_window > 0 or policy.bias == "frames":
            return {}
        found = {}
        for key in dict.fromkeys(row.key for row in rows):
            names = [row.path for row in rows if row.key == key and row.kind == "bias" and row.overscan == row.overscan]
            if len(names) > 1:
                found[key] = overscan_moves_with_rows(self._collection, names)
        return found

    def reduce(
        self,
        output,
        *,
        plan=None,
        policy=None,
        cosmic_rays=True,
        coadd=False,
        workers=None,
        client=None,
        progress=True,
        anew=False,
    ):
        """
        Reduce the night.

        What an earlier run has left in the output folder is kept where nothing that it depends on has changed: its
        raw frames, the plan, the profile, other products, the versions of the software. The entry ``resumed`` of
        the result's `run` says what was kept, and what was made and why.

        Parameters
        ----------
        output : path-like
            The output folder; made if it is not there. One run at a time works in it.
        plan : Plan or path-like, optional
            What to do; by default `plan` decides.
        policy : str, optional
            A named policy for the plan that is made.
        cosmic_rays : bool, optional
            Whether cosmic rays are flagged in science frames.
        coadd : bool, optional
            Whether the science frames of each target and filter are aligned and coadded, into ``coadd/``. What cannot
            be coadded is told of in the notes and stops nothing.
        workers : int, optional
            Threads; by default as many as there are processors for this process. With a client: tasks at once.
        client : distributed.Client, optional
            A cluster whose workers do the work, see `ccdnight.execution.run_graph`; they see the same folders.
        progress : bool or callable, optional
            A progress bar, or what is called with every finished task's outcome and their total number.
        anew : bool, optional
            Whether everything is made again, whatever is there.

        Returns
        -------
        Reduction

        Raises
        ------
        InputError
            If the output folder is the raw folder.
        PlanError
            If the plan names files that are not there.
        OutputError
            If the output folder cannot be written, or the cluster is lost.
        OutputLockedError
            If another run holds it.
        TypeError
            If the client is none.
        """
        folder = None
        if client is not None:
            check_client(client)
            # Workers have working folders of their own.
            output, folder = Path(output).absolute(), os.path.abspath(self.folder) if self.folder else ""
        output = self._check_output(output)
        with OutputLock(output) as lock:
            if client is not None:
                # The lock is seen in this folder only, not in one of the same name on another disk.
                check_workers(client, [path for path in (folder, str(lock.path)) if path])
            storage.remove_partial(output)
            plan = self._take_plan(plan, policy)
            graph, run = build_graph(self, plan, output, folder=folder, cosmic_rays=cosmic_rays, coadd=coadd)
            run.check_room()
            journal = Journal(output, anew=anew)
            files = [str(path) for path in self.frames["path"]]
            graph = journal.resumed(graph, self.folder if folder is None else folder, files)
            with (
                run.progress(progress, len(graph)) as on_done,
                _reported_if_stopped(run, graph, on_done, journal) as seen,
            ):
                outcomes = run_graph(graph, workers=workers, client=client, on_done=seen)
            if client is not None:
                storage.remove_partial(output)  # of workers that were killed while they wrote
            result = run.finish(outcomes, journal)
            if not result.run["resumed"]["unchanged"]:
                _report(result)
            return result

    def _check_output(self, output):
        output = Path(output)
        if self.folder and output.resolve() == Path(self.folder).resolve():
            msg = f"{output}: the output folder is the raw folder; raw frames are never mixed with products"
            raise InputError(msg)
        storage.make_folder(output)
        return output

    def _take_plan(self, plan, policy):
        if plan is None:
            return self.plan(policy=policy)
        if isinstance(plan, str | Path):
            try:
                text = Path(plan).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                msg = f"{plan}: the plan cannot be read: {error}"
                raise PlanError(msg) from error
            plan = self._as_written(Plan.from_toml(text))
        plan.validate()
        there = {str(path) for path in self.frames["path"]}
        missing = sorted(set(plan.inputs) - there)
        if missing:
            msg = f"the plan names files that are not in the night: {', '.join(missing[:10])}"
            raise PlanError(msg)
        return plan

    def _as_written(self, plan):
        """A plan from a file: its profile is taken, and its reasons may have been overtaken by an edit."""
        if plan.profile not in (self.profile.name, self.profile.source):
            try:
                self._collection = collect(self._collection, get_profile(plan.profile))
            except ProfileError as error:
                msg = f"the plan's profile: {error}"
                raise PlanError(msg) from error
        masters = tuple(replace(item, reason=f"as the plan file says: {served(item)}") for item in plan.masters)
        science = tuple(replace(item, reason=f"as the plan file says: {served(item)}") for item in plan.science)
        return replace(plan, masters=masters, science=science)

    def __repr__(self):
        return f"<Night of {len(self._collection.files)} files, profile {self.profile.name}>"

    def _repr_html_(self):
        table = self.frames
        counts = {}
        for kind in table["kind"]:
            counts[str(kind)] = counts.get(str(kind), 0) + 1
        caption = f"{self.folder or 'files'}, profile {self.profile.name}: " + ", ".join(
            f"{value} {kind}" for kind, value in counts.items()
        )
        rows = [["" if value is None or str(value) == "--" else value for value in row] for row in table]
        return table_html("Night", table.colnames, rows, caption=caption)


def _readable_mask(mask, folder):
    """Path of a mask as it stands in a plan: relative to the raw folder where it lies there."""
    path = Path(mask)
    try:
        read_mask(path)
    except InputError as error:
        msg = f"mask: {error}"
        raise InputError(msg) from error
    path, folder = path.resolve(), Path(folder or ".").resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


@contextlib.contextmanager
def _reported_if_stopped(run, graph, on_done, journal):
    """What is called with every outcome; a run that is stopped leaves a report and a journal of what it has done."""
    outcomes, ahead = {}, []

    def seen(outcome):
        outcomes[outcome.name] = outcome
        journal.note(outcome)
        on_done(outcome)
        if journal.made and not ahead:
            # There will be a report; masters are made one after the other and leave a processor with nothing to do.
            ahead.append(threading.Thread(target=_prepare_report, name="report", daemon=True))
            ahead[0].start()

    try:
        yield seen
    except BaseException as error:
        # Where the disk is full there may be no place for a report either: the error that stopped the run counts.
        with contextlib.suppress(OutputError):
            _report(run.stopped(outcomes, graph.tasks, error))
        raise


def _prepare_report():
    from ccdnight.report import prepare_report

    with contextlib.suppress(Exception):
        # Whatever is wrong with it is told when the report is written.
        prepare_report()


def _report(result):
    """Write the report; a mistake in it is told of, but does not cost the night that it tells about."""
    from ccdnight.report import write_report

    try:
        write_report(result, result.output / "report.html")
    except OutputError:
        raise
    except Exception:  # noqa: BLE001
        result.run["errors"]["report"] = traceback.format_exc()


def _is_shipped(profile):
    from ccdnight.profiles import list_profiles

    return profile.name in list_profiles()


def _section_notes(samples):
    """What was put right in the sections of the frames, each sentence once with the number of frames."""
    counts = {}
    for note in samples["note"]:
        if note:
            counts[str(note)] = counts.get(str(note), 0) + 1
    return tuple(f"{note} ({count} frames)" for note, count in counts.items())
