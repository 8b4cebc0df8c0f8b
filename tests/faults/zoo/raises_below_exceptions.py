"""Raises a BaseException of its own, which no `except Exception` catches."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["Doom: now"]}


class Doom(BaseException):
    """Something final."""


@handler()
def raises_below_exceptions(ctx: Context) -> None:
    """Raise."""
    raise Doom("now")
