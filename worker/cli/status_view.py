"""An agent's status as tables. It may come of another version: what is not there is shown as unknown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from worker.cli import human
from worker.cli.terminal import Output
from worker.cli.view import record, table

__all__ = ["show", "state_of"]

FULL: Final = frozenset({"slots", "types"})  # holds of an agent that has as much work as it can take
CONDITIONS: Final = {"fit": "green", "unfit": "bold red", "quarantined": "red", "unknown": "yellow"}


def show(out: Output, folder: Path, pid: int, status: Mapping[str, Any]) -> None:
    """Write what is so of the whole agent, then its runs and its GPUs."""
    record(out, f"agent {status.get('podId')} (pid {pid})", pairs(folder, status))
    if runs := status.get("runs"):
        show_runs(out, runs, now_of(status))
    if gpus := status.get("gpus"):
        show_gpus(out, gpus)


def pairs(folder: Path, status: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return what is so of the whole agent, by name."""
    now = now_of(status)
    slots, journal, server = (status.get(part) or {} for part in ("slots", "journal", "server"))
    waiting = f"{human.text(journal.get('undelivered'))} outcomes not delivered"
    person = journal.get("forAPerson")
    started = status.get("started")
    shown: list[tuple[str, object]] = [
        ("state", state_text(status)),
        *(("", Text(f"{hold['by']}: {hold['reason']}")) for hold in status.get("holds") or ()),
        ("slots", f"{human.text(slots.get('busy'))} of {human.text(slots.get('total'))} busy"),
        ("journal", Text(f"{human.text(journal.get('entries'))} open, {waiting}")),
        ("server", f"polled {age(server.get('pollAgeS'))}, took a report {age(server.get('reportAgeS'))}"),
        ("version", f"{status.get('version')}, started {ago(started, now)}"),
        ("state folder", str(folder)),
    ]
    if person:
        said = f"{human.count(person, 'entry', 'entries')} for a person: millhand journal"
        shown.insert(-3, ("", Text(said, style="bold red")))
    if not journal.get("isHealthy", True):
        shown.insert(-3, ("", Text("the state folder cannot be written", style="bold red")))
    if status.get("gpusUnknown"):
        shown.insert(-2, ("GPUs", Text(f"unknown: {status['gpusUnknown']}", style="yellow")))
    return shown


def state_of(status: Mapping[str, Any]) -> str:
    """Return how the agent stands, in a word or two."""
    by = {hold["by"] for hold in status.get("holds") or ()}
    if drain := status.get("drain"):
        return f"{drain.get('kind')}: ends within {human.rough(drain.get('leftS'))}"
    if stuck := status.get("stuck"):
        return f"stuck: {', '.join(stuck)}; its log says where"
    if "operator" in by:
        return "paused"
    if not status.get("isReady"):
        return "not ready: the server has not answered yet"
    if by <= FULL:
        return "busy" if by else "claims"
    return "claims nothing"


def state_text(status: Mapping[str, Any]) -> Text:
    """Return the same in its colour."""
    said = state_of(status)
    return Text(said, style="bold green" if said in {"busy", "claims"} else "bold yellow")


def show_runs(out: Output, runs: list[Mapping[str, Any]], now: datetime | None) -> None:
    """Write the runs that go on, the oldest first."""
    made = table("run", "task", "type", "progress", "since", "GPUs", numbers=("progress",), whole=("run",))
    for run in sorted(runs, key=lambda run: str(run.get("since"))):
        gpus = ", ".join(run.get("gpus") or ()) or human.DASH
        made.add_row(
            run.get("runId"), run.get("taskId"), Text(human.text(run.get("type"))),
            human.percent(run.get("progress")), ago(run.get("since"), now), gpus,
        )  # fmt: skip
    out.table(made)


def show_gpus(out: Output, gpus: list[Mapping[str, Any]]) -> None:
    """Write the GPUs."""
    made = table("GPU", "name", "condition", "runs", "why it gets none", numbers=("runs",))
    for gpu in gpus:
        condition = human.text(gpu.get("condition"))
        styled = Text(condition, style=CONDITIONS.get(condition, ""))
        made.add_row(
            gpu.get("uuid"), Text(human.text(gpu.get("name"))), styled,
            str(len(gpu.get("runs") or ())), Text(gpu.get("reason") or ""),
        )  # fmt: skip
    out.table(made)


def now_of(status: Mapping[str, Any]) -> datetime | None:
    """Return when the status was written."""
    return instant_of(status.get("now"))


def instant_of(value: object) -> datetime | None:
    """Return a time of the wire; None where it is none."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def ago(value: object, now: datetime | None) -> str:
    """Return how long ago something was, by the agent's own clock."""
    at = instant_of(value)
    return human.DASH if at is None or now is None else human.ago(at, now)


def age(seconds: float | None) -> str:
    """Return an age for people."""
    return "never yet" if seconds is None else f"{human.rough(seconds)} ago"
