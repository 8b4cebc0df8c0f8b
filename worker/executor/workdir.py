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
from worker.executor.spare_folders import Made, SpareFolders
from worker.executor.workdir_watch import Looks, WorkdirWatch
from worker.one_thread import OneThread
from worker.storage.file import safe_part

__all__ = ["RESISTING", "Workdirs"]

RESISTING: Final = ".resisting"  # below the root: folders that cannot be removed
REPLACED: Final = ".replaced"  # and those that stood where another run's was to be made
SPARE_S: Final = 0.5  # how long a folder waits for another run, and for others that go with it
SPARE_MOST: Final = 256
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
        self._made: dict[str, Made] = {}  # those of runs that go on
        self._spares = SpareFolders()
        self._going: set[str] = set()  # the thread is at them
        self._gathering: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.clearing = Clearing(self._root / RESISTING)

    def keep_failed(self, kept: KeptWorkdirs) -> None:
        """Keep the folders of failed runs from now on."""
        self._kept = kept

    def make(self, run_id: str) -> str:
        """Make the run's folder; what stands in its place from an earlier life is moved away.

        Raises:
            OSError: it cannot be made.
        """
        workdir = f"{self._root}{os.sep}{safe_part(run_id)}"
        while workdir in self._going or workdir in self._spares:  # what comes there now would go with it
            workdir += "_"
        if not self._spares.become(workdir):
            self._make(workdir)
        self._made[workdir] = Made.seen(workdir)
        return workdir

    def _make(self, workdir: str) -> None:
        try:
            os.mkdir(workdir, mode=0o700)  # noqa: PTH102 - before many runs
        except FileNotFoundError:
            self._root.mkdir(parents=True, exist_ok=True)
            os.mkdir(workdir, mode=0o700)  # noqa: PTH102
        except FileExistsError:
            moved_into(self._root / REPLACED, Path(workdir))  # the next start removes it
            os.mkdir(workdir, mode=0o700)  # noqa: PTH102
        if self._task_user is not None:
            self._task_user.own(Path(workdir))

    def watch(self, workdir: str) -> WorkdirWatch | None:
        """Return what sees to the limit of a run's folder; None where there is none."""
        if self._limit_bytes is None:
            return None
        return WorkdirWatch(Path(workdir), self._limit_bytes, looks=self._looks)

    async def leave(
        self, workdir: str, assignment: Assignment, error: RunError | None, *, is_clean: bool = False
    ) -> None:
        """Be done with a run's folder: it is removed, now or soon, or kept; also where this is cancelled.

        After a run that left nothing behind (`is_clean`) one that is as it was made, as most are, is another
        run's next. All others go in a thread: on a disk that others sync, the file system lets that wait for
        milliseconds.
        """
        made = self._made.pop(workdir, None)
        if is_clean and made is not None and not self._is_kept(error) and self._is_spare(workdir, made):
            return
        try:
            if await self._thread.call(lambda: is_removed(workdir)):
                return
        except asyncio.CancelledError:
            await to_the_end(self._leave(Path(workdir), assignment, error))
            raise
        await to_the_end(self._leave(Path(workdir), assignment, error))

    def _is_spare(self, workdir: str, made: Made) -> bool:
        """Keep a folder for another run, if nobody changed it and there is room; tell whether it is."""
        if len(self._spares) + len(self._going) >= SPARE_MOST:
            return False
        loop = asyncio.get_running_loop()
        if not self._spares.put(workdir, made, loop.time()):
            return False
        if self._gathering is None and self._sweeping is None:
            self._gather(loop)
        return True

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

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remove in a moment what no run has got until then."""
        self._gathering = loop.call_later(SPARE_S, self._begin_sweep, SPARE_S)

    def _begin_sweep(self, spare_s: float) -> None:
        """Remove what is a spare one for so long."""
        self._gathering = None
        loop = asyncio.get_running_loop()
        self._going.update(self._spares.pop(loop.time() - spare_s))
        if self._going:
            self._sweeping = asyncio.create_task(self._sweep(), name="sweep-workdirs")
        elif self._spares:
            self._gather(loop)

    async def sweep(self) -> None:
        """Remove the folders that no run uses, within the time of `aclose`."""
        for _ in range(2):  # those that are on their way, and those that came meanwhile
            if self._gathering is not None:
                self._gathering.cancel()
                self._begin_sweep(0.0)
            if self._sweeping is not None:
                await asyncio.wait({self._sweeping}, timeout=self._close_s)

    async def _sweep(self) -> None:
        """Remove the folders that are going; what is not empty after all goes its own way."""
        going = list(self._going)
        try:
            left = await self._thread.call(lambda: [one for one in going if not is_removed(one)])
            for workdir in left:
                await self.clearing.clear(Path(workdir), patience_s=0.0)
        finally:
            self._going.clear()
            self._sweeping = None
        if self._spares:
            self._gather(asyncio.get_running_loop())

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
