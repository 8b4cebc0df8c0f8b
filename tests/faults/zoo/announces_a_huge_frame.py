"""Announces a frame of 4 GiB on the channel."""

import os
import time
from pathlib import Path

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True, "says": ["4294967295 bytes was announced"]}


@handler()
def announces_a_huge_frame(ctx: Context) -> None:
    """Write to every socket."""
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), b"\xff\xff\xff\xff")
    time.sleep(600)
