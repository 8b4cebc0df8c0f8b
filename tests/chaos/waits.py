"""Wait for what happens in other processes, with limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["LIMIT_S", "settled", "until"]

LIMIT_S: Final = 120.0  # a bound for a hang, not a measure
REST_S: Final = 20.0  # for what is left of killed agents to be ended, on a busy machine


async def settled(look: Callable[[], list[str]], limit_s: float = REST_S) -> list[str]:
    """Return what is found, once there is nothing or it does not get less in time."""
    until_mono = time.monotonic() + limit_s
    while (found := look()) and time.monotonic() < until_mono:  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(0.05)
    return found


async def until(condition: Callable[[], Any], otherwise: str, limit_s: float = LIMIT_S) -> Any:
    """Wait until something holds; return it."""
    give_up_mono = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < give_up_mono, otherwise
        await asyncio.sleep(0.02)
    return found
