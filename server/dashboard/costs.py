"""What runs took and what they cost, added up; every sum says of how many of its runs it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, field

from server.prices import Cost, Prices
from server.store.usage import Ending, UsageRow

__all__ = [
    "GROUPS",
    "INTERRUPTED",
    "Line",
    "Sum",
    "added_up",
    "by_ending",
    "costs_of",
    "grouped",
    "unknown_costs",
]

UNTOLD: Final = "not told"
INTERRUPTED: Final = (Ending.PREEMPTED, Ending.DRAINED, Ending.LOST)
FOR_NOTHING: Final = (Ending.FAILED, *INTERRUPTED, Ending.CANCELLED)
NO_PRICES: Final = Cost(None, "the server was given no prices")

Costed = tuple[UsageRow, Cost]


def gpu_of(row: UsageRow) -> str | None:
    """Return the kind of GPU; who had none says so by its GPU time."""
    return row.gpu_type or ("no GPU" if row.gpu_s == 0 else None)


GROUPS: Final[dict[str, Callable[[UsageRow], str | None]]] = {
    "type": lambda row: row.task_type,
    "machine": lambda row: row.machine,
    "machine type": lambda row: row.machine_type,
    "GPU": gpu_of,
    "zone": lambda row: row.zone,
}


class Sum(Struct):
    """A sum, and of how many runs it is known."""

    amount: float = 0.0
    known: int = 0
    of: int = 0

    def add(self, amount: float | None, runs: int) -> None:
        """Add what so many runs have; None: unknown."""
        self.of += runs
        if amount is not None:
            self.amount += amount
            self.known += runs

    @property
    def value(self) -> float | None:
        """The sum; None where it is known of none of them."""
        return None if self.of and not self.known else self.amount

    @property
    def is_whole(self) -> bool:
        """Tell whether it is known of all of them."""
        return self.known == self.of


class Line(Struct, kw_only=True):
    """What runs took together, and what came of it."""

    name: str
    runs: int = 0
    endings: Counter[Ending] = field(default_factory=Counter)
    wall: Sum = field(default_factory=Sum)  # seconds that they had a slot
    cpu: Sum = field(default_factory=Sum)  # seconds
    gpu: Sum = field(default_factory=Sum)  # seconds that they had GPUs
    ram: Sum = field(default_factory=Sum)  # byte-seconds, at most
    cost: Sum = field(default_factory=Sum)
    wasted: Sum = field(default_factory=Sum)  # cost of those that came to nothing
    lost: Sum = field(default_factory=Sum)  # and of those whose machine or agent went away
    ended: Sum = field(default_factory=Sum)  # slot time of those that have
    seconds: Counter[Ending] = field(default_factory=Counter)  # of slot time, as far as it is known

    def add(self, row: UsageRow, cost: Cost) -> None:
        """Take runs of one kind in."""
        self.runs += row.runs
        self.endings[row.ending] += row.runs
        self.wall.add(row.wall_s, row.runs)
        self.cpu.add(row.cpu_s, row.runs)
        self.gpu.add(row.gpu_s, row.runs)
        self.ram.add(row.ram_byte_s, row.runs)
        self.cost.add(cost.amount, row.runs)
        if row.ending is not Ending.RUNNING:
            self.ended.add(row.wall_s, row.runs)
        if row.ending in FOR_NOTHING:
            self.wasted.add(cost.amount, row.runs)
        if row.ending in INTERRUPTED:
            self.lost.add(cost.amount, row.runs)
        self.seconds[row.ending] += row.wall_s or 0  # type: ignore[assignment]

    @property
    def failed(self) -> int:
        """How many failed by their own fault."""
        return self.endings[Ending.FAILED]

    @property
    def interrupted(self) -> int:
        """How many ended because their machine or agent did."""
        return sum(self.endings[one] for one in INTERRUPTED)

    @property
    def shares(self) -> list[tuple[str, float, float]]:
        """What came of their slot time: a word, where its part begins, how long it is; 0…1."""
        parts = (
            ("succeeded", (Ending.SUCCEEDED,)),
            ("running", (Ending.RUNNING,)),
            ("failed", (Ending.FAILED,)),
            ("interrupted", INTERRUPTED),
            ("cancelled", (Ending.CANCELLED,)),
        )
        whole = sum(self.seconds.values())
        found, begin = [], 0.0
        for word, endings in parts:
            part = sum(self.seconds[one] for one in endings)
            if whole and part:
                found.append((word, begin, part / whole))
                begin += part / whole
        return found

    @property
    def useful(self) -> float | None:
        """Which part of the slot time of those that ended came to something; None where none did."""
        return self.seconds[Ending.SUCCEEDED] / self.ended.amount if self.ended.amount else None


def costs_of(rows: Iterable[UsageRow], prices: Prices | None) -> list[Costed]:
    """Return what each kind of runs cost."""
    return [(row, prices.cost_of(row) if prices else NO_PRICES) for row in rows]


def added_up(costed: Iterable[Costed], name: str = "") -> Line:
    """Return all of them as one line."""
    line = Line(name=name)
    for row, cost in costed:
        line.add(row, cost)
    return line


def grouped(costed: Iterable[Costed], name_of: Callable[[UsageRow], str | None]) -> list[Line]:
    """Return a line for each name, those that cost or took most first."""
    lines: dict[str, Line] = {}
    for row, cost in costed:
        name = name_of(row) or UNTOLD
        lines.setdefault(name, Line(name=name)).add(row, cost)
    return sorted(lines.values(), key=lambda line: (-line.cost.amount, -line.wall.amount, line.name))


def by_ending(costed: Iterable[Costed]) -> list[Line]:
    """Return a line for each way in which work came to nothing."""
    wasted = [(row, cost) for row, cost in costed if row.ending in FOR_NOTHING]
    lines = {line.name: line for line in grouped(wasted, lambda row: row.ending.value)}
    return [lines[ending.value] for ending in FOR_NOTHING if ending.value in lines]


def unknown_costs(costed: Iterable[Costed]) -> list[tuple[str, int]]:
    """Return why costs are unknown, and of how many runs, the most frequent reason first."""
    found: Counter[str] = Counter()
    for row, cost in costed:
        if cost.amount is None:
            found[cost.reason] += row.runs
    return found.most_common()
