"""When an attempt claims nothing, and what a cancelled one still writes down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import StubApi, run, task
from tests.unit.agent.test_reporter import LIVE, Desk
from tests.unit.placement.machines import L4, machine
from worker.agent.attempt import Attempts
from worker.agent.claim import Claim
from worker.agent.drain import Drain
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds
from worker.agent.operators.activity import Activity
from worker.agent.places import Places
from worker.agent.reporting_task import Reporting
from worker.api.models import Identity, Task
from worker.api.wire import ErrorKind, ResultCode
from worker.clock import SystemClock
from worker.config import AgentConfig
from worker.executor.outcome import Outcome
from worker.reporting.reporter import Reporter

CONFIG = AgentConfig(state_dir=Path("/nowhere"))
Act = Callable[[Drain, Holds], None]


class SlowGpus(Gpus):
    """Something happens while they are looked at."""

    def __init__(self, act: Callable[[], None]) -> None:
        """There is one."""
        super().__init__(machine(L4), CONFIG)
        self.act = act

    async def are_well(self, uuids: Iterable[str]) -> bool:
        """They are, at last."""
        self.act()
        return True


class Claims:
    """A claimer that loses every claim, and counts them."""

    def __init__(self) -> None:
        """None yet."""
        self.count = 0

    async def claim(self, _: Task) -> None:
        """Count."""
        self.count += 1


@pytest.mark.parametrize(
    ("act", "claims"),
    [
        (lambda drain, holds: None, 1),
        (lambda drain, holds: drain.request(ErrorKind.DRAINED, "SIGTERM"), 0),
        (lambda drain, holds: holds.hold("memory", "none is left", "wait"), 0),
    ],
    ids=["nothing", "drain", "hold"],
)
def test_what_comes_while_the_gpus_are_looked_at_keeps_a_task_unclaimed(act: Act, claims: int) -> None:
    """It would be started only to be stopped; another agent has it now. The GPU is free again."""
    clock = SystemClock()
    drain, holds, claimer = Drain(clock, 30.0), Holds(), Claims()
    gpus = SlowGpus(lambda: act(drain, holds))
    api: Any = SimpleNamespace(traits=SimpleNamespace(claims_unique=True))
    nobody: Any = None
    by_us: Any = claimer
    attempts = Attempts(
        claimer=by_us, executor=nobody, api=api, journal=nobody, jobs=nobody, drain=drain, holds=holds,
        clock=clock, reporters=nobody, endings=nobody, gpus=gpus, activity=Activity(clock),
        places=Places(1, clock),
        on_settled=lambda task_id, is_won: None,
    )  # fmt: skip
    wanting = task(parameters={"requires": {"gpus": 1}})
    assert not asyncio.run(attempts.run(wanting))
    assert claimer.count == claims
    assert gpus.take(wanting) == ("GPU-1",)


def test_an_attempt_cancelled_while_the_next_claim_is_made_writes_its_outcome() -> None:
    """The time of a drain is over in just that moment: the result is there, and its reports must end."""
    written: list[Outcome] = []

    class Ends:
        """Endings that note what is to be written."""

        async def end(self, _: Claim, outcome: Outcome, reporter: Reporter, reporting: Reporting) -> None:
            """Note it."""
            await reporting.end()
            written.append(outcome)

    class Done:
        """An executor whose runs are over at once."""

        async def execute(self, *_: object) -> Outcome:
            """Return a success."""
            return Outcome(code=ResultCode.SUCCESS)

    async def main() -> int:
        clock, stub = VirtualClock(), StubApi(lambda _: (200, LIVE))
        desk = Desk(stub)
        identity = Identity("pod/a", clock.now())
        claim = Claim(task=task(), run=run("r"), identity=identity, attempt=1, resume=None, known=())

        async def claimed(_: Task) -> Claim:
            return claim

        parts: dict[str, Any] = {
            "claimer": SimpleNamespace(claim=claimed), "executor": Done(), "endings": Ends(), "journal": None,
            "api": SimpleNamespace(traits=SimpleNamespace(claims_unique=True)),
            "jobs": SimpleNamespace(note=lambda *_: None, watch=lambda *_: lambda: None),
            "reporters": SimpleNamespace(reporter=lambda *_, **__: desk.reporter),
        }  # fmt: skip
        attempts = Attempts(
            **parts, drain=Drain(clock, 30.0), holds=Holds(), clock=clock, gpus=Gpus(machine(), CONFIG),
            activity=Activity(clock), places=Places(1, clock), on_settled=lambda task_id, is_won: None,
        )  # fmt: skip
        going = asyncio.create_task(attempts.run(task(), lambda: void(going.cancel())))
        await asyncio.wait({going})
        assert going.cancelled()
        await asyncio.sleep(60.0)
        return len(stub.requests)

    assert run_virtual(main()) == 0
    assert [outcome.code for outcome in written] == [ResultCode.SUCCESS]


def void(_: object) -> None:
    """Forget a value."""
