"""Several writes in one request, on our server: each stands alone, as if it had been sent by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec import structs

from server.audit import Audit
from server.http.answer import Answer, run_shown
from server.http.operation import Call
from server.routes import batch as batch_routes
from server.routes import runs
from server.routes.batch import KNOWN
from server.store.commands import UpdateRun
from server.store.records import BriefAnswer, RunAnswer
from server.testing import TOKEN, RunningServer, running_server
from server.tokens import ADMIN, WORK
from tests.contract.caller import STARTED, STOPPED, Caller
from tests.contract.conftest import calling
from tests.contract.reference import RUN, assert_error, assert_shape
from tests.unit.server.test_observed import entries
from worker.api.wire import BATCH_MOST
from worker.clock import SystemClock

RUNS = "/api/jobs/runs"
Write = dict[str, Any]


def claim(task_id: str, **fields: object) -> Write:
    """Return the write of a claim."""
    body = {"id": str(uuid4()), "taskId": task_id, "startedAt": STARTED, "podId": "pod/a", **fields}
    return {"method": "POST", "path": RUNS, "body": body}


def end(run_id: str, **fields: object) -> Write:
    """Return the write of an outcome."""
    body = {"startedAt": STARTED, "stoppedAt": STOPPED, "resultCode": "Success", **fields}
    return {"method": "PUT", "path": f"{RUNS}/{run_id}", "body": body}


def batch(caller: Caller, *writes: Write) -> list[Any]:
    """Send writes together; return their answers."""
    headers = {"Millhand-Agent": "pod/a"}
    answers = caller.expect("POST", "/api/batch", json={"writes": writes}, headers=headers)["answers"]
    assert len(answers) == len(writes)
    return list(answers)


def test_an_outcome_and_the_next_claim_go_in_one_request(ours: Caller) -> None:
    """Both are done, and answered as they would have been alone: the run, its lease, its job's state."""
    job = ours.job()["id"]
    first, second = ours.task(job)["id"], ours.task(job)["id"]
    run = ours.claim(first)["id"]
    ended, claimed = batch(ours, end(run, results={"n": 1}), claim(second))
    assert (ended["status"], claimed["status"]) == (200, 200)
    for answer in (ended, claimed):
        assert_shape(answer["body"], RUN)
        assert answer["headers"]["Millhand-Scheduler-State"] == "active"
    assert float(claimed["headers"]["Millhand-Lease"]) > 0
    assert "Millhand-Lease" not in ended["headers"]
    assert ended["body"] == ours.get_run(run)
    assert claimed["body"] == ours.get_run(claimed["body"]["id"])
    assert [ours.get_task(id_)["runStatus"] for id_ in (first, second)] == ["stopped", "running"]


def test_one_that_is_refused_undoes_no_other(ours: Caller) -> None:
    """Each has its own status, and the documented error where it is refused."""
    taken, free = ours.task()["id"], ours.task()["id"]
    ours.claim(taken)
    answers = batch(
        ours,
        claim(taken),
        claim(free),
        end(str(uuid4())),
        claim(free, startedAt="soon"),
        {"method": "PUT", "path": "/api/jobs/nothing", "body": {}},
        {"method": "POST", "path": f"{RUNS}/x", "body": {}},
    )
    assert [answer["status"] for answer in answers] == [409, 200, 404, 422, 404, 404]
    assert answers[0]["body"]["error"]["code"] == "task_not_pending"
    assert answers[2]["body"]["error"]["code"] == "run_not_found"
    assert answers[3]["body"]["error"]["message"].startswith("startedAt")


def test_a_batch_sent_twice_is_done_once(ours: Caller) -> None:
    """As after an answer that got lost: the same runs, the same end."""
    job = ours.job()["id"]
    first, second = ours.task(job)["id"], ours.task(job)["id"]
    writes = end(ours.claim(first)["id"]), claim(second)
    before = batch(ours, *writes)
    assert batch(ours, *writes) == before
    assert len(ours.list("runs", jobId=job)) == 2


def test_of_two_claims_of_a_task_in_one_batch_one_holds(ours: Caller) -> None:
    """What goes together races as what comes together."""
    task = ours.task()["id"]
    answers = batch(ours, claim(task), claim(task))
    assert sorted(answer["status"] for answer in answers) == [200, 409]
    assert len(ours.list("runs", taskId=task)) == 1


