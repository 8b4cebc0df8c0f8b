"""A file that grows while a run goes on, without holding it up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

__all__ = ["OutputFile"]

log = structlog.get_logger(__name__)


class OutputFile:
    """Append to a file, on another thread, in order. It is made with the first byte.

    A disk that refuses loses the rest of the file, never the run: `problem` says why, and the last
    line of the file too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self.problem: str | None = None
        self.is_made = False
        self._waiting: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._lost_bytes = 0

    def append(self, data: bytes) -> None:
        """Have data written; returns at once."""
        if data:
            self._waiting.append(data)
            if self._writing is None:
                self._writing = asyncio.get_running_loop().create_task(self._write_all())

    @property
    def is_writing(self) -> bool:
        """Tell whether something waits to be written."""
        return self._writing is not None

    async def close(self) -> None:
        """Wait until everything is written; tell in the file what is lost."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._lost_bytes:
            log.warning(
                "run.output_lost", path=str(self.path), reason=self.problem, lost_bytes=self._lost_bytes
            )
            await asyncio.to_thread(self._end_with_note)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                data = b"".join(self._waiting)
                self._waiting.clear()
                if self.problem is None:
                    await asyncio.to_thread(self._append, data)
                else:
                    self._lost_bytes += len(data)
        finally:
            self._writing = None

    def _append(self, data: bytes) -> None:
        """Write it, or remember why not."""
        before_bytes = self.size_bytes
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.is_made = True
            while (done := self.size_bytes - before_bytes) < len(data):
                self.size_bytes += append_some(self.path, data[done:])
        except OSError as exc:
            self.problem = exc.strerror or str(exc)
            self._lost_bytes += len(data) - (self.size_bytes - before_bytes)

    def _end_with_note(self) -> None:
        """Write why the rest is missing over the end of the file: that place it has."""
        note = f"\n… {self._lost_bytes} bytes are lost: {self.problem} …\n".encode()
        try:
            with self.path.open("rb+", buffering=0) as file:
                file.seek(max(0, self.size_bytes - len(note)))
                file.write(note[: self.size_bytes])
                self.size_bytes = file.tell()
                file.truncate()
        except OSError as exc:
            log.warning("run.output_unmarked", path=str(self.path), reason=exc.strerror)


def append_some(path: Path, data: bytes) -> int:
    """Append as much as the disk takes at once; return how much. The file is the agent's alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)
