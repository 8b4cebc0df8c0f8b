"""The child's end of a context: what a handler tells goes up the channel, bounded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Raw

from worker.executor.channel import BlockingChannel
from worker.executor.frames import (
    ToldArtifact,
    ToldCheckpoint,
    ToldLog,
    ToldProgress,
    ToldSecret,
    ToldUsage,
    Up,
)
from worker.executor.interrupt import Interrupt
from worker.sdk.result import encode_value

__all__ = ["ChannelSink"]

MAX_LINE_CHARS: Final = 8 * 1024
MAX_LINES_PER_S: Final = 1000  # a person reads ten; more is counted and dropped
MAX_MESSAGE_CHARS: Final = 1024
MAX_CHECKPOINT_BYTES: Final = 256 * 1024


class ChannelSink:
    """Send what one run's handler tells; closed at the run's end, so that no thread tells for the next."""

    # What most runs leave as it is costs them nothing here.
    _is_open = True
    _second = 0
    _lines = 0
    _dropped = 0

    def __init__(self, channel: BlockingChannel, interrupt: Interrupt) -> None:
        self._channel = channel
        self._interrupt = interrupt
        self._lock = threading.Lock()

    def progress(self, ratio: float, message: str | None) -> None:
        """Send the progress so far."""
        self._send(ToldProgress(ratio, None if message is None else clean(str(message), MAX_MESSAGE_CHARS)))

    def log(self, message: str, level: str, fields: dict[str, Any]) -> None:
        """Send a line, unless there were too many this second."""
        if self._has_room():
            told = " ".join([message, *(f"{name}={value}" for name, value in fields.items())])
            self._send(ToldLog(clean(told, MAX_LINE_CHARS), level))

    def artifact(self, path: str, name: str, content_type: str | None) -> None:
        """Send that there is a file."""
        self._send(ToldArtifact(path, name, content_type))

    def secret(self, value: str) -> None:
        """Send a secret; it is on its way before anything that is printed from here on."""
        self._send(ToldSecret(value.encode("utf-8", "replace").decode()))

    def checkpoint(self, value: Any) -> None:
        """Send a token; raises `NotAResult` where it is no JSON or too large."""
        self._send(ToldCheckpoint(Raw(encode_value(value, MAX_CHECKPOINT_BYTES, "checkpoint"))))

    def usage(self, told: dict[str, Any]) -> None:
        """Send what was consumed elsewhere."""
        self._send(ToldUsage(**told))

    def close(self) -> None:
        """Send nothing any more, but for the number of lines that were dropped."""
        if self._dropped:
            self._send(ToldLog(f"{self._dropped} lines were too many and dropped", "warning"))
        with self._lock:
            self._is_open = False

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > MAX_LINES_PER_S:
            self._dropped += 1
        return self._lines <= MAX_LINES_PER_S

    def _send(self, frame: Up) -> None:
        with self._whole(), self._lock:
            if self._is_open:
                self._channel.send(frame)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Hold a stop back while a frame is under way: half a frame would break the channel."""
        self._interrupt.hold()
        try:
            yield
        finally:
            self._interrupt.release()


def clean(text: str, max_chars: int) -> str:
    """Return text that JSON can carry, on one line, cut to a bound."""
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()
