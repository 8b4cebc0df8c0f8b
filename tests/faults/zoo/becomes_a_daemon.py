"""Leaves a daemon behind by a double fork, and succeeds."""

import os
import time

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def becomes_a_daemon(ctx: Context) -> str:
    """Fork twice, with a session in between."""
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.waitpid(first, 0)
    return "left"
