"""Closes stdout and stderr, in Python and below; the next run of the type must be able to print."""

import os
import sys

from worker import Context, handler

END = {"tasks": [{}, {"is_second": True}], "value": {"value": True}, "log": ["heard again"]}


@handler()
def closes_its_streams(ctx: Context, *, is_second: bool = False) -> bool:
    """Close them, or print."""
    if is_second:
        print("heard again")
    else:
        sys.stdout.close()
        os.close(1)
        os.close(2)
    return is_second
