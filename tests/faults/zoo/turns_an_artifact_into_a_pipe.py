"""Hands a file over, and puts a named pipe in its place: who opens it waits for ever."""

import os
from pathlib import Path

from worker import Context, handler

END = {"kind": "handler_error", "says": ["model.stl"]}


@handler()
def turns_an_artifact_into_a_pipe(ctx: Context) -> None:
    """Swap."""
    Path("model.stl").write_text("solid")
    ctx.artifact("model.stl")
    Path("model.stl").unlink()
    os.mkfifo("model.stl")
