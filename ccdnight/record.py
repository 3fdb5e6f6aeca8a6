"""The record of a run: what became of every input, what was made, with which versions and how long it took."""

import contextlib
import hashlib
import io
import json
import math
import platform
import re
import statistics
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import PurePosixPath

from astropy.table import Table

from ccdnight import storage
from ccdnight._version import version
from ccdnight.exceptions import CcdnightError, InputError, OutputError
from ccdnight.execution import Outcome
from ccdnight.measuring import detector_table
from ccdnight.plans import FROM_SCIENCE
from ccdnight.provenance import digest_file
from ccdnight.reduction import NIGHT_COLUMNS, RUN_FORMAT, Reduction

__all__ = ["Run"]

#: Bytes of each pixel of a product: value, uncertainty, flags.
_BYTES = 10
#: By so much the scatter of science frames may differ from their uncertainties before it is told.
_NOISE_OFF = 0.05


class Run:
    """
    The record of one run.

    Parameters
    ----------
    night : Night
        Its frames.
    plan : Plan
        What is done.
    output : `~pathlib.Path`
        The output folder.
    cosmic_rays : bool
        Whether cosmic rays are flagged.

    Attributes
    ----------
    notes : list of str
        What is told besides what plan and tasks tell.
    """

    def __init__(self, night, plan, output, cosmic_rays):
        self.notes = []
        self._night, self._plan, self._output, self._cosmic_rays = night, plan, output, cosmic_rays
        self._begin = time.perf_counter()

    @contextlib.contextmanager
    def progress(self, wanted, total):
        """
        A progress bar, or the caller's own function.

        Parameters
        ----------
        wanted : bool or callable
            What was asked for.
        total : int
            Number of tasks.

        Yields
        ------
        callable
            To be called with each outcome.
        """
        if callable(wanted):
            yield lambda outcome: wanted(outcome, total)
        elif not wanted:
            yield lambda outcome: None
        else:
            from tqdm.auto import tqdm

            with tqdm(total=total, unit="task", desc="reducing", leave=False) as bar:

                def show(outcome):
                    bar.set_postfix_str(outcome.name[-40:], refresh=False)
                    bar.update()

                yield show

    def finish(self, outcomes, journal):
        """
        Write what a run leaves behind and put its result together; nothing is written where all is as it was.

        Parameters
        ----------
        outcomes : dict of str to Outcome
            Of every task.
        journal : Journal
            Which of them were done.

        Returns
        -------
        Reduction
        """
        table = self._night_table(outcomes)
        detector = outcomes["detector"].value if outcomes["detector"].ok else {"rows": []}
        run = self._record(outcomes)
        texts = {
            "plan.toml": self._plan.to_toml(),
            "detector.ecsv": _ecsv(detector_table(detector["rows"])),
            "night.ecsv": storage.keep_names(_ecsv(table)),
        }
        run["files"] = {name: hashlib.sha256(storage.text_bytes(text)).hexdigest() for name, text in texts.items()}
        resumed = {"words": journal.words(), "kept": journal.kept, "made": journal.made}
        before = self._before()
        if self._is_as_before(run, before, texts):
            run = before | {"resumed": resumed | {"unchanged": True}}
            return Reduction.assemble(self._output, table, self._plan, run)
        run["resumed"] = resumed | {"unchanged": False}
        self._remove_stale(journal.products | before.get("digests", {}), run["digests"])
        for name, text in texts.items():
            storage.write_text(self._output / name, text)
        storage.write_text(self._output / "run.json", json.dumps(run, indent=1, default=str) + "\n")
        return Reduction.assemble(self._output, table, self._plan, run, _pictures(outcomes))

    def check_room(self):
        """
        Refuse to begin where products would be written elsewhere, or the disk has no room for those that are missing.

        Raises
        ------
        OutputError
            If so.
        """
        pixels = {str(row["path"]): _pixels(row["shape"]) for row in self._night.frames}
        wanted = {f"science/{item.output}": pixels.get(item.input, 0) for item in self._plan.science}
        for master in self._plan.masters:
            wanted[f"masters/{master.name}.fits"] = max((pixels.get(path, 0) for path in master.inputs), default=0)
        storage.require_inside(self._output, [*wanted, "coadd/x.fits"])
        missing = sum(size for name, size in wanted.items() if not (self._output / name).exists())
        storage.require_space(self._output, _BYTES * missing)

    def stopped(self, outcomes, names, error):
        """
        Put together what is known of a run that came to no end; nothing is written.

        Parameters
        ----------
        outcomes : dict of str to Outcome
            Of the tasks that were done.
        names : iterable of str
            Of all tasks.
        error : BaseException
            What stopped it.

        Returns
        -------
        Reduction
            Its `run` has an entry ``stopped`` with the reason in words.
        """
        words = str(error) if isinstance(error, CcdnightError) else f"{type(error).__name__} {error}".strip()
        if isinstance(error, KeyboardInterrupt):
            words = "it was interrupted"
        not_done = InputError("not done: the run stopped before")
        outcomes = {name: outcomes.get(name) or Outcome(name, error=not_done) for name in names}
        run = self._record(outcomes)
        run["notes"] = [note for note in run["notes"] if not note.endswith(str(not_done))]
        run |= {"stopped": " ".join(words.split())}
        # The file of an earlier run may lie in the folder.
        run["detector"] = outcomes["detector"].value["rows"] if outcomes["detector"].ok else []
        return Reduction.assemble(self._output, self._night_table(outcomes), self._plan, run, _pictures(outcomes))

    def _before(self):
        try:
            run = json.loads((self._output / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) and isinstance(run.get("digests"), dict) else {}

    def _is_as_before(self, run, before, texts):
        """Whether the folder holds already what this run would write, and no task has written anything."""
        times = ("timings", "seconds", "resumed")
        now = json.loads(json.dumps({name: item for name, item in run.items() if name not in times}, default=str))
        if json.dumps(now) != json.dumps({name: item for name, item in before.items() if name not in times}):
            return False
        there = (self._output / "report.html").is_file()
        return there and all(_holds(self._output / name, text) for name, text in texts.items())

    def _remove_stale(self, before, made):
        """Products of an earlier run that this one does not have would be taken for its own; changed files stay."""
        stale = {name: digest for name, digest in before.items() if name not in made}
        for name, digest in stale.items():
            path = self._output / name
            inside = ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute()
            if inside and path.is_file() and digest_file(path) == digest:
                storage.remove_file(path)

    def _night_table(self, outcomes):
        rows = {item.path: (item.path, item.kind, "", item.fate, item.reason, "") for item in self._plan.unused}
        kinds = {str(row["path"]): str(row["kind"]) for row in self._night.frames}
        for master in (item for item in self._plan.masters if item.kind not in FROM_SCIENCE):
            rows |= {row[0]: row for row in _master_rows(master, outcomes[f"master:{master.name}"], kinds)}
        for item in self._plan.science:
            series = {name: outcomes.get(f"master:{name}") for name in (item.flat, item.fringe)}
            rows[item.input] = _science_row(item, outcomes[f"science:{item.input}"], series)
        for path, kind in kinds.items():
            rows.setdefault(path, (path, kind, "", "unused", "not in the plan", ""))
        ordered = [rows[path] for path in sorted(rows)]
        return Table(rows=ordered or None, names=NIGHT_COLUMNS, dtype=[str] * len(NIGHT_COLUMNS))

    def _notes(self, outcomes):
        """What plan, run and tasks have to tell."""
        detector = outcomes["detector"].value["notes"] if outcomes["detector"].ok else []
        return [*self._plan.notes, *self.notes, *_failures(outcomes), *detector, *_noise_words(outcomes)]

    def _record(self, outcomes):
        made = [item.name for item in self._plan.masters if outcomes[f"master:{item.name}"].ok]
        products = {
            outcome.value["output"]: outcome.value["digest"]
            for outcome in outcomes.values()
            if outcome.ok and "output" in outcome.value
        }
        statistics = {
            outcome.value["output"]: outcome.value["statistics"]
            for outcome in outcomes.values()
            if outcome.ok and "output" in outcome.value
        }
        return {
            "format": RUN_FORMAT,
            "versions": _versions(),
            "raw": str(self._night.folder),
            "profile": self._plan.profile,
            "policy": asdict(self._plan.policy),
            "cosmic_rays": self._cosmic_rays,
            "masters": made,
            "coadds": {
                name.partition(":")[2]: {"output": outcome.value["output"]} | outcome.value["statistics"]
                for name, outcome in outcomes.items()
                if name.startswith("coadd:") and outcome.ok
            },
            "digests": products,
            "statistics": statistics,
            # A journal of an older version has none.
            "photon_transfer": outcomes["detector"].value.get("curves", []) if outcomes["detector"].ok else [],
            "notes": self._notes(outcomes),
            "errors": {name: outcome.trace for name, outcome in outcomes.items() if outcome.trace},
            "problems": {item.input: item.problem for item in self._plan.science if item.problem},
            "timings": {name: round(outcome.seconds, 3) for name, outcome in outcomes.items()},
            "seconds": round(time.perf_counter() - self._begin, 3),
        }


def _failures(outcomes):
    """Why tasks failed; coadds that could not be made for the same reason together."""
    coadds, others = {}, []
    for name, outcome in outcomes.items():
        if not outcome.ok and name.startswith("coadd:"):
            coadds.setdefault(str(outcome.error), []).append(name.partition(":")[2])
        elif not outcome.ok:
            others.append(f"{name}: {outcome.error}")
    return others + [f"coadd of {', '.join(names)}: {reason}" for reason, names in coadds.items()]


def _noise_words(outcomes):
    """What is told where science frames scatter more or less than their uncertainties say."""
    frames = [outcome.value for name, outcome in outcomes.items() if name.startswith("science:") and outcome.ok]
    told = [frame["statistics"].get("noise_ratio") for frame in frames]
    ratios = sorted(item["value"] for item in told if item)
    if not ratios:
        return []
    middle = statistics.median(ratios)
    if abs(middle - 1) <= _NOISE_OFF:
        return []
    many = f"{len(ratios)} science frames scatter" if len(ratios) > 1 else "the science frame scatters"
    most = f" (median; {ratios[0]:.2f} to {ratios[-1]:.2f} times)" if len(ratios) > 1 else ""
    if middle > 1:
        why = "they hold noise that pairs of biases do not show, such as pick-up, or the gain is too high"
    else:
        why = "the read noise or the gain that is used is wrong, or the pixels were smoothed or binned before"
    off = f"{abs(middle - 1):.0%} {'more' if middle > 1 else 'less'}"
    return [f"{many} {off} from pixel to pixel than their uncertainties say{most}: {why}"]


def _holds(path, text):
    try:
        return path.read_bytes() == storage.text_bytes(text)
    except OSError:
        return False


def _pixels(shape):
    """Pixels of a frame by the word for its shape in the table of frames."""
    sides = [int(number) for number in re.findall(r"\d+", str(shape))]
    return math.prod(sides) if len(sides) == 2 else 0


def _pictures(outcomes):
    """Pictures of products by their files."""
    values = [outcome.value for outcome in outcomes.values() if outcome.ok and "pictures" in outcome.value]
    return {value["output"]: value["pictures"] for value in values}


def _master_rows(master, outcome, kinds):
    for path in master.inputs:
        kind = kinds.get(path, master.kind)
        if outcome.ok:
            bad = outcome.value["rejected"].get(path)
            without = "".join(f"; made without {name}" for name in outcome.value["lacking"])
            if bad:
                yield (path, kind, master.name, "rejected", bad, "")
            else:
                yield (path, kind, master.name, "used", master.reason + without, outcome.value["output"])
        else:
            yield (path, kind, master.name, "failed", _one_line(outcome.error), "")


def _science_row(item, outcome, series):
    if not outcome.ok:
        return (item.input, "science", "science", "failed", _one_line(outcome.error), "")
    parts = [item.reason, *(f"reduced without {name}, which could not be made" for name in outcome.value["lacking"])]
    for name, made in series.items():
        if made is not None and made.ok and item.input in made.value["rejected"]:
            parts.append(f"not taken for {name}: {made.value['rejected'][item.input]}")
    if item.problem:
        parts.append(item.problem)
    return (item.input, "science", "science", "used", "; ".join(parts), outcome.value["output"])


def _one_line(error):
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError | OutputError) else f"{type(error).__name__}: {text}"


def _ecsv(table):
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue()


def _versions():
    names = ("astropy", "ccdproc", "numpy", "scipy", "astroscrappy")
    return {"ccdnight": version, "python": platform.python_version()} | {name: metadata.version(name) for name in names}
