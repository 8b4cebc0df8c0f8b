"""Entries of the journal as a person keeps them: one JSON document each, and files of such lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from worker.reporting.disk import sync_folder
from worker.reporting.entry_state import outcome_of, reason_of, state_of
from worker.reporting.records import Entry

__all__ = ["document", "exported_outcomes", "summary", "write_export"]


def summary(entry: Entry) -> dict[str, Any]:
    """Return what a list says of an entry."""
    outcome = outcome_of(entry) or {}
    return {
        "run": entry.run_id,
        "task": entry.task_id,
        "job": entry.job_id,
        "type": entry.task_type,
        "state": str(state_of(entry)),
        "since": outcome.get("stoppedAt") or entry.started_at,
        "result": outcome.get("resultCode"),
        "error": outcome.get("error"),
        "why": reason_of(entry),
        "sizeBytes": len(msgspec.json.encode(entry)),
        "files": len(entry.files),
        "filesBytes": sum(file.size_bytes for file in entry.files),
    }


def document(entry: Entry, spool: Path) -> dict[str, Any]:
    """Return the whole of an entry; its files with where they lie."""
    files = [
        {
            "name": file.name,
            "path": str(spool / file.path),
            "sizeBytes": file.size_bytes,
            "sha256": file.sha256,
            "contentType": file.content_type,
        }
        for file in entry.files
    ]
    return {
        **summary(entry),
        "podId": entry.pod_id,
        "startedAt": entry.started_at,
        "marks": list(entry.marks),
        "requeue": entry.requeue,
        "claim": entry.intent,
        "usage": msgspec.to_builtins(entry.usage),
        "outcome": outcome_of(entry),
        "files": files,
    }


def write_export(path: Path, documents: Iterable[dict[str, Any]]) -> None:
    """Write documents as JSON lines into a new file, for its owner only; durable on return.

    Raises:
        FileExistsError: there is such a file; it is left as it is.
        OSError: the disk refuses; nothing is left.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        try:
            for one in documents:
                file.write(msgspec.json.encode(one) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            sync_folder(path.absolute().parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def exported_outcomes(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield run and outcome of every line of an exported file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file.
    """
    with path.open("rb") as file:
        for line in file:
            one = json.loads(line)
            if not isinstance(one, dict) or not isinstance(one.get("run"), str):
                raise ValueError("a line holds no entry of a journal")
            yield one["run"], one.get("outcome")
