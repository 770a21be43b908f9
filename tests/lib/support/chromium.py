"""A headless Chromium, driven by chromedriver's own protocol (W3C WebDriver): no package is needed for it."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

__all__ = ["Chromium", "why_not"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def why_not() -> str:
    """The reason why no browser can be started here; empty if one can."""
    if shutil.which("chromedriver") is None:
        return "chromedriver is not installed (apt-get install chromium chromium-driver)"
    if not any(shutil.which(name) for name in _BROWSERS):
        return "Chromium is not installed (apt-get install chromium chromium-driver)"
    return ""


class Chromium:
    """One window with a temporary profile. Use it as a context manager.

    Args:
        width: Of the window, in pixels.
        height: Of the window, in pixels.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._size = f"--window-size={width},{height}"

    def __enter__(self) -> Chromium:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._http = requests.Session()
        self._http.trust_env = False
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._root = f"http://127.0.0.1:{self._port()}"
            self._session = self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _port(self) -> str:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return line.rstrip().rstrip(".").rpartition(" ")[2]
        raise RuntimeError("chromedriver did not start")

    def _start(self) -> str:
        browser = next(path for path in map(shutil.which, _BROWSERS) if path)
        options = {
            "binary": browser,
            "args": [*_FLAGS, self._size, f"--user-data-dir={self._profile.name}"],
        }
        capabilities = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        answer = self._http.post(f"{self._root}/session", json=capabilities, timeout=60).json()["value"]
        if "sessionId" not in answer:
            raise RuntimeError(f"Chromium did not start: {answer.get('message')}")
        return f"{self._root}/session/{answer['sessionId']}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_session"):
            self._http.delete(self._session, timeout=30)
        self._http.close()
        self._driver.terminate()
        self._driver.wait(timeout=30)
        if self._driver.stdout is not None:
            self._driver.stdout.close()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Load a page."""
        self._do("url", {"url": url})

    def click(self, css: str) -> None:
        """Click the first element of that selector, waiting for it to appear."""
        self._do(f"element/{self._find(css)}/click", {})

    def text(self, css: str = "body") -> str:
        """The visible text of an element."""
        return str(self._ask(f"element/{self._find(css)}/text"))

    def run(self, script: str) -> Any:
        """Run a script and return its value."""
        return self._do("execute/sync", {"script": script, "args": []})

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Wait until the page shows a text."""
        until = time.monotonic() + seconds
        while text not in self.text():
            if time.monotonic() > until:
                raise TimeoutError(f"the page did not show {text!r}; it shows {self.text()[:500]!r}")
            time.sleep(0.2)

    def wait_while(self, text: str, seconds: float = 30) -> None:
        """Wait until the page no longer shows a text."""
        until = time.monotonic() + seconds
        while text in self.text():
            if time.monotonic() > until:
                raise TimeoutError(f"the page still shows {text!r}")
            time.sleep(0.2)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in pixels."""
        inner = self.run(
            "return [window.outerWidth - window.innerWidth, window.outerHeight - window.innerHeight]"
        )
        self._do("window/rect", {"width": width + inner[0], "height": height + inner[1]})

    def save(self, path: Path) -> None:
        """Save a screenshot of the window as PNG."""
        path.write_bytes(base64.b64decode(self._ask("screenshot")))

    def _find(self, css: str, seconds: float = 20) -> str:
        until = time.monotonic() + seconds
        while True:
            try:
                return str(self._do("element", {"using": "css selector", "value": css})[_ELEMENT])
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _do(self, command: str, body: dict[str, Any]) -> Any:
        return self._value(self._http.post(f"{self._session}/{command}", json=body, timeout=60))

    def _ask(self, command: str) -> Any:
        return self._value(self._http.get(f"{self._session}/{command}", timeout=60))

    @staticmethod
    def _value(answer: requests.Response) -> Any:
        value = answer.json()["value"]
        if answer.status_code != 200:
            raise RuntimeError(value.get("message", "").splitlines()[0])
        return value
