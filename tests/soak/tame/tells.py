"""Tells progress, lines and a checkpoint, and prints."""

import sys

from worker import Context, handler

END = {"value": {"value": 20}, "log": ["line 19", "printed"], "weight": 30}


@handler()
def tells(ctx: Context) -> int:
    """Tell by every way."""
    for number in range(20):
        ctx.progress(number / 20, f"step {number}")
        ctx.log(f"line {number}")
        ctx.checkpoint({"number": number})
    sys.stdout.write("printed\n")
    return 20
