"""The samples of a run's consumption, as they are read: those that lie by themselves, and the run's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from server.store.records import SampleRecord
from server.store.sql.dialect import Dialect, Row
from server.store.sql.rows import progress_of
from server.store.sql.usage_samples import gpu_use
from server.times import instant_of

__all__ = ["sample_records", "select_samples"]

SAMPLES: Final = """
SELECT at, cpu_s, ram_bytes, gpu_s, wall_s, progress, gpu_busy_s, gpu_bytes, NULL AS results
FROM usage_samples WHERE org_id = ? AND run_id = ?"""


def select_samples(dialect: Dialect, org_id: str, run_id: str) -> tuple[str, list[object]]:
    """Return the statement for the samples of a run; one that is the run's own comes with its results."""
    key: list[object] = [org_id, run_id]
    return SAMPLES + dialect.own_sample, key * (2 if dialect.own_sample else 1)


def sample_records(rows: Iterable[Row]) -> list[SampleRecord]:
    """Read the rows of `select_samples`, in the order of time; of two within a millisecond the run's own."""
    by_time = {row["at"]: row for row in sorted(rows, key=lambda row: row["results"] is not None)}
    return [_sample_record(by_time[at]) for at in sorted(by_time)]


def _sample_record(row: Row) -> SampleRecord:
    gpu_busy_s, gpu_bytes = row["gpu_busy_s"], row["gpu_bytes"]
    if row["results"] is not None:
        gpu_busy_s, gpu_bytes = gpu_use(row["results"])
    return SampleRecord(
        at=instant_of(row["at"]) or "",
        cpu_s=row["cpu_s"],
        ram_bytes=row["ram_bytes"],
        gpu_s=row["gpu_s"],
        wall_s=row["wall_s"],
        progress=progress_of(row["progress"]),
        gpu_busy_s=gpu_busy_s,
        gpu_bytes=gpu_bytes,
    )
