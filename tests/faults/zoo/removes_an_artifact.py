"""Hands a file over, and removes it."""

from pathlib import Path

from worker import Context, handler

END = {"kind": "handler_error", "says": ["model.stl"]}


@handler()
def removes_an_artifact(ctx: Context) -> None:
    """Remove."""
    Path("model.stl").write_text("solid")
    ctx.artifact("model.stl")
    Path("model.stl").unlink()
