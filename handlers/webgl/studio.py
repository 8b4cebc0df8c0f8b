"""A browser with its page, kept from run to run: models go in, pictures come out."""

from __future__ import annotations

import contextlib
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from handlers.webgl.browser import Browser
from handlers.webgl.channel import BrowserGone, Refused, TooSlow
from handlers.webgl.model import Model
from handlers.webgl.options import Options
from handlers.webgl.renderer import is_software
from handlers.webgl.served import ORIGIN, answer_to
from worker import Fail, Retry

__all__ = ["Drawn", "Opened", "Studio"]

PIECE_BYTES: Final = 12 << 20  # of a model that is handed over at once; the browser takes messages of 100 MiB
LOOK_S: Final = 0.01
OPEN_S: Final = 30.0  # a page takes half a second
STEP_S: Final = 600.0  # of one step: reading a model, drawing a frame. The task's own limit may be lower
PAGE_RUNS: Final = 200  # then it gets a new page, whatever the old one has piled up
MAX_REASON_CHARS: Final = 300
Check = Callable[[], None]


class PageError(Exception):
    """Our page raised an error; the message is its own."""


class PageGone(Exception):  # noqa: N818 - a state
    """The page's process has crashed."""


class Opened(NamedTuple):
    """What the page found in a model, and where the camera stands."""

    bounds: list[list[float]]
    camera: list[float]
    target: list[float]


class Drawn(NamedTuple):
    """One picture."""

    content: bytes
    triangles: int
    calls: int


