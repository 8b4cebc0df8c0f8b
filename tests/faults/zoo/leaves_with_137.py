"""Ends with exit code 137, which looks like a kill for want of memory and is none."""

import os

from worker import Context, handler

END = {
    "kind": "crashed",
    "exit_code": 137,
    "retryable": True,
    "says": ["exited with code 137"],
    "says_not": ["memory", "OOM"],
}


@handler()
def leaves_with_137(ctx: Context) -> None:
    """Leave."""
    os._exit(137)
