"""Writes a frame whose JSON is nested a million levels deep."""

import os
import time
from pathlib import Path

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGKILL", "retryable": True, "says": ["could not be read"]}


@handler()
def writes_nested_frames(ctx: Context) -> None:
    """Write to every socket."""
    body = b'{"frame":"checkpoint","value":' + b"[" * 1_000_000
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            frame = len(body).to_bytes(4, "big") + body
            while frame:
                frame = frame[os.write(int(path.name), frame) :]
    time.sleep(600)
