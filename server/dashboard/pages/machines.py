"""The page of the machines."""

from __future__ import annotations

import asyncio
from typing import Final

from server.dashboard.fleet import MOST_FREE, fleet_of, machines_of
from server.dashboard.look import NEWEST_FIRST, Look, Values, View
from server.store.queries import Page, RunQuery
from server.store.usage import SpanQuery
from server.times import to_ms

__all__ = ["PAGES"]

RECENT_RUNS: Final = 500  # how far the fleet's memory reaches
MOST_LIVE: Final = 2000  # of which machine and GPU are looked up; all count
MOST_CARDS: Final = 500  # of more machines, those that somebody should look at


async def machines_page(look: Look) -> Values:
    """Show the machines: what runs there, why one takes nothing, and which fell silent."""
    newest = Page(size=RECENT_RUNS, sort=NEWEST_FIRST)
    recent = RunQuery(org_id=look.org_id, has_results=False, page=newest)
    live = RunQuery(org_id=look.org_id, has_results=False, is_live=True, page=Page(size=MOST_LIVE))
    runs = [answer.run for query in (live, recent) for answer in await look.store.runs(query)]
    agents, now = await look.store.agents(look.org_id), to_ms(look.now)
    working = await look.store.spans(SpanQuery(org_id=look.org_id, since=now, made_since=now))
    live_spans = [span for span in working.spans if span.stopped_at is None]
    machines = await asyncio.to_thread(machines_of, agents, runs, live_spans, look.now)
    return {
        "title": "Machines",
        "machines": machines[:MOST_CARDS],
        "more": max(0, len(machines) - MOST_CARDS),
        "most_free": MOST_FREE,
        "sums": fleet_of(machines),
        "memory": RECENT_RUNS,
    }


PAGES: Final = (View("/machines", "machines.html", machines_page),)
