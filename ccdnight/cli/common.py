"""What all commands share: exit codes, errors in one sentence, common options, JSON."""

import json
import math
import signal
import sys
from pathlib import Path

import click

from ccdnight.exceptions import CcdnightError, OutputError, OutputLockedError, PlanError, ProfileError

__all__ = [
    "BUG",
    "DONE",
    "NOTHING",
    "PARTLY",
    "Commands",
    "clean",
    "exit_code",
    "json_option",
    "print_json",
    "profile_option",
    "progress_bar",
    "raw_folder",
    "ready_for_kernels",
    "tell_notes",
]

#: Exit codes, as the README documents them.
DONE, BUG, USAGE, PARTLY, NOTHING, IN_USE, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130


class Commands(click.Group):
    """Turns errors of ours into one sentence and the documented exit code."""

    def invoke(self, ctx):
        """
        Run a command.

        Parameters
        ----------
        ctx : `click.Context`
            Its context.

        Returns
        -------
        object
        """
        try:
            return super().invoke(ctx)
        except OutputLockedError as error:
            _fail(error, IN_USE)
        except OutputError as error:
            _fail(error, ENVIRONMENT)
        except (PlanError, ProfileError) as error:
            _fail(error, USAGE)
        except CcdnightError as error:
            _fail(error, NOTHING)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one, out of impatience, changes nothing
            _fail(
                "interrupted; every file that stands there is whole, and the same command does the rest",
                INTERRUPTED,
            )


def _fail(error, code):
    click.echo(f"ccdnight: {error}", err=True)
    sys.exit(code)


def raw_folder(function):
    """
    Argument RAW, a folder of raw frames.

    Parameters
    ----------
    function : callable
        A command.

    Returns
    -------
    callable
    """
    return click.argument("raw", type=click.Path(exists=True, file_okay=False, path_type=Path))(function)


def profile_option(function):
    """
    Option --profile.

    Parameters
    ----------
    function : callable
        A command.

    Returns
    -------
    callable
    """
    words = "Instrument profile; by default found from the headers."
    return click.option("--profile", metavar="NAME|FILE", help=words)(function)


def json_option(function):
    """
    Option --json.

    Parameters
    ----------
    function : callable
        A command.

    Returns
    -------
    callable
    """
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(function)


def print_json(value):
    """
    Print an object on standard output.

    Parameters
    ----------
    value : object
        Of plain values, numpy's among them.
    """
    click.echo(json.dumps(value, indent=1, default=_plain, allow_nan=False))


def _plain(value):
    return value.item() if hasattr(value, "item") else str(value)


def clean(value):
    """
    A value for JSON, which has neither NaN nor masked values: both are null.

    Parameters
    ----------
    value : object
        An entry of a table.

    Returns
    -------
    object
    """
    if value is None or str(value) == "--" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def tell_notes(notes):
    """
    Print notes on standard error.

    Parameters
    ----------
    notes : iterable of str
        The notes.
    """
    for note in notes:
        click.echo(f"note: {note}", err=True)


def ready_for_kernels():
    """Get ready for kernels, and say on standard error, should they have to be compiled, why that takes a while."""
    from ccdnight._kernels._jit import load_without_blas, on_first_compile

    load_without_blas()
    words = "ccdnight: compiling its kernels for this machine; that is done once and takes a minute or two"
    stop = on_first_compile(lambda: click.echo(words, err=True))
    click.get_current_context().call_on_close(stop)


def progress_bar():
    """
    Whether somebody watches who wants a progress bar.

    Returns
    -------
    bool
    """
    return sys.stderr.isatty()


def exit_code(result):
    """
    The documented exit code of a reduction.

    Parameters
    ----------
    result : Reduction
        What came out.

    Returns
    -------
    int
    """
    if result.run["errors"]:
        return BUG
    if not result.masters and not result.science:
        return NOTHING
    return PARTLY if len(result.failures) or result.run["problems"] else DONE
