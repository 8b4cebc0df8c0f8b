"""Returns an object that JSON has no word for."""

from typing import Any

from worker import Context, handler

END = {"kind": "handler_error", "says": ["result.frames[1]", "no type of JSON"]}


@handler()
def returns_no_json(ctx: Context) -> dict[str, Any]:
    """Return it deep inside."""
    return {"frames": [1, object()]}
