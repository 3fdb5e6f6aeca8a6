"""The decorator of all kernels."""

from numba import njit

__all__ = ["kernel"]


def kernel(function):
    """
    Compile a function of arrays and numbers; it runs without the interpreter's lock.

    Division by zero gives inf or NaN, as in numpy. Private functions can be called by other kernels only: to let
    Python in as well takes a quarter of the time to compile. What is compiled is cached; where no folder for that
    can be written, numba raises as soon as the function is defined, and it is compiled anew in every process.

    Parameters
    ----------
    function : callable
        Arrays and numbers in and out.

    Returns
    -------
    callable
    """
    options = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": function.__name__.startswith("_")}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)
