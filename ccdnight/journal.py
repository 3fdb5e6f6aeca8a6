"""
The journal of an output folder: which tasks are done, of what, and with which result.

A task is done again only where something that its result depends on is another: its function, the plan's entry, the
profile, the contents of its raw frames, the products of the tasks that it needs, the versions of the libraries. What
another run would find is kept in one file, a line of JSON for every finished task; a line that was torn when a run was
killed is passed over, and its task is done again.
"""

import dataclasses
import functools
import hashlib
import json
import os
import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from ccdnight import storage
from ccdnight._version import version
from ccdnight.execution import TaskGraph, map_list
from ccdnight.provenance import digest_file, digest_input
from ccdnight.storage.writing import environment

__all__ = ["Journal"]

#: What numbers depend on.
_LIBRARIES = ("astropy", "astroscrappy", "ccdproc", "numba", "numpy", "photutils", "reproject", "scipy")
#: Entries of the plan that are words for the reader.
_WORDS = ("reason", "problem")
#: Entries of an outcome that those who need it look at.
_HANDED_ON = ("digest", "used", "profile")
#: Entries of an outcome that are made anew, or not at all.
_NOT_KEPT = ("pictures", "measurements", "parts", "why")
#: Why a task was done whose product is not there.
_FAILED = "could not be made"


class Journal:
    """
    What earlier runs have left in an output folder.

    Parameters
    ----------
    output : path-like
        The output folder.
    anew : bool, optional
        Whether it is ignored.
    """

    NAME = "journal.jsonl"

    def __init__(self, output, *, anew=False):
        self._output, self._path = Path(output), Path(output, self.NAME)
        self._tasks, self._raw, self._open = {}, {}, False
        for line in _lines(self._path):
            self._tasks |= line.get("tasks", {})
            self._raw |= line.get("raw", {})
        #: Files that they have written, with their digests.
        self.products = dict(filter(None, map(_product, self._tasks.values())))
        if anew:
            self._tasks, self._raw = {}, {}
        #: Names of tasks that were not done again, and why the others were.
        self.kept, self.made = [], {}

    def resumed(self, graph, folder, files):
        """
        The same graph with tasks that take what is there, where it is still what they would make.

        Parameters
        ----------
        graph : TaskGraph
            The tasks.
        folder : path-like
            The raw folder.
        files : iterable of str
            Its frames, as arguments of tasks name them.

        Returns
        -------
        TaskGraph
        """
        found, known, places, tasks = TaskGraph(), set(files), {str(folder), str(self._output)}, []
        for task in graph.tasks.values():
            # The last says only how large pictures for the report are.
            args = task.args[:-1] if task.name.startswith("science:") else task.args
            named, plain = set(), _plain([item for item in args if str(item) not in places])
            _strings(plain, named)
            tasks.append((task, plain, [*sorted(named & known), *_masks(plain)]))
        names = list(dict.fromkeys(name for _, _, inputs in tasks for name in inputs))
        digests = dict(zip(names, map_list(lambda name: self._digest(folder, name), names), strict=True))
        for task, plain, inputs in tasks:
            parts = {"function": task.function.__name__, "versions": _versions(), "parameters": _hash(plain)}
            parts["inputs"] = {name: digests[name] for name in inputs}
            what = (task.function, task.args, parts, self._tasks.get(task.name), str(self._output))
            found.add(task.name, keep_or_make, *what, needs=task.needs)
        return found

    def note(self, outcome):
        """
        Write down what a task has made.

        Parameters
        ----------
        outcome : Outcome
            Of a task of `resumed`; one that failed is tried again by the next run.
        """
        if not outcome.ok:
            self.made[outcome.name] = _FAILED
            return
        if not outcome.value["why"]:
            self.kept.append(outcome.name)
            return
        self.made[outcome.name] = outcome.value["why"]
        try:
            value = json.loads(json.dumps(_kept(outcome.value), default=_number))
        except TypeError:
            return  # what cannot be written down is made again
        entry = {"parts": outcome.value["parts"], "value": value}
        if "output" in value:
            entry["file"] = _stat(self._output / value["output"])
        self._tasks[outcome.name] = entry
        self._write({"tasks": {outcome.name: entry}})

    def _write(self, line):
        text = json.dumps(line) + "\n"
        if not self._open:
            # Anew and whole: without torn lines and those that later ones replace.
            before = json.dumps({"raw": self._raw, "tasks": self._tasks})
            storage.write_text(self._path, before + "\n")
            self._open = True
            return
        with environment(self._path), open(self._path, "a", encoding="utf-8") as stream:
            stream.write(text)

    def _digest(self, folder, name):
        """Digest of a raw file, read only where the disk says that it may be another than before."""
        path = Path(folder, name)
        try:
            known, now = self._raw.get(name), _stat(path)
            if not isinstance(known, list) or len(known) != 2 or known[0] != now:
                self._raw[name] = known = [now, digest_input(path)]
        except OSError:
            return "cannot be read"
        return known[1]

    def words(self):
        """
        What was kept, and what was made and why.

        Returns
        -------
        str
            '' where nothing was there before.
        """
        told = {name: why for name, why in self.made.items() if name != "detector" and why != _FAILED}
        made = {name: why for name, why in told.items() if why != "not there before"}
        products = [name for name in self.kept if name != "detector"]
        new = [name for name in told if name not in made]
        total = len(products) + len(told)
        if not products and not made:
            return ""
        if not told:
            # What cannot be made is tried again by every run, and told of by its notes.
            nothing = "nothing to do" if _FAILED not in self.made.values() else "nothing else to do"
            return f"{nothing}: all {total} products are as they were"
        listed = [f"{_short(name)} ({why})" for name, why in made.items()]
        listed += [f"{_short(name)} (not there before)" for name in new]
        more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
        return f"{len(products)} of {total} products are as they were; made anew: {', '.join(listed[:12])}{more}"


