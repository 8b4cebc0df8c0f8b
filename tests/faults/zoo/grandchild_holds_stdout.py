"""Leaves a process that holds stdout and stderr open, so that their end never comes."""

import subprocess

from worker import Context, handler

END = {"value": {"value": "done"}, "log": ["said before"]}


@handler()
def grandchild_holds_stdout(ctx: Context) -> str:
    """Start it in another session."""
    print("said before", flush=True)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    return "done"
