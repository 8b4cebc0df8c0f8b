"""What a command works with while it runs: statements, the time, ids, and what to tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from server.ids import IdSource
from server.store.changes import Change, TasksPending, TaskTaken
from server.store.rules import RunState, TaskState
from server.store.sql.dialect import Dialect, Row

__all__ = ["Counting", "Transaction"]

STATEMENTS: Final = 256  # kept ready; clients tell a few combinations of fields
RESULTS: Final = """
INSERT INTO results VALUES (?, ?, ?) ON CONFLICT (org_id, run_id) DO UPDATE SET body = excluded.body"""
RUN_STATE: Final = "id, created_at, started_at, stopped_at, result_code, progress"

Values = Sequence[object] | Mapping[str, object]


class Counting(Protocol):
    """The counters of jobs, within a transaction."""

    def move(
        self, job: tuple[str, str], before: TaskState | None, after: TaskState, now_ms: int, tasks: int = 1
    ) -> None:
        """Move tasks of a job from one state to another; from None: they are new."""
        ...

    def write(self) -> None:
        """Write what was moved."""
        ...

    def clear(self) -> None:
        """Forget what was moved."""
        ...


class Transaction(ABC):
    """The statements that commands share, within a transaction that somebody else opened."""

    dialect: Dialect
    spares_last_sample = False  # what the last report of a run tells of usage lies in the run alone

    def __init__(self, new_id: IdSource, counters: Counting) -> None:
        """Work at one point in time; who opened the transaction writes the counters."""
        self.counters = counters
        self.new_id = new_id
        self.changes: list[Change] = []

    @property
    @abstractmethod
    def now_ms(self) -> int:
        """Return the transaction's time."""

    @abstractmethod
    def is_known_schema(self, version: int) -> bool:
        """Tell whether this program may write a schema of that version."""

    @abstractmethod
    def all(self, sql: str, values: Values = ()) -> Sequence[Row]:
        """Return all rows."""

    @abstractmethod
    def execute(self, sql: str, values: Values = ()) -> None:
        """Do a statement that returns nothing."""

    @abstractmethod
    def lock_task_of(self, org_id: str, run_id: str) -> None:
        """Wait until nobody else writes to the runs of a run's task; before any of them is read."""

    def keep_machine(self, org_id: str, job_id: str, machine: str, before: str | None = None) -> str:
        """Return what the column of a run holds for what was said of its machine: as a rule, that.

        Args:
            org_id: of the job.
            job_id: of the run.
            machine: what was said.
            before: what the column holds now, None for nothing.
        """
        return machine

    def place_results(self, body: str, results_id: int | None = None) -> Mapping[str, Any]:
        """Keep results where they lie by a number; return the columns of their run that change with it.

        Args:
            body: of a run that is written afterwards, by who then calls `keep_results`, too.
            results_id: where the results lie that they take the place of, if that is by a number.
        """
        return {}

    def keep_results(self, org_id: str, run_id: str, body: str) -> None:
        """Keep results where they lie by the ids of their run, which is written."""
        self.execute(RESULTS, (org_id, run_id, body))

    def forget_results(self, org_id: str, run_ids: Sequence[str]) -> None:
        """Delete those of some runs, which go afterwards."""
        of_runs = f"DELETE FROM results WHERE org_id = :org AND run_id IN {self.dialect.in_list(':ids')}"  # noqa: S608 - ours
        self.execute(of_runs, {"org": org_id, "ids": self.dialect.as_list(run_ids)})

    def forget_machines(self, org_id: str, job_id: str, most: int) -> int:
        """Delete what is kept of machines beside the runs of a job; return how many rows these were."""
        return 0

    def one(self, sql: str, *values: object) -> Row | None:
        """Return the first row, or None."""
        rows = self.all(sql, values)
        return rows[0] if rows else None

    def insert(self, table: str, **columns: Any) -> None:
        """Insert a row."""
        self.execute(_insert(table, tuple(columns)), tuple(columns.values()))

    def update(self, table: str, org_id: str, key: str, **columns: Any) -> None:
        """Change columns of the row with that key."""
        self.execute(_update(table, tuple(columns)), (*columns.values(), org_id, key))

    def live_run(self, org_id: str, task_id: str) -> RunState | None:
        """Return the task's started and not stopped run."""
        row = self.one(
            f"SELECT {RUN_STATE} FROM runs WHERE org_id = ? AND task_id = ?"  # noqa: S608
            " AND started_at IS NOT NULL AND stopped_at IS NULL",
            org_id,
            task_id,
        )
        return None if row is None else RunState(**dict(row))

    def latest_run(self, org_id: str, task_id: str) -> RunState | None:
        """Return the task's most recent run by `createdAt`."""
        row = self.one(
            f"SELECT {RUN_STATE} FROM runs WHERE org_id = ? AND task_id = ?"  # noqa: S608
            " ORDER BY created_at DESC LIMIT 1",
            org_id,
            task_id,
        )
        return None if row is None else RunState(**dict(row))

    def count(self, org_id: str, job_id: str, before: TaskState | None, after: TaskState) -> None:
        """Move a task from one state to another in its job's counters and status."""
        self.counters.move((org_id, job_id), before, after, self.now_ms)

    def tell(self, org_id: str, task_id: str, task_type: str, *, was: bool, claimable: bool) -> None:
        """Note for waiters that a task became claimable, or is not any more."""
        if claimable and not was:
            self.changes.append(TasksPending(org_id, task_type))
        elif was and not claimable:
            self.changes.append(TaskTaken(org_id, task_id))


@lru_cache(maxsize=STATEMENTS)
def _insert(table: str, names: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - names are ours


@lru_cache(maxsize=STATEMENTS)
def _update(table: str, names: tuple[str, ...]) -> str:
    sets = ", ".join(f"{name} = ?" for name in names)
    return f"UPDATE {table} SET {sets} WHERE org_id = ? AND id = ?"  # noqa: S608 - names are ours
