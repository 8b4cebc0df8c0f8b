"""Our server's word on offers: one task for one offer, claimed as any agent would claim it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.audit import Audit
from server.http.failure import not_authenticated
from server.store.records import Principal
from server.testing import running_server
from tests.contract.caller import STARTED, Caller
from tests.contract.conftest import calling
from tests.contract.reference import RUN, TASK, assert_error, assert_shape
from worker.api.ids import claim_run_id
from worker.api.wire import parse_instant
from worker.clock import SystemClock

LATER = "2026-01-02T03:04:06.000Z"
LIMIT_S = 20.0
WAIT = {"Prefer": "wait=10"}


def body(id_: str, pod_id: str, **fields: object) -> dict[str, object]:
    """Return the body of an offer."""
    return {"id": id_, "podId": pod_id, "startedAt": STARTED, "nodeCPUs": 2, **fields}


class Held:
    """An offer that is held, in a thread of its own."""

    def __init__(self, api: Caller, offer: dict[str, object], type_: str) -> None:
        """Send it, and return once it waits."""
        self.answer: httpx.Response | None = None
        self._api, self._offer, self._type = api, offer, type_
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with calling("ours", self._api.url, None) as caller:
            self.answer = caller.call(
                "POST",
                "/api/offers",
                params={"type": self._type},
                json=self._offer,
                headers={**WAIT, "Authorization": self._api.http.headers["Authorization"]},
            )

    def end(self) -> httpx.Response:
        """Return the answer."""
        self._thread.join(LIMIT_S)
        assert self.answer is not None
        return self.answer


def until_waiting(server: Any, type_: str) -> None:
    """Return once somebody stands in line, and its first look is over."""
    end = time.monotonic() + LIMIT_S
    while server.app.desk._line.first(server.org_id, type_) is None:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def held(ours: Caller, our_server: Any) -> Callable[..., Held]:
    """Return what makes an offer and waits until it stands in line."""

    def offer(one: dict[str, object], type_: str) -> Held:
        made = Held(ours, one, type_)
        until_waiting(our_server, type_)
        return made

    return offer


def test_a_task_that_is_made_while_an_offer_waits_comes_claimed(
    ours: Caller, held: Callable[..., Held]
) -> None:
    """By the run that every agent would claim it by, under the agent's identity, with a lease."""
    job = ours.job(type="comes")
    waiting = held(body("o-1", "pod/comes"), "comes")
    time.sleep(0.05)
    task = ours.task(job["id"], type="comes")
    answer = waiting.end()
    told = answer.json()
    run = told["run"]
    assert_shape(run, RUN)
    assert_shape(told["tasks"][0], TASK)
    assert [one["id"] for one in told["tasks"]] == [task["id"]]
    assert (run["id"], run["taskId"], run["podId"]) == (claim_run_id(task["id"]), task["id"], "pod/comes")
    assert run["nodeCPUs"] == 2
    assert answer.headers["millhand-lease"] == "90"
    assert answer.headers["millhand-scheduler-state"] == "active"
    began, sent = parse_instant(run["startedAt"]), parse_instant(STARTED)
    assert began is not None
    assert sent is not None
    assert 0.05 <= (began - sent).total_seconds() < LIMIT_S  # it begins with the task, not with the wait
    assert ours.get_task(task["id"])["runStatus"] == "running"
    assert ours.get_job(job["id"])["taskStatusRunning"] == 1
    assert_error(
        ours.call("POST", "/api/jobs/runs", json=body(run["id"], "pod/b", taskId=task["id"])),
        409,
        "run_conflict",
    )


def test_one_offer_after_another_on_a_connection_gets_a_task_each(ours: Caller, our_server: Any) -> None:
    """However the server reads a head that it has read before."""
    told: list[Any] = []

    def ask() -> None:
        with calling("ours", our_server.url, our_server.token) as caller:
            for at in range(4):
                offer = body(f"k-{at}", "pod/kept", startedAt=f"2026-01-02T03:04:0{at}.000Z")
                told.append(
                    caller.expect("POST", "/api/offers", params={"type": "kept"}, json=offer, headers=WAIT)
                )

    asking = threading.Thread(target=ask)
    asking.start()
    made, job = [], ours.job(type="kept")["id"]
    for _ in range(4):
        until_waiting(our_server, "kept")
        made.append(ours.task(job, type="kept")["id"])
    asking.join(LIMIT_S)
    assert [one["run"]["taskId"] for one in told] == made


