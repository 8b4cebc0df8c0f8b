"""Is async, and waits a little."""

import asyncio

from worker import Context, handler

END = {"value": {"value": 3}, "weight": 20}


@handler()
async def waits(ctx: Context) -> int:
    """Wait for three things at once."""
    return len(await asyncio.gather(*(asyncio.sleep(0.002) for _ in range(3))))
