"""How the tasks of a job ended: a row per task with result, bill and files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from rich.text import Text

from worker.api.models import Run, Task, most_recent
from worker.cli import human
from worker.cli.attempts import next_attempt
from worker.cli.figures import Bill, bill_of
from worker.cli.view import status_text, table

if TYPE_CHECKING:
    from rich.table import Table

    from worker.cli.session import Session

__all__ = ["TaskOutcome", "common_place", "files_of", "outcome_table", "read_outcomes"]

ROWS_MAX = 100  # of a table on the screen; failures come first
ERROR_CHARS = 200


class TaskOutcome(Struct, frozen=True):
    """A task and its most recent run."""

    task: Task
    run: Run | None

    @property
    def result(self) -> str | None:
        """Success or Failed; None while it is not stopped."""
        return self.run.result_code if self.run is not None else self.task.run_result

    @property
    def has_succeeded(self) -> bool:
        """Tell whether the task is done and well."""
        return self.result == "Success"

    @property
    def error(self) -> str | None:
        """Why it failed."""
        return self.run.error if self.run is not None else None

    def as_json(self) -> dict[str, Any]:
        """Return it as one document."""
        return {"task": self.task.raw, "run": self.run.raw if self.run is not None else None}


async def read_outcomes(session: Session, job_id: str, order: Sequence[str] = ()) -> list[TaskOutcome]:
    """Read every task of a job with its most recent run; in the order of these ids, else of the server."""
    tasks = await session.pages(
        lambda page, per_page: session.api.list_tasks(job_id=job_id, page=page, per_page=per_page), None
    )
    runs = await session.pages(
        lambda page, per_page: session.api.list_runs(job_id=job_id, page=page, per_page=per_page), None
    )
    by_task: dict[str | None, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.task_id, []).append(run)
    places = {id_: place for place, id_ in enumerate(order)}
    tasks.sort(key=lambda task: places.get(task.id, len(places)))
    return [TaskOutcome(task, most_recent(by_task.get(task.id, []))) for task in tasks]


def files_of(run: Run | None) -> list[dict[str, Any]]:
    """Return `results.files` of a run, as far as they are files of ours: with name and URL."""
    files = run.results.get("files") if run is not None else None
    if not isinstance(files, list):
        return []
    return [file for file in files if isinstance(file, dict) and file.get("name") and file.get("url")]


def common_place(outcomes: Iterable[TaskOutcome]) -> str | None:
    """Return the folder or URL below which all files of these tasks lie; None where there is none."""
    urls = [str(file["url"]) for one in outcomes for file in files_of(one.run)]
    if not urls or len({urlsplit(url)[:2] for url in urls}) > 1:
        return None
    start = urlsplit(urls[0])
    path = os.path.commonpath([os.path.dirname(urlsplit(url).path) for url in urls])  # noqa: PTH120 - of URLs
    return unquote(path) if start.scheme == "file" else f"{start.scheme}://{start.netloc}{path}"


def outcome_table(outcomes: Sequence[TaskOutcome]) -> Table:
    """Return the table: task, result, wall, CPU, GPU (where some had one), peak RAM, output file or error."""
    rows = sorted(outcomes, key=lambda one: one.has_succeeded)
    shown = rows[:ROWS_MAX] if len(rows) > ROWS_MAX else list(outcomes)
    has_gpus = any(bill_of(one.run)["gpuSeconds"] for one in rows if one.run is not None)
    numbers = ("wall", "CPU", *(("GPU",) if has_gpus else ()), "peak RAM")
    made = table("task", "result", *numbers, "output", numbers=numbers)
    for one in shown:
        bill = Bill(one.run) if one.run is not None else None
        words = [human.DASH] * len(numbers)
        if bill is not None:
            words = [bill.wall, bill.cpu, *((bill.gpu,) if has_gpus else ()), bill.ram]
        made.add_row(Text(one.task.title or one.task.id), status_text(one.result), *words, last_column(one))
    if len(rows) > len(shown):
        made.caption = f"{len(rows) - len(shown)} more; `millhand tasks --job … --all` lists them"
    return made


def last_column(one: TaskOutcome) -> Text:
    """Return what came out: the names of the files, or the error."""
    if one.error and not one.has_succeeded:
        said = next_attempt(one.run) if one.run is not None else None
        shown = human.shorten(one.error, ERROR_CHARS)
        return Text(f"{shown} ({said})" if said else shown, style="red")
    return Text(", ".join(str(file["name"]) for file in files_of(one.run)) or human.DASH)
