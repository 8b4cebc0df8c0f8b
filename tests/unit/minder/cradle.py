"""A real minder for each test, and small programs as its children."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from worker.executor.life import Life
from worker.executor.minder_process import Minder
from worker.minder.trees import below, every_process, read_stat

__all__ = ["Cradle", "boot_s", "cradle", "is_alive", "until", "within_limit"]

LIMIT_S = 60.0  # a bound for a hang, not a measure
MARK = f"mark-{uuid4().hex}"  # what is ended by its mark is so on the whole machine, where others test too


class Cradle:
    """A minder, and what its children wrote."""

    def __init__(self, minder: Minder, folder: Path) -> None:
        self.minder = minder
        self.folder = folder
        self.lives: list[Life] = []

    async def start(self, program: str, **order: Any) -> Life:
        """Start a program in Python; it finds the folder as `folder` and says `told(name)` there."""
        intro = (
            "import os, sys, signal, subprocess, time\n"
            f"folder = {str(self.folder)!r}\n"
            "def told(name, text=''):\n"
            "    path = os.path.join(folder, name)\n"
            "    with open(path + '.part', 'w') as file: file.write(str(text))\n"
            "    os.rename(path + '.part', path)\n"
        )
        near, far = socket.socketpair()
        with near, far, open(os.devnull, "wb") as nothing:  # noqa: ASYNC230, PTH123 - at once
            descriptors = [far.fileno(), nothing.fileno(), nothing.fileno()]
            argv = [sys.executable, "-S", "-E", "-c", intro + program]
            environment = {"MILLHAND_TREE": MARK, "PATH": os.environ["PATH"]}
            life = await self.minder.spawn({"argv": argv, "env": environment, **order}, descriptors)
        self.lives.append(life)
        return life

    async def told(self, name: str) -> str:
        """Wait until a program told something; return what."""
        path = self.folder / name
        await until(path.exists)
        return path.read_text()

    def processes(self) -> list[int]:
        """Return the pids of everything below the minder."""
        every = {stat.pid: stat for stat in every_process()}
        return [*below([self.minder.pid], every)]


@asynccontextmanager
async def cradle(folder: Path, *, has_groups: bool = True) -> AsyncIterator[Cradle]:
    """Give a minder; close it, and see that nothing is left."""
    minder = Minder(mark=MARK, has_groups=has_groups)
    it = Cradle(minder, folder)
    try:
        yield it
    finally:
        pids = it.processes() if minder.pid else []
        await minder.aclose()
    assert [pid for pid in pids if is_alive(pid)] == []


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that no event tells."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < give_up_mono, "it did not come about"
        await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    stat = read_stat(pid)
    return stat is not None and not stat.is_dead


def boot_s() -> float:
    """Return the clock of the minder's deadlines."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def within_limit(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario to its end."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scenario

    asyncio.run(limited())
