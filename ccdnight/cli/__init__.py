"""The command line; every command is one public call."""

import atexit
import gc
import signal
import sys
import threading
import warnings

import click

from ccdnight.cli.coadds import coadd
from ccdnight.cli.common import Commands
from ccdnight.cli.detectors import detector
from ccdnight.cli.nights import frames, plan, reduce, report, verify
from ccdnight.cli.process import keep_memory, leave, without_blas_threads
from ccdnight.cli.profiles import profile
from ccdnight.cli.simulation import demo, simulate
from ccdnight.cli.stacks import combine

__all__ = ["main", "program"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ccdnight")
def main():
    """Turn a folder of raw CCD frames of one night into calibrated science images.

    \b
    Examples:
      ccdnight demo
      ccdnight frames 2016-01-15/
      ccdnight reduce 2016-01-15/ reduced/

    \b
    Exit codes: 0 all done; 1 an error in ccdnight itself; 2 wrong usage; 3 done, but some input could not
    be used; 4 nothing could be reduced; 5 the output folder is in use; 6 the environment failed; 130
    interrupted.
    """
    # Warnings of libraries about single cards would bury what an observer has to know; ours are printed.
    from ccdnight.exceptions import CcdnightWarning

    keep_memory()
    # A name that the terminal cannot show must not cost the run whose last words tell of it.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # A last look for garbage in all that was imported would take a sixth of a second.
    atexit.register(gc.freeze)
    # Who ends a run kindly gets what Ctrl-C gives: nothing half-written, and no lock left behind.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", CcdnightWarning)
    warnings.showwarning = lambda message, *args, **kwargs: click.echo(f"ccdnight: {message}", err=True)


main.add_command(frames)
main.add_command(plan)
main.add_command(reduce)
main.add_command(report)
main.add_command(verify)
main.add_command(combine)
main.add_command(coadd)
main.add_command(detector)
main.add_command(profile)
main.add_command(demo)
main.add_command(simulate)


def program():
    """Run the command line as a process of its own, which is over with it."""
    without_blas_threads()
    try:
        main(prog_name="ccdnight")
    except SystemExit as end:
        leave(end.code)
