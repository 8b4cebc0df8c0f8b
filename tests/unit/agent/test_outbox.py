"""Outcomes on their way: most without a task of their own, none forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.delivery_case import AT, LAG_S, LIVE, REPORT
from tests.unit.api.batching import END_A, END_B, Server
from tests.unit.reporting.memory import MemoryIO
from worker.agent.outbox import Outbox
from worker.api.retry import Retrier
from worker.reporting.delivery import Delivery
from worker.reporting.journal import Journal
from worker.reporting.records import Entry

LOST = (502, "<html>")


class Sender:
    """An outbox, its journal, and a server that takes several writes in one request."""

    def __init__(self, journal: Journal) -> None:
        """Have nothing to send yet."""
        self.server, self.journal, self.changes = Server(), journal, 0
        retrier = Retrier(Random(1), VirtualClock())
        self.outbox = Outbox(
            Delivery(
                self.server.reports, journal, retrier, new_id=lambda: "echo", lag_s=LAG_S, kept_at="/state"
            )
        )
        self.outbox.listen(self._note)

    def _note(self) -> None:
        self.changes += 1

    async def end(self, *ids: str, requeue: bool = False, report: dict[str, Any] = REPORT) -> None:
        """Have runs end at one moment, and send their outcomes."""
        for id_ in ids:
            await self.journal.intent(
                Entry(run_id=id_, task_id="t", job_id="j", pod_id="pod/a", started_at=AT, intent=LIVE)
            )
            await self.journal.terminal(id_, report, requeue=requeue)
        for id_ in ids:
            self.outbox.send(self.journal.entries[id_])


def sending(main: Callable[[Sender], Any]) -> None:
    """Send in virtual time."""

    async def run() -> None:
        await main(Sender(await Journal.open(MemoryIO(), VirtualClock())))

    run_virtual(run())


def test_outcomes_of_one_moment_are_told_without_a_task_for_each() -> None:
    """In one request; each entry is closed by its own answer, and who listens knows of each."""

    async def main(sender: Sender) -> None:
        before = len(asyncio.all_tasks())
        await sender.end("a", "b")
        assert len(asyncio.all_tasks()) == before
        assert (len(sender.outbox), sender.changes) == (2, 0)
        assert set(sender.journal.entries) == {"a", "b"}
        await sender.outbox.settle(10.0)
        assert sender.server.requests == [[END_A, END_B]]
        assert (len(sender.outbox), sender.changes) == (0, 2)
        assert not sender.journal.entries

    sending(main)


@pytest.mark.parametrize("failure", [LOST, (429, {}), (401, {}), (200, {"ok": True})])
def test_one_that_was_not_taken_is_sent_again_later(failure: tuple[int, Any]) -> None:
    """Its entry stays until then, and the wait before the second try is that after a first."""

    async def main(sender: Sender) -> None:
        sender.server.of_paths = {"/api/jobs/runs/a": failure}
        await sender.end("a", "b")
        await asyncio.sleep(0.001)
        assert sender.server.requests == [[END_A, END_B]]
        assert (len(sender.outbox), list(sender.journal.entries)) == (1, ["a"])
        sender.server.of_paths = {}
        await sender.outbox.settle(60.0)
        assert sender.server.requests == [[END_A, END_B], [END_A]]
        assert (len(sender.outbox), sender.changes) == (0, 2)
        assert not sender.journal.entries

    sending(main)


def test_when_the_time_is_over_what_is_not_answered_stays_in_the_journal() -> None:
    """Nothing of it goes on afterwards, whatever is answered then."""

    async def main(sender: Sender) -> None:
        sender.server.delay_s, sender.server.of_batches = 5.0, LOST
        await sender.end("a", "b")
        begun = asyncio.get_running_loop().time()
        await sender.outbox.settle(1.0)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(1.0)
        assert len(sender.outbox) == 0
        await asyncio.sleep(600.0)
        assert sender.server.requests == [[END_A, END_B]]
        assert set(sender.journal.entries) == {"a", "b"}

    sending(main)


@pytest.mark.parametrize(
    ("requeue", "report"), [(True, REPORT), (False, REPORT | {"results": {"note": "mine"}})]
)
def test_one_that_needs_more_than_a_report_has_a_task(requeue: bool, report: dict[str, Any]) -> None:
    """A requeue comes before it; results that look like a note of ours are looked at."""

    async def main(sender: Sender) -> None:
        before = len(asyncio.all_tasks())
        await sender.end("a", requeue=requeue, report=report)
        assert len(asyncio.all_tasks()) == before + 1
        await sender.outbox.settle(60.0)

    sending(main)


def test_the_bound_counts_all_that_is_on_its_way() -> None:
    """With and without a task."""

    async def main(sender: Sender) -> None:
        sender.server.delay_s = 1.0
        await sender.end("a", "b")
        await sender.end("c", requeue=True)
        assert len(sender.outbox) == 3
        await sender.outbox.settle(60.0)
        assert len(sender.outbox) == 0

    sending(main)
