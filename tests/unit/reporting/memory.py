"""A disk in memory that knows what is synced, counts calls, and fails on demand."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable

__all__ = ["MemoryDisk", "MemoryIO", "no_space"]


class MemoryDisk:
    """What outlives an agent: contents as written, and as synced."""

    def __init__(self) -> None:
        """Start empty."""
        self.written: dict[str, bytearray] = {}
        self.synced: dict[str, bytes] = {}

    def lose_power(self) -> None:
        """Forget all that was not synced."""
        self.written = {name: bytearray(content) for name, content in self.synced.items()}

    @property
    def size_bytes(self) -> int:
        """Return what all files together take."""
        return sum(map(len, self.written.values()))

    def last(self) -> bytearray:
        """Return the newest segment."""
        return self.written[max(name for name in self.written if name.endswith(".seg"))]


class MemoryIO:
    """The journal's I/O on such a disk.

    `fail` is asked before each call, with the call and the name; the error that it returns is
    raised. `gate`, when set to an event, holds every sync until the event is set.
    """

    def __init__(self, disk: MemoryDisk | None = None) -> None:
        """Use a disk, or a new one."""
        self.disk = disk or MemoryDisk()
        self.calls: Counter[str] = Counter()
        self.fail: Callable[[str, str], OSError | None] = lambda call, name: None
        self.gate: asyncio.Event | None = None
        self.close_gate: asyncio.Event | None = None
        self.syncing = asyncio.Event()
        self.is_closed = False

    async def names(self) -> list[str]:
        """Return all names."""
        self._count("names", "")
        return list(self.disk.written)

    async def read(self, name: str) -> bytes:
        """Return a file."""
        self._count("read", name)
        return bytes(self.disk.written[name])

    async def create(self, name: str) -> None:
        """Create a file; its name is durable."""
        self._count("create", name)
        assert name not in self.disk.written
        self.disk.written[name] = bytearray()
        self.disk.synced[name] = b""

    async def append(self, name: str, offset: int, block: bytes) -> None:
        """Write a block."""
        self._count("append", name)
        content = self.disk.written[name]
        if len(content) < offset + len(block):
            content.extend(bytes(offset + len(block) - len(content)))
        content[offset : offset + len(block)] = block

    async def append_durably(
        self, name: str, offset: int, block: bytes, on_written: Callable[[], None]
    ) -> None:
        """Write a block, and make the file durable."""
        await self.append(name, offset, block)
        on_written()
        await self.fdatasync(name)

    async def allocate(self, name: str, size_bytes: int) -> None:
        """Grow a file with zeroes."""
        self._count("allocate", name)
        content = self.disk.written[name]
        content.extend(bytes(max(0, size_bytes - len(content))))

    async def fdatasync(self, name: str) -> None:
        """Make a file durable as it was when the call began."""
        content = bytes(self.disk.written[name])
        self.syncing.set()
        if self.gate is not None:
            await self.gate.wait()
        self._count("fdatasync", name)
        self.disk.synced[name] = content

    async def rename(self, name: str, new_name: str) -> None:
        """Rename a file."""
        self._count("rename", name)
        self.disk.written[new_name] = self.disk.written.pop(name)
        self.disk.synced[new_name] = self.disk.synced.pop(name)

    async def remove(self, name: str) -> None:
        """Remove a file."""
        self._count("remove", name)
        self.disk.written.pop(name, None)
        self.disk.synced.pop(name, None)

    async def aclose(self) -> None:
        """Note that it was called, once the gate, if there is one, is open."""
        if self.close_gate is not None:
            await self.close_gate.wait()
        self.is_closed = True

    def _count(self, call: str, name: str) -> None:
        self.calls[call] += 1
        if (error := self.fail(call, name)) is not None:
            raise error


def no_space() -> OSError:
    """Return ENOSPC."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
