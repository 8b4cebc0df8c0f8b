"""Ending a tree: stop what is seen until nothing new comes, kill it, look again; step by step.

The minder serves many children, so nothing here waits: each step does what can be done now and says how
soon to look again. A process in an uninterruptible call (a driver, a dead file server) dies when the
call ends; the end is not told before, because only then nothing runs twice.
"""

from __future__ import annotations

import os
import signal

from worker.minder.trees import ProcessStat, below, every_process, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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
        self._frozen: set[tuple[int, int]] = set()
        self._rounds = 0
        self._pause_s = FIRST_PAUSE_S

    def step(self, *, is_dead: bool, others: Collection[int]) -> float | None:
        """Do what can be done now.

        Args:
            is_dead: the child itself has ended, but is not reaped.
            others: the pids of all other children that were started and not reaped.

        Returns:
            In how many seconds to look again; None when nothing of the tree is left but the child,
            dead: it may be reaped.
        """
        if not is_dead and self._kill_group():
            return self._pause()
        living = living_tree(self._pid, others)
        if is_dead and not living:
            return None
        if self._freeze(living, is_dead=is_dead):
            return 0.0
        for stat in living:
            send_signal(stat, signal.SIGKILL)
        if not is_dead:
            os.kill(self._pid, signal.SIGKILL)  # not reaped, so the pid is nobody else's
        return self._pause()

    def _freeze(self, living: list[ProcessStat], *, is_dead: bool) -> bool:
        """Stop what was not seen before; tell whether there was something, so that it is looked for more."""
        if not living:
            return False
        if not is_dead and not self._rounds:
            os.kill(self._pid, signal.SIGSTOP)
        new = [stat for stat in living if stat.key not in self._frozen]
        self._rounds += 1
        for stat in new:
            send_signal(stat, signal.SIGSTOP)
            self._frozen.add(stat.key)
        return bool(new) and self._rounds < FREEZE_ROUNDS

    def _pause(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s


def living_tree(child_pid: int, others: Collection[int]) -> list[ProcessStat]:
    """Return the living processes of a tree but the child, and reap the orphans that ended.

    Those are what descends from the child and, since orphans become the minder's own children,
    whatever descends from the minder and from none of the others. Who started it, in which session
    it is, and what its environment holds does not matter.
    """
    processes = {stat.pid: stat for stat in every_process()}
    theirs = {*others, *below(others, processes)}
    ours = [
        stat
        for pid, stat in below([os.getpid()], processes).items()
        if pid not in theirs and pid != child_pid and stat.session not in others
    ]
    for stat in ours:
        if stat.is_dead and stat.parent_pid == os.getpid():
            os.waitpid(stat.pid, os.WNOHANG)
    return [stat for stat in ours if not stat.is_dead]
