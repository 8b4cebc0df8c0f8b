"""Leaves a process that holds the channel to the agent open, and dies: its end of file never comes."""

import os
import subprocess
from pathlib import Path

from worker import Context, handler

END = {"kind": "crashed", "exit_code": 0, "retryable": True}


@handler()
def grandchild_holds_the_channel(ctx: Context) -> None:
    """Pass every socket on."""
    links = {path: str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()}
    sockets = [int(path.name) for path, target in links.items() if target.startswith("socket:")]
    subprocess.Popen(["sleep", "600"], pass_fds=sockets, start_new_session=True, env={})
    os._exit(0)
