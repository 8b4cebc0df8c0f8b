"""Returns lists in lists, a hundred thousand deep."""

from typing import Any

from worker import Context, handler

END = {"kind": "handler_error", "says": ["result", "cannot be written as JSON"]}


@handler()
def returns_a_deep_nest(ctx: Context) -> list[Any]:
    """Nest."""
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    return nest
