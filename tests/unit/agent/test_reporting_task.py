"""The reports of a run begin when the first may be due, no later than before: in virtual time."""

from __future__ import annotations

import asyncio

from tests.simulation.loop import run_virtual
from tests.unit.agent.stub_api import StubApi
from tests.unit.agent.test_reporter import LIVE, Desk
from worker.agent.reporting_task import Reporting
from worker.agent.shared_timer import SharedTimer
from worker.executor.executor import ProgressEvent


def times_of(*notes_s: float, until_s: float) -> list[float]:
    """Return when reports were made, where the handler told its progress at these times."""
    made: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def answer(_: object) -> tuple[int, object]:
            made.append(round(loop.time() - began, 6))
            return 200, LIVE

        desk = Desk(StubApi(answer))
        began = loop.time()
        reporting = Reporting(desk.reporter, SharedTimer())
        for at_s in notes_s:
            loop.call_at(began + at_s, desk.reporter.note, ProgressEvent(at_s / 100, None))
        await asyncio.sleep(until_s)
        await reporting.end()

    run_virtual(main())
    return made


def test_what_a_run_tells_early_is_reported_after_the_first_interval() -> None:
    """As if the reporter had waited from the start."""
    assert times_of(0.1, until_s=3.0) == [2.0]


def test_a_silent_run_is_first_reported_a_heartbeat_after_its_claim() -> None:
    """Not an interval later, for its lease counts from the claim."""
    assert times_of(until_s=31.0) == [15.0, 30.0]


def test_a_run_that_ends_within_the_first_interval_has_no_task() -> None:
    """Nothing begins afterwards either."""

    async def main() -> None:
        desk = Desk(stub)
        tasks = asyncio.all_tasks()
        reporting = Reporting(desk.reporter, SharedTimer())
        await asyncio.sleep(1.9)
        assert asyncio.all_tasks() == tasks
        await reporting.end()
        await asyncio.sleep(60.0)

    stub = StubApi(lambda _: (200, LIVE))
    run_virtual(main())
    assert not stub.requests


def test_why_a_run_is_to_stop_is_told_before_the_first_interval_too() -> None:
    """Whoever tells it has the reports begin."""

    async def main() -> list[object]:
        desk = Desk(stub)
        reporting = Reporting(desk.reporter, SharedTimer())
        await asyncio.sleep(0.5)
        desk.reporter.tell_stop("drained", "SIGTERM received")
        reporting.begin()
        await asyncio.sleep(0.1)
        told = [request.body["results"]["stopping"]["kind"] for request in stub.requests]
        await reporting.end()
        return told

    stub = StubApi(lambda _: (200, LIVE))
    assert run_virtual(main()) == ["drained"]
