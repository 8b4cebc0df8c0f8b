"""Tells progress, lines, artifacts and checkpoints as fast as the channel takes them."""

import contextlib

from worker import Context, handler

END = {"value": {"value": "told"}, "weight": 1}


@handler()
def tells_without_end(ctx: Context) -> str:
    """Tell three thousand times by every way."""
    path = ctx.workdir / "file"
    path.write_text("x")
    for number in range(3_000):
        ctx.progress(number / 3_000, f"step {number} " + "x" * 500)
        ctx.log("y" * 500)
        if number % 10 == 0:
            ctx.checkpoint({"number": number, "text": "z" * 1000})
            with contextlib.suppress(ValueError):
                ctx.artifact(path, name=f"{number}")
    return "told"
