"""The removal of folders beside further work: in a thread, a stretch at a time; what resists is put aside."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Final

import structlog

from worker.executor.removal import Removal, move_folder

__all__ = ["Clearing"]

STEP_S: Final = 0.1  # one stretch in the thread, so that others get theirs
STEPS_AT_ONCE: Final = 2  # of the threads that everything blocking shares
PATIENCE_S: Final = 2.0  # who brings a folder waits so long; most are gone by then
PENDING_MAX: Final = 64  # folders in removal, each with open files; who brings more waits
log = structlog.get_logger(__name__)


class Clearing:
    """Folders on their way out. `aclose` must be awaited at last."""

    def __init__(self, aside: Path) -> None:
        """`aside` is the folder for what resists, on the same file system; made when it is needed."""
        self._aside = aside
        self._turns = asyncio.Semaphore(STEPS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def __len__(self) -> int:
        """How many folders are not gone yet."""
        return len(self._tasks)

    async def clear(self, folder: Path, patience_s: float = PATIENCE_S) -> None:
        """Remove a folder; returns when it is gone or put aside, or goes on beside after some patience."""
        task = asyncio.create_task(self._clear(folder), name=f"clear-{folder.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=patience_s)
        while len(self._tasks) > PENDING_MAX:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def retry(self) -> None:
        """Begin to remove what was put aside earlier."""
        for folder in await asyncio.to_thread(entries, self._aside):
            await self.clear(folder, patience_s=0.0)

    async def aclose(self, limit_s: float) -> None:
        """Let removals end within a limit; the rest stays for the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)
        self._is_closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STEP_S * 20)
            log.info("workdir.left", folders=len(self._tasks), hint="they are removed at the next start")

    async def _clear(self, folder: Path) -> None:
        removal = Removal(folder)
        try:
            while not await self._is_over(removal):
                if self._is_closing:
                    return
        except Exception as exc:  # a fault of ours: the folder stays, and says so
            log.exception("workdir.removal_failed", folder=str(folder))
            removal.reason = f"{type(exc).__name__}: {exc}"
        finally:
            removal.close()
        if removal.reason is not None:
            await asyncio.to_thread(self._put_aside, folder, removal.reason)

    async def _is_over(self, removal: Removal) -> bool:
        async with self._turns:
            return await asyncio.to_thread(removal.step, STEP_S)

    def _put_aside(self, folder: Path, reason: str) -> None:
        """Move what resists out of the way, and tell of it."""
        place = folder
        if folder.parent != self._aside:
            try:
                place = moved_into(self._aside, folder)
            except FileNotFoundError:
                return
            except OSError as exc:
                reason = f"{reason}; it cannot be moved either: {exc.strerror}"
        hint = "remove it by hand, or let the next start try again"
        log.warning("workdir.resists", folder=str(place), reason=reason, hint=hint)


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, hidden ones too; nothing of one that is not there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def moved_into(target: Path, folder: Path) -> Path:
    """Move a folder into another one under a free name; return where it is.

    Raises:
        OSError: it cannot be moved.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(1, 1000):
        place = target / (folder.name if number == 1 else f"{folder.name}.{number}")
        try:
            move_folder(folder, place)
        except FileExistsError:
            continue
        return place
    raise OSError(errno.EEXIST, f"{target} has too many of that name")
