"""`Store` on PostgreSQL, shared by any number of servers.

Each command is one transaction in a thread with a connection of its own. What two servers do to one task is
put in order by its row's lock; the time is the database's. What was told to a caller is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import psycopg

from server.ids import IdSource
from server.store.changes import Change, JobLags, Listener, TasksPending
from server.store.choice import DatabaseOptions
from server.store.commands import Command, CreateToken, DeleteToken
from server.store.following import Following
from server.store.outcomes import Failures, Pace, SlowTask, TaskTimes
from server.store.postgres.commands import Jumps
from server.store.postgres.database import check_server, connect, limits_of, target_of, unreachable
from server.store.postgres.dialect import POSTGRES
from server.store.postgres.left_jobs import Left
from server.store.postgres.migrate import migrate, migrations
from server.store.postgres.notices import Notices
from server.store.postgres.session import Session
from server.store.postgres.text import without_nul
from server.store.postgres.tokens import Tokens
from server.store.postgres.workers import Workers
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
from server.store.sql import long_reads, matrix, outcomes, reads, retention, rows, usage
from server.store.sql.dialect import Row
from server.store.sql.execute import Probe
from server.store.sql.following import FollowJob
from server.store.sql.sample_rows import sample_records, select_samples
from server.store.usage import SpanQuery, Spans, Usage, UsageQuery, Waiting
from server.times import to_ms
from worker.clock import Clock, SystemClock

__all__ = ["PostgresStore"]

AnswerT = TypeVar("AnswerT")


class PostgresStore:
    """The store in a PostgreSQL database."""

    def __init__(
        self,
        url: str,
        clock: Clock | None,
        new_id: IdSource,
        options: DatabaseOptions,
    ) -> None:
        """Prepare; `start` opens. Time is the database's, unless a clock is given (in tests).

        Raises:
            DatabaseError: it is no PostgreSQL URL.
        """
        self._target = target_of(url)
        self._limits = limits_of(options)
        self._clock = clock
        mono = SystemClock().mono if clock is None else clock.mono
        jumps = Jumps() if clock is None else None
        self._workers = Workers(
            [Session(self._connect, new_id, clock, jumps) for _ in range(options.connections)]
        )
        self._slow_reads = asyncio.Semaphore(
            max(1, options.connections // 4)
        )  # the others stay free for the rest
        self._tokens = Tokens(self._read, mono, clock)
        self._following = Following(self.apply, max(1, options.connections // 4))
        self._notices: Notices | None = None
        self._listener: Listener = lambda _changes: None
        self._left = Left(self._read, self._following.begin)

    def _connect(self) -> psycopg.Connection[dict[str, Any]]:
        return connect(self._target, self._limits)

    async def start(self, listener: Listener) -> None:
        """Bring the schema up to date, open connections, listen to the other servers."""
        logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it would tell is raised as well
        await asyncio.to_thread(self._prepare)
        self._listener = listener
        self._workers.start()
        self._notices = Notices(self._target, listener, self._read)
        self._notices.start()
        await self._left.start()

    def _prepare(self) -> None:
        try:
            connection = self._connect()
        except psycopg.Error as exc:
            raise unreachable(self._target, exc) from exc
        with connection:
            check_server(connection)
            now_ms = to_ms((self._clock or SystemClock()).now())
            migrate(connection, migrations(), now_ms)

    async def close(self) -> None:
        """Finish what is queued, then close the connections."""
        await self._left.stop()
        await self._following.end()
        if self._notices is not None:
            await self._notices.stop()
        await self._workers.stop()

    async def apply(self, command: Command[AnswerT]) -> AnswerT:
        """Do a command and return its answer, durable."""
        clean = without_nul(command)
        answer, _ = await self._workers.do(lambda session: session.apply(clean), self._tell)
        if isinstance(command, CreateToken | DeleteToken):
            self._tokens.clear()
        return cast(AnswerT, answer)

    async def apply_each(self, commands: Sequence[Command[AnswerT]]) -> list[AnswerT | Exception]:
        """Do commands beside each other, each in a transaction of its own."""
        results = await asyncio.gather(*map(self.apply, commands), return_exceptions=True)
        return cast(list[AnswerT | Exception], results)

    def _tell(self, result: tuple[Any, Sequence[Change]]) -> None:
        for change in result[1]:
            if isinstance(change, JobLags):
                self._following.begin(FollowJob(change.org_id, change.job_id, change.is_whole, change.since))
        if changes := [change for change in result[1] if not isinstance(change, JobLags)]:
            self._listener(changes)

    def pass_on(self, pending: TasksPending) -> None:
        """Let waiters of other servers know."""
        if self._notices is not None:
            self._notices.pass_on(pending)

    async def check_writable(self) -> None:
        """Write something that changes nothing."""
        await self.apply(Probe())

    async def principal(self, sha256: str) -> Principal | None:
        """Return who the token of that hash speaks for."""
        return await self._tokens.principal(sha256)

    async def has_tokens(self) -> bool:
        """Tell whether there is a token that has not expired."""
        return await self._tokens.has_any()

    async def job(self, org_id: str, job_id: str) -> JobRecord | None:
        """Return a job."""
        found = await self._read(POSTGRES.job, [org_id, job_id])
        return rows.job_record(found[0]) if found else None

    async def task(self, org_id: str, task_id: str) -> TaskAnswer | None:
        """Return a task."""
        found = await self._read(rows.ONE_TASK, [org_id, task_id])
        return rows.task_answer(found[0]) if found else None

    async def run(self, org_id: str, run_id: str) -> RunAnswer | None:
        """Return a run, with its job's state."""
        found = await self._read(rows.one_run(POSTGRES), [org_id, run_id])
        return rows.run_answer(found[0]) if found else None

    async def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return a page of jobs."""
        return [rows.job_record(row) for row in await self._page(query, reads.select_jobs(POSTGRES, query))]

    async def tasks(self, query: TaskQuery) -> list[TaskAnswer]:
        """Return a page of tasks."""
        return [rows.task_answer(row) for row in await self._page(query, reads.select_tasks(POSTGRES, query))]

    async def runs(self, query: RunQuery) -> list[RunAnswer]:
        """Return a page of runs."""
        return [rows.run_answer(row) for row in await self._page(query, reads.select_runs(POSTGRES, query))]

    async def reports(self, query: ReportQuery) -> list[ReportRecord]:
        """Return a page of reports."""
        found = await self._page(query, reads.select_reports(POSTGRES, query))
        return [rows.report_record(row) for row in found]

    async def task_states(self, org_id: str, job_id: str, most: int) -> str:
        """Return a letter for each of a job's tasks."""
        (row,) = await self._slowly(*matrix.select_task_states(POSTGRES, org_id, job_id, most))
        return row["states"] or ""

    async def task_times(self, org_id: str, job_id: str, now_ms: int, most: int) -> TaskTimes:
        """Return how long each of a job's tasks took."""
        (row,) = await self._slowly(*matrix.select_task_times(POSTGRES, org_id, job_id, now_ms, most))
        return await asyncio.to_thread(matrix.task_times, row)

    async def slowest(self, org_id: str, job_id: str, now_ms: int, most: int) -> list[SlowTask]:
        """Return the tasks of a job that took longest."""
        found = await self._slowly(*matrix.select_slowest(org_id, job_id, now_ms, most))
        return [matrix.slow_task(row) for row in found]

    async def failures(self, org_id: str, job_id: str) -> Failures:
        """Return what the failed runs of a job say."""
        return outcomes.failures(await self._slowly(*outcomes.select_failures(POSTGRES, org_id, job_id)))

    async def pace(self, org_id: str, job_id: str) -> Pace:
        """Return how long the newest successful runs of a job took."""
        return outcomes.pace(await self._read(*outcomes.select_pace(org_id, job_id)))

    async def usage(self, query: UsageQuery) -> Usage:
        """Return what runs took, added up."""
        return usage.usage_of(await self._slowly(*usage.select_usage(POSTGRES, query)))

    async def spans(self, query: SpanQuery) -> Spans:
        """Return from when to when runs were under way."""
        return usage.spans_of(await self._slowly(*usage.select_spans(POSTGRES, query)))

    async def waiting(self, org_id: str) -> list[Waiting]:
        """Return how many tasks of each type may be claimed."""
        return usage.waiting_of(await self._slowly(*usage.select_waiting(POSTGRES, org_id)))

    async def samples(self, org_id: str, run_id: str) -> list[SampleRecord]:
        """Return how a run's usage grew, in the order of time."""
        return sample_records(await self._read(*select_samples(POSTGRES, org_id, run_id)))

    async def agents(self, org_id: str) -> list[AgentRecord]:
        """Return the agents of an organisation that said something lately."""
        return [rows.agent_record(row) for row in await self._read(rows.AGENTS, [org_id])]

    async def depths(self) -> Depths:
        """Return how many tasks are pending, by type, and running."""
        has_hidden = bool(await self._slowly(f"{reads.HIDDEN} LIMIT 1", []))
        pending = await self._slowly(reads.count_pending(POSTGRES, has_hidden=has_hidden), [])
        return rows.depths(pending, await self._slowly(reads.count_running(POSTGRES), []))

    async def job_ages(self, after: JobAge | None, most: int) -> list[JobAge]:
        """Return how old the next jobs of all organisations are."""
        return [
            rows.job_age(row) for row in await self._slowly(*retention.select_ages(POSTGRES, after, most))
        ]

    async def awaits_results(self, org_id: str, job_id: str, since_ms: int) -> bool:
        """Tell whether an agent that fell silent may still tell how a run of the job ended."""
        return await retention.awaits_results(self._slowly, org_id, job_id, since_ms)

    async def _page(self, query: long_reads.AnyQuery, statement: reads.Statement) -> list[Row]:
        """Read a page; only some connections at once for those that may take long."""
        if not long_reads.may_take_long(query):
            return await self._read(*statement)
        with long_reads.named(query):
            return await self._slowly(*statement)

    async def _slowly(self, sql: str, values: list[Any]) -> list[Row]:
        async with self._slow_reads:
            return await self._read(sql, values)

    async def _read(self, sql: str, values: list[Any]) -> list[Row]:
        clean = without_nul(values)
        return await self._workers.do(lambda session: session.all(sql, clean))
