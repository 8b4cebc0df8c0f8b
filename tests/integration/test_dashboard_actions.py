"""What is done from the pages: questions, forms, and who may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.audit import Audit
from server.tokens import ADMIN, READ, SERVER_TOKEN_ID
from tests.integration.dashboard import Reader, Site, announce, failed_run, site, state_of, token_of
from worker.clock import SystemClock

LATER = "2026-01-01T00:00:09.000Z"
SCHEMA = {
    "type": "object",
    "properties": {
        "scene": {"type": "string", "description": "What to render"},
        "size": {"type": "integer", "default": 512},
        "gamma": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "format": {"enum": ["png", "webp"], "default": "webp"},
        "is_fast": {"type": "boolean", "default": True},
        "camera": {"$ref": "#/$defs/Camera"},
    },
    "required": ["scene"],
    "$defs": {"Camera": {"type": "object"}},
}


def test_a_job_is_paused_resumed_and_cancelled_after_a_question(here: Site) -> None:
    """A look alone changes nothing; the answer leads back to the job."""
    job = here.job()
    here.task(job)
    browser = here.browser()
    for verb, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        path = f"/ui/jobs/{job['id']}/{verb}"
        before = state_of(here, job)
        question = browser.look(path)
        assert state_of(here, job) == before
        done = browser.client.post(path, data=question.hidden)
        assert (done.status_code, done.headers["location"]) == (303, f"/ui/jobs/{job['id']}")
        assert state_of(here, job) == state


def test_a_stopped_task_is_run_again_once(here: Site) -> None:
    """Two people who press the button make one run of it."""
    run = failed_run(here, here.job())
    path = f"/ui/tasks/{run['taskId']}/requeue"
    browser = here.browser()
    hidden = browser.look(path).hidden
    assert browser.client.post(path, data=hidden).status_code == 303
    assert browser.client.post(path, data=hidden).status_code in (303, 409)
    runs = here.api.get("/api/jobs/runs", params={"taskId": run["taskId"]}).json()["runs"]
    assert len(runs) == 2
    assert here.api.get(f"/api/jobs/tasks/{run['taskId']}").json()["runStatus"] == "pending"


def test_a_running_task_is_never_run_again_beside_itself(here: Site) -> None:
    """The server refuses, and the page says so."""
    task = here.task(here.job())
    here.run(task)
    browser = here.browser()
    path = f"/ui/tasks/{task['id']}/requeue"
    answer = browser.client.post(path, data=browser.look(path).hidden)
    assert answer.status_code == 409
    assert "not done" in Reader(answer.text).text
    assert len(here.api.get("/api/jobs/runs", params={"taskId": task["id"]}).json()["runs"]) == 1


@pytest.mark.parametrize("how", ["no proof", "another's proof", "another site", "a neighbour"])
def test_a_form_of_another_site_changes_nothing(here: Site, how: str) -> None:
    """The cookie alone is not enough."""
    job = here.job()
    browser = here.browser()
    path = f"/ui/jobs/{job['id']}/cancel"
    proof = browser.look(path).hidden["proof"]
    others = here.browser(token_of(here, "strangers", ADMIN)).look("/ui/").hidden["proof"]
    assert others != proof
    whence = {"another site": "cross-site", "a neighbour": "same-site"}.get(how)
    headers = {"Sec-Fetch-Site": whence} if whence else {}
    sent = {"no proof": "", "another's proof": others}.get(how, proof)
    assert browser.client.post(path, data={"proof": sent}, headers=headers).status_code == 403
    assert state_of(here, job) == "active"


def test_a_token_that_only_reads_sees_no_action_and_can_do_none(here: Site) -> None:
    """Neither the buttons nor the addresses behind them."""
    token = token_of(here, "default", READ)
    job = here.job()
    browser = here.browser(token)
    page = browser.look(f"/ui/jobs/{job['id']}")
    assert not any(link.endswith(("/cancel", "/pause")) for link in page.links)
    path = f"/ui/jobs/{job['id']}/cancel"
    assert browser.client.get(path).status_code == 403
    assert browser.client.post(path, data={"proof": page.hidden["proof"]}).status_code == 403
    assert state_of(here, job) == "active"


def test_nothing_of_another_organisation_is_seen_or_changed(here: Site) -> None:
    """Not even whether it is there."""
    job = here.job(title="Ours alone")
    run = failed_run(here, job)
    other = here.browser(token_of(here, "others", ADMIN))
    paths = [f"jobs/{job['id']}", f"tasks/{run['taskId']}", f"runs/{run['id']}"]
    for path in [*paths, f"jobs/{job['id']}/cancel", f"tasks/{run['taskId']}/requeue"]:
        assert other.client.get(f"/ui/{path}").status_code == 404
    proof = {"proof": other.look("/ui/").hidden["proof"]}
    assert other.client.post(f"/ui/jobs/{job['id']}/cancel", data=proof).status_code == 404
    assert other.client.post(f"/ui/tasks/{run['taskId']}/requeue", data=proof).status_code == 404
    assert "Ours alone" not in other.look("/ui/").text
    assert run["podId"] not in other.look("/ui/machines").text
    assert state_of(here, job) == "active"


def test_a_form_that_is_too_large_is_refused_in_words(here: Site) -> None:
    """Before it is read whole."""
    stranger = here.stranger()
    large = stranger.sign_in("x" * 70_000)
    assert large.status_code == 413
    assert "at most" in Reader(large.text).text
    many = stranger.client.post("/ui/sign-in", data={f"f{number}": "x" for number in range(600)})
    assert many.status_code == 413


def test_a_task_can_be_run_again_after_its_job_was_cancelled_and_resumed(here: Site) -> None:
    """Not while it is cancelled; the server says so, and does not only seem to do it."""
    job = here.job()
    run = failed_run(here, job)
    browser = here.browser()
    path = f"/ui/tasks/{run['taskId']}/requeue"
    hidden = browser.look(path).hidden

    def status() -> str:
        return str(here.api.get(f"/api/jobs/tasks/{run['taskId']}").json()["runStatus"])

    assert browser.client.post(path, data=hidden).status_code == 303
    assert status() == "pending"
    here.make("PUT", f"/api/jobs/{job['id']}", schedulerState="cancelled")
    refused = browser.client.post(path, data=hidden)
    assert refused.status_code == 409
    assert "not active" in Reader(refused.text).text
    here.make("PUT", f"/api/jobs/{job['id']}", schedulerState="active")
    assert status() == "stopped"
    assert browser.client.post(path, data=hidden).status_code == 303
    assert status() == "pending"


def test_a_form_that_is_sent_twice_submits_once(here: Site) -> None:
    """Its ids follow from a number that the form carries."""
    announce(here, "a5", handlers={"paint": {"summary": "Paint", "parameters": SCHEMA}})
    browser = here.browser()
    sent = {**browser.look("/ui/handlers/paint").hidden, "p.scene": "x"}
    first, second = (browser.client.post("/ui/handlers/paint", data=sent) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    job_id = first.headers["location"].rpartition("/")[2]
    assert len(here.api.get("/api/jobs/tasks", params={"jobId": job_id}).json()["tasks"]) == 1
    other = {**browser.look("/ui/handlers/paint").hidden, "p.scene": "x"}
    third = browser.client.post("/ui/handlers/paint", data=other)
    assert third.headers["location"] != first.headers["location"]
    announce(here, "a5", isGone=True)


@pytest.mark.parametrize("chosen", ["", "true", "false"])
def test_a_truth_value_is_sent_as_it_was_chosen(here: Site, chosen: str) -> None:
    """Also none; and a form that comes back shows what was chosen."""
    schema = {"type": "object", "properties": {"fast": {"type": "boolean"}, "size": {"type": "integer"}}}
    announce(here, "a6", handlers={"paint": {"parameters": schema}})
    browser = here.browser()
    form = {**browser.look("/ui/handlers/paint").hidden, "p.fast": chosen}
    back = Reader(browser.client.post("/ui/handlers/paint", data={**form, "p.size": "odd"}).text)
    selected = [tag for tag, attributes in back.elements if tag == "option" and "selected" in attributes]
    assert len(selected) == (chosen != "")
    job_id = browser.client.post("/ui/handlers/paint", data=form).headers["location"].rpartition("/")[2]
    (task,) = here.api.get("/api/jobs/tasks", params={"jobId": job_id}).json()["tasks"]
    assert task["parameters"].get("fast") == {"": None, "true": True, "false": False}[chosen]
    announce(here, "a6", isGone=True)


def test_looking_alone_is_looking_for_head_too(here: Site) -> None:
    """A probe of a page does nothing."""
    job = here.job()
    browser = here.browser()
    for path in ("sign-in", f"jobs/{job['id']}/cancel", ""):
        assert browser.client.head(f"/ui/{path}").status_code == 200
    assert state_of(here, job) == "active"


def test_a_task_is_submitted_by_a_form_made_of_its_handlers_schema(here: Site) -> None:
    """What is left empty is left to the handler; each value has its type."""
    announce(here, "a2", handlers={"paint/odd type": {"summary": "Paint", "parameters": SCHEMA}})
    browser = here.browser()
    (link,) = [link for link in browser.look("/ui/handlers").links if "paint" in link]
    form = browser.look(link)
    assert "What to render" in form.text
    sent = {
        **form.hidden,
        "p.scene": "a <b>",
        "p.size": "64",
        "p.gamma": "",
        "p.format": "png",
        "title": "One",
    }
    answer = browser.client.post(link, data={**sent, "p.camera": '{"fov": 40}', "priority": "3"})
    assert answer.status_code == 303, answer.text
    job_id = answer.headers["location"].rpartition("/")[2]
    (task,) = here.api.get("/api/jobs/tasks", params={"jobId": job_id}).json()["tasks"]
    assert (task["type"], task["title"], task["priority"]) == ("paint/odd type", "One", 3)
    wanted = {"scene": "a <b>", "size": 64, "format": "png", "camera": {"fov": 40}}
    assert task["parameters"] == wanted
    announce(here, "a2", isGone=True)


@pytest.mark.parametrize(
    ("field", "text"),
    [("p.size", "1.5"), ("p.size", "many"), ("p.gamma", "NaN"), ("p.camera", "{"), ("priority", "high")],
)
def test_what_cannot_be_read_is_named_and_nothing_is_submitted(here: Site, field: str, text: str) -> None:
    """The form comes back with what was filled in."""
    announce(here, "a3", handlers={"paint": {"summary": "Paint", "parameters": SCHEMA}})
    browser = here.browser()
    form = browser.look("/ui/handlers/paint")
    before = len(here.api.get("/api/jobs", params={"perPage": 100}).json()["jobs"])
    answer = browser.client.post("/ui/handlers/paint", data={**form.hidden, "p.scene": "mine", field: text})
    assert answer.status_code == 422
    back = Reader(answer.text)
    assert f"{field.removeprefix('p.')}: '{text}' is no" in back.text
    assert any(attributes.get("value") == "mine" for _, attributes in back.elements)
    assert len(here.api.get("/api/jobs", params={"perPage": 100}).json()["jobs"]) == before
    announce(here, "a3", isGone=True)


def test_submitting_needs_our_form_and_a_token_that_may(here: Site) -> None:
    """As every other change."""
    announce(here, "a4", handlers={"paint": {"parameters": {}}})
    reader = here.browser(token_of(here, "default", READ))
    hidden = reader.look("/ui/handlers/paint").hidden
    assert reader.client.post("/ui/handlers/paint", data=hidden).status_code == 403
    assert here.browser().client.post("/ui/handlers/paint", data={}).status_code == 403
    announce(here, "a4", isGone=True)


def test_what_is_done_from_a_page_stands_in_the_audit_log(tmp_path: Path) -> None:
    """Who, what and the answer, as for the API; looking does not."""
    path = tmp_path / "audit.log"
    audit = Audit(str(path), SystemClock())
    with site(audit=audit) as made:
        job = made.job()
        browser = made.browser()
        question = browser.look(f"/ui/jobs/{job['id']}/pause")
        browser.client.post(f"/ui/jobs/{job['id']}/pause", data=question.hidden)
        browser.client.post(f"/ui/jobs/{job['id']}/cancel", data={})
    audit.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(line["operation"], line["status"], line["ids"]) for line in lines if "page" in line["operation"]]
    about = {"id": job["id"]}
    assert told == [("page_pause", 303, about), ("page_cancel", 403, about)]
    assert {line["tokenId"] for line in lines} == {SERVER_TOKEN_ID}
    assert question.hidden["proof"] not in path.read_text()
