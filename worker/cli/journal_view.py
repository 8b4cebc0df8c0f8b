"""Entries of the journal for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from worker.api.wire import parse_instant
from worker.cli import human
from worker.cli.view import record, table
from worker.reporting.entry_state import EntryState, state_of

if TYPE_CHECKING:
    from rich.table import Table

    from worker.cli.terminal import Output
    from worker.reporting.records import Entry

__all__ = ["entries_table", "show_document", "what_to_do"]

STYLES: Final = {"running": "cyan", "ended": "cyan", "on its way": "yellow", "claimed": "dim"}
WHAT_TO_DO: Final = {
    EntryState.FENCED: "the task has gone on without them; `millhand journal export` keeps the results",
    EntryState.REDUCED: "the server took them without their results; `millhand journal export` keeps those",
    EntryState.REFUSED: "mend the server; stop the agent, `millhand journal retry`, start it; or export them",
}


def entries_table(summaries: Iterable[dict[str, Any]], now: datetime | None = None) -> Table:
    """Return entries, one a row."""
    now = now or datetime.now(UTC)
    made = table("run", "type", "state", "since", "result", "size", "files", "why", "task",
                 numbers=("size", "files"), whole=("run", "state", "since"))  # fmt: skip
    for one in summaries:
        files = human.size(one["filesBytes"]) if one["files"] else human.DASH
        error = human.shorten(one["why"] or one["error"] or human.DASH, 60)
        state = Text(one["state"], style=STYLES.get(one["state"], "red"))
        made.add_row(
            one["run"], Text(human.text(one["type"])), state, human.ago(parse_instant(one["since"]), now),
            Text(human.text(one["result"])), human.size(one["sizeBytes"]), files, Text(error), one["task"],
        )  # fmt: skip
    return made


def what_to_do(entries: Iterable[Entry]) -> Iterable[str]:
    """Yield a line for each state that waits for a person."""
    counts = Counter(state_of(entry) for entry in entries)
    for state, what in WHAT_TO_DO.items():
        if counts[state]:
            yield f"{counts[state]} {state}: {what}"


def show_document(out: Output, one: dict[str, Any]) -> None:
    """Write one entry."""
    if out.is_json:
        out.json(one)
        return
    outcome = one["outcome"] or {}
    record(out, f"run {one['run']}", [
        ("task", one["task"]), ("job", one["job"]), ("type", one["type"]), ("state", one["state"]),
        ("marks", ", ".join(one["marks"])), ("claimed by", one["podId"]), ("started", one["startedAt"]),
        ("stopped", outcome.get("stoppedAt")), ("result", outcome.get("resultCode")),
        ("error", outcome.get("error")), ("why it stays", one["why"]),
        ("requeue follows", one["requeue"]),
        ("size", human.size(one["sizeBytes"])),
    ])  # fmt: skip
    if one["files"]:
        record(out, "\nfiles", [
            (file["name"], f"{file['path']} ({human.size(file['sizeBytes'])}, sha256 {file['sha256']})")
            for file in one["files"]
        ])  # fmt: skip
    for title, value in (("results", outcome.get("results")), ("usage", one["usage"])):
        if value:
            out.console().print(f"\n{title}")
            out.console().print_json(json.dumps(value, default=str))
