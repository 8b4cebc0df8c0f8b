"""Leaves a process in a pid namespace of its own, where it is PID 1 (as root; else it is left plainly)."""

import ctypes
import os
import time

from worker import Context, handler

END = {"value": {"value": "left"}}
CLONE_NEWPID = 0x20000000


@handler(isolation="fresh")
def hides_in_a_pid_namespace(ctx: Context) -> str:
    """Unshare, and fork into the new namespace."""
    ctypes.CDLL(None).unshare(CLONE_NEWPID)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
    return "left"
