"""Let a tree stand still, and go on: what a run does while nobody knows whose its task is."""

from __future__ import annotations

import signal

from worker.minder.ending import living_tree
from worker.minder.trees import ProcessStat, read_stat, send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Frozen = dict[tuple[int, int], ProcessStat]

__all__ = ["freeze_tree", "thaw_tree"]

ROUNDS = 50
STOPPED = "Tt"


def freeze_tree(pid: int, marks: Mapping[int, str], frozen: Frozen) -> None:
    """Stop a child and all below it; note those that were not stopped already.

    What is in an uninterruptible call stops when that returns. Work that is queued on a GPU goes on.

    Raises:
        OSError: they cannot be looked at now; what was stopped is noted, the rest is for another time.
    """
    for _ in range(ROUNDS):
        seen = [*living_tree(pid, marks), *([root] if (root := read_stat(pid)) is not None else [])]
        new = [stat for stat in seen if stat.state not in STOPPED and stat.key not in frozen]
        if not new:
            break
        for stat in new:
            send_signal(stat, signal.SIGSTOP)
            frozen[stat.key] = stat


def thaw_tree(frozen: Frozen) -> None:
    """Let go on what `freeze_tree` stopped; what its handler had stopped itself stays so.

    Raises:
        OSError: they cannot be looked at now; those that still stand remain noted.
    """
    while frozen:
        key, stat = next(reversed(frozen.items()))
        send_signal(stat, signal.SIGCONT)
        del frozen[key]
