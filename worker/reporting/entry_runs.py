"""Runs as the server shows them, beside an entry of the journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worker.api.models import Identity, Run, recency
from worker.api.wire import parse_instant
from worker.reporting.records import Entry

__all__ = ["after", "identity_of", "is_our_report"]


def after(runs: Sequence[Run], entry: Entry) -> list[Run]:
    """Return the runs that are more recent than the one of an entry, oldest first."""
    ordered = sorted(runs, key=recency)
    at = next((at for at, run in enumerate(ordered) if run.id == entry.run_id), len(ordered))
    return ordered[at + 1 :]


def identity_of(entry: Entry, report: Mapping[str, Any]) -> Identity:
    """Return the identity under which a run was started: the claim's, or its probe's."""
    is_probe = report.get("startedAt", entry.started_at) != entry.started_at
    started_at = parse_instant(report["startedAt"] if is_probe else entry.started_at)
    return Identity(f"{entry.pod_id}/probe" if is_probe else entry.pod_id, started_at)  # type: ignore[arg-type]


def is_our_report(run: Run, entry: Entry, report: Mapping[str, Any]) -> bool:
    """Tell whether a stopped run shows our identity and our outcome: our own report, accepted.

    Of the error only the kind is compared: a server may have cut the text.
    """
    kind = str(report.get("error") or "").partition(":")[0].strip()
    return (
        bool(run.raw.get("stoppedAt"))
        and identity_of(entry, report).owns(run)
        and run.result_code == report.get("resultCode")
        and (run.error_kind or "") == kind
    )
