"""Kills every process that it can see; only where the agent is PID 1 of a namespace of the test."""

import os
import signal
import time
from pathlib import Path

from worker import Context, handler

END = {"world": "apart", "kind": "crashed", "retryable": True, "says": ["minds the handlers was killed"]}


@handler()
def kills_everything(ctx: Context) -> None:
    """Kill, unless this were the machine's own namespace."""
    if b"tests.faults.driver" not in Path("/proc/1/cmdline").read_bytes():
        raise RuntimeError("this would kill the machine")
    os.kill(-1, signal.SIGKILL)  # all but itself
    time.sleep(600)
