"""What the files of a folder take on the disk, while its owner goes on to change it.

Blocks are counted, not lengths: holes take nothing. A file with several names counts once. Links are
not followed, other file systems not entered. Files that are open and have no name any more are not seen.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from msgspec import Struct

from worker.executor.removal import FOLDER, is_folder

__all__ = ["FolderSize", "Measurement"]

BLOCK_BYTES: Final = 512  # of st_blocks, whatever the file system's are (stat(2))
PENDING_MAX: Final = 200_000  # folders that are known and not looked into yet; more are not remembered
LINKED_MAX: Final = 200_000  # files with several names that are remembered; more count once per name


class FolderSize(Struct, frozen=True):
    """What was counted."""

    size_bytes: int
    files: int  # folders among them
    is_whole: bool  # False: something was moved or could not be read meanwhile, so that it is at least this


class Level(Struct):
    """A folder on the way down: what it is, and which of its folders are still to come."""

    identity: tuple[int, int]
    pending: list[str]


class Measurement:
    """The measurement of one folder. `step` until it returns a size; use it in one thread at a time."""

    def __init__(self, folder: Path, enough_bytes: int | None = None) -> None:
        """Remember the folder; nothing is opened. With more than enough seen, it does not look further."""
        self.spent_s = 0.0  # CPU time so far
        self._folder = folder
        self._enough_bytes = enough_bytes
        self._size_bytes = 0
        self._files = 0
        self._is_whole = True
        self._pending = 0
        self._linked: set[int] = set()
        self._device = 0
        self._open: int | None = None
        self._work = self._measure()

    def step(self, limit_s: float) -> FolderSize | None:
        """Go on for about so long; return the size once it is known. A folder that is gone has none."""
        begun_mono, begun_cpu = time.monotonic(), time.thread_time()
        for _ in self._work:
            if self._enough_bytes is not None and self._size_bytes > self._enough_bytes:
                self._is_whole = False
                self.close()
                break
            if time.monotonic() - begun_mono >= limit_s:
                self.spent_s += time.thread_time() - begun_cpu
                return None
        self.spent_s += time.thread_time() - begun_cpu
        return FolderSize(self._size_bytes, self._files, self._is_whole)

    def close(self) -> None:
        """Close what is open. Twice does no harm."""
        self._work.close()

    def _measure(self) -> Generator[None, None, None]:
        try:
            self._open = os.open(self._folder, os.O_RDONLY | FOLDER)
            found = os.fstat(self._open)
            self._device = found.st_dev
            self._count(found)
            yield from self._walk()
        except OSError:
            self._is_whole = False
        finally:
            if self._open is not None:
                os.close(self._open)

    def _walk(self) -> Generator[None, None, None]:
        """Go down and up by one open folder at a time: any depth, no path that is too long."""
        levels = [Level(self._identity(), [])]
        yield from self._scan(levels[-1])
        while levels:
            if not levels[-1].pending:
                levels.pop()
                if levels and not self._is_entered("..", levels[-1].identity):
                    levels = self._begin_again(levels)  # moved meanwhile: its branch is lost to us
                continue
            self._pending -= 1
            if self._is_entered(levels[-1].pending.pop()):
                levels.append(Level(self._identity(), []))
                yield from self._scan(levels[-1])

    def _begin_again(self, levels: list[Level]) -> list[Level]:
        """Go on in the topmost folder; return what is left to see."""
        self._is_whole = False
        top = os.open(self._folder, os.O_RDONLY | FOLDER)
        os.close(self._open or 0)
        self._open = top
        self._pending = len(levels[0].pending)
        return levels[:1] if self._identity() == levels[0].identity else []

    def _identity(self) -> tuple[int, int]:
        found = os.fstat(self._open or 0)
        return found.st_dev, found.st_ino

    def _is_entered(self, name: str, identity: tuple[int, int] | None = None) -> bool:
        """Open a folder in place of the open one, if it is there still, and the one that was meant."""
        try:
            opened = os.open(name, os.O_RDONLY | FOLDER, dir_fd=self._open)
        except OSError:
            self._is_whole = False
            return False
        found = os.fstat(opened)
        is_meant = found.st_dev == self._device and identity in (None, (found.st_dev, found.st_ino))
        os.close((self._open if is_meant else opened) or 0)
        self._open = opened if is_meant else self._open
        return is_meant

    def _scan(self, level: Level) -> Generator[None, None, None]:
        """Count what is in the open folder."""
        with os.scandir(self._open) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone meanwhile
                if found.st_dev != self._device:
                    continue
                self._count(found)
                if is_folder(entry):
                    self._remember(level, entry.name)
                yield

    def _remember(self, level: Level, name: str) -> None:
        if self._pending >= PENDING_MAX:
            self._is_whole = False
            return
        self._pending += 1
        level.pending.append(name)

    def _count(self, found: os.stat_result) -> None:
        is_linked = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
        if is_linked:
            if found.st_ino in self._linked:
                return
            if len(self._linked) < LINKED_MAX:
                self._linked.add(found.st_ino)
        self._files += 1
        self._size_bytes += found.st_blocks * BLOCK_BYTES
