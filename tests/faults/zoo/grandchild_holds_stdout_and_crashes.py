"""Leaves a process that holds stdout and stderr open, and dies: the pipes stay open."""

import os
import subprocess

from worker import Context, handler

END = {"kind": "crashed", "exit_code": 1, "retryable": True, "log": ["said before"]}


@handler()
def grandchild_holds_stdout_and_crashes(ctx: Context) -> None:
    """Start it in another session, without the environment's mark."""
    print("said before", flush=True)
    subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
    os._exit(1)
