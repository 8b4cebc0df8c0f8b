"""The store as the routes see it; each database has its own folder beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from server.store.changes import Listener, TasksPending
from server.store.commands import Command
from server.store.outcomes import Failures, Pace, SlowTask, TaskTimes
from server.store.queries import JobQuery, ReportQuery, RunQuery, TaskQuery
from server.store.records import (
    AgentRecord,
    Depths,
    JobAge,
    JobRecord,
    Principal,
    ReportRecord,
    RunAnswer,
    SampleRecord,
    TaskAnswer,
)
from server.store.usage import SpanQuery, Spans, Usage, UsageQuery, Waiting

__all__ = ["Store"]

AnswerT = TypeVar("AnswerT")


class Store(Protocol):
    """Commands and answers, queries and records.

    `apply` returns only what is durable. Commands of many callers are committed in groups, but
    each stands alone: one that is refused undoes no other. What a query returns includes every
    command that was answered before.
    """

    async def start(self, listener: Listener) -> None:
        """Open the database and bring its schema up to date.

        The listener is told on the event loop, after each commit, what changed for waiters.

        Raises:
            DatabaseError: it cannot be opened, is none of ours, or is newer than this program.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and close the database."""
        ...

    async def apply(self, command: Command[AnswerT]) -> AnswerT:
        """Do a command and return its answer, durable.

        Raises:
            Refused: the state of things does not allow it; nothing changed.
            StoreBusy: too many commands wait already.
            StoreFailed: the database failed; nothing changed.
            OutcomeUnknown: the database went away in the middle of the commit.
        """
        ...

    async def apply_each(self, commands: Sequence[Command[AnswerT]]) -> list[AnswerT | Exception]:
        """Do commands beside each other; return for each its answer, or what `apply` would raise."""
        ...

    def pass_on(self, pending: TasksPending) -> None:
        """Let waiters of other servers on the same database know of tasks that nobody here waits for."""
        ...

    async def principal(self, sha256: str) -> Principal | None:
        """Return who the token of that hash speaks for; None where there is none, or it expired."""
        ...

    async def has_tokens(self) -> bool:
        """Tell whether anybody can be let in at all."""
        ...

    async def job(self, org_id: str, job_id: str) -> JobRecord | None:
        """Return a job."""
        ...

    async def task(self, org_id: str, task_id: str) -> TaskAnswer | None:
        """Return a task."""
        ...

    async def run(self, org_id: str, run_id: str) -> RunAnswer | None:
        """Return a run, with its job's state."""
        ...

    async def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return a page of jobs."""
        ...

    async def tasks(self, query: TaskQuery) -> list[TaskAnswer]:
        """Return a page of tasks."""
        ...

    async def runs(self, query: RunQuery) -> list[RunAnswer]:
        """Return a page of runs."""
        ...

    async def reports(self, query: ReportQuery) -> list[ReportRecord]:
        """Return a page of reports."""
        ...

    async def task_states(self, org_id: str, job_id: str, most: int) -> str:
        """Return a letter for each of a job's tasks, by `createdAt`, then `id`.

        ``p`` pending, ``r`` running, ``s`` succeeded, ``f`` stopped in any other way.
        """
        ...

    async def task_times(self, org_id: str, job_id: str, now_ms: int, most: int) -> TaskTimes:
        """Return how long each of a job's tasks took, by `createdAt`, then `id`; those that run until now."""
        ...

    async def slowest(self, org_id: str, job_id: str, now_ms: int, most: int) -> list[SlowTask]:
        """Return the tasks of a job that took longest, or run for longest until now; the slowest first."""
        ...

    async def failures(self, org_id: str, job_id: str) -> Failures:
        """Return what the failed runs of a job say, those alike together; of very many the newest."""
        ...

    async def pace(self, org_id: str, job_id: str) -> Pace:
        """Return how long the newest successful runs of a job took, up to a hundred of them."""
        ...

    async def usage(self, query: UsageQuery) -> Usage:
        """Return what runs took, added up by all that a price may ask for; beside the requests."""
        ...

    async def spans(self, query: SpanQuery) -> Spans:
        """Return from when to when runs were under way, the newest first; beside the requests."""
        ...

    async def waiting(self, org_id: str) -> list[Waiting]:
        """Return how many tasks of each type may be claimed; beside the requests."""
        ...

    async def samples(self, org_id: str, run_id: str) -> list[SampleRecord]:
        """Return how a run's usage grew, in the order of time; older times are coarser."""
        ...

    async def agents(self, org_id: str) -> list[AgentRecord]:
        """Return the agents of an organisation that said something lately, by their ids; 10,000 at most."""
        ...

    async def depths(self) -> Depths:
        """Return how many tasks are pending, by type, and running, over all organisations.

        It walks along indexes of such tasks only, beside the requests.
        """
        ...

    async def job_ages(self, after: JobAge | None, most: int) -> list[JobAge]:
        """Return how old the next jobs of all organisations are, those that are being deleted too.

        By organisation, `createdAt`, `id`; beside the requests.
        """
        ...

    async def awaits_results(self, org_id: str, job_id: str, since_ms: int) -> bool:
        """Tell whether a run of the job, stopped for its silence since then, may yet be reported on."""
        ...

    async def check_writable(self) -> None:
        """Write something that changes nothing.

        Raises:
            StoreBusy, StoreFailed: as `apply`.
            Refused: the schema is not this program's any more.
        """
        ...
