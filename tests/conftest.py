"""What all tests share: the real nights and a browser, where there are any, and a closed door to the network."""

import os
import signal
import socket
from pathlib import Path

import pytest
from browser import find_chromium

#: Used where CCDNIGHT_REALDATA names no other folder.
BESIDE_THE_PROJECT = Path(__file__).parents[2] / "shared" / "data"


def realdata_folder():
    """The folder of the real raw nights, or None where there is none."""
    named = os.environ.get("CCDNIGHT_REALDATA")
    folder = Path(named) if named else BESIDE_THE_PROJECT
    if named and not folder.is_dir():
        # Asked for and not there is a mistake, not a reason to skip quietly.
        msg = f"CCDNIGHT_REALDATA = {named!r} is no folder"
        raise pytest.UsageError(msg)
    return folder if folder.is_dir() else None


def pytest_collection_modifyitems(items):
    """Skip what needs the real nights, or a browser, where they are absent; beside them nothing is skipped."""
    absent = {}
    if realdata_folder() is None:
        absent["realdata"] = "no real nights: neither ../shared/data nor CCDNIGHT_REALDATA"
    if find_chromium() is None:
        absent["browser"] = "no Chromium on the path, and none named by CCDNIGHT_CHROMIUM"
    for item in items:
        for name, reason in absent.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def realdata():
    """Folder of the real raw nights, read only; for tests that are marked `realdata`."""
    return realdata_folder()


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    """ccdnight uses no network at run time: whoever connects to another machine fails, loudly."""
    connect = socket.socket.connect

    def connect_here(self, address):
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in {"localhost", "127.0.0.1", "::1"}:
            pytest.fail(f"a connection to {host} was asked for; ccdnight uses no network")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


@pytest.fixture(autouse=True)
def _signals():
    """The command line sets handlers of signals; each test finds them as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