def test_whose_report_it_is_counts_for_each(ours: Caller) -> None:
    """The header of the whole is the identity of every write in it."""
    run = ours.claim(ours.task()["id"], podId="pod/b")["id"]
    (answer,) = batch(ours, end(run))
    assert answer["status"] == 409
    assert answer["body"]["error"]["code"] == "not_your_run"


@pytest.mark.parametrize("writes", [[], [1], [{"method": "GET", "path": RUNS, "body": {}}], {}, None])
def test_what_is_no_batch_is_refused_whole(ours: Caller, writes: object) -> None:
    """422 that says what is wanted."""
    answer = ours.call("POST", "/api/batch", json={"writes": writes})
    assert assert_error(answer, 422, "write_batch_error").startswith("writes")


def test_a_batch_has_a_bound(ours: Caller) -> None:
    """As many as each answer says, and none of them is done where there are more."""
    job = ours.job()["id"]
    writes = [claim(ours.task(job)["id"]) for _ in range(BATCH_MOST + 1)]
    assert_error(ours.call("POST", "/api/batch", json={"writes": writes}), 422, "write_batch_error")
    assert ours.list("runs", jobId=job) == []
    answers = batch(ours, *writes[:BATCH_MOST])
    assert {answer["status"] for answer in answers} == {200}


def test_every_answer_says_how_many_go_together(ours: Caller) -> None:
    """An agent sends none to a server that does not say so."""
    for answer in (ours.call("GET", RUNS), ours.call("GET", f"{RUNS}/{uuid4()}")):
        assert answer.headers["Millhand-Batch"] == str(BATCH_MOST)


def counted(server: RunningServer) -> dict[str, int]:
    """Return how many requests the server counted, by operation."""
    found: dict[str, int] = {}
    for (operation, _), durations in server.app.activity.requests.items():
        found[operation] = found.get(operation, 0) + sum(durations.counts)
    return found


def test_each_write_is_counted_and_has_its_line_in_the_audit_log(tmp_path: Path) -> None:
    """Claims won and lost as well; the request that carried them is counted, and is no write itself."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with running_server(audit=audit) as server, httpx.Client(base_url=server.url) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        job = client.post("/api/jobs", json={"type": "x"}).json()[0]["id"]
        task = client.post("/api/jobs/tasks", json={"jobId": job}).json()["id"]
        writes = [claim(task), claim(task), end("nothing")]
        assert client.post("/api/batch", json={"writes": writes}).status_code == 200
        lines = entries(path, 5)[2:]
        assert [line["operation"] for line in lines] == [
            "create_run",
            "create_run",
            "update_run",
        ]
        assert sorted(line["status"] for line in lines) == [200, 404, 409]
        assert [line["method"] for line in lines] == ["POST", "POST", "PUT"]
        assert [line["ids"].get("taskId") for line in lines] == [task, task, None]
        won = next(line for line in lines if line["status"] == 200)
        assert {"taskId": task, "runId": writes[lines.index(won)]["body"]["id"]} == won["ids"]
        assert lines[2]["ids"] == {"runId": "nothing"}
        assert dict(server.app.activity.claims) == {"won": 1, "lost": 1}
        requests = counted(server)
        assert (requests["write_batch"], requests["create_run_in_batch"]) == (1, 2)
        assert "create_run" not in requests
        id_ = lines[0]["requestId"].removesuffix(".1")
        assert [line["requestId"] for line in lines] == [f"{id_}.{at}" for at in (1, 2, 3)]
        assert json.dumps(lines).count(TOKEN) == 0
    audit.close()


def test_each_write_counts_against_the_rate_of_its_token() -> None:
    """Else whoever sends batches had more than others."""
    with running_server(rate_per_s=1.0) as server, httpx.Client(base_url=server.url) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        writes = [end(str(uuid4())) for _ in range(20)]
        answers = client.post("/api/batch", json={"writes": writes}).json()["answers"]
        statuses = [answer["status"] for answer in answers]
        assert (statuses.count(404), statuses.count(429)) == (
            10,
            10,
        )  # what it saved; the first is the request
        limited = next(answer for answer in answers if answer["status"] == 429)
        assert int(limited["headers"]["Retry-After"]) >= 1


def test_a_batch_that_is_refused_whole_has_a_line_of_its_own(tmp_path: Path) -> None:
    """Somebody tried to write."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with running_server(audit=audit) as server, httpx.Client(base_url=server.url) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert client.post("/api/batch", json={"writes": []}).status_code == 422
        assert [(line["operation"], line["status"]) for line in entries(path)] == [("write_batch", 422)]
    audit.close()


