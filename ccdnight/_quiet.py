"""
What libraries warn of while they mend a card is no news to an observer.

The filters of the `warnings` module belong to the whole process: two threads that set and restore them get in
each other's way. So they are set in the main thread alone, around a whole run. The main thread of a worker of a cluster
is not ours: there they are set with the first task that begins and put back with the last that ends.
"""

import contextlib
import threading
import warnings

__all__ = ["quiet_libraries", "quiet_process"]

_lock = threading.Lock()
#: How many tasks of this process want quiet, and what puts the filters back after the last.
_quiet = {"tasks": 0, "stack": None}


@contextlib.contextmanager
def quiet_libraries():
    """
    Pass over the warnings of astropy about cards, padding and world coordinates, and numpy's about empty slices.

    What matters of it is checked by ccdnight itself and said in words of its own.

    In any thread but the main one this does nothing: whoever starts threads has done it before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        _set_filters()
        yield


def _set_filters():
    from astropy.utils.exceptions import AstropyWarning

    warnings.simplefilter("ignore", AstropyWarning)
    for message in ("All-NaN slice", "Mean of empty slice", "Degrees of freedom", "Input data contains invalid"):
        warnings.filterwarnings("ignore", message=message)


@contextlib.contextmanager
def quiet_process():
    """The same from the first of several threads that enter until the last that leaves."""
    with _lock:
        _quiet["tasks"] += 1
        if _quiet["tasks"] == 1:
            _quiet["stack"] = contextlib.ExitStack()
            _quiet["stack"].enter_context(warnings.catch_warnings())
            _set_filters()
    try:
        yield
    finally:
        with _lock:
            _quiet["tasks"] -= 1
            if _quiet["tasks"] == 0:
                _quiet["stack"].close()
