"""Stops its own process, as job control does, and is never continued."""

import os
import signal

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "says": ["did not stop in time"]}


@handler()
def stops_itself(ctx: Context) -> None:
    """Stop."""
    ctx.progress(0.1)
    os.kill(os.getpid(), signal.SIGSTOP)
