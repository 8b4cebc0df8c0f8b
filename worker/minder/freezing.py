"""Let a tree stand still, and go on: what a run does while nobody knows whose its task is."""

from __future__ import annotations

import signal

from worker.minder.ending import living_tree
from worker.minder.trees import ProcessStat, read_stat, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["freeze_tree", "thaw_tree"]

ROUNDS = 50
STOPPED = "Tt"


def freeze_tree(pid: int, marks: Mapping[int, str]) -> list[ProcessStat]:
    """Stop a child and all below it; return those that were not stopped already.

    What is in an uninterruptible call stops when that returns. Work that is queued on a GPU goes on.
    """
    frozen: dict[tuple[int, int], ProcessStat] = {}
    for _ in range(ROUNDS):
        seen = [*living_tree(pid, marks), *([root] if (root := read_stat(pid)) is not None else [])]
        new = [stat for stat in seen if stat.state not in STOPPED and stat.key not in frozen]
        if not new:
            break
        for stat in new:
            send_signal(stat, signal.SIGSTOP)
            frozen[stat.key] = stat
    return list(frozen.values())


def thaw_tree(frozen: list[ProcessStat]) -> None:
    """Let go on what `freeze_tree` stopped; what its handler had stopped itself stays so."""
    for stat in reversed(frozen):
        send_signal(stat, signal.SIGCONT)
