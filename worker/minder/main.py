"""The minder's process, started by `worker.executor.minder_process` with a socket and its agent's name."""

from __future__ import annotations

import ctypes
import signal
import socket

from worker.minder.birth import become_subreaper
from worker.minder.groups import Groups
from worker.minder.guard import Pool
from worker.minder.minder import Minder
from worker.minder.pool import PoolMemory

__all__ = ["main"]

PR_SET_NAME = 15
NAME = b"millhand-minder"


def main(descriptor: int, name: str) -> None:
    """Serve the agent at the other end of a socket until it is gone and nothing of its children is left.

    Args:
        descriptor: of the socket.
        name: of the agent, for its control groups; "" where none shall be made.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would have children reap themselves
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # whoever stops a service signals all; the agent decides
    become_subreaper()
    ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    pool = Pool(PoolMemory.open().read)  # before this process may move to a group of its own
    groups = Groups.open(name) if name else None
    try:
        Minder(sock, groups, pool).serve()
    finally:
        if groups is not None:
            groups.close()
