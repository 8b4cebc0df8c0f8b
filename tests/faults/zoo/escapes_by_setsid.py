"""Starts a program in a session of its own, and stops when asked, without it."""

import subprocess
import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "grace_s": 5}


@handler()
def escapes_by_setsid(ctx: Context) -> None:
    """Start and wait."""
    subprocess.Popen(["sh", "-c", "sleep 600 & exec sleep 600"], start_new_session=True)
    ctx.progress(0.1)
    while True:
        ctx.check()
        time.sleep(0.005)
