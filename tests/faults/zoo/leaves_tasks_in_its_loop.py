"""Is async, and leaves a task that swallows its cancellation."""

import asyncio

from worker import Context, handler

END = {"kind": "timeout", "says": ["longer than 0.5 s"], "weight": 1}


async def stubborn() -> None:
    """Never end."""
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            continue


@handler(timeout_s=0.5)
async def leaves_tasks_in_its_loop(ctx: Context) -> str:
    """Leave a task; the loop cannot be closed."""
    asyncio.get_running_loop().create_task(stubborn(), name="left")
    await asyncio.sleep(0)
    return "never told"
