"""What a command does with its process: memory, garbage, and the way out."""

import atexit
import contextlib
import ctypes
import gc
import os
import sys
import threading

__all__ = ["keep_memory", "leave", "no_collection", "without_blas_threads"]

#: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of mallopt(3): nothing is given back before 2 GiB are free at the
#: end of the heap, arrays below 1 GiB come from it, and all threads share it.
_MALLOC = {-1: 2**31 - 1, -3: 2**30, -8: 1}


def keep_memory():
    """
    Have the C library keep what large arrays leave, for those that come next.

    A run makes arrays of a frame's size again and again. Given back and asked for anew, every page of them is cleared
    by the system first, which takes a tenth of the time of a night. Only glibc knows of it; others are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        tune = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC.items():
            tune(option, value)


def without_blas_threads():
    """
    Have OpenBLAS begin no threads of its own when numpy and scipy are imported, unless somebody has asked for some.

    No matrix here is large enough for them, and each pool keeps a processor busy for a quarter of a second with waiting
    for work. It has to be said before numpy is imported; afterwards it does nothing.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextlib.contextmanager
def no_collection():
    """
    Do without the collection of garbage, in a part of a command that imports much and leaves little.

    What is there at the end is left out of account for good: the first look through it would take longer than anything
    that is to be found.

    Yields
    ------
    None
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def leave(code):
    """
    End the process without taking it apart: freeing every object takes as long as a small stack.

    What is registered with `atexit` is done before. Where another thread is still at work or something cannot be
    written any more, the process ends as any other.

    Parameters
    ----------
    code : int or str or None
        As for `sys.exit`.
    """
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if others or not (code is None or isinstance(code, int)):
        sys.exit(code)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        sys.exit(code)
    os._exit(code or 0)
