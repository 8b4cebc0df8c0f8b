"""What follows a run that failed here: another attempt and when, or none; and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from worker.api.models import Run, Task
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import RunError
from worker.executor.retries import RetryRules, Verdict, decide, effective_rules
from worker.executor.task_retry import read_retry

__all__ = ["INTERRUPTIONS_MAX", "Policies", "own_faults"]

INTERRUPTIONS_MAX: Final = 100  # runs of one task that ended by no fault of its own, then a person must look
INTERRUPTIONS: Final = frozenset({ErrorKind.DRAINED, ErrorKind.PREEMPTED, ErrorKind.WORKER_LOST})
NOT_ITS_OWN: Final = frozenset({*map(str, INTERRUPTIONS), str(ErrorKind.LOST_CLAIM), str(ErrorKind.REQUEUED)})


class Policies:
    """The rules by which tasks are tried again: the task's own, its handler's, bounded by the agent's."""

    def __init__(self, options: Mapping[str, Mapping[str, Any]], max_attempts: int | None) -> None:
        """`options` are those of the handlers, by type; `max_attempts` is the most for any task."""
        self._handlers = {type_: read_retry(given.get("retry"))[0] for type_, given in options.items()}
        self._max_attempts = max_attempts

    def rules(self, task: Task) -> RetryRules:
        """Return the rules of a task; what it says and cannot be read has failed its run already."""
        handler = self._handlers.get(task.type or "", RetryRules())
        return effective_rules(read_retry(task.parameters.get("retry"))[0], handler, self._max_attempts)

    def verdict(
        self, task: Task, run_id: str, error: RunError, known: Sequence[Run], attempt: int
    ) -> Verdict:
        """Decide on a failed run.

        `known` are the earlier runs of its task, `attempt` counts them all, interrupted ones too.
        """
        rules = self.rules(task)
        if error.kind is ErrorKind.LOST_CLAIM:  # of our own: nothing was executed, and nobody counts it
            reason = "given back before it began, which is no attempt; next at once"
            most = rules.max_attempts or 1
            return Verdict(attempt=None, max_attempts=most, after_s=0.0, reason=reason, is_worth_it=True)
        if error.kind not in INTERRUPTIONS:
            return decide(rules, error, faults_before=own_faults(known), run_id=run_id)
        is_again = attempt < INTERRUPTIONS_MAX
        reason = (
            f"interrupted ({error.kind}), which is no attempt; next at once"
            if is_again
            else f"no further run: it was interrupted too often ({INTERRUPTIONS_MAX} runs)"
        )
        return Verdict(
            attempt=None,
            max_attempts=rules.max_attempts or 1,
            after_s=0.0 if is_again else None,
            reason=reason,
            is_worth_it=True,
        )


def own_faults(runs: Sequence[Run]) -> int:
    """Count the earlier runs that failed by the task's own fault."""
    return sum(
        1 for run in runs if run.result_code == ResultCode.FAILED and run.error_kind not in NOT_ITS_OWN
    )
