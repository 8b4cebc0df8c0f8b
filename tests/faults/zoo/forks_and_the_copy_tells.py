"""Forks, and the copy tells and raises as if it were the run."""

import os

from worker import Context, Fail, handler

END = {"value": {"value": "the run"}}


@handler()
def forks_and_the_copy_tells(ctx: Context) -> str:
    """Fork, and wait for the copy."""
    if (copy := os.fork()) == 0:
        ctx.progress(1.0, "the copy")
        raise Fail("the copy failed")
    os.waitpid(copy, 0)
    return "the run"
