"""How `millhand run` shows a run: live while it goes on, a table and its value at its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from worker.cli import human
from worker.cli.demo_check import path_of
from worker.cli.exits import CliError
from worker.cli.view import record, status_text
from worker.executor.executor import Event, LogEvent, ProgressEvent

if TYPE_CHECKING:
    from worker.cli.local_run import Ran
    from worker.cli.terminal import Output
    from worker.executor.executor import EventSink
    from worker.executor.retries import Verdict
    from worker.usage.usage import Usage

__all__ = ["copy_files", "document", "events_shown", "show"]

CHECKPOINT_CHARS: Final = 80  # of one that is shown in the table


@contextmanager
def events_shown(out: Output) -> Iterator[EventSink]:
    """Show progress and logs on stderr: a bar on a terminal, lines elsewhere."""
    if out.is_terminal and not out.is_json:
        with bar_shown(out) as draw:
            yield draw
        return

    def write(event: Event) -> None:
        if isinstance(event, ProgressEvent):
            out.say(f"{human.percent(event.ratio):>5} {event.message or ''}".rstrip())
        elif isinstance(event, LogEvent):
            click.echo(f"{event.stream}: {event.line}", err=True)

    yield write


@contextmanager
def bar_shown(out: Output) -> Iterator[EventSink]:
    """Show a bar with the time so far; lines of the log pass above it."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out.console(stderr=True), transient=True) as progress:
        bar = progress.add_task("running", total=1.0)

        def draw(event: Event) -> None:
            if isinstance(event, ProgressEvent):
                progress.update(bar, completed=event.ratio, description=event.message or "running")
            elif isinstance(event, LogEvent):
                progress.console.print(f"{event.stream}: {event.line}", markup=False)

        yield draw


def copy_files(ran: Ran, target: Path) -> tuple[list[Path], CliError | None]:
    """Copy what the run made into a folder; return what was copied, and why the rest was not."""
    copied: list[Path] = []
    try:
        for file in ran.run.files:
            copied.append(copy(file.url, file.name, target))  # noqa: PERF401 - those before a failure count
    except CliError as exc:
        return copied, CliError(
            f"{exc.message}; the run's files are in {ran.folder}", exc.todo, code=exc.code
        )
    return copied, None


def copy(url: str, name: str, target: Path) -> Path:
    """Copy a file that the run made into a folder.

    Raises: CliError where it cannot be.
    """
    source = path_of({"url": url})
    path = target / name
    if source is None:
        raise CliError(
            f"{name} is at {url}, and cannot be copied from there", "fetch it with the store's tools"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(source, path))
    except OSError as exc:
        raise CliError(f"{path} cannot be written: {exc.strerror or exc}", "choose another --out") from exc


def show(out: Output, ran: Ran, copied: list[Path]) -> None:
    """Write how it ended: result, files, what it consumed, and what a next attempt would have."""
    if ran.missed is not None:
        out.note(f"the run had ended before {ran.missed}")
    if out.is_json:
        out.json(document(ran, copied))
        return
    outcome = ran.run.outcome
    record(out, "run", [*ending(ran), *bill(outcome.usage), *files(ran, copied)])
    if outcome.error is not None and outcome.error.traceback:
        out.say(outcome.error.traceback)
    if outcome.value:
        out.console().print("value")
        out.console().print_json(json.dumps(outcome.value, ensure_ascii=False, default=str))
    if ran.is_killed and outcome.error is not None:
        out.say(after_a_kill(ran))


def ending(ran: Ran) -> list[tuple[str, object]]:
    """Return result, error, attempt and checkpoint, as far as there is something to say."""
    outcome = ran.run.outcome
    rows: list[tuple[str, object]] = [("result", status_text(str(outcome.code)))]
    if outcome.error is not None:
        rows.append(("error", Text(outcome.error.text(), style="red")))
    if ran.retry is not None:
        rows.append(("an agent would", agent_would(ran.retry)))
    if ran.stopped_s is not None:
        rows.append(("stopped", f"{human.duration(ran.stopped_s)} after it was asked to"))
    if ran.resumed is not None:
        rows.append(("attempt", f"{ran.attempt}, from {ran.resumed.source}"))
    if outcome.error is not None and (outcome.checkpoint is not None or ran.is_killed):
        rows.append(("checkpoint", checkpoint_text(outcome.checkpoint)))
    return rows


