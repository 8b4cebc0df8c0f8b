"""What a task says that it may take: `parameters.limits`, read strictly.

A limit that cannot be read must not mean "no limit": the run fails at once, with the name of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.executor.limits import Limits
from worker.executor.quantities import cut, read_seconds, read_size, shown

__all__ = ["read_limits"]

MAX_KEYS: Final = 64
FOREVER_S: Final = 10**9  # 31 years; clocks and timers take it


def read_limits(limits: object) -> tuple[Limits, tuple[str, ...]]:
    """Return the limits of a task, and what of them could not be read (each with the name of its key).

    A task without `limits` (None), or with an empty one, sets none; so does a key that is null.
    """
    if limits is None:
        return Limits(), ()
    if not isinstance(limits, Mapping):
        return Limits(), (f"limits must be an object with {KNOWN}, not {shown(limits)}",)
    read: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in list(limits.items())[:MAX_KEYS]:
        if key not in READERS:
            problems.append(f"limits.{cut(str(key))} is not known; known are {KNOWN}")
        elif value is not None:
            field, reader = READERS[key]
            try:
                read[field] = reader(value)
            except ValueError as error:
                problems.append(f"limits.{key} {error}")
    return Limits(**read), tuple(problems)


def read_time(value: object) -> float:
    """Read a duration above 0."""
    return min(float(FOREVER_S), above_zero(read_seconds(value), value))


def read_memory(value: object) -> int:
    """Read bytes above 0; what no machine has is as good as the largest number that 64 bits hold."""
    return min(2**63 - 1, int(above_zero(read_size(value), value)))


def above_zero(number: float, value: object) -> float:
    """Return the number; raise ValueError where it is 0: a run that may take nothing cannot be meant."""
    if number <= 0:
        raise ValueError(f"must be above 0, but is {shown(value)}")
    return number


READERS: Final[dict[object, tuple[str, Callable[[object], Any]]]] = {
    "timeout": ("timeout_s", read_time),
    "noProgress": ("no_progress_s", read_time),
    "memory": ("memory_bytes", read_memory),
}
KNOWN: Final = ", ".join(map(str, READERS))
