"""Fails for good."""

from worker import Context, Fail, handler

END = {"kind": "handler_error", "says": ["the scene has no camera"], "weight": 15}


@handler()
def fails(ctx: Context) -> None:
    """Fail."""
    raise Fail("the scene has no camera")
