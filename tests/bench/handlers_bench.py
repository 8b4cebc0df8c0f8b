"""Handlers for the benchmark: they tell when they began."""

from __future__ import annotations

import time

from worker import Context, handler

__all__ = ["second", "stamp"]


@handler("bench-stamp")
def stamp(ctx: Context) -> dict[str, int]:
    """Return the time of day at the first line, in nanoseconds."""
    return {"begunNs": time.time_ns()}


@handler("bench-second")
def second(ctx: Context) -> dict[str, float]:
    """Take a second, and tell ten times how far it is; return how long that took, which is a bit longer."""
    begun_s = time.perf_counter()
    for step in range(10):
        time.sleep(0.1)
        ctx.progress((step + 1) / 10)
    return {"tookS": time.perf_counter() - begun_s}
