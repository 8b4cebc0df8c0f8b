"""What is measured, in which amounts, and how long each may take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from tests.bench.caller import Caller
from tests.bench.children import measure_minder
from tests.bench.counts import measure_counts
from tests.bench.curves.axes import AXES, Extent
from tests.bench.curves.measure import measure_curve
from tests.bench.dashboard import measure_dashboard
from tests.bench.execution import measure_execution
from tests.bench.figure import Figure
from tests.bench.host import measure_help, measure_sync
from tests.bench.idle import measure_idle
from tests.bench.journal import measure_journal
from tests.bench.output import measure_output
from tests.bench.overhead import measure_overhead
from tests.bench.pickup import measure_idle_agent, measure_pick_up
from tests.bench.plan import Step
from tests.bench.store import FULL, KINDS, QUICK, Sizes, measure_store
from tests.bench.stores import databases
from tests.bench.throughput import measure_throughput
from tests.bench.usage import measure_usage
from tests.bench.world import BenchError, Server, running_server

__all__ = ["GUARDED", "ONLY", "Amounts", "full", "guard", "main_path", "only", "usual"]

SLOTS: Final = (1, 2, 8)
HOUR_S: Final = 3600.0  # the limit of what is long
GUARDED: Final = (1, 8)
Main = Callable[[Server, Caller, Path], list[Figure]]


class Amounts(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    pick_ups: int = 200
    idle_s: float = 61.0  # an idle agent asks about once in half a minute: twice at least
    runs: int = 10
    counted: int = 200
    tasks: int = 1_500
    waiting: tuple[int, ...] = (1_000,)
    waiting_s: float = 15.0
    samples: int = 300
    output_s: float = 1.0
    journal_s: float = 1.0
    dashboard: int = 100_000
    store: Sizes = Sizes(life=3_200, pending=(1_000, 10_000))
    batches: int = 10
    extent: Extent = "usual"  # of curves


QUICK_AMOUNTS: Final = Amounts(
    pick_ups=20, idle_s=3.0, runs=3, counted=100, tasks=200, waiting=(200,), waiting_s=5.0, samples=60,
    output_s=0.5, journal_s=0.3, dashboard=10_000, store=QUICK, extent="short",
)  # fmt: skip
LONG_AMOUNTS: Final = Amounts(
    waiting=(1_000, 5_000, 10_000), waiting_s=60.0, samples=600, output_s=3.0, journal_s=3.0, store=FULL,
    batches=60, extent="long",
)  # fmt: skip


def usual(folder: Path, kind: str, amounts: Amounts) -> list[Step]:
    """Return what a change of the main path is looked at with: ten minutes at the most, mostly half of it."""
    return [
        Step("start-up and disk", 2, 10, lambda: [measure_help(), measure_sync(folder)]),
        Step("journal", 4, 15, lambda: measure_journal(folder, amounts.journal_s)),
        Step("minder", 3, 15, measure_minder),
        Step("output", 6, 20, lambda: measure_output(amounts.output_s)),
        Step("execution", 8, 25, lambda: measure_execution(folder, amounts.batches)),
        Step("usage", 3, 15, lambda: measure_usage(amounts.samples)),
        Step("agents that wait", 25, 45, lambda: measure_idle(folder, amounts.waiting, amounts.waiting_s)),
        *(
            Step(
                f"store, {one}",
                10,
                25,
                partial(measure_store, folder, structs.replace(amounts.store, kinds=(one,))),
            )
            for one in KINDS
        ),
        *main_path(folder, kind, amounts),
    ]


def main_path(folder: Path, kind: str, amounts: Amounts) -> list[Step]:
    """Return the main path alone, each step on a server with a fresh database."""

    def on_server(name: str, about_s: float, limit_s: float, do: Main) -> Step:
        return Step(name, about_s, limit_s, partial(with_server, folder / name.replace(" ", "-"), kind, do))

    return [
        on_server("pick-up by an idle agent", 45, 75, partial(measure_pick_up, tasks=amounts.pick_ups)),
        on_server(
            "an idle agent", amounts.idle_s + 8, 80, partial(measure_idle_agent, idle_s=amounts.idle_s)
        ),
        on_server("a run of one second", 14, 30, partial(measure_overhead, runs=amounts.runs)),
        *guard(folder, amounts),
        *(
            on_server(
                f"throughput with {slots} slots",
                15,
                41,
                partial(measure_throughput, slots=slots, tasks=amounts.tasks),
            )
            for slots in SLOTS
        ),
    ]


def with_server(folder: Path, kind: str, do: Main) -> list[Figure]:
    """Do it on a server that runs, on a store of a kind."""
    folder.mkdir()
    with databases(folder, kind) as database:
        if database is None:
            raise BenchError(f"there is no {kind} here")
        with running_server(folder, database) as (server, caller):
            return do(server, caller, folder)


def guard(folder: Path, amounts: Amounts, limit_s: float = 45) -> list[Step]:
    """Return the counts that are compared with committed ones; always on SQLite."""
    return [
        Step(
            f"counts with {slots} slots",
            10,
            limit_s,
            partial(measure_counts, folder / f"counts-{slots}", slots=slots, tasks=amounts.counted),
        )
        for slots in GUARDED
    ]


def curves(folder: Path, extent: Extent, name: str = "") -> list[Step]:
    """Return the scaling curves, or the one of a name: a step for each point, of which one may be cut."""
    return [
        Step(
            f"curve over {axis.label}: {', '.join(f'{point:,}' for point in points)}",
            axis.about_s,
            HOUR_S if extent == "long" else axis.limit_s,
            partial(measure_curve, axis, points, folder, extent),
        )
        for axis in AXES
        if name in ("", axis.name)
        for points in axis.parts(extent)
    ]


def only(name: str, folder: Path, kind: str, amounts: Amounts, store: Sizes) -> list[Step]:
    """Return one part, in its long form unless it is to be quick."""
    parts: dict[str, tuple[float, Callable[[], list[Figure]]]] = {
        "dashboard": (150, lambda: measure_dashboard(folder, amounts.dashboard)),
        "execution": (30, lambda: measure_execution(folder, amounts.batches)),
        "idle": (240, lambda: measure_idle(folder, amounts.waiting, amounts.waiting_s)),
        "journal": (10, lambda: measure_journal(folder, amounts.journal_s)),
        "minder": (3, measure_minder),
        "output": (16, lambda: measure_output(amounts.output_s)),
        "store": (1500, lambda: measure_store(folder, store)),
        "usage": (5, lambda: measure_usage(amounts.samples)),
    }
    if name in parts:
        return [Step(name, parts[name][0], HOUR_S, parts[name][1])]
    if name == "guard":
        return guard(folder, amounts, limit_s=HOUR_S)  # on a busy machine, too
    if name == "tasks":
        return main_path(folder, kind, amounts)
    return curves(folder, amounts.extent, name.removeprefix("curves").removeprefix("-"))


ONLY: Final = (
    "curves", *(f"curves-{axis.name}" for axis in AXES),
    "dashboard", "execution", "guard", "idle", "journal", "minder", "output", "store", "tasks", "usage",
)  # fmt: skip


def full(folder: Path, kind: str, store: Sizes) -> list[Step]:
    """Return everything in its long form: an hour or so."""
    long = [name for name in ONLY if "-" not in name and name not in ("guard", "tasks")]
    start = usual(folder, kind, LONG_AMOUNTS)[:1]
    parts = [step for name in long for step in only(name, folder, kind, LONG_AMOUNTS, store)]
    return [*start, *parts, *main_path(folder, kind, LONG_AMOUNTS)]
