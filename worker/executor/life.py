"""One child's life, as the minder tells it: its start, its limits, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from worker.executor.evidence import Exit, Overrun
from worker.minder.cpu_group import CpuGroup
from worker.minder.memory_group import MemoryGroup
from worker.usage.run_group import RunGroup

__all__ = ["Life"]

SLOW_S: Final = 10.0  # an end that takes longer is told; it is waited for all the same

log = structlog.get_logger(__name__)


class Life:
    """One child's life, as the minder tells it."""

    def __init__(self, id_: int, minder_pid: int, order: Callable[[dict[str, Any]], None]) -> None:
        """Start before the child does; `order` gives orders to the minder."""
        self.pid = 0
        self.is_dead = False  # it ended by itself, or with the minder
        self.is_frozen = False
        self.overrun: Overrun | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.id = id_
        self.group = RunGroup()
        self.minder_pid = minder_pid  # the child's parent
        self._order = order
        self._end_ordered: float | None = None  # when, by the loop's clock
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[Exit] = loop.create_future()

    def oom_kills(self) -> int | None:
        """Return how many processes of its group the kernel has killed since its start; None: not known."""
        return None if self.group.memory is None else self.group.memory.oom_kills()

    def signal(self, number: int) -> None:
        """Send a signal to the child alone."""
        self._order({"do": "signal", "id": self.id, "number": int(number)})

    def guard(
        self, deadline_s: float | None, memory_bytes: int | None, freeze_s: float | None = None
    ) -> None:
        """Have limits held, whatever the agent does; times are of CLOCK_BOOTTIME.

        Args:
            deadline_s: when the tree is killed.
            memory_bytes: above which size.
            freeze_s: from when on it stands still, until a later time is given.
        """
        self._order({
            "do": "guard",
            "id": self.id,
            "deadline_s": deadline_s,
            "memory_bytes": memory_bytes,
            "freeze_s": freeze_s,
        })  # fmt: skip

    @property
    def does_not_end(self) -> bool:
        """Tell whether its tree was to be killed long ago, and something of it is still there."""
        ordered = self._end_ordered
        if ordered is None or self.ended.done():
            return False
        return asyncio.get_running_loop().time() - ordered >= SLOW_S

    async def end(self) -> Exit:
        """Have the tree killed and the child reaped; returns when nothing of it is left."""
        if not self.ended.done():
            self._order({"do": "end", "id": self.id})
        if self._end_ordered is None:
            self._end_ordered = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(SLOW_S):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            hint = "a process that a driver or a dead file server holds ends only when they let it go"
            log.warning("tree.does_not_end", pid=self.pid, after_s=SLOW_S, hint=hint)
        return await asyncio.shield(self.ended)

    def hear(self, told: dict[str, Any]) -> None:
        """Take what the minder tells of this child."""
        match told["told"]:
            case "spawned":
                self.pid = told["pid"]
                self.group = RunGroup(
                    cpu=CpuGroup(*told["cpu"]) if told["cpu"] else None,
                    memory=MemoryGroup(*told["memory"]) if told["memory"] else None,
                )
                settle(self.started, self.pid)
            case "refused":
                settle(self.started, OSError(told["error"]))
            case "died":
                self.is_dead = True
            case "frozen" | "thawed":
                self.is_frozen = told["told"] == "frozen"
            case "overrun":
                self.overrun = Overrun.read(told)
            case "ended":
                self.is_dead = True
                self.group.close()
                settle(self.ended, Exit.told(told))
        self.on_change()

    def lose_minder(self) -> None:
        """Take that the minder is gone, and with it the child."""
        self.is_dead = True
        self.group.close()
        settle(self.started, OSError("the minder ended"))
        settle(self.ended, Exit(code=None, signal=None, is_minder_lost=True))
        self.on_change()


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Give a future its result or error, unless it has one."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # perhaps nobody waits
    else:
        future.set_result(result)
