"""Moves itself and what it leaves into the root cgroups, where it may."""

import contextlib
import subprocess
from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def moves_to_another_cgroup(ctx: Context) -> str:
    """Write itself into every hierarchy's root, then leave a process there."""
    for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if Path("/sys/fs/cgroup").exists() else ():
        if path.parent.name in ("pids", "freezer", "unified", "cgroup"):
            with contextlib.suppress(OSError):
                path.write_text("0")
    subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
    return "left"
