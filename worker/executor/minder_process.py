"""The agent's end of the minder: start it, give it orders, hear what becomes of each child."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

import worker
from worker.executor.life import Life
from worker.executor.minder_line import MinderLine, close_all, copied
from worker.executor.pulse import Pulse
from worker.executor.sweep import end_marked
from worker.minder.kept_file import KeptFile
from worker.minder.pool import PoolMemory
from worker.minder.trees import child_pids, read_stat

__all__ = ["Minder"]

START_TIMEOUT_S: Final = 30.0  # of a child, on a machine that swaps
CODE: Final = (
    "import sys; descriptor, root, name = sys.argv[1:]; sys.path.insert(0, root);"
    " from worker.minder.main import main; main(int(descriptor), name)"
)
NEEDED: Final = ("LD_LIBRARY_PATH",)  # an interpreter may need it to start at all
LOOK_AGAIN_S: Final = 0.1
PIECE_BYTES: Final = 1024  # of a list of pids; of a longer one the kernel gives a page or so at a time

log = structlog.get_logger(__name__)


class Minder:
    """The process that minds the children; started with the first of them, and again if it was killed."""

    def __init__(
        self,
        *,
        mark: str,
        python: str = sys.executable,
        has_groups: bool = True,
        pulse: Pulse | None = None,
    ) -> None:
        """Take how to start it.

        Args:
            mark: in the environment of every child: survivors of a killed minder are known by it.
            python: the interpreter.
            has_groups: whether children get control groups of their own, where they can be made.
            pulse: tells whether it answers.
        """
        self._pulse = pulse or Pulse()
        self._mark = mark
        self._has_groups = has_groups
        self._pool: PoolMemory | None = None
        self._children: KeptFile | None = None  # those of the minder, which has one thread
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._line: MinderLine | None = None
        self._lives: dict[int, Life] = {}
        self._ids = 0
        self._losing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The pid of the minder; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def has_strangers(self) -> bool:
        """Tell whether the minder has children that it was not asked for: orphans of a child's tree.

        A child that is just being started is seen before the minder has told its pid: where that may be who
        is seen, its start is waited for. Taken for a stranger it would cost a run's child, the next run would
        start another, and so on.
        """
        seen = self.strangers()
        if seen and (starts := [life.started for life in self._lives.values() if not life.started.done()]):
            await asyncio.wait(starts, timeout=START_TIMEOUT_S)
            seen &= self.strangers()
        return bool(seen)

    def strangers(self) -> set[int]:
        """Return the pids of children that are not known: orphans, and whoever is just being started."""
        return set(self._child_pids()).difference(life.pid for life in self._lives.values())

    def _child_pids(self) -> list[int]:
        told = None if self._children is None else self._children.read()
        if told is not None and len(told) < PIECE_BYTES:
            return [int(pid) for pid in told.split()]
        return child_pids(self.pid) or [] if self.pid else []

    def not_ending(self) -> int:
        """Return how many trees were to be killed long ago, and are still there."""
        return sum(life.does_not_end for life in self._lives.values())

    def is_silent(self) -> bool:
        """Tell whether the minder does not answer: then no limit is held, and no child can be ended.

        It is killed then, as nothing else ends what it minds; where even that does not help, it stays silent.
        """
        if self._line is None or self._process is None:
            return False
        was_silent = self._pulse.silent
        if self._pulse.is_silent(lambda: self.order({"do": "ping"})) and not was_silent:
            stat = read_stat(self.pid)
            log.error("minder.silent", pid=self.pid, state=stat and stat.state, children=len(self._lives))
            self._process.kill()
        return self._pulse.silent

    def oom_kills(self) -> int | None:
        """Return how many processes of our container the kernel has killed for want of memory so far."""
        return None if self._pool is None else self._pool.oom_kills()

    async def spawn(self, order: dict[str, Any], descriptors: Sequence[int]) -> Life:
        """Start a child; see `worker.minder.wire`.

        Raises:
            OSError: the system refuses (processes, memory, descriptors), or a confinement does.
        """
        if self._losing is not None:
            await asyncio.shield(self._losing)
        if self._line is None:
            self._start()
        copies = copied(descriptors)
        self._ids += 1
        life = self._lives[self._ids] = Life(self._ids, self.pid, self.order)
        life.ended.add_done_callback(lambda _: self._lives.pop(life.id, None))
        try:
            self.order({**order, "do": "spawn", "id": life.id}, copies)
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(life.started)
        except BaseException as exc:
            self._forget(life)
            if isinstance(exc, TimeoutError):
                raise OSError(f"the child did not start within {START_TIMEOUT_S:g} s") from exc
            raise
        return life

    def order(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Give an order, which nobody hears where the minder is gone. Closes the descriptors."""
        if self._line is None:
            close_all(descriptors)
        else:
            self._line.order(message, descriptors)

    async def aclose(self) -> None:
        """Let the minder end; whatever still runs below it is killed."""
        if self._losing is not None:
            await asyncio.shield(self._losing)
        self._forget_children()
        if self._pool is not None:
            self._pool.close()
        if self._process is None or self._line is None:
            return
        process = self._process
        self._line.close()
        self._line = None
        process.send_signal(signal.SIGCONT)  # who was stopped would never hear that we hang up
        await ended(process)
        self._process = None
        if process.returncode != 0:  # it was killed on the way
            await self._end_marked()
        for life in list(self._lives.values()):
            life.lose_minder()

    def _start(self) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if self._pool is None:
            self._pool = PoolMemory.open()  # before this process may be moved to a group of its own
        with far:
            try:
                process = self._popen(far.fileno())
            except BaseException:
                near.close()
                raise
        try:
            self._line = MinderLine(near, self._hear, self._lose)
        except BaseException:
            process.kill()
            process.wait()
            raise
        self._process = process
        self._forget_children()
        self._children = KeptFile(f"/proc/{process.pid}/task/{process.pid}/children")

    def _forget_children(self) -> None:
        if self._children is not None:
            self._children.close()

    def _popen(self, descriptor: int) -> subprocess.Popen[bytes]:
        root = Path(worker.__file__).resolve().parent.parent
        name = self._mark if self._has_groups else ""
        return subprocess.Popen(
            [self._python, "-I", "-S", "-c", CODE, str(descriptor), str(root), name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            start_new_session=True,
            cwd="/",
            env={name: os.environ[name] for name in NEEDED if name in os.environ},
        )

    def _hear(self, told: dict[str, Any]) -> None:
        if told["told"] == "pong":
            self._pulse.forget()
        elif (life := self._lives.get(told["id"])) is not None:
            life.hear(told)

    def _lose(self) -> None:
        """The minder was killed: end what it leaves behind, then tell who waits."""
        self._line = None
        self._pulse.forget()
        self._losing = asyncio.create_task(self._clear_up(), name="minder-lost")

    async def _clear_up(self) -> None:
        assert self._process is not None
        await ended(self._process)
        log.error("minder.lost", status=self._process.returncode, children=len(self._lives))
        self._process = None
        await self._end_marked()
        for life in list(self._lives.values()):
            life.lose_minder()
        self._losing = None

    async def _end_marked(self) -> None:
        """End what carries our mark; while no descriptor is free to look for it, nobody is told of an end."""
        while True:
            try:
                await end_marked(self._mark, [life.pid for life in self._lives.values() if life.pid])
                return
            except OSError as exc:
                log.warning("minder.lost_look_failed", error=str(exc))
                await asyncio.sleep(LOOK_AGAIN_S)

    def _forget(self, life: Life) -> None:
        """End a child whose start nobody waits for any more."""
        if life.started.done() and life.started.exception() is not None:
            self._lives.pop(life.id, None)
            life.ended.cancel()
        else:
            self.order({"do": "end", "id": life.id})


async def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of our own process and reap it; it may take as long as its trees do."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    descriptor = -1
    try:
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, gone.set)
        await gone.wait()
    except OSError:  # no descriptor is free, or nothing more can be watched
        while process.poll() is None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(LOOK_AGAIN_S)
    finally:
        if descriptor >= 0:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    process.wait()
