"""Brief answers: asked of a server of ours alone, and as good as whole ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.agent.stub_api import Request, StubApi
from tests.unit.api.batching import CLAIM, END_A, Server, gathered, virtually
from worker.api.client import JobsApi
from worker.api.models import Run

OURS = {"Millhand-Batch": "32"}
APPLIED = {"Preference-Applied": "return=minimal"}
STARTED = "2026-01-01T00:00:00.000Z"
BRIEF = {"id": "r", "podId": "pod/a", "startedAt": STARTED, "stoppedAt": None}
CLAIMED = {"id": "r", "taskId": "t", "podId": "pod/a", "startedAt": STARTED, "nodeCPUs": 2}


def asked(answers: list[Any], call: Callable[[JobsApi], Awaitable[Any]], *, is_brief: bool = True) -> StubApi:
    """Make calls of a client that is content with brief answers; return what was asked for."""
    left = list(answers)

    async def main() -> StubApi:
        stub = StubApi(lambda _: left.pop(0))
        stub.api = JobsApi(stub.api._connection, is_brief=is_brief)
        await call(stub.api)
        return stub

    return asyncio.run(main())


async def claimed(api: JobsApi) -> Run:
    """Look at the pending tasks, and claim one."""
    await api.poll(page=1, per_page=1)
    return await api.create_run(CLAIMED)


def wishes(requests: list[Request]) -> list[str | None]:
    """Return what each request would like."""
    return [one.headers.get("prefer") for one in requests]


def test_only_a_server_of_ours_is_asked_for_little() -> None:
    """Others that know of `return=minimal` may answer 204, which says nothing of a claim."""
    theirs, ours = [(200, {}), (200, CLAIMED)], [(200, {}, OURS), (200, BRIEF)]
    assert wishes(asked(theirs, claimed).requests) == [None, None]
    assert wishes(asked(ours, claimed).requests) == [None, "return=minimal"]
    assert wishes(asked(ours, claimed, is_brief=False).requests) == [None, None]


def test_who_is_not_ours_any_more_is_not_asked() -> None:
    """After a rollback, or where another one answers at the URL now; reads are never brief."""

    async def call(api: JobsApi) -> None:
        await api.get_run("r")
        await api.update_run("r", {"progress": 0.1})
        await api.update_run("r", {"progress": 0.2})

    answers = [(200, CLAIMED, OURS), (200, CLAIMED), (200, CLAIMED)]
    assert wishes(asked(answers, call).requests) == [None, "return=minimal", None]


@pytest.mark.parametrize(
    "answer",
    [(200, BRIEF, OURS | APPLIED), (200, BRIEF | CLAIMED, OURS), (200, [BRIEF | CLAIMED], OURS)],
    ids=["brief", "whole", "whole, in a list"],
)
def test_a_claim_is_read_the_same_from_both(answer: Any) -> None:
    """What the machine is was taken with the claim, whether the answer repeats it or not."""
    found: list[Run] = []

    async def call(api: JobsApi) -> None:
        found.append(await claimed(api))

    asked([(200, {"tasks": []}, OURS), answer], call)
    (run,) = found
    assert (run.id, run.pod_id, run.stopped_at, run.is_live) == ("r", "pod/a", None, True)
    assert (run.raw["nodeCPUs"], run.task_id) == (2, "t")


def test_what_stands_in_a_brief_answer_counts_before_what_was_sent() -> None:
    """It tells whose the run is, and whether it is over."""
    found: list[Run] = []

    async def call(api: JobsApi) -> None:
        found.append(await claimed(api))

    theirs = BRIEF | {"podId": "pod/b", "stoppedAt": STARTED}
    asked([(200, {"tasks": []}, OURS), (200, theirs, OURS | APPLIED)], call)
    assert found[0].pod_id == "pod/b"
    assert not found[0].is_live


def test_where_a_proxy_takes_the_word_away_the_machine_is_told_again() -> None:
    """Without `Preference-Applied` nothing is believed that the answer does not show."""
    found: list[Run] = []

    async def call(api: JobsApi) -> None:
        found.append(await claimed(api))

    asked([(200, {"tasks": []}, OURS), (200, BRIEF, OURS)], call)
    assert "nodeCPUs" not in found[0].raw
    assert found[0].is_live


@pytest.mark.parametrize("is_brief", [True, False])
def test_writes_that_go_together_ask_as_each_would(is_brief: bool) -> None:
    """All of them, or none where one of them wants the whole."""
    server = Server()
    server.traits._learn_batches("32")
    server.claims._is_brief, server.reports._is_brief = True, is_brief
    virtually(lambda: gathered(server.claim("new"), server.end("a")))
    assert server.requests == [[CLAIM, END_A]]
    assert server.preferred == ["return=minimal" if is_brief else None]


def test_a_write_of_a_batch_that_is_answered_by_nothing_ends_the_wish_too() -> None:
    """Whoever takes the body away may be behind the one that takes batches."""
    server = Server()
    server.traits._learn_batches("32")
    server.claims._is_brief = server.reports._is_brief = True
    server.of_paths["/api/jobs/runs/a"] = (204, None)
    virtually(lambda: gathered(server.claim("new"), server.end("a")))
    assert (server.claims._is_brief, server.reports._is_brief) == (True, False)
