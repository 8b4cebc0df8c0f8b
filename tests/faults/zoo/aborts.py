"""Aborts, as native libraries do when an assertion fails."""

import os

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGABRT", "retryable": True, "says": ["SIGABRT"]}


@handler()
def aborts(ctx: Context) -> None:
    """Abort."""
    os.abort()
