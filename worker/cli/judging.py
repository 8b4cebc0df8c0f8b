"""What an agent would do after a local run that failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from worker.api.wire import ErrorKind
from worker.executor.catalogue import HandlerEntry
from worker.executor.local import LocalRun
from worker.executor.retries import Verdict, decide, effective_rules
from worker.executor.task_retry import read_retry

__all__ = ["judged", "verdict_on"]


def verdict_on(
    run: LocalRun, entry: HandlerEntry, parameters: Mapping[str, Any], attempt: int
) -> Verdict | None:
    """Return what an agent would do next, were each earlier attempt one that failed by its own fault."""
    if (error := run.outcome.error) is None or error.kind is ErrorKind.CANCELLED:  # asked to stop, here
        return None
    rules = effective_rules(
        read_retry(parameters.get("retry"))[0], read_retry(entry.options.get("retry"))[0], None
    )
    return decide(rules, error, faults_before=attempt - 1, run_id=run.id)


def judged(run: LocalRun, verdict: Verdict | None) -> LocalRun:
    """Return a run whose error says whether it is worth another attempt, as an agent would."""
    outcome = run.outcome
    if verdict is None or outcome.error is None:
        return run
    error = replace(outcome.error, retryable=verdict.is_worth_it)
    return replace(run, outcome=replace(outcome, error=error))
