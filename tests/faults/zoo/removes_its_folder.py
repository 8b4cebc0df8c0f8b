"""Removes its own folder."""

import shutil

from worker import Context, handler

END = {"value": {"value": "removed"}}


@handler()
def removes_its_folder(ctx: Context) -> str:
    """Remove."""
    shutil.rmtree(ctx.workdir)
    return "removed"
