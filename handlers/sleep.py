"""`sleep`: take time and tell how far it is. For trying progress, cancel and drain out."""

from __future__ import annotations

import time
from typing import Any

from worker import Context, Fail, handler

__all__ = ["sleep"]

POLL_S = 0.02  # how late a request to stop is seen at most
MAX_STEPS = 100_000


@handler("sleep")
def sleep(ctx: Context, *, seconds: float = 1.0, steps: int = 10) -> dict[str, Any]:
    """Sleep for some seconds and report progress after every step.

    Args:
        ctx: the run.
        seconds: how long, from 0.
        steps: how often progress is reported, from 1.
    """
    check(seconds, steps)
    started_mono = time.monotonic()
    for step in range(1, steps + 1):
        wait_until(ctx, started_mono + seconds * step / steps)
        ctx.progress(step / steps, f"step {step} of {steps}")
    return {"seconds": round(time.monotonic() - started_mono, 3), "steps": steps}


def check(seconds: float, steps: int) -> None:
    """Refuse what cannot be slept."""
    if not 0 <= seconds < float("inf"):
        raise Fail(f"seconds must be a number from 0, not {seconds}")
    if not 1 <= steps <= MAX_STEPS:
        raise Fail(f"steps must be from 1 to {MAX_STEPS:,}, not {steps}")


def wait_until(ctx: Context, at_mono: float) -> None:
    """Sleep in short naps, so that a request to stop is seen soon."""
    ctx.check()
    while (left_s := at_mono - time.monotonic()) > 0:
        time.sleep(min(left_s, POLL_S))
        ctx.check()