def test_all_bodies_together_have_the_bound_of_one() -> None:
    """Nothing of it is done, and no more memory is taken than for any other request."""
    with running_server(max_body_bytes=4096) as server, httpx.Client(base_url=server.url) as client:
        caller = Caller("ours", server.url, TOKEN)
        job = caller.job()["id"]
        writes = [claim(caller.task(job)["id"], machine="x" * 1500) for _ in range(3)]
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        answer = client.post("/api/batch", json={"writes": writes})
        assert_error(answer, 413, "body_too_large")
        assert caller.list("runs", jobId=job) == []
        assert [one["status"] for one in batch(caller, *writes[:2])] == [200, 200]
        assert server.app.load.bodies_bytes == 0
        caller.http.close()


def test_each_write_is_load_by_itself() -> None:
    """What is too much is refused by itself; one at a time gets through, however little the server takes."""
    with running_server(most_requests=1) as server:
        caller = Caller("ours", server.url, TOKEN)
        job = caller.job()["id"]
        answers = batch(caller, *(claim(caller.task(job)["id"]) for _ in range(3)))
        assert sorted(answer["status"] for answer in answers) == [200, 503, 503]
        refused = next(answer for answer in answers if answer["status"] == 503)
        assert refused["body"]["error"]["code"] == "overloaded"
        assert int(refused["headers"]["Retry-After"]) >= 1
        assert len(caller.list("runs", jobId=job)) == 1
        assert server.app.load.requests == 0
        caller.http.close()


def test_a_write_for_another_organisation_is_refused_by_itself(ours: Caller) -> None:
    """403 for it, as alone; the one beside it is done."""
    job = ours.job()["id"]
    first, second = ours.task(job)["id"], ours.task(job)["id"]
    refused, done = batch(ours, claim(first, orgId="another"), claim(second))
    assert (refused["status"], refused["body"]["error"]["code"], done["status"]) == (403, "forbidden", 200)


def test_a_path_is_read_as_that_of_a_request(ours: Caller) -> None:
    """Escapes as there; no query, nothing below a run, no other API."""
    run = ours.claim(ours.task()["id"], id=f"a+b~{uuid4()}")["id"]
    paths = [
        f"{RUNS}/{run.replace('~', '%7E').replace('+', '%2B')}",
        f"{RUNS}/{run}?orgId=x",
        f"{RUNS}/{run}/x",
        f"/other/{RUNS}/{run}",
        f"{RUNS}/{run}%2Fx",
    ]
    answers = batch(ours, *(end(run) | {"path": path} for path in paths))
    assert [answer["status"] for answer in answers] == [200, 404, 404, 404, 404]


def test_one_that_the_server_fails_at_fails_alone(ours: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 and a line in the log for it; the fault is put in, for none is known."""

    def broken(call: Call, run_id: str) -> UpdateRun:
        raise ZeroDivisionError

    task = ours.task()["id"]
    monkeypatch.setattr(runs, "report", broken)
    failed, done = batch(ours, end("r"), claim(task))
    assert (failed["status"], failed["body"]["error"]["code"]) == (500, "internal_error")
    assert done["status"] == 200


def test_one_whose_answer_cannot_be_shown_fails_alone(ours: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done of it is done; the others are answered. The fault is put in."""
    real, shown = run_shown, list[RunAnswer | BriefAnswer]()

    def broken(run: RunAnswer | BriefAnswer, lease_s: float) -> Answer:
        shown.append(run)
        if len(shown) == 1:
            raise ZeroDivisionError
        return real(run, lease_s)

    first, second = (ours.task()["id"] for _ in range(2))
    monkeypatch.setattr(batch_routes, "run_shown", broken)
    failed, done = batch(ours, claim(first), claim(second))
    assert (failed["status"], done["status"]) == (500, 200)


def test_each_write_needs_what_it_needs_alone(
    our_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scope of batches opens no other; put in, for today all of them need the same one."""
    monkeypatch.setitem(KNOWN, "PUT", structs.replace(KNOWN["PUT"], scope=ADMIN))
    token = our_server.new_token("an-organisation", frozenset({WORK}))
    with calling("ours", our_server.url, token) as worker:
        refused, beside = batch(worker, end("run"), claim(str(uuid4())))
    assert (refused["status"], refused["body"]["error"]["code"]) == (403, "forbidden")
    assert beside["status"] != 403
