"""The page of a job, as a browser without script sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.dashboard import Reader, Site

LATER = "2026-01-01T00:00:09.000Z"


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


def pictures(page: Reader) -> dict[str, str]:
    """Return where the pictures of a job's tasks lead to -> where they are."""
    (wide, narrow) = [str(one["src"]) for tag, one in page.elements if "ismap" in one]
    links = [link for link in page.links if f"{link}.png" in (wide, narrow)]
    return dict(zip(links, (wide, narrow), strict=True))


def test_all_tasks_of_a_job_are_one_picture_that_leads_to_each(here: Site) -> None:
    """A browser says where it was clicked; what lies beside is no task. There is one for phones, too."""
    job = here.job()
    tasks = [here.task(job) for _ in range(30)]
    browser = here.browser()
    shown = pictures(browser.look(f"/ui/jobs/{job['id']}"))
    for source in shown.values():
        picture = browser.client.get(source)
        assert picture.headers["content-type"] == "image/png"
        assert picture.content.startswith(b"\x89PNG")
    wide, narrow = shown
    here.run(tasks[0])
    assert not shown.keys() & pictures(browser.look(f"/ui/jobs/{job['id']}")).keys()
    assert browser.client.get(f"{wide}?13,5").headers["location"] == f"/ui/tasks/{tasks[1]['id']}"
    assert browser.client.get(f"{narrow}?1,13").headers["location"] == f"/ui/tasks/{tasks[29]['id']}"
    for place in ("500,5", "1,500", "x,y", "", "99999999999,1"):
        assert browser.client.get(f"{wide}?{place}").status_code == 404
    begin = f"/ui/jobs/{job['id']}/tasks"
    for path in (
        "odd/1200/3/t",
        "made/7/3/t",
        "made/1200/-3/t",
        "made/1200/99999999/t",
        f"made/1200/3/{'t' * 99}",
    ):
        assert browser.client.get(f"{begin}/{path}.png").status_code == 404
        assert browser.client.get(f"{begin}/{path}?1,1").status_code == 404
    assert browser.client.get("/ui/jobs/none/tasks/made/1200/3/t.png").status_code == 404
    stranger = here.stranger().client.get(f"{wide}.png")
    assert (stranger.status_code, stranger.headers["location"][:12]) == (303, "/ui/sign-in?")


def test_what_failed_comes_first_where_that_is_asked_for(here: Site) -> None:
    """And a click leads to the task that was seen, also when another has failed since."""
    job = here.job()
    tasks = [here.task(job) for _ in range(4)]
    failed_run(here, tasks[2], "crashed: no")
    browser = here.browser()
    page = browser.look(f"/ui/jobs/{job['id']}?order=failed&show=pending")
    assert f"/ui/jobs/{job['id']}?order=slowest&show=pending" in page.links
    assert f"/ui/jobs/{job['id']}?order=failed&show=failed" in page.links
    wide, _ = pictures(page)
    browser.client.get(f"{wide}.png")
    failed_run(here, tasks[0], "crashed: no")
    for cell, task in enumerate((tasks[2], tasks[0], tasks[1], tasks[3])):
        assert (
            browser.client.get(f"{wide}?{12 * cell + 3},3").headers["location"] == f"/ui/tasks/{task['id']}"
        )
    then, _ = pictures(browser.look(f"/ui/jobs/{job['id']}?order=failed"))
    for cell, task in enumerate((tasks[0], tasks[2], tasks[1], tasks[3])):
        assert (
            browser.client.get(f"{then}?{12 * cell + 3},3").headers["location"] == f"/ui/tasks/{task['id']}"
        )


def test_the_slowest_tasks_come_first_with_their_times(here: Site) -> None:
    """Those that run count until now; those that have not started have no time."""
    job = here.job()
    tasks = [here.task(job, title=title) for title in ("waits", "quick", "slow", "runs")]
    for task, at in ((tasks[1], "02"), (tasks[2], "31")):
        here.report(here.run(task), stoppedAt=f"2026-01-01T00:00:{at}.000Z", resultCode="Success")
    here.run(tasks[3])  # since the first of January
    page = here.browser().look(f"/ui/jobs/{job['id']}?order=slowest")
    shown = page.text.partition("The slowest")[2].partition("Tasks all")[0]
    assert "until now runs running 30.00 s slow succeeded 1.00 s quick succeeded" in shown
    assert "waits" not in shown
    wide, _ = pictures(page)
    browser = here.browser()
    for cell, task in enumerate((tasks[3], tasks[2], tasks[1], tasks[0])):
        assert (
            browser.client.get(f"{wide}?{12 * cell + 3},3").headers["location"] == f"/ui/tasks/{task['id']}"
        )
    assert "The slowest" not in browser.look(f"/ui/jobs/{job['id']}").text


def test_the_tasks_of_a_job_are_listed_by_what_the_page_counts(here: Site) -> None:
    """Those that wait also while the job is paused; those that failed with whatever result."""
    job = here.job()
    here.task(job, title="waits")
    here.report(here.run(here.task(job, title="odd")), stoppedAt=LATER, resultCode="Odd")
    here.make("PUT", f"/api/jobs/{job['id']}", schedulerState="paused")
    browser = here.browser()
    for show, title in (("pending", "waits"), ("failed", "odd")):
        listed = browser.look(f"/ui/jobs/{job['id']}?show={show}").text.partition("Progress Changed")[2]
        assert listed.split()[0] == title


def test_a_large_job_is_shown_before_its_runs_are_counted(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page waits for a moment only; what was counted stands there with its time."""
    monkeypatch.setattr("server.dashboard.pages.jobs.MANY", 2)  # the bounds themselves, made small
    job = here.job()
    for _ in range(2):
        failed_run(here, here.task(job), "crashed: no")
    browser = here.browser()
    path = f"/ui/jobs/{job['id']}?order=slowest"
    with monkeypatch.context() as hurried:
        hurried.setattr("server.dashboard.paced.PATIENCE_S", 0.0)
        text = browser.look(path).text
        assert "are still being counted" in text
        assert "2 failed" in text
    monkeypatch.setattr("server.dashboard.paced.PATIENCE_S", 30.0)
    text = browser.look(path).text
    assert "All 2 failed runs" in text
    assert text.lower().count("as of 20") == 3
    assert "are still being counted" not in text
