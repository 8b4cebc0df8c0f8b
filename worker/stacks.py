"""What every thread and every asyncio task is at: files, lines and functions, and no value of a variable.

SIGUSR1 writes it into the log; the process goes on. The signal is taken by Python itself and not by
the event loop, so that a loop that is stuck tells where. Code that holds the interpreter's lock for
ever, in a library in C, cannot be interrupted by it.
"""

from __future__ import annotations

import _thread
import asyncio
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import structlog

__all__ = ["dump_on_signal", "log_stacks", "stacks"]

THREADS_MAX: Final = 64
TASKS_MAX: Final = 256  # with different stacks; equal ones are counted
FRAMES_MAX: Final = 40  # the innermost
log = structlog.get_logger()


def dump_on_signal(number: int = signal.SIGUSR1) -> None:
    """Have a signal write the stacks into the log; call it in the main thread, while the loop runs."""
    loop = asyncio.get_running_loop()

    def dump(_: int, __: FrameType | None) -> None:
        # Beside the thread that was interrupted: it may hold the lock of the log's stream at this moment.
        _thread.start_new_thread(log_stacks, (loop,))

    signal.signal(number, dump)


def log_stacks(loop: asyncio.AbstractEventLoop) -> None:
    """Write a line for each thread, and one for each different stack of tasks."""
    own = threading.get_ident()
    for name, frames in thread_stacks(own):
        log.info("stacks.thread", thread=name, stack=frames)
    for (name, lines), count in task_stacks(loop):
        log.info("stacks.tasks", task=name, count=count, stack=list(lines))
    log.info("stacks.dumped")


def stacks(loop: asyncio.AbstractEventLoop) -> str:
    """Return the same as a text."""
    said = []
    for name, frames in thread_stacks():
        said += [f"thread {name}", *(f"  {line}" for line in frames), ""]
    for (name, lines), count in task_stacks(loop):
        said += [f"task {name}" + f" ({count} alike)" * (count > 1), *(f"  {line}" for line in lines), ""]
    return "\n".join(said)


def thread_stacks(without: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield each thread by its name, with its frames, the innermost last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in list(sys._current_frames().items())[:THREADS_MAX]:
        if ident != without:
            yield names.get(ident, str(ident)), innermost(reversed(list(frames_of_thread(frame))))


def frames_of_thread(frame: FrameType | None) -> Iterator[str]:
    """Yield the frames from the innermost outwards."""
    while frame is not None:
        yield place(frame)
        frame = frame.f_back


def task_stacks(loop: asyncio.AbstractEventLoop) -> list[tuple[tuple[str, tuple[str, ...]], int]]:
    """Return the different stacks of tasks, with one name and how many they are, the most first."""
    names: dict[tuple[str, ...], str] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for task in asyncio.all_tasks(loop):
        lines = tuple(innermost(frames_of_coroutine(task.get_coro())))
        names.setdefault(lines, task.get_name())
        counts[lines] += 1
    return [((names[lines], lines), count) for lines, count in counts.most_common(TASKS_MAX)]


def frames_of_coroutine(awaited: Any) -> Iterator[str]:
    """Yield where each coroutine of a chain waits; `Task.get_stack` tells of the outermost alone."""
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            if (frame := getattr(awaited, f"{kind}_frame", None)) is not None:
                yield place(frame)
        awaited = next(
            (
                inner
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if (inner := getattr(awaited, name, None)) is not None
            ),
            None,
        )


def innermost(lines: Iterator[str]) -> list[str]:
    """Return the last frames, and say that there are more."""
    every = list(lines)
    cut = len(every) - FRAMES_MAX
    return [f"… {cut} more", *every[cut:]] if cut > 0 else every


def place(frame: FrameType) -> str:
    """Return where a frame is at."""
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
