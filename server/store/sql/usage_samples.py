"""Usage over time: a bounded number of samples for each run."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.store.commands import RunFields
from server.store.sql.transaction import Transaction

__all__ = ["MOST_SAMPLES", "add_sample", "gpu_use", "keep_sample", "tells_usage"]

MOST_SAMPLES: Final = 240  # at this many, every second one goes: older times become coarser
MOST: Final = 2**62
SAMPLE: Final = """
INSERT INTO usage_samples
    (org_id, run_id, at, cpu_s, ram_bytes, gpu_s, wall_s, progress, gpu_busy_s, gpu_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (org_id, run_id, at) DO UPDATE SET cpu_s = excluded.cpu_s, ram_bytes = excluded.ram_bytes,
    gpu_s = excluded.gpu_s, wall_s = excluded.wall_s, progress = excluded.progress,
    gpu_busy_s = excluded.gpu_busy_s, gpu_bytes = excluded.gpu_bytes"""
GPU_NAME: Final = '"gpuBusySeconds"'


class GpuUsage(Struct):
    """What is kept of `results.usage`; the names are those of the wire."""

    gpuBusySeconds: Annotated[float, Meta(ge=0, le=MOST)] | None = None  # noqa: N815
    gpuPeakBytes: Annotated[int, Meta(ge=0, le=MOST)] | None = None  # noqa: N815


class GpuResults(Struct):
    """What is read of results."""

    usage: GpuUsage


GPU_RESULTS: Final = msgspec.json.Decoder(GpuResults)


NOTHING_TOLD: Final = (UNSET, UNSET, UNSET, UNSET)


def tells_usage(fields: RunFields) -> bool:
    """Tell whether a report says anything of usage."""
    return _usage(fields) != NOTHING_TOLD


def keep_sample(tx: Transaction, org_id: str, run_id: str, fields: RunFields, before: int) -> dict[str, int]:
    """Keep what a report says of usage, if anything; return the columns of its run that change with it.

    The last report of a run, if it tells all that a sample holds, leaves the same in the run itself.
    """
    if not tells_usage(fields):
        return {}
    if tx.spares_last_sample and _is_last_and_whole(fields):
        return {"sampled_at": tx.now_ms}
    return {"usage_samples": add_sample(tx, org_id, run_id, fields, before)}


def _is_last_and_whole(fields: RunFields) -> bool:
    return UNSET not in (fields.stopped_at, fields.progress, fields.results, *_usage(fields))


def add_sample(tx: Transaction, org_id: str, run_id: str, fields: RunFields, before: int = 0) -> int:
    """Keep what a report says of usage and return how many samples the run has then.

    Two within a millisecond become one. The number belongs into the run's column `usage_samples`.
    """
    values = [None if value is UNSET else value for value in (*_usage(fields), fields.progress)]
    tx.execute(SAMPLE, (org_id, run_id, tx.now_ms, *values, *gpu_use(fields.results)))
    return before + 1 if before + 1 < MOST_SAMPLES else _thin_out(tx, org_id, run_id)


def gpu_use(results: str | UnsetType) -> tuple[float | None, int | None]:
    """Return how long GPUs were busy (seconds) and the peak of their memory (bytes), where results tell it.

    Only runs with GPUs name them, so the results of all others are not read for it.
    """
    if results is UNSET or GPU_NAME not in results:
        return None, None
    try:
        usage = GPU_RESULTS.decode(results).usage
    except msgspec.DecodeError:  # told in another shape
        return None, None
    return usage.gpuBusySeconds, usage.gpuPeakBytes


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