def agent_would(retry: Verdict) -> str:
    """Say what an agent does after such an end."""
    return f"{'try it again' if retry.is_again else 'leave it failed'}: {retry.reason}"


def checkpoint_text(checkpoint: Any) -> str:
    """Return a checkpoint on a line."""
    if checkpoint is None:
        return "none: the handler had not saved one"
    return human.shorten(json.dumps(checkpoint, ensure_ascii=False), CHECKPOINT_CHARS)


def bill(usage: Usage) -> list[tuple[str, object]]:
    """Return what the run consumed, and whether that is all."""
    cpu = human.duration(usage.cpu_s)
    if usage.cpu_s is not None:
        parts = human.duration(usage.cpu_user_s), human.duration(usage.cpu_system_s)
        cpu += f" ({parts[0]} user, {parts[1]} system)"
    why = "; ".join(dict.fromkeys(usage.reasons.values()))
    return [
        ("wall", human.duration(usage.wall_s)), ("CPU", cpu),
        ("GPU", human.duration(usage.gpu_allocated_s)), ("peak RAM", human.size(usage.ram_peak_bytes)),
        ("average RAM", human.size(usage.ram_average_bytes)), ("read", human.size(usage.disk_read_bytes)),
        ("written", human.size(usage.disk_written_bytes)),
        ("bill", "complete" if usage.complete else f"incomplete: {why}" if why else "incomplete"),
    ]  # fmt: skip


def files(ran: Ran, copied: list[Path]) -> list[tuple[str, object]]:
    """Return the run's files, where they were copied to, else where they lie."""
    if len(copied) == len(ran.run.files):
        return [("file", str(path)) for path in copied]
    names: list[tuple[str, object]] = [("file", file.name) for file in ran.run.files]
    return [("folder", str(ran.folder)), *names] if ran.folder is not None else []


def after_a_kill(ran: Ran) -> str:
    """Say what the task of a killed run would have."""
    outcome = ran.run.outcome
    told = "the checkpoint of the last report" if outcome.checkpoint is not None else "no checkpoint"
    kept = "the checkpoint" if outcome.checkpoint is not None else "no checkpoint"
    bill_ = "a complete bill" if outcome.usage.complete else "an incomplete bill"
    seen = (
        "no bill" if ran.reported is None else f"a bill of {human.duration(ran.reported.wall_s)}, incomplete"
    )
    hint = (
        "ctx.checkpoint(value) in the handler saves where a next attempt goes on"
        if outcome.checkpoint is None
        else "the same command with --resume makes the next attempt"
    )
    return (
        "what its task would have for the next attempt:\n"
        f"  where its process alone was killed:  {kept}, {bill_}\n"
        f"  where the whole machine was lost:    {told}, {seen}\n"
        f"{hint}"
    )


def document(ran: Ran, copied: list[Path]) -> dict[str, Any]:
    """Return the run as JSON."""
    outcome = ran.run.outcome
    return {
        "resultCode": str(outcome.code),
        "value": outcome.value,
        "error": outcome.error.as_results() if outcome.error is not None else None,
        "retry": ran.retry.as_results() if ran.retry is not None else None,
        "usage": outcome.usage.as_details(),
        "files": [file.as_results() for file in ran.run.files],
        "copied": [str(path) for path in copied],
        "folder": str(ran.folder) if ran.folder is not None else None,
        "runId": ran.run.id,
        "type": ran.type,
        "attempt": ran.attempt,
        "resumedFrom": ran.resumed.source if ran.resumed is not None else None,
        "checkpoint": outcome.checkpoint if outcome.error is not None else None,
        "killed": ran.is_killed,
        "reportedUsage": ran.reported.as_details() if ran.reported is not None else None,
    }
