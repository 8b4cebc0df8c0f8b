"""The pages that look at the whole fleet: machines, timeline, reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from server.dashboard import words
from server.prices import Price, Prices
from server.store.postgres.store import PostgresStore
from server.store.refusal import StoreFailed
from server.store.sqlite.store import SqliteStore
from server.store.usage import UsageQuery
from server.tokens import ADMIN
from tests.integration.dashboard import Reader, Site, site, token_of
from tests.postgres.databases import database
from worker.api.wire import format_instant

HOSTILE = "</title></svg><script>alert(1)</script>\"'&{{ 7*7 }}\x1b[31m"
PRICES = Prices(currency="EUR", price=(Price(machine_type="g2", machine_hour=3600.0),))


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give an empty site on each store, with prices."""
    if request.param == "sqlite":
        with site(prices=PRICES) as made:
            yield made
        return
    with database() as url, site(db=url, prices=PRICES) as made:
        yield made


def at(seconds: float, now: datetime | None = None) -> str:
    """Return a time from now."""
    return format_instant((now or datetime.now(UTC)) + timedelta(seconds=seconds))


def ran(here: Site, begin_s: float, took_s: float, **given: Any) -> dict[str, Any]:
    """Make a task with a run that began so many seconds from now, and ended."""
    now = datetime.now(UTC)
    title, facts = given.pop("title", "frame 7"), given.pop("facts", {"machineType": "g2"})
    run = here.run(here.task(here.job(), title=title), startedAt=at(begin_s, now), podId="gpu-1/a", **facts)
    used = {"wallClockTime": took_s, "CPUTime": took_s / 2, "GPUTime": 0}
    end = {"resultCode": "Success", **used, **given}
    return here.report(run, startedAt=at(begin_s, now), stoppedAt=at(begin_s + took_s, now), **end)


def cells(page: Reader, name: str) -> str:
    """Return what follows a name in the text, as far as a reader's eye goes."""
    return page.text.partition(f" {name} ")[2][:160]


def test_the_reports_add_up_what_was_taken_and_what_it_cost(here: Site) -> None:
    """In all, and by what is asked for; what has no price is told, and in no sum."""
    ran(here, -60, 10)
    ran(here, -60, 20, resultCode="Failed", error="handler_error: no")
    ran(here, -60, 4, resultCode="Failed", error="preempted: gone")
    ran(here, -60, 6, facts={"machineType": "n2"})
    page = here.browser().look("/ui/reports")
    assert "Slot time 40.00 s CPU time 20.00 s" in page.text
    assert "Cost 34.00 EUR of 3 of 4 runs" in page.text
    assert "Cost of lost work, at most 4.00 EUR" in page.text
    assert "no price fits: 1 run" in page.text
    assert "Came to something 40 %" in page.text
    assert "render 4, 1 failed , 1 interrupted" in page.text
    assert cells(page, "preempted").startswith("1 4.00 s 2.00 s 0 ms 4.00")
    grouped = here.browser().look("/ui/reports?by=machine+type&period=1h")
    assert cells(grouped, "n2").startswith("1 100 % succeeded 6.00 s 3.00 s 0 ms – – 0.00")
    assert "By type" in here.browser().look("/ui/reports?by=x&period=").text


def test_a_job_tells_what_it_took_and_cost(here: Site) -> None:
    """All its runs, and no other job's."""
    ran(here, -60, 100)
    run = ran(here, -60, 10)
    page = here.browser().look(f"/ui/jobs/{run['jobId']}")
    assert "Slot time 10.00 s CPU time 5.00 s GPU time, allocated 0 ms" in page.text
    assert "Came to something 100 % Cost 10.00 EUR For nothing, at most 0.00 EUR" in page.text


