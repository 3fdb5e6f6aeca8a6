"""What a command does with its process."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits


def python(code, *arguments, **options):
    """A process of its own: its exit code, standard output and standard error."""
    call = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout, done.stderr


class TestLeave:
    @pytest.mark.parametrize("code", [0, 3, None])
    def test_what_is_registered_is_done_and_all_is_written(self, code):
        script = "import atexit, sys; from ccdnight.cli.process import leave; atexit.register(print, 'done');"
        found = python(f"{script} print('said'); print('told', file=sys.stderr); leave({code})")
        assert found == (code or 0, "said\ndone\n", "told\n")

    def test_the_process_is_not_taken_apart(self):
        """That is what it is for."""
        script = "from ccdnight.cli.process import leave\nclass A:\n def __del__(self): print('gone')\na = A()\n"
        assert python(script + "leave(0)") == (0, "", "")

    def test_another_thread_comes_to_its_end(self):
        script = "import threading, time; from ccdnight.cli.process import leave;"
        script += "threading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start(); leave(4)"
        assert python(script) == (4, "late\n", "")

    def test_words_go_to_standard_error(self):
        assert python("from ccdnight.cli.process import leave; leave('no')") == (1, "", "no\n")

    def test_nobody_listens(self):
        """A full disk behind standard output is told, as any Python program tells it."""
        script = "from ccdnight.cli.process import leave; print('x' * 100); leave(0)"
        with open("/dev/full", "w", encoding="utf-8") as full:
            options = {"stdout": full, "stderr": subprocess.PIPE, "env": os.environ | {"PYTHONUNBUFFERED": ""}}
            done = subprocess.run([sys.executable, "-c", script], check=False, **options)
        assert done.returncode == 120
        assert b"No space left on device" in done.stderr


def test_stacking_does_without_scipy_linalg(tmp_path):
    """Which numba imports to look for a BLAS; it is there for whoever wants it afterwards."""
    paths = [tmp_path / f"{number}.fits" for number in range(3)]
    for path in paths:
        fits.PrimaryHDU(np.full((4, 5), 7, np.uint16)).writeto(path)
    script = "import sys\nfrom ccdnight.cli import main\n"
    script += "main(['combine', *sys.argv[2:], '-o', sys.argv[1]], standalone_mode=False)\n"
    script += "assert 'scipy.linalg' not in sys.modules, 'imported'\n"
    script += "import scipy.linalg.cython_blas, scipy.optimize\nprint(scipy.linalg.norm([3.0, 4.0]))"
    code, said, told = python(script, tmp_path / "out.fits", *paths)
    assert (code, said.splitlines()[-1]) == (0, "5.0"), told
    assert fits.getdata(tmp_path / "out.fits")[0, 0] == 7


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the system does not list threads")
def test_a_command_has_no_threads_that_wait_for_matrices(tmp_path):
    """Each pool keeps a processor busy for a quarter of a second; who wants threads gets them."""
    script = "import os, sys\nfrom ccdnight import cli\n"
    script += "cli.leave = lambda code: print(len(os.listdir('/proc/self/task')), os.environ['OPENBLAS_NUM_THREADS'])\n"
    script += "sys.argv = ['ccdnight', 'frames', sys.argv[1]]\ncli.program()\n"
    bare = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    code, said, told = python(script, tmp_path, env=bare)
    assert (code, said.splitlines()[-1]) == (0, "1 1"), told
    code, said, told = python(script, tmp_path, env=bare | {"OPENBLAS_NUM_THREADS": "3"})
    assert (code, said.split()[-1]) == (0, "3"), told
