"""Raises an exception with a message of 20 MB."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["ValueError: xxxx"], "weight": 1}


@handler()
def raises_a_huge_message(ctx: Context) -> None:
    """Raise."""
    raise ValueError("x" * 20_000_000)
