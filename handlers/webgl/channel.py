"""Talk to a browser by its debugging pipes: calls and their answers, events, limits, its end.

Format: the Chrome DevTools Protocol as `--remote-debugging-pipe` has it: JSON, a zero byte behind each.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["BrowserGone", "Channel", "Refused", "TooSlow"]

POLL_S: Final = 0.05  # how late a request to stop is seen at most
READ_BYTES: Final = 1 << 20
MAX_MESSAGE_BYTES: Final = 512 << 20  # a picture of the largest size is smaller
LAST_WORDS: Final = 4096  # bytes of what it printed that are kept for an error

OnEvent = Callable[[str, dict[str, Any], str | None], None]  # method, parameters, session


class BrowserGone(Exception):  # noqa: N818 - a state
    """The browser has ended, or says what is no message."""


class TooSlow(Exception):  # noqa: N818 - a state
    """It did not answer in time."""


class Refused(Exception):  # noqa: N818 - a state
    """It answered with an error."""


class Channel:
    """The two pipes of a browser. One call at a time; while it waits, it takes events."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Take a browser whose stdin and stdout are the pipes, and whose stderr is one."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._to = process.stdin.fileno()
        self._from = process.stdout.fileno()
        self._errors = process.stderr.fileno()
        self.on_event: OnEvent = lambda method, parameters, session: None
        self._last_id = 0
        self._unsent: deque[memoryview] = deque()
        self._pieces: list[bytes] = []  # of a message that is not whole yet
        self._piece_bytes = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._words = b""
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._to, self._from, self._errors):
            os.set_blocking(descriptor, False)
        self._selector.register(self._from, selectors.EVENT_READ)
        self._selector.register(self._errors, selectors.EVENT_READ)

    def call(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        session: str | None = None,
        *,
        limit_s: float,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Call a method and return its result; `check` is called while it waits, to stop early.

        Raises:
            BrowserGone: the browser has ended.
            TooSlow: there is no answer after `limit_s`.
            Refused: the answer is an error.
        """
        number = self.send(method, parameters, session)
        until_mono = time.monotonic() + limit_s
        while number not in self._answers:
            check()
            if time.monotonic() > until_mono:
                raise TooSlow(f"no answer to {method} within {limit_s:g} s")
            self._turn()
        answer = self._answers.pop(number)
        self._answers.clear()  # of what was sent without waiting
        if "error" in answer:
            raise Refused(str(answer["error"].get("message", "no reason given"))[:500])
        result: dict[str, Any] = answer.get("result", {})
        return result

    def send(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> int:
        """Send a call without waiting for its answer; return its number."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        self._unsent.append(memoryview(json.dumps(message).encode() + b"\0"))
        return self._last_id

    def last_words(self) -> str:
        """Return the end of what the browser printed so far."""
        self._listen()
        return self._words.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Close the pipes; a browser that still runs ends by that."""
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _turn(self) -> None:
        """Write and read what can be, or wait a moment."""
        self._write()
        for key, _ in self._selector.select(POLL_S):
            if key.fd == self._from:
                self._read()
            elif key.fd == self._errors:
                self._listen()

    def _write(self) -> None:
        try:
            while self._unsent:
                written = os.write(self._to, self._unsent[0][:READ_BYTES])
                if written == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][written:]
        except BlockingIOError:
            pass
        except OSError as exc:
            raise BrowserGone("it has closed its pipe") from exc
        is_waiting = self._to in self._selector.get_map()
        if self._unsent and not is_waiting:
            self._selector.register(self._to, selectors.EVENT_WRITE)
        elif not self._unsent and is_waiting:
            self._selector.unregister(self._to)

    def _read(self) -> None:
        try:
            chunk = os.read(self._from, READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            raise BrowserGone("it has closed its pipe")
        *ends, rest = chunk.split(b"\0")
        for end in ends:
            self._take(b"".join([*self._pieces, end]))
            self._pieces, self._piece_bytes = [], 0
        if rest:
            self._pieces.append(rest)
            self._piece_bytes += len(rest)
        if self._piece_bytes > MAX_MESSAGE_BYTES:
            raise BrowserGone(f"it sends a message of more than {MAX_MESSAGE_BYTES:,} bytes")

    def _take(self, text: bytes) -> None:
        try:
            message = json.loads(text)
        except ValueError as exc:
            raise BrowserGone("it sends what is no message") from exc
        if "id" in message:
            self._answers[message["id"]] = message
        elif "method" in message:
            self.on_event(message["method"], message.get("params", {}), message.get("sessionId"))

    def _listen(self) -> None:
        try:
            chunk = os.read(self._errors, READ_BYTES)
        except BlockingIOError:
            return
        if not chunk and self._errors in self._selector.get_map():
            self._selector.unregister(self._errors)
        self._words = (self._words + chunk)[-LAST_WORDS:]
