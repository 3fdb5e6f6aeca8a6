"""A headless Chromium, driven over a pipe by the few words of its DevTools protocol that looking at a page takes."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["Browser", "Page", "find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Nothing of the browser's own may look like a request of the page; as root it cannot have a sandbox.
SWITCHES = (
    *("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--no-default-browser-check"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-default-apps", "--disable-dev-shm-usage", "--mute-audio", "--force-color-profile=srgb"),
)
PATIENCE = 60.0

#: Looks at every part of the page as a reader who scrolls would, and waits for what that loads.
SCROLL = """
(async () => {
  const far = document.documentElement.scrollHeight;
  for (let y = 0; y <= far; y += Math.max(innerHeight, far / 40)) {
    scrollTo(0, y);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  const all = Array.from(document.images);
  all.forEach(image => image.loading = "eager");
  await Promise.all(all.map(image => image.decode().catch(() => null)));
  scrollTo(0, 0);
  const first = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT);
  const wide = [];
  for (let node = first.nextNode(); node; node = first.nextNode())
    if (node.getBoundingClientRect().right > innerWidth + 1 && !node.closest(".wide, svg, pre, .names, .history"))
      wide.push(node.tagName + "." + node.className);
  return JSON.stringify({
    text: document.body.innerText, title: document.title, width: document.documentElement.scrollWidth,
    images: all.map(image => [image.complete, image.naturalWidth, image.naturalHeight]), wide: wide.slice(0, 5),
    scripts: document.scripts.length,
  });
})()
"""


def find_chromium():
    """
    The program, or None where there is none; CCDNIGHT_CHROMIUM names another one.

    Asked for and not there is a mistake, not a reason to skip quietly.
    """
    named = os.environ.get("CCDNIGHT_CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if named and not found:
        msg = f"CCDNIGHT_CHROMIUM = {named!r} is no program"
        raise pytest.UsageError(msg)
    return found


@dataclass
class Page:
    """
    What was seen of a page.

    Attributes
    ----------
    text, title : str
        What a reader sees.
    images : list
        Of each: whether it is complete, its width and its height.
    requests : list of str
        Addresses of everything that was asked for, the page itself and data in it left out.
    complaints : list of str
        Errors and warnings of the console, and exceptions.
    width : int
        Of the document; more than that of the window if it has to be scrolled sideways.
    wide : list of str
        What sticks out to the right.
    """

    text: str = ""
    title: str = ""
    images: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    complaints: list = field(default_factory=list)
    width: int = 0
    wide: list = field(default_factory=list)
    scripts: int = 0


class Browser:
    """A running Chromium; close it, or use it in a `with`."""

    def __init__(self, program=None):
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs, self._write = _pipe()
        self._read, ours = _pipe()
        command = [program or find_chromium(), *SWITCHES, f"--user-data-dir={self._profile.name}"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        command += ["--remote-debugging-pipe", "about:blank"]
        # It reads from 3 and writes to 4, which have other uses here.
        code = f"import os, sys; os.dup2({theirs}, 3); os.dup2({ours}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        start = [sys.executable, "-S", "-c", code, *command]
        self._process = subprocess.Popen(start, pass_fds=(theirs, ours), **null)
        os.close(theirs)
        os.close(ours)
        self._number, self._rest, self._events = 0, b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for handle in (self._read, self._write):
            os.close(handle)
        self._profile.cleanup()

    def call(self, method, session=None, **params):
        """Call a method of the protocol and wait for its answer; events that come before it are kept."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    msg = f"{method}: {answer['error']}"
                    raise RuntimeError(msg)
                return answer["result"]
            self._events.append(answer)

    def _next(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            if not ready:
                msg = f"the browser did not answer within {PATIENCE:g} s"
                raise TimeoutError(msg)
            piece = os.read(self._read, 1 << 20)
            if not piece:
                msg = "the browser has gone"
                raise EOFError(msg)
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def look(self, path, *, width=1280, height=900, shot=None, then=None):
        """
        Look at all of a page.

        Parameters
        ----------
        path : path-like
            The file.
        width, height : int
            Of the window.
        shot : path-like, optional
            Where a picture of the whole page is put.
        then : dict of str to str, optional
            Expressions that are evaluated afterwards; their values become attributes of the page.

        Returns
        -------
        Page
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **screen)
        self._events.clear()
        address = Path(path).resolve().as_uri()
        self.call("Page.navigate", session, url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next())
        page = Page(**json.loads(self.evaluate(session, SCROLL)))
        for name, expression in (then or {}).items():
            setattr(page, name, self.evaluate(session, expression))
        if shot:
            size = self.call("Page.getLayoutMetrics", session)["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": width, "height": min(size["height"], 16000), "scale": 1}
            options = {"format": "png", "clip": clip, "captureBeyondViewport": True}
            Path(shot).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", session, **options)["data"]))
        page.requests = [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
            and event["params"]["request"]["url"] != address
            and not event["params"]["request"]["url"].startswith("data:")
        ]
        page.complaints = [text for event in self._events if (text := _complaint(event))]
        self.call("Target.closeTarget", targetId=target)
        return page

    def evaluate(self, session, expression):
        """Value of an expression in the page."""
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", session, expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")


def _pipe():
    """Both ends of a pipe, away from the numbers 3 and 4 which the browser is given."""
    return tuple(_moved(handle) for handle in os.pipe())


def _moved(handle):
    moved = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(handle)
    return moved


def _complaint(event):
    params = event["params"]
    if event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        return params["entry"]["text"]
    if event["method"] == "Runtime.exceptionThrown":
        return str(params["exceptionDetails"])
    if event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
        return str(params["args"])
    return ""
