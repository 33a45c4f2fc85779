"""A real browser without a window, driven through its own debugging protocol: what a page does, not what its source says."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PATIENCE = 120  # seconds for one answer: the machine may be busy


def found() -> str | None:
    """Path of a browser of Chromium's family, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page; `said` collects what the page logged as an error, `asked` every address it asked for."""

    def __init__(self, folder: Path) -> None:
        """folder: for the profile, empty."""
        import websocket

        command = [
            str(found()), "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--disable-gpu",
            "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage",
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = self._port(folder / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                (page,) = [one for one in json.load(answer) if one["type"] == "page"]
            self.socket = websocket.create_connection(
                page["webSocketDebuggerUrl"], timeout=PATIENCE, suppress_origin=True
            )
        except BaseException:
            self.process.kill()
            raise
        self.count = itertools.count(1)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.events: list[str] = []
        for room in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{room}.enable")

    def _port(self, path: Path) -> int:
        end = time.monotonic() + PATIENCE
        while not path.exists() or "\n" not in path.read_text():
            assert self.process.poll() is None, f"the browser ended with {self.process.returncode}"
            assert time.monotonic() < end, "the browser did not start"
            time.sleep(0.05)
        return int(path.read_text().splitlines()[0])

    def close(self) -> None:
        """Nothing; the browser has ended."""
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Nothing; the page is loaded in a window of that size, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.said.clear()
        self.asked.clear()
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self.events:
            self._take(self._next())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page, awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Nothing; a key was pressed and let go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Nothing; the text was typed into what has the focus."""
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Nothing; what is seen lies in a PNG, whole: the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of the browser. Errors: AssertionError with what it refused."""
        number = next(self.count)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self._take(message)

    def _next(self) -> dict[str, Any]:
        return dict(json.loads(self.socket.recv()))

    def _take(self, message: dict[str, Any]) -> None:
        """Nothing; an event is remembered."""
        method, told = message.get("method", ""), message.get("params", {})
        self.events.append(method)
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.said.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.said.append(str(told["entry"]))
