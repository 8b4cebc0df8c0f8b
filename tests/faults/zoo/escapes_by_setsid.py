"""Starts a program in a session of its own, and hangs."""

import subprocess
import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled"}


@handler()
def escapes_by_setsid(ctx: Context) -> None:
    """Start and hang."""
    subprocess.Popen(["sh", "-c", "sleep 600 & exec sleep 600"], start_new_session=True)
    ctx.progress(0.1)
    time.sleep(600)
