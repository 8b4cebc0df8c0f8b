"""How a claim gets through when the server, or what stands before it, behaves oddly; in virtual time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.claim_case import INGRESS, LOST, SETTLE_S, Shelf, claimed
from tests.unit.agent.stub_api import Answer, Request, StubApi, error, task
from tests.unit.reporting.memory import MemoryIO
from worker.agent.claim import Claim, Claimer
from worker.agent.deferrals import Deferrals
from worker.agent.election import Elections
from worker.agent.identity import Identities
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.retry import Retrier
from worker.reporting.journal import Journal


@pytest.mark.parametrize("status", [400, 405, 409, 422])
def test_a_claim_whose_answer_got_lost_is_found_although_looks_are_refused(status: int) -> None:
    """By a proxy, for a while: the intent stays until it is known what became of it."""
    shelf = Shelf()
    shelf.instead["POST"] = [(True, LOST)]
    shelf.instead["GET"] = [(False, (status, "<html>"))] * 5
    desk, _ = claimed(shelf, ServerKind.KEY)
    assert desk.claim is not None
    assert shelf.live == [desk.claim.run.id]
    assert list(desk.entries) == shelf.live


def test_a_claim_whose_answer_got_lost_is_found_although_reads_lag() -> None:
    """The run is there; refusals and looks that do not show it yet prove nothing."""
    shelf = Shelf()
    shelf.instead["POST"] = [(True, LOST)]
    shelf.is_blind = True
    desk, _ = claimed(shelf, ServerKind.KEY, lambda: setattr(shelf, "is_blind", False))
    assert desk.claim is not None
    assert shelf.live == list(desk.entries) == [desk.claim.run.id]


def test_a_claim_whose_answer_got_lost_is_found_behind_an_ingress_that_says_404() -> None:
    """The server restarts right after it took the claim."""
    shelf = Shelf()
    shelf.instead = {
        "POST": [(True, LOST), (False, INGRESS), (False, INGRESS)], "GET": [(False, INGRESS)] * 3, "PUT": [],
    }  # fmt: skip
    desk, _ = claimed(shelf, ServerKind.KEY)
    assert desk.claim is not None
    assert shelf.live == list(desk.entries) == [desk.claim.run.id]


def test_a_body_that_is_refused_is_given_up_after_an_earlier_time_out_too() -> None:
    """Not at once, but not for ever either; and no entry is left."""
    shelf = Shelf()
    shelf.instead["POST"] = [(False, LOST), *[(False, (422, error("create_run_error")))] * 100]
    desk, stub = claimed(shelf, ServerKind.KEY)
    assert desk.claim is None
    assert desk.error is not None
    assert desk.entries == []
    assert len(stub.asked("POST")) < 50


def test_a_claim_that_is_under_way_here_is_not_written_over_by_another_attempt() -> None:
    """The journal would forget whose the run is, and nobody would ever stop it."""
    shelf = Shelf()
    stub = StubApi(shelf)

    async def main() -> tuple[Claim | None, Claim | None, list[str]]:
        clock = VirtualClock()
        journal = await Journal.open(MemoryIO(), clock)
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        identities = Identities("pod/a", clock)
        elections = Elections(runs, journal, identities, new_id=lambda: "random", settle_s=SETTLE_S)
        claimer = Claimer(
            runs,
            journal,
            identities,
            elections,
            Deferrals(clock),
            kind=ServerKind.KEY,
            on_kind=lambda _: None,
        )
        stub.delay_s = 1.0
        first = asyncio.create_task(claimer.claim(task()))
        await asyncio.sleep(0.5)
        second = await claimer.claim(task())
        return await first, second, list(journal.entries)

    first, second, entries = run_virtual(main())
    assert first is not None
    assert second is None
    assert entries == shelf.live == [first.run.id]


def test_what_one_slot_finds_out_of_a_server_counts_for_claims_that_are_under_way() -> None:
    """They were posted under ids that others overwrite: none is executed without an election."""
    shelf, won = Shelf(overwrites=True), []

    async def main() -> None:
        clock = VirtualClock()
        journal = await Journal.open(MemoryIO(), clock)
        runs = RunWire(StubApi(shelf).api, Retrier(Random(1), clock), clock, Random(1), dict)
        identities = Identities("pod/a", clock)
        ids = iter(f"random-{at}" for at in range(9))
        elections = Elections(runs, journal, identities, new_id=lambda: next(ids), settle_s=SETTLE_S)
        claimer = Claimer(
            runs,
            journal,
            identities,
            elections,
            Deferrals(clock),
            kind=ServerKind.UNKNOWN,
            on_kind=lambda _: None,
        )

        async def claim(at: int) -> None:
            for _ in range(at):
                await asyncio.sleep(0)
            won.append(await claimer.claim(task(f"t{at}")))

        await asyncio.gather(*(claim(at) for at in range(8)))

    run_virtual(main())
    assert [claim is not None and claim.is_elected for claim in won] == [True] * 8


@pytest.mark.parametrize("answer", [INGRESS, (405, "<html>"), (429, {}), (403, {}), (408, {}), (502, {})])
def test_what_a_proxy_says_to_a_probe_does_not_tell_the_servers_kind(answer: Answer) -> None:
    """Taken for a refusal, it would have every task of an overwriting server run twice."""
    shelf = Shelf(overwrites=True)
    shelf.instead["POST"] = [(True, None), (False, answer)]
    desk, _ = claimed(shelf, ServerKind.UNKNOWN)
    assert desk.kinds == [ServerKind.OVERWRITES]
    assert desk.claim is not None
    assert desk.claim.is_elected


def test_a_task_with_more_runs_than_a_page_is_read_to_its_end() -> None:
    """Also where a server's pages are smaller than the ones that were asked for."""
    many = [{"id": f"r{at:03d}", "taskId": "t"} for at in range(70)]

    def answer(request: Request) -> Answer:
        start = (int(request.query["page"]) - 1) * 30
        return 200, {"runs": many[start : start + 30]}

    stub = StubApi(answer)

    async def main() -> int:
        clock = VirtualClock()
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        return len(await runs.list_all("t", "j"))

    assert run_virtual(main()) == 70


def test_a_server_that_filters_and_pages_nothing_is_asked_twice_at_most() -> None:
    """It sends all runs of all tasks, every time."""
    many = [{"id": f"r{at:03d}", "taskId": "t" if at == 7 else "other"} for at in range(150)]
    stub = StubApi(lambda _: (200, {"runs": many}))

    async def main() -> list[str]:
        clock = VirtualClock()
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        return [run.id for run in await runs.list_all("t", "j")]

    assert run_virtual(main()) == ["r007"]
    assert len(stub.requests) == 2
