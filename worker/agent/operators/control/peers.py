"""Who is at the other end of the socket, and may give orders: the agent's user or root, and no handler.

Modes of files do not keep out a handler that runs as the agent's own user, and Landlock does not know
sockets in folders. But whatever a handler starts stays below the agent: the minder is the parent of
every orphan (PR_SET_CHILD_SUBREAPER(2const)), and the agent is the minder's.
"""

from __future__ import annotations

import os
from pathlib import Path
from socket import SOL_SOCKET, socket
from struct import Struct
from typing import Final, NamedTuple

__all__ = ["Peer", "peer_of", "refusal"]

CREDENTIALS: Final = Struct("=iII")  # struct ucred of unix(7)
LOOKS_MAX: Final = 5  # a process between two is gone now and then
ROOT: Final = 0


class Peer(NamedTuple):
    """A process as it was when it connected; 0 stands for one outside of our PID namespace."""

    pid: int
    uid: int
    gid: int


class Gone(Exception):  # noqa: N818 - a state
    """A process is not there any more."""


def peer_of(connection: socket) -> Peer:
    """Return who connected, as the kernel has it."""
    from socket import SO_PEERCRED  # noqa: PLC0415 - Linux has it; elsewhere this module can still be imported

    return Peer(*CREDENTIALS.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, CREDENTIALS.size)))


def refusal(peer: Peer, own_uid: int, own_pid: int, proc: Path = Path("/proc")) -> str | None:
    """Say why somebody may not give orders; None where they may.

    A process outside of our PID namespace is no handler: those below it are all seen here.
    """
    if peer.uid not in {ROOT, own_uid}:
        return f"user {peer.uid} may not give this agent orders: it is of user {own_uid}"
    if peer.pid == 0 or (peer.uid == ROOT != own_uid):
        return None
    if is_below(peer.pid, own_pid, proc):
        return "a process of a handler may not give its agent orders"
    return None


def is_below(pid: int, ancestor: int, proc: Path) -> bool:
    """Tell whether a process is a descendant; also where it cannot be known, since it ended meanwhile."""
    for _ in range(LOOKS_MAX):
        try:
            return ancestor in ancestors(pid, proc)
        except Gone:
            continue  # its parent ended between two looks, and it has another one now
    return True


def ancestors(pid: int, proc: Path) -> set[int]:
    """Return the parents of a process, up to the first.

    Raises: Gone where one of them ended meanwhile.
    """
    found: set[int] = set()
    while (pid := parent_of(pid, proc)) > 0 and pid not in found:
        found.add(pid)
    return found


def parent_of(pid: int, proc: Path) -> int:
    """Return the parent of a process; 0 where it has none here, or is hidden since it is another user's.

    Raises: Gone where there is no such process.
    """
    try:
        return int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except PermissionError:
        return 0  # proc(5), hidepid: a root's or another user's; what is below us is ours and seen
    except OSError as exc:
        raise Gone from exc
    raise Gone
