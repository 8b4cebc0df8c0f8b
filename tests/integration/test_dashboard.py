"""The pages of the server, as a browser without script sees them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.audit import Audit
from server.http.peers import network
from server.store.commands import DeleteToken
from server.tokens import ADMIN, READ, SERVER_TOKEN_ID
from tests.integration.dashboard import Reader, Site, site, token_of
from tests.postgres.databases import database
from worker.clock import SystemClock

HOSTILE = "</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{ 7*7 }}\x1b[31m\u202e"
LATER = "2026-01-01T00:00:09.000Z"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give one site on each store to all tests; each looks at what it made."""
    if request.param == "sqlite":
        with site() as made:
            yield made
        return
    with database() as url, site(db=url) as made:
        yield made


def failed_run(here: Site, job: dict[str, Any]) -> dict[str, Any]:
    """Make a task with a run that failed."""
    run = here.run(here.task(job))
    return here.report(run, stoppedAt=LATER, resultCode="Failed", error="handler_error: ValueError: no")


def test_whoever_is_not_signed_in_is_asked_for_a_token_and_led_back(here: Site) -> None:
    """Each page leads to the form, and the form to the page."""
    browser = here.stranger()
    job = here.job()
    wanted = f"/ui/jobs/{job['id']}?show=failed"
    answer = browser.client.get(wanted)
    assert answer.status_code == 303
    form = browser.look(answer.headers["location"])
    assert form.hidden["to"] == wanted
    wrong = browser.sign_in("wrong", wanted)
    assert wrong.status_code == 403
    assert "not valid" in Reader(wrong.text).text
    right = browser.sign_in(here.server.token, wanted)
    assert (right.status_code, right.headers["location"]) == (303, wanted)
    cookie = right.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/ui"))
    browser.look(wanted)


@pytest.mark.parametrize(
    "to", ["https://evil.test/", "//evil.test/", "/ui//../..//evil.test\\", "/elsewhere", "\\\\evil.test", ""]
)
def test_signing_in_leads_to_no_other_site(here: Site, to: str) -> None:
    """The address comes from a link that anybody can make."""
    browser = here.stranger()
    assert browser.sign_in(here.server.token, to).headers["location"] == "/ui/"


def test_the_front_page_of_the_server_leads_to_the_jobs(here: Site) -> None:
    """Whoever types the address in sees what goes on."""
    job = here.job(title="Sunflowers")
    here.task(job)
    page = here.browser()
    front = page.client.get("/", follow_redirects=True)
    assert "Sunflowers" in Reader(front.text).text
    assert "1 pending" in Reader(front.text).text


def test_from_a_job_one_walks_to_its_tasks_and_runs(here: Site) -> None:
    """What failed is grouped by what it says, and leads to the newest run."""
    job = here.job(title="Films")
    runs = [failed_run(here, job) for _ in range(3)]
    here.task(job, title="waits")
    browser = here.browser()
    page = browser.look(f"/ui/jobs/{job['id']}")
    assert "3 3 ValueError: no" in page.text
    assert "3 failed, 1 pending" in page.text
    assert f"/ui/runs/{runs[-1]['id']}" in page.links
    only = browser.look(f"/ui/jobs/{job['id']}?show=pending")
    assert "waits" in only.text
    assert f"/ui/tasks/{runs[0]['taskId']}" not in only.links
    assert f"/ui/tasks/{runs[0]['taskId']}" in browser.look(f"/ui/jobs/{job['id']}?show=failed").links
    task = browser.look(f"/ui/tasks/{runs[0]['taskId']}")
    assert f"/ui/runs/{runs[0]['id']}" in task.links


