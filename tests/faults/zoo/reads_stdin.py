"""Waits for a person at the keyboard."""

import sys

from worker import Context, handler

END = {"value": {"value": ""}}


@handler()
def reads_stdin(ctx: Context) -> str:
    """Read."""
    return sys.stdin.read()
