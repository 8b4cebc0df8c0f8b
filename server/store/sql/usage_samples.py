"""Usage over time: a bounded number of samples for each run."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from server.store.commands import RunFields
from server.store.sql.transaction import Transaction

__all__ = ["MOST_SAMPLES", "add_sample", "tells_usage"]

MOST_SAMPLES: Final = 240  # at this many, every second one goes: older times become coarser


def tells_usage(fields: RunFields) -> bool:
    """Tell whether a report says anything of usage."""
    return any(value is not UNSET for value in _usage(fields))


def add_sample(tx: Transaction, org_id: str, run_id: str, fields: RunFields, before: int = 0) -> int:
    """Keep what a report says of usage and return how many samples the run has then.

    Two within a millisecond become one. The number belongs into the run's column `usage_samples`.
    """
    values = [None if value is UNSET else value for value in (*_usage(fields), fields.progress)]
    tx.execute(
        "INSERT INTO usage_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (org_id, run_id, at) DO UPDATE SET cpu_s = excluded.cpu_s,"
        " ram_bytes = excluded.ram_bytes, gpu_s = excluded.gpu_s, wall_s = excluded.wall_s,"
        " progress = excluded.progress",
        (org_id, run_id, tx.now_ms, *values),
    )
    return before + 1 if before + 1 < MOST_SAMPLES else _thin_out(tx, org_id, run_id)


def _usage(fields: RunFields) -> tuple[float | UnsetType, ...]:
    return (fields.cpu_time, fields.ram_usage, fields.gpu_time, fields.wall_clock_time)


def _thin_out(tx: Transaction, org_id: str, run_id: str) -> int:
    """Drop every second sample, never the newest, and return how many are left."""
    tx.execute(
        "DELETE FROM usage_samples WHERE org_id = :org AND run_id = :run AND at IN ("
        " SELECT at FROM (SELECT at, row_number() OVER (ORDER BY at DESC) AS n FROM usage_samples"
        "  WHERE org_id = :org AND run_id = :run) numbered WHERE n % 2 = 0)",
        {"org": org_id, "run": run_id},
    )
    row = tx.one(
        "SELECT count(*) AS samples FROM usage_samples WHERE org_id = ? AND run_id = ?", org_id, run_id
    )
    return int(row["samples"]) if row is not None else 0
