"""Hands a device over as an artifact."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["no regular file"]}


@handler()
def hands_over_a_device(ctx: Context) -> None:
    """Hand over what never ends."""
    ctx.artifact("/dev/zero")
