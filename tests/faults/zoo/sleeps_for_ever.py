"""Waits for something that never comes, without a sign of progress."""

import threading

from worker import Context, handler

END = {"kind": "no_progress", "retryable": True, "says": ["no progress for 0.3 s"], "weight": 1}


@handler(no_progress_s=0.3)
def sleeps_for_ever(ctx: Context) -> None:
    """Wait."""
    ctx.progress(0.1)
    threading.Event().wait()
