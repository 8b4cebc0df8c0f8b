"""How a claim gets through when the server, or what stands before it, behaves oddly; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import httpx
import pytest

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi, error, task
from tests.unit.reporting.memory import MemoryIO
from worker.agent.claim import Claim, Claimer
from worker.agent.deferrals import Deferrals
from worker.agent.election import Elections
from worker.agent.identity import Identities
from worker.agent.server_kind import ServerKind
from worker.agent.wire_run import RunWire
from worker.api.errors import ApiError
from worker.api.ids import claim_run_id, requeue_run_id
from worker.api.retry import Retrier
from worker.reporting.journal import Journal

SETTLE_S = 1.0
AT = "2026-01-01T00:00:00.000Z"
LOST = httpx.ReadTimeout("the answer got lost")
INGRESS: Answer = (404, "<html>no backend</html>")


class Shelf:
    """A server in few lines; the next answers to each method may be replaced, with or without effect."""

    def __init__(self, *, gives_ids: bool = False, overwrites: bool = False) -> None:
        """Keep runs by id."""
        self.runs: dict[str, dict[str, Any]] = {}
        self.instead: dict[str, list[tuple[bool, Answer | None]]] = {"GET": [], "POST": [], "PUT": []}
        self.gives_ids, self.overwrites = gives_ids, overwrites
        self.is_blind = False  # reads show nothing yet

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        is_done, answer = (
            self.instead[request.method].pop(0) if self.instead[request.method] else (True, None)
        )
        real = self.handle(request) if is_done else None
        return answer or real or LOST

    def handle(self, request: Request) -> Answer:
        """Do what is asked."""
        if request.method == "POST":
            return self.create(request.body)
        if request.path.endswith("/runs"):
            return 200, {"runs": [] if self.is_blind else list(self.runs.values())}
        run = self.runs.get(request.path.rpartition("/")[2])
        if run is None or (self.is_blind and request.method == "GET"):
            return 404, error("run_not_found")
        if request.method == "PUT":
            if run.get("stoppedAt"):
                return 409, error("run_stopped")
            run.update(request.body)
        return 200, run

    def create(self, body: dict[str, Any]) -> Answer:
        """Create a run."""
        id_ = f"server-{len(self.runs)}" if self.gives_ids else body["id"]
        if id_ in self.runs and not self.overwrites:
            return 409, error("create_run_error")
        at = f"2026-01-01T00:00:{len(self.runs):02d}.000Z"
        self.runs[id_] = {"stoppedAt": None, "createdAt": at, **body, "id": id_}
        return 200, self.runs[id_]

    @property
    def live(self) -> list[str]:
        """Return the ids of the runs that are started and not stopped."""
        return [id_ for id_, run in self.runs.items() if run.get("startedAt") and not run["stoppedAt"]]


class Desk:
    """What a claim brought: the claim or an error, what the journal holds, what kind was found."""

    claim: Claim | None = None
    error: ApiError | None = None
    entries: Sequence[str] = ()
    kinds: list[ServerKind]


def claimed(
    answer: Callable[[Request], Answer], kind: ServerKind, while_claiming: Callable[[], None] = lambda: None
) -> tuple[Desk, StubApi]:
    """Claim a task; `while_claiming` is called after ten seconds."""
    stub, desk = StubApi(answer), Desk()
    desk.kinds = []

    async def main() -> None:
        clock = VirtualClock()
        journal = await Journal.open(MemoryIO(), clock)
        runs = RunWire(stub.api, Retrier(Random(1), clock), clock, Random(1), dict)
        identities = Identities("pod/a", clock)
        ids = iter(f"random-{at}" for at in range(9))
        elections = Elections(runs, journal, identities, new_id=lambda: next(ids), settle_s=SETTLE_S)
        claimer = Claimer(
            runs, journal, identities, elections, Deferrals(clock), kind=kind, on_kind=desk.kinds.append
        )
        asyncio.get_running_loop().call_later(10.0, while_claiming)
        try:
            async with asyncio.timeout(3600.0):
                desk.claim = await claimer.claim(task())
        except ApiError as error:
            desk.error = error
        desk.entries = list(journal.entries)

    run_virtual(main())
    return desk, stub


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


@pytest.mark.parametrize("answer", [(429, {}), (401, {}), (403, {}), (404, {}), (422, error("x"))])
def test_a_candidate_whose_answer_got_lost_is_not_left_behind(answer: Answer) -> None:
    """Its run would win every later election of the task, and nobody executes it."""
    shelf = Shelf(gives_ids=True)
    shelf.instead["POST"] = [(True, LOST), (False, answer)]
    shelf.is_blind = True
    desk, _ = claimed(shelf, ServerKind.IGNORES, lambda: setattr(shelf, "is_blind", False))
    assert desk.claim is not None
    assert shelf.live == list(desk.entries) == [desk.claim.run.id]


def test_a_candidate_is_not_posted_again_while_a_list_may_show_it_yet() -> None:
    """A server that replaces runs would make it younger: each of two agents might see the other's first."""
    shelf = Shelf(overwrites=True)
    shelf.instead["POST"] = [(True, LOST)]

    def answer(request: Request) -> Answer:
        shelf.is_blind = asyncio.get_running_loop().time() < SETTLE_S
        return shelf(request)

    desk, stub = claimed(answer, ServerKind.OVERWRITES)
    assert desk.claim is not None
    assert len(stub.asked("POST")) == 1


