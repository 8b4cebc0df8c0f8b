"""The bills of runs: what each consumed, and all together. What is unknown is a dash, and in no sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from worker.api import wire
from worker.cli import human
from worker.cli.figures import FIGURES, OF_GPUS, Figure, bill_of, can_have, details_of, is_complete
from worker.cli.view import status_text, table

if TYPE_CHECKING:
    from rich.table import Table

    from worker.api.models import Run

__all__ = ["bill_table", "bills_document", "summed", "usage_pairs"]


def billed(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that have begun: a placeholder consumes nothing."""
    return [run for run in runs if run.started_at is not None]


def summed(bills: Sequence[dict[str, float | None]]) -> tuple[dict[str, float | None], dict[str, int]]:
    """Add bills up (of peaks: the highest); return that, and how many runs each figure is unknown of.

    What a run without a GPU has not is not unknown.
    """
    total: dict[str, float | None] = {}
    unknown: dict[str, int] = {}
    for figure in FIGURES:
        those = [bill[figure.name] for bill in bills if can_have(bill, figure)]
        known = [value for value in those if value is not None]
        total[figure.name] = figure.combine(known) if known and figure.combine else None
        unknown[figure.name] = len(those) - len(known)
    return total, unknown


def bills_document(runs: Iterable[Run]) -> dict[str, Any]:
    """Return the bills as JSON: each run's, and the sum with how many it does not know."""
    known = billed(runs)
    total, unknown = summed([bill_of(run) for run in known])
    return {
        "runs": [
            {
                "id": run.id, "taskId": run.task_id, "resultCode": run.result_code,
                **bill_of(run), "complete": is_complete(run),
            }
            for run in known
        ],
        "sum": {"runs": len(known), **total, "unknown": unknown},
    }  # fmt: skip


def bill_table(runs: Iterable[Run]) -> Table:
    """Return the bills, one a row, and their sum."""
    known = billed(runs)
    bills = [bill_of(run) for run in known]
    total, unknown = summed(bills)
    figures = [one for one in FIGURES if one.name not in OF_GPUS or total[one.name] is not None]
    titles = [figure.title for figure in figures]
    made = table("run", "result", *titles, numbers=titles)
    made.padding = (0, 1)
    for column in made.columns:
        column.no_wrap = False  # a number that is cut off would be another one: better folded
    for run, bill in zip(known, bills, strict=True):
        words = [figure.shown(bill[figure.name]) for figure in figures]
        result = status_text(run.result_code)
        made.add_row(run.id, result if is_complete(run) is not False else result.append(" *"), *words)
    made.add_section()
    made.add_row(human.count(len(known), "run"), "", *(one.shown(total[one.name]) for one in figures))
    made.caption = "\n".join(remarks(known, figures, unknown)) or None
    return made


def remarks(runs: Iterable[Run], figures: Iterable[Figure], unknown: dict[str, int]) -> Iterator[str]:
    """Yield what must be said beside the figures."""
    if any(is_complete(run) is False for run in runs):
        yield "* not the figures of its end"
    lacking = [f"{figure.title} of {unknown[figure.name]}" for figure in figures if unknown[figure.name]]
    if lacking:
        yield f"not known, and not in the sum: {', '.join(lacking)}"


def usage_pairs(run: Run) -> list[tuple[str, object]]:
    """Return the figures of one run, each with its method, what it covers, and what is lacking."""
    details = details_of(run)
    bill = bill_of(run)
    pairs: list[tuple[str, object]] = [
        (figure.title, f"{figure.shown(bill[figure.name])}{remark(figure, details)}")
        for figure in FIGURES
        if figure.name not in OF_GPUS or bill["gpuSeconds"] or figure.detail in details
    ]
    return [*pairs, ("complete", is_complete(run))] if details else pairs


def remark(figure: Figure, details: dict[str, Any]) -> str:
    """Return how a figure was measured, as far as it is told."""
    key = figure.key
    method = wire.as_text(wire.as_mapping(details.get("methods")).get(key))
    covered = wire.as_float(wire.as_mapping(details.get("coverage")).get(key))
    reason = wire.as_text(wire.as_mapping(details.get("reasons")).get(key))
    share = f"covers {human.percent(covered)}" if covered is not None and covered < 0.995 else None
    told = [part for part in (method, share, reason) if part]
    return f"  ({'; '.join(told)})" if told else ""
