"""Sends `ready` in the middle of its run, with limits that are far away."""

import json
import os
import time
from pathlib import Path

from worker import Context, handler

END = {"kind": "timeout", "says": ["longer than 0.5 s"], "weight": 1}


@handler(timeout_s=0.5)
def says_ready_again(ctx: Context) -> None:
    """Try to start its time anew for ever."""
    limits = {"timeout_s": 600, "no_progress_s": None, "memory_bytes": None}
    frame = {"frame": "ready", "limits": limits, "isolation": "warm"}
    body = json.dumps(frame).encode()
    while True:
        for path in list(Path("/proc/self/fd").iterdir()):
            if path.exists() and str(path.readlink()).startswith("socket:"):
                os.write(int(path.name), len(body).to_bytes(4, "big") + body)
        time.sleep(0.1)
