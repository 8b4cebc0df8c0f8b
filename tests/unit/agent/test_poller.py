"""How the agent asks for tasks: in virtual time, against a stub."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import httpx
from structlog.testing import capture_logs

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi
from worker.agent.deferrals import Deferrals
from worker.agent.freshness import FRESH_S, Freshness
from worker.agent.poller import Poller
from worker.api.models import Task

UNIQUE = {"Millhand-Claims": "unique"}


def poller(stub: StubApi, **settings: Any) -> Poller:
    """Return a poller with usual settings."""
    given: dict[str, Any] = {
        "agent_id": "a", "types": ["noop"], "unmet": lambda _: (),
        "poll_interval_s": 5.0, "poll_max_s": 60.0, "long_poll_s": 30.0,
    }  # fmt: skip
    return Poller(stub.api, VirtualClock(), Random(1), **(given | settings))


def pending(*ids: str, **fields: Any) -> dict[str, Any]:
    """Return a list of pending tasks."""
    return {
        "tasks": [{"id": id_, "type": "noop", "jobId": "j", "runStatus": "pending"} | fields for id_ in ids]
    }


def test_an_idle_server_is_asked_ever_less_often() -> None:
    """Back-off with full jitter: an hour of nothing costs few requests, and never more than one at once."""
    stub = StubApi(lambda _: (200, {"tasks": []}))

    async def main() -> None:
        try:
            async with asyncio.timeout(3600):
                await poller(stub).next(1)
        except TimeoutError:
            return

    run_virtual(main())
    assert 60 <= len(stub.requests) <= 300


def test_a_server_that_holds_polls_is_asked_again_at_once() -> None:
    """`Preference-Applied` tells that the wait was done at the server."""
    stub = StubApi(lambda _: (200, {"tasks": []}, {"Preference-Applied": "wait=30"}))
    stub.delay_s = 30.0

    async def main() -> float:
        one = poller(stub)
        for _ in range(10):
            assert await one.next_or_none(1) is None
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 300.0
    waits = [int(request.headers["prefer"].removeprefix("wait=")) for request in stub.requests]
    assert 1 <= waits[0] <= 30
    assert all(27 <= wait <= 30 for wait in waits[1:])


def test_a_server_that_only_says_that_it_held_the_poll_is_not_hammered() -> None:
    """A cache in between, or a server that is overloaded, answers at once."""
    stub = StubApi(lambda _: (200, {"tasks": []}, {"Preference-Applied": "wait=30"}))

    async def main() -> None:
        one = poller(stub)
        while asyncio.get_running_loop().time() < 3600.0:
            await one.next_or_none(1)

    run_virtual(main())
    assert len(stub.requests) < 3_000


def test_a_list_without_pages_is_not_asked_for_page_by_page() -> None:
    """The same hundreds of foreign tasks would come twenty times."""
    stub = StubApi(lambda _: (200, pending(*(f"f{at}" for at in range(300)), type="foreign")))

    async def main() -> None:
        await poller(stub).next_or_none(1)

    run_virtual(main())
    assert len(stub.requests) == 2


def test_pages_smaller_than_asked_for_do_not_hide_ours() -> None:
    """A server may give thirty at most, whatever it is asked for."""

    def answer(request: Request) -> Answer:
        page = int(request.query["page"])
        if page == 3:
            return 200, pending("ours")
        return 200, pending(*(f"f{page}-{at}" for at in range(30)), type="foreign")

    stub = StubApi(answer)

    async def main() -> Task:
        return await poller(stub).next(1)

    assert run_virtual(main()).id == "ours"


def test_retry_after_is_obeyed() -> None:
    """A server that says when is not asked before."""
    answers: list[Answer] = [(429, {}, {"Retry-After": "120"}), (200, pending("t1"))]
    stub = StubApi(lambda _: answers.pop(0))

    async def main() -> tuple[Task, float]:
        return await poller(stub).next(1), asyncio.get_running_loop().time()

    task, passed_s = run_virtual(main())
    assert task.id == "t1"
    assert passed_s >= 120.0


def test_faults_of_any_kind_are_survived() -> None:
    """No answer, HTML, a failing server: the poller goes on."""
    answers: list[Answer] = [
        httpx.ReadError("reset"),
        (200, "<html>"),
        (500, {}),
        (401, {}),
        (200, pending("t1")),
    ]
    stub = StubApi(lambda _: answers.pop(0))

    async def main() -> Task:
        return await poller(stub).next(1)

    assert run_virtual(main()).id == "t1"


def test_pages_of_tasks_for_others_do_not_hide_ours() -> None:
    """A server that does not filter by type may list thousands of foreign tasks first."""

    def answer(request: Request) -> Answer:
        if request.query["page"] == "3":
            return 200, pending("ours")
        return 200, pending(*(f"f{request.query['page']}-{at}" for at in range(100)), type="foreign")

    stub = StubApi(answer)

    async def main() -> Task:
        return await poller(stub).next(1)

    assert run_virtual(main()).id == "ours"
    assert len(stub.requests) == 3


def test_each_task_is_handed_out_once_while_lists_lag() -> None:
    """A list that still shows a task that was just tried does not bring it back at once."""
    stub = StubApi(lambda _: (200, pending("t1"), UNIQUE))

    async def main() -> float:
        one = poller(stub)
        assert (await one.next(1)).id == "t1"
        one.leave("t1")
        assert (await one.next(1)).id == "t1"
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) >= 3.0


def test_a_task_that_is_tried_here_is_not_handed_out_again_however_long_that_takes() -> None:
    """A second attempt beside the first would take the first one's run for another agent's."""
    stub = StubApi(lambda _: (200, pending("t1")))

    async def main() -> Task | None:
        one = poller(stub)
        await one.next(2)
        try:
            async with asyncio.timeout(3600.0):
                return await one.next(2)
        except TimeoutError:
            one.leave("t1")
        return await one.next(2)

    task = run_virtual(main())
    assert task is not None
    assert len(stub.requests) > 100


def test_only_as_many_tasks_are_asked_for_as_can_be_taken_soon() -> None:
    """Our server keeps listed tasks from others for a moment: do not hoard them."""
    ids = iter(range(1000))

    def answer(request: Request) -> Answer:
        return 200, pending(*(f"t{next(ids)}" for _ in range(int(request.query["perPage"])))), UNIQUE

    stub = StubApi(answer)

    async def main() -> None:
        one = poller(stub)
        await one.next(4)
        for _ in range(400):  # short tasks: lists are used up before they are stale
            await one.next(4)

    run_virtual(main())
    sizes = [int(request.query["perPage"]) for request in stub.requests]
    assert sizes[0] == 100  # nothing is known of the server yet
    assert sizes[1] < 10
    assert sizes == [sizes[0], *sorted(sizes[1:])]


def test_why_a_task_is_left_is_told_once() -> None:
    """The log tells what this agent does not take; not at each poll."""
    stub = StubApi(lambda _: (200, pending("t1", parameters={"requires": {"gpus": 8}})))

    async def main() -> None:
        one = poller(stub, unmet=lambda _: ("needs 8 GPUs, this machine has 0",))
        for _ in range(2):
            assert await one.next_or_none(1) is None

    with capture_logs() as said:
        run_virtual(main())
    told = [(line["task_id"], line["reasons"]) for line in said if line["event"] == "task.left"]
    assert told == [("t1", ["needs 8 GPUs, this machine has 0"])]


def test_a_poll_waits_for_claims_that_are_under_way() -> None:
    """Their tasks would be listed again; a claim that takes long does not keep other slots from polling."""
    stub = StubApi(lambda _: (200, pending("t1"), UNIQUE))

    async def main() -> list[float]:
        one, asked = poller(stub), []
        await one.next(2)
        asyncio.get_running_loop().call_later(0.2, lambda: one.settle("t1", is_won=True))
        await one.next_or_none(2)
        asked.append(asyncio.get_running_loop().time())
        return asked

    assert 0.2 <= run_virtual(main())[0] <= 0.4
    assert len(stub.requests) == 2


def test_a_list_of_tasks_just_tried_does_not_put_the_poller_to_sleep() -> None:
    """The next task may come at any moment: the long back-off is for servers that have nothing."""
    stub = StubApi(lambda _: (200, pending("t1"), UNIQUE))

    async def main() -> float:
        one = poller(stub)
        await one.next(2)
        one.settle("t1", is_won=True)
        await one.next_or_none(2)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) <= 0.1


def test_tasks_that_fit_no_machine_here_do_not_slow_the_pick_up_of_others() -> None:
    """Our server answers at once while they are pending; what comes beside them is seen soon."""
    stub = StubApi(lambda _: (200, pending("t1", parameters={"requires": {"gpus": 8}}), UNIQUE))

    async def main() -> float:
        one = poller(stub, unmet=lambda _: ("needs 8 GPUs",))
        for _ in range(50):
            assert await one.next_or_none(1) is None
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) <= 50 * 5.0


def test_who_loses_races_asks_ever_less_often_until_it_wins_one() -> None:
    """A fleet of thousands sees each task at once: all but one lose, and must not come back at once."""
    ids = iter(range(100_000))
    stub = StubApi(lambda _: (200, pending(f"t{next(ids)}")))

    async def main() -> tuple[int, float]:
        one = poller(stub)
        while asyncio.get_running_loop().time() < 3600.0:
            task = await one.next(1)
            one.settle(task.id, is_won=False)
            one.leave(task.id)
        lost = len(stub.requests)
        one.settle("t", is_won=True)
        began_s = asyncio.get_running_loop().time()
        await one.next(1)  # what the last loss asked for is still waited for
        one.settle("t", is_won=True)
        await one.next(1)
        return lost, asyncio.get_running_loop().time() - began_s

    lost, won_s = run_virtual(main())
    assert 60 <= lost <= 300
    assert won_s <= 61.0


def test_after_a_lost_claim_a_list_that_all_see_is_asked_for_anew() -> None:
    """Others have taken more of it by then; where no claim is lost, one list serves for many tasks."""
    ids = iter(range(100_000))
    stub = StubApi(lambda _: (200, pending(*(f"t{next(ids)}" for _ in range(50)))))

    async def main() -> list[int]:
        one, lists = poller(stub), []
        for is_won in [True] * 40 + [False] + [True] * 40:
            task = await one.next(1)
            one.settle(task.id, is_won=is_won)
            one.leave(task.id)
            lists.append(len(stub.requests))
        return lists

    lists = run_virtual(main())
    assert (lists[0], lists[40], lists[41], lists[80]) == (1, 1, 2, 2)


def test_a_list_that_all_see_is_stale_the_sooner_the_more_claims_are_lost() -> None:
    """And later again as claims are won; one of our server, which shows a task to one agent, is not."""

    async def main() -> list[float]:
        fresh, left = Freshness(VirtualClock()), []

        def note(*, is_shared: bool = True) -> None:
            fresh.begin(is_shared=is_shared)
            left.append(fresh.left_s)

        note()
        for _ in range(3):
            fresh.lose()
            note()
        note(is_shared=False)
        for _ in range(30):
            fresh.win()
        note()
        await asyncio.sleep(FRESH_S + 0.1)
        left.append(fresh.left_s)
        return left

    first, once, twice, thrice, ours, won, over = run_virtual(main())
    assert ours == won == FRESH_S > first > once > twice == thrice > 0.0 > over


def test_a_claim_that_our_server_refuses_costs_no_wait() -> None:
    """It shows a task to one agent at a time: the next one is there for this agent."""
    ids = iter(range(1000))
    stub = StubApi(lambda _: (200, pending(f"t{next(ids)}"), UNIQUE))

    async def main() -> float:
        one = poller(stub)
        for _ in range(100):
            task = await one.next(1)
            one.settle(task.id, is_won=False)
            one.leave(task.id)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 1.0


def test_a_task_that_waits_for_its_next_attempt_is_left_until_then_and_costs_next_to_nothing() -> None:
    """However often the server lists it; others are tried, and it is handed out soon after its wait."""
    stub = StubApi(
        lambda _: (200, pending("failed") if len(stub.requests) > 1 else pending("failed", "other"))
    )

    async def main() -> tuple[str, str, float]:
        deferrals = Deferrals(VirtualClock())
        deferrals.note("failed", "placeholder", 1200.0)
        one = poller(stub, deferrals=deferrals)
        first, second = await one.next(2), await one.next(1)
        return first.id, second.id, asyncio.get_running_loop().time()

    first, second, at_s = run_virtual(main())
    assert (first, second) == ("other", "failed")
    assert 1200.0 <= at_s < 1201.0
    assert len(stub.requests) < 100


def test_an_agent_that_ends_when_idle_waits_for_its_own_next_attempts() -> None:
    """Polls that bring nothing are no sign of idleness while a task is known to come back."""
    stub = StubApi(lambda _: (200, {"tasks": []}))

    async def main() -> list[int]:
        deferrals = Deferrals(VirtualClock())
        deferrals.note("failed", "placeholder", 60.0)
        one, idle = poller(stub, deferrals=deferrals, poll_max_s=5.0), []
        for until_s in (60.0, 120.0):
            while asyncio.get_running_loop().time() < until_s:
                await one.next_or_none(1)
            idle.append(one.idle_polls)
        return idle

    before, after = run_virtual(main())
    assert before == 0
    assert after > 2
