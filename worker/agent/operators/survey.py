"""Look at every part of the agent, and say how it stands; nothing is changed by it, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from worker.agent.drain import Drain
from worker.agent.free_space import FreeSpace
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds
from worker.agent.operators.activity import Activity
from worker.agent.operators.control.pause import HOLDER
from worker.agent.operators.status import (
    DrainStatus,
    GpuStatus,
    Hold,
    JournalStatus,
    RunStatus,
    ServerStatus,
    SlotStatus,
    Status,
)
from worker.agent.outbox import Outbox
from worker.agent.poller import Poller
from worker.agent.storing import Storing
from worker.agent.supervisor import Supervisor
from worker.agent.turns import Turns
from worker.api.wire import parse_instant
from worker.clock import Clock
from worker.reporting.entry_state import KEPT
from worker.reporting.journal import Journal
from worker.reporting.records import DELIVERED_MARK, Entry

__all__ = ["Survey"]


class Survey(Struct, frozen=True, kw_only=True):
    """The parts that are looked at."""

    clock: Clock
    pod_id: str
    version: str  # of millhand
    slots: int
    activity: Activity
    supervisor: Supervisor
    poller: Poller
    outbox: Outbox
    storing: Storing
    space: FreeSpace
    holds: Holds
    journal: Journal
    drain: Drain
    gpus: Gpus
    turns: Turns
    not_ending: Callable[[], int]

    @property
    def is_ready(self) -> bool:
        """Tell whether the server has answered once, and the agent is not ending.

        Whom a person has paused asks the server nothing; it is as ready as it is meant to be.
        """
        is_paused = HOLDER in self.holds.reasons
        return (self.activity.has_contact or is_paused) and not self.drain.is_requested

    def status(self) -> Status:
        """Return how the agent stands now."""
        holds = tuple(self._holds())
        busy = self.supervisor.busy
        facts = self.gpus.facts.gpus
        return Status(
            agent_id=self.pod_id.rpartition("/")[2],
            pod_id=self.pod_id,
            version=self.version,
            started=self.activity.started,
            now=self.clock.now(),
            is_ready=self.is_ready,
            is_claiming=not holds,
            stuck=self.turns.stuck(),
            holds=holds,
            drain=self._drain(),
            slots=SlotStatus(total=self.slots, busy=busy, free=max(0, self.slots - busy)),
            runs=self._runs(),
            storing=len(self.storing),
            not_ending=self.not_ending(),
            gpus=None if facts.state == "unknown" else self._gpus(),
            gpus_unknown=facts.reason if facts.state == "unknown" else None,
            journal=self._journal(),
            server=ServerStatus(
                poll_age_s=tenths(self.activity.poll_age_s),
                report_age_s=tenths(self.activity.report_age_s),
                heartbeat_age_s=tenths(self.activity.heartbeat_age_s),
                polls_failed=self.activity.polls_failed,
            ),
        )

    def _holds(self) -> Iterator[Hold]:
        """Give every reason for which nothing is claimed now; the supervisor waits for the same ones."""
        if self.drain.is_requested:
            yield Hold("drain", self.drain.message)
        if self.supervisor.is_recovering:
            yield Hold("recovery", "what an earlier life left is brought to its end first")
        if not self.supervisor.may_claim:
            yield Hold("slots", f"no slot is free, of {self.slots}")
        elif not self.poller.rooms.has_any:
            yield Hold("types", f"of every type as many runs go on as may ({self.poller.rooms.told()})")
        if self.outbox.is_full:
            yield Hold("outbox", f"{len(self.outbox)} outcomes are on their way to the server")
        if self.storing.is_full:
            yield Hold("spool", self.storing.fullness())
        if not self.journal.is_healthy:
            yield Hold("journal", "the state directory cannot be written")
        for folder, lack in self.space.lacks.items():
            yield Hold("disk", f"{folder}: {lack}")
        for name, reason in self.holds.reasons.items():
            yield Hold(name, reason)
        if (held_s := self.poller.held_s) > 0:
            yield Hold("server", f"claims were denied or lost; the next one is tried in {held_s:.1f} s")

    def _drain(self) -> DrainStatus | None:
        if not self.drain.is_requested:
            return None
        left_s = self.drain.left_s()
        return DrainStatus(
            kind=str(self.drain.kind),
            message=self.drain.message,
            deadline=self.clock.now() + timedelta(seconds=left_s),
            left_s=round(left_s, 1),
        )

    def _runs(self) -> tuple[RunStatus, ...]:
        return tuple(
            RunStatus(
                run_id=run.run_id,
                task_id=run.task_id,
                type=run.type,
                since=run.since,
                progress=run.state.progress,
                gpus=run.gpus,
            )
            for run in self.activity.going.values()
        )

    def _gpus(self) -> tuple[GpuStatus, ...]:
        going = self.activity.going.values()
        return tuple(
            GpuStatus(
                uuid=gpu.uuid,
                name=gpu.name,
                condition=gpu.condition.value,
                reason=gpu.reason,
                quarantine_left_s=tenths(gpu.quarantine_left_s),
                runs=tuple(run.run_id for run in going if gpu.uuid in run.gpus),
                free=gpu.free,
            )
            for gpu in self.gpus.states()
        )

    def _journal(self) -> JournalStatus:
        entries = self.journal.entries.values()
        undelivered = [entry for entry in entries if is_undelivered(entry)]
        return JournalStatus(
            entries=len(entries),
            undelivered=len(undelivered),
            lag_s=tenths(self._lag_s()),
            for_a_person=sum(not KEPT.isdisjoint(entry.marks) for entry in entries),
            is_healthy=self.journal.is_healthy,
        )

    def _lag_s(self) -> float | None:
        """Return how long ago the oldest run ended whose outcome is on its way; None where there is none."""
        ends = [end for entry in self.journal.entries.values() if (end := waiting_since(entry)) is not None]
        return max(0.0, (self.clock.now() - min(ends)).total_seconds()) if ends else None


def waiting_since(entry: Entry) -> datetime | None:
    """Return when a run ended whose outcome is on its way; None where none is."""
    if not is_undelivered(entry) or not KEPT.isdisjoint(entry.marks):
        return None
    return parse_instant(str((entry.terminal or entry.ended or {}).get("stoppedAt")))


def tenths(seconds: float | None) -> float | None:
    """Round for people; unknown stays unknown."""
    return None if seconds is None else round(seconds, 1)


def is_undelivered(entry: Entry) -> bool:
    """Tell whether the server does not have the outcome of a run that has ended."""
    return entry.has_outcome and DELIVERED_MARK not in entry.marks
