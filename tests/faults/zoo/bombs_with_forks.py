"""Forks as fast as it can, in every process; the bomb is bounded by bytes in a pipe, one a fork."""

import contextlib
import os
import time

from worker import Context, handler

END = {"kind": "cancelled", "stop": "cancelled", "grace_s": 5, "weight": 1}
PROCESSES = 100


@handler()
def bombs_with_forks(ctx: Context) -> None:
    """Fork until the pipe is empty; then every process hangs."""
    first = os.getpid()
    tokens, fill = os.pipe()
    os.set_blocking(tokens, False)
    os.write(fill, b"." * PROCESSES)
    ctx.progress(0.1)
    with contextlib.suppress(BlockingIOError):  # no token is left, or the system allows no process more
        while os.read(tokens, 1):
            if os.fork() == 0 and os.getpid() % 2:
                os.setsid()
    while os.getpid() != first:
        time.sleep(600)
    while True:
        ctx.check()
        time.sleep(0.01)
