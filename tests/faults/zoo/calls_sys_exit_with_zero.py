"""Calls sys.exit(0): an end, but no result."""

import sys

from worker import Context, handler

END = {"kind": "handler_error", "says": ["the handler called sys.exit(0)"]}


@handler()
def calls_sys_exit_with_zero(ctx: Context) -> None:
    """Exit politely."""
    sys.exit(0)