@pytest.mark.parametrize("status", [401, 403, 422, 429])
def test_a_denied_candidate_is_told_like_any_denied_claim(status: int) -> None:
    """So that the agent waits; left alone, it would try the next task at once."""
    shelf = Shelf(gives_ids=True)
    shelf.instead["POST"] = [(False, (status, error("denied")))]
    desk, _ = claimed(shelf, ServerKind.IGNORES)
    assert desk.error is not None
    assert desk.entries == []


def test_a_task_that_vanishes_during_its_election_leaves_nothing_open() -> None:
    """A person deleted the job: its runs cannot be listed, read or written any more."""
    shelf = Shelf(gives_ids=True)

    def answer(request: Request) -> Answer:
        return shelf(request) if request.method == "POST" else (404, error("task_not_found"))

    desk, _ = claimed(answer, ServerKind.IGNORES)
    assert desk.claim is None
    assert desk.entries == []


def test_a_list_that_is_refused_ends_the_election_and_closes_the_run() -> None:
    """The run that was posted must not stay, live and executed by nobody."""
    shelf = Shelf(gives_ids=True)

    def answer(request: Request) -> Answer:
        return (
            (400, error("bad_query"))
            if request.path.endswith("runs") and request.method == "GET"
            else shelf(request)
        )

    desk, _ = claimed(answer, ServerKind.IGNORES)
    assert desk.error is not None
    assert desk.entries == []
    assert shelf.live == []


@pytest.mark.parametrize("answer", [INGRESS, (409, "<html>"), (502, {})])
def test_a_lost_claim_is_closed_in_spite_of_what_a_proxy_says(answer: Answer) -> None:
    """Left live, it would hold the task for ever."""
    shelf = Shelf(gives_ids=True)
    shelf.create({"id": "x", "taskId": "t", "podId": "pod/b", "startedAt": "2025-12-31T00:00:00.000Z"})
    shelf.instead["PUT"] = [(False, answer)] * 3
    desk, _ = claimed(shelf, ServerKind.IGNORES)
    assert desk.claim is None
    assert shelf.live == ["server-0"]
    assert desk.entries == []


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


def waiting_task(shelf: Shelf, placeholder_id: str) -> None:
    """Leave a task on a shelf that failed, is requeued, and waits for an hour."""
    run_id = "server-0" if shelf.gives_ids else "old-run"
    failed = {"stoppedAt": AT, "resultCode": "failed", "error": "timeout: x"}
    of_task = {"taskId": task().id, "jobId": task().job_id}
    shelf.create({
        **of_task, **failed, "id": run_id, "podId": "pod/z", "startedAt": AT,
        "results": {"retry": {"afterS": 3600.0}},
    })  # fmt: skip
    shelf.create({**of_task, "id": placeholder_id, "startedAt": None})


@pytest.mark.parametrize("gives_ids", [True, False])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_task_that_waits_is_left_also_by_the_claim_that_finds_an_electing_server(
    gives_ids: bool, is_known: bool
) -> None:
    """And nothing is posted: a claim that is given up would be the most recent run of its task."""
    shelf = Shelf(gives_ids=gives_ids, overwrites=not gives_ids)
    waiting_task(shelf, requeue_run_id("old-run"))
    elects = ServerKind.IGNORES if gives_ids else ServerKind.OVERWRITES
    desk, stub = claimed(shelf, elects if is_known else ServerKind.UNKNOWN)
    assert (desk.claim, desk.error) == (None, None)
    assert stub.asked("POST") == []
    assert len(shelf.runs) == 2


def test_a_persons_placeholder_waits_for_nothing_where_a_task_shows_that_ids_are_kept() -> None:
    """Also for an agent that does not know the server yet."""
    shelf = Shelf()
    waiting_task(shelf, "by-a-person")
    shelf.runs[claim_run_id(task().id)] = {**shelf.runs.pop("old-run"), "id": claim_run_id(task().id)}
    desk, _ = claimed(shelf, ServerKind.UNKNOWN)
    assert desk.claim is not None
    assert desk.claim.run.id == claim_run_id(task().id, "by-a-person")


def test_a_server_that_lists_no_runs_is_claimed_from_by_ids() -> None:
    """The look at a wait is no condition of a first claim."""
    shelf = Shelf()
    desk, _ = claimed(
        lambda request: (
            (400, error("bad"))
            if request.path.endswith("/runs") and request.method == "GET"
            else shelf(request)
        ),
        ServerKind.UNKNOWN,
    )
    assert desk.claim is not None
    assert desk.kinds == [ServerKind.KEY]
