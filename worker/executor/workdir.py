"""The folders of runs: each made empty before its run, removed or kept after it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from worker.api.wire import ErrorKind
from worker.executor.assignment import Assignment
from worker.executor.clearing import Clearing, entries, moved_into
from worker.executor.confinement import TaskUser
from worker.executor.kept import KeptWorkdirs
from worker.executor.outcome import RunError
from worker.executor.shield import to_the_end
from worker.executor.workdir_watch import Looks, WorkdirWatch
from worker.one_thread import OneThread
from worker.storage.file import safe_part

__all__ = ["RESISTING", "Workdirs"]

RESISTING: Final = ".resisting"  # below the root: folders that cannot be removed
REPLACED: Final = ".replaced"  # and those that stood where another run's was to be made
TOGETHER_S: Final = (
    0.05  # empty folders wait so long for each other: a turn of the thread costs more than they
)
TOGETHER_MAX: Final = 256
CLOSE_S: Final = 5.0  # for removals that are under way when the agent ends
NO_FAULTS: Final = frozenset(
    {ErrorKind.CANCELLED, ErrorKind.DRAINED, ErrorKind.PREEMPTED, ErrorKind.LOST_CLAIM}
)
log = structlog.get_logger(__name__)


class Workdirs:
    """The folders below one root. `aclose` must be awaited at last."""

    def __init__(
        self,
        root: Path,
        *,
        task_user: TaskUser | None = None,
        limit_bytes: int | None = None,
        close_s: float = CLOSE_S,
    ) -> None:
        """Take the root; nothing is touched before the first call.

        Args:
            root: the folder of the runs' folders.
            task_user: whom they are given to, where children run as another user.
            limit_bytes: what a run's folder may hold.
            close_s: how long `aclose` waits for removals.
        """
        self._root = root.absolute()
        self._task_user = task_user
        self._limit_bytes = limit_bytes
        self._close_s = close_s
        self._kept: KeptWorkdirs | None = None
        self._looks = Looks()
        self._thread = OneThread("workdirs")
        self._going: set[str] = set()  # empty ones; the thread may be at it
        self._gathering: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.clearing = Clearing(self._root / RESISTING)

    def keep_failed(self, kept: KeptWorkdirs) -> None:
        """Keep the folders of failed runs from now on."""
        self._kept = kept

    def make(self, run_id: str) -> Path:
        """Make the run's folder; what stands in its place from an earlier life is moved away.

        Raises:
            OSError: it cannot be made.
        """
        workdir = self._root / safe_part(run_id)
        while str(workdir) in self._going:  # what comes there now would go with it
            workdir = workdir.with_name(f"{workdir.name}_")
        try:
            os.mkdir(workdir, mode=0o700)  # noqa: PTH102 - before every run
        except FileNotFoundError:
            self._root.mkdir(parents=True, exist_ok=True)
            workdir.mkdir(mode=0o700)
        except FileExistsError:
            moved_into(self._root / REPLACED, workdir)  # the next start removes it
            workdir.mkdir(mode=0o700)
        if self._task_user is not None:
            self._task_user.own(workdir)
        return workdir

    def watch(self, workdir: Path) -> WorkdirWatch | None:
        """Return what sees to the limit of a run's folder; None where there is none."""
        return (
            None if self._limit_bytes is None else WorkdirWatch(workdir, self._limit_bytes, looks=self._looks)
        )

    async def leave(
        self, workdir: Path, assignment: Assignment, error: RunError | None, *, is_empty: bool = False
    ) -> None:
        """Be done with a run's folder: it is removed, now or soon, or kept; also where this is cancelled.

        Where it is said to be empty (`is_empty`), as most are, it goes a moment later, together with others;
        where that turns out to be wrong, beside further work. In a thread: on a disk that others sync, the
        file system lets that wait for milliseconds.
        """
        if is_empty and not self._is_kept(error) and len(self._going) < TOGETHER_MAX:
            self._going.add(str(workdir))
            if self._gathering is None and self._sweeping is None:
                self._gather()
            return
        try:
            if await self._thread.call(lambda: is_removed(str(workdir))):
                return
        except asyncio.CancelledError:
            await to_the_end(self._leave(workdir, assignment, error))
            raise
        await to_the_end(self._leave(workdir, assignment, error))

    async def _leave(self, workdir: Path, assignment: Assignment, error: RunError | None) -> None:
        place = None
        if self._kept is not None and error is not None and self._is_kept(error):
            place = await self._kept.keep(workdir, assignment, error)
        if place is None:
            await self.clearing.clear(workdir)
        else:
            log.info("workdir.kept", run_id=assignment.run_id, folder=str(place))

    def _is_kept(self, error: RunError | None) -> bool:
        """Tell whether the folder of a run that ended so is for people to look at."""
        return self._kept is not None and error is not None and error.kind not in NO_FAULTS

    def _gather(self) -> None:
        """Remove what is gathered in a moment."""
        self._gathering = asyncio.get_running_loop().call_later(TOGETHER_S, self._begin_sweep)

    def _begin_sweep(self) -> None:
        self._gathering = None
        self._sweeping = asyncio.create_task(self._sweep(), name="sweep-workdirs")

    async def sweep(self) -> None:
        """Remove the empty folders that were left so far, within the time of `aclose`."""
        for _ in range(2):  # those that are on their way, and those that came meanwhile
            if self._gathering is not None:
                self._gathering.cancel()
                self._begin_sweep()
            if self._sweeping is not None:
                await asyncio.wait({self._sweeping}, timeout=self._close_s)

    async def _sweep(self) -> None:
        """Remove the empty folders; what is not empty after all goes its own way."""
        going = list(self._going)
        try:
            left = await self._thread.call(lambda: [one for one in going if not is_removed(one)])
            for workdir in left:
                await self.clearing.clear(Path(workdir), patience_s=0.0)
        finally:
            self._going.difference_update(going)
            self._sweeping = None
        if self._going:
            self._gather()

    async def recover(self) -> None:
        """Begin to remove what an earlier life left; nothing of it runs any more."""
        await self.clearing.retry()
        for folder in await asyncio.to_thread(left_over, self._root):
            await self.clearing.clear(folder, patience_s=0.0)

    async def aclose(self) -> None:
        """Let removals end, for a moment."""
        await self.sweep()
        self._thread.close()
        await self.clearing.aclose(self._close_s)


def left_over(root: Path) -> list[Path]:
    """Return what lies below the root, but for what resists."""
    return [
        inner
        for path in entries(root)
        if path.name != RESISTING
        for inner in (entries(path) if path.name == REPLACED else [path])
    ]


def is_removed(workdir: str) -> bool:
    """Remove the folder if it is empty; tell whether it is gone."""
    try:
        os.rmdir(workdir)  # noqa: PTH106 - after every run
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
