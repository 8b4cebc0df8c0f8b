"""The page of reports: what runs took and cost, and what of it came to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from server.dashboard.costs import GROUPS, added_up, by_ending, costs_of, grouped, unknown_costs
from server.dashboard.look import Look, Values, View
from server.dashboard.paced import Answer
from server.prices import Prices
from server.store.refusal import StoreFailed
from server.store.usage import Usage, UsageQuery, UsageRow
from server.times import to_ms

__all__ = ["PAGES"]

DAY_S: Final = 86400
PERIODS: Final = {"1h": 3600, "24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S, "all": None}
DEFAULT: Final = "24h"
MOST_LINES: Final = 200
MANY_RUNS: Final = 5_000  # from so many on they are not added up each time


async def reports_page(look: Look) -> Values:
    """Show what the runs of a while took and cost, grouped, and what of it was for nothing."""
    period = look.asked("period", PERIODS) or DEFAULT
    by = look.asked("by", GROUPS) or "type"
    span_s = PERIODS[period]
    since = 0 if span_s is None else to_ms(look.now) - span_s * 1000
    query = UsageQuery(org_id=look.org_id, since=since)
    problem = None
    try:
        answer = await look.paced.ask(
            ("usage", look.org_id, period),
            lambda: look.store.usage(query),
            lambda found: found.looked_at >= MANY_RUNS,
        )
    except StoreFailed as exc:  # of a long time that may be too much work for it
        answer, problem = Answer(Usage([], 0), None, 0.0, 0.0), str(exc)
    return {
        "problem": problem,
        "title": "Reports",
        "period": period,
        "periods": PERIODS,
        "by": by,
        "groups": GROUPS,
        "currency": look.prices.currency if look.prices else None,
        "as_of": answer.as_of,
        "cut": query.most if answer.value.looked_at >= query.most else None,
        **await asyncio.to_thread(figures_of, answer.value.rows, look.prices, by),
    }


def figures_of(rows: Sequence[UsageRow], prices: Prices | None, by: str) -> Values:
    """Return what stands in the tables; of many machines that is some work."""
    costed = costs_of(rows, prices)
    lines = grouped(costed, GROUPS[by])
    return {
        "total": added_up(costed),
        "lines": lines[:MOST_LINES],
        "more": max(0, len(lines) - MOST_LINES),
        "for_nothing": by_ending(costed),
        "unknown": unknown_costs(costed) if prices else [],
    }


PAGES: Final = (View("/reports", "reports.html", reports_page),)
