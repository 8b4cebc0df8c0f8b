"""What a run finds around it in a warm child, and what the next one must find again.

What can be undone is undone. What cannot, and what goes on behind the handler's back, is named: such
a child must not serve again. The state of modules is the handler's own and stays; `setup` may change
everything, because the note is taken after it.
"""

from __future__ import annotations

import _locale  # what `locale` wraps, to say the same
import _signal  # type: ignore[import-not-found]  # what `signal` wraps in enums, which costs ten times as much
import gc
import locale
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, NamedTuple

from worker.minder.kept_file import KeptFile

__all__ = ["MORE_DESCRIPTORS", "Surroundings"]

MORE_DESCRIPTORS: Final = 32  # than after the first run; pools and caches of libraries grow that far

SIGNALS: Final = tuple(sorted(map(int, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})))
TABLE_HEAD: Final = b"Limit "  # proc_pid_limits(5)
RLIMITS: Final = tuple(sorted({v for name, v in vars(resource).items() if name.startswith("RLIMIT_")}))
TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
STANDARD: Final = ("stdin", "stdout", "stderr")


class Attribute(NamedTuple):
    """Something that a run may change: how it is read, and written back (None: it cannot be)."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None


Noted = tuple[Callable[[], Any], Any, Attribute]  # the first is the attribute's own: it is called each run


class Surroundings:
    """What was noted. Use it on the main thread."""

    def __init__(self, noted: list[Noted], umask: int, threads: set[threading.Thread]) -> None:
        self._noted = noted
        self._umask = umask
        self._threads = threads
        self._descriptors: int | None = None

    @classmethod
    def note(cls) -> Surroundings:
        """Note how everything is now: after `setup`, before the first run."""
        noted = [(one.read, noted_value(one.read()), one) for one in ATTRIBUTES]
        return cls(noted, read_umask(), set(threading.enumerate()))

    def restore(self) -> str | None:
        """Undo what a run changed; return why that is not enough, None where all is as it was.

        Raises nothing: the run ended before, and its receipt must still be sent.
        """
        os.umask(self._umask)
        try:
            changed = [(one, noted) for read, noted, one in self._noted if read() != noted]
            reasons = [
                f"it changed its {one.name}, which cannot be undone"
                for one, noted in changed
                if not is_restored(one, noted)
            ]
            reasons += self._threads_left() + self._descriptors_left()
        except Exception as exc:  # noqa: BLE001 - whatever a handler has made of its process
            return f"what is around it cannot be read: {type(exc).__name__}"
        return "; ".join(reasons) or None

    def _threads_left(self) -> list[str]:
        """Name threads that may still work for the run; daemons are libraries' own affair."""
        threads = threading.enumerate()
        if self._threads.issuperset(threads):  # as mostly
            return []
        left = [one for one in threads if one not in self._threads and not one.daemon]
        frames = sys._current_frames() if left else {}  # only where there is somebody to look at
        busy = sorted(ascii(one.name) for one in left if not is_idle_worker(frames.get(one.ident or 0)))
        return [f"it left threads running: {', '.join(busy)[:200]}"] if busy else []

    def _descriptors_left(self) -> list[str]:
        count = open_descriptors()
        if self._descriptors is None:
            self._descriptors = count
        more = count - self._descriptors
        return [f"it has {more} open files more than after its first run"] if more > MORE_DESCRIPTORS else []


def is_restored(one: Attribute, noted: Any) -> bool:
    """Write a changed attribute back; tell whether it is as it was."""
    if one.write is None:
        return False
    try:
        one.write(noted)
    except (OSError, ValueError, TypeError):  # not allowed any more
        return False
    return True


def is_idle_worker(frame: FrameType | None) -> bool:
    """Tell whether a thread has ended, or belongs to a pool and waits there for work."""
    if frame is None:
        return True
    code = frame.f_code
    return code.co_name == "_worker" and code.co_filename.endswith("concurrent/futures/thread.py")


def open_descriptors() -> int:
    """Return how many files this process has open."""
    descriptors = "/proc/self/fd"
    count = os.stat(descriptors).st_size  # noqa: PTH116 - after every run
    return count or len(os.listdir(descriptors))  # noqa: PTH208 - Linux before 6.2 tells no size


def noted_value(value: Any) -> Any:
    """Return what was read as it is now: some attributes are read where they live, and change there."""
    return value.copy() if isinstance(value, dict | list) else value


def read_environment() -> dict[bytes, bytes]:
    """Return the environment where it is kept; its public face decodes all of it, which takes 40 µs."""
    kept: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return kept


def write_environment(noted: dict[bytes, bytes]) -> None:
    """Make the environment what it was, for this process and its children."""
    for name in os.environb.keys() - noted.keys():
        del os.environb[name]
    for name, value in noted.items():
        if os.environb.get(name) != value:
            os.environb[name] = value


