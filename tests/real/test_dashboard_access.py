"""The pages for everybody: axe-core finds nothing wrong, and all can be reached and seen by keyboard."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.integration.dashboard import Site
from tests.real.engine import HERE, LIMIT_S, missing
from tests.real.pages import Window

LATER = "2026-01-01T00:00:09.000Z"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TRACEBACK = (
    "Traceback (most recent call last):\n"
    + '  File "render.py", line 7, in a_function\n' * 60
    + "KeyError: 4"
)
SCHEMA = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "The model."},
        "size": {"type": "integer", "default": 5},
        "mode": {"enum": ["plain", "bold"]},
        "is_fast": {"type": "boolean"},
        "more": {"type": "object"},
        "password": {"type": "string", "writeOnly": True},
    },
    "required": ["input"],
}
STOPS = "a[href], button, input:not([type=hidden]), select, textarea, summary, pre"
FOCUSABLE = (  # without drawings, of which the same stands as text beside
    f"[...document.querySelectorAll('{STOPS}')]"
    ".filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.closest('[aria-hidden=true]'))"
)
# Where Tab has led: which of those, whether it is to be seen there, and with what.
FOCUS = f"""(() => {{
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  return {{
    at: {FOCUSABLE}.indexOf(one),
    tag: one.tagName,
    scrolls: one.scrollHeight > one.clientHeight || one.scrollWidth > one.clientWidth,
    outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    seen: box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && box.width > 0,
  }};
}})()"""


@pytest.fixture(scope="module")
def axe() -> Iterator[str]:
    """Get axe-core, as the text of a script."""
    with TemporaryDirectory(prefix="millhand-axe-") as folder:
        done = subprocess.run(
            [HERE / "axe.sh", folder], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        if done.returncode != 0:
            missing(f"no axe-core: {done.stderr[-1000:]}")
        yield (Path(folder) / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def paths(here: Site) -> dict[str, str]:
    """Make something of everything, and return where it is seen."""
    job = here.job(title="Sunflowers, 4K", type="render")
    task = here.task(job, title="frame 1", type="render", parameters={"input": "a.glb"})
    first = here.run(task, podId="gpu-0/a", gpuType="NVIDIA L4", zone="europe-west4-a", preemptible=True)
    for step in range(1, 4):
        here.report(first, progress=step / 4, CPUTime=step * 2.5, RAMUsage=step * 2**20, GPUTime=step)
    files = [
        {
            "name": "a.png",
            "url": f"{here.server.url}/ui/static/icon.svg",
            "size": 5,
            "contentType": "image/png",
        },
        {"name": "part.stl", "url": "s3://bucket/part.stl", "size": 2048},
    ]
    told = {"error": {"traceback": TRACEBACK}, "files": files, "answer": 42, "logTail": "line\n" * 80}
    failed = {"stoppedAt": LATER, "resultCode": "Failed", "error": "handler_error: KeyError: 4"}
    here.report(first, **failed, results={**told, "checkpoint": {"frame": 3}})
    here.make("POST", "/api/jobs/runs", taskId=task["id"])
    running = here.run(task, podId="gpu-1/b")
    here.report(running, progress=0.4, results={"logTail": "line\n" * 80, "message": "drawing"})
    stopped = here.task(job, title="frame 2", type="render")
    here.report(here.run(stopped, podId="gpu-2/c"), **failed, results=told)
    done = here.task(job, title="frame 3", type="render")
    here.report(
        here.run(done), stoppedAt=LATER, resultCode="Success", progress=1, results={"n": list(range(500))}
    )
    here.task(job, title="frame 4", type="render")
    gpus = [{"name": "NVIDIA L4", "condition": "sick", "reason": "ECC errors"}]
    status = {"podId": "gpu-9/idle", "slots": {"total": 2}, "version": "0.1.0", "gpus": gpus,
              "holds": [{"by": "disk", "reason": "too little is free"}]}  # fmt: skip
    handlers = {"render": {"summary": "Draw a model", "parameters": SCHEMA}}
    here.api.put("/api/agents/idle", json={"handlers": handlers, "status": status})
    return {
        "jobs": "",
        "job": f"jobs/{job['id']}",
        "failed tasks": f"jobs/{job['id']}?show=failed",
        "task": f"tasks/{task['id']}",
        "stopped task": f"tasks/{stopped['id']}",
        "failed run": f"runs/{first['id']}",
        "running run": f"runs/{running['id']}",
        "machines": "machines",
        "timeline": "timeline",
        "reports": "reports",
        "handlers": "handlers",
        "submit": "handlers/render",
        "question": f"jobs/{job['id']}/cancel",
        "nothing": "jobs/none",
    }


def violations(page: Window, axe: str) -> list[str]:
    """Return what axe-core finds wrong on the page, and where."""
    page.run(axe)
    options = json.dumps({"runOnly": RULES, "resultTypes": ["violations"]})
    found: list[dict[str, Any]] = page.answer(f"axe.run(document, {options}).then((told) => told.violations)")
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


def test_axe_finds_nothing_wrong_on_any_page(
    here: Site, page: Window, paths: dict[str, str], axe: str
) -> None:
    """In light and dark, on a telephone, a laptop and a large screen; it finds what is put there."""
    wrong = []
    for width in (390, 1280, 2560):
        for dark in (False, True):
            page.look(width, dark=dark)
            for name, path in paths.items():
                page.go(f"{here.server.url}/ui/{path}")
                how = f"{name}, {width} px, {'dark' if dark else 'light'}"
                wrong += [f"{how}: {said}" for said in violations(page, axe)]
    page.complaints = [one for one in page.complaints if "404" not in one]  # the page of nothing
    assert wrong == []
    page.run("document.querySelector('main').innerHTML = '<img src=\"/ui/static/icon.svg\">'")
    assert any(said.startswith("image-alt") for said in violations(page, axe))


def test_axe_finds_nothing_wrong_where_somebody_signs_in(here: Site, page: Window, axe: str) -> None:
    """Also when the token was wrong, and when what was filled in cannot be read."""
    here.api.put("/api/agents/idle", json={"handlers": {"render": {"parameters": SCHEMA}}})
    page.go(f"{here.server.url}/ui/handlers/render")
    page.type("[name='p.input']", "a.glb")
    page.type("[name='p.more']", "{")
    page.click("main form button")
    assert violations(page, axe) == []
    page.click("header form button")
    for dark in (False, True):
        page.look(390, dark=dark)
        assert violations(page, axe) == []
        page.type("#token", "wrong")
        page.click("form button")
        assert "not valid" in page.text
        assert violations(page, axe) == []
    page.complaints = [one for one in page.complaints if "403" not in one and "422" not in one]


@pytest.mark.parametrize("width", [390, 1280])
def test_tab_leads_to_everything_in_its_order_and_is_seen(
    here: Site, page: Window, paths: dict[str, str], width: int
) -> None:
    """From the link that skips the head to the last one; what scrolls is reached on the way, too."""
    page.look(width)
    for name, path in paths.items():
        page.go(f"{here.server.url}/ui/{path}")
        count = page.run(f"{FOCUSABLE}.length")
        assert page.run(f"{FOCUSABLE}[0].className") == "skip"
        reached: list[int] = []
        while len(reached) < count:
            page.tab()
            focus = page.run(FOCUS)
            assert focus["tag"] != "BODY", (name, reached, "the page is over")
            assert focus["seen"], (name, focus)
            assert focus["outline"] >= 1, (name, focus)
            if focus["at"] >= 0:
                reached.append(focus["at"])
            else:
                assert focus["scrolls"], (name, focus)
        assert reached == list(range(count)), name
    page.complaints = [one for one in page.complaints if "404" not in one]


def test_whoever_reads_a_log_by_keyboard_stays_in_it(here: Site, page: Window) -> None:
    """While lines are added to it: the page is shown anew, and the keys go on scrolling the same text."""
    run = here.run(here.task(here.job()))
    here.report(run, progress=0.1, results={"logTail": "early\n" * 100})
    page.go(f"{here.server.url}/ui/runs/{run['id']}")
    page.until("document.getElementById('live').innerText == 'live'")
    while page.run("document.activeElement.className") != "log":
        page.tab()
    here.report(run, progress=0.2, results={"logTail": "early\n" * 100 + "late"})
    page.until("document.querySelector('.log').innerText.includes('late')")
    assert page.run("document.activeElement.className") == "log"
