"""Raises an exception of its own."""

from worker import Context, handler

END = {
    "kind": "handler_error",
    "says": ["ValueError: no such layer"],
    "traceback": ["raises.py", "ValueError: no such layer"],
}


@handler()
def raises(ctx: Context) -> None:
    """Raise."""
    secret = "a local that the traceback must not show"  # noqa: F841
    raise ValueError("no such layer")
