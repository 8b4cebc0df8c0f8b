"""What a notice of a machine's end does to claims and runs: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.assemble import Agent
from worker.agent.drain import Drain
from worker.agent.holds import Holds
from worker.agent.preemption import NEAR_S, PROBLEM_MAX_S, PreemptionWatch
from worker.api.wire import ErrorKind
from worker.machine.notices import Look, Notice

END = Notice("end", "it is taken", 30.0)
LATER = Notice("end", "it is taken in an hour", 3600.0)
RISK = Notice("risk", "perhaps it is taken")
PAUSE = Notice("pause", "it stands still for a moment")


class Sky:
    """A source of a cloud that tells what a test wants."""

    name = "sky"
    every_s = 5.0

    def __init__(self) -> None:
        """Tell nothing."""
        self.look_now = Look()
        self.looks = 0

    async def look(self) -> Look:
        """Tell."""
        self.looks += 1
        return self.look_now


class Stage:
    """A watch with what it acts on."""

    def __init__(self, drain_timeout_s: float, rebalance: Literal["log", "hold"]) -> None:
        """Begin without a notice."""
        clock = VirtualClock()
        self.sky, self.holds = Sky(), Holds()
        self.drain = Drain(clock, drain_timeout_s)
        self.watch = PreemptionWatch(
            self.drain, self.holds, clock, Random(1), drain_timeout_s=drain_timeout_s, rebalance=rebalance
        )

    async def tell(self, *notices: Notice, for_s: float = 6.0) -> tuple[bool, bool]:
        """Tell this for a while; return whether claims are held, and whether the agent ends."""
        self.sky.look_now = Look(notices)
        await asyncio.sleep(for_s)
        return self.holds.is_held, self.drain.is_requested


def play(
    main: Callable[[Stage], Awaitable[Any]],
    drain_timeout_s: float = 30.0,
    rebalance: Literal["log", "hold"] = "log",
) -> Any:
    """Let a test act while the watch goes on."""

    async def live() -> Any:
        stage = Stage(drain_timeout_s, rebalance)
        watching = asyncio.create_task(stage.watch.run([stage.sky]))
        try:
            return await main(stage)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    return run_virtual(live())


def test_an_end_that_is_near_drains_at_once_with_its_own_deadline() -> None:
    """And is told again and again without moving it."""

    async def main(stage: Stage) -> tuple[Any, ...]:
        told = await stage.tell(END, for_s=11.0)
        return told, stage.drain.kind, stage.drain.message, stage.drain.left_s()

    told, kind, message, left_s = play(main, drain_timeout_s=600.0)
    assert (told, kind, message) == ((True, True), ErrorKind.PREEMPTED, "it is taken")
    assert left_s == pytest.approx(30.0 - 11.0)


def test_an_end_in_an_hour_only_holds_claims_until_it_is_near() -> None:
    """What runs would be stopped without need; two minutes before the end it must be."""

    async def main(stage: Stage) -> list[Any]:
        seen = [await stage.tell(LATER), await stage.tell(LATER, for_s=3600.0 - NEAR_S - 10.0)]
        seen.append(await stage.tell(LATER, for_s=20.0))
        return [*seen, stage.drain.left_s()]

    *seen, left_s = play(main)
    assert seen == [(True, False), (True, False), (True, True)]
    assert NEAR_S - 25.0 <= left_s <= NEAR_S


def test_a_time_that_is_told_counts_anew_each_time() -> None:
    """Of what is far away only an hour is believed, again and again; nothing is stopped before its time."""

    async def main(stage: Stage) -> list[Any]:
        seen = [await stage.tell(Notice("end", "at noon", 3600.0, is_timed=True), for_s=7200.0)]
        return [*seen, await stage.tell(Notice("end", "at noon", 100.0, is_timed=True))]

    assert play(main) == [(True, False), (True, True)]


def test_near_is_what_a_drain_may_take() -> None:
    """Who gives handlers ten minutes gives them ten minutes."""
    notice = Notice("end", "in nine minutes", 540.0)
    assert play(lambda stage: stage.tell(notice), drain_timeout_s=600.0) == (True, True)
    assert play(lambda stage: stage.tell(notice), drain_timeout_s=30.0) == (True, False)


def test_a_notice_that_is_withdrawn_lets_claims_go_on() -> None:
    """Nothing was stopped; the next one counts again. Each is logged once."""

    async def main(stage: Stage) -> list[Any]:
        return [await stage.tell(*notices) for notices in [(LATER,), (LATER,), (), (LATER,), ()]]

    with capture_logs() as logs:
        seen = play(main)
    assert [is_held for is_held, _ in seen] == [True, True, False, True, False]
    assert [one["event"] for one in logs] == [
        "preemption.noticed", "claims.held", "preemption.withdrawn", "claims.resumed",
    ] * 2  # fmt: skip


@pytest.mark.parametrize(("rebalance", "is_held"), [("log", False), ("hold", True)])
def test_a_risk_is_logged_or_holds_claims_as_a_person_wants(
    rebalance: Literal["log", "hold"], is_held: bool
) -> None:
    """It never stops what runs."""
    assert play(lambda stage: stage.tell(RISK, for_s=9e4), rebalance=rebalance) == (is_held, False)


def test_a_pause_is_only_logged() -> None:
    """A migration of seconds costs no run."""
    with capture_logs() as logs:
        assert play(lambda stage: stage.tell(PAUSE, for_s=60.0)) == (False, False)
    assert [one["event"] for one in logs] == ["preemption.noticed"]


def test_a_source_that_fails_concludes_nothing_and_is_not_hammered() -> None:
    """Told once; asked often enough for a notice of two minutes. What stood before stands."""

    async def main(stage: Stage) -> tuple[int, bool, bool]:
        await stage.tell(LATER)
        stage.sky.look_now, before = Look(problem="the cloud metadata answered 500"), stage.sky.looks
        await asyncio.sleep(1800.0)
        assert stage.holds.is_held
        looks = stage.sky.looks - before
        stage.sky.look_now = Look((END,))
        await asyncio.sleep(PROBLEM_MAX_S + 1.0)
        return looks, *await stage.tell(END)

    with capture_logs() as logs:
        looks, is_held, is_draining = play(main)
    assert 1800.0 / PROBLEM_MAX_S <= looks <= 2 * 1800.0 / PROBLEM_MAX_S + 10
    assert (is_held, is_draining) == (True, True)
    assert [one["event"] for one in logs].count("preemption.unknown") == 1


def test_a_notice_during_a_drain_brings_its_end_nearer() -> None:
    """An operator gave ten minutes; the cloud gives half a one."""

    async def main(stage: Stage) -> float:
        stage.drain.request(ErrorKind.DRAINED, "SIGTERM received")
        await stage.tell(END)
        return stage.drain.left_s()

    assert play(main, drain_timeout_s=600.0) < 30.0


def watched(sky: Sky, world: World, main: Callable[[Agent, asyncio.Task[int]], Awaitable[Any]]) -> Any:
    """Let a whole agent live below a sky."""

    async def watch(drain: Drain, holds: Holds) -> None:
        clock, random = VirtualClock(), Random(1)
        watching = PreemptionWatch(drain, holds, clock, random, drain_timeout_s=600.0, rebalance="hold")
        await watching.run([sky])

    async def live() -> Any:
        machine = Machine(world, "pod/a", drain_timeout_s=600.0)
        machine.watches = (watch,)
        agent = await machine.agent()
        life = asyncio.create_task(agent.run())
        try:
            return await main(agent, life)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)

    return run_virtual(live())


def test_an_agent_whose_machine_is_taken_gives_its_runs_back_in_time() -> None:
    """They end as preempted, their tasks are pending again, and nothing new is claimed."""
    sky, world = Sky(), World(1, "key", 0.0, 9)
    world.run_max_s = 1e6

    async def main(agent: Agent, life: asyncio.Task[int]) -> tuple[int, float]:
        await until(lambda: len(world.executing) == 3, 60.0)
        began = asyncio.get_running_loop().time()
        sky.look_now = Look((END,))
        return await life, asyncio.get_running_loop().time() - began

    code, took_s = watched(sky, world, main)
    assert code == 0
    assert took_s <= 35.0
    ends = [run["error"] for run in world.server.runs.values() if run.get("stoppedAt")]
    assert ends == ["preempted: stopped"] * 3
    assert len(world.server.pending()) == 9


def test_an_agent_that_holds_claims_goes_on_with_what_runs_and_claims_again_afterwards() -> None:
    """A false alarm costs no run."""
    sky, world = Sky(), World(1, "key", 0.0, 9)
    sky.look_now = Look((RISK,))

    async def main(agent: Agent, life: asyncio.Task[int]) -> tuple[int, int]:
        await asyncio.sleep(600.0)
        held = len(world.executions)
        sky.look_now = Look()
        await until(lambda: len(world.successes()) == 9, 600.0)
        return held, len(world.executions)

    held, done = watched(sky, world, main)
    assert held <= 3  # what was claimed before the first look
    assert done == 9


def test_a_look_that_fails_is_a_problem_of_its_source() -> None:
    """The watch goes on, and is told of the end later."""

    class Broken(Sky):
        """No thread can be had for some looks."""

        name = "broken sky"

        async def look(self) -> Look:
            """Fail, or tell."""
            self.looks += 1
            if self.looks <= 2:
                raise RuntimeError("can't start new thread")
            return self.look_now

    async def main(stage: Stage) -> tuple[bool, bool]:
        broken = Broken()
        broken.look_now = Look((END,))
        watching = asyncio.create_task(stage.watch.run([broken]))
        await asyncio.sleep(20.0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return stage.holds.is_held, stage.drain.is_requested

    with capture_logs() as logs:
        assert play(main) == (True, True)
    (told,) = [one for one in logs if one["event"] == "preemption.unknown"]
    assert "can't start new thread" in told["problem"]
