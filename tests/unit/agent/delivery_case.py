"""One delivery of one outcome, in virtual time, against a stub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi
from tests.unit.reporting.memory import MemoryIO
from worker.api.retry import Retrier
from worker.reporting.delivery import Delivered, Delivery
from worker.reporting.journal import Journal
from worker.reporting.records import Entry

AT = "2026-01-01T00:00:01.000Z"
LIVE = {"id": "r", "taskId": "t", "podId": "pod/a", "startedAt": AT, "stoppedAt": None, "createdAt": AT}
REPORT = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Success", "results": {"value": 7}, "progress": 1}
DRAINED = {"startedAt": AT, "stoppedAt": AT, "resultCode": "Failed", "error": "drained: SIGTERM"}
DONE = LIVE | REPORT
LAG_S = 2.0


class Case:
    """One delivery, what became of it, and what the journal holds then."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        """Deliver against a stub that answers so."""
        self.stub = StubApi(answer)
        self.delivered: Delivered | None = None
        self.entries: dict[str, Entry] = {}
        self.took_s = 0.0

    async def run(
        self, report: dict[str, Any], requeue: bool, marks: tuple[str, ...], limit_s: float
    ) -> None:
        """Deliver, for so long at most."""
        journal = await Journal.open(MemoryIO(), VirtualClock())
        entry = Entry(
            run_id="r", task_id="t", job_id="j", pod_id="pod/a", started_at=AT, marks=marks, intent=LIVE
        )
        await journal.intent(entry)
        await journal.terminal("r", report, requeue=requeue)
        delivery = Delivery(
            self.stub.api,
            journal,
            Retrier(Random(1), VirtualClock()),
            new_id=lambda: "echo",
            lag_s=LAG_S,
            kept_at="/state/journal",
        )
        try:
            async with asyncio.timeout(limit_s):
                self.delivered = await delivery.deliver(journal.entries["r"])
        except TimeoutError:
            pass
        self.took_s = asyncio.get_running_loop().time()
        self.entries = dict(journal.entries)


def deliver(
    answer: Callable[[Request], Answer] | list[Answer],
    report: dict[str, Any] = REPORT,
    *,
    requeue: bool = False,
    marks: tuple[str, ...] = (),
    limit_s: float = 3600.0,
) -> Case:
    """Deliver an outcome; a list of answers is given in turn, the last one for ever."""
    if isinstance(answer, list):
        answers = list(answer)
        case = Case(lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    else:
        case = Case(answer)
    run_virtual(case.run(report, requeue, marks, limit_s))
    return case
