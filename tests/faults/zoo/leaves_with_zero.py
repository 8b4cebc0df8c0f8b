"""Ends its process behind Python's back, with exit code 0: no receipt, no success."""

import os

from worker import Context, handler

END = {"kind": "crashed", "exit_code": 0, "retryable": True, "says": ["exited with code 0 without a result"]}


@handler()
def leaves_with_zero(ctx: Context) -> None:
    """Leave."""
    os._exit(0)
