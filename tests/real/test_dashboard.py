"""The dashboard in a real Chromium: signed in, looked at, kept up to date, clicked; nothing complains."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.integration.dashboard import Site
from tests.real.fleet import a_fleet
from tests.real.pages import Window
from worker.api.wire import format_instant

HOSTILE = "</title><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
ERROR = "handler_error: KeyError: 4"
TRACEBACK = {
    "error": {"traceback": 'Traceback (most recent call last):\n  File "render.py", line 7\nKeyError: 4'}
}
TOOK_S = 12.5  # what a run tells of its time
LATER = "2026-01-01T00:00:09.000Z"
PICTURES = os.environ.get("MILLHAND_PICTURES")  # a folder; without one they are looked at by nobody


def a_job(here: Site) -> dict[str, Any]:
    """Make a job with a task in each state."""
    job = here.job(title="Sunflowers, 4K", type="render-webgl")
    for number in range(40):
        task = here.task(job, title=f"frame {number:03}", type="render-webgl")
        if number >= 30:
            continue
        now = format_instant(datetime.now(UTC) - timedelta(seconds=TOOK_S))
        machine = {"podId": f"gpu-{number % 3}/a", "gpuType": "NVIDIA L4", "zone": "europe-west4-a"}
        run = here.run(task, startedAt=now, **machine)
        for step in range(1, 6):
            used = {"CPUTime": step * step * 0.7, "RAMUsage": step * 40_000_000, "GPUTime": step * TOOK_S / 5}
            gpu = {"gpuBusySeconds": step * step * 0.25, "gpuPeakBytes": 2**30 + step * 10**8}
            told = {"progress": step / 6, "wallClockTime": step * TOOK_S / 5, "results": {"usage": gpu}}
            here.report(run, startedAt=now, **told, **used)
        end = {"startedAt": now, "stoppedAt": format_instant(datetime.now(UTC))}
        if number < 24:
            here.report(run, **end, progress=1, resultCode="Success", results={"triangles": 1152})
        elif number < 27:
            here.report(run, **end, resultCode="Failed", error=ERROR, results=TRACEBACK)
    return job


def test_every_page_is_seen_in_light_and_dark_wide_and_narrow(here: Site, page: Window) -> None:
    """Without an error in the console, and without a line that is wider than the window."""
    a_fleet(here)
    job = a_job(here)
    tasks = here.api.get("/api/jobs/tasks", params={"jobId": job["id"], "perPage": 100}).json()["tasks"]
    failed = next(task for task in tasks if task["runResult"] == "Failed")
    (run,) = here.api.get("/api/jobs/runs", params={"taskId": failed["id"]}).json()["runs"]
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    handlers = {"render-webgl": {"summary": "Draw a model", "parameters": schema}}
    status = {"podId": "gpu-9/idle", "slots": {"total": 2}, "version": "0.1.0"}
    here.api.put("/api/agents/idle", json={"handlers": handlers, "status": status})
    paths = {
        "jobs": "", "job": f"jobs/{job['id']}", "task": f"tasks/{failed['id']}", "run": f"runs/{run['id']}",
        "machines": "machines", "timeline": "timeline", "reports": "reports?by=machine",
        "handlers": "handlers", "submit": "handlers/render-webgl",
        "question": f"jobs/{job['id']}/cancel",
    }  # fmt: skip
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True), (2560, False), (2560, True)):
        page.look(width, dark=dark)
        for name, path in paths.items():
            page.go(f"{here.server.url}/ui/{path}")
            overflow = page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, (name, width)
            ground = page.run("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") is not dark
            if PICTURES:
                page.picture(Path(PICTURES) / f"{name}-{'dark' if dark else 'light'}-{width}.png")


def test_every_control_has_a_name_and_every_page_its_headings(here: Site, page: Window) -> None:
    """For those who hear pages: labels of fields, texts of links, one title, no level left out."""
    job = a_job(here)
    for path in ("", f"jobs/{job['id']}", "machines", "timeline", "reports", "handlers"):
        page.go(f"{here.server.url}/ui/{path}")
        nameless = page.run(
            "[...document.querySelectorAll("
            "'a, button, input:not([type=hidden]), select, textarea, progress, img')]"
            ".filter((one) => !one.closest('[aria-hidden=true]'))"
            ".filter((one) => !(one.textContent.trim() || one.alt || one.ariaLabel || one.labels?.length"
            " || one.querySelector('img')?.alt)).map((one) => one.outerHTML)"
        )
        assert nameless == []
        levels = page.run("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.run("document.documentElement.lang") == "en"


def test_an_open_page_shows_what_happens(here: Site, page: Window) -> None:
    """Without being loaded again; what was opened stays open."""
    run = here.run(here.task(here.job()))
    page.go(f"{here.server.url}/ui/runs/{run['id']}")
    page.until("document.getElementById('live').innerText == 'live'")
    page.run("window.same = true")
    here.report(run, progress=0.42, results={"logTail": HOSTILE})
    page.until("document.body.innerText.includes('42 %')")
    assert HOSTILE in page.text
    here.report(run, stoppedAt=LATER, resultCode="Failed", error="crashed: gone")
    page.until("document.body.innerText.includes('crashed')")
    assert page.run("window.same") is True
    assert page.run("document.title") != "taken"


def test_a_job_is_paused_resumed_and_cancelled_by_clicking(here: Site, page: Window) -> None:
    """What a browser sends for a form is taken, whatever it says of where that came from."""
    job = a_job(here)
    page.go(f"{here.server.url}/ui/jobs/{job['id']}")
    for verb, state in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        page.click(f"a[href$='/{verb}']")
        page.click("main form button")
        assert page.path == f"/ui/jobs/{job['id']}"
        assert here.api.get(f"/api/jobs/{job['id']}").json()[0]["schedulerState"] == state


def test_a_task_is_run_again_and_another_submitted_by_clicking(here: Site, page: Window) -> None:
    """From the page of the task, and by the form of its type."""
    run = here.run(here.task(here.job()))
    here.report(run, stoppedAt=LATER, resultCode="Failed", error="handler_error: no")
    page.go(f"{here.server.url}/ui/tasks/{run['taskId']}")
    page.click("a[href$='/requeue']")
    page.click("main form button")
    assert here.api.get(f"/api/jobs/tasks/{run['taskId']}").json()["runStatus"] == "pending"
    schema = {"type": "object", "properties": {"size": {"type": "integer", "default": 5}}}
    here.api.put("/api/agents/a1", json={"handlers": {"paint": {"parameters": schema}}})
    page.go(f"{here.server.url}/ui/handlers")
    page.click("a[href$='/handlers/paint']")
    page.click("main form button")
    assert page.path.startswith("/ui/jobs/")
    job_id = page.path.rpartition("/")[2]
    (task,) = here.api.get("/api/jobs/tasks", params={"jobId": job_id}).json()["tasks"]
    assert task["parameters"] == {"size": 5}


def test_signing_out_is_a_click(here: Site, page: Window) -> None:
    """And the way back leads to the form."""
    page.click("header form button")
    assert page.path == "/ui/sign-in"
    page.go(f"{here.server.url}/ui/machines")
    assert page.path == "/ui/sign-in"


def test_a_picture_stays_until_the_next_one_is_there(here: Site, page: Window) -> None:
    """A change of its job does not let it vanish; each leads to what it shows, and a click to the task."""
    job = here.job()
    tasks = [here.task(job) for _ in range(30)]
    page.go(f"{here.server.url}/ui/jobs/{job['id']}?order=failed")
    page.until("document.getElementById('live').innerText == 'live'")
    page.until("document.querySelector('a.w1200 img').naturalWidth == 1200")
    page.run(
        "window.gaps = 0; new MutationObserver(() => {"
        " const one = document.querySelector('a.w1200 img'), its = one.parentElement.href + '.png';"
        " if (!one.complete || !one.naturalWidth || one.src != its) window.gaps++;"
        "}).observe(document.getElementById('main'), {childList: true, subtree: true})"
    )
    first = page.run("document.querySelector('a.w1200').href")
    here.report(here.run(tasks[7]), stoppedAt=LATER, resultCode="Failed", error="crashed: gone")
    page.until(f"document.querySelector('a.w1200').href != {json.dumps(first)}")
    page.until("document.body.innerText.includes('1 failed')")
    assert page.run("window.gaps") == 0
    assert page.run("document.querySelectorAll('a.matrix').length") == 2
    page.click_at("a.w1200 img", 3, 3)
    assert page.path == f"/ui/tasks/{tasks[7]['id']}"
