"""Which programs a task may run: those that the operator of the machine allows, and no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from worker import Fail

__all__ = ["VARIABLE", "allowed_programs", "find_program", "program_of"]

VARIABLE = "MILLHAND_COMMANDS"
MAX_SHOWN_CHARS = 200


def find_program(wanted: str, environment: Mapping[str, str]) -> str:
    """Return the absolute path of a program that a task names.

    A task may name it by path or by name; what is started is always the path that the allow-list
    stands for, so that no folder of the task and no other PATH can put another program in its place.

    Raises:
        Fail: it is not allowed, or allowed and not installed; the message says what to do.
    """
    entries = allowed_programs(environment)
    for entry, path in entries.items():
        if wanted in {entry, path, Path(entry).name}:
            return installed(f"program {entry!r} is allowed, but", entry, path, VARIABLE)
    raise Fail(
        f"program {wanted[:MAX_SHOWN_CHARS]!r} is not allowed on this machine "
        f"(allowed: {', '.join(entries) or 'none'}); its operator allows a program by adding its name or "
        f"absolute path to {VARIABLE}, separated by commas"
    )


def program_of(template: str, entry: str, environment: Mapping[str, str]) -> str:
    """Return the absolute path of the program that a template names; raise Fail where there is none."""
    start = f"template {template!r} runs {entry!r}, but it"
    return installed(start, entry, resolved(entry, environment.get("PATH")), "the template")


def allowed_programs(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the allow-list: each entry with its absolute path, None where there is no such program."""
    entries = (entry.strip() for entry in environment.get(VARIABLE, "").split(","))
    return {entry: resolved(entry, environment.get("PATH")) for entry in entries if entry}


def resolved(entry: str, path: str | None) -> str | None:
    """Return the absolute path of an entry: itself, or where PATH finds it."""
    if "/" in entry:
        return os.path.normpath(entry) if entry.startswith("/") else None
    found = shutil.which(entry, path=path)
    return found if found and found.startswith("/") else None  # never from the folder of a run


def installed(start: str, entry: str, path: str | None, place: str) -> str:
    """Return the path; raise Fail where nothing can be started there, with a start and where to mend it."""
    if path is None:
        why = "is a relative path" if "/" in entry else "is not on the PATH of the worker"
        raise Fail(f"{start} {why}; put its absolute path into {place}")
    if not Path(path).is_file() or not os.access(path, os.X_OK):
        raise Fail(f"{start} is no program that the worker may start ({path})")
    return path
