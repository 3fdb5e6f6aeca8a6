"""The lock of an output folder."""

import contextlib
import json
import os
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from ccdnight.exceptions import OutputLockedError
from ccdnight.storage.writing import environment, make_folder

__all__ = ["OutputLock"]


class OutputLock:
    """
    The lock of an output folder: a file that names its holder.

    The file is made with O_EXCL, which needs no platform module. A lock whose holder ran on this machine
    and is no longer alive is taken over; where the platform can, by one run at a time: of two that find the same
    dead holder, the second must not remove the lock that the first has just made.

    Parameters
    ----------
    folder : path-like
        The output folder.

    Raises
    ------
    OutputLockedError
        On entering, if another run holds it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ccdnight.exceptions import OutputLockedError
    >>> from ccdnight.storage import OutputLock
    >>> with TemporaryDirectory() as folder, OutputLock(folder):
    ...     try:
    ...         OutputLock(folder).__enter__()
    ...     except OutputLockedError as error:
    ...         words = str(error)
    >>> "another run" in words
    True
    """

    NAME = ".ccdnight.lock"

    def __init__(self, folder):
        self.path = Path(folder) / self.NAME
        self._held = False

    def __enter__(self):
        make_folder(self.path.parent)
        with environment(self.path), _one_at_a_time(self.path.parent):
            for _ in range(3):
                try:
                    handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                except FileExistsError:
                    self._refuse_if_alive()
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.path)
                    continue
                self._held = True
                try:
                    with os.fdopen(handle, "w") as stream:
                        json.dump({"host": socket.gethostname(), "pid": os.getpid()}, stream)
                except BaseException:
                    # A lock that names nobody could never be taken over.
                    self.__exit__()
                    raise
                return self
        msg = f"{self.path}: the lock is taken and given up faster than it can be read"
        raise OutputLockedError(msg)

    def _refuse_if_alive(self):
        holder = {}
        with contextlib.suppress(OSError, ValueError):
            holder = json.loads(self.path.read_text() or "{}")
        holder = holder if isinstance(holder, dict) else {}
        host, pid = holder.get("host"), holder.get("pid")
        if host == socket.gethostname() and not _is_alive(pid):
            return
        msg = (
            f"{self.path.parent}: another run holds this output folder (process {pid} on {host}); "
            f"wait for it, or remove {self.path} if it is gone"
        )
        raise OutputLockedError(msg)

    def __exit__(self, *exc):
        if self._held:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            self._held = False


@contextlib.contextmanager
def _one_at_a_time(folder):
    """The moment of taking a lock belongs to one process; the kernel ends it with the process."""
    with contextlib.ExitStack() as stack:
        if fcntl is not None:
            # Some network disks cannot: there it is as it is without.
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_alive(pid):
    if not isinstance(pid, int) or pid <= 0:
        return False
    if os.name == "nt":
        return True  # os.kill would end the process there
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
