"""Tables for people: columns of a list, names and values of one thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from worker.api.models import Job, Run, Task
from worker.cli import human
from worker.cli.attempts import next_attempt
from worker.cli.figures import Bill, bill_of

if TYPE_CHECKING:
    from worker.cli.terminal import Output

__all__ = ["jobs_table", "record", "result_text", "runs_table", "status_text", "table", "tasks_table"]

STYLES: Final = {
    "Success": "green", "ok": "green", "measured": "green", "active": "", "stopped": "",
    "Failed": "red", "fail": "bold red", "cancelled": "red", "broken": "red",
    "running": "cyan", "warn": "yellow", "lacks a secret": "yellow", "paused": "yellow", "unknown": "yellow",
    "unavailable": "yellow",
    "pending": "dim", "absent": "dim", "requeued": "dim",
}  # fmt: skip


def table(*columns: str, numbers: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """Return an empty table; numbers stand to the right; they and what is `whole` are never wrapped."""
    made = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    right, unbroken = set(numbers), set(whole)
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in unbroken | right)
    return made


def record(out: Output, title: str, pairs: Sequence[tuple[str, object]]) -> None:
    """Write one thing: a title and its values by name; values that are unknown as a dash."""
    made = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, value if isinstance(value, Text) else Text(human.text(value)))
    out.table(made)


def status_text(word: str | None) -> Text:
    """Return a status or state in its colour."""
    return Text(human.text(word), style=STYLES.get(word or "", ""))


def result_text(task: Task) -> Text:
    """Return how a task stands: its result once it has one, else its status."""
    return status_text(task.run_result if task.run_status == "stopped" else task.run_status)


def jobs_table(jobs: Iterable[Job], now: datetime | None = None) -> Table:
    """Return jobs, one a row."""
    now = now or datetime.now(UTC)
    made = table("job", "title", "state", "status", "done", "failed", "progress", "created",
                 numbers=("done", "failed", "progress"), whole=("job", "progress", "created"))  # fmt: skip
    for job in jobs:
        done = f"{human.text(job.task_status_stopped)}/{human.text(job.task_count)}"
        made.add_row(
            job.id, Text(human.text(job.title or job.type)), status_text(job.scheduler_state),
            status_text(job.status), done, failures(job), human.percent(job.task_progress),
            human.ago(job.created_at, now),
        )  # fmt: skip
    return made


def failures(job: Job) -> Text:
    """Return the number of failed tasks, red where there are some."""
    return Text(human.text(job.task_result_failures), style="red" if job.task_result_failures else "")


def tasks_table(tasks: Iterable[Task], now: datetime | None = None) -> Table:
    """Return tasks, one a row."""
    now = now or datetime.now(UTC)
    made = table("task", "title", "type", "status", "result", "progress", "created",
                 numbers=("progress",), whole=("task",))  # fmt: skip
    for task in tasks:
        made.add_row(
            task.id, Text(human.text(task.title)), Text(human.text(task.type)), status_text(task.run_status),
            status_text(task.run_result), human.percent(task.run_progress), human.ago(task.created_at, now),
        )  # fmt: skip
    return made


def runs_table(runs: Iterable[Run]) -> Table:
    """Return runs, one a row, with their bill; GPU time, and what follows, where some run has it."""
    runs = list(runs)
    next_ = {run.id: said for run in runs if (said := next_attempt(run)) is not None}
    has_gpus = any(bill_of(run)["gpuSeconds"] for run in runs)
    numbers = ("wall", "CPU", *(("GPU",) if has_gpus else ()), "peak RAM")
    last = ("error", *(("next attempt",) if next_ else ()))
    made = table("run", "status", "result", "started", *numbers, *last, numbers=numbers, whole=("run",))
    for run in runs:
        bill = Bill(run)
        figures = (bill.wall, bill.cpu, *((bill.gpu,) if has_gpus else ()), bill.ram)
        made.add_row(
            run.id, status_text(str(run.status)), status_text(run.result_code), human.instant(run.started_at),
            *figures, Text(human.shorten(run.error or "", 60)),
            *((Text(next_.get(run.id, human.DASH)),) if next_ else ()),
        )  # fmt: skip
    return made
