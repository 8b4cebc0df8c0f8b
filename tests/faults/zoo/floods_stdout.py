"""Writes to stdout as fast as the machine can, hundreds of megabytes."""

import os
import time

from worker import Context, handler

END = {"value": {"value": "flooded"}, "log": ["the very last line"], "limit_s": 20, "weight": 1}


@handler()
def floods_stdout(ctx: Context) -> str:
    """Write for half a second."""
    chunk = bytes(1024 * 1024)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        os.write(1, chunk)
    os.write(1, b"\nthe very last line\n")
    return "flooded"
