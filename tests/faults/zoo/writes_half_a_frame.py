"""Writes half a frame to the channel, and hangs."""

import os
import time
from pathlib import Path

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "weight": 2}


@handler()
def writes_half_a_frame(ctx: Context) -> None:
    """Write to every socket."""
    ctx.progress(0.1)
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), b"\0\0\1\0" + b'{"frame":"ended","run_id":"')
    time.sleep(600)
