"""Writing the current segment of the journal: in its place, in its room, or given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import structlog

from worker.reporting.disk import JournalIO
from worker.reporting.records import MAGIC, BaseRecord, Entry, EntryRecord, encode
from worker.reporting.segments import DAMAGED_SUFFIX, SUFFIX, Recovered

__all__ = ["NoRoom", "SegmentWriter"]

T = TypeVar("T")

DAMAGED_KEPT: Final = 4  # set-aside segments; the oldest go first
CHUNK_BYTES: Final = 1 << 20  # a base is written in pieces of about this size
STEP_BYTES: Final = 256 << 10  # room is reserved in such steps, to ask the file system less often

log = structlog.get_logger(__name__)


class NoRoom(OSError):  # noqa: N818 - a state of the disk
    """The disk refused a new segment before anything was in it; the current one is still good."""


class SegmentWriter:
    """The current segment. After any failed write or sync it is given up: `is_open` is False.

    A failed fsync may leave pages that count as clean and never reach the disk, so a second try
    on the same file proves nothing; only a new segment with everything in it does.
    """

    def __init__(self, io: JournalIO, recovered: Recovered, io_timeout_s: float) -> None:
        """Start without a segment; `start` makes one."""
        self._io = io
        self._io_timeout_s = io_timeout_s
        self._names = set(recovered.names)  # all that may lie on disk
        self._damaged = set(recovered.damaged)
        self._number = recovered.next_number
        self._name: str | None = None
        self._allocated_bytes = 0
        self.size_bytes = 0
        self.base_bytes = 0  # of `size_bytes`, what was open when the segment was started

    @property
    def is_open(self) -> bool:
        """Tell whether the current segment can be trusted with more."""
        return self._name is not None

    async def start(self, entries: Iterable[Entry], room_bytes: int) -> None:
        """Start a new segment with everything that is open; durable on return, older ones removed.

        Raises:
            NoRoom: nothing was written; the segment before, if any, goes on.
            OSError: the segment before is given up too.
        """
        chunks = chunks_of(entries)
        size_bytes = sum(map(len, chunks))
        name, self._number = f"{self._number:08d}{SUFFIX}", self._number + 1
        allocated_bytes = await self._create(name, size_bytes + room_bytes)
        self._names.add(name)
        await self._trusted(self._write(name, chunks))
        self._name, self._allocated_bytes = name, allocated_bytes
        self.size_bytes = self.base_bytes = size_bytes
        await self._sweep()

    async def append(self, block: bytes) -> None:
        """Write at the end, unsynced: it outlives the process, not the machine's power."""
        await self._trusted(self._limited(self._io.append(self._current(), self.size_bytes, block)))
        self.size_bytes += len(block)

    async def append_durably(self, block: bytes, on_written: Callable[[], None]) -> None:
        """Write at the end, tell when that is done, and have it all durable on return."""
        written = self._io.append_durably(self._current(), self.size_bytes, block, on_written)
        await self._trusted(self._limited(written))
        self.size_bytes += len(block)

    async def reserve(self, room_bytes: int) -> None:
        """Make sure that so many bytes can still be appended; a refusal leaves all as it was."""
        needed_bytes = self.size_bytes + room_bytes
        if needed_bytes > self._allocated_bytes:
            needed_bytes = -(-needed_bytes // STEP_BYTES) * STEP_BYTES
            await self._limited(self._io.allocate(self._current(), needed_bytes))
            self._allocated_bytes = needed_bytes

    async def _trusted(self, write: Awaitable[None]) -> None:
        """Write; where that fails, or nobody waits for it any more, the current segment is given up."""
        try:
            await write
        except BaseException:
            self._name = None
            raise

    def _current(self) -> str:
        if self._name is None:
            raise OSError("no segment of the journal is open")
        return self._name

    async def _create(self, name: str, size_bytes: int) -> int:
        try:
            await self._limited(self._io.create(name))
            await self._limited(self._io.allocate(name, size_bytes))
        except OSError as exc:
            with contextlib.suppress(OSError):
                await self._limited(self._io.remove(name))
            raise NoRoom(*exc.args) from exc
        return size_bytes

    async def _write(self, name: str, chunks: list[bytes]) -> None:
        offset = 0
        for chunk in chunks:
            await self._limited(self._io.append(name, offset, chunk))
            offset += len(chunk)
        await self._limited(self._io.fdatasync(name))

    async def _sweep(self) -> None:
        """Remove what the current segment replaces; what cannot be removed is tried again later."""
        for name in sorted(self._names - {self._name}):
            with contextlib.suppress(OSError):
                if name in self._damaged:
                    await self._set_aside(name)
                else:
                    await self._limited(self._io.remove(name))
                self._names.discard(name)

    async def _set_aside(self, name: str) -> None:
        """Keep a damaged segment for a person, a few of them."""
        kept = name.removesuffix(SUFFIX) + DAMAGED_SUFFIX
        await self._limited(self._io.rename(name, kept))
        log.warning("journal.set_aside", segment=kept)
        names = sorted(n for n in await self._limited(self._io.names()) if n.endswith(DAMAGED_SUFFIX))
        for old in names[:-DAMAGED_KEPT]:
            await self._limited(self._io.remove(old))

    async def _limited(self, call: Awaitable[T]) -> T:
        async with asyncio.timeout(self._io_timeout_s):  # its TimeoutError is an OSError
            return await call


def chunks_of(entries: Iterable[Entry]) -> list[bytes]:
    """Return the start of a segment, in pieces of bounded size."""
    chunks, chunk, count = [], bytearray(MAGIC), 0
    for entry in entries:
        chunk += encode(EntryRecord(entry))
        count += 1
        if len(chunk) >= CHUNK_BYTES:
            chunks.append(bytes(chunk))
            chunk = bytearray()
    chunk += encode(BaseRecord(count))
    return [*chunks, bytes(chunk)]