def test_a_run_shows_facts_with_their_sources_bill_files_and_plots(here: Site) -> None:
    """Each figure beside how it was measured; what a browser cannot fetch is no link."""
    machine = {"nodeCPUs": {"state": "measured", "value": 64, "source": "sched_getaffinity"}}
    run = here.run(here.task(here.job()), nodeCPUs=64, gpuType="NVIDIA H200", machine=machine)
    for step in range(1, 4):
        here.report(run, progress=step / 4, CPUTime=step * 2.5, RAMUsage=step * 1048576)
    usage = {
        "diskReadBytes": 4096,
        "methods": {"cpu_user_s": "cgroup", "disk_read_bytes": "io"},
        "reasons": {},
    }
    files = [
        {"name": "a.png", "url": "https://store.test/a.png", "size": 2048, "contentType": "image/png"},
        {"name": "b.exe", "url": "file:///data/b.exe", "size": 1},
        {"name": "c", "url": "javascript:alert(1)", "size": 1, "contentType": "image/png"},
        "nonsense",
    ]
    results = {"usage": usage, "files": files, "answer": 42, "logTail": "first\nlast"}
    here.report(run, stoppedAt=LATER, resultCode="Success", results=results)
    page = here.browser().look(f"/ui/runs/{run['id']}")
    for shown in (
        "sched_getaffinity",
        "NVIDIA H200",
        "7.50 s cgroup",
        "4.0 KiB io",
        '"answer": 42',
        "first last",
    ):
        assert shown in page.text, shown
    pictures = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert pictures == ["https://store.test/a.png"]
    assert not any(link.startswith(("file:", "javascript:")) for link in page.links)
    (cpu, memory, progress) = [
        attributes["aria-label"] or "" for tag, attributes in page.elements if tag == "svg"
    ]
    assert "CPU, cores in use over the first" in cpu
    assert "on average" in cpu
    assert memory.endswith("latest 3.0 MiB, from 1.0 MiB to 3.0 MiB")
    assert progress.endswith("latest 75 %, from 0 % to 75 %")
    assert "100 % 50 % 0 %" in page.text
    assert "4 MiB 2 MiB 0 B" in page.text


def test_plots_go_by_the_time_in_which_was_measured(here: Site) -> None:
    """Reports that come late, and at once, say when they were made: two cores for ten seconds, then one."""
    run = here.run(here.task(here.job()))
    for wall_s, cpu_s in ((10, 20), (20, 30)):
        here.report(run, wallClockTime=wall_s, CPUTime=cpu_s)
    (cpu,) = [
        attributes["aria-label"] or ""
        for tag, attributes in here.browser().look(f"/ui/runs/{run['id']}").elements
        if tag == "svg"
    ]
    assert cpu == "CPU, cores in use over the first 20 s: latest 1, from 1 to 2, 1.5 on average"


def test_a_run_that_left_its_gpu_idle_shows_that(here: Site) -> None:
    """Had, busy and how full, beside each other: a line at 0 is the news."""
    run = here.run(here.task(here.job()), gpuType="NVIDIA L4")
    for step in range(1, 4):
        usage = {"gpuBusySeconds": 0.0, "gpuPeakBytes": 3 * 2**30}
        here.report(run, GPUTime=step, results={"usage": usage})
    page = here.browser().look(f"/ui/runs/{run['id']}")
    plots = [attributes["aria-label"] or "" for tag, attributes in page.elements if tag == "svg"]
    assert [plot.partition(" over ")[0] for plot in plots] == [
        "GPUs allocated",
        "GPUs busy",
        "GPU memory, peak so far",
    ]
    assert plots[1].endswith("latest 0, from 0 to 0, 0 on average")
    assert plots[2].endswith("latest 3.0 GiB, from 3.0 GiB to 3.0 GiB")


