"""Leaves a daemon with a new session, no environment and no descriptor, and succeeds."""

import os

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def leaves_a_nameless_daemon(ctx: Context) -> str:
    """Wipe every trace that leads back here."""
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 1000)
            os.execve("/bin/sleep", ["sleep", "600"], {})
        os._exit(0)
    os.waitpid(first, 0)
    return "left"
