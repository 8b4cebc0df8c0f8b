"""Start child processes; passed to the executor, so that tests and simulations bring their own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Final, Protocol
from uuid import uuid4

from msgspec import Struct

from worker.executor.environment import child_environment
from worker.executor.life import Life
from worker.executor.minder_process import Minder
from worker.minder.birth import CHANNEL_FD

__all__ = ["ProcessSpawner", "Spawned", "Spawner"]

MAX_PROCESSES: Final = 4096  # of one child's tree, threads counted: about what systemd gives a service


class Spawned(Struct, frozen=True):
    """A child that was started. Who has it owns the socket and the descriptors, and must end the life."""

    life: Life
    channel: socket.socket
    stdout_fd: int
    stderr_fd: int


class Spawner(Protocol):
    """Start children that speak the frames of `worker.executor.frames`."""

    async def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child that may use these GPUs.

        Raises:
            OSError: the system refuses (processes, memory, descriptors).
        """
        ...

    async def has_strangers(self) -> bool:
        """Tell whether a process lives on that belongs to no child that is known; about 20 µs."""
        ...

    def oom_kills(self) -> int | None:
        """Return how many processes of our container the kernel has killed so far; None: not known."""
        ...

    async def aclose(self) -> None:
        """End everything that was started."""
        ...


class ProcessSpawner:
    """Start a fresh interpreter through the minder: own session, safe path, no descriptor but the channel."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        pass_environment: Iterable[str] = (),
        python: str = sys.executable,
        mark: str | None = None,
        wish: Mapping[str, Any] | None = None,
        max_processes: int | None = MAX_PROCESSES,
        has_groups: bool = True,
    ) -> None:
        """Take what children may see and do.

        Args:
            environment: of which children see an allow-list (None: ours, read at each start).
            pass_environment: further names that are let through.
            python: the interpreter of children and minder.
            mark: names the agent in the environment of every process of its trees.
            wish: how children are confined; see `worker.minder.confine`.
            max_processes: bound of one child's tree, where a control group can hold it.
            has_groups: whether children get control groups of their own, where they can be made.
        """
        self._environment = environment
        self._also = tuple(pass_environment)
        self._python = python
        self._mark = mark or f"local-{uuid4().hex}"
        self._wish = dict(wish or {})
        self._max_processes = max_processes
        self.minder = Minder(mark=self._mark, python=python, has_groups=has_groups)

    async def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child; see `Spawner`."""
        order = {
            "argv": [self._python, "-P", "-m", "worker.executor.child", str(CHANNEL_FD)],
            "env": self._variables(gpus),
            "wish": self._wish,
            "processes": self._max_processes,
        }
        with ExitStack() as far_ends, ExitStack() as near_ends:
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            near_ends.enter_context(near)
            far_ends.enter_context(far)
            fds = [far.fileno()]
            outputs = []
            for _ in range(2):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                near_ends.callback(os.close, reading)
                far_ends.callback(os.close, writing)
                os.set_blocking(reading, False)
                outputs.append(reading)
                fds.append(writing)
            near.setblocking(False)
            life = await self.minder.spawn(order, fds)
            near_ends.pop_all()
        return Spawned(life, near, outputs[0], outputs[1])

    async def has_strangers(self) -> bool:
        """Tell whether the minder has children that nobody knows; see `Spawner`."""
        return await self.minder.has_strangers()

    def not_ending(self) -> int:
        """Return how many trees were to be killed long ago, and are still there."""
        return self.minder.not_ending()

    def is_silent(self) -> bool:
        """Tell whether the minder, which holds the limits, does not answer any more."""
        return self.minder.is_silent()

    def oom_kills(self) -> int | None:
        """Return how many processes of our container the kernel has killed so far; see `Spawner`."""
        return self.minder.oom_kills()

    async def aclose(self) -> None:
        """End the minder, and with it whatever still runs."""
        await self.minder.aclose()

    def _variables(self, gpus: tuple[str, ...]) -> dict[str, str]:
        ours = os.environ if self._environment is None else self._environment
        return child_environment(ours, gpus=gpus, mark=self._mark, also=self._also)
