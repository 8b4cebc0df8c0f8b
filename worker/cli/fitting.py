"""Make a table fit where it is shown: what is short is never broken, and what cannot fit is stacked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.text import Text

from worker.cli import human

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Column, Table

__all__ = ["fit", "needed_width"]

LONG: Final = 20  # columns of the screen; a cell up to this stays on one line
FLOOR: Final = 16  # the least that a column with longer cells gets
GAP: Final = 3  # between two columns
INDENT: Final = 2


def fit(table: Table, width: int) -> list[RenderableType]:
    """Return what to print: the table, or one entry under the other where the screen is too narrow."""
    if not table.show_header:
        return [table]
    if needed_width(table) > width:
        return [*stacked(table), *([Text(str(table.caption), style="dim")] if table.caption else [])]
    for column in table.columns:
        column.no_wrap = column.no_wrap or longest(column) <= LONG
    return [table]


def needed_width(table: Table) -> int:
    """Return how many columns of the screen a table needs at least to be read."""
    widths = [longest(column) if column.no_wrap else least(column) for column in table.columns]
    return sum(widths) + GAP * max(len(widths) - 1, 0)


def least(column: Column) -> int:
    """Return the least width of a column that may be folded."""
    return longest(column) if longest(column) <= LONG else FLOOR


def longest(column: Column) -> int:
    """Return the width of the longest line in a column."""
    return max(part.cell_len for cell in [column.header, *column.cells] for part in as_text(cell).split("\n"))


def as_text(cell: RenderableType) -> Text:
    """Return a cell as text; tables of ours hold nothing else."""
    return cell if isinstance(cell, Text) else Text(str(cell))


def stacked(table: Table) -> Iterator[RenderableType]:
    """Return the entries: what names one on a line, and below it the rest with its names."""
    headers = [str(column.header) for column in table.columns]
    leading = len(list(takewhile(lambda header: not header, headers))) + 1
    for row in zip(*(column.cells for column in table.columns), strict=True):
        cells = [as_text(cell) for cell in row]
        title = Text(" ").join(cells[:leading])
        title.stylize("bold")
        title.overflow = "fold"
        yield title
        known = [
            Text.assemble((f"{header} ", "dim"), cell)
            for header, cell in zip(headers[leading:], cells[leading:], strict=True)
            if cell.plain not in ("", human.DASH)
        ]
        if known:
            yield Padding(Text(", ").join(known), (0, 0, 0, INDENT))
