"""How the tasks of a job are shown."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from worker.api.models import Run, Task
from worker.cli.outcomes import ROWS_MAX, TaskOutcome, common_place, files_of, outcome_table


def outcome(name: str, result: str | None, *urls: str, **fields: Any) -> TaskOutcome:
    """Return a task and its run; no run without a result."""
    task = Task.read({"id": f"id-{name}", "title": name})
    assert task is not None
    files = [{"name": url.rpartition("/")[2], "url": url} for url in urls]
    raw = {"id": "r", "resultCode": result, "results": {"files": files}, **fields}
    return TaskOutcome(task, Run.read(raw) if result else None)


def text_of(outcomes: list[TaskOutcome]) -> str:
    """Return the table as it stands on a wide screen."""
    console = Console(file=io.StringIO(), width=200)
    console.print(outcome_table(outcomes))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_has_result_bill_and_file_or_error() -> None:
    """What is not known is a dash, and text of others is never taken as markup."""
    text = text_of([
        outcome("a", "Success", "file:///s/1/a.stl", wallClockTime="1.5", CPUTime=0.25, RAMUsage=1024**2),
        outcome("[red]b", "Failed", error="timeout: [bold]too long"),
        outcome("c", None),
    ])  # fmt: skip
    rows = [" ".join(line.split()) for line in text.splitlines()[2:]]
    assert rows == [
        "a Success 1.50 s 250 ms 1.0 MiB a.stl",
        "[red]b Failed – – – timeout: [bold]too long",
        "c – – – – –",
    ]


def test_gpu_time_is_a_column_where_a_task_had_one() -> None:
    """Most have none."""
    text = text_of([outcome("a", "Success", GPUTime=90.0), outcome("b", "Success", GPUTime=0)])
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows[0] == "task result wall CPU GPU peak RAM output"
    assert rows[2:] == ["a Success – – 1 min 30 s – –", "b Success – – 0 ms – –"]


def test_a_long_list_shows_failures_first_and_says_what_is_left_out() -> None:
    """A thousand rows help nobody; the ones that failed do."""
    outcomes = [outcome(f"good {n}", "Success") for n in range(ROWS_MAX)] + [outcome("bad", "Failed")]
    text = text_of(outcomes)
    assert "bad" in text.splitlines()[2]
    assert "1 more" in text


def test_the_place_of_all_files_is_found() -> None:
    """Only where they have one, and spaces are spaces."""
    one, two = (
        outcome("a", "Success", "file:///a%20b/1/x.stl"),
        outcome("b", "Success", "file:///a%20b/2/y.stl"),
    )
    assert common_place([one, two]) == "/a b"
    assert common_place([outcome("a", "Success", "s3://bucket/p/x")]) == "s3://bucket/p"
    assert common_place([one, outcome("a", "Success", "s3://bucket/p/x")]) is None
    assert common_place([outcome("a", "Failed")]) is None


def test_files_that_are_none_of_ours_are_left_out() -> None:
    """Another server's results may hold anything."""
    task = outcome("a", "Success").task
    for files in (None, 7, ["a.stl"], [{"name": "x"}], {"name": "x", "url": "y"}):
        assert files_of(Run.read({"id": "r", "results": {"files": files}})) == []
    assert files_of(TaskOutcome(task, None).run) == []
