"""Handlers for the benchmark: they tell when they began."""

from __future__ import annotations

import time

from worker import Context, handler

__all__ = ["nap", "noop", "reports", "result", "second", "stamp"]


@handler("bench-stamp")
def stamp(ctx: Context) -> dict[str, int]:
    """Return the time of day at the first line, in nanoseconds."""
    return {"begunNs": time.time_ns()}


@handler("bench-second")
def second(ctx: Context) -> dict[str, float]:
    """Take a second, and tell ten times how far it is; return how long that took, which is a bit longer."""
    begun_s = time.perf_counter()
    for step in range(10):
        time.sleep(0.1)
        ctx.progress((step + 1) / 10)
    return {"tookS": time.perf_counter() - begun_s}


@handler("bench-noop")
def noop(ctx: Context, *, nap_s: float = 0.0) -> None:
    """Do nothing; for a while, so that each slot needs a child of its own."""
    if nap_s:  # to sleep for no time is to sleep for 50 µs (`PR_SET_TIMERSLACK`), and to wake
        time.sleep(nap_s)


@handler("bench-nap")
def nap(ctx: Context) -> None:
    """Take a fifth of a second."""
    time.sleep(0.2)


@handler("bench-result")
def result(ctx: Context, *, size_bytes: int, is_file: bool, nap_s: float = 0.0) -> dict[str, str]:
    """Return so much, or hand it over in a file."""
    time.sleep(nap_s)
    line = "a line of what a program found out, as long as such lines are\n"
    text = (line * (size_bytes // len(line) + 1))[:size_bytes]
    if not is_file:
        return {"text": text}
    path = ctx.workdir / "result.txt"
    path.write_text(text)
    ctx.artifact(path)
    return {}


@handler("bench-reports")
def reports(ctx: Context, *, per_s: float, seconds: float) -> dict[str, int]:
    """Tell so often how far it is, for so long."""
    count = max(1, round(per_s * seconds))
    begun_s = time.monotonic()
    for number in range(1, count + 1):
        time.sleep(max(0.0, begun_s + number / per_s - time.monotonic()))
        ctx.progress(number / count)
    return {"reports": count}
