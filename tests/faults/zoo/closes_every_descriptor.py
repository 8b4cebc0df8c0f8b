"""Closes whatever is open, the channel to the agent too."""

import os

from worker import Context, handler

END = {"kind": "crashed", "retryable": True, "exit_code": 74, "says": ["closes its channel"], "weight": 1}


@handler()
def closes_every_descriptor(ctx: Context) -> None:
    """Close."""
    os.closerange(0, 1001)
