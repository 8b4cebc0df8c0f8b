"""Returns its parameters."""

from typing import Any

from worker import Context, handler

END = {"tasks": [{"a": 1, "b": ["x"]}], "value": {"a": 1, "b": ["x"]}, "weight": 45}


@handler()
def answers(ctx: Context, **values: Any) -> dict[str, Any]:
    """Return them."""
    return values
