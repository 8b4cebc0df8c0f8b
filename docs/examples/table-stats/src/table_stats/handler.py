"""`table-stats`: how the columns of a table are distributed."""

from __future__ import annotations

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from worker import Context, Fail, handler

__all__ = ["table_stats"]


@handler("table-stats")
def table_stats(ctx: Context, *, input: str, separator: str = ",") -> dict[str, Any]:
    """Tell mean, spread and range of each column of numbers in a CSV file.

    Args:
        ctx: the run.
        input: a path on the worker, or a URL; its first line names the columns.
        separator: what stands between two values.
    """
    names, rows = read_table(ctx.input(input), separator)
    columns = {}
    for done, name in enumerate(names, 1):
        ctx.check()
        columns[name] = describe([row[done - 1] for row in rows])
        ctx.progress(done / len(names), name)
    (ctx.workdir / "stats.json").write_text(json.dumps(columns, indent=2))
    ctx.artifact("stats.json")
    return {"rows": len(rows), "columns": columns, "version": version("table-stats")}


def read_table(path: Path, separator: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns' names and the rows of a table.

    Raises:
        Fail: it has no line, or a row of another length.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter=separator))
    if not rows:
        raise Fail(f"{path.name} is empty; its first line must name the columns")
    names, *rows = rows
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise Fail(f"{path.name}, line {number}: {len(row)} values for {len(names)} columns")
    return names, rows


def describe(values: list[str]) -> dict[str, float] | None:
    """Return what is told of a column; None where it holds anything but numbers."""
    try:
        numbers = np.array(values, dtype=float)
    except ValueError:
        return None
    if not numbers.size:
        return None
    return {
        "mean": float(numbers.mean()),
        "deviation": float(numbers.std()),
        "least": float(numbers.min()),
        "most": float(numbers.max()),
    }
