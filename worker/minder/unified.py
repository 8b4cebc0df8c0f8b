"""Make a group of cgroup v2 ready to have groups below it that carry limits.

Controllers can be passed on only by a group without processes of its own (cgroups(7), "no internal
processes"). So the agent and whatever belongs to it step aside, into a group below. Who shares the
group with strangers, in a login session for instance, moves nobody and gets no limits.
"""

from __future__ import annotations

import contextlib
import os

from worker.minder.files import numbers, words, write_text
from worker.minder.trees import below, every_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AGENT_GROUP", "may_write", "prepare"]

AGENT_GROUP = "millhand-agent"
DELEGATED = ("user.delegate", "trusted.delegate")  # how systemd marks a group with Delegate=yes
WELCOME = ("cpu",)  # not needed; with it, runs and the agent get fair shares of the CPUs
ROUNDS = 20  # who is moved may fork meanwhile; the new ones come along from then on


def prepare(folders: list[str], wanted: frozenset[str]) -> tuple[str, frozenset[str], str]:
    """Have a group pass on its controllers.

    Args:
        folders: the own group and those above it.
        wanted: the controllers that groups below should have; may be none.

    Returns:
        The group to make groups in, the wanted controllers that it passes on, and why not all; or "".

    Raises:
        OSError: it may not be written.
    """
    if os.path.basename(folders[0]) == AGENT_GROUP and len(folders) > 1:
        folders = folders[1:]  # started by somebody who had stepped aside already
    own = folders[0]
    may_write(own)
    lacking = wanted - words(f"{own}/cgroup.controllers")
    reason = f"{own} is not given {listed(lacking)} by the group above it" if lacking else ""
    to_enable = wanted - lacking - words(f"{own}/cgroup.subtree_control")
    if to_enable:
        reason = step_aside(folders) or enable(own, to_enable) or reason
    return own, wanted & words(f"{own}/cgroup.subtree_control"), reason


def may_write(folder: str) -> None:
    """Find out whether groups can be made in a folder.

    Raises:
        OSError: they cannot; says why.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        return
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(f"{folder} is mounted read-only")
    raise OSError(f"{folder} may not be written by user {os.geteuid()}")


def step_aside(folders: list[str]) -> str:
    """Move all processes of the own group into one below it; return why that cannot be, or ""."""
    own = folders[0]
    if not os.path.exists(f"{own}/cgroup.type"):
        return ""  # the root of all groups, where processes may stay
    strangers = strangers_in(folders)
    if strangers:
        return (
            f"{own} has processes of others ({listed(strangers)}): "
            "start the agent in a group of its own, as a service with Delegate=yes"
        )
    aside = f"{own}/{AGENT_GROUP}"
    try:
        os.makedirs(aside, exist_ok=True)
        for _ in range(ROUNDS):
            pids = numbers(f"{own}/cgroup.procs")
            if not pids:
                return ""
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    write_text(f"{aside}/cgroup.procs", str(pid))
    except OSError as exc:
        return f"the agent could not be moved to {aside}: {exc.strerror}"
    return f"{own} keeps getting processes"


def strangers_in(folders: list[str]) -> list[int]:
    """Return processes of the own group that are none of the agent's and that it may not move.

    A group that was delegated is the agent's to rule, and so is that of a container.
    """
    own = folders[0]
    if len(folders) == 1 or is_delegated(own):
        return []
    agent_pid = os.getppid()
    ours = {agent_pid, *below([agent_pid], {stat.pid: stat for stat in every_process()})}
    return [pid for pid in numbers(f"{own}/cgroup.procs") if pid not in ours]


def is_delegated(folder: str) -> bool:
    """Tell whether the service manager has left a group to its user."""
    for name in DELEGATED:
        with contextlib.suppress(OSError):
            return os.getxattr(folder, name) == b"1"
    return False


def enable(own: str, controllers: frozenset[str]) -> str:
    """Pass controllers on to the groups below; return why one cannot be, or ""."""
    reason = ""
    for controller in (*sorted(controllers), *WELCOME):
        try:
            write_text(f"{own}/cgroup.subtree_control", f"+{controller}")
        except OSError as exc:
            if controller in controllers:
                reason = f"{own} cannot pass on {controller}: {exc.strerror}"
    return reason


def listed(things: Iterable[object]) -> str:
    """Name a few things in a sentence."""
    return ", ".join(sorted(map(str, things))[:5])
