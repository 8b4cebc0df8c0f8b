"""The agent's end of the minder: start it, give it orders, hear what becomes of each child."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

import worker
from worker.executor.evidence import Exit, Overrun
from worker.executor.sweep import end_marked
from worker.minder.memory_group import MemoryGroup
from worker.minder.pool import PoolMemory
from worker.minder.trees import child_pids
from worker.minder.wire import pack, receive, send
from worker.usage.rusage import Rusage

__all__ = ["Life", "Minder"]

SLOW_S: Final = 10.0  # an end that takes longer is told; it is waited for all the same
START_TIMEOUT_S: Final = 30.0  # of a child, on a machine that swaps
CODE: Final = (
    "import sys; descriptor, root, name = sys.argv[1:]; sys.path.insert(0, root);"
    " from worker.minder.main import main; main(int(descriptor), name)"
)
NEEDED: Final = ("LD_LIBRARY_PATH",)  # an interpreter may need it to start at all
LOOK_AGAIN_S: Final = 0.1
SEND_BUFFER_BYTES: Final = 1024 * 1024

log = structlog.get_logger(__name__)


class Life:
    """One child's life, as the minder tells it."""

    def __init__(self, minder: Minder, id_: int) -> None:
        """Start before the child does."""
        self.pid = 0
        self.is_dead = False  # it ended by itself, or with the minder
        self.is_frozen = False
        self.overrun: Overrun | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.id = id_
        self._memory: MemoryGroup | None = None
        self._minder = minder
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[Exit] = loop.create_future()

    @property
    def minder_pid(self) -> int:
        """The child's parent."""
        return self._minder.pid

    def oom_kills(self) -> int | None:
        """Return how many processes of its group the kernel has killed since its start; None: not known."""
        return None if self._memory is None else self._memory.oom_kills()

    def signal(self, number: int) -> None:
        """Send a signal to the child alone."""
        self._minder.order({"do": "signal", "id": self.id, "number": int(number)})

    def guard(
        self, deadline_s: float | None, memory_bytes: int | None, freeze_s: float | None = None
    ) -> None:
        """Have limits held, whatever the agent does; times are of CLOCK_BOOTTIME.

        Args:
            deadline_s: when the tree is killed.
            memory_bytes: above which size.
            freeze_s: from when on it stands still, until a later time is given.
        """
        self._minder.order({
            "do": "guard",
            "id": self.id,
            "deadline_s": deadline_s,
            "memory_bytes": memory_bytes,
            "freeze_s": freeze_s,
        })  # fmt: skip

    async def end(self) -> Exit:
        """Have the tree killed and the child reaped; returns when nothing of it is left."""
        if not self.ended.done():
            self._minder.order({"do": "end", "id": self.id})
        try:
            async with asyncio.timeout(SLOW_S):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            hint = "a process that a driver or a dead file server holds ends only when they let it go"
            log.warning("tree.does_not_end", pid=self.pid, after_s=SLOW_S, hint=hint)
        return await asyncio.shield(self.ended)

    def hear(self, told: dict[str, Any]) -> None:
        """Take what the minder tells of this child."""
        match told["told"]:
            case "spawned":
                self.pid = told["pid"]
                self._memory = MemoryGroup(*told["memory"]) if told["memory"] else None
                settle(self.started, self.pid)
            case "refused":
                settle(self.started, OSError(told["error"]))
            case "died":
                self.is_dead = True
            case "frozen" | "thawed":
                self.is_frozen = told["told"] == "frozen"
            case "overrun":
                self.overrun = Overrun.read(told)
            case "ended":
                self.is_dead = True
                rusage = Rusage(*told["rusage"])
                settle(self.ended, Exit.read(told["status"], rusage, told["oom_kills"], told["peak_bytes"]))
        self.on_change()

    def lose_minder(self) -> None:
        """Take that the minder is gone, and with it the child."""
        self.is_dead = True
        settle(self.started, OSError("the minder ended"))
        settle(self.ended, Exit(code=None, signal=None, is_minder_lost=True))
        self.on_change()


