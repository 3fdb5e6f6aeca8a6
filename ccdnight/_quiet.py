"""
What libraries warn of while they mend a card is no news to an observer.

The filters of the `warnings` module belong to the whole process: two threads that set and restore them get in
each other's way. So they are set in the main thread alone, around a whole run.
"""

import contextlib
import threading
import warnings

__all__ = ["quiet_libraries"]


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
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for message in ("All-NaN slice", "Mean of empty slice", "Degrees of freedom", "Input data contains invalid"):
            warnings.filterwarnings("ignore", message=message)
        yield
