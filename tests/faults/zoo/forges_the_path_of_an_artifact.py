"""Tells of an artifact behind the SDK's back: a name that leads out of the folder, a file of the system."""

import json
import os
from pathlib import Path

from worker import Context, handler

END = {"kind": "handler_error", "says": ["../../stolen", "no artifact name"]}


@handler()
def forges_the_path_of_an_artifact(ctx: Context) -> str:
    """Write the frame to every socket."""
    frame = {"frame": "artifact", "path": "/etc/hostname", "name": "../../stolen", "content_type": None}
    body = json.dumps(frame).encode()
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), len(body).to_bytes(4, "big") + body)
    return "forged"
