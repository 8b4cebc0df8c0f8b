"""The figures as a table for people, as JSON for programs, and as a page of the documentation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.figure import Figure

__all__ = ["as_json", "as_table", "durability", "save"]

STORES: Final = {
    "SQLite": "SQLite on disk with synchronous=FULL (a 200 is durable)",
    "PostgreSQL": "PostgreSQL with fsync (a 200 is durable) over a socket on the same machine, 8 connections",
}
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
TITLE: Final = """# Benchmarks

What the main path costs, measured by `make bench`. The newest section comes first. Compare only sections of
one machine, and take anything under 1.3 times for noise where others use the machine too.
"""


def durability(kind: str) -> str:
    """Return what the figures stand for with a kind of store."""
    return (
        f"{STORES[kind]}; the agent's journal on disk, terminal reports "
        "synced before they are sent; one agent, one server, loopback."
    )


def as_table(figures: Sequence[Figure]) -> str:
    """Return aligned lines."""
    name_width = max(len(figure.name) for figure in figures)
    value_width = max(len(figure.shown()) for figure in figures)
    unit_width = max(len(figure.unit) for figure in figures)
    return "\n".join(
        f"{f.name:<{name_width}}  {f.shown():>{value_width}} {f.unit:<{unit_width}}  {f.note}".rstrip()
        for f in figures
    )


def as_json(host: str, kind: str, figures: Sequence[Figure]) -> str:
    """Return everything as one object."""
    return msgspec.json.encode({"host": host, "durability": durability(kind), "figures": figures}).decode()


def save(command: str, host: str, kind: str, figures: Sequence[Figure], page: Path = PAGE) -> Path:
    """Put a section on top of the page of benchmarks; return the page."""
    day = dt.datetime.now(dt.UTC).date()
    rows = "\n".join(f"| {f.name.strip()} | {f.shown()} {f.unit} | {f.note} |" for f in figures)
    section = f"## {day}\n\n`{command}` on {host}.\n{durability(kind)}\n\n| | | |\n|---|---|---|\n{rows}\n"
    older = page.read_text().partition("\n## ")[1:] if page.exists() else ()
    page.write_text(f"{TITLE}\n{section}{''.join(older)}")
    return page
