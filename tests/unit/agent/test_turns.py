"""Which loop of the agent is stuck: of real agents in virtual time, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.loop import VirtualClock, run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World, until
from worker.agent.assemble import Agent
from worker.agent.ending import ANSWER_S
from worker.agent.operators.service import tell
from worker.agent.turns import PATIENCE_S, Turns
from worker.api.client import JobsApi
from worker.service_manager import ServiceManager

REQUEST_S = 30.0  # the limit of a request, as configured by default
HOURS_S = 4 * 3600.0


def alive(world: World, main: Callable[[Agent, CountedManager], Awaitable[Any]]) -> None:
    """Let an agent live, watched by a manager, while `main` looks at both."""

    async def live() -> None:
        agent = await Machine(world, "node/agent-1").agent()
        manager = CountedManager("/nowhere", 60.0)
        going = [asyncio.create_task(agent.run()), asyncio.create_task(tell(manager, agent.survey))]
        try:
            await main(agent, manager)
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    run_virtual(live())


class CountedManager(ServiceManager):
    """A manager that counts what its watchdog hears."""

    beats = 0

    def beat(self) -> None:
        """Hear that the agent goes on."""
        self.beats += 1

    def _send(self, *words: str) -> None:
        """Hear nothing else."""


async def for_ever(*_: Any, **__: Any) -> None:
    """Take the place of a request: each has a limit, which only a fault of ours gets past."""
    await asyncio.Event().wait()


async def beats_in(manager: CountedManager, seconds: float) -> int:
    """Return how many beats are heard meanwhile."""
    before = manager.beats
    await asyncio.sleep(seconds)
    return manager.beats - before


def test_a_loop_is_stuck_once_it_is_late_beyond_patience_and_not_before() -> None:
    """At the bound it is not; one that waits without a limit, or has ended, never is."""

    async def main() -> None:
        turns = Turns(VirtualClock(), 10.0)
        turns.note("one", 5.0)
        turns.note("other", 5.0)
        turns.note("other", None)
        turns.note("none", None)
        await asyncio.sleep(15.0)
        assert turns.stuck() == ()
        await asyncio.sleep(0.1)
        assert turns.stuck() == ("one",)
        turns.note("one", 0.0)
        assert turns.stuck() == ()

    run_virtual(main())


def test_what_stands_still_beside_the_loops_is_told_with_them() -> None:
    """It is asked whenever somebody looks, and only then."""

    async def main() -> None:
        answers = [False, True]
        turns = Turns(VirtualClock(), 10.0, {"minder": lambda: answers.pop(0)})
        turns.note("one", 5.0)
        await asyncio.sleep(3600.0)
        assert turns.stuck() == ("one",)
        assert turns.stuck() == ("one", "minder")

    run_virtual(main())


def test_polls_that_are_stuck_silence_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before a request's limit and patience are over; the log says which loop, and where it is."""
    monkeypatch.setattr(JobsApi, "poll", for_ever)

    async def main(agent: Agent, manager: CountedManager) -> None:
        assert await beats_in(manager, REQUEST_S + PATIENCE_S) >= 7
        with capture_logs() as logs:
            await asyncio.sleep(60.0)
            assert await beats_in(manager, HOURS_S) == 0
        assert agent.survey.status().stuck == ("tasks",)
        events = [line["event"] for line in logs]
        assert events.count("agent.stuck") == 1
        stacks = [line["stack"] for line in logs if line["event"] == "stacks.tasks"]
        assert any("for_ever" in line for stack in stacks for line in stack)

    alive(World(1, "key", 0.0, 0), main)


def test_reports_that_are_stuck_silence_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run would lose its lease, though tasks are taken as ever; once it is over, nothing is stuck."""
    world = World(1, "key", 0.0, 1)
    world.is_deaf = True

    async def main(agent: Agent, manager: CountedManager) -> None:
        await until(lambda: agent.survey.activity.going, 60.0)
        (run_id,) = agent.survey.activity.going
        with monkeypatch.context() as patch:
            patch.setattr(JobsApi, "update_run", for_ever)
            await asyncio.sleep(REQUEST_S + PATIENCE_S + 120.0)
            assert agent.survey.turns.stuck() == (f"reports of {run_id}",)
            assert await beats_in(manager, 60.0) == 0
        world.is_deaf = False
        await until(lambda: not agent.survey.supervisor.busy, 300.0)
        await until(lambda: not agent.survey.turns.stuck(), 2 * ANSWER_S)
        assert await beats_in(manager, 60.0) >= 3

    alive(world, main)


@pytest.mark.parametrize("what", ["idle", "busy", "no server", "paused", "draining"])
def test_an_agent_that_has_to_wait_is_never_stuck(what: str) -> None:
    """For hours, whatever it waits for: a restart would only end its runs."""
    world = World(1, "key", 0.0, 4 if what in ("busy", "draining") else 0)
    world.is_deaf = True

    async def main(agent: Agent, manager: CountedManager) -> None:
        if world.server.tasks:
            await until(lambda: agent.survey.supervisor.busy == 3, 60.0)
        if what == "no server":
            world.server.denies["GET /api/jobs/tasks"] = (503, {"retry-after": "900"})
        if what == "paused":
            agent.survey.holds.hold("operator", "a person looks", "wait")
        if what == "draining":
            agent.survey.drain.request(agent.survey.drain.kind, "SIGTERM", within_s=2 * HOURS_S)
        for _ in range(int(HOURS_S / 60.0)):
            await asyncio.sleep(60.0)
            assert agent.survey.turns.stuck() == ()
        assert manager.beats >= HOURS_S / 20.0 - 1

    alive(world, main)