class Studio:
    """One browser, started at once, and again where it had to be ended. `close` it.

    Attributes:
        renderer: what draws, in its own words; None where it gives no name.
        is_software: whether that is the processor; None where nobody knows.
        is_sandboxed: whether the browser has its sandbox, and no network at all.
        version: of the browser.
    """

    def __init__(self, environment: Mapping[str, str], *, wants_gpu: bool = False) -> None:
        """Take the environment that the browser is found by; with `wants_gpu` it draws on a GPU if it can."""
        self.step_s = STEP_S
        self.renderer: str | None = None
        self.version = ""
        self.is_software: bool | None = None
        self.is_sandboxed = False
        self.refused: list[str] = []  # addresses that were asked for, and not given
        self._environment = dict(environment)
        self._wants_gpu = wants_gpu
        self._browser: Browser | None = None
        self._session: str | None = None
        self._target = ""
        self._object = ""  # the page's `studio`
        self._runs = 0
        self._has_loaded = False

    @property
    def browser(self) -> Browser | None:
        """The browser, while it runs."""
        return self._browser

    def ready(self, check: Check = lambda: None) -> None:
        """Have a browser with a page; start what is missing.

        Raises: Fail where none can be had here; Retry where it ended at once.
        """
        with self._ending_badly("the browser"):
            if self._browser is None:
                self._browser = Browser.start(self._environment, with_gpu=self._wants_gpu)
                self._session = None
            if self._session is None:
                self._open_page(check)

    def draw(
        self, model: Model, options: Options, frames: range, count: int, check: Check
    ) -> Iterator[Opened | Drawn]:
        """Draw some of so many frames: yield what was opened first, then a picture a frame.

        Whatever goes wrong, the next call has a sound page again; after anything but an error that the page
        itself told, it has a new browser.

        Raises:
            Fail: the model cannot be drawn; a step takes too long; the page crashed.
            Retry: the browser has ended.
        """
        self.ready(check)
        with self._ending_badly(model.name):
            for name, path in model.files.items():
                self._hand_over(name, path, check)
            opened = self._page("open", "/model", options.for_page(), check=check)
            yield Opened(opened["bounds"], opened["camera"], opened["target"])
            for frame in frames:
                check()
                drawn = self._page("draw", frame, count, check=check)
                yield Drawn(b64decode(drawn["content"]), drawn["triangles"], drawn["calls"])
            self._page("close", check=check)
            self._runs += 1
            if self._runs >= PAGE_RUNS:
                self._close_page()

    def evaluate(self, expression: str, limit_s: float = OPEN_S) -> Any:
        """Return the value of an expression in the page; for tests."""
        return self._evaluate(expression, limit_s=limit_s)

    def close(self) -> None:
        """End the browser in order."""
        browser, self._browser, self._session = self._browser, None, None
        if browser is not None:
            browser.close()

    def kill(self) -> None:
        """End the browser at once."""
        browser, self._browser, self._session = self._browser, None, None
        if browser is not None:
            browser.kill()

    @contextlib.contextmanager
    def _ending_badly(self, name: str) -> Iterator[None]:
        """Say what went wrong in words, and end what must not serve again."""
        try:
            yield
        except PageError as exc:
            self._close_page()
            raise Fail(f"{name} cannot be drawn: {exc}") from exc
        except PageGone as exc:
            self.kill()
            raise Fail(f"{name} cannot be drawn: {exc} (out of memory, or its content is hostile)") from exc
        except TooSlow as exc:
            self.kill()
            raise Fail(f"{name} cannot be drawn: the page hangs ({exc}); the browser was ended") from exc
        except (BrowserGone, Refused) as exc:
            said = self._browser.channel.last_words().splitlines()[-1:] if self._browser is not None else []
            self.kill()
            words = f"; the last it printed: {said[0][:MAX_REASON_CHARS]}" if said else ""
            raise Retry(f"the browser ended while it drew {name} ({exc}){words}") from exc
        except BaseException:  # the run is asked to stop, its disk is full, …
            self.kill()
            raise

    def _open_page(self, check: Check) -> None:
        assert self._browser is not None
        call = self._browser.call
        self._browser.channel.on_event = self._on_event
        context = call("Target.createBrowserContext", {"disposeOnDetach": True}, limit_s=OPEN_S, check=check)
        made = call(
            "Target.createTarget",
            {"url": "about:blank", "browserContextId": context["browserContextId"]},
            limit_s=OPEN_S,
            check=check,
        )
        self._target = made["targetId"]
        attached = call(
            "Target.attachToTarget", {"targetId": self._target, "flatten": True}, limit_s=OPEN_S, check=check
        )
        self._session, self._has_loaded, self._runs = attached["sessionId"], False, 0
        for method, parameters in (
            ("Inspector.enable", {}),
            ("Page.enable", {}),
            ("Runtime.enable", {}),
            ("Fetch.enable", {"patterns": [{"urlPattern": "*"}]}),
            ("Page.navigate", {"url": f"{ORIGIN}/"}),
        ):
            call(method, parameters, self._session, limit_s=OPEN_S, check=check)
        until_mono = time.monotonic() + OPEN_S
        while not self._has_loaded:  # each answer may come with events
            call("Browser.getVersion", limit_s=OPEN_S, check=check)
            if time.monotonic() > until_mono:
                raise TooSlow(f"its page has not loaded within {OPEN_S:g} s")
            time.sleep(LOOK_S)
        found = call("Runtime.evaluate", {"expression": "globalThis.studio"}, self._session, limit_s=OPEN_S)
        if "objectId" not in found["result"]:
            raise PageError("its page does not load; millhand's installation is incomplete")
        self._object = found["result"]["objectId"]
        about = self._page("about", check=check)
        self.renderer, self.version = about["renderer"], self._browser.version
        self.is_software = is_software(self.renderer)
        self.is_sandboxed = self._browser.is_sandboxed

    def _close_page(self) -> None:
        """Let the page go, and with it its process; the browser, too, where it does not obey."""
        session, self._session = self._session, None
        if session is None or self._browser is None:
            return
        try:
            self._browser.call("Target.closeTarget", {"targetId": self._target}, limit_s=OPEN_S)
        except (BrowserGone, TooSlow, Refused, PageGone):
            self.kill()

    def _on_event(self, method: str, parameters: dict[str, Any], session: str | None) -> None:
        if session != self._session or session is None or self._browser is None:
            return
        if method == "Fetch.requestPaused":
            how, answer = answer_to(parameters["requestId"], parameters["request"]["url"])
            if how == "Fetch.failRequest":
                self.refused.append(parameters["request"]["url"][:200])
                del self.refused[:-100]
            self._browser.channel.send(how, answer, session)
        elif method == "Page.loadEventFired":
            self._has_loaded = True
        elif method == "Inspector.targetCrashed":
            raise PageGone("the page has crashed")

    def _hand_over(self, name: str, path: Path, check: Check) -> None:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                self._page("put", name, b64encode(piece).decode(), check=check)

    def _page(self, method: str, *arguments: Any, check: Check) -> Any:
        """Call a method of the page's `studio`."""
        assert self._browser is not None
        answer = self._browser.call(
            "Runtime.callFunctionOn",
            {
                "functionDeclaration": f"function (...given) {{ return this.{method}(...given); }}",
                "objectId": self._object,
                "arguments": [{"value": one} for one in arguments],
                "awaitPromise": True,
                "returnByValue": True,
            },
            self._session,
            limit_s=self.step_s,
            check=check,
        )
        return value_of(answer)

    def _evaluate(self, expression: str, limit_s: float) -> Any:
        assert self._browser is not None
        given = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return value_of(self._browser.call("Runtime.evaluate", given, self._session, limit_s=limit_s))


def value_of(answer: dict[str, Any]) -> Any:
    """Return what the page returned; raise PageError where it raised, with the first line that it said."""
    if details := answer.get("exceptionDetails"):
        thrown = details.get("exception", {})
        text = str(
            thrown.get("description") or thrown.get("value") or details.get("text") or "no reason was given"
        )
        line = text.splitlines()[0] if text else ""
        for prefix in ("Uncaught ", "Error: ", "THREE.GLTFLoader: ", "THREE.", "GLTFLoader: "):
            line = line.removeprefix(prefix)
        raise PageError(line[:MAX_REASON_CHARS] or "no reason was given")
    return answer.get("result", {}).get("value")
