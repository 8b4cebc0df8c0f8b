"""Becomes another program that ignores signals and never ends; the channel is closed by that."""

import os

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True, "says": ["channel"], "weight": 1}


@handler()
def execs_and_hangs(ctx: Context) -> None:
    """Exec."""
    os.execv("/bin/sh", ["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 60; done"])
