"""Hands a file over, and puts a socket in its place."""

import socket
from pathlib import Path

from worker import Context, handler

END = {"kind": "handler_error", "says": ["model.stl"]}


@handler()
def turns_an_artifact_into_a_socket(ctx: Context) -> None:
    """Swap."""
    Path("model.stl").write_text("solid")
    ctx.artifact("model.stl")
    Path("model.stl").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("model.stl")
