"""
The tasks of a night: detector, masters, science frames; and the record of the run.

Tasks take plain values and file names, and hand masters on through the output folder.
"""

import contextlib
import functools
import json
import platform
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
from astropy.table import Table

from ccdnight import storage
from ccdnight._version import version
from ccdnight.annotation import annotate
from ccdnight.calibration import calibrate
from ccdnight.cosmicrays import flag_cosmic_rays
from ccdnight.exceptions import FrameError, InputError, OutputError
from ccdnight.execution import TaskGraph
from ccdnight.flags import describe_flags
from ccdnight.masters import make_bias, make_dark, make_flat
from ccdnight.measuring import DETECTOR_COLUMNS, measure_detectors
from ccdnight.products import read_ccd, to_hdus
from ccdnight.provenance import digest_file
from ccdnight.reduction import NIGHT_COLUMNS, RUN_FORMAT, Reduction

__all__ = ["Run", "build_graph"]


def build_graph(night, plan, output, *, cosmic_rays=True):
    """
    The tasks of a plan.

    Parameters
    ----------
    night : Night
        Its frames.
    plan : Plan
        What to do.
    output : `~pathlib.Path`
        The output folder.
    cosmic_rays : bool, optional
        Whether cosmic rays are flagged in science frames.

    Returns
    -------
    graph : TaskGraph
    run : Run
    """
    graph, run = TaskGraph(), Run(night, plan, output, cosmic_rays)
    folder, policy = night.folder, plan.policy
    profile = replace(night.profile, policy=policy)
    samples = {str(row["path"]): float(row["level"]) for row in night.collection.measure()}
    graph.add("detector", measure_detectors, folder, profile, _measurable(night, plan), samples)
    for master in plan.masters:
        needs = ["detector"] + [f"master:{name}" for name in (master.bias, master.dark) if name]
        graph.add(f"master:{master.name}", make_master, folder, str(output), master, policy, needs=needs)
    for item in plan.science:
        needs = ["detector"] + [f"master:{name}" for name in (item.bias, item.dark, item.flat) if name]
        graph.add(f"science:{item.input}", make_science, folder, str(output), item, policy, cosmic_rays, needs=needs)
    return graph, run


def _measurable(night, plan):
    """Biases and flats of the plan with what must be equal within a pair."""
    kinds = {path: master.kind for master in plan.masters for path in master.inputs}
    kinds |= {item.path: item.kind for item in plan.unused if item.fate == "unused"}
    rows = []
    for row in night.frames:
        kind = kinds.get(str(row["path"]))
        if kind in ("bias", "flat", "twilight"):
            key = [str(row[name]) for name in ("detector", "binning", "read_mode", "shape")]
            rows.append((str(row["path"]), "bias" if kind == "bias" else "flat", tuple(key), str(row["filter"])))
    return rows


def make_master(folder, output, master, policy, outcomes):
    """
    Make one master and write it.

    Inputs that cannot be used are left out and told of; the master is made of the rest.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    master : MasterPlan
        What to make.
    policy : Policy
        How.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, used, rejected (path to reason), lacking (masters that could not be applied), statistics.
    """
    profile = outcomes["detector"].value["profile"] if outcomes["detector"].ok else None
    bias, dark = (_applied(output, name, outcomes) for name in (master.bias, master.dark))
    lacking = [name for name, ccd in ((master.bias, bias), (master.dark, dark)) if name and ccd is None]
    common = {
        "profile": profile,
        "overscan": master.overscan_window > 0,
        "window": master.overscan_window or None,
        "reject": None if policy.reject == "none" else policy.reject,
        "workers": None,
    }
    used, rejected = list(master.inputs), {}
    while True:
        try:
            ccd = _MAKERS[master.kind]([Path(folder, path) for path in used], bias, dark, policy, common)
            break
        except FrameError as error:
            culprit = next((path for path in used if str(Path(folder, path)) == error.path), None)
            if culprit is None:
                raise
            rejected[culprit] = error.reason
            used.remove(culprit)
            if not used:
                msg = f"master {master.name}: none of its {len(rejected)} inputs can be used: {error.reason}"
                raise InputError(msg) from error
    name = f"{master.name}.fits"
    ccd.meta["FILENAME"] = (name, "name of this file")
    path = Path(output, "masters", name)
    storage.write_fits(path, to_hdus(ccd))
    good = ccd.data[~ccd.mask] if ccd.mask is not None else ccd.data
    statistics = {"median": float(np.median(good)) if good.size else None, "flags": describe_flags(ccd.flags)}
    return {
        "output": f"masters/{name}",
        "used": used,
        "rejected": rejected,
        "lacking": lacking,
        "digest": digest_file(path),
        "statistics": statistics,
    }


def _make_bias(paths, bias, dark, policy, common):
    return make_bias(paths, method=policy.method, sigma=policy.sigma, **common)


def _make_dark(paths, bias, dark, policy, common):
    return make_dark(paths, bias=bias, method=policy.method, sigma=policy.dark_sigma, **common)


def _make_flat(paths, bias, dark, policy, common):
    return make_flat(
        paths,
        bias=bias,
        dark=dark,
        method=policy.flat_method,
        sigma=policy.flat_sigma,
        normalize=policy.normalize,
        scale=policy.scale_flats,
        sensitivity_noise=policy.sensitivity_noise,
        scale_up=policy.dark_scale_up,
        **common,
    )


_MAKERS = {"bias": _make_bias, "dark": _make_dark, "flat": _make_flat}


