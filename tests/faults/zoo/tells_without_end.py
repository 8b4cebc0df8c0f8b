"""Tells progress, lines, artifacts and checkpoints as fast as the channel takes them."""

from worker import Context, handler

END = {"value": {"value": "told"}, "weight": 1}


@handler()
def tells_without_end(ctx: Context) -> str:
    """Tell a thousand times by every way."""
    path = ctx.workdir / "file"
    path.write_text("x")
    for number in range(1_000):
        ctx.progress(number / 1_000, f"step {number} " + "x" * 500)
        ctx.log("y" * 500)
        if number % 5 == 0:
            ctx.checkpoint({"number": number, "text": "z" * 1000})
        if number % 20 == 0:
            ctx.artifact(path, name=f"{number}")
    return "told"
