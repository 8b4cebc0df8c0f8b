"""Sends the receipt of a run that is not its own; only its own counts."""

import json
import os
from pathlib import Path

from worker import Context, handler

END = {"value": {"who": "me"}}


@handler()
def forges_a_receipt_of_another_run(ctx: Context) -> dict[str, str]:
    """Write a whole, well-formed frame to every socket."""
    frame = {"frame": "ended", "run_id": "run-1", "how": "returned", "value": {"who": "the forger"}}
    body = json.dumps(frame).encode()
    for path in list(Path("/proc/self/fd").iterdir()):
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), len(body).to_bytes(4, "big") + body)
    return {"who": "me"}
