"""Usage over time: a bounded number of samples for each run."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from server.store.commands import RunFields
from server.store.sqlite.transaction import Transaction

__all__ = ["MOST_SAMPLES", "add_sample"]

MOST_SAMPLES: Final = 240  # at this many, every second one goes: older times become coarser


def add_sample(tx: Transaction, org_id: str, run_id: str, fields: RunFields) -> None:
    """Keep what a report says of usage, if it does; two within a millisecond become one."""
    usage = (fields.cpu_time, fields.ram_usage, fields.gpu_time, fields.wall_clock_time)
    if all(value is UNSET for value in usage):
        return
    values = [_known(value) for value in (*usage, fields.progress)]
    tx.db.execute(
        "INSERT OR REPLACE INTO usage_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (org_id, run_id, tx.now_ms, *values),
    )
    tx.db.execute(
        "UPDATE runs SET usage_samples = usage_samples + 1 WHERE org_id = ? AND id = ?", (org_id, run_id)
    )
    row = tx.one("SELECT usage_samples FROM runs WHERE org_id = ? AND id = ?", org_id, run_id)
    if row is not None and row[0] >= MOST_SAMPLES:
        _thin_out(tx, org_id, run_id)


def _thin_out(tx: Transaction, org_id: str, run_id: str) -> None:
    tx.db.execute(
        "DELETE FROM usage_samples WHERE org_id = :org AND run_id = :run AND at IN ("
        " SELECT at FROM (SELECT at, row_number() OVER (ORDER BY at) AS n FROM usage_samples"
        "  WHERE org_id = :org AND run_id = :run) WHERE n % 2 = 0)",
        {"org": org_id, "run": run_id},
    )
    tx.db.execute(
        "UPDATE runs SET usage_samples = (SELECT count(*) FROM usage_samples s"
        " WHERE s.org_id = runs.org_id AND s.run_id = runs.id) WHERE org_id = ? AND id = ?",
        (org_id, run_id),
    )


def _known(value: float | UnsetType) -> float | None:
    return None if value is UNSET else value
