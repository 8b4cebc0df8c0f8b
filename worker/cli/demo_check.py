"""Whether the demo went as announced: every file there and whole, the broken model refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from worker.cli.outcomes import TaskOutcome, files_of

__all__ = ["EXPECTED_KIND", "path_of", "problems"]

EXPECTED_KIND: Final = "handler_error"  # of the broken model: the handler says that it is not a model


def problems(outcomes: Sequence[TaskOutcome], expected: int, broken_title: str | None) -> list[str]:
    """Return what is not as announced; empty where everything is."""
    found = [] if len(outcomes) == expected else [f"{len(outcomes)} tasks instead of {expected}"]
    for one in outcomes:
        name = one.task.title or one.task.id
        wrong = wrong_failure(one) if name == broken_title else wrong_success(one)
        found += [f"{name}: {wrong}"] if wrong else []
    return found


def wrong_failure(one: TaskOutcome) -> str | None:
    """Tell what is wrong with the task that must fail."""
    if one.result != "Failed" or one.run is None:
        return f"must fail, but its result is {one.result or 'unknown'}"
    if one.run.error_kind != EXPECTED_KIND:
        return f"must fail with {EXPECTED_KIND}, but: {one.error}"
    return None


def wrong_success(one: TaskOutcome) -> str | None:
    """Tell what is wrong with a task that must succeed."""
    if not one.has_succeeded:
        return f"must succeed, but: {one.error or one.result or 'no result'}"
    files = files_of(one.run)
    return next(filter(None, map(wrong_file, files)), None) if files else "has no output file"


def wrong_file(file: dict[str, Any]) -> str | None:
    """Tell what is wrong with an output file: it must be as the run's results say."""
    path = path_of(file)
    if path is None or not path.is_file():
        return f"output {file['name']} does not exist"
    content = path.read_bytes()
    if not content:
        return f"output {file['name']} is empty"
    if len(content) != file.get("size"):
        return f"output {file['name']} has {len(content)} bytes, its run says {file.get('size')}"
    if hashlib.sha256(content).hexdigest() != file.get("sha256"):
        return f"output {file['name']} is not what its run says: the SHA-256 differs"
    return None


def path_of(file: dict[str, Any]) -> Path | None:
    """Return where an output lies on this machine; None where it does not."""
    parts = urlsplit(str(file["url"]))
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
