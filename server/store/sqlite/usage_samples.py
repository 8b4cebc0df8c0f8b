"""Usage over time: a bounded number of samples for each run."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from server.store.commands import RunFields
from server.store.sqlite.transaction import Transaction

__all__ = ["MOST_SAMPLES", "add_sample"]

MOST_SAMPLES: Final = 240  # at this many, every second one goes: older times become coarser


def add_sample(tx: Transaction, org_id: str, run_id: str, fields: RunFields, before: int) -> None:
    """Keep what a report says of usage, if it does; two within a millisecond become one.

    Args:
        tx: the transaction of the report.
        org_id: the run's organisation.
        run_id: the run.
        fields: the report.
        before: how many samples the run had, by its column `usage_samples`.
    """
    usage = (fields.cpu_time, fields.ram_usage, fields.gpu_time, fields.wall_clock_time)
    if all(value is UNSET for value in usage):
        return
    values = [_known(value) for value in (*usage, fields.progress)]
    tx.db.execute(
        "INSERT OR REPLACE INTO usage_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (org_id, run_id, tx.now_ms, *values),
    )
    samples = before + 1
    if samples >= MOST_SAMPLES:
        samples = _thin_out(tx, org_id, run_id)
    tx.update("runs", org_id, run_id, usage_samples=samples)


def _thin_out(tx: Transaction, org_id: str, run_id: str) -> int:
    """Drop every second sample, never the newest, and return how many are left."""
    tx.db.execute(
        "DELETE FROM usage_samples WHERE org_id = :org AND run_id = :run AND at IN ("
        " SELECT at FROM (SELECT at, row_number() OVER (ORDER BY at DESC) AS n FROM usage_samples"
        "  WHERE org_id = :org AND run_id = :run) WHERE n % 2 = 0)",
        {"org": org_id, "run": run_id},
    )
    row = tx.one("SELECT count(*) FROM usage_samples WHERE org_id = ? AND run_id = ?", org_id, run_id)
    return int(row[0]) if row is not None else 0


def _known(value: float | UnsetType) -> float | None:
    return None if value is UNSET else value
