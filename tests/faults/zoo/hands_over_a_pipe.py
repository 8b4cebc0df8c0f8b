"""Hands a named pipe over as an artifact."""

import os

from worker import Context, handler

END = {"kind": "handler_error", "says": ["no regular file"]}


@handler()
def hands_over_a_pipe(ctx: Context) -> None:
    """Make a pipe that nobody writes."""
    os.mkfifo("pipe")
    ctx.artifact("pipe")