def keep_or_make(function, args, parts, entry, output, outcomes):
    """
    Take what an earlier run has made, or do a task.

    Parameters
    ----------
    function, args : callable, tuple
        The task.
    parts : dict
        What its result depends on, but for other tasks.
    entry : dict or None
        What the journal knows of it.
    output : str
        The output folder.
    outcomes : dict of str to Outcome
        Of the tasks that it needs.

    Returns
    -------
    dict
        What the task returns, with `parts`, and `why` it was done, '' if it was not.
    """
    parts = parts | {"needs": {name: _handed_on(outcome) for name, outcome in outcomes.items()}}
    why = _why(parts, entry, output)
    if why:
        return function(*args, outcomes) | {"parts": parts, "why": why}
    value = dict(entry["value"])
    if "profile" in value:
        profile = args[1]
        filled = [replace(item, **new) for item, new in zip(profile.amplifiers, value["profile"], strict=True)]
        value |= {"profile": replace(profile, amplifiers=tuple(filled))}
    return value | {"parts": parts, "why": ""}


def _why(parts, entry, output):
    """Why a task has to be done; '' if it has not."""
    try:
        before, value, file = entry["parts"], entry["value"], entry.get("file")
        if before["function"] != parts["function"] or before["versions"] != parts["versions"]:
            return "other versions of the software"
        words = _other_inputs(before["inputs"], parts["inputs"])
        if not words and before["parameters"] != parts["parameters"]:
            words = "other parameters"
        if not words and before["needs"] != parts["needs"]:
            changed = [name for name in parts["needs"] if before["needs"].get(name) != parts["needs"][name]]
            words = f"other {_short(changed[0])}" if changed else "other masters"
        if words or file is None:
            return words
        path = Path(output, value["output"])
        if not path.is_file():
            return "its file was missing"
        same = _stat(path) == file or (path.stat().st_size == file[0] and digest_file(path) == value["digest"])
    except (KeyError, TypeError, IndexError, AttributeError, OSError):
        return "not there before"
    return "" if same else "its file was changed"


def _other_inputs(before, now):
    more, less = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = [name for name in now if name in before and now[name] != before[name]]
    words = [f"{'one more input' if more == 1 else f'{more} more inputs'}"] if more else []
    words += [f"{'one input' if less == 1 else f'{less} inputs'} fewer"] if less else []
    words += [f"{changed[0]} changed" if len(changed) == 1 else f"{len(changed)} inputs changed"] if changed else []
    return ", ".join(words)


def _handed_on(outcome):
    if not outcome.ok:
        return "failed"
    value = _kept(outcome.value)
    return _hash({name: value[name] for name in _HANDED_ON if name in value})


def _kept(value):
    """An outcome's value as the journal keeps it: of a profile, what was filled in."""
    kept = {name: item for name, item in value.items() if name not in _NOT_KEPT}
    if "profile" in kept:
        amplifiers = kept["profile"].amplifiers
        kept["profile"] = [{"gain": item.gain, "read_noise": item.read_noise} for item in amplifiers]
    return kept


def _plain(value):
    """Arguments as plain values, without words for the reader."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in _WORDS]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _strings(value, found):
    if isinstance(value, str):
        found.add(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _strings(item, found)


def _masks(plain):
    return [item["mask"] for item in plain if isinstance(item, dict) and item.get("kind") and item.get("mask")]


def _hash(plain):
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=_number).encode()).hexdigest()


def _number(value):
    if hasattr(value, "item"):
        return value.item()
    msg = f"{type(value).__name__} is no plain value"
    raise TypeError(msg)


def _stat(path):
    """What another content would change; the time of the last change of the inode cannot be set back."""
    told = os.stat(path)
    return [told.st_size, told.st_mtime_ns, told.st_ctime_ns]


def _lines(path):
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            item = json.loads(line)
        except ValueError:
            continue
        if isinstance(item, dict) and all(isinstance(part, dict) for part in item.values()):
            yield item


def _product(entry):
    """File and digest of an entry; None where it has none."""
    value = entry.get("value") if isinstance(entry, dict) and "file" in entry else None
    found = (value.get("output"), value.get("digest")) if isinstance(value, dict) else (None, None)
    return found if all(isinstance(item, str) for item in found) else None


def _short(name):
    return name.partition(":")[2] or name


@functools.cache
def _versions():
    return {"ccdnight": version, "python": platform.python_version()} | {
        name: metadata.version(name) for name in _LIBRARIES
    }
