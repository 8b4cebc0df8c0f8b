"""Whose a container is: the process that started it, told so that its death can be proven later.

A container outlives whoever started it by SIGKILL, and nothing but its labels tells of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "AGENT",
    "OWNER",
    "RUN",
    "Owner",
    "agent_of",
    "container_name",
    "is_dead",
    "labels",
    "this_process",
]

RUN, AGENT, OWNER = "millhand.run", "millhand.agent", "millhand.owner"
LOCAL = "local"  # `millhand run`, which has no id that would outlive it
TREE = "MILLHAND_TREE"  # "<agent>/<child>": the agent's id stays the same over its restarts


class Owner(NamedTuple):
    """A process for good: a pid comes back, with its start, its namespace and its boot it does not."""

    boot: str
    namespace: str
    pid: int
    started_ticks: int

    def __str__(self) -> str:
        """Return it as it stands in a label."""
        return f"{self.boot} {self.namespace} {self.pid} {self.started_ticks}"

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """Read a label; None where it is none of ours."""
        match text.split(" "):
            case [boot, namespace, pid, ticks] if pid.isdecimal() and ticks.isdecimal():
                return cls(boot, namespace, int(pid), int(ticks))
        return None


def container_name(run_id: str) -> str:
    """Return the name of a run's container."""
    return f"millhand-{run_id}"


def labels(run_id: str, environment: Mapping[str, str], owner: Owner) -> dict[str, str]:
    """Return what a container carries."""
    return {RUN: run_id, AGENT: agent_of(environment), OWNER: str(owner)}


def agent_of(environment: Mapping[str, str]) -> str:
    """Return the id of the agent that this process works for; one word for all that work for none."""
    agent = environment.get(TREE, "").partition("/")[0]
    return LOCAL if not agent or agent.startswith(f"{LOCAL}-") else agent


def this_process(proc: Path = Path("/proc")) -> Owner:
    """Return the process that runs this."""
    boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
    namespace = str((proc / "self/ns/pid").readlink())
    return Owner(boot, namespace, os.getpid(), started_ticks(os.getpid(), proc) or 0)


def is_dead(owner: Owner, here: Owner, proc: Path = Path("/proc")) -> bool:
    """Tell whether it is proven that an owner has ended.

    Proofs are another boot, and in the own namespace of pids that there is no such process any more. Of
    another namespace on the same boot nothing is known: its owner counts as alive.
    """
    if owner.boot != here.boot:
        return True
    if owner.namespace != here.namespace:
        return False
    try:
        return started_ticks(owner.pid, proc) != owner.started_ticks
    except PermissionError:  # another user's, as the mount option hidepid=1 has it
        return False
    except (FileNotFoundError, ProcessLookupError):  # or hidepid=2 hides it
        return not exists(owner.pid)


def exists(pid: int) -> bool:
    """Ask the kernel whether there is a process, whatever /proc shows."""
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (ProcessLookupError, OverflowError):  # a label may hold any number
        return False
    return True


def started_ticks(pid: int, proc: Path) -> int | None:
    """Return when a process was started; None where it is a zombie.

    Raises:
        OSError: it cannot be seen.
    """
    fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