def test_a_run_is_shown_among_the_other_attempts_at_its_task(here: Site) -> None:
    """Which it is, how the others ended, and links to them; what waits to be taken is no attempt yet."""
    task = here.task(here.job())
    runs = []
    for number in range(3):
        runs.append(here.run(task, podId=f"node-{number}/agent"))
        lost = f"worker_lost: attempt {number + 1} fell silent"
        here.report(runs[-1], stoppedAt=LATER, resultCode="Failed", error=lost)
        here.make("POST", "/api/jobs/runs", taskId=task["id"])
    page = here.browser().look(f"/ui/runs/{runs[1]['id']}")
    assert "attempt 2 of 3" in page.text
    links = [link for link in page.links if "/ui/runs/" in link]
    assert [link for link in links if any(run["id"] in link for run in runs)] == [
        f"/ui/runs/{run['id']}" for run in reversed(runs)
    ]
    assert page.text.count("(this one)") == 1
    assert [one["href"] for _, one in page.elements if one.get("aria-current") == "true"] == [
        f"/ui/runs/{runs[1]['id']}"
    ]
    for shown in (
        "node-0/agent",
        "node-2/agent",
        "attempt 1 fell silent",
        "attempt 3 fell silent",
        "pending",
    ):
        assert shown in page.text, shown
    assert len(links) == len(runs) + 1  # the places that were kept for attempts 2 and 3 are not shown
    placeholder = next(link for link in links if not any(run["id"] in link for run in runs))
    assert "attempt" not in here.browser().look(placeholder).text.partition("Runs of its task")[0]
    first = here.browser().look(f"/ui/runs/{failed_run(here, here.job())['id']}")
    assert "attempt" not in first.text
    assert "Runs of its task" not in first.text


def test_of_more_runs_than_are_shown_none_is_numbered(here: Site) -> None:
    """A number that is not known is not told."""
    task = here.task(here.job())
    run = here.run(task)
    for _ in range(50):
        here.report(run, stoppedAt=LATER, resultCode="Failed", error="worker_lost: gone")
        here.make("POST", "/api/jobs/runs", taskId=task["id"])
        run = here.run(task)
    page = here.browser().look(f"/ui/runs/{run['id']}")
    assert "Runs of its task, the newest" in page.text
    assert "attempt" not in page.text


def test_hostile_content_is_text_on_every_page(here: Site) -> None:
    """Titles, types, parameters, facts, logs, errors, tracebacks, results, file names."""
    job = here.job(title=HOSTILE, type="x", parameters={HOSTILE: HOSTILE})
    task = here.task(job, title=HOSTILE, type="y", parameters={"a": [HOSTILE]})
    machine = {"zone": {"source": HOSTILE}}
    run = here.run(task, podId=HOSTILE, zone=HOSTILE, machineType=HOSTILE, machine=machine)
    results = {
        "error": {"traceback": HOSTILE}, "logTail": HOSTILE, "message": HOSTILE, HOSTILE: HOSTILE,
        "files": [{"name": HOSTILE, "url": f"https://x/{HOSTILE}", "contentType": "image/png"}],
        "checkpoint": HOSTILE, "usage": {"methods": {"wall_s": HOSTILE}},
    }  # fmt: skip
    here.report(run, stoppedAt=LATER, resultCode="Failed", error=f"{HOSTILE}: {HOSTILE}", results=results)
    browser = here.browser()
    paths = ["", f"jobs/{job['id']}", f"tasks/{task['id']}", f"runs/{run['id']}", "machines"]
    for path in [*paths, f"jobs/{job['id']}/cancel", f"tasks/{task['id']}/requeue"]:
        page = browser.look(f"/ui/{path}")
        scripts = [attributes for tag, attributes in page.elements if tag == "script"]
        assert scripts == [{"src": "/ui/static/live.js", "defer": None}], path
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
        assert "alert(1)" in page.text or path == "machines", path


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"usage": 7, "files": {"a": 1}, "error": "odd", "logTail": 5},
        {"usage": {"methods": []}},
        {"usage": {"gpuEnergyJoules": 10**30, "ramAverageBytes": -1e300}},
        {"files": [{"name": "a", "url": "http://[::1"}, {"name": "b", "url": 7, "size": 10**30}]},
        {"files": [{"name": "a", "url": "http://x/a", "contentType": []}, {"name": 5}]},
        {"deep": json.loads("[" * 400 + "]" * 400)},
    ],
)
def test_results_of_any_shape_are_shown(here: Site, results: dict[str, Any]) -> None:
    """Other workers than ours may write them."""
    run = here.run(here.task(here.job()))
    here.report(run, stoppedAt=LATER, resultCode="Failed", error="no colon here", results=results)
    here.browser().look(f"/ui/runs/{run['id']}")


