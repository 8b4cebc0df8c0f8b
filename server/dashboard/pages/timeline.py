"""The page of the timeline."""

from __future__ import annotations

import asyncio
from typing import Final

from server.dashboard.fleet import machines_of
from server.dashboard.look import Look, Values, View
from server.dashboard.timeline import Scale, tracks_of, waits_of
from server.store.usage import SpanQuery
from server.times import to_ms

__all__ = ["PAGES"]

PERIODS: Final = {"10m": 600, "1h": 3600, "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400}  # seconds
DEFAULT: Final = "1h"
STEPS: Final = 600  # in so many the time goes on, so that an open page does not change all the time
EARLIER_MS: Final = 7 * 86400 * 1000  # a run that began so long before is seen only while it lives
MOST_LISTED: Final = 100
MOST_TRACKS: Final = 300  # of more agents, those that had runs
MANY_RUNS: Final = 5_000  # from so many on they are not looked for each time


async def timeline_page(look: Look) -> Values:
    """Show which runs each agent had, slot by slot, and how long tasks waited."""
    period = look.asked("period", PERIODS) or DEFAULT
    now, span_ms = to_ms(look.now), PERIODS[period] * 1000
    step = span_ms // STEPS
    end = -(-now // step) * step
    scale = Scale(end - span_ms, end)
    query = SpanQuery(org_id=look.org_id, since=scale.begin, made_since=scale.begin - EARLIER_MS)
    answer = await look.paced.ask(
        ("spans", look.org_id, period),
        lambda: look.store.spans(query),
        lambda found: max(found.looked_at, len(found.spans)) >= MANY_RUNS,
    )
    found, as_of = answer.value, to_ms(answer.as_of or look.now)
    machines = await asyncio.to_thread(machines_of, await look.store.agents(look.org_id), [], [], look.now)
    waiting = await look.store.waiting(look.org_id)
    tracks = await asyncio.to_thread(tracks_of, found.spans, machines, scale, as_of)
    if len(tracks) > MOST_TRACKS:
        tracks.sort(key=lambda track: not track.spans)  # by name they are already
    return {
        "title": "Timeline",
        "period": period,
        "periods": PERIODS,
        "scale": scale,
        "tracks": tracks[:MOST_TRACKS],
        "more": max(0, len(tracks) - MOST_TRACKS),
        "waits": await asyncio.to_thread(waits_of, found.spans, waiting, scale, now),
        "as_of": answer.as_of,
        "cut": query.most if found.looked_at >= query.most else None,
        "most_listed": MOST_LISTED,
    }


PAGES: Final = (View("/timeline", "timeline.html", timeline_page),)
