"""Ignores SIGTERM and every request to stop."""

import signal
import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "says": ["did not stop in time"]}


@handler()
def ignores_sigterm(ctx: Context) -> None:
    """Be deaf."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.progress(0.1)
    while True:
        time.sleep(60)
