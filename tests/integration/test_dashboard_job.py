"""The page of a job, as a browser without script sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.dashboard import Site, site
from tests.postgres.databases import database

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


def failed_run(here: Site, task: dict[str, Any], error: str) -> dict[str, Any]:
    """Let a run of a task fail."""
    return here.report(here.run(task), stoppedAt=LATER, resultCode="Failed", error=error)


def test_all_that_failed_is_shown_by_kind_and_by_what_it_says(here: Site) -> None:
    """Also what failed before the newest hundreds of runs; a number more or less makes no other line."""
    job = here.job()
    first = failed_run(here, here.task(job), "crashed: signal SEGV\nand more")
    *_, newest = [failed_run(here, here.task(job), f"handler_error: frame {n} is missing") for n in range(3)]
    again = here.task(job)
    for _ in range(2):
        failed_run(here, again, "timeout: took too long")
        here.make("POST", "/api/jobs/runs", taskId=again["id"])
    page = here.browser().look(f"/ui/jobs/{job['id']}")
    assert "All 6 failed runs" in page.text
    assert (
        "handler_error the handler raised, 3 runs 3 3 frame … is missing newest: handler_error" in page.text
    )
    assert "timeout it took longer than it may, 2 runs 2 1 took too long" in page.text
    assert "crashed the process ended without a word, 1 run 1 1 signal SEGV" in page.text
    assert page.text.index("handler_error") < page.text.index("timeout") < page.text.index("crashed")
    assert {f"/ui/runs/{one['id']}" for one in (first, newest)} <= set(page.links)
    assert "and more" not in page.text


def test_a_job_without_failures_says_nothing_of_them(here: Site) -> None:
    """No empty table."""
    job = here.job()
    here.report(here.run(here.task(job)), stoppedAt=LATER, resultCode="Success")
    assert "What failed" not in here.browser().look(f"/ui/jobs/{job['id']}").text


def test_a_job_says_how_long_it_takes_yet_or_why_nobody_knows(here: Site) -> None:
    """By the runs that succeeded; a paused one does not say."""
    job = here.job()
    browser = here.browser()

    def said() -> str:
        return browser.look(f"/ui/jobs/{job['id']}").text

    tasks = [here.task(job) for _ in range(4)]
    assert "Time left unknown: nothing has finished yet." in said()
    here.report(here.run(tasks[0]), stoppedAt=LATER, resultCode="Success")  # it took eight seconds
    assert "Time left unknown: nothing runs." in said()
    here.run(tasks[1])
    assert "about 25 s left by the newest success, with 1 at work" in said()
    here.make("PUT", f"/api/jobs/{job['id']}", schedulerState="paused")
    assert "Time left unknown: paused." in said()
    here.make("PUT", f"/api/jobs/{job['id']}", schedulerState="cancelled")
    assert " left " not in said()
