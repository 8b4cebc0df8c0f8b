"""Signing in, and what holds on every page, as a browser without script sees it."""

from __future__ import annotations

import pytest

from server.http.peers import network
from tests.integration.dashboard import Reader, Site, failed_run, site, state_of

HOSTILE = "</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{ 7*7 }}\x1b[31m\u202e"
LATER = "2026-01-01T00:00:09.000Z"


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
