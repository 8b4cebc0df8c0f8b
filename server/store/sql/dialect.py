"""What differs between the databases in statements that are otherwise the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Dialect", "Row"]


class Row(Protocol):
    """A row by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the value of a column."""
        ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of a column, or the default where that was not read."""
        ...

    def keys(self) -> Collection[str]:
        """Return the names."""
        ...


class Dialect(Protocol):
    """Parts of statements; marks are ``?``, names of values ``:name``, in both databases.

    Locks are taken in one order: first the job, then its tasks. Who writes the runs of a task holds
    its lock; who changes a job's state or priority holds the job's, alone. A database with one writer
    needs none of them.
    """

    has_tasks_by_status: bool  # one index has the tasks of a job by status, else each status has its own
    lock_task: str  # at the end of a SELECT of `tasks t` and `jobs j`
    lock_tasks: str  # at the end of a SELECT of `tasks`
    lock_job: str  # at the end of a SELECT of `jobs`: its state and priority stay as they are read
    change_job: str  # the same, for who changes them
    claimable: str  # of `tasks t`, exactly as in the partial indexes
    new_id: str  # an expression
    machine: str  # of `runs r`: what was said of its machine
    join_machine: str  # what `machine` needs beside them
    results: str  # of `runs r`: what was told of its results
    join_results: str  # what `results` needs beside them
    results_id: str  # of `runs r`: where they lie, if that is by a number
    own_sample: str  # to be added to the statement of a run's samples, or nothing; see `sample_rows`
    job_status: str  # of `jobs j`
    job_updated: str  # of `jobs j`: when it or one of its tasks was last written
    new_job: Mapping[str, Any]  # columns of a new one beyond the common ones
    job: str  # a statement: a job with its counters, by organisation and id

    def __hash__(self) -> int:
        """Tell it from others: what is made of it is kept."""
        ...

    def jobs(self, where: str, order: str, page: str) -> str:
        """Return the statement that selects a page of jobs with their counters."""
        ...

    def walk(self, tasks: str, order: str, depth: int) -> str:
        """Return a statement of `tasks t` as a part of several that are merged in an order, so far down."""
        ...

    def closing(self, is_closing: bool) -> Mapping[str, Any]:
        """Return the columns of a job that tell others whether its tasks are being stopped."""
        ...

    def following(self, now_ms: int) -> Mapping[str, Any]:
        """Return the columns of a job that tell others that somebody brings its tasks in line just now."""
        ...

    def not_closing(self, org_id: str, closing: Collection[str]) -> tuple[str, list[object]] | None:
        """Return a condition on `tasks t` that leaves out pending ones of jobs that are being closed."""
        ...

    def in_list(self, mark: str) -> str:
        """Return what stands after IN for a value that `as_list` made."""
        ...

    def as_list(self, values: Collection[str]) -> object:
        """Return texts as one value."""
        ...

    def directed(self, term: str, direction: str) -> str:
        """Return a term of ORDER BY; what has no value counts as the smallest."""
        ...

    def joined(self, term: str, order: str) -> str:
        """Return an aggregate: texts one after the other; the rows come in that order already."""
        ...

    def replaced(self, term: str, patterns: Sequence[str], mark: str) -> str:
        """Return an expression: a text with a mark for whatever fits `outcomes.FOLDED`, in its order."""
        ...

    def before(self, term: str, mark: str) -> str:
        """Return the part of a text before a mark; the whole text where there is none."""
        ...

    def of_job(self, status: str) -> str:
        """Return what stands after `tasks` to have a job's tasks of a status read along their index."""
        ...

    def live_runs(self) -> str:
        """Return what stands after `runs` to have those that live read along their index."""
        ...

    def by_index(self, name: str) -> str:
        """Return what stands after a table to have it read along an index."""
        ...
