"""Entries and journals for tests."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec

from tests.unit.reporting.memory import MemoryDisk, MemoryIO
from worker.reporting.journal import Journal, Limits
from worker.reporting.records import HEADER, MAGIC, Entry, EntryRecord, encode

__all__ = ["REPORT", "SMALL", "entry", "newer_segment", "record_of", "reopened"]

REPORT = {"stoppedAt": "2026-01-02T03:04:06.000Z", "resultCode": "Success", "results": {"value": 42}}
SMALL = Limits(reserve_bytes=4096, intent_bytes=2048, segment_bytes=64 << 10)


def entry(run_id: str = "run-1", **fields: Any) -> Entry:
    """Return an entry as the agent makes it before a claim."""
    return Entry(
        run_id=run_id,
        task_id=f"task of {run_id}",
        job_id="job-1",
        pod_id="pod/agent",
        started_at="2026-01-02T03:04:05.678Z",
        intent={"taskId": f"task of {run_id}", "machine": {"host": "h"}},
        **fields,
    )


async def reopened(disk: MemoryDisk, limits: Limits = SMALL) -> Journal:
    """Return the journal of the next agent on this disk."""
    return await Journal.open(MemoryIO(disk), limits=limits)


def record_of(document: dict[str, Any], version: int = 1) -> bytes:
    """Return a record with any payload, as a release of a later version may write it."""
    payload = msgspec.json.encode(document)
    crc = zlib.crc32(payload, zlib.crc32(struct.pack("<IB", len(payload), version)))
    return HEADER.pack(len(payload), crc, version) + payload


def newer_segment(how: str) -> bytes:
    """Return a segment of a newer release: by its form, or by a version or kind behind a record of ours."""
    if how == "form":
        return MAGIC[:-1] + bytes([MAGIC[-1] + 1]) + bytes(64) + b"x" * 64
    record = record_of({"k": "checkpointed", "run_id": "run-1"}, 2 if how == "version" else 1)
    return MAGIC + encode(EntryRecord(entry("run-1"))) + record
