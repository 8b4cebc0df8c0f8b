"""Registers a hook for the interpreter's exit that never returns."""

import atexit
import time

from worker import Context, handler

END = {"value": {"value": "registered"}, "weight": 1}


@handler(isolation="fresh")
def hangs_at_exit(ctx: Context) -> str:
    """Register."""
    atexit.register(time.sleep, 600)
    return "registered"
