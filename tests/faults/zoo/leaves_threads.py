"""Leaves a thread that tells and logs as if its run still went on; the next run hears nothing of it."""

import threading
import time

from worker import Context, handler

END = {"tasks": [{}, {"is_second": True}], "value": {"value": "second"}, "log_not": ["from the first run"]}


@handler()
def leaves_threads(ctx: Context, *, is_second: bool = False) -> str:
    """Leave the thread, or wait a little for what it does."""
    if is_second:
        time.sleep(0.1)
        return "second"

    def tell() -> None:
        while True:
            ctx.progress(0.9, "from the first run")
            ctx.log("from the first run")
            ctx.checkpoint("from the first run")
            time.sleep(0.001)

    threading.Thread(target=tell, name="left").start()
    return "first"
