"""Where the journal's bytes go: a folder on disk, or whatever a simulator brings."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from worker.one_thread import OneThread

__all__ = ["DiskIO", "JournalIO"]

UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class JournalIO(Protocol):
    """Files of one folder, by name. Every method raises OSError where the disk refuses.

    Calls are made one at a time. A call that was cancelled may still happen later; the journal
    never touches that file again then.
    """

    async def names(self) -> list[str]:
        """Return the names of all files, in any order."""
        ...

    async def read(self, name: str) -> bytes:
        """Return a whole file."""
        ...

    async def create(self, name: str) -> None:
        """Create an empty file for writing; its name is durable on return. It must not exist."""
        ...

    async def append(self, name: str, offset: int, block: bytes) -> None:
        """Write all of a block at an offset: the end of what was written so far."""
        ...

    async def append_durably(
        self, name: str, offset: int, block: bytes, on_written: Callable[[], None]
    ) -> None:
        """Append, call `on_written` on the event loop, and return once all is on stable storage."""
        ...

    async def allocate(self, name: str, size_bytes: int) -> None:
        """Make sure that the file can grow to a size; the new bytes read as zeroes."""
        ...

    async def fdatasync(self, name: str) -> None:
        """Return once everything written to the file is on stable storage."""
        ...

    async def rename(self, name: str, new_name: str) -> None:
        """Give a file another name, replacing a file of that name."""
        ...

    async def remove(self, name: str) -> None:
        """Close and remove a file."""
        ...

    async def aclose(self) -> None:
        """Close everything."""
        ...


class DiskIO:
    """The files of a folder, worked on one dedicated thread, so that the event loop never waits."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; nothing is touched before the first call."""
        self._folder = folder
        self._files: dict[str, int] = {}
        self._thread = OneThread("journal")

    async def names(self) -> list[str]:
        """Return the names of all files; creates the folder, for its owner only."""
        return await self._thread.call(self._names)

    async def read(self, name: str) -> bytes:
        """Return a whole file."""
        return await self._thread.call((self._folder / name).read_bytes)

    async def create(self, name: str) -> None:
        """Create an empty file for writing, and sync the folder."""
        await self._thread.call(lambda: self._create(name))

    async def append(self, name: str, offset: int, block: bytes) -> None:
        """Write all of a block at an offset."""
        await self._thread.call(lambda: write_all(self._files[name], offset, block))

    async def append_durably(
        self, name: str, offset: int, block: bytes, on_written: Callable[[], None]
    ) -> None:
        """Append and sync by one call of the thread: to wake it costs more than to write."""
        loop = asyncio.get_running_loop()

        def write() -> None:
            file = self._files[name]
            write_all(file, offset, block)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(on_written)
            os.fdatasync(file)

        await self._thread.call(write)

    async def allocate(self, name: str, size_bytes: int) -> None:
        """Reserve blocks up to a size; a file system that cannot reserve is taken as it is."""
        await self._thread.call(lambda: allocate(self._files[name], size_bytes))

    async def fdatasync(self, name: str) -> None:
        """Sync a file's contents and size."""
        await self._thread.call(lambda: os.fdatasync(self._files[name]))

    async def rename(self, name: str, new_name: str) -> None:
        """Give a file another name."""
        await self._thread.call(lambda: (self._folder / name).replace(self._folder / new_name))

    async def remove(self, name: str) -> None:
        """Close and remove a file; one that is gone already is fine."""
        await self._thread.call(lambda: self._remove(name))

    async def aclose(self) -> None:
        """Close all files and end the thread."""
        if self._thread.is_begun:
            await self._thread.call(self._close_files)
            self._thread.close()

    def _names(self) -> list[str]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sorted(path.name for path in self._folder.iterdir() if path.is_file())

    def _create(self, name: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._files[name] = os.open(self._folder / name, flags, 0o600)
        sync_folder(self._folder)

    def _remove(self, name: str) -> None:
        if (file := self._files.pop(name, None)) is not None:
            os.close(file)
        (self._folder / name).unlink(missing_ok=True)

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


def write_all(file: int, offset: int, block: bytes) -> None:
    """Write a block at an offset, however many calls it takes."""
    rest = memoryview(block)
    while rest:
        written = os.pwrite(file, rest, offset)
        offset, rest = offset + written, rest[written:]


def allocate(file: int, size_bytes: int) -> None:
    """Reserve blocks; where the file system has no such thing, nothing is promised."""
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as exc:
        if exc.errno not in UNSUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (fsync(2): syncing a file does not sync its entry)."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