def _applied(output, name, outcomes):
    """A master that was made by an earlier task; None if it was not."""
    outcome = outcomes.get(f"master:{name}")
    if not name or outcome is None or not outcome.ok:
        return None
    return _read_master(str(Path(output, outcome.value["output"])), outcome.value["digest"])


@functools.lru_cache(maxsize=6)
def _read_master(path, digest):
    """Masters serve many frames of a night; a few are kept. The digest tells a new file from an old one."""
    return read_ccd(path)


def make_science(folder, output, item, policy, cosmic_rays, outcomes):
    """
    Calibrate one science frame and write it.

    Parameters
    ----------
    folder, output : str
        Raw and output folder.
    item : SciencePlan
        What to apply.
    policy : Policy
        How.
    cosmic_rays : bool
        Whether cosmic rays are flagged.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        output, lacking (masters that could not be made), and what was measured.
    """
    if not outcomes["detector"].ok:
        raise InputError(str(outcomes["detector"].error))
    profile = outcomes["detector"].value["profile"]
    masters = {role: _applied(output, getattr(item, role), outcomes) for role in ("bias", "dark", "flat")}
    lacking = [getattr(item, role) for role, ccd in masters.items() if getattr(item, role) and ccd is None]
    for role, ccd in masters.items():
        name = getattr(item, role)
        if name and ccd is None and getattr(policy, f"missing_{role}") == "leave out":
            msg = f"{item.input}: left out by the policy, since the {role} {name!r} could not be made"
            raise InputError(msg)
    ccd = calibrate(
        Path(folder, item.input),
        profile=profile,
        overscan=item.overscan_window > 0,
        window=item.overscan_window or None,
        scale_up=policy.dark_scale_up,
        **masters,
    )
    if cosmic_rays:
        ccd = flag_cosmic_rays(ccd)
    measured = annotate(ccd, profile)
    ccd.meta["FILENAME"] = (Path(item.output).name[-60:], "name of this file")
    for name in lacking:
        ccd.meta["HISTORY"] = f"lacking: {name} could not be made"
    path = Path(output, "science", item.output)
    storage.write_fits(path, to_hdus(ccd))
    return {
        "output": f"science/{item.output}",
        "lacking": lacking,
        "digest": digest_file(path),
        "statistics": measured | {"flags": describe_flags(ccd.flags)},
    }


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
    """

    def __init__(self, night, plan, output, cosmic_rays):
        self._night, self._plan, self._output, self._cosmic_rays = night, plan, output, cosmic_rays

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

    def finish(self, outcomes):
        """
        Write what a run leaves behind and put its result together.

        Parameters
        ----------
        outcomes : dict of str to Outcome
            Of every task.

        Returns
        -------
        Reduction
        """
        _read_master.cache_clear()
        table = self._night_table(outcomes)
        detector = outcomes["detector"].value if outcomes["detector"].ok else {"rows": []}
        run = self._record(outcomes, table)
        storage.write_text(self._output / "plan.toml", self._plan.to_toml())
        storage.write_text(self._output / "detector.ecsv", _ecsv(_detector_table(detector["rows"])))
        storage.write_text(self._output / "night.ecsv", _ecsv(table))
        storage.write_text(self._output / "run.json", json.dumps(run, indent=1, default=str) + "\n")
        return Reduction.assemble(self._output, table, self._plan, run)

    def _night_table(self, outcomes):
        rows = {item.path: (item.path, item.kind, "", item.fate, item.reason, "") for item in self._plan.unused}
        kinds = {str(row["path"]): str(row["kind"]) for row in self._night.frames}
        for master in self._plan.masters:
            rows |= {row[0]: row for row in _master_rows(master, outcomes[f"master:{master.name}"], kinds)}
        for item in self._plan.science:
            rows[item.input] = _science_row(item, outcomes[f"science:{item.input}"])
        for path, kind in kinds.items():
            rows.setdefault(path, (path, kind, "", "unused", "not in the plan", ""))
        ordered = [rows[path] for path in sorted(rows)]
        return Table(rows=ordered or None, names=NIGHT_COLUMNS, dtype=[str] * len(NIGHT_COLUMNS))

    def _record(self, outcomes, table):
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
            "digests": products,
            "statistics": statistics,
            "notes": list(self._plan.notes)
            + [f"{name}: {outcome.error}" for name, outcome in outcomes.items() if not outcome.ok]
            + (outcomes["detector"].value["notes"] if outcomes["detector"].ok else []),
            "errors": {name: outcome.trace for name, outcome in outcomes.items() if outcome.trace},
            "problems": [item.input for item in self._plan.science if item.problem],
            "timings": {name: round(outcome.seconds, 3) for name, outcome in outcomes.items()},
        }


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


def _science_row(item, outcome):
    if not outcome.ok:
        return (item.input, "science", "science", "failed", _one_line(outcome.error), "")
    parts = [item.reason, *(f"reduced without {name}, which could not be made" for name in outcome.value["lacking"])]
    if item.problem:
        parts.append(item.problem)
    return (item.input, "science", "science", "used", "; ".join(parts), outcome.value["output"])


def _one_line(error):
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError | OutputError) else f"{type(error).__name__}: {text}"


def _detector_table(rows):
    return Table(rows=[[row[name] for name in DETECTOR_COLUMNS] for row in rows] or None, names=DETECTOR_COLUMNS)


def _ecsv(table):
    import io

    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue()


def _versions():
    names = ("astropy", "ccdproc", "numpy", "scipy", "astroscrappy")
    return {"ccdnight": version, "python": platform.python_version()} | {name: metadata.version(name) for name in names}
