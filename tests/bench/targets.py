"""What a figure is to be, and whether it is: the table at the end of a measurement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from tests.bench.figure import Figure

__all__ = ["SUMMARY", "TARGETS", "Row", "Target", "as_rows", "row_of"]


class Target(Struct, frozen=True):
    """A bound of a figure, in its unit."""

    limit: float
    is_floor: bool = False

    def is_met(self, value: float) -> bool:
        """Tell whether a value keeps it."""
        return value >= self.limit if self.is_floor else value <= self.limit

    def shown(self) -> str:
        """Return it in a few characters."""
        return f"{'≥' if self.is_floor else '≤'} {self.limit:,g}"


MB: Final = 1e6 / 2**20  # in MiB
TARGETS: Final = {
    "throughput, 1 slots": Target(450, is_floor=True),
    "throughput, 8 slots": Target(1_000, is_floor=True),
    "CPU of agent and children, 8 slots": Target(0.8),
    "CPU of the server, 8 slots": Target(0.4),
    "pick-up by an idle agent, p50": Target(4.0),
    "overhead of a run of 1 s with ten reports": Target(5.0),
    "start of the agent → first claim": Target(0.9),
    "idle CPU, agent": Target(0.1),
    "idle, requests of the agent": Target(4),
    "idle memory, agent and those below it": Target(45),
    "its warm child": Target(round(20 * MB, 1)),
    "16 agents, our server, wasted claims": Target(0.01),
    "64 agents, our server, wasted claims": Target(0.01),
    "16 agents, a server that only lists, wasted claims": Target(0.3),
    "poll among 1,000,000, p99 to that among 1,000": Target(1.5),
}
# What people ask for first, in this order; the rest stands in the long table.
SUMMARY: Final = (
    "throughput, 1 slots",
    "throughput, 2 slots",
    "throughput, 8 slots",
    "CPU of agent and children, 1 slots",
    "CPU of agent and children, 8 slots",
    "CPU of the server, 1 slots",
    "CPU of the server, 8 slots",
    "requests, 1 slots",
    "requests, 8 slots",
    "pick-up by an idle agent, p50",
    "pick-up by an idle agent, p99",
    "overhead of a run of 1 s with ten reports",
    "start of the agent → first claim",
    "start of the agent → first handler's first line",
    "millhand --help",
    "idle CPU, agent",
    "idle CPU, server",
    "idle, requests of the agent",
    "idle, wake-ups of the agent",
    "idle memory, agent and those below it",
    "its warm child",
    "memory under load, 8 slots",
)


class Row(Struct, frozen=True):
    """A figure beside its target; `is_met` is None where there is none, or nothing was measured."""

    name: str
    value: float | None
    shown: str
    unit: str
    target: str
    is_met: bool | None

    @property
    def verdict(self) -> str:
        """Whether it is met, in a word."""
        return {True: "met", False: "NOT MET", None: "–"}[self.is_met]


def row_of(figure: Figure) -> Row:
    """Return a figure beside its target."""
    name = figure.name.strip()
    target = TARGETS.get(name)
    is_met = None if target is None or figure.value is None else target.is_met(figure.value)
    return Row(name, figure.value, figure.shown(), figure.unit, target.shown() if target else "–", is_met)


def as_rows(figures: Iterable[Figure]) -> Sequence[Row]:
    """Return what stands in the table at the end: the summary's figures, then others that have a target."""
    found = {row.name: row for row in map(row_of, figures)}
    others = [name for name in TARGETS if name not in SUMMARY]
    return [found[name] for name in (*SUMMARY, *others) if name in found]
