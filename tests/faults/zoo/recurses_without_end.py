"""Calls itself for ever."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["RecursionError"], "traceback": ["recurses_without_end.py"]}


def again(depth: int) -> int:
    """Call itself."""
    return again(depth + 1) + 1


@handler()
def recurses_without_end(ctx: Context) -> int:
    """Begin."""
    return again(0)
