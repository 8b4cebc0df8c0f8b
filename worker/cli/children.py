"""Child processes of the command line: started, watched, stopped; none outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Child", "end_with_parent"]

PR_SET_PDEATHSIG = 1  # prctl(2)
TAIL_LINES = 200  # what is kept of a child's output for the message about its end
LINE_BYTES_MAX = 64 * 1024  # a longer line is cut
LIBC_NAME = None  # the C library that Python itself is linked with


def end_with_parent(parent_pid: int) -> None:
    """Get SIGTERM when the process that started us dies; end at once if it is dead already."""
    ctypes.CDLL(LIBC_NAME, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit(128 + signal.SIGTERM)


class Child:
    """One `millhand` command as a child process, in a process group of its own.

    Ctrl-C in the terminal reaches only us; we stop the children in the order that is right.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, on_line: Callable[[str], None]
    ) -> None:
        """Take a process that was started; use `start`."""
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = process
        self._on_line = on_line
        self._reading = asyncio.create_task(self._read(), name=f"read {name}")

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], variables: Mapping[str, str], on_line: Callable[[str], None]
    ) -> Child:
        """Start `millhand <arguments>` with safe path; each line of its output goes to `on_line`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "worker.cli.main", *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **variables, "MILLHAND_PARENT_PID": str(os.getpid())},
            process_group=0,
            limit=LINE_BYTES_MAX,
        )  # fmt: skip
        return cls(name, process, on_line)

    @property
    def returncode(self) -> int | None:
        """Return the exit code; None while it runs, negative where a signal ended it."""
        return self._process.returncode

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end, and for the end of its output for a moment; return the exit code."""
        code = await self._process.wait()
        await asyncio.wait([self._reading], timeout=1.0)  # a grandchild may still hold the pipe
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace_s: float) -> int:
        """Ask it to end, kill its whole group when the grace is over; return the exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """Kill the process and what is left of its group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def aclose(self) -> None:
        """Kill what still runs, and read no more."""
        self.kill()
        await self._process.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    def ended(self) -> str:
        """Say how it ended, in words."""
        code = self._process.returncode
        if code is None:
            return f"the {self.name} still runs"
        if code < 0:
            return f"the {self.name} was ended by {signal.Signals(-code).name}"
        return f"the {self.name} ended with exit code {code}"

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                raw = await self._process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as exc:
                raw = exc.partial
            except asyncio.LimitOverrunError as exc:
                raw = await self._process.stdout.read(exc.consumed)
            if not raw:
                return
            line = raw.decode(errors="replace").rstrip("\n")
            self.tail.append(line)
            self._on_line(line)
