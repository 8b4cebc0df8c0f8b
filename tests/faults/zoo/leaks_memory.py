"""Keeps 30 MB more with each run."""

from worker import Context, handler

END = {"tasks": [{}, {}, {}, {}], "value": {"value": True}, "weight": 1}
KEPT: list[bytes] = []


@handler()
def leaks_memory(ctx: Context) -> bool:
    """Keep."""
    KEPT.append(b"x" * 30_000_000)
    return True
