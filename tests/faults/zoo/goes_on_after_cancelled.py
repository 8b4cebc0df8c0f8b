"""Catches the exception that asks it to stop, and goes on."""

import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "signal": "SIGKILL", "says": ["was killed"]}


@handler()
def goes_on_after_cancelled(ctx: Context) -> None:
    """Catch everything."""
    ctx.progress(0.1)
    while True:
        try:
            time.sleep(600)
        except BaseException:  # noqa: BLE001, S112 - the mistake that is kept here
            continue
