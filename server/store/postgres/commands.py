"""What a command needs here beyond the statements: one reaper, one deleter, care with the clock."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import structlog

from server.store.commands import Command, DeleteJob, ReapRuns
from server.store.records import Deletion
from server.store.sql import execute as shared
from server.store.sql.transaction import Transaction

__all__ = ["Jumps", "execute"]

REAPER: Final = 0x72656170  # "reap"; advisory, of this database
DELETER: Final = 0x64656C65  # "dele"
TRY: Final = "SELECT pg_try_advisory_xact_lock(?) AS is_ours"
JUMP_S: Final = 1.0

log = structlog.get_logger(__name__)


class Jumps:
    """Watches the database's clock from look to look, against this machine's, which cannot be set.

    Leases are counted by the database's clock; after a jump of it every run gets a full one.
    """

    def __init__(self) -> None:
        """Begin without a look."""
        self._lock = threading.Lock()
        self._offset_s: float | None = None
        self._patient_until_mono = 0.0

    def may_reap(self, now_ms: int, lease_ms: int) -> bool:
        """Tell whether silence counts; called at each look."""
        mono = time.monotonic()
        offset_s = now_ms / 1000 - mono
        with self._lock:
            before, self._offset_s = self._offset_s, offset_s
            if before is not None and abs(offset_s - before) > JUMP_S:
                self._patient_until_mono = mono + lease_ms / 1000
                log.warning("reaper.patient", database_clock_jumped_s=offset_s - before)
            return mono >= self._patient_until_mono


def execute(tx: Transaction, command: Command[Any], jumps: Jumps | None) -> Any:
    """Do a command within an open transaction and return its answer."""
    if isinstance(command, ReapRuns) and not _may_reap(tx, command, jumps):
        return 0
    if isinstance(command, DeleteJob) and not _is_first(tx, DELETER):
        return Deletion.ELSEWHERE
    return shared.execute(tx, command)


def _may_reap(tx: Transaction, command: ReapRuns, jumps: Jumps | None) -> bool:
    if jumps is not None and not jumps.may_reap(tx.now_ms, command.lease_ms):
        return False
    return _is_first(tx, REAPER)


def _is_first(tx: Transaction, lock: int) -> bool:
    """Tell whether no other server does the same just now; until the transaction ends, none does."""
    row = tx.one(TRY, lock)
    return row is not None and bool(row["is_ours"])
