"""Elections, and claims that find an electing server, where something behaves oddly; in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.agent.claim_case import AT, INGRESS, LOST, SETTLE_S, Shelf, claimed
from tests.unit.agent.stub_api import Answer, Request, error, task
from worker.agent.server_kind import ServerKind
from worker.api.ids import claim_run_id, requeue_run_id


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
