"""
Tasks on the workers of a `distributed` cluster that somebody else has started.

It knows neither CCDs nor what an outcome is: `ccdnight.execution` tells it how to run a task and how to put down
that one failed. Tasks are handed out no further ahead than the cluster has threads, so that an interrupt or a full
disk leaves nothing queued. Whose worker dies is run again by the scheduler as often as its setting
``distributed.scheduler.allowed-failures`` says. All tasks of a dead worker look guilty then, so the ones that are
given up run once more, each with the cluster to itself; the one that kills its workers even so is the culprit.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import pickle
import time
import traceback

from ccdnight._version import version
from ccdnight.exceptions import InputError, OutputError

__all__ = ["check_client", "check_workers", "connect", "run_on_cluster"]

#: How long a cluster may be without any worker, in seconds; a nanny starts a new one within a few.
_PATIENCE = 60.0
#: How often is looked for workers that have come or gone, in seconds.
_LOOK = 1.0
_CONNECT = 10.0
#: Within how many seconds a scheduler answers.
_ANSWER = 10.0
_CANCELLED = (concurrent.futures.CancelledError, asyncio.CancelledError)
_REMEDY = "install it with: python -m pip install 'ccdnight[cluster]'"


def connect(address):
    """
    A client of a scheduler that is running.

    Parameters
    ----------
    address : str
        Such as 'tcp://10.0.0.1:8786'.

    Returns
    -------
    distributed.Client

    Raises
    ------
    InputError
        If it is no address.
    OutputError
        If nobody answers there, or `distributed` is not installed.
    """
    try:
        from distributed import Client
    except ImportError as error:
        msg = f"scheduler = {address!r}: the package distributed is needed for a cluster; {_REMEDY}"
        raise OutputError(msg) from error
    # Nothing in the place of an address would start a cluster of its own on this machine.
    if not isinstance(address, str) or not address.strip():
        msg = f"scheduler = {address!r}; it must be an address such as tcp://10.0.0.1:8786"
        raise InputError(msg)
    try:
        return Client(address, timeout=_CONNECT, set_as_default=False, name="ccdnight")
    except (OSError, TimeoutError) as error:
        why = " ".join(str(error).split())
        msg = f"scheduler = {address!r}: no scheduler answers there ({why}); start one with: dask scheduler"
        raise OutputError(msg) from error
    except (ValueError, TypeError, RuntimeError) as error:
        msg = f"scheduler = {address!r}: {error}; it must be an address such as tcp://10.0.0.1:8786"
        raise InputError(msg) from error


def check_client(client):
    """
    Refuse what tasks cannot be sent to.

    Parameters
    ----------
    client : distributed.Client
        What was given as one.

    Raises
    ------
    TypeError
        If it is none.
    InputError
        If it is asynchronous or closed.
    """
    what = f"client is a {type(client).__name__} ({client!r:.80})"
    try:
        from distributed import Client
    except ImportError as error:
        msg = f"{what}; a distributed.Client is needed, and the package distributed is not there: {_REMEDY}"
        raise TypeError(msg) from error
    if not isinstance(client, Client):
        msg = f"{what}; a distributed.Client is needed, such as distributed.Client('tcp://10.0.0.1:8786')"
        raise TypeError(msg)
    if client.status != "running":
        msg = f"client: its status is {client.status!r}; it must be 'running', connected to a scheduler"
        raise InputError(msg)
    if client.asynchronous:
        msg = "client is asynchronous; it must be made with asynchronous=False"
        raise InputError(msg)


def check_workers(client, paths):
    """
    Refuse workers that could not do the work: of another version, or on machines that do not see the files.

    Parameters
    ----------
    client : distributed.Client
        The cluster.
    paths : list of str
        Absolute paths of files and folders that exist here.

    Raises
    ------
    OutputError
        If there is such a worker.
    """
    if _threads_of(client) is None:
        msg = f"{_address(client)}: the scheduler does not answer within {_ANSWER:g} s; start it anew"
        raise OutputError(msg)
    try:
        answers = client.run(_answer, list(paths), on_error="return")
    except (OSError, TimeoutError, *_CANCELLED) as error:
        msg = f"the workers of {_address(client)} cannot be asked what they see: {error}"
        raise OutputError(msg) from error
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, ModuleNotFoundError):
            why = f"cannot import ccdnight ({answer}); install it there, with the same versions as here"
        elif isinstance(answer, BaseException):
            why = f"cannot be asked what it sees: {type(answer).__name__}: {answer}"
        elif answer[0] != version:
            why = f"has ccdnight {answer[0]}, and this is {version}; they must be the same, or results would differ"
        elif answer[1]:
            why = f"does not see {answer[1][0]}; raw and output folder must be on a disk that all workers share"
        else:
            continue
        msg = f"worker {worker} {why}"
        raise OutputError(msg)


def _answer(paths):
    return version, [path for path in paths if not os.path.exists(path)]


def _threads_of(client):
    if client.status == "running":
        with contextlib.suppress(OSError, TimeoutError, *_CANCELLED):
            # What `client.nthreads` asks, which would wait for a scheduler that hangs.
            found = client.sync(client.scheduler.ncores, workers=None, callback_timeout=_ANSWER)
            return list(found.values())
    return None


def _address(client):
    return getattr(client.scheduler, "address", "the cluster") if client.scheduler else "the cluster"


def run_on_cluster(tasks, client, work, failed, notify, *, most=None, alone=()):
    """
    Run tasks on a cluster.

    Parameters
    ----------
    tasks : dict of str to Task
        Each after those that it needs.
    client : distributed.Client
        The cluster.
    work : callable
        Called on a worker with a task, the outcomes it needs and a number of threads; importable there.
    failed : callable
        Called with a name, an error and its traceback; gives the outcome of a task that came to nothing.
    notify : callable
        Called with each outcome as it comes.
    most : int, optional
        Tasks at once; by default as many as the workers have threads.
    alone : collection of str
        Tasks that no other can run beside: they may use all threads of their worker.

    Returns
    -------
    dict of str to object
        What `work` returned.

    Raises
    ------
    OutputError
        If a task raised it, or if the cluster is lost.
    """
    cluster, done, waiting, running = _Cluster(client, most), {}, dict(tasks), {}
    suspects, by_themselves = [], set()
    try:
        while waiting or running or suspects:
            slots, threads = cluster.slots()
            for task in _next(waiting, running, suspects, done, slots):
                waiting.pop(task.name, None)
                by_themselves |= {task.name} if suspects or slots == 1 else set()
                needed = {name: done[name] for name in task.needs}
                inside = threads if task.name in alone else 1
                try:
                    running[cluster.submit(work, task, needed, inside)] = task
                except (AttributeError, TypeError, pickle.PicklingError) as error:
                    done[task.name] = failed(task.name, error, traceback.format_exc())
                    notify(done[task.name])
            suspects = [task for task in suspects if task not in running.values()]
            for future in cluster.finished(running):
                task = running.pop(future)
                outcome, error = cluster.outcome_of(future, task, failed)
                if error is not None and task.name not in by_themselves:
                    suspects.append(task)
                    continue
                done[task.name] = failed(task.name, error, "") if error is not None else outcome
                notify(done[task.name])
    except BaseException:
        cluster.stop(list(running))
        raise
    return done


def _next(waiting, running, suspects, done, slots):
    """Tasks to hand out now; a suspect has the cluster to itself."""
    if suspects:
        return [] if running else suspects[:1]
    ready = [task for task in waiting.values() if all(need in done for need in task.needs)]
    return ready[: max(0, slots - len(running))]


class _Cluster:
    """What is asked of a cluster, so that no answer is waited for without end."""

    def __init__(self, client, most):
        self._client, self._most, self._seen = client, most, time.monotonic()

    def _threads(self):
        """Threads of each worker; None where the scheduler does not answer."""
        threads = _threads_of(self._client)
        if threads:
            self._seen = time.monotonic()
        return threads

    def slots(self):
        """How many tasks may run at once, and on how many threads one may run by itself on any worker."""
        threads = self._threads() or [1]
        most = sum(threads) if self._most is None else min(self._most, sum(threads))
        return most, min(most, *threads)

    def finished(self, running):
        """Futures that have come to an end, in the order in which they were begun; none after a while."""
        from distributed import wait

        if not running:
            return []
        # `wait` takes the current client, whichever the futures are of.
        with self._client.as_current(), contextlib.suppress(TimeoutError, *_CANCELLED):
            wait(list(running), timeout=_LOOK, return_when="FIRST_COMPLETED")
        ended = [future for future in running if future.status != "pending"]
        if not ended:
            self._raise_if_lost()
        return ended

    def submit(self, *what):
        """The future of a function that is called on a worker."""
        try:
            return self._client.submit(*what, pure=False)
        except Exception as error:
            if self._client.status == "running":
                raise
            raise OutputError(self._lost("the connection to the scheduler is lost")) from error

    def _raise_if_lost(self):
        if self._client.status in ("closing", "closed"):
            raise OutputError(self._lost("the connection to the scheduler is lost"))
        if not self._threads() and time.monotonic() - self._seen > _PATIENCE:
            raise OutputError(self._lost(f"there was no worker for {_PATIENCE:g} s; start some with: dask worker"))

    def _lost(self, why):
        return f"{_address(self._client)}: {why}. What is written is whole; run again"

    def outcome_of(self, future, task, failed):
        """What a task returned; or an error if its workers died."""
        from distributed import KilledWorker

        try:
            return future.result(timeout=_PATIENCE), None
        except OutputError:
            raise
        except KilledWorker as error:
            why = f"every worker that ran it died, {error.allowed_failures + 1} times, last {error.last_worker.address}"
        except TimeoutError:
            why = f"its result did not come from the worker within {_PATIENCE:g} s"
        except _CANCELLED as error:
            raise OutputError(self._lost(f"task {task.name!r} was cancelled, or the scheduler is gone")) from error
        except Exception as error:  # noqa: BLE001 - whatever went wrong on the way costs this task alone: recorded
            return failed(task.name, error, traceback.format_exc()), None
        finally:
            future.release()
        remedy = "the frame may need more memory than a worker has, or crash a library"
        return None, InputError(f"{task.name}: {why}; it was set aside ({remedy})")

    def stop(self, futures):
        """Let what is running end, so that nobody writes after the lock is gone; a second interrupt does not wait."""
        from distributed import wait

        with contextlib.ExitStack() as stack:
            for problem in (OSError, TimeoutError, RuntimeError, *_CANCELLED):
                stack.enter_context(contextlib.suppress(problem))
            threads = self._threads()
            if threads is None or not futures:
                return
            stack.callback(self._client.cancel, futures)
            if threads:
                with self._client.as_current():
                    wait(futures, timeout=_PATIENCE)