class Minder:
    """The process that minds the children; started with the first of them, and again if it was killed."""

    def __init__(self, *, mark: str, python: str = sys.executable, has_groups: bool = True) -> None:
        """Take how to start it.

        Args:
            mark: in the environment of every child: survivors of a killed minder are known by it.
            python: the interpreter.
            has_groups: whether children get control groups of their own, where they can be made.
        """
        self._mark = mark
        self._has_groups = has_groups
        self._pool: PoolMemory | None = None
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._lives: dict[int, Life] = {}
        self._unsent: list[tuple[bytes, tuple[int, ...]]] = []
        self._ids = 0
        self._losing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The pid of the minder; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def has_strangers(self) -> bool:
        """Tell whether the minder has children that it was not asked for: orphans of a child's tree."""
        known = {life.pid for life in self._lives.values()}
        return any(pid not in known for pid in child_pids(self.pid) or ()) if self.pid else False

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
        if self._socket is None:
            self._start()
        copies = copied(descriptors)
        self._ids += 1
        life = self._lives[self._ids] = Life(self, self._ids)
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
        """Send an order; what the socket does not take at once follows by itself. Closes the descriptors."""
        if self._socket is None:
            close_all(descriptors)
            return
        try:
            packet = pack(message)
        except OSError:
            close_all(descriptors)
            raise
        self._unsent.append((packet, descriptors))
        self._send()

    async def aclose(self) -> None:
        """Let the minder end; whatever still runs below it is killed."""
        if self._losing is not None:
            await asyncio.shield(self._losing)
        if self._process is None or self._socket is None:
            return
        process = self._process
        self._close_socket()
        await ended(process)
        self._process = None
        for life in list(self._lives.values()):
            life.lose_minder()

    def _start(self) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        root = Path(worker.__file__).resolve().parent.parent
        name = self._mark if self._has_groups else ""
        if self._pool is None:
            self._pool = PoolMemory.open()  # before this process may be moved to a group of its own
        with far:
            try:
                self._process = subprocess.Popen(
                    [self._python, "-I", "-S", "-c", CODE, str(far.fileno()), str(root), name],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(far.fileno(),),
                    start_new_session=True,
                    cwd="/",
                    env={name: os.environ[name] for name in NEEDED if name in os.environ},
                )
            except BaseException:
                near.close()
                raise
        try:
            asyncio.get_running_loop().add_reader(near, self._listen)
        except BaseException:
            near.close()
            self._process.kill()
            self._process.wait()
            self._process = None
            raise
        self._socket = near

    def _listen(self) -> None:
        assert self._socket is not None
        try:
            came = receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            came = None
        if came is None:
            self._lose()
            return
        told, _ = came
        if (life := self._lives.get(told["id"])) is not None:
            life.hear(told)

    def _send(self) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                packet, descriptors = self._unsent[0]
                send(self._socket, packet, descriptors)
                close_all(descriptors)
                del self._unsent[0]
        except BlockingIOError:
            loop.add_writer(self._socket, self._send)
            return
        except OSError:  # it is gone, which reading tells
            self._drop_unsent()
        loop.remove_writer(self._socket)

    def _lose(self) -> None:
        """The minder was killed: end what it leaves behind, then tell who waits."""
        self._close_socket()
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

    def _close_socket(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        self._drop_unsent()

    def _drop_unsent(self) -> None:
        for _, descriptors in self._unsent:
            close_all(descriptors)
        self._unsent.clear()

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


def copied(descriptors: Sequence[int]) -> tuple[int, ...]:
    """Return copies of descriptors, all or none."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))  # noqa: PERF401 - those before one that fails must be closed
    except OSError:
        close_all(copies)
        raise
    return tuple(copies)


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Give a future its result or error, unless it has one."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # perhaps nobody waits
    else:
        future.set_result(result)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that are ours."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
