"""Hands a file over, and puts a link to an endless device in its place."""

from pathlib import Path

from worker import Context, handler

END = {"kind": "handler_error", "says": ["model.stl"]}


@handler()
def turns_an_artifact_into_a_device(ctx: Context) -> None:
    """Swap."""
    Path("model.stl").write_text("solid")
    ctx.artifact("model.stl")
    Path("model.stl").unlink()
    Path("model.stl").symlink_to("/dev/zero")
