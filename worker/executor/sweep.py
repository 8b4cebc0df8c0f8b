"""End what a killed minder, or an agent killed with it, left behind: by marks and sessions.

While a minder lives nothing escapes it. These searches are for its end by SIGKILL, when the kernel
kills its children but not theirs. What escapes them has changed its session, wiped its environment
and lost its parent, on purpose, and outlived two processes that were killed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from worker.executor.environment import TREE_MARK
from worker.minder.trees import WANT, ProcessStat, below, every_process, send_signal

__all__ = ["end_marked"]

FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.1


async def end_marked(mark: str, sessions: Collection[int] = ()) -> int:
    """Kill every process with a mark in its environment, or in one of some sessions, and all below.

    Does not return while one lives. Returns how many there were. Elsewhere than on Linux nothing tells; there
    only describing children are started.
    """
    if sys.platform != "linux":
        return 0
    pause_s = FIRST_PAUSE_S
    seen: set[int] = set()
    while alive := await asyncio.to_thread(marked, mark, sessions):
        for stat in alive:
            send_signal(stat, signal.SIGKILL)
        seen |= {stat.pid for stat in alive}
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    reap(seen | dead_orphans(sessions))
    return len(seen)


def reap(pids: Collection[int]) -> None:
    """Reap those that became ours, as orphans do where we are PID 1 or a subreaper; does not wait."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def dead_orphans(sessions: Collection[int]) -> set[int]:
    """Return what ended in some sessions with the minder, and waits for us if we are PID 1 or a subreaper."""
    return {
        stat.pid
        for stat in every_process()
        if stat.is_dead and stat.parent_pid == os.getpid() and stat.session in sessions
    }


def marked(mark: str, sessions: Collection[int]) -> list[ProcessStat]:
    """Return the living processes that are meant."""
    processes = {stat.pid: stat for stat in every_process()}
    roots = [pid for pid, stat in processes.items() if stat.session in sessions or has_mark(pid, mark)]
    found = below(roots, processes) | {pid: processes[pid] for pid in roots}
    return [stat for pid, stat in found.items() if not stat.is_dead and pid != os.getpid()]


def has_mark(pid: int, mark: str) -> bool:
    """Tell whether a process was started with a mark in its environment."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError as exc:  # gone, or another user's: not ours
        if exc.errno in WANT:
            raise
        return False
    own = f"{TREE_MARK}={mark}".encode()
    return any(word == own or word.startswith(own + b"/") for word in words)  # a child adds one of its own
