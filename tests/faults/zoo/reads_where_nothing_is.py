"""Runs into a segmentation fault."""

import ctypes

from worker import Context, handler

END = {"kind": "crashed", "signal": "SIGSEGV", "retryable": True, "says": ["SIGSEGV"]}


@handler()
def reads_where_nothing_is(ctx: Context) -> None:
    """Read from address 0."""
    ctypes.string_at(0)
