"""What the minder keeps of each child."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from worker.minder.ending import Ending
    from worker.minder.groups import Group
    from worker.minder.trees import ProcessStat

__all__ = ["NEVER_S", "Child", "adopted"]

NEVER_S = float("inf")


class Child:
    """One child that was started and is not reaped."""

    def __init__(self, id_: int, pid: int, group: Group | None, mark: str) -> None:
        self.id = id_
        self.mark = mark  # in the environment of its processes
        self.pid = pid
        self.pid_fd = os.pidfd_open(pid)
        self.group = group
        self.is_dead = False
        self.deadline_s = NEVER_S
        self.freeze_s = NEVER_S
        self.frozen: dict[tuple[int, int], ProcessStat] = {}  # those of its processes that were stopped
        self.is_frozen = False
        self.thaw_at_s = NEVER_S
        self.memory_bytes: int | None = None
        self.overrun_at_s = -NEVER_S
        self.relief_bytes = 0  # what it held then
        self.ending: Ending | None = None
        self.look_at_s = NEVER_S
        self.oom_kills = self.count_oom_kills()

    def due_s(self) -> float:
        """Return when something is to be done with it."""
        if self.ending is not None:
            return self.look_at_s
        return min(self.deadline_s, self.thaw_at_s, NEVER_S if self.is_frozen else self.freeze_s)

    @property
    def has_frozen(self) -> bool:
        """Tell whether something of it may stand still for us; perhaps nothing was there to stop."""
        return self.is_frozen or bool(self.frozen)

    def count_oom_kills(self) -> int | None:
        """Return how many processes of its group the kernel has killed for want of memory."""
        return None if self.group is None else self.group.oom_kills()

    def new_oom_kills(self) -> int | None:
        """Return how many of them it has killed since the child's start."""
        now = self.count_oom_kills()
        return None if now is None or self.oom_kills is None else now - self.oom_kills

    def counts(self) -> dict[str, Any]:
        """Return what its group counted, as `worker.minder.wire` has it; to be asked before it is removed."""
        return {
            "oom_kills": self.new_oom_kills(),
            "peak_bytes": self.group and self.group.peak_bytes(),
            "cpu_s": self.group and self.group.cpu_s(),
        }

    def kill_group(self) -> bool:
        """Kill its control group at once, where there is one that can."""
        return self.group is not None and self.group.kill()


def adopted(id_: int, pid: int, group: Group | None, mark: str) -> Child:
    """Return a child to keep; one that cannot be watched (no descriptor is free) is ended."""
    try:
        return Child(id_, pid, group, mark)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
