"""A real browser that looks at pages of a server on this machine: goes, types, clicks, takes pictures."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from handlers.webgl.channel import Channel, Refused

__all__ = ["Window", "window"]

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
FLAGS: Final = (
    "--headless", "--remote-debugging-pipe", "--no-startup-window", "--no-first-run", "--no-sandbox",
    "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
    "--force-color-profile=srgb", "--force-device-scale-factor=1", "--lang=en-US", "--no-proxy-server",
)  # fmt: skip


class Window:
    """One page of the browser."""

    def __init__(self, channel: Channel) -> None:
        """Open an empty page, and listen to what it complains of."""
        self.complaints: list[str] = []  # errors of the console, of scripts and of loads
        self._channel = channel
        channel.on_event = self._hear
        target = channel.call("Target.createTarget", {"url": "about:blank"}, limit_s=LIMIT_S)["targetId"]
        attached = {"targetId": target, "flatten": True}
        self._session = channel.call("Target.attachToTarget", attached, limit_s=LIMIT_S)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def look(self, width: int, *, dark: bool = False) -> None:
        """Take a width in pixels and a colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [scheme]})

    def go(self, url: str) -> None:
        """Load a page, whole."""
        self.run("window.stale = true")
        self._call("Page.navigate", {"url": url})
        self.until("!window.stale && document.readyState == 'complete'")

    def click(self, what: str) -> None:
        """Click an element, and wait for the page to which that leads."""
        self.run("window.stale = true")
        self.run(f"document.querySelector({json.dumps(what)}).click()")
        self.until("!window.stale && document.readyState == 'complete'")

    def click_at(self, what: str, x: int, y: int) -> None:
        """Click a place of an element, as a mouse does, and wait for the page to which that leads."""
        self.run("window.stale = true")
        element = f"document.querySelector({json.dumps(what)})"
        self.run(f"{element}.scrollIntoView({{block: 'start'}})")
        left, top = self.run(f"(({{x, y}}) => [x, y])({element}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            place = {"type": kind, "x": left + x, "y": top + y, "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", place)
        self.until("!window.stale && document.readyState == 'complete'")

    def type(self, where: str, text: str) -> None:
        """Fill in a field."""
        self.run(f"document.querySelector({json.dumps(where)}).value = {json.dumps(text)}")

    @property
    def path(self) -> str:
        """Where the page is."""
        return str(self.run("location.pathname"))

    @property
    def text(self) -> str:
        """What stands on the page."""
        return str(self.run("document.body.innerText"))

    def until(self, condition: str) -> None:
        """Wait until a condition of the page holds."""
        give_up_mono = time.monotonic() + LIMIT_S
        while not self.run(condition):
            assert time.monotonic() < give_up_mono, f"{condition}: it did not come about on\n{self.text}"
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """Return what an expression of the page gives; None while it is being loaded."""
        try:
            answer = self._call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        except Refused:  # the page that was asked is gone: another one is being loaded
            return None
        return answer.get("result", {}).get("value")

    def answer(self, expression: str) -> Any:
        """Return what a promise of the page comes to."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self._call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def tab(self) -> None:
        """Press the key Tab."""
        key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        for kind in ("rawKeyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", {"type": kind, **key})

    def picture(self, path: Path) -> None:
        """Write a picture of what is to be seen."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._channel.call(method, parameters, self._session, limit_s=LIMIT_S)

    def _hear(self, method: str, parameters: dict[str, Any], _session: str | None) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")


@contextmanager
def window(program: str, folder: Path) -> Iterator[Window]:
    """Give a page of a browser of its own, which is gone afterwards."""
    line = f'exec "$@" --user-data-dir={folder} 3<&0 4>&1 </dev/null >/dev/null'
    process = subprocess.Popen(
        ["sh", "-c", line, "sh", program, *FLAGS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        bufsize=0,
    )
    channel = Channel(process)
    try:
        yield Window(channel)
        channel.call("Browser.close", limit_s=LIMIT_S)
        process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait(LIMIT_S)
        channel.close()
