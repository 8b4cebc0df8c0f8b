"""Leaves a stopped process behind: signals wait in front of it, all but one."""

import signal
import subprocess

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def stops_its_child(ctx: Context) -> str:
    """Start, stop, and leave."""
    child = subprocess.Popen(["sleep", "600"])
    child.send_signal(signal.SIGSTOP)
    return "left"
