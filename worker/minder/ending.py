"""Ending a tree: stop what is seen until nothing new comes, kill it, look again; step by step.

The minder serves many children, so nothing here waits: each step does what can be done now and says how
soon to look again. A process in an uninterruptible call (a driver, a dead file server) dies when the
call ends; the end is not told before, because only then nothing runs twice.
"""

from __future__ import annotations

import contextlib
import os
import signal

from worker.minder.kin import owners
from worker.minder.trees import ProcessStat, every_process, read_stat, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Ending", "living_tree"]

FREEZE_ROUNDS = 50  # a bomb within a limit of processes stands still long before
FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.1


class Ending:
    """The end of one child's tree."""

    def __init__(self, pid: int, kill_group: Callable[[], bool]) -> None:
        """Take the child, not yet reaped, and what kills its control group at once where that can be."""
        self._pid = pid
        self._kill_group = kill_group
        self._frozen: dict[tuple[int, int], ProcessStat] = {}
        self._rounds = 0
        self._pause_s = FIRST_PAUSE_S

    def step(self, *, is_dead: bool, marks: Mapping[int, str]) -> float | None:
        """Do what can be done now.

        Args:
            is_dead: the child itself has ended, but is not reaped.
            marks: the pids of all children that were started and not reaped, each with its mark.

        Returns:
            In how many seconds to look again; None when nothing of the tree is left but the child,
            dead: it may be reaped.
        """
        if not is_dead and self._kill_group():
            return self._pause()
        living = self._with_seen(living_tree(self._pid, marks))
        if is_dead and not living:
            return None
        if self._freeze(living, is_dead=is_dead):
            return 0.0
        for stat in living:
            send_signal(stat, signal.SIGKILL)
        if not is_dead:
            self._signal(signal.SIGKILL)
        return self._pause()

    def _with_seen(self, living: list[ProcessStat]) -> list[ProcessStat]:
        """Add what was seen before and lives on: below a stranger that died, nothing tells whose it is."""
        known = {stat.key for stat in living}
        seen = [read_stat(pid) for pid, started_ticks in self._frozen if (pid, started_ticks) not in known]
        return living + [
            stat for stat in seen if stat is not None and stat.key in self._frozen and not stat.is_dead
        ]

    def _freeze(self, living: list[ProcessStat], *, is_dead: bool) -> bool:
        """Stop what was not seen before; tell whether there was something, so that it is looked for more."""
        if not living:
            return False
        if not is_dead and not self._rounds:
            self._signal(signal.SIGSTOP)
        new = [stat for stat in living if stat.key not in self._frozen]
        self._rounds += 1
        for stat in new:
            send_signal(stat, signal.SIGSTOP)
            self._frozen[stat.key] = stat
        return bool(new) and self._rounds < FREEZE_ROUNDS

    def _signal(self, number: int) -> None:
        """Signal the child; it is not reaped, so the pid is nobody else's."""
        with contextlib.suppress(PermissionError):  # it became another user's: its end is waited for
            os.kill(self._pid, number)

    def _pause(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s


def living_tree(child_pid: int, marks: Mapping[int, str]) -> list[ProcessStat]:
    """Return the living processes of a tree but the child, and reap the orphans that ended.

    Those are what descends from the child and, since orphans become the minder's own children,
    whatever descends from the minder and cannot be told to be of another child; and what carries the
    child's mark elsewhere, as a container of the run does.
    """
    processes = {stat.pid: stat for stat in every_process()}
    ours = [
        processes[pid]
        for pid, owner in owners(os.getpid(), marks, processes, with_strangers=True).items()
        if pid != child_pid and owner in (child_pid, None)
    ]
    for stat in ours:
        if stat.is_dead and stat.parent_pid == os.getpid():
            os.waitpid(stat.pid, os.WNOHANG)
    return [stat for stat in ours if not stat.is_dead]
