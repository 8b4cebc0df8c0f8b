"""Writes nonsense where frames are expected."""

import os
import time
from pathlib import Path

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True, "says": ["broke its channel"]}


@handler()
def writes_garbage_to_the_channel(ctx: Context) -> None:
    """Write to every socket."""
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), b"\0\0\0\x0f{not json at all")
    time.sleep(600)
