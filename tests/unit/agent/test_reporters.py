"""Runs of an earlier life whose files wait to be stored: what they go on telling; in virtual time."""

from __future__ import annotations

import asyncio
from random import Random

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import StubApi
from worker.agent.job_states import JobStates
from worker.agent.reporters import Reporters, ReportTimes
from worker.agent.wire_run import RunWire
from worker.api.retry import Retrier
from worker.reporting.records import Entry

AT = "2026-01-01T00:00:01.000Z"
OURS = {"id": "r", "taskId": "t", "jobId": "j", "podId": "pod/a", "startedAt": AT, "limitCPUs": 2}
ENTRY = Entry(run_id="r", task_id="t", job_id="j", pod_id="pod/a", started_at=AT, ended={"progress": 0.5})


def test_a_run_of_an_earlier_life_is_told_nothing_of_the_machine_of_today() -> None:
    """It did not run on it: what the claim told stays."""
    stub = StubApi(lambda _: (200, OURS))

    async def main() -> None:
        clock = VirtualClock()
        retrier = Retrier(Random(1), clock)
        reporters = Reporters(
            api=stub.api,
            runs=RunWire(stub.api, retrier, clock, Random(1), dict),
            clock=clock,
            times=ReportTimes(report_interval_s=2.0, heartbeat_s=15.0, lag_s=3.0),
            machine=lambda: {"limitCPUs": 64, "machine": {"limitCPUs": {"value": 64}}},
            jobs=JobStates(stub.api, clock, 10.0),
        )
        held = reporters.resume(ENTRY)
        await asyncio.sleep(60.0)
        held.reporting.cancel()
        await asyncio.gather(held.reporting, return_exceptions=True)

    run_virtual(main())
    reports = [one.body for one in stub.asked("PUT")]
    assert len(reports) > 1
    assert reports[0]["progress"] == 0.5
    assert [body for body in reports if {"limitCPUs", "machine"} & body.keys()] == []
