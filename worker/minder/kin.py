"""Whose a process is: to which child it belongs, also where its parents are gone."""

from __future__ import annotations

import os

from worker.minder.files import read_text
from worker.minder.trees import every_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.minder.trees import ProcessStat

__all__ = ["TREE_MARK", "Trees", "marked", "owners"]

ENVIRON_BYTES = 8 * 1024 * 1024  # the kernel lets a program start with 6 MiB; what more there is was faked
TREE_MARK = "MILLHAND_TREE"  # in the environment of a child and all that it starts: "<agent>/<child>"


class Trees:
    """The trees of all children at one moment: when they are first asked for."""

    def __init__(self, marks: Mapping[int, str]) -> None:
        """Take the pids of all children, each with its mark."""
        self._marks = marks
        self._found: dict[int | None, list[ProcessStat]] | None = None

    def of(self, pid: int) -> list[ProcessStat]:
        """Return the living processes of a child's tree, itself among them."""
        if self._found is None:
            self._found = {}
            processes = {stat.pid: stat for stat in every_process()}
            for one, owner in owners(os.getpid(), self._marks, processes).items():
                if not processes[one].is_dead:
                    self._found.setdefault(owner, []).append(processes[one])
        return self._found.get(pid, [])


def owners(
    minder_pid: int,
    marks: Mapping[int, str],
    processes: Mapping[int, ProcessStat],
    *,
    with_strangers: bool = False,
) -> dict[int, int | None]:
    """Return the child that each process below the minder belongs to; None where nothing tells.

    An orphan, which is the minder's own by now, is known by its session, and by the mark in its
    environment, or in that of what it has started, where it began one of its own. What has wiped both
    belongs to nobody.

    With strangers, processes elsewhere that carry a mark are told too, and all below them: what a
    container engine started for a run is below the engine. That looks at every process of this machine.
    """
    below: dict[int, list[ProcessStat]] = {}
    for stat in processes.values():
        below.setdefault(stat.parent_pid, []).append(stat)
    by_mark = {mark: pid for pid, mark in marks.items()}
    found: dict[int, int | None] = {}
    for stat in below.get(minder_pid, ()):
        found[stat.pid] = stat.pid if stat.pid in marks else orphan_owner(stat, marks, by_mark, below)
    descend(found, below, marks)
    if with_strangers and by_mark:
        strangers: dict[int, int | None] = {
            stat.pid: owner
            for stat in processes.values()
            if stat.pid not in found
            and stat.pid != minder_pid
            and (owner := mark_owner(stat, by_mark)) is not None
        }
        descend(strangers, below, marks)
        found = strangers | found
    return found


def descend(
    found: dict[int, int | None], below: Mapping[int, list[ProcessStat]], marks: Mapping[int, str]
) -> None:
    """Add what is below some processes, each to the owner of its parent."""
    waiting = list(found)
    while waiting:
        parent_pid = waiting.pop()
        for stat in below.get(parent_pid, ()):
            if stat.pid not in found:
                found[stat.pid] = found[parent_pid] or session_owner(stat, marks)
                waiting.append(stat.pid)


def session_owner(stat: ProcessStat, marks: Mapping[int, str]) -> int | None:
    """Return the child in whose session a process is."""
    return stat.session if stat.session in marks else None


def orphan_owner(
    stat: ProcessStat,
    marks: Mapping[int, str],
    by_mark: Mapping[str, int],
    below: Mapping[int, list[ProcessStat]],
) -> int | None:
    """Return the child that an orphan descends from, as far as it shows.

    Podman's monitor of a container has wiped its own environment; the container below it has the mark.
    """
    if (owner := session_owner(stat, marks)) is not None or stat.is_dead:
        return owner
    those = (mark_owner(one, by_mark) for one in (stat, *below.get(stat.pid, ())))
    return next((owner for owner in those if owner is not None), None)


def mark_owner(stat: ProcessStat, by_mark: Mapping[str, int]) -> int | None:
    """Return the child whose mark a process has in its environment."""
    words = (read_text(f"/proc/{stat.pid}/environ", ENVIRON_BYTES) or "").split("\0")
    value = next((word for word in words if word.startswith(f"{TREE_MARK}=")), "")
    mark = value.rpartition("/")[2]
    return by_mark.get(mark) if mark else None  # most processes have none


def marked(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment of a child with its own mark behind the agent's."""
    return {**environment, TREE_MARK: f"{environment.get(TREE_MARK, '')}/{mark}"}
