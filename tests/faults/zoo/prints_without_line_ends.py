"""Prints a line of 20 megabytes that never ends."""

import os

from worker import Context, handler

END = {"value": {"value": "printed"}, "limit_s": 20, "weight": 1}


@handler()
def prints_without_line_ends(ctx: Context) -> str:
    """Write without a newline."""
    for _ in range(20):
        os.write(1, b"x" * 1_000_000)
    return "printed"