def read_umask() -> int:
    """Return the mask of new files' modes; the kernel tells it only against another.

    Not done after each run: a thread of the handler might make a file in between.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read_signals() -> list[Any]:
    """Return what Python does at each signal."""
    return list(map(_signal.getsignal, SIGNALS))


def write_signals(noted: list[Any]) -> None:
    """Have every signal do what it did."""
    for number, before in zip(SIGNALS, noted, strict=True):
        if _signal.getsignal(number) != before:
            signal.signal(number, before)


def read_streams() -> tuple[Any, ...]:
    """Return the standard streams, and whether each is open; written out, since it is done after each run."""
    one, out, err = sys.stdin, sys.stdout, sys.stderr
    return (
        (one, one is None or not one.closed),
        (out, out is None or not out.closed),
        (err, err is None or not err.closed),
    )


def write_streams(noted: tuple[Any, ...]) -> None:
    """Put the standard streams back; raises where one is closed."""
    for name, (stream, was_open) in zip(STANDARD, noted, strict=True):
        setattr(sys, name, stream)
        if was_open and stream is not None and stream.closed:
            raise ValueError(f"{name} was closed")


def read_targets() -> tuple[tuple[int, int] | None, ...]:
    """Return what descriptors 0, 1 and 2 lead to; written out, since it is done after each run."""
    try:
        one, out, err = os.fstat(0), os.fstat(1), os.fstat(2)
    except OSError:
        return tuple(map(target_of, range(3)))
    return (one.st_dev, one.st_ino), (out.st_dev, out.st_ino), (err.st_dev, err.st_ino)


def target_of(descriptor: int) -> tuple[int, int] | None:
    """Return what names an open file; None for a closed descriptor."""
    try:
        stat = os.fstat(descriptor)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def read_timers() -> tuple[bool, ...]:
    """Tell of each interval timer whether it runs; written out, since it is done after each run."""
    real, virtual, profiling = TIMERS
    read = _signal.getitimer
    return read(real)[0] > 0, read(virtual)[0] > 0, read(profiling)[0] > 0


def write_timers(noted: tuple[bool, ...]) -> None:
    """Stop the timers that did not run."""
    for timer, was_running in zip(TIMERS, noted, strict=True):
        if not was_running:
            signal.setitimer(timer, 0)


class ResourceLimits:
    """The limits of this process, asked for one by one only where their table is another than before.

    The table takes a quarter of the time. Its file stays open: a handler that closes it, or puts another in
    its place, costs the time and nothing else.
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._table = KeptFile("/proc/self/limits")
        self._told: bytes | None = None
        self._limits: list[tuple[int, int]] = []

    def read(self) -> list[tuple[int, int]]:
        """Return them as getrlimit(2) does."""
        told = self._table.read()
        if told is None or told != self._told:
            self._limits = [resource.getrlimit(one) for one in RLIMITS]
            self._told = told if told is not None and told.startswith(TABLE_HEAD) else None
        return self._limits


def write_limits(noted: list[tuple[int, int]]) -> None:
    """Set the resource limits back; raises where a hard one was lowered."""
    for limit, before in zip(RLIMITS, noted, strict=True):
        resource.setrlimit(limit, before)


def write_filters(noted: list[Any]) -> None:
    """Set the filters of warnings back."""
    warnings.resetwarnings()  # tells caches, too
    warnings.filters[:] = noted  # type: ignore[index]  # a list, said to be any sequence


def set_collection(is_on: bool) -> None:
    """Switch the cyclic garbage collection."""
    (gc.enable if is_on else gc.disable)()


ATTRIBUTES: Final = (
    Attribute("environment", read_environment, write_environment),
    Attribute("timers", read_timers, write_timers),
    Attribute("signal handlers", read_signals, write_signals),
    Attribute(
        "signal mask",
        partial(_signal.pthread_sigmask, _signal.SIG_BLOCK, ()),
        lambda noted: signal.pthread_sigmask(signal.SIG_SETMASK, noted),
    ),
    Attribute(
        "locale",
        partial(_locale.setlocale, _locale.LC_ALL),
        lambda noted: locale.setlocale(locale.LC_ALL, noted),
    ),
    Attribute("resource limits", ResourceLimits().read, write_limits),
    Attribute("priority", partial(os.getpriority, os.PRIO_PROCESS, 0), None),
    Attribute("CPU set", lambda: os.sched_getaffinity(0), lambda noted: os.sched_setaffinity(0, noted)),
    Attribute("standard streams", read_streams, write_streams),
    Attribute("standard descriptors", read_targets, None),
    Attribute("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Attribute("garbage collection", gc.isenabled, set_collection),
    Attribute("filters of warnings", lambda: warnings.filters, write_filters),
    Attribute("time limit of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
)
