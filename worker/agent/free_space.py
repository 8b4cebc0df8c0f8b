"""Whether the disks that the agent fills have room: without it, nothing new is claimed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.agent.lookout import Lookout
from worker.config import AgentConfig
from worker.executor.quantities import size_text

__all__ = ["FreeSpace", "Room", "filled_folders", "lack", "look"]

LOOK_INTERVAL_S: Final = 2.0  # between two looks
LOOK_LIMIT_S: Final = 10.0  # of one look: a network disk that is away answers never
LATE_S: Final = 5.0  # the same beside the work: it is told within twice as much
MIN_FREE_FILES: Final = 1_000  # names: a folder, its output, files of a result and of the journal
RESUME_RATIO: Final = 1.1  # of the limit must be free before it counts as enough again
log = structlog.get_logger(__name__)


class StatVfs(Protocol):
    """What is used of `os.statvfs_result`; see statvfs(3)."""

    @property
    def f_frsize(self) -> int: ...
    @property
    def f_blocks(self) -> int: ...
    @property
    def f_bavail(self) -> int: ...
    @property
    def f_files(self) -> int: ...
    @property
    def f_favail(self) -> int: ...


class Room(Struct, frozen=True):
    """What is free below a folder, for who is not root."""

    folder: Path
    free_bytes: int
    total_bytes: int
    free_files: int | None  # names that can still be given; None where the file system has no bound


class FreeSpace:
    """The room on the disks, looked at again and again by `watch`."""

    def __init__(
        self,
        folders: Sequence[Path],
        min_free_bytes: int,
        statvfs: Callable[[Path], StatVfs] = os.statvfs,
    ) -> None:
        """Remember what to look at; 0 bytes: nothing. `statvfs` may block."""
        self._folders = tuple(dict.fromkeys(folders)) if min_free_bytes else ()
        self._min_free_bytes = min_free_bytes
        self._statvfs = statvfs
        self._listeners: list[Callable[[], None]] = []
        self._looking: dict[Path, asyncio.Task[Room]] = {}
        self._untold: dict[Path, str] = {}  # errors that stand in the log
        self._lack: dict[Path, str] = {}

    @property
    def is_short(self) -> bool:
        """Tell whether nothing may be claimed."""
        return bool(self._lack)

    @property
    def lacks(self) -> Mapping[Path, str]:
        """What is missing, by the folder: a live, read-only view."""
        return MappingProxyType(self._lack)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when there is room again."""
        self._listeners.append(listener)

    async def watch(self) -> None:
        """Look until cancelled."""
        if not self._folders:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as group:
            for folder in self._folders:
                group.create_task(self._lookout(folder).run())

    def _lookout(self, folder: Path) -> Lookout[Room | Exception]:
        return Lookout(
            lambda: self._seen(folder),
            is_news=lambda seen: self._is_news(folder, seen),
            take=lambda seen: self._hear(folder, seen),
            on_problem=lambda exc: self._tell_error(folder, exc),
            every_s=LOOK_INTERVAL_S,
            late_s=LATE_S,
        )

    def _seen(self, folder: Path) -> Room | Exception:
        try:
            return look(folder, self._statvfs)
        except Exception as exc:  # noqa: BLE001 - it is told, and looked at again
            return exc

    def _is_news(self, folder: Path, seen: Room | Exception) -> bool:
        """Tell whether it changes anything: room where there was room before does not."""
        if isinstance(seen, Exception):
            return self._untold.get(folder) != str(seen)
        is_quiet = folder not in self._lack and folder not in self._untold
        return not is_quiet or lack(seen, self._min_free_bytes) is not None

    def _hear(self, folder: Path, seen: Room | Exception) -> None:
        if isinstance(seen, Exception):
            self._tell_error(folder, seen)
        else:
            self._take(folder, seen)

    async def look(self) -> None:
        """Look once. What cannot be looked at keeps its last answer, and stops nothing by itself."""
        for folder in self._folders:
            try:
                room = await self._room(folder)
            except (OSError, TimeoutError) as exc:
                self._tell_error(folder, exc)
                continue
            self._take(folder, room)

    async def _room(self, folder: Path) -> Room:
        """Look in a thread of which there is one at most, however long it takes."""
        looking = self._looking.get(folder)
        if looking is None:
            looking = asyncio.create_task(asyncio.to_thread(look, folder, self._statvfs))
            self._looking[folder] = looking
        done, _ = await asyncio.wait({looking}, timeout=LOOK_LIMIT_S)
        if not done:
            raise TimeoutError(f"no answer within {LOOK_LIMIT_S:g} s")
        self._looking.pop(folder, None)
        return looking.result()

    def _take(self, folder: Path, room: Room) -> None:
        self._untold.pop(folder, None)
        was_short = folder in self._lack
        ratio = RESUME_RATIO if was_short else 1.0
        text = lack(room, self._min_free_bytes, ratio)
        if text is not None:
            self._lack[folder] = text
            if not was_short:
                hint = "nothing is claimed until there is room: make some, or lower MILLHAND_MIN_FREE"
                log.error("disk.short", folder=str(folder), lack=text, hint=hint)
        elif was_short:
            del self._lack[folder]
            log.info("disk.has_room", folder=str(folder), free_bytes=room.free_bytes)
            for listener in self._listeners if not self._lack else ():
                listener()

    def _tell_error(self, folder: Path, error: Exception) -> None:
        text = str(error)
        if self._untold.get(folder) != text:
            self._untold[folder] = text
            hint = "work goes on as if nothing had changed"
            log.warning("disk.unknown", folder=str(folder), error=text, hint=hint)


def look(folder: Path, statvfs: Callable[[Path], StatVfs] = os.statvfs) -> Room:
    """Return the room below a folder; of one that is not made yet, where it will be.

    Raises:
        OSError: it cannot be told.
    """
    try:
        found = statvfs(folder)
    except FileNotFoundError:
        above = folder.absolute().parent
        if above == folder:
            raise
        return replace(look(above, statvfs), folder=folder)
    return Room(
        folder,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_files=found.f_favail if found.f_files else None,
    )


def lack(room: Room, min_free_bytes: int, ratio: float = 1.0) -> str | None:
    """Return what is missing; None where there is room. On a small disk half of it is enough."""
    wanted_bytes = min_free_bytes if min_free_bytes <= room.total_bytes else room.total_bytes // 2
    if room.free_bytes < wanted_bytes * ratio:
        return f"{size_text(room.free_bytes)} are free, at least {size_text(wanted_bytes)} are wanted"
    if room.free_files is not None and room.free_files < MIN_FREE_FILES * ratio:
        return f"room for {room.free_files} more files, at least {MIN_FREE_FILES} are wanted"
    return None


def filled_folders(config: AgentConfig) -> list[Path]:
    """Return the folders that the agent fills: its state's, and the store's where that is a folder here."""
    place = config.artifacts or ""
    scheme = urlsplit(place).scheme.lower() if "://" in place else ""
    if scheme == "file":
        place = unquote(urlsplit(place).path)
    is_here = bool(place) and scheme in ("", "file")
    return [config.state_dir, *([Path(place)] if is_here else [])]