def test_machines_are_shown_with_what_runs_there(here: Site) -> None:
    """By the agents that told who they are."""
    run = here.run(
        here.task(here.job()), podId="gpu-7/abc", gpuType="NVIDIA L4", zone="z-1", preemptible=True
    )
    page = here.browser().look("/ui/machines")
    assert "gpu-7/abc spot" in page.text
    assert f"/ui/runs/{run['id']}" in page.links
    here.report(run, stoppedAt=LATER, resultCode="Success")
    page = here.browser().look("/ui/machines")
    assert f"/ui/runs/{run['id']}" not in page.links
    assert "nothing runs" in page.text.partition("gpu-7/abc")[2]


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


def test_signing_out_takes_our_form_and_forgets_the_token(here: Site) -> None:
    """Another site cannot sign anybody out."""
    browser = here.browser()
    proof = browser.look("/ui/").hidden
    browser.client.post("/ui/sign-out", data={"proof": "made up"})
    browser.look("/ui/")
    browser.client.post("/ui/sign-out", data=proof)
    assert browser.client.get("/ui/").status_code == 303


def test_long_lists_are_parted_into_pages(here: Site) -> None:
    """A hundred each."""
    job = here.job()
    for number in range(101):
        here.task(job, title=f"no. {number:03}")
    browser = here.browser()
    first, second = (browser.look(f"/ui/jobs/{job['id']}?page={number}").text for number in (1, 2))
    assert "no. 000" in first
    assert "no. 099" in first
    assert "no. 100" not in first
    assert "no. 100" in second
    for odd in ("0", "-1", "x", "9" * 30, "²"):
        browser.look(f"/ui/jobs/{job['id']}?page={odd}")


def test_every_page_forbids_what_it_does_not_need(here: Site) -> None:
    """Scripts and styles of others, being framed, being kept."""
    for path in ("/ui/", "/ui/machines", "/ui/sign-in", "/ui/jobs/none"):
        headers = here.browser().client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"