def test_a_job_with_more_runs_than_are_counted_says_so(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a sum must not look like all of it."""
    monkeypatch.setattr("server.dashboard.pages.jobs.UsageQuery", partial(UsageQuery, most=2))  # of 500,000
    job = here.job()
    for runs, told in ((1, False), (2, True)):
        here.run(here.task(job), startedAt=at(-60))
        assert ("newest 2 runs are counted" in here.browser().look(f"/ui/jobs/{job['id']}").text) is told, (
            runs
        )


def test_without_prices_the_reports_show_none(here: Site) -> None:
    """And say how to give them; nothing at all is said so, too."""
    with site() as bare:
        assert "No run was claimed in this time." in bare.browser().look("/ui/reports?period=all").text
        ran(bare, -60, 10)
        page = bare.browser().look("/ui/reports")
    assert "millhand serve --prices FILE" in page.text
    assert "Cost" not in page.text


def test_the_timeline_shows_runs_and_free_slots_and_who_waits(here: Site) -> None:
    """Each run leads to its page, titles are text, and a list says the same to those who cannot see it."""
    status = {"podId": "gpu-1/a", "slots": {"total": 3}, "started": at(-3600)}
    here.api.put("/api/agents/a", json={"status": status})
    run = ran(here, -600, 300, title=HOSTILE)
    here.task(here.job())
    page = here.browser().look("/ui/timeline")
    assert f"/ui/runs/{run['id']}" in page.links
    assert sum(attributes.get("class") == "free" for tag, attributes in page.elements if tag == "rect") == 3
    assert not any(tag == "script" and "src" not in attributes for tag, attributes in page.elements)
    assert "busy 2 % · 1 succeeded" in page.text
    assert page.text.count("alert(1)") == 2  # when it is pointed at, and in the list
    assert cells(page, "render").startswith("1 ")
    assert f"/ui/runs/{run['id']}" in here.browser().look("/ui/timeline?period=7d").links


def test_an_empty_fleet_says_what_to_do(here: Site) -> None:
    """On every page of it."""
    browser = here.browser()
    for path in ("machines", "timeline"):
        assert "millhand agent" in browser.look(f"/ui/{path}").text
    assert "Nothing waits" in browser.look("/ui/timeline").text


def test_a_machine_says_what_it_does_and_what_ails_it(here: Site) -> None:
    """Its slots, its end, its quarantine; those that somebody should look at come first."""
    healthy = {"podId": "a-well/1", "slots": {"total": 2}, "version": "9.9"}
    here.api.put("/api/agents/1", json={"status": healthy})
    notice = {"kind": "preempted", "message": HOSTILE, "deadline": "2026-01-01T00:00:30.000Z"}
    gpu = {
        "name": "L4",
        "condition": "quarantined",
        "reason": "3 tasks failed on it",
        "quarantineLeftS": 300.4,
    }
    ending = {"podId": "z-ends/2", "slots": {"total": 1}, "drain": notice, "gpus": [gpu]}
    here.api.put("/api/agents/2", json={"status": ending, "machine": {"preemptible": True}})
    here.run(here.task(here.job(), title="frame 9"), podId="a-well/1", startedAt=at(-90))
    page = here.browser().look("/ui/machines")
    assert page.text.index("z-ends/2") < page.text.index("a-well/1")
    assert "Slots at work 1 of 3" in page.text
    assert "GPUs 1 1 not fit" in page.text
    assert "End soon 1" in page.text
    assert "It is taken away at 2026-01-01 00:00:30Z: </title></svg><script>" in page.text
    assert "L4 quarantined" in page.text
    assert "min" in page.text.partition("quarantined")[2][:8]
    assert "3 tasks failed on it" in page.text
    assert "frame 9 since 1 min" in page.text
    assert page.text.partition("frame 9")[2].count("free") == 1


@pytest.mark.parametrize(
    "status", [7, [], "x", {"slots": 7, "gpus": [7], "drain": [1], "started": 5, "holds": {}}]
)
def test_agents_that_tell_nonsense_break_no_page(here: Site, status: Any) -> None:
    """What is told in another shape is left out."""
    here.api.put("/api/agents/odd", json={"status": status, "machine": status, "handlers": status})
    for path in ("machines", "timeline", "reports", "handlers"):
        here.browser().look(f"/ui/{path}")


def test_an_agent_that_tells_of_many_slots_makes_no_large_page(here: Site) -> None:
    """Some free ones are shown, the others counted; what no agent can have is unknown."""
    told: dict[str, Any] = {"many": 1024, "more": 2_000_000, "less": -1, "yes": True}
    for name, total in told.items():
        status = {"podId": name, "slots": {"total": total}, "started": at(-3600)}
        here.api.put(f"/api/agents/{name}", json={"status": status})
    page = here.browser().look("/ui/machines")
    assert "Slots at work 0 of 1,024" in page.text
    assert "free and 992 more free" in page.text
    assert page.text.count("nothing runs") == 3
    page = here.browser().look("/ui/timeline")
    assert "busy 0 % · no run · 992 more free slots" in page.text
    assert sum(attributes.get("class") == "free" for tag, attributes in page.elements if tag == "rect") == 32


def test_of_very_many_agents_some_are_shown_and_all_are_counted(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that somebody should look at, and those that had runs; a page nobody reads is none."""
    monkeypatch.setattr("server.dashboard.pages.machines.MOST_CARDS", 2)  # 500 agents would take long
    monkeypatch.setattr("server.dashboard.pages.timeline.MOST_TRACKS", 2)
    for name in ("a", "b", "c"):
        here.api.put(f"/api/agents/{name}", json={"status": {"podId": name, "slots": {"total": 2}}})
    here.api.put(
        "/api/agents/z", json={"status": {"podId": "z-ends", "slots": {"total": 2}, "drain": {"kind": "x"}}}
    )
    ran(here, -60, 10)
    machines = here.browser().look("/ui/machines").text
    assert "Machines 5 Slots at work 0 of 8" in machines
    assert "z-ends" in machines
    assert "And 3 more machines" in machines
    timeline = here.browser().look("/ui/timeline").text
    assert "gpu-1/a" in timeline
    assert "And 3 more agents" in timeline


def test_a_report_that_the_database_gives_up_says_what_to_do(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows no sum; a large job is shown without what it took."""

    async def in_vain(_store: object, _query: object) -> None:
        raise StoreFailed("The database took too long for it, and was stopped")

    run = ran(here, -60, 10)
    for store in (SqliteStore, PostgresStore):  # half a million runs would take long to make
        monkeypatch.setattr(store, "usage", in_vain)
    page = here.browser().look("/ui/reports?period=all")
    assert "not added up. The database took too long for it, and was stopped. A shorter time" in page.text
    assert "/ui/reports?period=1h&by=type" in page.links
    assert "No run was claimed" not in page.text
    assert "Slot time" not in page.text
    monkeypatch.setattr("server.dashboard.pages.jobs.MANY", 1)
    job = here.browser().look(f"/ui/jobs/{run['jobId']}").text
    assert "the database gave up on it" in job
    assert "1 succeeded" in job


def test_the_card_of_a_machine_counts_failures_as_its_row_in_the_timeline_does(here: Site) -> None:
    """A spot machine that was taken away is none that fails its tasks."""
    for error in (
        "preempted: gone",
        "drained: stop",
        "worker_lost: silent",
        "cancelled: by hand",
        "crashed: no",
    ):
        ran(here, -60, 10, resultCode="Failed", error=error)
    assert "5 runs lately, 1 failed" in here.browser().look("/ui/machines").text.replace(" ,", ",")
    assert "1 cancelled, 3 interrupted, 1 failed" in here.browser().look("/ui/timeline").text


def test_an_agent_of_a_long_name_is_one(here: Site) -> None:
    """By what it says of itself, and by its runs."""
    name = "gpu-" + 400 * "x"
    here.api.put("/api/agents/a", json={"status": {"podId": name, "slots": {"total": 2}}})
    here.run(here.task(here.job()), podId=name, startedAt=at(-90))
    page = here.browser().look("/ui/machines").text
    assert "Machines 1 Slots at work 1 of 2" in page
    assert name[:300] in page
    assert name[:301] not in page
    assert here.browser().look("/ui/timeline").text.count("1 running") == 1


def test_all_that_runs_is_at_work_however_much_it_is(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beyond the runs of which more is looked up."""
    monkeypatch.setattr("server.dashboard.pages.machines.MOST_LIVE", 1)  # 2,000 runs would take long
    monkeypatch.setattr("server.dashboard.pages.machines.RECENT_RUNS", 1)
    here.api.put("/api/agents/a", json={"status": {"podId": "gpu-1/a", "slots": {"total": 4}}})
    for name in ("gpu-1/a", "gpu-1/a", "foreign", "gpu-1/a"):
        here.run(here.task(here.job(), title=f"work of {name}"), podId=name, startedAt=at(-90))
    page = here.browser().look("/ui/machines")
    assert "Machines 2 Slots at work 3 of 4" in page.text
    assert page.text.count("work of gpu-1/a since 1 min") == 3
    assert page.text.count("work of foreign") == 1


@pytest.mark.parametrize("path", ["/ui/reports", "/ui/timeline"])
def test_a_page_that_takes_long_to_draw_holds_up_nobody(
    here: Site, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Others are answered while it is drawn: 20,000 runs take a second."""
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(_value: object) -> str:
        begun.set()
        return "drawn" if goes_on.wait(10.0) else "held up"

    monkeypatch.setattr(words, "number", slowly)  # no page of a test takes long enough by itself
    ran(here, -60, 10)
    browser = here.browser()
    with ThreadPoolExecutor(1) as beside:
        page = beside.submit(browser.look, path)
        assert begun.wait(10.0)
        assert here.api.get("/api/jobs").status_code == 200
        goes_on.set()
        assert "held up" not in page.result(20.0).text


def test_nobody_sees_the_fleet_of_others(here: Site) -> None:
    """Neither runs nor machines nor what waits."""
    ran(here, -60, 10, title="ours alone")
    here.task(here.job(), type="our-type")
    here.api.put("/api/agents/a", json={"status": {"podId": "our-machine", "slots": {"total": 1}}})
    other = here.browser(token_of(here, "others", ADMIN))
    for path in ("machines", "timeline", "reports?period=all"):
        text = other.look(f"/ui/{path}").text
        assert not any(word in text for word in ("ours alone", "our-type", "our-machine", "gpu-1"))
