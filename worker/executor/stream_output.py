"""One stream that a run prints to: its lines, its file, and the end of what is too much for both.

The first bytes are read: secrets are taken out, lines cut, the file written. Beyond the bound bytes
are only counted, and the last of them kept as they are; lines go on within their rate.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from worker.executor.lines import LineCutter, RateLimit
from worker.redaction import Redactor, StreamRedactor
from worker.redaction.stream import MATCH_BYTES_MAX

__all__ = ["RawTail", "StreamOutput"]

TAIL_BYTES: Final = 256 * 1024
LAST_BYTES: Final = 1024  # shown among the lines, of what was dropped last
LIVE_BYTES: Final = 64 * 1024  # read at once for lines beyond the first bytes, and how much in one step
LIVE_STEP_BYTES: Final = 8 * 1024
HEAD_STEP_BYTES: Final = 32 * 1024
HEAD_BUSY_S: Final = 1.0  # of CPU time for the first bytes; only output that is made to be slow takes it


class RawTail:
    """The last bytes of a flood, in the pieces in which they were read."""

    def __init__(self, size_bytes: int = TAIL_BYTES) -> None:
        self._bound_bytes = size_bytes
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self.dropped_bytes = 0

    def add(self, data: bytes) -> None:
        """Take bytes, and drop the oldest."""
        self._pieces.append(data)
        self._held_bytes += len(data)
        while self._held_bytes - len(self._pieces[0]) >= self._bound_bytes:
            gone = len(self._pieces.popleft())
            self._held_bytes -= gone
            self.dropped_bytes += gone

    def take(self) -> tuple[bytes, int]:
        """Return what is held, and from where on to show it; nothing is held then.

        Where something was dropped that is behind the first line's end, or where the rest of a secret
        must have ended. What is shown is not more than the bound.
        """
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        start = max(0, len(data) - self._bound_bytes)
        if start or self.dropped_bytes:
            line = data.find(b"\n", start) + 1
            start = line or min(len(data), start + MATCH_BYTES_MAX)
        self.dropped_bytes += start
        return data, start


class StreamOutput:
    """What one run prints to one stream."""

    def __init__(
        self,
        redactor: Redactor,
        cutter: LineCutter,
        limit: RateLimit,
        keep: Callable[[bytes], object],
        head_bytes: int,
    ) -> None:
        """Take the parts.

        Args:
            redactor: takes secrets out.
            cutter: takes what may be shown as lines.
            limit: of the lines, which the cutter has too.
            keep: takes what belongs into the file.
            head_bytes: how much of the stream's beginning is read.
        """
        self._redactor = redactor
        self._cutter = cutter
        self._limit = limit
        self._keep = keep
        self._head_left_bytes = head_bytes
        self._head_busy_s = 0.0
        self._head = redactor.stream()
        self._tail = RawTail()
        self._is_beyond_head = False
        self._live: StreamRedactor | None = None  # beyond the head; None: the next whole line is the first

    def use(self, redactor: Redactor) -> None:
        """Look for more secrets from here on."""
        self._redactor = redactor
        self._head.use(redactor)
        if self._live is not None:
            self._live.use(redactor)

    def feed(self, data: bytes) -> None:
        """Take what was read from the pipe."""
        if self._head_left_bytes:
            data = self._feed_head(data)
        if data:
            self._is_beyond_head = True
            self._tail.add(data)
            self._feed_lines(data)

    def finish(self) -> None:
        """Take the end of the run."""
        end, start = self._tail.take()
        if self._tail.dropped_bytes:
            shown = self._redactor.part(end, start)
            note = f"\n… {self._tail.dropped_bytes} bytes dropped …\n".encode()
            self._keep(self._head.finish() + note + shown)
        else:
            shown = self._head.feed(end) + self._head.finish()
            self._keep(shown)
        self._finish_lines(shown)

    def _feed_head(self, data: bytes) -> bytes:
        """Read as much as the bound allows; return the rest."""
        done = 0
        while done < len(data) and self._head_left_bytes:
            read = data[done : done + min(HEAD_STEP_BYTES, self._head_left_bytes)]
            done += len(read)
            self._head_left_bytes -= len(read)
            start_s = time.thread_time()
            shown = self._head.feed(read)
            self._head_busy_s += time.thread_time() - start_s
            if self._head_busy_s > HEAD_BUSY_S:
                self._head_left_bytes = 0
            self._keep(shown)
            self._cutter.feed(shown)
        return data[done:]

    def _feed_lines(self, data: bytes) -> None:
        """Cut lines while the rate allows; behind what was dropped the next whole one is the first."""
        done = 0 if self._live is not None else data.find(b"\n", 0, LIVE_BYTES) + 1
        self._cutter.lose(done)
        if done or self._live is not None:
            while done < min(len(data), LIVE_BYTES) and not self._limit.is_spent:
                self._read_live(data[done : done + LIVE_STEP_BYTES])
                done += LIVE_STEP_BYTES
        if done < len(data):
            self._lose_live(len(data) - done)

    def _lose_live(self, size_bytes: int) -> None:
        held_bytes = 0 if self._live is None else self._live.held_bytes
        self._cutter.lose(size_bytes + held_bytes)
        self._live = None

    def _read_live(self, data: bytes) -> None:
        self._live = self._live or self._redactor.stream()
        start_s = time.thread_time()
        self._cutter.feed(self._live.feed(data))
        self._limit.spend(len(data), lines=0, busy_s=time.thread_time() - start_s)

    def _finish_lines(self, shown: bytes) -> None:
        """Show the lines that are left; `shown` is the end of the stream."""
        if not self._is_beyond_head:
            self._cutter.feed(shown)
            self._cutter.finish()
        elif self._live is None:
            self._cutter.finish(shown[-LAST_BYTES:])
        else:
            self._cutter.feed(self._live.finish())
            self._cutter.finish()
