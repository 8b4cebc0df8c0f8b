"""Puts a link to a folder of somebody else in place of its own; what is there must stay."""

import shutil
from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "linked"}}


@handler()
def puts_a_link_in_place_of_its_folder(ctx: Context) -> str:
    """Replace the folder, with a precious file behind the link."""
    shutil.rmtree(ctx.workdir)
    other = ctx.workdir.parent.parent / "precious"
    other.mkdir(exist_ok=True)
    (other / "file").write_text("precious")
    Path(ctx.workdir).symlink_to(other)
    return "linked"
