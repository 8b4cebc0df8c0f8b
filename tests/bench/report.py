"""The figures as a table for people, as JSON for programs, and as a page of the documentation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.curves.picture import draw
from tests.bench.figure import Figure
from tests.bench.targets import Row, as_rows, row_of

__all__ = ["PAGE", "as_json", "as_summary", "as_table", "durability", "save"]

STORES: Final = {
    "SQLite": "SQLite on disk with synchronous=FULL (a 200 is durable)",
    "PostgreSQL": "PostgreSQL with fsync (a 200 is durable) over a socket on the same machine, 8 connections",
}
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
HEAD: Final = ("", "", "", "target", "")
PICTURE: Final = "pictures/curves.svg"  # beside the page
MARK: Final = "\n## "  # of the sections; what stands before the first one is the page's own


def durability(kind: str) -> str:
    """Return what the figures stand for with a kind of store."""
    return (
        f"{STORES[kind]}; the agent's journal on disk, terminal reports "
        "synced before they are sent; one agent, one server, loopback."
    )


def as_table(figures: Sequence[Figure]) -> str:
    """Return aligned lines."""
    return aligned([(f.name, f.shown(), f.unit, f.note) for f in figures])


def as_summary(figures: Sequence[Figure]) -> str:
    """Return what people ask for first, each beside its target; empty where nothing of that was measured."""
    rows = as_rows(figures)
    return aligned([HEAD, *map(cells, rows)]) if rows else ""


def cells(row: Row) -> tuple[str, ...]:
    """Return a line of the summary."""
    return (row.name, row.shown, row.unit, row.target, row.verdict)


def aligned(lines: Sequence[tuple[str, ...]]) -> str:
    """Return lines whose columns stand below each other; the second is of numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if at == 1 else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_json(host: str, kept: str, figures: Sequence[Figure], worse: Sequence[str] = ()) -> str:
    """Return everything as one object; `kept` says how durable what is."""
    told = [
        {"name": row.name, "value": row.value, "unit": row.unit, "target": row.target, "isMet": row.is_met}
        | {"note": figure.note}
        for figure, row in zip(figures, map(row_of, figures), strict=True)
    ]
    summary = [row.name for row in as_rows(figures)]
    whole = {"host": host, "durability": kept, "figures": told, "summary": summary}
    return msgspec.json.encode(whole | {"worse": worse}).decode()


def save(command: str, host: str, kept: str, figures: Sequence[Figure], page: Path = PAGE) -> Path:
    """Put a section on top of those of the page of benchmarks; return the page.

    Curves are drawn anew, too, in the picture that the page begins with.
    """
    day = dt.datetime.now(dt.UTC).date()
    rows = as_rows(figures)
    summary = markdown([HEAD, *map(cells, rows)]) + "\n" if rows else ""
    told = {row.name for row in rows}
    rest = [
        (f.name.strip(), f"{f.shown()} {f.unit}".strip(), f.note)
        for f in figures
        if f.name.strip() not in told
    ]
    table = markdown([("", "", ""), *rest]) if rest else ""
    section = f"## {day}\n\n`{command}` on {host}.\n{kept}\n\n{summary}{table}"
    head, mark, older = page.read_text().partition(MARK)
    if draw(figures, page.parent / PICTURE) and PICTURE not in head:
        head = f"{head.rstrip()}\n\n![How costs grow]({PICTURE})\n"
    page.write_text(f"{head.rstrip()}\n\n{section}{mark}{older}")
    return page


def markdown(lines: Sequence[tuple[str, ...]]) -> str:
    """Return a table; the first line is its head."""
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, f"|{'---|' * len(lines[0])}", *rows]) + "\n"
