"""The decorator of all kernels."""

import sys

from numba import njit
from numba.core import event
from numba.core.registry import cpu_target

__all__ = ["kernel", "kernel_with_room", "load_without_blas", "on_first_compile"]


def kernel(function):
    """
    Compile a function of arrays and numbers; it runs without the interpreter's lock.

    Division by zero gives inf or NaN, as in numpy. Private functions can be called by other kernels only: to let
    Python in as well takes a quarter of the time to compile. What is compiled is cached; where no folder for that
    can be written, numba raises as soon as the function is defined, and it is compiled anew in every process.

    Functions made within functions are refused: in the cache they are told apart by a number that counts what their
    process had compiled before. Two that were compiled by different processes can have the same number, and the one
    is then run in place of the other without a word.

    The owners of arrays are not counted, which would take a tenth of the time of a kernel that works by blocks: the
    caller keeps its arrays while the kernel runs. So it can make none of its own, see `kernel_with_room`.

    Parameters
    ----------
    function : callable
        Arrays and numbers in, numbers out; defined at the top of its module.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        For a function within a function.
    """
    return _compiled(function, _nrt=False)


def kernel_with_room(function):
    """
    The same as `kernel` for a function that makes arrays to work in.

    Parameters
    ----------
    function : callable
        As for `kernel`.

    Returns
    -------
    callable
    """
    return _compiled(function)


def _compiled(function, **options):
    if "<locals>" in function.__qualname__:
        msg = f"{function.__qualname__} is made within a function; a kernel is defined at the top of its module"
        raise ValueError(msg)
    options |= {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": function.__name__.startswith("_")}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


def load_without_blas():
    """
    Load what numba needs for its first kernel, but scipy.linalg, in a process that has not imported it yet.

    Numba imports it to find out whether there is a BLAS. That takes as long as stacking ten frames, and no kernel
    here multiplies matrices; one that did would be refused. Where numba looks for it otherwise, nothing happens.
    """
    blas = "scipy.linalg.cython_blas"
    if "scipy.linalg" in sys.modules or blas in sys.modules:
        return
    sys.modules[blas] = None
    try:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
    finally:
        del sys.modules[blas]


def on_first_compile(tell):
    """
    Be told when a kernel is compiled for the first time on this machine, which takes a while.

    Parameters
    ----------
    tell : callable
        Called without arguments, once, before the first kernel is compiled; never where all come from the cache.

    Returns
    -------
    callable
        Called without arguments, it ends that.
    """
    listener = _Once(tell)
    event.register("numba:compile", listener)
    return lambda: event.unregister("numba:compile", listener)


class _Once(event.Listener):
    """Passes on the first event and is deaf to the others."""

    def __init__(self, tell):
        self._tell = tell

    def on_start(self, event):  # noqa: ARG002 - what is compiled does not matter
        """A kernel is about to be compiled."""
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def on_end(self, event):
        """A kernel is compiled."""
