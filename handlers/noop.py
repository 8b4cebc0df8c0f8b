"""`noop`: do nothing, well. For trying a server out, and for measuring what everything else costs."""

from __future__ import annotations

from typing import Any

from worker import Context, handler

__all__ = ["noop"]


@handler("noop")
def noop(ctx: Context, *, value: Any = None) -> dict[str, Any]:
    """Return `value` as it came; without one, return nothing.

    Args:
        ctx: the run.
        value: anything that JSON can say.
    """
    return {} if value is None else {"value": value}
