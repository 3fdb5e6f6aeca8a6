"""
A graph of named tasks, run one after the other, on threads or on a cluster; it knows nothing of CCDs.

A task gets the outcomes of the tasks it needs, failed ones included, and decides by itself what a failure
means for it: a science frame whose flat could not be made is still reduced as far as it can be. Only what the
environment refuses (`~ccdnight.exceptions.OutputError`) and an interrupt stop the run.
"""

import contextlib
import os
import pickle
import threading
import time
import traceback
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ccdnight._cluster import check_client, run_on_cluster
from ccdnight._quiet import quiet_libraries, quiet_process
from ccdnight.exceptions import CcdnightError, OutputError

__all__ = ["Outcome", "Task", "TaskGraph", "default_workers", "map_list", "map_strips", "run_graph"]

#: How many threads the strips of a task may use: one in a thread that already belongs to a pool, so that the number
#: of threads stays what was asked for; all of them while no other task can run.
_pooled = threading.local()


@dataclass(frozen=True)
class Outcome:
    """
    What became of a task.

    Attributes
    ----------
    name : str
        The task.
    value : object
        What it returned; None if it failed.
    error : Exception or None
        What it raised.
    trace : str
        Traceback of an error that is not the input's; '' otherwise.
    seconds : float
        How long it took.

    Examples
    --------
    >>> from ccdnight.execution import TaskGraph, run_graph
    >>> graph = TaskGraph()
    >>> graph.add("half", lambda outcomes: 1 / 0)
    >>> outcome = run_graph(graph, workers=1)["half"]
    >>> outcome.ok, type(outcome.error).__name__
    (False, 'ZeroDivisionError')
    """

    name: str
    value: object = None
    error: Exception | None = None
    trace: str = ""
    seconds: float = 0.0

    @property
    def ok(self):
        """Whether the task succeeded."""
        return self.error is None


@dataclass(frozen=True)
class Task:
    """
    A named piece of work.

    Attributes
    ----------
    name : str
        Unique name.
    function : callable
        Called as ``function(*args, outcomes)`` with a mapping of the needed tasks' names to outcomes.
    args : tuple
        Plain values and file names, so that a task can be sent elsewhere.
    needs : tuple of str
        Tasks that must have ended before.

    Examples
    --------
    >>> from ccdnight.execution import TaskGraph
    >>> graph = TaskGraph()
    >>> graph.add("bias", print, "made")
    >>> graph.add("flat", print, "made", needs=["bias"])
    >>> graph.tasks["flat"].needs
    ('bias',)
    """

    name: str
    function: object
    args: tuple = ()
    needs: tuple[str, ...] = ()


@dataclass
class TaskGraph:
    """
    Tasks in the order in which they were added; a task can need only what was added before it.

    Examples
    --------
    >>> from ccdnight.execution import TaskGraph, run_graph
    >>> graph = TaskGraph()
    >>> graph.add("bias", lambda outcomes: 1000)
    >>> graph.add("flat", lambda level, outcomes: level - outcomes["bias"].value, 21000, needs=["bias"])
    >>> run_graph(graph, workers=1)["flat"].value
    20000
    """

    tasks: dict = field(default_factory=dict)

    def add(self, name, function, *args, needs=()):
        """
        Add a task.

        Parameters
        ----------
        name : str
            Unique name.
        function : callable
            See `Task`.
        *args
            Its arguments.
        needs : iterable of str, optional
            Names of tasks added before.

        Raises
        ------
        ValueError
            If the name is taken or a needed task is not there.
        """
        needs = tuple(dict.fromkeys(needs))
        unknown = [need for need in needs if need not in self.tasks]
        if name in self.tasks or unknown:
            msg = f"task {name!r}: " + (
                f"needs {unknown}, which were not added before it" if unknown else "is there already"
            )
            raise ValueError(msg)
        self.tasks[name] = Task(name, function, args, needs)

    def __len__(self):
        return len(self.tasks)


