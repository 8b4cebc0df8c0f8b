"""Start child processes; passed to the executor, so that tests and simulations bring their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Protocol
from uuid import uuid4

from msgspec import Struct

from worker.executor.environment import child_environment

__all__ = ["ProcessSpawner", "Spawned", "Spawner"]


class Spawned(Struct, frozen=True):
    """A child that was started. Who has it owns the socket and the descriptors, and reaps the pid."""

    pid: int
    channel: socket.socket
    stdout_fd: int
    stderr_fd: int
    mark: str  # names its process tree, in the environment of every process of it


class Spawner(Protocol):
    """Start children that speak the frames of `worker.executor.frames`."""

    def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child that may use these GPUs; blocks for about two milliseconds.

        Raises:
            OSError: the system refuses (processes, memory, descriptors).
        """
        ...


class ProcessSpawner:
    """Start a fresh interpreter: own session, safe path, no descriptor of ours but the channel.

    Must be used on the thread that lives as long as the agent: the kernel ends a child with the
    *thread* that started it.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        pass_environment: Iterable[str] = (),
        python: str = sys.executable,
        new_mark: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        """Take what children may see of `environment` (None: ours, read at each start)."""
        self._environment = environment
        self._also = tuple(pass_environment)
        self._python = python
        self._new_mark = new_mark

    def spawn(self, gpus: tuple[str, ...]) -> Spawned:
        """Start a child; see `Spawner`."""
        mark = self._new_mark()
        ours = os.environ if self._environment is None else self._environment
        environment = child_environment(ours, gpus=gpus, mark=mark, also=self._also)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with far:
            try:
                started = self._start(far.fileno(), environment)
            except BaseException:
                near.close()
                raise
        near.setblocking(False)
        return Spawned(started.pid, near, take(started.stdout), take(started.stderr), mark)

    def _start(self, channel_fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        started = subprocess.Popen(
            [self._python, "-P", "-m", "worker.executor.child", str(channel_fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            pass_fds=(channel_fd,),
            start_new_session=True,
            cwd="/",
            env=environment,
        )
        # The executor reaps by wait4, which brings the bill. A Popen that does not know of the end
        # would reap by itself later, perhaps another process of the same pid.
        started.returncode = 0
        return started


def take(pipe: IO[bytes] | None) -> int:
    """Return a descriptor of our own for the reading end of a pipe, not blocking."""
    assert pipe is not None
    with pipe:
        descriptor = os.dup(pipe.fileno())
    os.set_blocking(descriptor, False)
    return descriptor
