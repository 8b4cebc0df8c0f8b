"""Measure peers and us in turn: `make bench-peers` or `python -m tests.bench.peers [--quick] [--only NAME]`.

Each peer is installed into an environment of its own below build/peers, with settings as durable as ours
where it has them. Tasks do nothing; they wait already when the workers start. We come before, between and
after the others, and the table says each figure as a part of the median of ours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.figure import Figure, percentile
from tests.bench.host import describe_host
from tests.bench.peers.brokers import Broker, postgres, redis
from tests.bench.peers.peer import PEERS, Installed, Peer, install
from tests.bench.pickup import measure_idle_agent
from tests.bench.proc import cpu_of_living_s, cpu_of_tree_s, pss_of_tree_bytes
from tests.bench.report import as_table, durability
from tests.bench.throughput import measure_throughput
from tests.bench.world import BenchError, running_server

__all__ = ["main"]

BUILD: Final = Path(__file__).resolve().parents[3] / "build" / "peers"
SETTLE_S: Final = 3.0
SLOTS: Final = (2, 8)


class Amounts:
    """How much is done."""

    def __init__(self, *, is_quick: bool) -> None:
        """A tenth of it, where it shall be quick."""
        self.part = 10 if is_quick else 1
        self.pick_ups = 15 if is_quick else 100
        self.idle_s = 3.0 if is_quick else 20.0
        self.ours = 300 if is_quick else 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table; 1 where something went wrong."""
    parser = argparse.ArgumentParser(
        prog="make bench-peers ARGS=…", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--only", metavar="NAME", help="peers whose names begin so, and us")
    options = parser.parse_args(arguments)
    amounts = Amounts(is_quick=options.quick)
    peers = [peer for peer in PEERS if peer.name.startswith(options.only or "")]
    try:
        figures = measure(peers, amounts)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    print(describe_host())
    print(durability("SQLite"))
    for peer in peers:
        print(f"{peer.name}: {peer.keeps}.")
    print(f"\n{as_table(figures)}")
    return 0


def measure(peers: Sequence[Peer], amounts: Amounts) -> list[Figure]:
    """Measure us, each peer, and us after each."""
    figures, rates = list[Figure](), list[float]()
    for number in range(len(peers) + 1):
        ours = measure_us(amounts, is_whole=number == 0)
        rates.append(next(one.value or 0.0 for one in ours if one.name == f"millhand, {SLOTS[-1]} slots"))
        figures += ours if number == 0 else []
        if number < len(peers):
            figures += measure_peer(peers[number], amounts)
    middle = median(rates)
    note = f"median of {len(rates)}, {min(rates):,.0f} to {max(rates):,.0f}"
    figures.append(Figure(name="millhand, 8 slots, all turns", value=middle, unit="tasks/s", note=note))
    for peer in peers:
        theirs = next(one.value for one in figures if one.name == peer.name)
        ratio = middle / theirs if theirs else None
        figures.append(Figure(name=f"millhand : {peer.name}", value=ratio, unit="times"))
    return figures


def measure_us(amounts: Amounts, *, is_whole: bool) -> list[Figure]:
    """Return our throughput; the first time pick-up and idle figures too."""
    say("millhand")
    with tempfile.TemporaryDirectory(dir=made(BUILD)) as name:
        folder = Path(name)
        with running_server(folder) as (server, caller):
            found: list[Figure] = []
            if is_whole:
                found += measure_idle_agent(
                    server, caller, folder, tasks=amounts.pick_ups, idle_s=amounts.idle_s
                )
            for slots in SLOTS if is_whole else SLOTS[-1:]:
                found += measure_throughput(server, caller, folder, slots=slots, tasks=amounts.ours)
    return [
        Figure(name=one.name.replace("throughput", "millhand"), value=one.value, unit=one.unit, note=one.note)
        for one in found
    ]


def measure_peer(peer: Peer, amounts: Amounts) -> list[Figure]:
    """Return a peer's figures; one that cannot be measured here says why."""
    say(peer.name)
    with tempfile.TemporaryDirectory(dir=made(BUILD)) as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(broker_of(peer, folder))
        if broker is None:
            return [Figure(name=peer.name, value=None, unit="tasks/s", note="there is no PostgreSQL here")]
        python = install(peer.requirements, BUILD / peer.program)
        installed = Installed(peer, python, folder, broker.variables)
        if peer.needs == "postgres":
            installed.ask("schema", "0")
        return [*throughput(installed, broker, peer.tasks // amounts.part), *idle(installed, amounts)]


@contextmanager
def broker_of(peer: Peer, folder: Path) -> Iterator[Broker | None]:
    """Run what a peer puts its tasks into."""
    if peer.needs == "postgres":
        with postgres() as broker:
            yield broker
        return
    with redis(folder, BUILD, is_synced=peer.is_synced) as broker:
        yield broker


def throughput(installed: Installed, broker: Broker, tasks: int) -> list[Figure]:
    """Let workers do what waits already; count after the first tenth, when all of them are warm."""
    installed.ask("enqueue", str(tasks))
    with installed.working() as pid:
        first = len(installed.wait_for(tasks // 10))
        cpu_s = cpu_of_tree_s(pid), cpu_of_tree_s(broker.pid)
        found = installed.wait_for(tasks)
        cpu_s = cpu_of_tree_s(pid) - cpu_s[0], cpu_of_tree_s(broker.pid) - cpu_s[1]
    seconds, done = found[-1] - found[tasks // 10 - 1], tasks - tasks // 10
    counted = tasks - first
    name, note = installed.peer.name, f"{done} noop tasks"
    return [
        Figure(name=name, value=done / seconds, unit="tasks/s", note=note),
        Figure(name="  CPU of its workers", value=cpu_s[0] / counted * 1e3, unit="ms/task", note=name),
        Figure(name="  CPU of its broker", value=cpu_s[1] / counted * 1e3, unit="ms/task", note=name),
    ]


def idle(installed: Installed, amounts: Amounts) -> list[Figure]:
    """Return how fast idle workers take a task, and what they use while they wait."""
    name = installed.peer.name
    with installed.working() as pid:
        told = installed.ask("pickup", str(amounts.pick_ups))
        waits = [float(word) * 1e3 for word in told.split()]
        time.sleep(SETTLE_S)
        before = cpu_of_living_s(pid)
        time.sleep(amounts.idle_s)
        after = cpu_of_living_s(pid)
        memory = pss_of_tree_bytes(pid)
    used = None if before is None or after is None else (after - before) / amounts.idle_s * 100
    held = memory / 2**20 if memory else None
    return [
        Figure(name="  pick-up, p50", value=percentile(waits, 0.5), unit="ms", note=name),
        Figure(name="  pick-up, p99", value=percentile(waits, 0.99), unit="ms", note=name),
        Figure(name="  idle CPU", value=used, unit="%", note=name),
        Figure(name="  idle memory", value=held, unit="MiB", note=f"PSS, {name}"),
    ]


def made(folder: Path) -> Path:
    """Return a folder that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text: str) -> None:
    """Tell how far it is, beside the result."""
    print(f"bench: {text} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
