"""Call a function once for each of several arguments, each time in a fork of this process.

A start of an interpreter with what all of them need is paid once, and yet nothing that one of them does to
its process reaches another. Only for a process with one thread.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = ["in_forks"]

AT_ONCE: Final = 4
LENGTH_BYTES: Final = 8  # before each answer: who reads needs no end of the pipe, which a daemon may hold
PIECE_BYTES: Final = 1 << 16


class Fork(NamedTuple):
    """A call that goes on."""

    argument: str
    pid: int
    reading: int  # the end of its pipe


def in_forks(
    function: Callable[[str], bytes], arguments: Sequence[str], limit_s: float, at_once: int = AT_ONCE
) -> dict[str, bytes]:
    """Return what the calls returned, some at a time; of one that crashed, raised or hung there is nothing.

    Blocks until all have ended, for `limit_s` at most: those that go on then are killed.
    Raises: OSError where the system allows no more processes or descriptors.
    """
    waiting, running = deque(dict.fromkeys(arguments)), deque[Fork]()
    answers: dict[str, bytes] = {}
    until = time.monotonic() + limit_s
    while running or (waiting and time.monotonic() < until):
        while waiting and len(running) < at_once and time.monotonic() < until:
            running.append(begun(function, waiting.popleft()))
        fork = running.popleft()
        if (answer := ended(fork, until)) is not None:
            answers[fork.argument] = answer
    return answers


def begun(function: Callable[[str], bytes], argument: str) -> Fork:
    """Begin a call."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = function(argument)
            write_all(writing, len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
        finally:
            os._exit(0)  # nothing of this process's is for its fork to end
    os.close(writing)
    return Fork(argument, pid, reading)


def ended(fork: Fork, until: float) -> bytes | None:
    """Wait for an answer, and end the fork; None where it gave none."""
    try:
        length = read_all(fork.reading, LENGTH_BYTES, until)
        return None if length is None else read_all(fork.reading, int.from_bytes(length, "big"), until)
    finally:
        os.close(fork.reading)
        os.kill(fork.pid, signal.SIGKILL)  # it has answered, or hangs, or closed the pipe and goes on
        os.waitpid(fork.pid, 0)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def read_all(descriptor: int, size: int, until: float) -> bytes | None:
    """Read so many bytes; None where there are less, or time is up (by the monotonic clock)."""
    content = bytearray()
    while len(content) < size:
        if not select.select([descriptor], [], [], max(until - time.monotonic(), 0.0))[0]:
            return None
        if not (piece := os.read(descriptor, min(size - len(content), PIECE_BYTES))):
            return None
        content += piece
    return bytes(content)
