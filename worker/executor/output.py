"""What a run prints: lines for people and logs while it goes on, and a file of each stream.

However much it is: it is always taken from the pipes, and neither memory nor disk grow beyond bounds.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from worker.executor.lines import LineCutter, LogTail, RateLimit
from worker.executor.output_file import OutputFile
from worker.executor.stream_output import StreamOutput
from worker.redaction import Redactor
from worker.storage.file import MadeFile

__all__ = ["OutputRules", "RunOutput"]

STREAMS: Final = ("stdout", "stderr")
HEAD_BYTES: Final = 8 * 1024 * 1024
CONTENT_TYPE: Final = "text/plain; charset=utf-8"


class OutputRules(Struct, frozen=True, kw_only=True):
    """What is kept of the output of runs."""

    head_bytes: int = HEAD_BYTES  # of the beginning of each stream; of its end 256 KiB are kept besides
    keep: Literal["all", "failed", "none"] = "all"  # the files of which runs
    tells_steps: bool = False  # a run's start is an event too: its author looks on


class RunOutput:
    """The output of one run. `close` must be awaited at last, or `discard`."""

    def __init__(
        self,
        folder: str,
        redactor: Redactor,
        *,
        mono: Callable[[], float],
        on_line: Callable[[str, str], None],
        rules: OutputRules,
    ) -> None:
        """Take the parts; nothing is touched before the first byte.

        Args:
            folder: where the files are made, which nobody else uses.
            redactor: takes secrets out.
            mono: monotonic seconds.
            on_line: takes the name of a stream and a line of it.
            rules: what is kept.
        """
        self.tail = LogTail()
        self._folder = folder
        self._redactor = redactor
        self._on_line = on_line
        self._rules = rules
        self._mono = mono
        self._limit: RateLimit | None = None  # of what is printed, once something is
        self._files: dict[str, OutputFile] = {}  # of streams that were printed to, which most are not
        self._streams: dict[str, StreamOutput] = {}

    def use(self, redactor: Redactor) -> None:
        """Look for more secrets from here on."""
        self._redactor = redactor
        for stream in self._streams.values():
            stream.use(redactor)

    def feed(self, stream: str, data: bytes) -> None:
        """Take what was read from a pipe; does not block."""
        if stream not in self._streams:
            self._begin(stream)
        self._streams[stream].feed(data)

    def _begin(self, name: str) -> None:
        """Make what takes a stream."""
        limit = self._limit = self._limit or RateLimit(self._mono)
        file = self._files[name] = OutputFile(Path(self._folder, name))
        self._streams[name] = StreamOutput(
            self._redactor,
            LineCutter(limit, lambda line: self._on_line(name, line)),
            limit,
            file.append if self._rules.keep != "none" else len,
            self._rules.head_bytes,
        )

    def finish(self) -> None:
        """Take the end of the run: unfinished lines, and the end of what was too much."""
        for stream in self._streams.values():
            stream.finish()

    async def close(self, *, is_success: bool) -> tuple[MadeFile, ...]:
        """Wait until the files are whole; return those that are kept. `discard` removes them.

        A file that the disk refused ends with a line that says so.
        """
        if not self._files:
            return ()
        for file in self._files.values():
            await file.close()
        if self._rules.keep == "failed" and is_success:
            return ()
        return tuple(
            MadeFile(path=self._files[name].path, name=name, content_type=CONTENT_TYPE, is_ours=True)
            for name in STREAMS
            if name in self._files and self._files[name].size_bytes
        )

    @property
    def is_used(self) -> bool:
        """Tell whether something was printed, so that there is something to `close`."""
        return bool(self._files)

    @property
    def has_files(self) -> bool:
        """Tell whether there is something to `discard`."""
        return bool(self._files) and any(file.is_writing or file.is_made for file in self._files.values())

    @property
    def is_writing(self) -> bool:
        """Tell whether something waits to be written."""
        return any(file.is_writing for file in self._files.values())

    def problems(self) -> list[str]:
        """Say which streams are not whole in their files because the disk refused."""
        return [f"{name}: {file.problem}" for name, file in self._files.items() if file.problem is not None]

    async def discard(self) -> None:
        """Remove what is left of the files; they may have been moved elsewhere."""
        for file in self._files.values():
            await file.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
