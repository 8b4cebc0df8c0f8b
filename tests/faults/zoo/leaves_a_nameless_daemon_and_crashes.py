"""Leaves a daemon with a new session, no environment and no descriptor, and dies at once."""

import os
import signal

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True}


@handler()
def leaves_a_nameless_daemon_and_crashes(ctx: Context) -> None:
    """Wipe every trace that leads back here, this process too."""
    if (first := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 1000)
            os.execve("/bin/sleep", ["sleep", "600"], {})
        os._exit(0)
    os.waitpid(first, 0)
    os.kill(os.getpid(), signal.SIGKILL)
