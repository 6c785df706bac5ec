"""Chromium and Firefox without a window, driven through their own protocols, without any driver."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FIREFOX = ("firefox-esr", "firefox")
_PATIENCE = 60.0


class BrowserError(Exception):
    """The browser refused something, or is gone."""


def find_browser(names: tuple[str, ...] = CHROMIUM) -> str | None:
    """Return the first of these browsers that is installed."""
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """A Chromium, spoken to through a pipe (Chrome DevTools Protocol)."""

    def __init__(self, program: str, directory: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_browser, from_browser)]
        os.close(to_browser)
        os.close(from_browser)
        words = [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ]
        words += ["--disable-dev-shm-usage", "--force-color-profile=srgb", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={directory}", "about:blank"]
        self._log = (directory.parent / f"{directory.name}.log").open("wb")
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash", *words],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        for end in ends:
            os.close(end)
        self._waiting = b""
        self._number = 0
        self.heard: list[dict[str, Any]] = []
        """Events that nobody asked for, since `Tab.open`."""

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Ask for something and return the answer."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self.hear()
            if answer.get("id") != self._number:
                continue
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result

    def hear(self) -> dict[str, Any]:
        """Return the next message; events are kept, too."""
        while b"\0" not in self._waiting:
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise BrowserError("the browser is gone")
            self._waiting += piece
        data, _, self._waiting = self._waiting.partition(b"\0")
        message: dict[str, Any] = json.loads(data)
        if "method" in message:
            self.heard.append(message)
        return message

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(BrowserError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._log.close()


class Tab:
    """One page of a `Chromium`."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask for something of this page."""
        return self.browser.call(method, self._session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def emulate(self, media: str = "", **features: str) -> None:
        """Pretend a medium (print) and settings of the reader: ``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=listed)

    def open(self, url: str, *, ready: str = "document.readyState === 'complete'") -> None:
        """Load a page; wait until an expression is true in it."""
        self.browser.heard.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait(ready)

    def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        begun = time.monotonic()
        while True:
            with contextlib.suppress(BrowserError):
                if self.evaluate(expression):
                    return
            if time.monotonic() - begun > _PATIENCE:
                raise BrowserError(f"never came true: {expression}; {self.complaints()}")
            time.sleep(0.01)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, whose policy does not bind it; wait for promises."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Return what the page threw, or its policy refused, since it was opened."""
        found = []
        for message in self.browser.heard:
            parameters: Mapping[str, Any] = message["params"]
            if message.get("sessionId") != self._session:
                continue
            if message["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif message["method"] == "Log.entryAdded" and parameters["entry"]["level"] in (
                "error",
                "warning",
            ):
                found.append(parameters["entry"]["text"])
            elif message["method"] == "Runtime.consoleAPICalled":
                found.append(f"console: {parameters['args']}")
        return found

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since it was opened."""
        return [
            message["params"]["request"]["url"]
            for message in self.browser.heard
            if message["method"] == "Network.requestWillBeSent" and message.get("sessionId") == self._session
        ]

    def press(self, key: str) -> None:
        """Press and let go of a key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window and let go at another."""
        common = {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=begin[0], y=begin[1], **common)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=end[0], y=end[1], **common)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **common)

    def picture(self, *, whole: bool = False) -> bytes:
        """Return the window, or the whole page, as a PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """Close the page."""
        self.browser.call("Target.closeTarget", targetId=self._target)


class Firefox:
    """A Firefox, spoken to through Marionette."""

    def __init__(self, program: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        preferences = {"marionette.port": 0, "datareporting.policy.dataSubmissionEnabled": False}
        directory.joinpath("user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in preferences.items()
            )
        )
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--marionette", "--profile", str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(directory), "MOZ_HEADLESS": "1"},
        )
        port = directory / "MarionetteActivePort"
        begun = time.monotonic()
        while not port.exists() or not port.read_text():
            if time.monotonic() - begun > _PATIENCE or self._process.poll() is not None:
                self._process.kill()
                self._process.wait()
                raise BrowserError("Firefox did not start")
            time.sleep(0.05)
        self._socket = socket.create_connection(("127.0.0.1", int(port.read_text())), timeout=_PATIENCE)
        self._file = self._socket.makefile("rb")
        self._message()
        self._number = 0
        self.call("WebDriver:NewSession", capabilities={})

    def _message(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            char = self._file.read(1)
            if not char:
                raise BrowserError("Firefox is gone")
            length += char
        return json.loads(self._file.read(int(length[:-1])))

    def call(self, method: str, **parameters: object) -> Any:
        """Ask for something and return the answer."""
        self._number += 1
        data = json.dumps([0, self._number, method, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(data), data))
        _kind, _number, error, result = self._message()
        if error is not None:
            raise BrowserError(f"{method}: {error.get('message')}")
        return result

    def evaluate(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self.call("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def picture(self) -> bytes:
        """Return the window as a PNG."""
        return base64.b64decode(self.call("WebDriver:TakeScreenshot", full=False)["value"])

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(BrowserError, OSError):
            self.call("Marionette:Quit", flags=["eForceQuit"])
        self._file.close()
        self._socket.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def chromium(program: str, directory: Path) -> Iterator[Tab]:
    """Start a Chromium with one page, and end it."""
    browser = Chromium(program, directory)
    try:
        yield Tab(browser)
    finally:
        browser.close()
