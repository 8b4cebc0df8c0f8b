"""Measure peers and us in turn: `make bench-peers` or `python -m tests.bench.peers [--quick] [--only NAME]`.

Each peer is installed into an environment of its own below build/peers, with settings as durable as ours
where it has them. Tasks do nothing, and are counted from when the workers are warm. We and Celery work in
five turns, one after the other, so that whatever else goes on meets all alike; of these the medians are told.
It takes a quarter of an hour at the most, and mostly half of that.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.bench.figure import Figure
from tests.bench.host import describe_host
from tests.bench.peers import measure
from tests.bench.peers.brokers import REDIS
from tests.bench.peers.measure import BUILD, SLOTS, US, Amounts, medians
from tests.bench.peers.peer import PEERS, Peer, install
from tests.bench.plan import Step, play, say
from tests.bench.report import as_json, as_table, durability, save

__all__ = ["main", "ratios", "steps"]

QUICK: Final = Amounts(turns=1, part=10, ours=300, pick_ups=15, idle_s=3.0)
IN_TURNS: Final = "Celery"  # how names begin of those that take turns with us


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table; 1 where something went wrong."""
    parser = argparse.ArgumentParser(
        prog="make bench-peers ARGS=…", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one turn")
    parser.add_argument("--only", metavar="NAME", help="peers whose names begin so, and us")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--save", action="store_true", help="add the figures to docs/benchmarks.md")
    options = parser.parse_args(arguments)
    peers = [peer for peer in PEERS if peer.name.startswith(options.only or "")]
    played = play(steps(peers, QUICK if options.quick else Amounts()))
    figures = medians(played.figures)
    figures += ratios(figures, peers)
    host = describe_host()
    kept = "\n".join(
        [f"- {US}: {durability('SQLite')}", *(f"- {peer.name}: {peer.keeps}." for peer in peers)]
    )
    print(as_json(host, kept, figures) if options.json else f"{host}\n{kept}\n\n{as_table(figures)}")
    if options.save:
        command = shlex.join(["python", "-m", "tests.bench.peers", *(arguments or sys.argv[1:])])
        say(f"saved to {save(command, host, kept, figures)}")
    return 0 if played.is_whole else 1


def steps(peers: Sequence[Peer], amounts: Amounts) -> list[Step]:
    """Return what is done: all that is needed is installed first, and the figures are of quiet minutes."""
    turned = [peer for peer in peers if peer.name.startswith(IN_TURNS)]
    others = [peer for peer in peers if peer not in turned]
    return [
        Step("installing peers", 60, 150, partial(installed, peers)),
        *(step for number in range(amounts.turns) for step in turn(number + 1, turned, amounts)),
        *(Step(peer.name, 12, 40, partial(measure.throughput, peer, amounts)) for peer in others),
        Step("millhand, idle", 40, 70, partial(measure.our_idle, amounts)),
        *(Step(f"{peer.name}, idle", 28, 45, partial(measure.idle, peer, amounts)) for peer in peers),
    ]


def installed(peers: Sequence[Peer]) -> list[Figure]:
    """Make their environments, where they are not there yet."""
    for requirements, name in {(peer.requirements, peer.program) for peer in peers} | {(REDIS, "redis")}:
        install(requirements, BUILD / name)
    return []


def turn(number: int, peers: Sequence[Peer], amounts: Amounts) -> list[Step]:
    """Return one turn: we, and each of some peers."""
    theirs = [
        Step(f"turn {number}, {peer.name}", 9, 17, partial(measure.throughput, peer, amounts))
        for peer in peers
    ]
    return [Step(f"turn {number}, {US}", 14, 26, partial(measure.our_throughput, amounts)), *theirs]


def ratios(figures: Sequence[Figure], peers: Sequence[Peer]) -> list[Figure]:
    """Return our tasks a second to those of each peer."""
    known = {one.name: one.value for one in figures}
    found = []
    for slots in SLOTS:
        ours = known.get(f"{US}, {slots} slots")
        for peer in peers:
            theirs = known.get(peer.name)
            value = ours / theirs if ours and theirs else None
            found.append(Figure(name=f"{US}, {slots} slots : {peer.name}", value=value, unit="times"))
    return found


if __name__ == "__main__":
    sys.exit(main())
