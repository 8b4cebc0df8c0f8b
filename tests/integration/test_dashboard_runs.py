"""The page of a run, as a browser without script sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.dashboard import Site, failed_run

LATER = "2026-01-01T00:00:09.000Z"


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


def test_large_results_are_shown_in_part(here: Site) -> None:
    """Neither their size nor their depth costs a page more than it shows."""
    run = here.run(here.task(here.job()))
    nested = json.loads("[" * 150 + ",".join("0" * 20_000) + "]" * 150)
    here.report(run, stoppedAt=LATER, resultCode="Success", results={"nested": nested, "flat": "x" * 10**6})
    answer = here.browser().client.get(f"/ui/runs/{run['id']}")
    assert "there is more" in answer.text
    assert len(answer.content) < 200_000
