"""Tells progress beyond every bound: negative, infinite, not a number, backwards."""

import contextlib
import math

from worker import Context, handler

END = {"value": {"value": "told"}}


@handler()
def tells_impossible_progress(ctx: Context) -> str:
    """Tell."""
    for ratio in (0.5, -1.0, 7.0, math.inf, math.nan, 0.2):
        with contextlib.suppress(ValueError):
            ctx.progress(ratio, "x" * 100_000)
    return "told"
