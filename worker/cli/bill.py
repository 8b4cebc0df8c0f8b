"""The bills of runs: what each consumed, and all together. What is unknown is a dash, and in no sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.api import wire
from worker.cli import human
from worker.cli.view import status_text, table

if TYPE_CHECKING:
    from rich.table import Table

    from worker.api.models import Run

__all__ = ["FIGURES", "Figure", "bill_of", "bill_table", "bills_document", "summed", "usage_pairs"]


class Figure(NamedTuple):
    """One figure of a bill."""

    name: str  # in JSON
    title: str
    key: str  # by which methods, coverage and reasons know it
    field: str | None  # of the run
    detail: str | None  # in `results.usage`, where the run has no field, or a server that does not keep it
    shown: Callable[[float | None], str]
    combine: Callable[[Iterable[float]], float] | None = sum  # of several runs; None: there is no such thing


FIGURES: Final = (
    Figure("wallSeconds", "wall", "wall_s", "wallClockTime", "wallSeconds", human.duration),
    Figure("cpuSeconds", "CPU", "cpu_user_s", "CPUTime", None, human.duration),
    Figure("gpuSeconds", "GPU", "gpu_allocated_s", "GPUTime", "gpuAllocatedSeconds", human.duration),
    Figure("ramPeakBytes", "peak RAM", "ram_peak_bytes", "RAMUsage", "ramPeakBytes", human.size, max),
    Figure("ramAverageBytes", "average RAM", "ram_average_bytes", None, "ramAverageBytes", human.size, None),
    Figure("diskReadBytes", "read", "disk_read_bytes", None, "diskReadBytes", human.size),
    Figure("diskWrittenBytes", "written", "disk_written_bytes", None, "diskWrittenBytes", human.size),
    Figure("gpuEnergyJoules", "GPU energy", "gpu_energy_j", None, "gpuEnergyJoules", human.energy),
)
OPTIONAL: Final = ("gpuEnergyJoules",)  # a column only where some run has it


def details_of(run: Run) -> dict[str, Any]:
    """Return `results.usage` of a run, empty where it has none."""
    return wire.as_mapping(run.results.get("usage"))


def bill_of(run: Run) -> dict[str, float | None]:
    """Return the figures of one run; None for what is not known."""
    details = details_of(run)
    found: dict[str, float | None] = {}
    for figure in FIGURES:
        told = wire.as_float(run.raw.get(figure.field)) if figure.field else None
        if told is None and figure.detail:
            told = wire.as_float(details.get(figure.detail))
        found[figure.name] = told
    if found["cpuSeconds"] is None:
        parts = [wire.as_float(details.get(name)) for name in ("cpuUserSeconds", "cpuSystemSeconds")]
        found["cpuSeconds"] = None if None in parts else sum(part or 0.0 for part in parts)
    return found


def is_complete(run: Run) -> bool | None:
    """Tell whether its bill is that of its end; None where nobody says."""
    complete = details_of(run).get("complete")
    return complete if isinstance(complete, bool) else None


def billed(runs: Iterable[Run]) -> list[Run]:
    """Return the runs that have begun: a placeholder consumes nothing."""
    return [run for run in runs if run.started_at is not None]


def summed(bills: Sequence[dict[str, float | None]]) -> tuple[dict[str, float | None], dict[str, int]]:
    """Add bills up (of peaks: the highest); return that, and how many runs each figure is unknown of."""
    total: dict[str, float | None] = {}
    unknown: dict[str, int] = {}
    for figure in FIGURES:
        known = [value for bill in bills if (value := bill[figure.name]) is not None]
        total[figure.name] = figure.combine(known) if known and figure.combine else None
        unknown[figure.name] = len(bills) - len(known)
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
    figures = [one for one in FIGURES if one.name not in OPTIONAL or total[one.name] is not None]
    titles = [figure.title for figure in figures]
    made = table("run", "result", *titles, "complete", numbers=titles, whole=("run",))
    for run, bill in zip(known, bills, strict=True):
        words = [figure.shown(bill[figure.name]) for figure in figures]
        made.add_row(run.id, status_text(run.result_code), *words, human.text(is_complete(run)))
    made.add_section()
    words = [figure.shown(total[figure.name]) for figure in figures]
    made.add_row(human.count(len(known), "run"), "", *words, "")
    lacking = [f"{figure.title} of {unknown[figure.name]}" for figure in figures if unknown[figure.name]]
    if lacking:
        made.caption = f"not known, and not in the sum: {', '.join(lacking)}"
    return made


def usage_pairs(run: Run) -> list[tuple[str, object]]:
    """Return the figures of one run, each with its method, what it covers, and what is lacking."""
    details = details_of(run)
    bill = bill_of(run)
    pairs: list[tuple[str, object]] = [
        (figure.title, f"{figure.shown(bill[figure.name])}{remark(figure, details)}")
        for figure in FIGURES
        if bill[figure.name] is not None or figure.name not in OPTIONAL
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
