"""What a local run leaves for a later `--resume`, while it goes on and at its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from worker.cli.exits import CliError, ExitCode
from worker.cli.last_runs import LastRun, LastRuns
from worker.executor.executor import CheckpointEvent, Event, UsageEvent
from worker.executor.local import LocalRun

if TYPE_CHECKING:
    from worker.usage.usage import Usage

__all__ = ["STATE_TODO", "Trail"]

STATE_TODO: Final = "check $XDG_STATE_HOME and the disk"


class Trail:
    """What a run leaves for a later `--resume`, written on its way, so that it outlives this command too.

    Once it has begun, a folder that cannot be written is a fault beside the run, and no end of it.
    """

    def __init__(self, last_runs: LastRuns, last: LastRun) -> None:
        """Begin, in place of what the run before left.

        Raises: OSError where the folder cannot be written.
        """
        self._runs = last_runs
        self.last = last
        self.reported: Usage | None = None  # what was told of its bill at last
        self.fault: CliError | None = None  # why what stands there is not what the run left at last
        last_runs.keep(last)

    def note(self, event: Event) -> None:
        """Keep what an event tells."""
        if isinstance(event, CheckpointEvent):
            self.last = replace(self.last, checkpoint=event.value, at=datetime.now(UTC))
            self._keep(self.last)
        elif isinstance(event, UsageEvent):
            self.reported = event.usage

    def close(self, run: LocalRun) -> LocalRun:
        """Keep how it ended; return it with the checkpoint of a next attempt, its own or the one before."""
        outcome = run.outcome
        given = self.last.checkpoint if outcome.checkpoint is None else outcome.checkpoint
        checkpoint = None if outcome.error is None else given
        self._keep(
            replace(
                self.last,
                run_id=run.id,
                result=str(outcome.code),
                checkpoint=checkpoint,
                at=datetime.now(UTC),
            )
        )
        return replace(run, outcome=replace(outcome, checkpoint=checkpoint))

    def _keep(self, last: LastRun) -> None:
        try:
            self._runs.keep(last)
            self.fault = None
        except OSError as exc:
            self.fault = CliError(
                f"what --resume goes on from could not be kept: {exc}",
                STATE_TODO,
                code=ExitCode.CONFIGURATION,
            )
