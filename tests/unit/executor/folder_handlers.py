"""Handlers that fill, break and leave their folders."""

import os
import signal
import time
from pathlib import Path

from worker import Context, Fail, handler

LIMIT_S = 30.0  # of a loop that somebody else must end


@handler()
def fills(ctx: Context, *, heeds: bool) -> str:
    """Write without end, or until told to stop."""
    until = time.monotonic() + LIMIT_S
    with Path("file").open("wb") as file:
        while time.monotonic() < until:
            file.write(b"x" * 100_000)
            file.flush()
            if heeds:
                ctx.check()
            time.sleep(0.001)
    return "not stopped"


@handler()
def writes(ctx: Context) -> str:
    """Stay below the limit."""
    Path("file").write_bytes(b"x" * 1000)
    return "done"


@handler()
def looks(ctx: Context) -> list[object]:
    """Leave the folder as it is; tell which one it is, and what is in it."""
    return [ctx.workdir.name, ctx.workdir.stat().st_ino, os.listdir()]  # noqa: PTH208 - names


@handler()
def breaks(ctx: Context, *, locks: bool = False) -> None:
    """Fail with something in the folder."""
    Path("cause.txt").write_text("look at me")
    if locks:
        os.chmod(".", 0)  # noqa: PTH101 - the current folder
    raise Fail("it broke")


@handler()
def nests(ctx: Context) -> None:
    """Leave folders deeper than any path."""
    for _ in range(1000):
        os.mkdir("d" * 20)  # noqa: PTH102 - below a path that is too long already
        os.chdir("d" * 20)


@handler()
def dies(ctx: Context) -> None:
    """Be killed with a secret on the disk."""
    (ctx.secret_folder() / "key").write_text("s3cret-s3cret")
    (ctx.workdir / "cause.txt").write_text("look at me")
    os.kill(os.getpid(), signal.SIGKILL)
