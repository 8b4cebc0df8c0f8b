"""Writes of runs that ask for little (`Prefer: return=minimal`), on our server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from server.testing import RunningServer
from tests.contract.caller import STARTED, STOPPED, Caller
from tests.contract.openapi_shapes import misfit, schema_of
from tests.contract.reference import RUN, assert_error, assert_shape
from worker.agent.clients import open_clients
from worker.api.models import Run
from worker.config import AgentConfig, ApiConfig

LIMIT_S = 20.0
RUNS = "/api/jobs/runs"
BRIEFLY = {"Prefer": "return=minimal", "Millhand-Agent": "pod/a"}
FACTS = {"nodeCPUs": 2, "zone": "here", "machine": {"source": "told"}}


def claim_of(task_id: str) -> dict[str, Any]:
    """Return the body of a claim."""
    return {"id": str(uuid4()), "taskId": task_id, "startedAt": STARTED, "podId": "pod/a", **FACTS}


def test_a_claim_and_its_end_are_answered_with_whose_it_is_and_how_it_stands(ours: Caller) -> None:
    """The four fields, the lease, the job's state; what was written is whole, and reads are never brief."""
    claim = claim_of(ours.task()["id"])
    claimed = ours.call("POST", RUNS, json=claim, headers=BRIEFLY)
    id_ = claim["id"]
    assert claimed.json() == {"id": id_, "podId": "pod/a", "startedAt": STARTED, "stoppedAt": None}
    assert claimed.headers["Preference-Applied"] == "return=minimal"
    assert float(claimed.headers["Millhand-Lease"]) > 0
    assert claimed.headers["Millhand-Scheduler-State"] == "active"
    assert ours.call("POST", RUNS, json=claim, headers=BRIEFLY).json() == claimed.json()
    end = {"startedAt": STARTED, "stoppedAt": STOPPED, "resultCode": "Success", "results": {"n": 1}}
    ended = ours.call("PUT", f"{RUNS}/{id_}", json=end, headers=BRIEFLY)
    assert ended.json() == claimed.json() | {"stoppedAt": STOPPED}
    assert "Millhand-Lease" not in ended.headers
    read = ours.call("GET", f"{RUNS}/{id_}", headers=BRIEFLY)
    assert "Preference-Applied" not in read.headers
    assert_shape(read.json(), RUN)
    assert {name: read.json()[name] for name in (*FACTS, "results")} == FACTS | {"results": {"n": 1}}


def test_every_write_of_a_batch_is_answered_so(ours: Caller) -> None:
    """The header of the whole counts for each; one that is refused has its whole error."""
    task = ours.task()["id"]
    writes = [{"method": "POST", "path": RUNS, "body": claim_of(id_)} for id_ in (task, str(uuid4()))]
    answer = ours.call("POST", "/api/batch", json={"writes": writes}, headers=BRIEFLY)
    done, refused = answer.json()["answers"]
    assert sorted(done["body"]) == ["id", "podId", "startedAt", "stoppedAt"]
    assert done["headers"]["Preference-Applied"] == "return=minimal"
    assert refused["status"] == 422
    assert refused["body"]["error"]["code"] == "create_run_error"
    assert "Preference-Applied" not in refused["headers"]


def test_a_refusal_says_all_that_it_says(ours: Caller) -> None:
    """The wish is about success."""
    task = ours.task()["id"]
    ours.claim(task)
    assert_error(ours.call("POST", RUNS, json=claim_of(task), headers=BRIEFLY), 409, "task_not_pending")


@pytest.mark.parametrize(
    ("prefer", "is_brief"),
    [
        ("return=minimal", True),
        ("respond-async, Return = Minimal; x=1", True),
        ('wait=5, return="minimal"', True),
        ("return=minimal, return=representation", True),
        ("return=representation, return=minimal", False),
        ("return=minimalist", False),
        ("no-return=minimal", False),
        ("minimal", False),
        ("", False),
    ],
)
def test_the_wish_is_read_as_its_rfc_says(ours: Caller, prefer: str, is_brief: bool) -> None:
    """In any case, quoted, among others; of two that contradict each other the first; else the whole."""
    run = ours.claim(ours.task()["id"])["id"]
    answer = ours.call("PUT", f"{RUNS}/{run}", json={"progress": 0.5}, headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert ("Preference-Applied" in answer.headers) is is_brief
    assert len(answer.json()) == (4 if is_brief else len(ours.get_run(run)))


def test_the_document_knows_both_answers(ours: Caller) -> None:
    """Whole and brief fit it, and less than that does not."""
    document = ours.expect("GET", "/openapi.json")
    brief = {"id": "r", "podId": None, "startedAt": None, "stoppedAt": None}
    for method, path in (("POST", RUNS), ("PUT", f"{RUNS}/{{runId}}")):
        schema = schema_of(document, path, method, 200)
        assert schema is not None
        assert misfit(brief, schema, document) is None
        assert misfit(ours.claim(ours.task()["id"]), schema, document) is None
        assert misfit({"id": "r", "stoppedAt": None}, schema, document) is not None


def test_an_agent_asks_for_it(our_server: RunningServer, ours: Caller) -> None:
    """Its clients do, once an answer has said whose server it is; what they claim with counts as told."""
    task = ours.task()["id"]
    config = AgentConfig(
        state_dir=Path("/nowhere"), api=ApiConfig(url=our_server.url, token=our_server.token)
    )

    async def reported() -> tuple[Run, Run]:
        async with AsyncExitStack() as stack, asyncio.timeout(LIMIT_S):
            clients = await open_clients(stack, config, "pod/a")
            await clients.poll.poll(page=1, per_page=1)
            run = await clients.claim.create_run(claim_of(task))
            return run, await clients.report.update_run(run.id, {"startedAt": STARTED, "progress": 0.5})

    claimed, told = asyncio.run(reported())
    assert {name: claimed.raw[name] for name in FACTS} == FACTS
    assert (told.pod_id, told.is_live, told.progress) == ("pod/a", True, None)
    assert ours.get_run(claimed.id)["progress"] == 0.5