def default_workers():
    """
    Number of processors that this process may use.

    Examples
    --------
    >>> from ccdnight.execution import default_workers
    >>> default_workers() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _run(task, outcomes, threads=1):
    _pooled.limit = threads
    begin = time.perf_counter()
    try:
        value = task.function(*task.args, outcomes)
    except OutputError:
        raise
    except CcdnightError as error:
        return Outcome(task.name, error=error, seconds=time.perf_counter() - begin)
    except Exception as error:  # noqa: BLE001 - an error of ours must not cost the other frames: recorded
        return Outcome(task.name, error=error, trace=traceback.format_exc(), seconds=time.perf_counter() - begin)
    return Outcome(task.name, value, seconds=time.perf_counter() - begin)


def run_graph(graph, *, workers=None, client=None, on_done=None):
    """
    Run every task of a graph.

    Parameters
    ----------
    graph : TaskGraph
        The tasks.
    workers : int, optional
        Threads; 1 runs them one after the other in this thread. By default as many as there are
        processors for this process. With a client: tasks at once, by default as many as its workers have threads.
    client : distributed.Client, optional
        A cluster whose workers run the tasks; functions and arguments of tasks are pickled.
    on_done : callable, optional
        Called in this thread with each `Outcome` as it comes.

    Returns
    -------
    dict of str to Outcome
        In the order of the graph.

    Raises
    ------
    OutputError
        If the environment failed or the cluster is lost; tasks that were running are waited for, others are not
        begun.
    TypeError
        If the client is none.

    Examples
    --------
    >>> from ccdnight.execution import TaskGraph, run_graph
    >>> graph = TaskGraph()
    >>> graph.add("one", lambda results: 1)
    >>> {name: (item.ok, item.value) for name, item in run_graph(graph, workers=1).items()}
    {'one': (True, 1)}
    """
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        msg = f"workers = {workers!r}; it must be a whole number of 1 or more"
        raise ValueError(msg)
    notify = on_done or (lambda outcome: None)
    if client is not None:
        check_client(client)
        done = run_on_cluster(graph.tasks, client, _run_elsewhere, _failed, notify, most=workers, alone=_alone(graph))
        return {name: done[name] for name in graph.tasks}
    workers = default_workers() if workers is None else workers
    done = _run_serial(graph, notify) if workers == 1 else _run_threads(graph, workers, notify)
    return {name: done[name] for name in graph.tasks}


def _failed(name, error, trace):
    return Outcome(name, error=error, trace=trace)


def _run_elsewhere(task, outcomes, threads):
    """A task on a worker of a cluster, whose thread is given back as it was; whatever it raises can be sent."""
    before = getattr(_pooled, "limit", None)
    try:
        with quiet_process():
            outcome = _run(task, outcomes, threads)
    except (SystemExit, KeyboardInterrupt) as error:
        # It would end the worker, or, sent back, the run.
        return Outcome(task.name, error=RuntimeError(f"it raised {error!r}"), trace=traceback.format_exc())
    finally:
        _pooled.limit = before
    try:
        pickle.loads(pickle.dumps(outcome.error))
    except Exception:  # noqa: BLE001 - an error may refuse in any way
        told = RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}")
        trace = outcome.trace or "".join(traceback.format_exception(outcome.error))
        return Outcome(task.name, error=told, trace=trace, seconds=outcome.seconds)
    return outcome


def _run_serial(graph, notify):
    done, before = {}, getattr(_pooled, "limit", None)
    # One worker means one thread: the strips of a task get no others.
    try:
        for task in graph.tasks.values():
            done[task.name] = _run(task, {name: done[name] for name in task.needs})
            notify(done[task.name])
    finally:
        _pooled.limit = before
    return done


def _mark_pooled():
    _pooled.limit = 1


def _alone(graph):
    """
    Tasks that no other can run beside: each of the others is needed by them or needs them.

    The graph says so, not the moment: who happens to be the last to run gets no more threads than the others.
    """
    before, behind = {}, dict.fromkeys(graph.tasks, 0)
    for name, task in graph.tasks.items():
        before[name] = set(task.needs).union(*(before[need] for need in task.needs))
        for other in before[name]:
            behind[other] += 1
    return {name for name in graph.tasks if len(before[name]) + behind[name] == len(graph.tasks) - 1}


def _run_threads(graph, workers, notify):
    done, waiting, running, alone = {}, dict(graph.tasks), {}, _alone(graph)
    with quiet_libraries(), ThreadPoolExecutor(workers, initializer=_mark_pooled) as pool:
        try:
            while waiting or running:
                # Tasks are handed out no further ahead than there are threads, so that an interrupt or a
                # full disk leaves nothing queued.
                ready = [task for task in waiting.values() if all(need in done for need in task.needs)]
                for task in ready[: workers - len(running)]:
                    del waiting[task.name]
                    needed = {name: done[name] for name in task.needs}
                    threads = workers if task.name in alone else 1
                    running[pool.submit(_run, task, needed, threads)] = task.name
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=running.get):
                    name = running.pop(future)
                    done[name] = future.result()
                    notify(done[name])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return done


def map_list(function, items, *, workers=None):
    """
    Results of a function for every item of a list, on threads as in `map_strips`.

    Parameters
    ----------
    function : callable
        Called with each item.
    items : list
        What to call it with.
    workers : int, optional
        Threads.

    Returns
    -------
    list

    Examples
    --------
    >>> from ccdnight.execution import map_list
    >>> map_list(lambda number: number**2, [1, 2, 3], workers=2)
    [1, 4, 9]
    """
    results = [None] * len(items)

    def do(number):
        results[number] = function(items[number])

    map_strips(do, range(len(items)), workers=workers)
    return results


def map_strips(function, strips, *, workers=None):
    """
    Call a function for every strip of rows, or every frame of a list.

    Parameters
    ----------
    function : callable
        Called with each strip; it writes its rows of the result.
    strips : iterable
        Strips that do not overlap.
    workers : int, optional
        Threads. Within a task that runs beside others the strips are done inline.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdnight.execution import map_strips
    >>> result = np.zeros((4, 2))
    >>> def fill(rows):
    ...     result[rows] = rows.start
    >>> map_strips(fill, [slice(0, 2), slice(2, 4)], workers=2)
    >>> result[:, 0].tolist()
    [0.0, 0.0, 2.0, 2.0]
    """
    strips = list(strips)
    workers = min(default_workers() if workers is None else workers, len(strips))
    workers = min(workers, getattr(_pooled, "limit", None) or workers)
    if workers <= 1:
        for strip in strips:
            function(strip)
        return
    todo, failed = deque(enumerate(strips)), []

    def work():
        # A future for each strip would take as long as a strip of few rows.
        with contextlib.suppress(IndexError):
            while True:
                number, strip = todo.popleft()
                try:
                    function(strip)
                except BaseException as error:  # noqa: BLE001 - told by who waits
                    failed.append((number, error))
                    todo.clear()

    with quiet_libraries(), ThreadPoolExecutor(workers, initializer=_mark_pooled) as pool:
        try:
            wait([pool.submit(work) for _ in range(workers)])
        except BaseException:
            # What is left is not worth waiting for after an interrupt.
            todo.clear()
            raise
    if failed:
        # Strips before this one are done: it is the first to fail, whatever the number of threads.
        raise min(failed, key=lambda item: item[0])[1]
