"""What the agent does and has done since it started; noted as it happens, for whoever asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from datetime import datetime
from typing import Final

from msgspec import Struct, field

from worker.clock import Clock
from worker.executor.lease import Lease
from worker.executor.outcome import Outcome
from worker.reporting.report import RunState

__all__ = ["BOUNDS_S", "Activity", "Durations", "GoingRun"]

# Upper ends of the ranges that durations are counted in, from a thumbnail to a film; the last one is open.
BOUNDS_S: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0)
SUCCESS: Final = "success"  # beside the kinds of errors


class GoingRun(Struct, frozen=True, kw_only=True):
    """A run that goes on here."""

    run_id: str
    task_id: str
    type: str
    since: datetime  # when its claim was won
    gpus: tuple[str, ...]
    state: RunState  # what its handler told so far
    lease: Lease  # knows when the server last answered about it


class Durations(Struct):
    """How long runs of one type took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))  # by range
    sum_s: float = 0.0

    def add(self, wall_s: float) -> None:
        """Count one more; as long as a bound is below it."""
        self.counts[bisect_left(BOUNDS_S, wall_s)] += 1
        self.sum_s += wall_s


class Activity:
    """Counters and the runs that go on. Bounded by the slots, and by the types that have a handler here."""

    def __init__(self, clock: Clock) -> None:
        """Nothing has happened yet."""
        self._clock = clock
        self.started = clock.now()
        self.going: dict[str, GoingRun] = {}  # by run id
        self.ended: Counter[tuple[str, str]] = Counter()  # runs by type and outcome
        self.durations: dict[str, Durations] = {}  # by type, of the runs whose time is known
        self.claims: Counter[bool] = Counter()  # by whether they were won
        self.polls: Counter[bool] = Counter()  # by whether they were answered
        self.polls_failed = 0  # in a row
        self.has_contact = False  # the server has answered once as it should
        self._polled_mono: float | None = None
        self._reported_mono: float | None = None

    @property
    def poll_age_s(self) -> float | None:
        """Seconds since a poll was answered; None where none was."""
        return self._age_s(self._polled_mono)

    @property
    def report_age_s(self) -> float | None:
        """Seconds since the server took a report of any run; None where it took none."""
        return self._age_s(self._reported_mono)

    def polled(self, is_answered: bool) -> None:
        """Note the end of a poll."""
        self.polls[is_answered] += 1
        self.polls_failed = 0 if is_answered else self.polls_failed + 1
        if is_answered:
            self.has_contact = True
            self._polled_mono = self._clock.mono()

    def reported(self) -> None:
        """Note that the server took a report."""
        self.has_contact = True
        self._reported_mono = self._clock.mono()

    def claimed(self, is_won: bool) -> None:
        """Note how a claim was decided."""
        self.claims[is_won] += 1

    @property
    def heartbeat_age_s(self) -> float | None:
        """The longest that a run goes on without an answer about it; None where none goes on."""
        heard = [run.lease.heard_mono for run in self.going.values() if run.lease.heard_mono is not None]
        return self._age_s(min(heard, default=None))

    def begin(
        self,
        *,
        run_id: str,
        task_id: str,
        type_: str,
        gpus: tuple[str, ...],
        state: RunState,
        lease: Lease | None = None,
    ) -> None:
        """Note that a run goes on, until it is left."""
        self.going[run_id] = GoingRun(
            run_id=run_id,
            task_id=task_id,
            type=type_,
            since=self._clock.now(),
            gpus=gpus,
            state=state,
            lease=lease or Lease(),
        )

    def end(self, run_id: str, outcome: Outcome) -> None:
        """Count how a run that goes on has ended."""
        type_ = self.going[run_id].type
        self.ended[type_, SUCCESS if outcome.error is None else str(outcome.error.kind)] += 1
        if outcome.usage.wall_s is not None:
            self.durations.setdefault(type_, Durations()).add(outcome.usage.wall_s)

    def leave(self, run_id: str) -> None:
        """Note that a run goes on no more, however it ended."""
        self.going.pop(run_id, None)

    def _age_s(self, at_mono: float | None) -> float | None:
        return None if at_mono is None else self._clock.mono() - at_mono