def test_an_open_page_is_told_each_change(here: Site) -> None:
    """The part that changes, escaped as on the page, and nothing while nothing does."""
    run = here.run(here.task(here.job()))
    browser = here.browser()
    with browser.client.stream(
        "GET", f"/ui/runs/{run['id']}", headers={"Accept": "text/event-stream"}, timeout=30.0
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = read_events(answer)
        assert "25 %" not in next(events)
        threading.Timer(0.2, lambda: here.report(run, progress=0.25, results={"logTail": HOSTILE})).start()
        changed = next(event for event in events if "25 %" in event)
        assert "<script>" not in changed
        assert "alert(1)" in changed


def test_an_open_page_ends_when_its_token_is_taken_away(here: Site) -> None:
    """What was begun with it does not go on; without a token there is nothing to begin."""
    token = token_of(here, "default", READ, id_="to-be-revoked")
    browser = here.browser(token)
    events = {"Accept": "text/event-stream"}
    with browser.client.stream("GET", "/ui/", headers=events, timeout=30.0) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: main"
        here.server.apply(DeleteToken(id="to-be-revoked"))
        assert "event: gone" in lines
    assert browser.client.get("/ui/", headers=events).status_code == 401


def test_a_page_that_shows_nothing_any_more_has_no_events(here: Site) -> None:
    """It is 404, as the page itself."""
    answer = here.browser().client.get("/ui/jobs/none", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 404


def test_open_pages_do_not_hold_up_the_end_of_the_server() -> None:
    """Their browsers come again; what was being sent is not cut off."""
    with site() as made:
        browser = made.browser()
        events = {"Accept": "text/event-stream"}
        with browser.client.stream("GET", "/ui/", headers=events, timeout=30.0) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: main"
            made.server.stop()
            assert [line for line in lines if line.startswith("event:")] == []


def test_forms_work_from_strict_pages_and_behind_proxies(here: Site) -> None:
    """A browser may say `null` for where a form comes from, a proxy may have changed the host."""
    for origin in ("null", "https://public.test", "http://["):
        job = here.job()
        browser = here.browser()
        path = f"/ui/jobs/{job['id']}/pause"
        done = browser.client.post(path, data=browser.look(path).hidden, headers={"Origin": origin})
        assert done.status_code == 303
        assert state_of(here, job) == "paused"


def test_the_cookie_is_secure_where_the_browser_came_by_https() -> None:
    """As a trusted proxy says; nobody else is believed."""
    for trusted, is_secure in (([network("127.0.0.1")], True), ([], False)):
        with site(trusted_proxies=trusted) as made:
            stranger = made.stranger()
            stranger.client.headers["X-Forwarded-Proto"] = "https"
            cookie = stranger.sign_in(made.server.token).headers["set-cookie"]
            assert ("Secure" in cookie) is is_secure


def test_the_front_page_is_found_without_its_slash(here: Site) -> None:
    """By the scheme and host that the browser has: a proxy may have others."""
    assert here.stranger().client.get("/ui").headers["location"] == "ui/"


def test_a_form_that_is_too_large_is_refused_in_words(here: Site) -> None:
    """Before it is read whole."""
    stranger = here.stranger()
    large = stranger.sign_in("x" * 70_000)
    assert large.status_code == 413
    assert "at most" in Reader(large.text).text
    many = stranger.client.post("/ui/sign-in", data={f"f{number}": "x" for number in range(600)})
    assert many.status_code == 413


def test_large_results_are_shown_in_part(here: Site) -> None:
    """Neither their size nor their depth costs a page more than it shows."""
    run = here.run(here.task(here.job()))
    nested = json.loads("[" * 150 + ",".join("0" * 20_000) + "]" * 150)
    here.report(run, stoppedAt=LATER, resultCode="Success", results={"nested": nested, "flat": "x" * 10**6})
    answer = here.browser().client.get(f"/ui/runs/{run['id']}")
    assert "there is more" in answer.text
    assert len(answer.content) < 200_000


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


def read_events(answer: httpx.Response) -> Iterator[str]:
    """Give what each event carries."""
    lines: list[str] = []
    for line in answer.iter_lines():
        if line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


def state_of(here: Site, job: dict[str, Any]) -> str:
    """Return what is wanted of a job."""
    answer = here.api.get(f"/api/jobs/{job['id']}")
    return str(json.loads(answer.text)[0]["schedulerState"])


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


def announce(here: Site, agent: str, **said: Any) -> None:
    """Say something of an agent."""
    answer = here.api.put(f"/api/agents/{agent}", json=said)
    assert answer.status_code == 200, answer.text


def test_idle_machines_are_seen_too_with_why_they_take_nothing(here: Site) -> None:
    """By what their agents say; those that go are forgotten."""
    gpus = [{"name": "NVIDIA H200", "condition": "quarantined", "reason": "three tasks failed on it"}]
    holds = [{"by": "disk", "reason": "1 GB is free"}, {"by": "slots", "reason": "all are busy"}]
    status = {"podId": "idle-1/a1", "slots": {"total": 4}, "gpus": gpus, "holds": holds, "version": "9.9"}
    announce(here, "a1", status=status, machine={"zone": "z-9"}, handlers={"render": {}})
    text = here.browser().look("/ui/machines").text
    for shown in (
        "idle-1/a1",
        "millhand 9.9",
        "free free free free",
        "Takes nothing: 1 GB is free",
        "z-9",
        "three tasks failed",
    ):
        assert shown in text, shown
    assert "all are busy" not in text
    announce(here, "a1", isGone=True)
    assert "idle-1/a1" not in here.browser().look("/ui/machines").text


@pytest.mark.parametrize(
    "said", [{}, {"status": {"slots": 3, "gpus": {}, "holds": [1]}, "handlers": {"x": 4}}]
)
def test_agents_may_say_anything(here: Site, said: dict[str, Any]) -> None:
    """Other versions have other words."""
    announce(here, "odd", **said)
    for path in ("machines", "handlers"):
        here.browser().look(f"/ui/{path}")
    announce(here, "odd", isGone=True)


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
