"""Handlers that meet their limits, each in its way."""

import asyncio
import ctypes
import signal
import time
from typing import Any

from worker import Context, handler


@handler("endless", timeout_s=60)
def endless(ctx: Context) -> None:
    """Go on until asked to stop."""
    while True:
        ctx.check()
        time.sleep(0.01)


@handler("saving")
def saving(ctx: Context) -> dict[str, Any]:
    """Save what there is when asked to stop, and say what was known then."""
    before_s = ctx.deadline
    ctx.progress(0.5, "working")
    while not ctx.cancelled:
        time.sleep(0.01)
    ctx.checkpoint({"at": 0.5, "why": ctx.stop_reason, "before_s": before_s, "left_s": ctx.deadline})
    ctx.check()
    return {}


@handler("async-saving")
async def async_saving(ctx: Context) -> None:
    """Save what there is when it is cancelled."""
    try:
        await asyncio.sleep(600)
    finally:
        ctx.checkpoint({"why": ctx.stop_reason, "left_s": ctx.deadline})


@handler("native")
def native(ctx: Context, *, how: str) -> None:
    """Be in native code that no signal reaches and no thread of Python runs beside."""
    libc = ctypes.PyDLL(None)  # keeps the interpreter's lock, as a bad extension does
    every = (ctypes.c_ulong * 16)(*[2 ** (8 * ctypes.sizeof(ctypes.c_ulong)) - 1] * 16)
    libc.pthread_sigmask(signal.SIG_SETMASK, every, None)
    ctx.progress(0.1)
    if how == "sleeps":
        libc.sleep(600)
    elif how == "loops":
        sum(range(10**12))  # C code of the interpreter, which looks at no signal meanwhile


@handler("told-limits", timeout_s=100)
def told_limits(ctx: Context) -> dict[str, Any]:
    """Return what is known of the limits."""
    return {"left_s": ctx.deadline, "parameters": ctx.parameters}


@handler("hungry", memory_bytes=1 << 40)
def hungry(ctx: Context, *, mib: int = 400) -> int:
    """Take memory, a MiB at a time, and hold it."""
    held = []
    for number in range(mib):
        held.append(b"\1" * (1 << 20))
        ctx.progress(number / mib)
    time.sleep(600)
    return len(held)


@handler("frugal", memory_bytes=150 << 20)
def frugal(ctx: Context, *, mib: int = 400) -> int:
    """Take more than it allows itself."""
    return hungry(ctx, mib=mib)
