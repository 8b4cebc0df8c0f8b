"""Sees that it shall stop, and returns a result all the same: what is finished is not lost."""

import time

from worker import Context, handler

END = {"stop": "cancelled", "grace_s": 5, "value": {"value": "finished"}}


@handler()
def returns_in_spite_of_cancelled(ctx: Context) -> str:
    """Wait for the request, then return."""
    ctx.progress(0.1)
    while not ctx.cancelled:
        time.sleep(0.005)
    return "finished"
