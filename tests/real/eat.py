"""Handlers for containers, services and machines with little memory."""

from __future__ import annotations

import time

from worker import Context, handler

__all__ = ["eat", "fine"]

MIB = 1 << 20


@handler("eat")
def eat(ctx: Context, mib: int = 1000, pause_s: float = 0.0, at_once_mib: int = 0) -> dict[str, int]:
    """Take memory MiB by MiB, after a part that is taken at once, and hold it."""
    held = []
    for number in range(mib):
        held.append(b"x" * MIB)
        ctx.progress(number / mib)
        if number >= at_once_mib:
            time.sleep(pause_s)
    return {"held_mib": len(held)}


@handler("fine")
def fine(ctx: Context) -> dict[str, bool]:
    """Do nothing, well."""
    return {"is_fine": True}
