"""Whether an outcome that stayed in the journal may be sent once more. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from worker.agent.identity import our_identity
from worker.api.models import Run
from worker.api.wire import ErrorKind
from worker.reporting.entry_runs import after, is_our_report
from worker.reporting.entry_state import outcome_of
from worker.reporting.records import Entry

__all__ = ["Chance", "chance_of"]


class Chance(Struct, frozen=True):
    """Whether it may be sent, and why."""

    may: bool
    why: str


def chance_of(entry: Entry, run: Run | None, runs: Sequence[Run]) -> Chance:
    """Tell whether the outcome of an entry may be sent again.

    Never to a run that is somebody else's, and not where its task has gone on without it: what a
    person did not see happen is not undone by an old result.

    Args:
        entry: with an outcome.
        run: the run as the server shows it; None where it knows none.
        runs: all runs of the task.
    """
    outcome = outcome_of(entry)
    if outcome is None:
        return Chance(False, "its run has no outcome; the next start of the agent closes it")
    if run is None:
        return Chance(False, "the server knows no such run (any more)")
    if our_identity(entry, run) is None:
        return Chance(False, f"the run is another's ({run.pod_id or 'unknown'}): what counts is its report")
    if not run.raw.get("stoppedAt"):
        return Chance(True, "the run is this agent's, and still going")
    if is_our_report(run, entry, outcome):
        return Chance(
            True, "the server has this outcome; a server that changes no stopped run keeps what it has"
        )
    if run.error_kind != ErrorKind.WORKER_LOST:
        return Chance(
            False, f"the run was stopped meanwhile: {run.error or run.result_code or 'no reason told'}"
        )
    if any(later.raw.get("startedAt") for later in after(runs, entry)):
        return Chance(False, "the run was given up as lost, and its task has been started again since")
    return Chance(
        True, "the run was given up as lost, and nobody has started its task since; the server decides"
    )
