"""Becomes another program, which knows nothing of runs."""

import os

from worker import Context, handler

END = {"kind": "crashed", "exit_code": 0, "retryable": True, "log": ["I am a shell"]}


@handler()
def execs_another_program(ctx: Context) -> None:
    """Exec."""
    os.execv("/bin/sh", ["sh", "-c", "echo I am a shell"])
