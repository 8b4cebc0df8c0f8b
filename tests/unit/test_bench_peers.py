"""The benchmark of peers: what is told of several turns, and how long it may take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from tests.bench.figure import Figure
from tests.bench.peers.__main__ import ratios, steps
from tests.bench.peers.measure import Amounts, medians
from tests.bench.peers.peer import PEERS, STOP_S, Installed
from tests.bench.proc import tree
from tests.unit.executor.bench import is_running


def test_the_median_of_the_turns_is_told_with_how_far_they_lie_apart() -> None:
    """A turn that was cut has none; what was measured once stays as it is."""
    turns = [Figure(name="Celery", value=value, unit="tasks/s") for value in (3.0, 900.0, 5.0, None)]
    alone = Figure(name="idle CPU", value=0.1, unit="%", note="over 15 s")
    middle, same = medians([*turns, alone])
    assert middle.value == 5.0
    assert middle.note == "median of 3, 3.00 to 900"
    assert same == alone


def test_a_peer_that_could_not_be_measured_is_unknown_with_its_reason() -> None:
    """Its ratio is unknown, too; never zero."""
    celery = PEERS[0]
    figures = medians([Figure(name=celery.name, value=None, unit="", note="Redis does not start")] * 2)
    assert figures[0].note == "Redis does not start"
    (ratio, _) = ratios([*figures, Figure(name="millhand, 2 slots", value=9.0, unit="")], [celery])
    assert ratio.value is None


def test_we_and_celery_take_five_turns_and_all_is_done_in_a_quarter_of_an_hour() -> None:
    """Each turn has all of them; the limits of all steps are a quarter of an hour together."""
    found = steps(PEERS, Amounts())
    of_a_turn = ["millhand", *(peer.name for peer in PEERS if peer.name.startswith("Celery"))]
    expected = [f"turn {number}, {name}" for number in range(1, 6) for name in of_a_turn]
    assert [one.name for one in found if one.name.startswith("turn")] == expected
    assert sum(one.limit_s for one in found) <= 900
    assert {f"{peer.name}, idle" for peer in PEERS} <= {one.name for one in found}


def test_what_syncs_can_be_had_of_a_peer_are_had() -> None:
    """Celery is measured without, too: so it is mostly run. Each says what it keeps."""
    assert [peer.name for peer in PEERS if peer.needs == "redis" and not peer.is_synced] == [PEERS[0].name]
    assert all(peer.keeps for peer in PEERS)


DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
with open("PIDS", "a") as file:
    file.write("x")
time.sleep(60)
"""


def test_workers_that_do_not_end_when_asked_take_no_time_of_a_step(tmp_path: Path) -> None:
    """Idle ones of taskiq wait for one more task before they end: its idle part was cut for that."""
    told = tmp_path / "told"
    (tmp_path / "deaf_peer.py").write_text(DEAF.replace("PIDS", str(told)))
    peer = structs.replace(PEERS[0], worker=("deaf_peer",))
    installed = Installed(peer, Path(sys.executable), tmp_path, {"PYTHONPATH": str(tmp_path)})
    with installed.working() as pid:
        wait_until(lambda: told.exists() and told.read_text() == "xx")
        begun, workers = time.monotonic(), tree(pid)
    assert time.monotonic() - begun < STOP_S
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_running, workers)))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for three times as long as workers may take to stop."""
    until = time.monotonic() + STOP_S * 3
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
