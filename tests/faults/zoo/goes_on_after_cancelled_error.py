"""Is async, catches CancelledError, and goes on."""

import asyncio

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "says": ["was killed"]}


@handler()
async def goes_on_after_cancelled_error(ctx: Context) -> None:
    """Catch everything."""
    ctx.progress(0.1)
    while True:
        try:
            await asyncio.sleep(600)
        except BaseException:  # noqa: BLE001, S112 - the mistake that is kept here
            continue
