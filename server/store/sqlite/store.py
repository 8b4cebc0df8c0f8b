"""`Store` on SQLite: writes by the writer's thread, reads on the event loop.

Reads are short and use an index, and in WAL mode they never wait for the writer; a trip through
another thread would cost more than most of them take. Only pages in an unusual order, or far down a
list, go through a thread, with a connection of their own. A database in memory has one connection for
both, so there a read waits for the group that is being written.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, TypeVar

from msgspec import Struct

from server.ids import IdSource
from server.store.changes import Change, JobLags, Listener, TasksPending
from server.store.commands import Command, CreateToken, DeleteToken
from server.store.following import LAGGING, Following
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
from server.store.refusal import DatabaseError
from server.store.sql import long_reads, matrix, outcomes, reads, retention, rows, usage
from server.store.sql.execute import Probe
from server.store.sql.following import FollowJob
from server.store.sql.sample_rows import sample_records, select_samples
from server.store.sqlite.database import all_rows, database_path, lock_file, open_reader, open_writer
from server.store.sqlite.dialect import SQLITE
from server.store.sqlite.migrate import migrate, migrations
from server.store.sqlite.slow_reads import SlowReads
from server.store.sqlite.writer import Writer
from server.store.usage import SpanQuery, Spans, Usage, UsageQuery, Waiting
from server.times import to_ms
from worker.clock import Clock

__all__ = ["SqliteStore"]

AnswerT = TypeVar("AnswerT")


# A token is looked up for every request, and changes hardly ever. What another process changes
# (a token created or deleted on the command line) is seen after this time.
TOKEN_KNOWN_MS: Final = 5_000
MOST_TOKENS_KNOWN: Final = 1_000
CHANGING_TOKENS: Final = frozenset({CreateToken, DeleteToken})
NEVER: Final = 2**63


class KnownToken(Struct, frozen=True):
    """What the database said of a token, and when."""

    principal: Principal
    expires_at: int
    read_at: int


class SqliteStore:
    """The store in one SQLite file, or in memory; one process at a time."""

    def __init__(self, url: str, clock: Clock, new_id: IdSource) -> None:
        """Prepare; `start` opens."""
        self._url = url
        self._clock = clock
        self._new_id = new_id
        self._write_lock = threading.Lock()
        self._read_lock: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        self._open_writer: Writer | None = None
        self._open_reader: sqlite3.Connection | None = None
        self._slow_reads: SlowReads | None = None  # of a file, by a connection of their own
        self._following = Following(self.apply)
        self._listener: Listener = lambda _changes: None
        self._tokens: dict[str, KnownToken] = {}
        self._opened: list[BinaryIO | sqlite3.Connection] = []  # in this order

    async def start(self, listener: Listener) -> None:
        """Open the database, bring its schema up to date, start the writer."""
        try:
            db = await asyncio.to_thread(self._open)
        except BaseException:
            self._close_connections()
            raise
        self._listener = listener
        self._open_writer = Writer(db, self._write_lock, self._clock, self._new_id, self._hear)
        left = db.execute(LAGGING).fetchall()
        self._open_writer.start()
        for row in left:
            self._following.begin(FollowJob(row["org_id"], row["id"]))

    def _hear(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, JobLags):
                self._following.begin(FollowJob(change.org_id, change.job_id, change.is_whole, change.since))
        self._listener([change for change in changes if not isinstance(change, JobLags)])

    def _open(self) -> sqlite3.Connection:
        path = database_path(self._url)
        if path is not None:
            self._opened.append(lock_file(path))
        db = open_writer(path)
        self._opened.append(db)
        db.create_function("new_id", 0, self._new_id)
        migrate(db, migrations(), to_ms(self._clock.now()))
        if path is None:
            self._open_reader, self._read_lock = db, self._write_lock
        else:
            self._open_reader = open_reader(path)
            slow_reader = open_reader(path)
            self._opened += (self._open_reader, slow_reader)
            self._slow_reads = SlowReads(slow_reader)
        return db

    async def close(self) -> None:
        """Finish what is queued, then close the files."""
        await self._following.end()
        if self._open_writer is not None:
            await self._open_writer.stop()
        await asyncio.to_thread(self._close_connections)

    def _close_connections(self) -> None:
        self._open_reader = self._slow_reads = None
        while self._opened:
            self._opened.pop().close()

    async def apply(self, command: Command[AnswerT]) -> AnswerT:
        """Do a command and return its answer, durable."""
        (result,) = await self.apply_each([command])
        if isinstance(result, Exception):
            raise result
        return result

    async def apply_each(self, commands: Sequence[Command[AnswerT]]) -> list[AnswerT | Exception]:
        """Do commands in one transaction; each stands alone."""
        if self._open_writer is None:
            raise DatabaseError("the store was not started")
        results = await self._open_writer.submit(commands)
        if not CHANGING_TOKENS.isdisjoint(map(type, commands)):
            self._tokens.clear()
        return results

    def pass_on(self, pending: TasksPending) -> None:
        """There are no others."""

    async def check_writable(self) -> None:
        """Write something that changes nothing."""
        await self.apply(Probe())

    async def principal(self, sha256: str) -> Principal | None:
        """Return who the token of that hash speaks for."""
        now_ms = to_ms(self._clock.now())
        known = self._tokens.get(sha256)
        if known is None or not known.read_at <= now_ms < known.read_at + TOKEN_KNOWN_MS:
            known = self._read_token(sha256, now_ms)
        return known.principal if known is not None and now_ms < known.expires_at else None

    def _read_token(self, sha256: str, now_ms: int) -> KnownToken | None:
        row = self._one("SELECT * FROM tokens WHERE sha256 = ?", sha256)
        if row is None:  # not remembered: guesses shall not fill the memory
            self._tokens.pop(sha256, None)
            return None
        principal = rows.principal(row)
        if len(self._tokens) >= MOST_TOKENS_KNOWN:
            self._tokens.clear()
        expires_at = NEVER if row["expires_at"] is None else row["expires_at"]
        known = self._tokens[sha256] = KnownToken(principal, expires_at, now_ms)
        return known

    async def has_tokens(self) -> bool:
        """Tell whether there is a token that has not expired."""
        now_ms = to_ms(self._clock.now())
        return (
            self._one("SELECT 1 FROM tokens WHERE coalesce(expires_at, ?) > ?", now_ms + 1, now_ms)
            is not None
        )

    async def job(self, org_id: str, job_id: str) -> JobRecord | None:
        """Return a job."""
        row = self._one(SQLITE.job, org_id, job_id)
        return None if row is None else rows.job_record(row)

    async def task(self, org_id: str, task_id: str) -> TaskAnswer | None:
        """Return a task."""
        row = self._one(rows.ONE_TASK, org_id, task_id)
        return None if row is None else rows.task_answer(row)

    async def run(self, org_id: str, run_id: str) -> RunAnswer | None:
        """Return a run, with its job's state."""
        row = self._one(rows.one_run(SQLITE), org_id, run_id)
        return None if row is None else rows.run_answer(row)

    async def jobs(self, query: JobQuery) -> list[JobRecord]:
        """Return a page of jobs."""
        return [rows.job_record(row) for row in await self._page(query, reads.select_jobs(SQLITE, query))]

    async def tasks(self, query: TaskQuery) -> list[TaskAnswer]:
        """Return a page of tasks."""
        lagging = self._following.jobs_of(query.org_id)
        found = await self._page(query, reads.select_tasks(SQLITE, query, lagging), is_long=bool(lagging))
        return [rows.task_answer(row) for row in found]

    async def runs(self, query: RunQuery) -> list[RunAnswer]:
        """Return a page of runs."""
        return [rows.run_answer(row) for row in await self._page(query, reads.select_runs(SQLITE, query))]

    async def reports(self, query: ReportQuery) -> list[ReportRecord]:
        """Return a page of reports."""
        return [
            rows.report_record(row) for row in await self._page(query, reads.select_reports(SQLITE, query))
        ]

    async def task_states(self, org_id: str, job_id: str, most: int) -> str:
        """Return a letter for each of a job's tasks."""
        (row,) = await self._slowly(*matrix.select_task_states(SQLITE, org_id, job_id, most))
        return row["states"] or ""

    async def task_times(self, org_id: str, job_id: str, now_ms: int, most: int) -> TaskTimes:
        """Return how long each of a job's tasks took."""
        (row,) = await self._slowly(*matrix.select_task_times(SQLITE, org_id, job_id, now_ms, most))
        return await asyncio.to_thread(matrix.task_times, row)

    async def slowest(self, org_id: str, job_id: str, now_ms: int, most: int) -> list[SlowTask]:
        """Return the tasks of a job that took longest."""
        found = await self._slowly(*matrix.select_slowest(org_id, job_id, now_ms, most))
        return [matrix.slow_task(row) for row in found]

    async def failures(self, org_id: str, job_id: str) -> Failures:
        """Return what the failed runs of a job say."""
        return outcomes.failures(await self._slowly(*outcomes.select_failures(SQLITE, org_id, job_id)))

    async def pace(self, org_id: str, job_id: str) -> Pace:
        """Return how long the newest successful runs of a job took."""
        return outcomes.pace(self._all(*outcomes.select_pace(org_id, job_id)))

    async def usage(self, query: UsageQuery) -> Usage:
        """Return what runs took, added up."""
        return usage.usage_of(await self._slowly(*usage.select_usage(SQLITE, query)))

    async def spans(self, query: SpanQuery) -> Spans:
        """Return from when to when runs were under way."""
        return usage.spans_of(await self._slowly(*usage.select_spans(SQLITE, query)))

    async def waiting(self, org_id: str) -> list[Waiting]:
        """Return how many tasks of each type may be claimed."""
        return usage.waiting_of(await self._slowly(*usage.select_waiting(SQLITE, org_id)))

    async def samples(self, org_id: str, run_id: str) -> list[SampleRecord]:
        """Return how a run's usage grew, in the order of time."""
        return sample_records(self._all(*select_samples(SQLITE, org_id, run_id)))

    async def agents(self, org_id: str) -> list[AgentRecord]:
        """Return the agents of an organisation that said something lately."""
        return [rows.agent_record(row) for row in self._all(rows.AGENTS, [org_id])]

    async def depths(self) -> Depths:
        """Return how many tasks are pending, by type, and running."""
        has_hidden = bool(await self._slowly(f"{reads.HIDDEN} LIMIT 1", []))
        pending = await self._slowly(reads.count_pending(SQLITE, has_hidden=has_hidden), [])
        return rows.depths(pending, await self._slowly(reads.count_running(SQLITE), []))

    async def job_ages(self, after: JobAge | None, most: int) -> list[JobAge]:
        """Return how old the next jobs of all organisations are."""
        return [rows.job_age(row) for row in await self._slowly(*retention.select_ages(SQLITE, after, most))]

    async def awaits_results(self, org_id: str, job_id: str, since_ms: int) -> bool:
        """Tell whether an agent that fell silent may still tell how a run of the job ended."""
        return await retention.awaits_results(self._slowly, org_id, job_id, since_ms)

    async def _page(
        self, query: long_reads.AnyQuery, statement: reads.Statement, *, is_long: bool = False
    ) -> list[dict[str, Any]]:
        """Read a page here if that is quick, else in a thread, one after another."""
        if not is_long and not long_reads.may_take_long(query):
            return self._all(*statement)
        with long_reads.named(query):
            return await self._slowly(*statement)

    async def _slowly(self, sql: str, values: list[object]) -> list[dict[str, Any]]:
        """Read in a thread, one after another, for a bounded time; in memory little is to be read."""
        if self._slow_reads is None:
            return await asyncio.to_thread(self._all, sql, values)
        return await self._slow_reads.all(sql, values)

    def _one(self, sql: str, *values: object) -> dict[str, Any] | None:
        found = self._all(sql, list(values))
        return found[0] if found else None

    def _all(self, sql: str, values: list[object]) -> list[dict[str, Any]]:
        if self._open_reader is None:
            raise DatabaseError("the store is not open")
        with self._read_lock:
            return all_rows(self._open_reader.execute(sql, values))
