"""Handlers that keep what they promise, and one for each promise that does not."""

from __future__ import annotations

import time
from typing import Any

from worker import Context, Fail, Secret, handler

HOARD: list[bytes] = []
STEP_S = 0.01


@handler("good")
def good(ctx: Context, *, steps: int = 5, password: Secret = "") -> dict[str, Any]:
    """Sum up, go on from a checkpoint, look whether to stop, make a file."""
    done, total = (ctx.resume["done"], ctx.resume["total"]) if ctx.resume else (0, 0)
    while done < steps:
        ctx.check()
        done, total = done + 1, total + done + 1
        ctx.checkpoint({"done": done, "total": total})
        ctx.progress(done / steps, f"step {done}")
        time.sleep(STEP_S)
    (ctx.workdir / "total.txt").write_text(str(total))
    ctx.artifact("total.txt")
    return {"total": total, "signed": bool(password)}


@handler("failing")
def failing(ctx: Context) -> None:
    """Never succeed."""
    raise Fail("the model is missing")


@handler("chance")
def chance(ctx: Context) -> dict[str, int]:
    """Return something else each time."""
    return {"at": time.monotonic_ns()}


@handler("deaf")
def deaf(ctx: Context) -> None:
    """Hold out against every request to stop, also where it interrupts."""
    until_mono = time.monotonic() + 60
    while time.monotonic() < until_mono:
        try:
            time.sleep(STEP_S)
            if ctx.cancelled:
                time.sleep(60)
        except BaseException:  # noqa: BLE001, S110 - that is what makes it bad
            pass


@handler("forgetful")
def forgetful(ctx: Context, *, steps: int = 3) -> dict[str, int]:
    """Go on from a checkpoint, and lose what was done before it."""
    start = ctx.resume or 0
    for step in range(start, steps):
        ctx.check()
        ctx.checkpoint(step + 1)
        time.sleep(STEP_S)
    return {"steps": steps - start}


@handler("hoarder")
def hoarder(ctx: Context, *, bytes_per_run: int = 512 * 1024) -> None:
    """Keep some memory of every run."""
    HOARD.append(b"x" * bytes_per_run)


@handler("gossip")
def gossip(ctx: Context, *, password: Secret, how: str = "plain") -> dict[str, str]:
    """Tell the secret, in some form."""
    print({"plain": password, "hex": password.encode().hex()}.get(how, ""))  # noqa: T201
    if how == "file":
        (ctx.workdir / "notes.txt").write_text(f"it is {password}")
        ctx.artifact("notes.txt")
    return {}


@handler("stray", isolation="fresh")
def stray(ctx: Context) -> None:
    """Want a process of its own."""