def test_a_token_that_was_revoked_while_its_offer_waited_claims_nothing(
    ours: Caller, held: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again when the task is there."""
    job = ours.job(type="revoked")
    waiting = held(body("r-1", "pod/revoked"), "revoked")

    async def refuse(*_: object) -> Principal:
        raise not_authenticated()

    monkeypatch.setattr("server.routes.offers.authenticate", refuse)
    task = ours.task(job["id"], type="revoked")
    assert waiting.end().json()["tasks"] == []
    assert ours.get_task(task["id"])["runStatus"] == "pending"


def test_what_waits_already_is_listed_and_left_to_its_claim(ours: Caller) -> None:
    """As a list does it: the agent chooses from several, and claims them together."""
    task = ours.task(type="waits")
    told = ours.expect(
        "POST", "/api/offers", params={"type": "waits"}, json=body("o-2", "pod/waits"), headers=WAIT
    )
    assert [one["id"] for one in told["tasks"]] == [task["id"]]
    assert "run" not in told
    assert ours.get_task(task["id"])["runStatus"] == "pending"


def test_an_offer_that_comes_again_gets_the_run_that_it_has(ours: Caller, held: Callable[..., Held]) -> None:
    """However often, as long as the run goes on; no second task is claimed for it."""
    offer = body("o-3", "pod/again")
    waiting = held(offer, "again")
    job = ours.job(type="again")["id"]
    first = ours.task(job, type="again")
    run = waiting.end().json()["run"]
    second = ours.task(job, type="again")
    for started_at in (STARTED, LATER, LATER):
        told = ours.expect("POST", "/api/offers", json={**offer, "startedAt": started_at}, headers=WAIT)
        assert told["run"] == run
        assert [one["id"] for one in told["tasks"]] == [first["id"]]
    assert ours.get_task(second["id"])["runStatus"] == "pending"
    ours.stop(run["id"], startedAt=run["startedAt"])
    assert ours.expect("POST", "/api/offers", json={**offer, "startedAt": LATER}) == {"tasks": []}


def test_an_offer_that_comes_late_is_refused(ours: Caller, held: Callable[..., Held]) -> None:
    """Its agent has made a younger one since, and would not know of the run."""
    ours.expect("POST", "/api/offers", json=body("o-5", "pod/late", startedAt=LATER))
    for late in (body("o-4", "pod/late"), body("o-5", "pod/late"), body("o-6", "pod/late", startedAt=LATER)):
        assert_error(ours.call("POST", "/api/offers", json=late, headers=WAIT), 409, "offer_outdated")
    younger = body("o-7", "pod/late", startedAt="2026-01-02T03:04:07.000Z")
    waiting = held(younger, "late")
    assert_error(ours.call("POST", "/api/offers", json=body("o-5", "pod/late", startedAt=LATER)), 409)
    task = ours.task(type="late")
    assert waiting.end().json()["run"]["taskId"] == task["id"]


def test_an_offer_that_is_withdrawn_gets_nothing(ours: Caller, held: Callable[..., Held]) -> None:
    """Its request is answered with nothing, and so is the task that comes then: others have it."""
    waiting = held(body("o-8", "pod/drains"), "drains")
    assert ours.expect("POST", "/api/offers", json=body("o-8", "pod/drains", startedAt=LATER)) == {
        "tasks": []
    }
    task = ours.task(type="drains")
    assert waiting.end().json() == {"tasks": []}
    assert ours.get_task(task["id"])["runStatus"] == "pending"


@pytest.mark.parametrize(
    ("job", "task"),
    [
        ({}, {"parameters": {"requires": {"gpus": 1}}}),
        ({}, {"requires": {"cpus": 2}}),
        ({}, {"type": None}),
        ({"schedulerState": "paused"}, {}),
    ],
    ids=["requires", "requires, beside", "type of the job", "paused"],
)
def test_a_task_that_not_every_agent_may_begin_is_left_to_a_claim(
    ours: Caller, held: Callable[..., Held], job: dict[str, object], task: dict[str, object]
) -> None:
    """The agent looks at it first; where its job is paused, nobody may."""
    name = f"left-{job}-{task}"
    made_in = ours.job(type=name, **job)
    waiting = held(body(name[:60].replace(" ", ""), name), name)
    made = ours.expect(
        "POST", "/api/jobs/tasks", json={"title": "t", "type": name, "jobId": made_in["id"], **task}
    )
    assert ours.list("runs", taskId=made["id"]) == []
    if job:
        ours.expect("PUT", f"/api/jobs/{made_in['id']}", json={"schedulerState": "active"})
    told = waiting.end().json()
    assert [one["id"] for one in told["tasks"]] == [made["id"]]
    assert "run" not in told


def test_an_agent_that_has_gone_is_given_nothing(ours: Caller, our_server: Any) -> None:
    """Its connection is closed: the task stays pending, for whoever is there."""
    with pytest.raises(httpx.ReadTimeout):
        ours.call(
            "POST",
            "/api/offers",
            params={"type": "gone"},
            json=body("o-9", "pod/gone"),
            headers=WAIT,
            timeout=0.3,
        )
    task = ours.task(type="gone")
    assert ours.get_task(task["id"])["runStatus"] == "pending"


def test_an_offer_is_small(ours: Caller) -> None:
    """It is held: with large ones a single token would take what all bodies have together."""
    assert ours.call("POST", "/api/offers", json=body("o-11", "pod/small", machine="x" * 10_000)).is_success
    answer = ours.call("POST", "/api/offers", json=body("o-12", "pod/large", machine="x" * 17_000))
    assert_error(answer, 413, "body_too_large")


def test_an_offer_of_the_end_of_time_is_refused(ours: Caller) -> None:
    """What it waits comes on top, and would end the making of a task for others."""
    late = body("o-13", "pod/end", startedAt="9999-12-31T23:59:59.900Z")
    assert_error(ours.call("POST", "/api/offers", json=late, headers=WAIT), 422, "offer_run_error")


def test_a_claim_is_noted_and_counted_once_however_often_its_offer_is_sent(tmp_path: Path) -> None:
    """To be told of a run again writes nothing."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with running_server(audit=audit) as server, calling("ours", server.url, server.token) as api:
        job, offer = api.job(type="noted")["id"], body("o-14", "pod/noted")
        waiting = Held(api, offer, "noted")
        until_waiting(server, "noted")
        task = api.task(job, type="noted")
        run = waiting.end().json()["run"]
        told = api.expect("POST", "/api/offers", json={**offer, "startedAt": LATER}, headers=WAIT)
        assert told["run"]["id"] == run["id"]
    audit.close()
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    claims = [one["ids"] for one in noted if one["operation"] == "offer_run"]
    assert claims == [{"taskId": task["id"], "runId": run["id"]}]
    assert server.app.activity.claims["won"] == 1


def test_who_offers_must_be_who_it_says(ours: Caller) -> None:
    """The run would be another agent's else."""
    answer = ours.call("POST", "/api/offers", json=body("o-10", "pod/a"), headers={"Millhand-Agent": "pod/b"})
    assert_error(answer, 422, "offer_run_error")


@pytest.mark.parametrize(("lease_s", "is_told"), [(90.0, True), (0.0, False)])
def test_offers_are_taken_where_leases_are_granted(lease_s: float, is_told: bool) -> None:
    """A run that its agent never hears of ends with its lease alone; lists that were held say it."""
    with running_server(lease_s=lease_s) as server, calling("ours", server.url, server.token) as api:
        listed = api.call(
            "GET", "/api/jobs/tasks", params={"runStatus": "pending"}, headers={"Prefer": "wait=1"}
        )
        assert ("millhand-offers" in listed.headers) is is_told
        answer = api.call("POST", "/api/offers", json=body("o", "pod/a"))
        assert answer.status_code == (200 if is_told else 409)
