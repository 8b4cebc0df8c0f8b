"""What a task asks for: image and command from its fields or its parameters. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from worker import Fail

__all__ = ["Limits", "check_variables", "choose_command", "choose_image", "read_limits"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}", re.ASCII)
SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)(i?b|i)?\s*", re.ASCII | re.IGNORECASE)
UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
LEAST_MEMORY_BYTES = 6 * 1024**2  # less is refused by engines
MOST_CPUS, LEAST_CPUS = 4096.0, 0.01
MOST_PIDS = 1_000_000
MOST_ENV_BYTES = 256 * 1024  # of all variables together; more is an input
OURS = ("MILLHAND_", "NVIDIA_", "CUDA_VISIBLE_")  # whose run it is, and which GPUs it has, tasks do not say


def choose_image(field: Any, parameter: str | None) -> str:
    """Return the image: the task's field or the parameter; both may be given where they say the same.

    Raises:
        Fail: neither is given, they differ, or the field is no text.
    """
    image = choose("image", field, parameter)
    if not isinstance(image, str) or not image:
        raise Fail("image: the task must name one, in its field `image` or its parameter `image`, as text")
    return image


def choose_command(field: Any, parameter: list[str] | str | None) -> list[str]:
    """Return the command's words; none are the image's own command.

    A list is taken as it is; text is parted at spaces, quotes hold together. There is no shell.

    Raises:
        Fail: both are given and differ, or it is neither text nor a list of text.
    """
    command = choose("cmd", field, parameter)
    if command is None:
        return []
    if isinstance(command, str):
        try:
            command = shlex.split(command)
        except ValueError as exc:
            raise Fail(f"cmd {command[:200]!r} cannot be parted into words: {exc}; give a list") from exc
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise Fail("cmd must be text, or a list of text")
    if any("\0" in word for word in command):
        raise Fail("cmd holds a NUL character")
    return command


def choose(name: str, field: Any, parameter: Any) -> Any:
    """Return what is given; raise Fail where both are and differ, for nobody could say which was meant."""
    if field is not None and parameter is not None and field != parameter:
        raise Fail(
            f"{name}: the task's field says {str(field)[:100]!r}, its parameter {str(parameter)[:100]!r}; "
            "give one of them"
        )
    return field if parameter is None else parameter


def check_variables(env: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Raise Fail where a name could not be one, or is not the task's to set."""
    for name, value in env.items():
        if not NAME.fullmatch(name) or "\0" in value:
            raise Fail(
                f"env: {name[:60]!r} is no variable: a name has letters, digits and _; no value has NUL"
            )
        if name.startswith(OURS):
            raise Fail(f"env: {name[:60]} is set by the worker; {', '.join(f'{one}*' for one in OURS)} are")
    size_bytes = sum(len(f"{name}={value}".encode(errors="replace")) + 1 for name, value in env.items())
    if size_bytes > MOST_ENV_BYTES:
        raise Fail(
            f"env: all variables together have {size_bytes} bytes, {MOST_ENV_BYTES} are allowed; give a file "
            "as an input instead"
        )
    for name in secrets:
        if not SECRET_NAME.fullmatch(name):
            raise Fail(f"secrets: {name[:60]!r} is no name of a file: letters, digits, . _ -")


class Limits(NamedTuple):
    """What a container may have; None: no limit of its own."""

    cpus: float | None
    memory_bytes: int | None
    pids: int


def read_limits(cpus: float | None, memory: int | str | None, pids: int, most_bytes: int | None) -> Limits:
    """Return the limits; that of memory is the run's own (`most_bytes`) where that is lower.

    Raises:
        Fail: one is out of its range, or is no size.
    """
    if cpus is not None and not LEAST_CPUS <= cpus <= MOST_CPUS:
        raise Fail(f"cpus must be a number from {LEAST_CPUS} to {MOST_CPUS:g}, not {cpus!r}")
    if not 1 <= pids <= MOST_PIDS:
        raise Fail(f"pids must be a number from 1 to {MOST_PIDS}, not {pids!r}")
    wished = [size for size in (read_size(memory), most_bytes) if size is not None]
    if wished and min(wished) < LEAST_MEMORY_BYTES:
        raise Fail(f"memory: a container needs at least 6 MiB, and has a limit of {min(wished)} bytes")
    return Limits(cpus, min(wished, default=None), pids)


def read_size(memory: int | str | None) -> int | None:
    """Read bytes, or text like 512M, 4GiB (binary) or 4GB (decimal)."""
    if memory is None or isinstance(memory, int):
        return memory
    match = SIZE.fullmatch(memory)
    if match is None:
        raise Fail(f"memory must be bytes, or text like 512M, 4GiB or 4GB, not {memory[:60]!r}")
    number, unit, suffix = float(match[1]), match[2].lower(), (match[3] or "").lower()
    return int(number * (1000 if suffix == "b" else 1024) ** UNITS[unit])
