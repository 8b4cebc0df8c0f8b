"""Silent runs for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from worker.cli import human
from worker.cli.view import table

if TYPE_CHECKING:
    from rich.table import Table

    from worker.cli.reaping import Silent

__all__ = ["silent_table"]


def silent_table(found: Iterable[Silent]) -> Table:
    """Return runs, one a row, with what would become of each."""
    made = table("run", "type", "podId", "silent for", "progress", "then",
                 numbers=("silent for", "progress"), whole=("run",))  # fmt: skip
    for one in found:
        made.add_row(
            one.run.id, Text(human.text(one.type)), Text(human.text(one.run.pod_id)),
            human.duration(round(one.silent_s)), human.percent(one.run.progress), Text(one.then),
        )  # fmt: skip
    return made
