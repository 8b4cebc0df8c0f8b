"""Mounts a file system in its folder, where it may."""

import subprocess

from worker import Context, handler

END = {"value": {"value": "tried"}, "world": "private mounts"}


@handler()
def mounts_over_its_folder(ctx: Context) -> str:
    """Mount."""
    (ctx.workdir / "m").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "zoo", "m"], capture_output=True, check=False)
    return "tried"
