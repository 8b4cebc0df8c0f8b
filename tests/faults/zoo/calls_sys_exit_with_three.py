"""Calls sys.exit(3)."""

import sys

from worker import Context, handler

END = {"kind": "handler_error", "says": ["the handler called sys.exit(3)"]}


@handler()
def calls_sys_exit_with_three(ctx: Context) -> None:
    """Exit."""
    sys.exit(3)
