"""Keep what this process knows to itself: from who runs as the same user, and from files of crashes.

What holds a token (the agent, the server, `millhand up`) is not *dumpable* (PR_SET_DUMPABLE(2const)):
nobody but root looks into its memory, environment or descriptors, be it by ptrace(2) or by
/proc/<pid> (proc(5)), and no core is written. Tools such as py-spy then need root.

The kernel shows arguments to everybody, and environments to root. So settings that hold a token are
wiped from both once they are read.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from worker.executor.linux import prctl
from worker.minder.confine import forbid_core_dumps

__all__ = ["is_closed", "keep_to_itself", "wipe_settings"]

PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
STAT: Final = Path("/proc/self/stat")
ARG_START: Final = 45  # fields 48 to 51 of proc_pid_stat(5), counted from the one after the name
BLANK: Final = b"*"


class Region(NamedTuple):
    """A part of this process's memory, as the kernel shows it to others."""

    start: int
    end: int

    def read(self) -> bytes:
        """Return what stands there."""
        return ctypes.string_at(self.start, self.end - self.start)

    def blank(self, span: slice) -> None:
        """Write over a part of it."""
        size = span.stop - span.start
        ctypes.memmove(self.start + span.start, BLANK * size, size)


def keep_to_itself() -> None:
    """Close this process to everybody but root; call it before a token is read."""
    prctl(PR_SET_DUMPABLE, 0)
    forbid_core_dumps()


def is_closed() -> bool:
    """Tell whether this process is closed to others of its user."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


def wipe_settings(variables: Collection[str], flags: Collection[str]) -> None:
    """Take settings out of this process's environment and arguments; their values were read before.

    Args:
        variables: names of environment variables.
        flags: options whose value is wiped, given as ``--flag value`` or ``--flag=value``.
    """
    for name in variables:
        os.environ.pop(name, None)
    if (regions := shown_regions()) is None:
        return
    arguments, environment = regions
    for span in values_of_variables(environment.read(), variables):
        environment.blank(span)
    for span in values_of_flags(arguments.read(), flags):
        arguments.blank(span)


def shown_regions() -> tuple[Region, Region] | None:
    """Return where arguments and environment lie; None where the system does not tell."""
    try:
        fields = STAT.read_text(errors="replace").rpartition(")")[2].split()
        places = [int(field) for field in fields[ARG_START : ARG_START + 4]]
    except (OSError, ValueError):
        return None
    if len(places) < 4 or not all(places):
        return None
    return Region(*places[:2]), Region(*places[2:])


def values_of_variables(block: bytes, names: Iterable[str]) -> Iterator[slice]:
    """Yield where the values of variables stand in an environment."""
    wanted = tuple(f"{name}=".encode() for name in names)
    for start, text in strings(block):
        for prefix in wanted:
            if text.startswith(prefix):
                yield slice(start + len(prefix), start + len(text))


def values_of_flags(block: bytes, flags: Iterable[str]) -> Iterator[slice]:
    """Yield where the values of options stand in a command line."""
    wanted = [flag.encode() for flag in flags]
    is_value = False
    for start, text in strings(block):
        if is_value:
            yield slice(start, start + len(text))
        is_value = text in wanted
        for flag in wanted:
            if text.startswith(flag + b"="):
                yield slice(start + len(flag) + 1, start + len(text))


def strings(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the strings of a block with their places; a zero ends each."""
    start = 0
    for text in block.split(b"\0"):
        yield start, text
        start += len(text) + 1
