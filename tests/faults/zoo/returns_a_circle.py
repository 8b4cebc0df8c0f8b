"""Returns a dict that holds itself."""

from typing import Any

from worker import Context, handler

END = {"kind": "handler_error", "says": ["result", "cannot be written as JSON"]}


@handler()
def returns_a_circle(ctx: Context) -> dict[str, Any]:
    """Close the circle."""
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle
