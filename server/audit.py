"""The audit log: one line of JSON for each write that somebody with a token asked for.

Who, from where, what, on which ids, and what the answer was; never a body, a token or a query.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from server.http.seen import Seen
from server.store.records import JobAge
from worker.clock import Clock

__all__ = ["STDERR", "Audit", "AuditError"]

STDERR: Final = "-"
AGAIN_S: Final = 60.0  # between two complaints that it cannot be written
ID_CHARACTERS: Final = 255

log = structlog.get_logger(__name__)


class AuditError(Exception):
    """The file of the audit log cannot be opened: which one, why, what to do."""


class Audit:
    """Appends lines to a file, or to stderr."""

    def __init__(self, target: str, clock: Clock) -> None:
        """Open it.

        Raises:
            AuditError: the file cannot be opened.
        """
        self._path = None if target == STDERR else Path(target)
        self._clock = clock
        self._complained_mono: float | None = None
        self.lost = 0  # lines that could not be written
        self._fd = self._opened()

    def write(self, seen: Seen, method: str, peer: str | None) -> None:
        """Write the line of a request. A full disk stops no work: it is logged, and counted in `lost`."""
        self._append(self._entry(seen, method, peer))

    def deleted(self, job: JobAge) -> None:
        """Write the line of a finished job that the server deleted, as nobody asked for it."""
        self._append(
            {
                "event": "job_deleted",
                **self._now(),
                "orgId": job.org_id,
                "ids": {"jobId": job.id},
                "tasks": job.tasks,
            }
        )

    def _append(self, entry: dict[str, Any]) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError("only a part of the line was written")
        except OSError as exc:
            self.lost += 1
            self._complain(exc)

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one was moved away."""
        if self._path is None:
            return
        try:
            opened = self._opened()
        except AuditError as exc:
            log.error("audit.not_reopened", reason=str(exc), consequence="the old file is written on")
            return
        os.close(self._fd)
        self._fd = opened

    def close(self) -> None:
        """Close the file."""
        if self._path is not None:
            os.close(self._fd)

    def _opened(self) -> int:
        if self._path is None:
            return sys.stderr.fileno()
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise AuditError(
                f"the audit log {self._path} cannot be opened: {exc.strerror};"
                " does its folder exist, and may it be written?"
            ) from exc

    def _entry(self, seen: Seen, method: str, peer: str | None) -> dict[str, Any]:
        principal = seen.principal
        return {
            "event": "write",
            **self._now(),
            "tokenId": principal and principal.token_id,
            "token": principal and principal.name,
            "orgId": principal and principal.org_id,
            "from": peer,
            "operation": seen.operation,
            "method": method,
            "ids": {name: id_[:ID_CHARACTERS] for name, id_ in seen.ids.items()},
            "status": seen.status,
            "requestId": seen.request_id,
        }

    def _now(self) -> dict[str, str]:
        return {"at": self._clock.now().isoformat(timespec="milliseconds")}

    def _complain(self, exc: OSError) -> None:
        now = self._clock.mono()
        if self._complained_mono is None or now - self._complained_mono >= AGAIN_S:
            self._complained_mono = now
            log.error("audit.failed", reason=str(exc), lines_lost=self.lost)
