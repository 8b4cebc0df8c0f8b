"""Kills its parent, the process that minds all handlers, and leaves a program running."""

import os
import signal
import subprocess
import time

from worker import Context, handler

END = {"world": "apart", "kind": "crashed", "retryable": True, "says": ["minds the handlers was killed"]}


@handler()
def kills_its_minder(ctx: Context) -> None:
    """Kill."""
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
