"""Waits that end in time, and memories that do not grow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["remember", "within"]

T = TypeVar("T")


async def within(wait: Awaitable[object], limit_s: float) -> None:
    """Wait for something, at most so long."""
    try:
        async with asyncio.timeout(limit_s):
            await wait
    except TimeoutError:
        return


def remember(memory: OrderedDict[str, T], key: str, value: T, bound: int) -> None:
    """Keep a value as the newest one, and forget the oldest beyond the bound."""
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > bound:
        memory.popitem(last=False)
