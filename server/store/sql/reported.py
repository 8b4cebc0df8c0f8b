"""What a report says of a run, as columns: which are read before it, and which it changes."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET

from server.store.commands import RunFields, UpdateRun
from server.store.sql.dialect import Dialect, Row
from server.store.sql.transaction import Transaction
from server.store.sql.usage_samples import keep_sample

__all__ = ["columns_of", "reported", "reported_briefly", "write_report"]

# What the rules look at, and what an index holds: to write that anew costs the index. Anything else may be
# written once more as it was, which is cheaper than to read forty columns of each run.
LOOKED_AT: Final = """
r.org_id, r.id, r.task_id, r.job_id, r.created_at, r.started_at, r.stopped_at, r.result_code, r.error,
r.progress, r.pod_id, r.machine, r.usage_samples, r.lease_until"""
UNKNOWN: Final = object()  # as no value of a column is


@cache
def reported(dialect: Dialect) -> str:
    """Return the statement for a run with its task, as `find_task` shows it, and its job's state."""
    return _reported(dialect, f"r.*, {dialect.machine} AS machine_told", dialect.join_machine)


@cache
def reported_briefly(dialect: Dialect) -> str:
    """Return the same without the columns that only a whole answer needs."""
    return _reported(dialect, LOOKED_AT)


def _reported(dialect: Dialect, columns: str, joined: str = "") -> str:
    return f"""
SELECT {columns}, {dialect.results} AS results, {dialect.results_id} AS results_id, j.scheduler_state,
       t.type, t.current_run_id, t.run_status, t.run_result, t.run_progress, t.job_is_active,
       r.created_at = (SELECT max(created_at) FROM runs
                       WHERE org_id = r.org_id AND task_id = r.task_id) AS is_latest
FROM runs r JOIN tasks t ON t.org_id = r.org_id AND t.id = r.task_id
JOIN jobs j ON j.org_id = r.org_id AND j.id = r.job_id
{dialect.join_results} {joined}
WHERE r.org_id = ? AND r.id = ? AND j.deleted_at IS NULL"""  # noqa: S608 - built from constants


def write_report(tx: Transaction, command: UpdateRun, run: Row, told: dict[str, Any]) -> dict[str, Any]:
    """Change what differs, as far as it was read; return the run with what was told, as it was read."""
    shown = {} if "machine" not in told else {"machine_told": told["machine"]}
    if shown:
        kept = tx.keep_machine(command.org_id, run["job_id"], told["machine"], before=run["machine"])
        told = told | {"machine": kept}
    changed = {name: value for name, value in told.items() if value != run.get(name, UNKNOWN)}
    changed |= keep_sample(tx, command.org_id, command.id, command.fields, run["usage_samples"])
    results = command.fields.results
    is_new = results not in (UNSET, run["results"])
    if results is not UNSET and is_new:
        changed |= tx.place_results(results, run["results_id"])
        shown["results"] = results
    changed["updated_at"] = tx.now_ms
    tx.update("runs", command.org_id, command.id, **changed)
    if results is not UNSET and is_new:
        tx.keep_results(command.org_id, command.id, results)
    return {**run, **changed, **shown}


def columns_of(fields: RunFields) -> dict[str, Any]:
    """Return what was told as the columns of the table of runs; results lie in their own."""
    told: dict[str, Any] = msgspec.to_builtins(fields)  # without what is UNSET
    told.pop("results", None)
    return told
