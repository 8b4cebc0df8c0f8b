"""Computes in Python for ever."""

from worker import Context, handler

END = {"kind": "timeout", "says": ["longer than 0.3 s"], "weight": 1}


@handler(timeout_s=0.3)
def loops_for_ever(ctx: Context) -> None:
    """Loop."""
    while True:
        pass
