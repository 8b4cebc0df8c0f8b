"""When an attempt claims nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.agent.stub_api import task
from tests.unit.placement.machines import L4, machine
from worker.agent.attempt import Attempts
from worker.agent.drain import Drain
from worker.agent.gpus.pool import Gpus
from worker.agent.holds import Holds
from worker.agent.operators.activity import Activity
from worker.api.models import Task
from worker.api.wire import ErrorKind
from worker.clock import SystemClock
from worker.config import AgentConfig

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
        on_settled=lambda task_id, is_won: None,
    )  # fmt: skip
    wanting = task(parameters={"requires": {"gpus": 1}})
    assert not asyncio.run(attempts.run(wanting))
    assert claimer.count == claims
    assert gpus.take(wanting) == ("GPU-1",)
