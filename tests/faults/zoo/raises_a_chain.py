"""Raises an exception with thousands of causes."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["ValueError: the last"]}


@handler()
def raises_a_chain(ctx: Context) -> None:
    """Raise at the end of a chain."""
    cause: Exception = ValueError("the first")
    for number in range(3000):
        following = ValueError(f"number {number}")
        following.__cause__ = cause
        cause = following
    raise ValueError("the last") from cause
