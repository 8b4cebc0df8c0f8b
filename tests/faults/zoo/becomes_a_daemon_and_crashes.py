"""Leaves a daemon behind by a double fork, and dies: nothing of the tree holds it any more."""

import os
import signal
import time

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True}


@handler()
def becomes_a_daemon_and_crashes(ctx: Context) -> None:
    """Fork twice, with a session in between."""
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.waitpid(first, 0)
    os.kill(os.getpid(), signal.SIGKILL)
