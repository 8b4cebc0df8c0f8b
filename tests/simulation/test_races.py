"""Agents on one server, in virtual time: how seldom they race, and how seldom an idle one wakes."""

from __future__ import annotations

import asyncio
from statistics import mean
from typing import Any

import pytest

from tests.simulation.fleet import FleetNetwork, Kind, member
from tests.simulation.leases import LeasingServer
from tests.simulation.loop import VirtualLoop, run_virtual
from tests.simulation.races import BURST, TRICKLE, Setting, raced
from tests.simulation.server import VirtualServer
from tests.simulation.world import World

SEEDS = 4
POLL_INTERVAL_S = 5.0
JUST_STARTED_S, LONG_IDLE_S = 8.0, 600.0


@pytest.mark.parametrize(
    ("every_s", "idle_s"), [(BURST, JUST_STARTED_S), (BURST, LONG_IDLE_S), (TRICKLE, LONG_IDLE_S)]
)
def test_sixteen_agents_on_a_server_that_only_lists_lose_few_claims(every_s: float, idle_s: float) -> None:
    """One for five tasks, in a burst and a trickle; there a task waits no longer than between two polls."""
    setting = Setting(kind="plain", agents=16, every_s=every_s, idle_s=idle_s)
    races = [raced(setting, seed) for seed in range(SEEDS)]
    assert mean(race.lost_per_task for race in races) <= 0.2
    assert max(race.lost_per_task for race in races) <= 0.3
    if every_s:
        assert max(race.pick_up_p50_s for race in races) <= 1.0
        assert mean(race.pick_up_p99_s for race in races) <= POLL_INTERVAL_S
    assert mean(race.lists_per_task for race in races) <= 2.0
    assert not any(race.doubled for race in races)


@pytest.mark.parametrize("agents", [4, 16])
@pytest.mark.parametrize("slow", [1.0, 10.0])
def test_agents_on_our_server_lose_next_to_no_claim(agents: int, slow: float) -> None:
    """Though the first list shows each of them many, for servers that only list, and the way takes 0.2 s."""
    setting = Setting(kind="ours", agents=agents, slow=slow, idle_s=JUST_STARTED_S)
    races = [raced(setting, seed) for seed in range(SEEDS)]
    assert mean(race.lost_per_task for race in races) <= 0.01
    assert not any(race.doubled for race in races)


@pytest.mark.parametrize(("kind", "most"), [("ours", 200), ("plain", 200)])
def test_an_idle_agent_sleeps(kind: Kind, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ten minutes its loop wakes for its polls, seven or eight times for each, and for nothing else."""
    wakes = 0
    sleep = VirtualLoop._pass

    def counted(loop: VirtualLoop, timers: Any) -> None:
        nonlocal wakes
        wakes += 1
        sleep(loop, timers)

    async def main() -> tuple[int, int]:
        world = World(1, "key", 0.0, 0, server=LeasingServer if kind == "ours" else VirtualServer)
        network = FleetNetwork(world.server, world.random, kind)
        life = asyncio.create_task((await member(world, network, 0).agent()).run())
        await asyncio.sleep(60.0)
        before = wakes, network.bins.total()
        await asyncio.sleep(600.0)
        after = wakes, network.bins.total()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        network.desk.close()
        return after[0] - before[0], after[1] - before[1]

    monkeypatch.setattr(VirtualLoop, "_pass", counted)  # when a loop sleeps, nothing tells
    woken, requests = run_virtual(main())
    assert woken <= most
    assert requests <= 30
    assert woken <= 10 * requests
