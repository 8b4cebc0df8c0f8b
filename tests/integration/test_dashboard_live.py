"""Pages that stay open are told what changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx

from server.store.commands import DeleteToken
from server.tokens import READ
from tests.integration.dashboard import Site, site, token_of

HOSTILE = "</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>'\"&{{ 7*7 }}\x1b[31m\u202e"


def read_events(answer: httpx.Response) -> Iterator[str]:
    """Give what each event carries."""
    lines: list[str] = []
    for line in answer.iter_lines():
        if line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


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
