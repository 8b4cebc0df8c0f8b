"""Ends its process behind Python's back, with exit code 3."""

import os

from worker import Context, handler

END = {"kind": "crashed", "exit_code": 3, "retryable": True, "says": ["exited with code 3"]}


@handler()
def leaves_with_three(ctx: Context) -> None:
    """Leave."""
    os._exit(3)
