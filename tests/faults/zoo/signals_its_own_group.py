"""Signals everything in its own process group."""

import os
import signal

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True}


@handler()
def signals_its_own_group(ctx: Context) -> None:
    """Signal."""
    os.killpg(0, signal.SIGTERM)
    os.killpg(0, signal.SIGKILL)
