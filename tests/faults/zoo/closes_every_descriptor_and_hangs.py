"""Closes whatever is open, the channel to the agent too, and lives on."""

import os
import time

from worker import Context, handler

END = {
    "kind": "crashed",
    "exit_code": 74,
    "retryable": True,
    "says": ["closes its channel"],
    "weight": 1,
}


@handler()
def closes_every_descriptor_and_hangs(ctx: Context) -> None:
    """Close and sleep."""
    os.closerange(0, 1001)
    time.sleep(600)
