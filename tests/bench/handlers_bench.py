"""Handlers for the benchmark: they tell when they began."""

from __future__ import annotations

import time

from worker import Context, handler

__all__ = ["stamp"]


@handler("bench-stamp")
def stamp(ctx: Context) -> dict[str, int]:
    """Return the time of day at the first line, in nanoseconds."""
    return {"begunNs": time.time_ns()}
