"""What one turn measures: of us, and of one peer."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from msgspec import Struct, structs

from tests.bench.figure import Figure, percentile
from tests.bench.peers.brokers import Broker, postgres, redis
from tests.bench.peers.peer import Installed, Peer, install
from tests.bench.pickup import measure_idle_agent, measure_pick_up
from tests.bench.proc import cpu_of_living_s, cpu_of_tree_s, pss_of_tree_bytes
from tests.bench.throughput import measure_throughput
from tests.bench.world import BenchError, running_server

__all__ = ["BUILD", "SLOTS", "US", "Amounts", "idle", "medians", "our_idle", "our_throughput", "throughput"]

BUILD: Final = Path(__file__).resolve().parents[3] / "build" / "peers"
SETTLE_S: Final = 3.0
SLOTS: Final = (2, 8)
US: Final = "millhand"


class Amounts(Struct, frozen=True, kw_only=True):
    """How much is done."""

    turns: int = 5
    part: int = 1  # of a peer's tasks one in so many
    ours: int = 1_000
    pick_ups: int = 60
    idle_s: float = 15.0


def our_throughput(amounts: Amounts) -> list[Figure]:
    """Return our tasks a second with each number of slots, each time with a fresh database."""
    found: list[Figure] = []
    for slots in SLOTS:
        with folder_of(US) as folder, running_server(folder) as (server, caller):
            found += measure_throughput(server, caller, folder, slots=slots, tasks=amounts.ours)
    return [structs.replace(one, name=one.name.replace("throughput", US)) for one in found]


def our_idle(amounts: Amounts) -> list[Figure]:
    """Return how fast an idle agent of ours takes a task, and what it uses while it waits."""
    with folder_of(US) as folder, running_server(folder) as (server, caller):
        found = measure_pick_up(server, caller, folder, tasks=amounts.pick_ups)
        found += measure_idle_agent(server, caller, folder, idle_s=amounts.idle_s)
    return [structs.replace(one, name=f"{US}: {one.name.strip()}") for one in found]


def throughput(peer: Peer, amounts: Amounts) -> list[Figure]:
    """Let workers do what waits already; count after the first tenth, when all of them are warm."""

    def work(installed: Installed, broker: Broker) -> list[Figure]:
        tasks = peer.tasks // amounts.part
        installed.ask("enqueue", str(tasks))
        with installed.working() as pid:
            first = len(installed.wait_for(tasks // 10))
            cpu_s = cpu_of_tree_s(pid), cpu_of_tree_s(broker.pid)
            found = installed.wait_for(tasks)
            cpu_s = cpu_of_tree_s(pid) - cpu_s[0], cpu_of_tree_s(broker.pid) - cpu_s[1]
        seconds, done = found[-1] - found[tasks // 10 - 1], tasks - tasks // 10
        workers, its_broker = (part / (tasks - first) * 1e3 for part in cpu_s)
        note = f"{done} noop tasks"
        return [
            Figure(name=peer.name, value=done / seconds, unit="tasks/s", note=note),
            Figure(name=f"  CPU of its workers, {peer.name}", value=workers, unit="ms/task", note=note),
            Figure(name=f"  CPU of its broker, {peer.name}", value=its_broker, unit="ms/task", note=note),
        ]

    return on_broker(peer, work)


def idle(peer: Peer, amounts: Amounts) -> list[Figure]:
    """Return how fast idle workers take a task, and what they use while they wait."""

    def work(installed: Installed, broker: Broker) -> list[Figure]:
        with installed.working() as pid:
            told = installed.ask("pickup", str(amounts.pick_ups))
            waits = [float(word) * 1e3 for word in told.split()]
            time.sleep(SETTLE_S)
            before = cpu_of_living_s(pid)
            time.sleep(amounts.idle_s)
            after = cpu_of_living_s(pid)
            memory = pss_of_tree_bytes(pid)
        used = None if before is None or after is None else (after - before) / amounts.idle_s * 100
        figures = {
            "pick-up, p50": (percentile(waits, 0.5), "ms"),
            "pick-up, p99": (percentile(waits, 0.99), "ms"),
            "idle CPU": (used, "%"),
            "idle memory": (memory / 2**20 if memory else None, "MiB"),
        }
        return [
            Figure(name=f"{peer.name}: {what}", value=value, unit=unit)
            for what, (value, unit) in figures.items()
        ]

    return on_broker(peer, work)


def on_broker(peer: Peer, work: Callable[[Installed, Broker], list[Figure]]) -> list[Figure]:
    """Do something with a peer on a fresh broker; one that cannot be measured here says why."""
    try:
        with folder_of(peer.name) as folder, ExitStack() as stack:
            broker = stack.enter_context(broker_of(peer, folder))
            if broker is None:
                return [Figure(name=peer.name, value=None, unit="", note="there is no PostgreSQL here")]
            python = install(peer.requirements, BUILD / peer.program)
            installed = Installed(peer, python, folder, broker.variables)
            if peer.needs == "postgres":
                installed.ask("schema", "0")
            return work(installed, broker)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return [Figure(name=peer.name, value=None, unit="", note=str(exc).partition("\n")[0])]


@contextmanager
def broker_of(peer: Peer, folder: Path) -> Iterator[Broker | None]:
    """Run what a peer puts its tasks into."""
    if peer.needs == "postgres":
        with postgres() as broker:
            yield broker
        return
    with redis(folder, BUILD, is_synced=peer.is_synced) as broker:
        yield broker


@contextmanager
def folder_of(name: str) -> Iterator[Path]:
    """Give a folder on a disk, and take it away."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name.split(maxsplit=1)[0]}-", dir=BUILD) as folder:
        yield Path(folder)


def medians(figures: Sequence[Figure]) -> list[Figure]:
    """Return one figure for each name: of several turns the median, with how far they lie apart."""
    turns: dict[str, list[Figure]] = {}
    for one in figures:
        turns.setdefault(one.name, []).append(one)
    return [middle(ones) for ones in turns.values()]


def middle(ones: Sequence[Figure]) -> Figure:
    """Return the median of some turns."""
    values = [one.value for one in ones if one.value is not None]
    if len(ones) == 1 or not values:
        return ones[0]
    said = [structs.replace(ones[0], value=value).shown() for value in (min(values), max(values))]
    note = f"median of {len(values)}, {said[0]} to {said[1]}"
    return structs.replace(
        next(one for one in ones if one.value is not None), value=median(values), note=note
    )
