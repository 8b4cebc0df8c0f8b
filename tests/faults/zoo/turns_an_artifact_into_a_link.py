"""Hands a file over, and puts a link to a file of the system in its place.

It may read that file itself, so nothing is gained; what it must not read, it cannot hand over either (see
the tests of the task user).
"""

from pathlib import Path

from worker import Context, handler

END = {"value": {"value": "swapped"}, "files": ["model.stl"]}


@handler()
def turns_an_artifact_into_a_link(ctx: Context) -> str:
    """Swap."""
    Path("model.stl").write_text("solid")
    ctx.artifact("model.stl")
    Path("model.stl").unlink()
    Path("model.stl").symlink_to("/etc/hostname")
    return "swapped"
