"""Moves itself and what it leaves into the root cgroups, where it may."""

import contextlib
import subprocess
from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "left"}}


@handler()
def moves_to_another_cgroup(ctx: Context) -> str:
    """Write itself into every hierarchy's root, then leave a process there."""
    for root in ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in ("pids", "freezer", "unified"))):
        with contextlib.suppress(OSError):
            Path(root, "cgroup.procs").write_text("0")
    subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
    return "left"
